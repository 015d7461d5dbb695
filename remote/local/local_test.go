package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cairn/remote"
	"cairn/remote/remotetest"
)

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := CreateWith(filepath.Join(t.TempDir(), "store"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	remotetest.Run(t, func(t *testing.T) remote.Store { return open(t, Options{NoSync: true}) })
}

func TestSub(t *testing.T) {
	remotetest.Run(t, func(t *testing.T) remote.Store { return remote.Sub(open(t, Options{NoSync: true}), "m00/sub") })
}

// TestTwoStores: what one process writes, another sees, and directories that one made do not confuse the other.
func TestTwoStores(t *testing.T) {
	a := open(t, Options{})
	b, err := Open(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range 20 {
		w, r := a, b
		if i%2 == 1 {
			w, r = b, a
		}
		name, data := fmt.Sprintf("d%d/e/x%d", i/4, i), []byte{byte(i)}
		if err := w.Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Get(t.Context(), name, 0, -1, nil); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("other store reads %v, %v", got, err)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(dir, "none"): "does not exist", file: "not a directory", fifo: "not a directory", file + "/x": "not a directory",
	} {
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), path) || remote.Hint(err) == "" {
			t.Errorf("Open(%s): %v, hint %q", path, err, remote.Hint(err))
		}
		if errors.Is(err, remote.ErrNotExist) {
			t.Errorf("Open(%s) says that an object does not exist", path)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("Open made the directory")
	}
	for _, path := range []string{file, file + "/x/y"} {
		if _, err := Create(path); err == nil || remote.Hint(err) == "" {
			t.Errorf("Create(%s): %v, hint %q", path, err, remote.Hint(err))
		}
	}
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 { // an existing one is opened
		s, err := Create(deep)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	for _, d := range []string{"a", "a/b", "a/b/c"} {
		if info, err := os.Stat(filepath.Join(dir, d)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("Create made %s with mode %v, %v", d, info.Mode(), err)
		}
	}
}

// TestRelative: a Store does not lose its directory when the process changes its own.
func TestRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := Create("rel/store")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Chdir(t.TempDir())
	if err := s.Put(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("List: %q", got)
	}
}

func names(t *testing.T, s remote.Store) []string {
	t.Helper()
	list := []string{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, info.Name)
	}
	slices.Sort(list)
	return list
}

