package backup

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// nasty makes a tree with everything a Unix file system has.
func nasty(t *testing.T, root string) {
	t.Helper()
	write(t, root+"/plain", "hello")
	write(t, root+"/empty", "")
	write(t, root+"/min", noise(1, 1<<10))
	write(t, root+"/big", noise(2, 3<<20))
	write(t, root+"/zero", strings.Repeat("\x00", 300<<10))
	write(t, root+"/a\nnewline \xff\xfe name", "odd")
	write(t, root+"/dir with space/deep/er/file", noise(3, 100))
	write(t, root+"/"+strings.Repeat("n", 255), "long")
	write(t, root+"/-rf", "x")
	check(t, os.Mkdir(root+"/emptydir", 0o700))
	check(t, os.Symlink("plain", root+"/link"))
	check(t, os.Symlink("/no where\xff", root+"/dangling"))
	check(t, os.Link(root+"/plain", root+"/hard"))
	check(t, os.Link(root+"/plain", root+"/dir with space/hard too"))
	check(t, unix.Mkfifo(root+"/fifo", 0o640))
	check(t, os.Chmod(root+"/min", 0o4755|os.ModeSetuid))
	check(t, unix.Chmod(root+"/emptydir", 0o3770))
	check(t, os.Chtimes(root+"/empty", time.Unix(-1, 5), time.Unix(-1, 123456789)))
	check(t, os.Chtimes(root+"/-rf", time.Unix(1<<33, 7), time.Unix(1<<33, 7)))
	sparse(t, root+"/sparse", 20<<20, map[int64]string{0: "head", 5 << 20: noise(4, 100<<10), 20<<20 - 5: "tail"})
	sparse(t, root+"/holeonly", 1<<20, nil)
	sparse(t, root+"/holeend", 8<<20, map[int64]string{0: noise(5, 64<<10)})
	socket(t, root+"/sock")
	if os.Getuid() == 0 {
		check(t, unix.Mknod(root+"/char", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		check(t, unix.Mknod(root+"/block", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 300))))
		check(t, os.Lchown(root+"/link", 12345, 54321))
	}
}

// socket binds below a short path: a socket's address has room for 108 bytes.
func socket(t *testing.T, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "s")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/s", Net: "unix"})
	check(t, err)
	l.SetUnlinkOnClose(false)
	check(t, l.Close())
	check(t, os.Rename(dir+"/s", path))
}

func sparse(t *testing.T, path string, size int64, data map[int64]string) {
	t.Helper()
	f, err := os.Create(path)
	check(t, err)
	check(t, f.Truncate(size))
	for off, s := range data {
		_, err := f.WriteAt([]byte(s), off)
		check(t, err)
	}
	check(t, f.Close())
}

func TestNastyTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	nasty(t, root)
	s, cache := newStore(), newCache()
	o := testOptions(t, root)
	o.Cache, o.Progress = cache, new(Progress)

	first := mustRun(t, s, o)
	s.expect(t, first.Snapshot, root)
	if first.Incomplete || first.ErrorCount != 0 || first.WarningCount != 0 {
		t.Errorf("errors %v, warnings %v", first.Errors, first.Warnings)
	}
	if first.Files.New == 0 || first.Files.Changed+first.Files.Unchanged != 0 {
		t.Errorf("counts %+v", first.Files)
	}
	n := s.tree(t, first.Snapshot)[root+"/sparse"]
	if len(n.Holes) < 2 || len(s.tree(t, first.Snapshot)[root+"/holeonly"].Content) != 0 {
		t.Errorf("holes %v", n.Holes)
	}
	if first.BytesRead >= 10<<20 {
		t.Errorf("read %d bytes, the holes too", first.BytesRead)
	}
	if got := o.Progress.Bytes.Load(); uint64(got) != first.Bytes {
		t.Errorf("progress ended at %d of %d bytes", got, first.Bytes)
	}
	if got, want := o.Progress.Files.Load(), o.Progress.FoundFiles.Load(); got != want {
		t.Errorf("progress ended at %d of %d files", got, want)
	}

	s.reset()
	o.Progress = nil
	puts := cache.puts
	second := mustRun(t, s, o)
	trees, data := s.reset()
	// The time of /tmp, on the way to the tree, may have changed: then / is written anew.
	if trees > 1 || data != 0 || second.BytesRead != 0 {
		t.Errorf("second run: %d trees, %d chunks, %d bytes read", trees, data, second.BytesRead)
	}
	if second.Files.Unchanged != second.Files.Total() || second.Dirs.Unchanged < second.Dirs.Total()-1 || second.Others.Unchanged != second.Others.Total() {
		t.Errorf("second run: files %+v dirs %+v others %+v", second.Files, second.Dirs, second.Others)
	}
	if cache.puts > puts+1 {
		t.Errorf("second run wrote %d records", cache.puts-puts)
	}
	s.expect(t, second.Snapshot, root)
}

