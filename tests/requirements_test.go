package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// systems are the five documents that say what Cairn has to do, and how many rows each has: A backing up Sophora, B Sophora's server,
// C Fedora, D JS7, E Seafile's backup server. docs/requirements.md has all rows.
var systems = map[byte]int{'A': 32, 'B': 21, 'C': 18, 'D': 18, 'E': 27}

// requirement is a line of the table: one row, or several that are met by the same thing.
type requirement struct {
	line     int
	rows     []string
	priority string
	feature  string
	tests    []string // DIRECTORY.TestName, or NAME.txtar
}

var (
	rowInText   = regexp.MustCompile(`\b([A-E])([0-9]{1,2})(?:–[A-E]?([0-9]{1,2}))?\b`)
	rowInName   = regexp.MustCompile(`[A-E][0-9]+`)
	namedTest   = regexp.MustCompile("`([^`]+)`")
	priorities  = []string{"M", "S", "C"}
	noTestWords = []string{"Later:", "Not built:"} // how a feature begins that has no test because there is none
)

// rowsIn are the rows that a text names; C11–C14 are four.
func rowsIn(text string) (rows []string) {
	for _, m := range rowInText.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[3] != "" {
			last, _ = strconv.Atoi(m[3])
		}
		for n := first; n <= last; n++ {
			rows = append(rows, fmt.Sprint(m[1], n))
		}
	}
	return rows
}

// known says that there is such a row.
func known(row string) bool {
	n, err := strconv.Atoi(row[1:])
	return err == nil && n >= 1 && n <= systems[row[0]]
}

// requirementsIn reads the tables of a page.
func requirementsIn(page string) (list []requirement, problems []string) {
	for i, line := range strings.Split(page, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) < 2 || len(rowsIn(cells[0])) == 0 {
			continue
		}
		if len(cells) != 5 {
			problems = append(problems, fmt.Sprintf("line %d has %d cells instead of 5", i+1, len(cells)))
			continue
		}
		r := requirement{line: i + 1, rows: rowsIn(cells[0]), priority: strings.TrimSpace(cells[1]), feature: strings.TrimSpace(cells[3])}
		for _, m := range namedTest.FindAllStringSubmatch(cells[4], -1) {
			r.tests = append(r.tests, m[1])
		}
		list = append(list, r)
	}
	return list, problems
}

// mentions maps tests to the rows that they name, in the name of a function or in its comments, and in the comments of a script.
func mentions(t *testing.T, top string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if base := d.Name(); name != top && (base[0] == '.' || base[0] == '_') {
				return filepath.SkipDir
			}
		case strings.HasSuffix(name, ".txtar"):
			found[d.Name()] = append(found[d.Name()], rowsOfScript(t, name)...)
		case strings.HasSuffix(name, "_test.go"):
			dir := path.Dir(strings.TrimPrefix(filepath.ToSlash(name), filepath.ToSlash(top)+"/"))
			for test, rows := range rowsOfFile(t, name) {
				found[dir+"."+test] = rows
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func rowsOfScript(t *testing.T, name string) (rows []string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	script, _, _ := strings.Cut("\n"+string(data), "\n-- ") // behind that are files
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "#") {
			rows = append(rows, rowsIn(line)...)
		}
	}
	return rows
}

func rowsOfFile(t *testing.T, name string) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
			continue
		}
		rows := rowInName.FindAllString(f.Name.Name, -1)
		for _, c := range file.Comments {
			if c == f.Doc || c.Pos() >= f.Pos() && c.End() <= f.End() {
				rows = append(rows, rowsIn(c.Text())...)
			}
		}
		found[f.Name.Name] = rows
	}
	return found
}

