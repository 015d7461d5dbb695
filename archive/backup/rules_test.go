package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

func paths(t *testing.T, s *store, snap *snapshot.Snapshot, root string) []string {
	t.Helper()
	var list []string
	for p := range s.tree(t, snap) {
		if rest, ok := strings.CutPrefix(p, root+"/"); ok {
			list = append(list, rest)
		}
	}
	slices.Sort(list)
	return list
}

func wantPaths(t *testing.T, s *store, r *Report, root string, want ...string) {
	t.Helper()
	if got := paths(t, s, r.Snapshot, root); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/cache/CACHEDIR.TAG", cacheHeader+"\n# more")
	write(t, root+"/cache/x/y", "1")
	write(t, root+"/nocache/CACHEDIR.TAG", "something else")
	write(t, root+"/nocache/x", "1")
	write(t, root+"/marked/.nobackup", "")
	write(t, root+"/marked/x", "1")
	write(t, root+"/large", "12345")
	write(t, root+"/small", "1234")
	s, o := newStore(), testOptions(t, root)
	o.ExcludeCaches, o.ExcludeIfPresent, o.ExcludeLargerThan = true, []string{".nobackup"}, 4
	r := mustRun(t, s, o)
	wantPaths(t, s, r, root, "cache", "marked", "marked/.nobackup", "nocache", "nocache/x", "small")

	o.ExcludeLargerThan = 0
	r = mustRun(t, s, o)
	wantPaths(t, s, r, root, "cache", "cache/CACHEDIR.TAG", "large", "marked", "marked/.nobackup",
		"nocache", "nocache/CACHEDIR.TAG", "nocache/x", "small")
	if len(r.Snapshot.Excludes) != 2 {
		t.Errorf("rules %q", r.Snapshot.Excludes)
	}
	o.ExcludeIfPresent = []string{".nobackup:header"}
	r = mustRun(t, s, o)
	if !slices.Contains(paths(t, s, r.Snapshot, root), "marked/x") {
		t.Error("a marker without its header counted")
	}
	o.ExcludeIfPresent = []string{"a/b"}
	if _, err := Run(t.Context(), s, o); err == nil {
		t.Error("a marker with a slash was accepted")
	}
}

func TestExcludes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, p := range []string{"a.o", "keep.o", "build/x", "src/build/y", "src/tmp/z", "src/tmp/keep", "node_modules/m"} {
		write(t, root+"/"+p, "1")
	}
	s, o := newStore(), testOptions(t, root)
	o.Excludes = new(pattern.List)
	for _, p := range []string{"*.o", "!keep.o", "/build", root + "/src/tmp/*", "!" + root + "/src/tmp/keep", "node_modules/"} {
		check(t, o.Excludes.Add(p, false))
	}
	r := mustRun(t, s, o)
	wantPaths(t, s, r, root, "keep.o", "src", "src/build", "src/build/y", "src/tmp", "src/tmp/keep")

	// What was named is kept, also below something that is excluded.
	o.Paths = []string{root, root + "/node_modules/m", root + "/a.o"}
	r = mustRun(t, s, o)
	wantPaths(t, s, r, root, "a.o", "keep.o", "node_modules", "node_modules/m", "src", "src/build", "src/build/y", "src/tmp", "src/tmp/keep")
}

func TestPaths(t *testing.T) {
	t.Parallel()
	root, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	write(t, root+"/a/one", "1")
	write(t, root+"/a/sub/two", "2")
	write(t, root+"/b/three", "3")
	write(t, root+"/b/other", "3")
	check(t, os.Symlink("a", root+"/link"))
	check(t, os.Chmod(root+"/b", 0o751))
	s := newStore()

	// A file, a directory in it twice, a symlink, something missing.
	r := mustRun(t, s, testOptions(t, root+"/b/three", root+"/a/sub", root+"/a/", root+"/a", root+"/link", root+"/missing"))
	wantPaths(t, s, r, root, "a", "a/one", "a/sub", "a/sub/two", "b", "b/three", "link")
	got := s.tree(t, r.Snapshot)
	if got[root+"/link"].Type != snapshot.Symlink || got[root+"/b"].Mode != 0o751 || got[root+"/b"].Mtime.IsZero() {
		t.Errorf("link %+v, way %+v", got[root+"/link"], got[root+"/b"])
	}
	if !r.Incomplete || len(r.Errors) != 1 || r.Errors[0].Path != root+"/missing" {
		t.Errorf("errors %v", r.Errors)
	}
	if want := []string{root + "/b/three", root + "/a/sub", root + "/a", root + "/link", root + "/missing"}; !slices.Equal(r.Snapshot.Paths, want) {
		t.Errorf("paths %q", r.Snapshot.Paths)
	}

	// Through a symlink: recorded as it was named, unless the outer path records the link.
	r = mustRun(t, s, testOptions(t, root+"/link/sub"))
	wantPaths(t, s, r, root, "link", "link/sub", "link/sub/two")
	r = mustRun(t, s, testOptions(t, root+"/link/sub", root+"/b", root))
	s.expect(t, r.Snapshot, root)

	for _, none := range [][]string{nil, {root + "/missing"}} {
		if _, err := Run(t.Context(), s, testOptions(t, none...)); !errors.Is(err, ErrNoPaths) {
			t.Errorf("%q: %v", none, err)
		}
	}
}

// TestRelativePaths changes the working directory, so it is not parallel.
func TestRelativePaths(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	write(t, root+"/a/f", "1")
	t.Chdir(root + "/a")
	s := newStore()
	for _, p := range []string{".", "../a", "./", root + "/a/../a"} {
		s.expect(t, mustRun(t, s, testOptions(t, p)).Snapshot, root+"/a")
	}
}

func TestOneFileSystem(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/dir/f", "1")
	check(t, os.Mkdir(root+"/mnt", 0o755))
	if err := unix.Mount("none", root+"/mnt", "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(root+"/mnt", unix.MNT_DETACH) })
	write(t, root+"/mnt/inside/f", "1")
	write(t, root+"/mnt/g", "1")
	s, o := newStore(), testOptions(t, root)
	wantPaths(t, s, mustRun(t, s, o), root, "dir", "dir/f", "mnt", "mnt/g", "mnt/inside", "mnt/inside/f")
	o.OneFileSystem = true
	wantPaths(t, s, mustRun(t, s, o), root, "dir", "dir/f", "mnt")
	o.Paths = []string{root, root + "/mnt"} // named as well
	wantPaths(t, s, mustRun(t, s, o), root, "dir", "dir/f", "mnt", "mnt/g", "mnt/inside", "mnt/inside/f")
	o.Paths = []string{root, root + "/mnt/inside"}
	wantPaths(t, s, mustRun(t, s, o), root, "dir", "dir/f", "mnt", "mnt/inside", "mnt/inside/f")
}

func TestCount(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	nasty(t, root)
	o := testOptions(t, root)
	o.Excludes, o.Progress = new(pattern.List), new(Progress)
	check(t, o.Excludes.Add("big", false))
	check(t, Count(t.Context(), o))
	s := newStore()
	r := mustRun(t, s, o)
	if f, b := o.Progress.CountedFiles.Load(), o.Progress.CountedBytes.Load(); uint64(f) != r.Files.Total()+r.Others.Total() || uint64(b) != r.Bytes {
		t.Errorf("counted %d files and %d bytes, backed up %+v %+v and %d", f, b, r.Files, r.Others, r.Bytes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Count(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
