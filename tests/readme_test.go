package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README shows commands in blocks fenced by ```console: lines that begin with "$ " are typed, the others are answers.
// These tests keep what is typed there in step with the program.

// consoleLines returns what is typed in the console blocks of a page.
func consoleLines(t *testing.T, page string) (typed []string) {
	t.Helper()
	fence := ""
	for i, line := range strings.Split(page, "\n") {
		if info, ok := strings.CutPrefix(line, "```"); ok {
			switch {
			case fence == "" && info == "":
				t.Errorf("line %d: a fence without an info string", i+1)
				fence = "text"
			case fence == "":
				fence = info
			default:
				fence = ""
			}
			continue
		}
		if command, ok := strings.CutPrefix(line, "$ "); ok && fence == "console" {
			typed = append(typed, command)
		}
	}
	if fence != "" {
		t.Errorf("the last fence (%s) is not closed", fence)
	}
	return typed
}

// shellWords splits a line as a shell does, as far as the README goes: blanks, quotes, and operators as words of their own.
func shellWords(line string) (words []string) {
	var word strings.Builder
	begun, quote := false, rune(0)
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == ' ':
			end()
		case strings.ContainsRune("|;&<>", c):
			end()
			words = append(words, string(c))
		default:
			begun = true
			word.WriteRune(c)
		}
	}
	end()
	return words
}

// cairnCalls returns the arguments of each call of cairn in a line.
func cairnCalls(line string) (calls [][]string) {
	line = strings.ReplaceAll(line, "go run ./cmd/cairn", "cairn")
	var call []string
	in := false
	first := true // of a command: variables may be set in front of it
	for _, w := range append(shellWords(line), ";") {
		switch {
		case strings.ContainsAny(w, "|;&<>") && len(w) == 1:
			if in {
				calls = append(calls, call)
			}
			call, in, first = nil, false, true
		case in:
			call = append(call, w)
		case first && w == "cairn":
			in = true
		case first && strings.Contains(w, "="):
		default:
			first = false
		}
	}
	return calls
}

// parents are the commands that have commands of their own.
var parents = []string{"key", "index", "source"}

// helpOf returns the help of the command that a call names, and the rest of the call.
func (m *machine) helpOf(call []string) (command, help string, rest []string) {
	m.t.Helper()
	names := 1
	if slices.Contains(parents, call[0]) {
		names = 2
	}
	if len(call) < names {
		m.t.Fatalf("cairn %s: no command named", strings.Join(call, " "))
	}
	command = strings.Join(call[:names], " ")
	arguments := []string{"help", call[0]}
	if names == 2 {
		arguments = []string{call[0], call[1], "--help"}
	}
	help = m.ok(arguments...).stdout
	if !strings.Contains(help, "cairn "+command+" - ") {
		m.t.Fatalf("cairn %s is not a command: its help says\n%s", command, shorten(help))
	}
	return command, help, call[names:]
}

var flagWord = regexp.MustCompile(`^--?[a-z][a-z-]*`)

// TestReadmeCommands: every command in the README exists, and has the flags that are used there.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	checked := map[string]bool{}
	calls := 0
	for _, line := range consoleLines(t, string(page)) {
		for _, call := range cairnCalls(line) {
			if calls++; len(call) == 0 {
				t.Errorf("%s: cairn without a command", line)
				continue
			}
			m.hasFlags(line, call, checked)
		}
	}
	if calls < 20 {
		t.Errorf("only %d calls of cairn were found in README.md", calls)
	}
}

// hasFlags: the command of a call exists, and has the flags that are used.
func (m *machine) hasFlags(line string, call []string, checked map[string]bool) {
	m.t.Helper()
	command, help, rest := m.helpOf(call)
	for _, w := range rest {
		if w == "--" {
			break
		}
		flag := flagWord.FindString(w)
		if flag == "" || checked[command+flag] {
			continue
		}
		checked[command+flag] = true
		if !regexp.MustCompile(`(?m)^ +(\S.*[ ,\[])?` + flag + `[ ,\]\n]`).MatchString(options(help)) {
			m.t.Errorf("%s: cairn %s has no flag %s", line, command, flag)
		}
	}
}

// options is the part of a help that lists the flags.
func options(help string) string {
	_, after, _ := strings.Cut(help, "\nOPTIONS:\n")
	return after
}

// TestReadmeFirst: the first two commands are what they are said to be, and nothing has to be typed before.
func TestReadmeFirst(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	typed := consoleLines(t, string(page))
	if want := []string{"go run ./cmd/cairn backup ~/documents", "make test"}; len(typed) < 2 || !slices.Equal(typed[:2], want) {
		t.Fatalf("the first commands of README.md are %q, want %q", typed[:min(2, len(typed))], want)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range regexp.MustCompile("(?m)(?:`|^\\$ )make ([a-z]+)").FindAllStringSubmatch(string(page), -1) {
		if !regexp.MustCompile(`(?m)^` + use[1] + `:`).Match(makefile) {
			t.Errorf("README.md names make %s, which the Makefile does not have", use[1])
		}
	}
}

// TestReadmeNames: files that pages link to are there, and variables that the README explains are used by the program.
func TestReadmeNames(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)[^):]*\)`)
	for _, name := range append(pages, "../README.md") {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), l[1])); err != nil {
				t.Errorf("%s: link: %v", filepath.Base(name), err)
			}
		}
	}
	program, hooks := programText(t, "../cmd/cairn"), programText(t, "../agent/source/run")
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`CAIRN_[A-Z_]+`)
	for _, v := range variable.FindAllString(string(readme), -1) {
		if !strings.Contains(program, `env("`+v+`")`) && !strings.Contains(hooks, `"`+v+`=`) {
			t.Errorf("README.md explains %s, which the program neither reads nor gives to hooks", v)
		}
	}
	for _, v := range variable.FindAllString(program, -1) {
		if !strings.Contains(string(readme), v) {
			t.Errorf("the program knows %s, which README.md does not explain", v)
		}
	}
}

// programText is all of a package as people get it: without tests, and what is built for them only.
func programText(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(string(text), "//go:build faults") {
			all.Write(text)
		}
	}
	return all.String()
}

func TestCairnCalls(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"go run ./cmd/cairn backup ~/documents":                        {"backup ~/documents"},
		"A='b c' cairn ls x | tar -t && cairn check; echo cairn no":    {"ls x", "check"},
		"cairn find 'a|b' --long >out":                                 {"find a|b --long"},
		"cp bin/cairn x":                                               nil,
		"cairn backup --command n -- tar -c /etc":                      {"backup --command n -- tar -c /etc"},
		"unset X; export Y=z; cairn key list":                          {"key list"},
		"export CAIRN_ARCHIVE=\"/mnt/a /mnt/b\" CAIRN_PASSWORD_FILE=~": nil,
	} {
		var got []string
		for _, call := range cairnCalls(line) {
			got = append(got, strings.Join(call, " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
