package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What the disasters of docs/profiles.md have in common: a program that is watched while it runs, a machine that has nothing but an archive and a
// key, and a look for passwords in all that is left behind.

// running is cairn at work. What it starts is looked at all the time.
type running struct {
	m              *machine
	c              *exec.Cmd
	stdout, stderr bytes.Buffer
	began          time.Time
	ended          chan struct{}
	watched        chan struct{}
	argv           map[string]bool // of all that it started, one line each
}

// begin starts cairn.
func (m *machine) begin(arguments ...string) *running {
	m.t.Helper()
	r := &running{m: m, c: m.command(arguments...), began: time.Now(), ended: make(chan struct{}), watched: make(chan struct{}), argv: map[string]bool{}}
	r.c.Stdout, r.c.Stderr = &r.stdout, &r.stderr
	if err := r.c.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		_ = r.c.Wait() // the exit code says it
	}()
	go r.watch()
	return r
}

// watch notes the arguments of all programs until cairn has ended.
func (r *running) watch() {
	defer close(r.watched)
	for {
		select {
		case <-r.ended:
			return
		case <-time.After(2 * time.Millisecond):
		}
		for _, pid := range descendants(r.c.Process.Pid) {
			if line := commandLine(pid); line != "" {
				r.argv[line] = true
			}
		}
	}
}

// descendants are the processes below one.
func descendants(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	var all []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // gone: it has no more
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

func commandLine(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone: nothing
	return strings.ReplaceAll(strings.TrimSuffix(string(line), "\x00"), "\x00", " ")
}

// child is a process below cairn whose arguments contain all the words.
func (r *running) child(words ...string) int {
	r.m.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		for _, pid := range descendants(r.c.Process.Pid) {
			line, missing := commandLine(pid), false
			for _, word := range words {
				missing = missing || !strings.Contains(line, word)
			}
			if !missing {
				return pid
			}
		}
		select {
		case <-r.ended:
			r.m.t.Fatalf("%q was not started: %v", words, r.end())
		default:
		}
	}
	r.m.t.Fatalf("%q was not started", words)
	return 0
}

// end waits for the end.
func (r *running) end() result {
	<-r.ended
	<-r.watched
	return result{r.m.t, "cairn " + strings.Join(r.c.Args[1:], " "), r.stdout.String(), r.stderr.String(), r.c.ProcessState.ExitCode(), time.Since(r.began)}
}

// secretly runs cairn to a good end, demands that it was seen to start a program, and that the secret is neither among anybody's arguments nor said.
func (m *machine) secretly(secret, program string, arguments ...string) result {
	m.t.Helper()
	r := m.begin(arguments...)
	done := r.end()
	if done.code != 0 {
		m.t.Fatal(done)
	}
	seen := false
	for line := range r.argv {
		seen = seen || strings.Contains(line, program)
		if strings.Contains(line, secret) {
			m.t.Errorf("a secret is among the arguments: %s", line)
		}
	}
	if !seen {
		m.t.Errorf("%s was not seen among %v", program, r.argv)
	}
	return done.hides(secret)
}

// hides demands that a secret is not said.
func (r result) hides(secret string) result {
	r.t.Helper()
	if strings.Contains(r.stdout+r.stderr, secret) {
		r.t.Errorf("a secret is said by %v", r)
	}
	return r
}

// bare is a new machine, on which there is only the program: it knows where the archive is, and has its key.
func (m *machine) bare() *machine {
	m.t.Helper()
	b := newMachine(m.t)
	for _, v := range m.env {
		if strings.HasPrefix(v, "CAIRN_ARCHIVE=") || strings.HasPrefix(v, "CAIRN_KEY_FILE=") {
			b = b.with(v)
		}
	}
	return b
}

// password puts a password where a source file may say that it is.
func (m *machine) password(text string) string {
	m.t.Helper()
	name := m.path("secrets", "password")
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text+"\n"), 0o600)); err != nil {
		m.t.Fatal(err)
	}
	return name
}

// holdsNo restores the newest snapshot with its papers, and looks for a secret in it, in what this machine keeps below its home, and in other
// directories.
func (m *machine) holdsNo(secret string, others ...string) {
	m.t.Helper()
	papers := m.path("papers")
	m.ok("restore", "latest", "--to", papers)
	if _, err := os.Stat(filepath.Join(papers, ".cairn", "run.json")); err != nil {
		m.t.Error(err)
	}
	for _, dir := range append([]string{papers, m.path("home")}, others...) {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(name)
			if bytes.Contains(text, []byte(secret)) {
				m.t.Errorf("a secret is in %s", name)
			}
			return err
		})
		if err != nil {
			m.t.Error(err)
		}
	}
}

// snapshots counts what is in the archive.
func (m *machine) snapshots() int {
	m.t.Helper()
	return len(m.ok("snapshots", "--json").of("snapshot"))
}

// gone removes what a disaster takes.
func gone(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}