// wrong tells what is not as it should be in the list.
func wrong(list []requirement, tests map[string][]string) (problems []string) {
	lines := map[string]int{}
	for _, r := range list {
		tell := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("line %d, %s: ", r.line, strings.Join(r.rows, " "))+fmt.Sprintf(format, args...))
		}
		for _, row := range r.rows {
			if lines[row] > 0 {
				tell("%s stands in line %d, too", row, lines[row])
			}
			lines[row] = r.line
			if !known(row) {
				tell("there is no row %s", row)
			}
		}
		if !slices.Contains(priorities, r.priority) {
			tell("priority %q", r.priority)
		}
		without := slices.ContainsFunc(noTestWords, func(word string) bool { return len(r.feature) > len(word)+10 && strings.HasPrefix(r.feature, word) })
		switch {
		case len(r.tests) == 0 && !without && r.priority != "C":
			tell("has neither a test nor a reason why there is none")
		case len(r.tests) > 0 && without:
			tell("is not built, and yet is tested")
		}
		missing := slices.Clone(r.rows)
		for _, test := range r.tests {
			named, ok := tests[test]
			if !ok {
				tell("there is no test %s", test)
			} else if !slices.ContainsFunc(r.rows, func(row string) bool { return slices.Contains(named, row) }) {
				tell("%s does not say that it is about this", test)
			}
			missing = slices.DeleteFunc(missing, func(row string) bool { return slices.Contains(named, row) })
		}
		if len(r.tests) > 0 && len(missing) > 0 {
			tell("none of its tests names %s", strings.Join(missing, " "))
		}
	}
	for system, n := range systems {
		for i := 1; i <= n; i++ {
			if row := fmt.Sprintf("%c%d", system, i); lines[row] == 0 {
				problems = append(problems, row+" is missing")
			}
		}
	}
	return problems
}

// TestRequirements: docs/requirements.md has each row once; the tests that it names exist and say which row they are about. Files are
// parsed, not run, so that nothing has to be installed for this.
func TestRequirements(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/requirements.md")
	if err != nil {
		t.Fatal(err)
	}
	list, problems := requirementsIn(string(page))
	tests := mentions(t, "..")
	if len(tests) < 500 {
		t.Errorf("only %d tests were found: this looks in the wrong place", len(tests))
	}
	for _, p := range append(problems, wrong(list, tests)...) {
		t.Errorf("docs/requirements.md: %s", p)
	}
	listed := map[string][]string{}
	for _, r := range list {
		for _, row := range r.rows {
			listed[row] = r.tests
		}
	}
	for _, test := range slices.Sorted(maps.Keys(tests)) {
		for _, row := range slices.Compact(slices.Sorted(slices.Values(tests[test]))) {
			if !known(row) {
				t.Errorf("%s names the row %s, which does not exist", test, row)
			} else if !slices.Contains(listed[row], test) {
				t.Logf("%s is about %s, too", test, row) // the page names the best ones
			}
		}
	}
}

// TestRequirementsAreChecked: what the other test is there to find.
func TestRequirementsAreChecked(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{"a.TestOne": {"A1"}, "two.txtar": {"A2", "A3"}}
	good := "| A1 | M | x | y | `a.TestOne` |\n| A2, A3 | S | x | y | `two.txtar` |\n| A4–A32 | M | x | Later: with the agent, because | – |\n" +
		"| B1–B21 | C | x | y | – |\n| C1–C18 | C | x | y | – |\n| D1–D18 | C | x | y | – |\n| E1–E27 | C | x | y | – |\n"
	for change, want := range map[[2]string]string{
		{"", ""}:                       "",
		{"`a.TestOne`", "`a.TestTwo`"}: "there is no test a.TestTwo",
		{"`a.TestOne`", "`two.txtar`"}: "two.txtar does not say that it is about this",
		{"`a.TestOne`", "–"}:           "has neither a test nor a reason",
		{"`two.txtar`", "`a.TestOne`"}: "none of its tests names A2 A3",
		{"A2, A3", "A2"}:               "A3 is missing",
		{"A2, A3", "A1, A2, A3"}:       "A1 stands in line 1, too",
		{"B1–B21", "B1–B22"}:           "there is no row B22",
		{"| M |", "| X |"}:             `priority "X"`,
		{"Later: with", "with"}:        "has neither a test nor a reason",
		{"| y | `two", "| Not built: nobody has asked | `two"}: "is not built, and yet is tested",
		{"| S | x", "| S"}: "has 4 cells",
	} {
		list, problems := requirementsIn(strings.Replace(good, change[0], change[1], 1))
		problems = append(problems, wrong(list, tests)...)
		if said := strings.Join(problems, "\n"); want == "" && said != "" || !strings.Contains(said, want) {
			t.Errorf("%q: said %q, want %q", change, said, want)
		}
	}
}