func TestXattrs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "x")
	check(t, os.Mkdir(root+"/d", 0o755))
	big := strings.Repeat("v", 3000)
	if err := unix.Setxattr(root+"/f", "user.b", []byte(big), 0); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
	check(t, unix.Setxattr(root+"/f", "user.a", nil, 0))
	check(t, unix.Setxattr(root+"/d", "user.d", []byte("\x00\xff"), 0))
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	want := map[string]string{"/f": fmt.Sprint([]snapshot.Xattr{{Name: "user.a"}, {Name: "user.b", Value: []byte(big)}}),
		"/d": fmt.Sprint([]snapshot.Xattr{{Name: "user.d", Value: []byte("\x00\xff")}})}
	for range 2 {
		got := s.tree(t, mustRun(t, s, o).Snapshot)
		for name, w := range want {
			if g := fmt.Sprint(got[root+name].Xattrs); g != w {
				t.Errorf("%s: %s", name, g)
			}
		}
	}
	// A changed attribute changes the ctime and nothing else.
	check(t, unix.Setxattr(root+"/d", "user.d", []byte("new"), 0))
	if got := s.tree(t, mustRun(t, s, o).Snapshot)[root+"/d"].Xattrs; len(got) != 1 || string(got[0].Value) != "new" {
		t.Errorf("after the change: %v", got)
	}
}

func TestOneChangedFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 20 {
		write(t, fmt.Sprintf("%s/a/b%d/c/f%d", root, i, i), noise(uint64(i), 500))
	}
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	mustRun(t, s, o)
	s.reset()
	write(t, root+"/a/b7/c/f7", "changed")
	report := mustRun(t, s, o)
	trees, data := s.reset()
	// The tree of each directory from c up to /: c, b7, a, root and what leads to it.
	if want := 3 + len(strings.Split(strings.Trim(root, "/"), "/")) + 1; trees != want || data != 1 {
		t.Errorf("%d trees and %d chunks, want %d and 1", trees, data, want)
	}
	if report.Files.Changed != 1 || report.BytesRead != 7 {
		t.Errorf("changed %d files, read %d bytes", report.Files.Changed, report.BytesRead)
	}
	s.expect(t, report.Snapshot, root)

	check(t, os.Remove(root+"/a/b8/c/f8"))
	check(t, os.Rename(root+"/a/b9", root+"/a/moved"))
	report = mustRun(t, s, o)
	s.expect(t, report.Snapshot, root)
}

// TestParent: without a stat cache the previous snapshot serves as well, and an unreadable one does no harm.
func TestParent(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	nasty(t, root)
	s, o := newStore(), testOptions(t, root)
	first := mustRun(t, s, o)
	o.Parent = &Parent{Content: first.Snapshot.Content, Depth: first.Snapshot.Depth, Start: later(), Load: s.load}
	s.reset()
	second := mustRun(t, s, o)
	if trees, data := s.reset(); trees > 1 || data != 0 || second.BytesRead != 0 || second.Files.Unchanged != second.Files.Total() {
		t.Errorf("%d trees, %d chunks, %d bytes read, %+v", trees, data, second.BytesRead, second.Files)
	}

	o.Parent.Start = time.Now().Add(-time.Hour) // everything is younger than that backup
	if third := mustRun(t, s, o); third.BytesRead != first.BytesRead {
		t.Errorf("racy files: read %d bytes of %d", third.BytesRead, first.BytesRead)
	}
	o.Parent.Start = later()
	o.Force = true
	if forced := mustRun(t, s, o); forced.BytesRead != first.BytesRead {
		t.Errorf("forced: read %d bytes of %d", forced.BytesRead, first.BytesRead)
	}

	o.Force = false
	for key := range s.blobs {
		delete(s.blobs, key)
	}
	lost := mustRun(t, s, o)
	s.expect(t, lost.Snapshot, root)
}

// TestLostBlob: what the archive no longer has is read again, the rest is not.
func TestLostBlob(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/a", noise(1, 900))
	write(t, root+"/b", noise(2, 800))
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	first := mustRun(t, s, o)
	id := s.tree(t, first.Snapshot)[root+"/b"].Content[0]
	delete(s.blobs, blobKey{1, id})
	second := mustRun(t, s, o)
	if second.BytesRead != 800 {
		t.Errorf("read %d bytes", second.BytesRead)
	}
	s.expect(t, second.Snapshot, root)
	// A lost tree is written again without reading a file.
	for key := range s.blobs {
		if key.t == 2 {
			delete(s.blobs, key)
		}
	}
	third := mustRun(t, s, o)
	if third.BytesRead != 0 {
		t.Errorf("lost trees: read %d bytes", third.BytesRead)
	}
	s.expect(t, third.Snapshot, root)
}

