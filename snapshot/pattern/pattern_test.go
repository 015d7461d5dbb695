package pattern

import (
	"slices"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		patterns string // separated by blanks
		root     string
		path     string // with a slash at the end for a directory
		want     bool
	}{
		{"foo", "/r", "/r/foo", true},
		{"foo", "/r", "/r/a/b/foo/", true},
		{"foo", "/r", "/r/food", false},
		{"foo/", "/r", "/r/foo", false},
		{"foo/", "/r", "/r/x/foo/", true},
		{"/foo", "/r", "/r/foo", true},
		{"/foo", "/r", "/r/x/foo", false},
		{"a/b", "/r", "/r/a/b", true},
		{"a/b", "/r", "/r/x/a/b", false},
		{"a/b", "/r", "/r/a/b/c", false}, // its parent is excluded, so nobody asks
		{"**/a/b", "/r", "/r/x/y/a/b", true},
		{"**/a/b", "/r", "/r/a/b", true},
		{"a/**/b", "/r", "/r/a/b", true},
		{"a/**/b", "/r", "/r/a/b/x/b", true},
		{"a/**/b/c", "/r", "/r/a/b/x/b/c", true}, // needs to go back
		{"a/**", "/r", "/r/a/", false},
		{"a/**", "/r", "/r/a/x/y", true},
		{"**", "/r", "/r/x", true},
		{"a/**/b/**/c", "/r", "/r/a/b/x/b/y/c", true},
		{"a/**/b/**/c", "/r", "/r/a/x/c", false},
		{"**/a/**", "/r", "/r/x/a/b", true},
		{"**/a/**", "/r", "/r/x/a/", false},
		{"*.o", "/r", "/r/x.o", true},
		{"*.o", "/r", "/r/x.oo", false},
		{"*.o !keep.o", "/r", "/r/keep.o", false},
		{"!keep.o *.o", "/r", "/r/keep.o", true}, // the last one decides
		{"a?c", "/r", "/r/abc", true},
		{"a?c", "/r", "/r/aéc", true},
		{"a?c", "/r", "/r/a\xffc", true},
		{"a?c", "/r", "/r/ac", false},
		{"[a-c]x", "/r", "/r/bx", true},
		{"[!a-c]x", "/r", "/r/bx", false},
		{"[^a-c]x", "/r", "/r/dx", true},
		{"[]]", "/r", "/r/]", true},
		{"[[:digit:]]*", "/r", "/r/7up", true},
		{"[[:digit:]]*", "/r", "/r/up7", false},
		{"[a-]", "/r", "/r/-", true},
		{`[\]]`, "/r", "/r/]", true},
		{`\#x`, "/r", "/r/#x", true},
		{`\!x`, "/r", "/r/!x", true},
		{`\*`, "/r", "/r/*", true},
		{`\*`, "/r", "/r/x", false},
		{"#x", "/r", "/r/#x", true}, // comments are a matter of files
		{"a*b*c", "/r", "/r/aXbYbZc", true},
		{"a*b*c", "/r", "/r/aXbYbZ", false},
		{"a**b", "/r", "/r/axxb", true},
		{"*/x", "/r", "/r/d/x", true},
		{"*/x", "/r", "/r/d/e/x", false},
		{"a//b/", "/r", "/r/a/b/", true},
		{"/r/foo", "/r", "/r/foo", true},    // absolute: begins with the named path
		{"/r/foo", "/r", "/r/r/foo", false}, // and is then nothing else
		{"/r/foo", "/q", "/q/r/foo", true},
		{"/home/*/.cache", "/home/anna", "/home/anna/.cache", true},
		{"/home/*/.cache", "/home", "/home/bob/.cache/", true},
		{"/**/x", "/home", "/home/bob/x", true},
		{"/home", "/home", "/home/home", true},
		{"/etc", "/", "/etc", true},
		{"/etc", "/", "/x/etc", false},
		{"etc/x", "/", "/etc/x", true},
		{"i:FOO*", "/r", "/r/fooBAR", true},
		{"i:/R/x", "/r", "/r/X", true},
	} {
		m := new(List)
		for p := range strings.FieldsSeq(test.patterns) {
			p, fold := strings.CutPrefix(p, "i:")
			check(t, m.Add(p, fold))
		}
		set := m.Bind([]string{test.root})
		path, isDir := strings.CutSuffix(test.path, "/")
		below := len(test.root)
		if test.root == "/" {
			below = 0
		}
		if got := set.Excluded(path, below, isDir); got != test.want {
			t.Errorf("%q below %s: %q: %v", test.patterns, test.root, test.path, got)
		}
	}
	for _, bad := range []string{"", "!", "/", "a[", `a\`, "[a-", "[[:digit:]"} {
		if err := new(List).Add(bad, false); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := Read(strings.NewReader("\uFEFF# comment\r\n\r\n*.o  \n\\#x\n!a b\\ \n   \n  lead"))
	check(t, err)
	if want := []string{"*.o", `\#x`, `!a b\ `, "  lead"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	m := new(List)
	check(t, m.Add(`a\ `, false))
	set := m.Bind([]string{"/"})
	if !set.Excluded("/a ", 0, false) {
		t.Error("an escaped blank at the end does not match")
	}
}

// FuzzList looks for patterns that hang or panic.
func FuzzList(f *testing.F) {
	for _, p := range []string{"*.o", "a/**/b", "[!a-z]", `\[x`, "**/x/**", "[[:alpha:]]?*"} {
		f.Add(p, "/a/b/c")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		m := new(List)
		if m.Add(pattern, len(path)%2 == 0) != nil || path == "" || path[0] != '/' {
			return
		}
		set := m.Bind([]string{"/a"})
		set.Excluded(path, 0, false)
		set.Excluded(path, 0, true)
	})
}