// TestForeign: what others put into the directory is not listed unless it could be an object, and never hangs or crashes.
func TestForeign(t *testing.T) {
	s := open(t, Options{NoSync: true})
	in := func(name string) string { return filepath.Join(s.dir, name) }
	if err := s.Put(t.Context(), "dir/object", []byte("x")); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	for _, err := range []error{
		os.WriteFile(outside, []byte("secret"), 0o600),
		os.WriteFile(in("dir/umlaut-ä"), nil, 0o600),
		os.WriteFile(in("dir/new\nline"), nil, 0o600),
		os.Mkdir(in("dir/ä"), 0o700),
		os.WriteFile(in("dir/ä/x"), nil, 0o600),
		syscall.Mkfifo(in("fifo"), 0o600),
		os.Symlink(outside, in("link")),
		os.Symlink(filepath.Dir(outside), in("linkdir")),
		os.Symlink("../..", in("dir/up")),
		os.Symlink("dir", in("inside")),
		os.Symlink("loop", in("loop")),
		os.Mkdir(in("empty"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, s); !slices.Equal(got, []string{"dir/object"}) {
		t.Errorf("List: %q", got)
	}
	for _, name := range []string{"link", "linkdir/secret", "dir/up/store/dir/object", "loop", "fifo"} {
		if b, err := s.Get(t.Context(), name, 0, -1, nil); err == nil {
			t.Errorf("Get(%q): %q", name, b)
		}
		if _, err := s.Stat(t.Context(), name); err == nil {
			t.Errorf("Stat(%q): no error", name)
		}
	}
	for _, name := range []string{"linkdir/new", "dir/up/new"} {
		if err := s.Put(t.Context(), name, []byte("x")); err == nil || !remote.IsPermanent(err) {
			t.Errorf("Put(%q) through a link that leads out: %v", name, err)
		}
		if err := s.Delete(t.Context(), "linkdir/secret"); err == nil {
			t.Error("Delete through a link that leads out: no error")
		}
	}
	if err := s.Put(t.Context(), "link", []byte("mine")); err != nil { // replaces the link, not what it points to
		t.Error(err)
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "secret" {
		t.Errorf("file outside is now %q, %v", b, err)
	}
}

// TestErrors: the causes an operator can cure are permanent, name store and object, and say what to do.
func TestErrors(t *testing.T) {
	s := open(t, Options{NoSync: true})
	for _, errno := range []syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.EIO,
	} {
		err := s.explain("put", "a/b", &fs.PathError{Op: "openat", Path: "a/b/.tmp-x", Err: errno})
		if !errors.Is(err, errno) || !remote.IsPermanent(err) || remote.Hint(err) == "" || !strings.Contains(err.Error(), s.dir) ||
			!strings.Contains(err.Error(), "a/b") || strings.Contains(err.Error(), ".tmp") {
			t.Errorf("%v: %v, permanent %v, hint %q", errno, err, remote.IsPermanent(err), remote.Hint(err))
		}
	}
	for _, errno := range []syscall.Errno{syscall.ESTALE, syscall.EMFILE, syscall.EAGAIN} {
		if err := s.explain("get", "a", &fs.PathError{Err: errno}); remote.IsPermanent(err) || !errors.Is(err, errno) {
			t.Errorf("%v: %v is permanent", errno, err)
		}
	}
	if err := s.explain("put", "a", context.Canceled); err != context.Canceled {
		t.Errorf("context error became %v", err)
	}
}

// TestFileInTheWay: a file where a directory is needed and the reverse.
func TestFileInTheWay(t *testing.T) {
	s := open(t, Options{NoSync: true})
	if err := s.Put(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/b/c", "a/b/c/d"} {
		err := s.Put(t.Context(), name, []byte("x"))
		if err == nil || errors.Is(err, remote.ErrNotExist) || !remote.IsPermanent(err) || remote.Hint(err) == "" {
			t.Errorf("Put(%q): %v, hint %q", name, err, remote.Hint(err))
		}
	}
	if left := temps(t, s); len(left) != 0 {
		t.Errorf("failed Puts left %q", left)
	}
}

func temps(t *testing.T, s *Store) (left []string) {
	t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(path, remote.TempPrefix) {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestNoSpace fills a real file system.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Put(t.Context(), "a/small", []byte("x")); err != nil {
		t.Fatal(err)
	}
	err = s.Put(t.Context(), "a/big", make([]byte, 2<<20))
	if !errors.Is(err, syscall.ENOSPC) || !remote.IsPermanent(err) || remote.Hint(err) == "" {
		t.Errorf("Put into a full file system: %v, hint %q", err, remote.Hint(err))
	}
	if left := temps(t, s); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	if got := names(t, s); !slices.Equal(got, []string{"a/small"}) {
		t.Errorf("List: %q", got)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Put(t.Context(), "a/x", nil), s.Delete(t.Context(), "a/small")} {
		if !errors.Is(err, syscall.EROFS) || !remote.IsPermanent(err) || remote.Hint(err) == "" {
			t.Errorf("writing into a read-only file system: %v, hint %q", err, remote.Hint(err))
		}
	}
	if _, err := s.Get(t.Context(), "a/small", 0, -1, nil); err != nil {
		t.Errorf("reading from a read-only file system: %v", err)
	}
}

// TestRemoved: a store whose directory vanishes is unavailable; its objects do not "not exist".
func TestRemoved(t *testing.T) {
	s := open(t, Options{})
	if err := s.Put(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	// Directories below it may vanish (another program tidies up): they are made again.
	if err := os.RemoveAll(filepath.Join(s.dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a/c", nil); err != nil {
		t.Errorf("Put after its directory was removed: %v", err)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	_, gerr := s.Get(t.Context(), "a/c", 0, -1, nil)
	_, serr := s.Stat(t.Context(), "a/c")
	errs := []error{gerr, serr, s.Put(t.Context(), "a/c", nil), s.Put(t.Context(), "x", nil), s.Delete(t.Context(), "a/c")}
	for _, err := range s.List(t.Context(), "") {
		errs = append(errs, err)
	}
	for _, err := range s.List(t.Context(), "a/") {
		errs = append(errs, err)
	}
	if len(errs) != 7 {
		t.Errorf("%d errors, want 7", len(errs))
	}
	for i, err := range errs {
		if !errors.Is(err, remote.ErrUnavailable) || errors.Is(err, remote.ErrNotExist) || remote.Hint(err) == "" {
			t.Errorf("operation %d in a removed directory: %v", i, err)
		}
	}
}

// TestSyncs: a Put syncs the file before it gets its name, then its directory, then the parents of directories that are new to
// this Store; a Delete syncs the directory.
func TestSyncs(t *testing.T) {
	s := open(t, Options{})
	var synced []string
	first := true
	watch := func(s *Store) {
		s.fsync = func(f *os.File) error {
			name, err := filepath.Rel(s.dir, f.Name())
			if i := strings.Index(name, remote.TempPrefix); i >= 0 {
				name = name[:i] + "TEMP"
				if first && len(names(t, s)) > 0 {
					t.Error("the object is there before its bytes are synced")
				}
				first = false
			}
			synced = append(synced, name)
			return errors.Join(err, f.Sync())
		}
	}
	want := func(what string, err error, want ...string) {
		t.Helper()
		if err != nil || !slices.Equal(synced, want) {
			t.Errorf("%s: synced %q, want %q; %v", what, synced, want, err)
		}
		synced = nil
	}
	watch(s)
	ctx := t.Context()
	want("first Put", s.Put(ctx, "a/b/new", nil), "a/b/TEMP", "a/b", ".", "a")
	want("second Put", s.Put(ctx, "a/b/x", nil), "a/b/TEMP", "a/b")
	want("Put beside", s.Put(ctx, "a/c/x", nil), "a/c/TEMP", "a/c", "a")
	want("Put into the root", s.Put(ctx, "x", nil), "TEMP", ".")
	want("PutNew", s.PutNew(ctx, "a/b/y", nil), "a/b/TEMP", "a/b")
	want("Delete", s.Delete(ctx, "a/b/x"), "a/b")
	want("Delete of nothing", s.Delete(ctx, "a/b/x"))

	other, err := Open(s.dir) // another process: its directories may not be synced yet
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	watch(other)
	want("Put by another", other.Put(ctx, "a/b/z", nil), "a/b/TEMP", "a/b", ".", "a")

	s.fsync = func(*os.File) error { return syscall.EIO }
	if err := s.Put(ctx, "a/b/bad", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("Put whose fsync fails: %v", err)
	}
	if _, err := s.Stat(ctx, "a/b/bad"); !errors.Is(err, remote.ErrNotExist) || len(temps(t, s)) != 0 {
		t.Errorf("Put whose fsync fails left something: %v, %q", err, temps(t, s))
	}
}

// TestModes: what is stored is for its owner alone.
func TestModes(t *testing.T) {
	s := open(t, Options{})
	if err := s.Put(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{".": 0o700, "a": 0o700, "a/b": 0o600} {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

// TestKnownIsBounded: the cache of directories forgets, and forgetting is no harm.
func TestKnownIsBounded(t *testing.T) {
	var k known
	for i := range 2*maxKnown + 10 {
		k.add(fmt.Sprint(i))
		if len(k.dirs) > maxKnown {
			t.Fatalf("%d directories are known", len(k.dirs))
		}
	}
}

func TestAncestors(t *testing.T) {
	for dir, want := range map[string][]string{".": nil, "a": {"a"}, "a/b/c": {"a", "a/b", "a/b/c"}} {
		if got := slices.Collect(ancestors(dir)); !slices.Equal(got, want) {
			t.Errorf("ancestors(%q): %q, want %q", dir, got, want)
		}
	}
}
