// Package tests holds what concerns the whole project: this map of its packages, and tests that build the
// program and use it as a user would.
package tests

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the house (docs/design.md): a package may import packages of lower floors only, so a child may
// import its parent and never the reverse, and siblings do not know each other. Test files may import siblings
// and children too. Everything below tests/ may import anything and is imported by tests only. A new package
// gets its floor here.
var floors = map[string]int{
	"agent/source/restore/perform": 8,
	"agent/source/restore/show":    8,

	"agent/source/restore": 7,
	"agent/source/held":    6,
	"agent/source/rewrite": 5,
	"agent/source/wipe":    5,

	"agent/verify":             5,
	"agent/source":             5,
	"cmd/cairn":                9,
	"agent/api/fedora":         6,
	"agent/source/driver":      6,
	"agent/source/proof":       6,
	"agent/source/fedora":      6,
	"agent/source/profile":     6,
	"agent/source/unit":        6,
	"agent/source/dump":        5,
	"agent/source/hook":        6,
	"agent/source/paper":       0,
	"agent/source/run":         7,
	"archive/backup":           5,
	"archive/bench":            5,
	"archive/check":            5,
	"archive/export":           6,
	"archive/member":           5,
	"archive/prune":            5,
	"archive/recover":          5,
	"archive/repair":           5,
	"archive/replicate":        5,
	"archive/restore":          5,
	"archive/search":           5,
	"archive/view":             5,
	"agent/format/bagit":       4,
	"agent/format/contenttree": 4,
	"agent/format/modeshape":   4,
	"agent/format/ocfl":        4,
	"agent/format/seafile":     4,
	"archive":                  4,
	"index":                    4,
	"agent/format":             3,
	"pack":                     3,
	"agent/secret":             2,
	"agent/variable":           2,
	"remote/fault":             2,
	"remote/limit":             2,
	"remote/local":             2,
	"remote/mem":               2,
	"remote/remotetest":        2,
	"remote/retry":             2,
	"remote/s3":                2,
	"remote/stripe":            2,
	"snapshot/retention":       2,
	"agent/document":           1,
	"chunk/seal":               1,
	"snapshot":                 1,
	"snapshot/pattern":         1,
	"agent/process":            0,
	"agent/schedule":           0,
	"chunk":                    0,
	"remote":                   0,
}

// suites are the packages that exist to be run by tests and so may import "testing".
var suites = []string{"remote/remotetest"}

// module is the import path that all packages begin with.
const module = "cairn/"

// problem says what is wrong with an import of file (relative to the top) in package pkg, or "".
func problem(pkg, file, imported string) string {
	test := strings.HasSuffix(file, "_test.go")
	if imported == "testing" && !test && !slices.Contains(suites, pkg) && !under(pkg, "tests") {
		return "is not a test and imports testing"
	}
	target, ours := strings.CutPrefix(imported, module)
	if !ours || under(pkg, "tests") {
		return ""
	}
	if under(target, "tests") {
		if test {
			return ""
		}
		return "imports " + target + ", which is for tests only"
	}
	to, listed := floors[target]
	switch from := floors[pkg]; {
	case !listed:
		return "imports " + target + ", which has no floor"
	case test && under(target, pkg): // a test may use its own package and the children of it
		return ""
	case to > from:
		return fmt.Sprintf("is on floor %d and imports %s on floor %d", from, target, to)
	case to == from && !test:
		return fmt.Sprintf("imports %s, a sibling on floor %d", target, from)
	}
	return ""
}

func under(pkg, top string) bool { return pkg == top || strings.HasPrefix(pkg, top+"/") }

// TestFloors parses the files themselves: what `go list` says of them would not be noticed by the test cache.
func TestFloors(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != ".." && (base[0] == '.' || base[0] == '_' || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		file := strings.TrimPrefix(filepath.ToSlash(name), "../")
		pkg := path.Dir(file)
		if _, listed := floors[pkg]; !listed && !under(pkg, "tests") {
			t.Errorf("%s: package %s has no floor in tests/arch_test.go", file, pkg)
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if p := problem(pkg, file, imported); p != "" {
				t.Errorf("%s %s", file, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Errorf("only %d Go files were found: this test looks in the wrong place", files)
	}
}

// TestProblem: the rules themselves.
func TestProblem(t *testing.T) {
	for _, c := range []struct {
		pkg, file, imported string
		wrong               bool
	}{
		{"archive/backup", "archive/backup/a.go", "cairn/archive", false},
		{"archive", "archive/a.go", "cairn/archive/backup", true},
		{"archive", "archive/a_test.go", "cairn/archive/backup", false},
		{"snapshot", "snapshot/a_test.go", "cairn/archive", true},
		{"archive", "archive/a.go", "cairn/index", true},
		{"archive", "archive/a_test.go", "cairn/index", false},
		{"archive/backup", "archive/backup/a.go", "cairn/archive/restore", true},
		{"chunk/seal", "chunk/seal/a.go", "cairn/chunk", false},
		{"chunk", "chunk/a.go", "cairn/chunk/seal", true},
		{"chunk", "chunk/a_test.go", "cairn/chunk", false},
		{"pack", "pack/a.go", "cairn/remote/local", false},
		{"pack", "pack/a.go", "cairn/unlisted", true},
		{"pack", "pack/a.go", "cairn/tests/nasty", true},
		{"pack", "pack/a_test.go", "cairn/tests/nasty", false},
		{"pack", "pack/a.go", "testing", true},
		{"pack", "pack/a_test.go", "testing", false},
		{"remote/remotetest", "remote/remotetest/a.go", "testing", false},
		{"tests/nasty", "tests/nasty/a.go", "cairn/archive/check", false},
		{"cmd/cairn", "cmd/cairn/a.go", "cairn/archive/backup", false},
		{"pack", "pack/a.go", "fmt", false},
	} {
		if got := problem(c.pkg, c.file, c.imported); (got != "") != c.wrong {
			t.Errorf("%s imports %s: %q", c.file, c.imported, got)
		}
	}
}