func TestRacy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "12345")
	s, o := newStore(), testOptions(t, root)
	o.Cache, o.clock = newCache(), time.Now
	mustRun(t, s, o)
	if again := mustRun(t, s, o); again.BytesRead != 5 || again.Files.Unchanged != 1 {
		t.Errorf("a file as young as the backup: read %d bytes, %+v", again.BytesRead, again.Files)
	}
	o.clock = later
	mustRun(t, s, o)
	if again := mustRun(t, s, o); again.BytesRead != 0 {
		t.Errorf("a settled file: read %d bytes", again.BytesRead)
	}
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "12345")
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	mustRun(t, s, o)
	check(t, os.Chmod(root+"/f", 0o600)) // a new ctime
	o.IgnoreCtime = true
	report := mustRun(t, s, o)
	if report.BytesRead != 0 {
		t.Errorf("ignoring ctime: read %d bytes", report.BytesRead)
	}
	s.expect(t, report.Snapshot, root)

	st, err := os.Stat(root + "/f")
	check(t, err)
	check(t, os.Rename(root+"/f", root+"/old"))
	write(t, root+"/f", "12345")
	check(t, os.Remove(root+"/old"))
	check(t, os.Chmod(root+"/f", 0o600))
	check(t, os.Chtimes(root+"/f", st.ModTime(), st.ModTime()))
	o.IgnoreInode = true
	report = mustRun(t, s, o)
	if report.BytesRead != 0 {
		t.Errorf("ignoring inodes: read %d bytes", report.BytesRead)
	}
	s.expect(t, report.Snapshot, root)
}

// TestSkipIfUnchanged: D2: what did not change makes no snapshot.
func TestSkipIfUnchanged(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "12345")
	s, o := newStore(), testOptions(t, root)
	o.SkipIfUnchanged = true
	first := mustRun(t, s, o)
	check(t, os.Mkdir(filepath.Dir(root)+"/beside", 0o755)) // changes a directory on the way, and nothing that was named
	o.Parent = &Parent{Content: first.Snapshot.Content, Depth: first.Snapshot.Depth, Start: later(), Load: s.load}
	second := mustRun(t, s, o)
	if first.Unchanged || !second.Unchanged || len(s.commits) != 1 || !second.ID.IsZero() {
		t.Errorf("%v %v, %d snapshots", first.Unchanged, second.Unchanged, len(s.commits))
	}
	write(t, root+"/f", "6")
	if third := mustRun(t, s, o); third.Unchanged || len(s.commits) != 2 {
		t.Errorf("a changed tree made no snapshot")
	}
}

func TestAtime(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "x")
	check(t, os.Chtimes(root+"/f", time.Unix(1000, 5), time.Unix(2000, 6)))
	s, o := newStore(), testOptions(t, root)
	if n := s.tree(t, mustRun(t, s, o).Snapshot)[root+"/f"]; !n.Atime.IsZero() {
		t.Errorf("atime %v", n.Atime)
	}
	o.WithAtime = true
	n := s.tree(t, mustRun(t, s, o).Snapshot)[root+"/f"]
	if os.Getuid() == 0 && n.Atime != (snapshot.Time{Sec: 1000, Nsec: 5}) { // reading it changed nothing: O_NOATIME
		t.Errorf("atime %v", n.Atime)
	}
}

// TestDeepTree goes far beyond PATH_MAX and beyond the number of directories that are kept open.
func TestDeepTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const levels = 600
	name := strings.Repeat("d", 30)
	fd, err := unix.Open(root, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	check(t, err)
	for range levels {
		check(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
		check(t, err)
		unix.Close(fd)
		fd = next
		for _, side := range []string{"a", "z"} { // entered before and after the deep one
			check(t, unix.Mkdirat(fd, side, 0o755))
		}
		f, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
		check(t, err)
		_, err = unix.Write(f, []byte("deep"))
		check(t, err)
		unix.Close(f)
	}
	unix.Close(fd)
	t.Cleanup(func() { removeDeep(t, root, name) })
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	first := mustRun(t, s, o)
	if first.Incomplete || first.Files.Total() != levels || first.WarningCount != 0 {
		t.Fatalf("%+v, errors %v, warnings %v", first.Files, first.Errors, first.Warnings)
	}
	if second := mustRun(t, s, o); second.BytesRead != 0 || second.Files.Unchanged != levels {
		t.Errorf("second run: %+v", second.Files)
	}
}

func removeDeep(t *testing.T, root, name string) {
	// os.RemoveAll works with descriptors, so any depth will do.
	if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
		t.Error(err)
	}
}
