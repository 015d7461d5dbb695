package treecmp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const name = "caf\xe9\n"

// plant makes the same small tree twice; each case then changes the second one.
func plant(t *testing.T) (a, b string) {
	t.Helper()
	a, b = t.TempDir(), t.TempDir()
	for _, top := range []string{a, b} {
		must(t, os.Mkdir(filepath.Join(top, "dir"), 0o755))
		must(t, os.WriteFile(filepath.Join(top, "dir", name), []byte("content"), 0o644))
		must(t, os.Link(filepath.Join(top, "dir", name), filepath.Join(top, "link")))
		must(t, os.Symlink("dir", filepath.Join(top, "symlink")))
		must(t, unix.Mkfifo(filepath.Join(top, "pipe"), 0o600))
		must(t, os.WriteFile(filepath.Join(top, "sparse"), make([]byte, 5000), 0o600))
		must(t, os.Truncate(filepath.Join(top, "sparse"), 1<<20))
		freeze(t, top)
	}
	return a, b
}

// freeze gives everything one mtime.
func freeze(t *testing.T, top string) {
	t.Helper()
	must(t, filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ts := []unix.Timespec{{Sec: 1}, {Sec: -1, Nsec: 5}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	a, b := plant(t)
	got, err := List(a, b, Options{})
	if err != nil || got != nil {
		t.Errorf("List = %v, %v", got, err)
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		change func(t *testing.T, at func(string) string)
		want   []string // path: what
	}{
		{"missing", func(t *testing.T, at func(string) string) { must(t, os.Remove(at("pipe"))) }, []string{"pipe: missing"}},
		{"extra", func(t *testing.T, at func(string) string) { must(t, os.Mkdir(at("dir/x"), 0o700)) }, []string{"dir/x: extra"}},
		{"content", func(t *testing.T, at func(string) string) {
			must(t, os.WriteFile(at("link"), []byte("Content"), 0o644))
		}, []string{"dir/" + name + ": content", "link: content"}},
		{"size", func(t *testing.T, at func(string) string) {
			must(t, os.Truncate(at("sparse"), 1<<20+1))
		}, []string{"sparse: size"}},
		{"type", func(t *testing.T, at func(string) string) {
			must(t, os.Remove(at("pipe")))
			must(t, os.WriteFile(at("pipe"), nil, 0o600))
		}, []string{"pipe: type"}},
		{"mode", func(t *testing.T, at func(string) string) { must(t, os.Chmod(at("dir"), 0o750)) }, []string{"dir: mode"}},
		{"setuid", func(t *testing.T, at func(string) string) {
			must(t, unix.Chmod(at("sparse"), 0o4600))
		}, []string{"sparse: mode"}},
		{"target", func(t *testing.T, at func(string) string) {
			must(t, os.Remove(at("symlink")))
			must(t, os.Symlink("elsewhere", at("symlink")))
		}, []string{"symlink: target"}},
		{"link broken", func(t *testing.T, at func(string) string) {
			must(t, os.Remove(at("link")))
			must(t, os.WriteFile(at("link"), []byte("content"), 0o644))
		}, []string{"link: hard link"}},
		{"filled hole", func(t *testing.T, at func(string) string) {
			must(t, os.WriteFile(at("sparse"), make([]byte, 1<<20), 0o600))
		}, []string{"sparse: hole"}},
		{"xattr", func(t *testing.T, at func(string) string) {
			if err := unix.Setxattr(at("dir"), "user.x", []byte{0, 255}, 0); err != nil {
				t.Skip(err)
			}
		}, []string{`dir: xattr "user.x"`}},
		{"acl", func(t *testing.T, at func(string) string) {
			acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x39\x05\x00\x00\x04\x00\x00\x00\xff\xff\xff\xff" +
				"\x10\x00\x00\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
			if err := unix.Setxattr(at("sparse"), "system.posix_acl_access", []byte(acl), 0); err != nil {
				t.Skip(err)
			}
		}, []string{`sparse: xattr "system.posix_acl_access"`}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			a, b := plant(t)
			c.change(t, func(path string) string { return filepath.Join(b, path) })
			freeze(t, b)
			compare(t, a, b, Options{}, c.want)
		})
	}
}

func compare(t *testing.T, a, b string, o Options, want []string) {
	t.Helper()
	list, err := List(a, b, o)
	must(t, err)
	var got []string
	for _, d := range list {
		got = append(got, d.Path+": "+d.What)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}

func TestMtime(t *testing.T) {
	t.Parallel()
	a, b := plant(t)
	for _, path := range []string{"dir", "link"} {
		must(t, os.Chtimes(filepath.Join(b, path), time.Time{}, time.Unix(-1, 6)))
	}
	compare(t, a, b, Options{}, []string{"dir: mtime", "dir/" + name + ": mtime", "link: mtime"})
}

func TestRoot(t *testing.T) {
	t.Parallel()
	a, b := plant(t)
	must(t, os.Chmod(b, 0o711))
	compare(t, a, b, Options{}, []string{".: mode"})
	compare(t, a, b, Options{IgnoreRoot: true}, nil)
}

func TestOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	a, b := plant(t)
	must(t, os.Lchown(filepath.Join(b, "symlink"), 1234, 0))
	compare(t, a, b, Options{}, []string{"symlink: owner"})
	compare(t, a, b, Options{IgnoreOwner: true}, nil)
}

func TestDevice(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	for i, top := range []string{a, b} {
		if err := unix.Mknod(filepath.Join(top, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, uint32(3+i)))); err != nil {
			t.Skip("cannot make devices: ", err)
		}
	}
	freeze(t, a)
	freeze(t, b)
	compare(t, a, b, Options{}, []string{"null: device"})
}

// TestLongPath: a path of 6000 bytes that differs at its end.
func TestLongPath(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	long := strings.Repeat(strings.Repeat("d", 199)+"/", 30) + "file"
	for i, top := range []string{a, b} {
		root, err := os.OpenRoot(top)
		must(t, err)
		defer root.Close()
		must(t, root.MkdirAll(filepath.Dir(long), 0o700))
		must(t, root.WriteFile(long, []byte{byte(i)}, 0o600))
	}
	list, err := List(a, b, Options{})
	must(t, err)
	list = slices.DeleteFunc(list, func(d Difference) bool { return d.What == "mtime" })
	if want := []Difference{{long, "content", "byte 0: 0x00", "0x01"}}; !cmp.Equal(want, list) {
		t.Error(cmp.Diff(want, list))
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	a, b := plant(t)
	must(t, os.Chmod(filepath.Join(a, "sparse"), 0))
	must(t, os.Chmod(filepath.Join(b, "sparse"), 0))
	compare(t, a, b, Options{}, []string{"sparse: unreadable"})
	compare(t, a, b, Options{IgnoreUnreadable: true}, nil)
	must(t, os.Remove(filepath.Join(b, "sparse")))
	freeze(t, b)
	compare(t, a, b, Options{}, []string{"sparse: missing"})
	compare(t, a, b, Options{IgnoreUnreadable: true}, nil)
}
