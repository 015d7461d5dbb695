package nasty

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/tests/treecmp"
)

// build makes a small tree that is removed after the test, also by a normal user.
func build(t *testing.T, o Options) (string, Report) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	r, err := Build(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir, r
}

// TestSameSeed: two trees of one seed are equal, as far as can be read; another seed makes another tree.
func TestSameSeed(t *testing.T) {
	t.Parallel()
	a, ra := build(t, Options{Seed: 7, Small: true})
	b, rb := build(t, Options{Seed: 7, Small: true})
	if diff := cmp.Diff(ra, rb); diff != "" {
		t.Error(diff)
	}
	list, err := treecmp.List(a, b, treecmp.Options{IgnoreUnreadable: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		t.Error(d)
	}
	c, _ := build(t, Options{Seed: 8, Small: true})
	if list, err := treecmp.List(a, c, treecmp.Options{}); err != nil || len(list) == 0 {
		t.Errorf("seeds 7 and 8: %v, %v", list, err)
	}
}

// TestSkipped: root on a Linux file system misses nothing but large attributes and very late times.
func TestSkipped(t *testing.T) {
	t.Parallel()
	_, r := build(t, Options{Small: true})
	t.Logf("%d names", r.Names)
	for _, s := range r.Skipped {
		t.Log("not made: ", s)
		if os.Geteuid() == 0 && !strings.Contains(s, "xattr") && !strings.Contains(s, "mtime") && !strings.Contains(s, "operation not permitted") {
			t.Error("root could not make ", s)
		}
	}
}

func TestNotEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(dir, Options{}); err == nil {
		t.Error("a tree was built into a directory that holds something")
	}
}
