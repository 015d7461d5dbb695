package profile_test

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/snapshot/pattern"
)

// kept lists the files below dir that a run of a source would read as files, with the class of the part, by their path below dir.
func kept(t *testing.T, f *source.File, dir string) map[string]source.Class {
	t.Helper()
	found := map[string]source.Class{}
	for i := range f.Parts {
		p := &f.Parts[i]
		if p.Tree == nil || p.Class == source.Never || p.Class == source.Derived {
			continue
		}
		bound := excludes(t, p.Tree).Bind([]string{p.Tree.Path})
		err := filepath.WalkDir(p.Tree.Path, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && name == p.Tree.Path && p.Optional:
				return fs.SkipDir
			case err != nil:
				return err
			case name != p.Tree.Path && bound.Excluded(name, len(p.Tree.Path), d.IsDir()):
				if d.IsDir() {
					return fs.SkipDir
				}
			case !d.IsDir():
				rel, err := filepath.Rel(dir, name)
				if err != nil {
					return err
				}
				found[rel] = p.Class
			}
			return nil
		})
		if err != nil {
			t.Fatalf("part %s: %v", p.Name, err)
		}
	}
	return found
}

func excludes(t *testing.T, tree *source.Tree) *pattern.List {
	t.Helper()
	list := &pattern.List{}
	for _, texts := range [][]string{tree.Exclude, tree.Derived, tree.Never} {
		for _, text := range texts {
			if err := list.Add(text, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	return list
}

// wantKept compares the files that are kept, and names those that are not.
func wantKept(t *testing.T, f *source.File, dir string, want map[string]source.Class) {
	t.Helper()
	got := kept(t, f, dir)
	for name := range got {
		top := name
		for { // a directory in want stands for all that is below it
			if class, ok := want[top+"/"]; ok && class == got[name] {
				delete(got, name)
				got[top+"/"] = class
				break
			}
			at := strings.LastIndexByte(top, '/')
			if at < 0 {
				break
			}
			top = top[:at]
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("kept files: -want +got\n%s", d)
	}
}

// part finds a part by name.
func part(t *testing.T, f *source.File, name string) *source.Part {
	t.Helper()
	i := slices.IndexFunc(f.Parts, func(p source.Part) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range f.Parts {
			names = append(names, p.Name)
		}
		t.Fatalf("source %s has no part %q; it has %q", f.Name, name, names)
	}
	return &f.Parts[i]
}

func wantClasses(t *testing.T, f *source.File, want map[string]source.Class) {
	t.Helper()
	for name, class := range want {
		if p := part(t, f, name); p.Class != class {
			t.Errorf("%s: part %s has class %s, want %s", f.Name, name, p.Class, class)
		}
	}
}

// order lists the kinds of the parts that are read.
func order(f *source.File) (kinds []string) {
	for i := range f.Parts {
		if c := f.Parts[i].Class; c != source.Never && c != source.Derived {
			kinds = append(kinds, f.Parts[i].Kind())
		}
	}
	return kinds
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}
