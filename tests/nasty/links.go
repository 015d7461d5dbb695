package nasty

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

func (t *tree) symlink(target, name string) {
	if t.err == nil {
		t.made++
		t.fail("symlink", name, t.at(name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) }))
	}
}

// link makes a hard link, of a symlink itself if it is one.
func (t *tree) link(was, name string) {
	if t.err != nil {
		return
	}
	t.made++
	t.fail("link", name, t.at(was, func(from int, old string) error {
		return t.at(name, func(dir int, base string) error { return unix.Linkat(from, old, dir, base, 0) })
	}))
}

// mknod makes a fifo, socket or device and says whether it could.
func (t *tree) mknod(name string, mode uint32, device uint64) bool {
	if t.err != nil {
		return false
	}
	err := t.at(name, func(dir int, base string) error { return unix.Mknodat(dir, base, mode, int(device)) })
	if err == nil {
		t.made++
	}
	return t.try(name, err)
}

func (t *tree) hardLinks() {
	for _, name := range []string{"links", "links/a", "links/b"} {
		t.dir(name)
	}
	t.file("links/a/first", t.bytes("links", 700*kib))
	t.link("links/a/first", "links/a/second")
	t.link("links/a/first", "links/b/third")
	t.link("links/a/first", "links/0 before all")
	t.file("links/empty", nil)
	t.link("links/empty", "links/b/empty too")
	t.symlink("nowhere", "links/symlink")
	t.link("links/symlink", "links/b/the same symlink")
	if t.mknod("links/pipe", unix.S_IFIFO|0o640, 0) {
		t.link("links/pipe", "links/b/the same pipe")
	}
	if t.mknod("links/socket", unix.S_IFSOCK|0o755, 0) {
		t.link("links/socket", "links/b/the same socket")
	}
	t.file("links/equal but not linked", t.bytes("links", 700*kib))
	t.sparseFile("links/sparse", 4*mib, []int64{mib})
	t.link("links/sparse", "links/b/the same sparse")
}

func (t *tree) symlinks() {
	t.dir("symlinks")
	for name, target := range map[string]string{
		"dangling": "nowhere/at all", "self": "self", "loop1": "loop2", "loop2": "loop1",
		"absolute": "/etc/passwd", "to dir": "../sizes", "slash": "../sizes/", "dot": ".", "dotdot": "..",
		"up": strings.Repeat("../", 40) + "etc", "root": "/", "not text": "caf\xe9\n\xff", "blank": " ",
		"longest": strings.Repeat("x/", 2047) + "y", "option": "-rf", "proc": "/proc/self/root",
	} {
		t.symlink(target, "symlinks/"+name)
	}
}

func (t *tree) special() {
	t.dir("special")
	t.mknod("special/pipe", unix.S_IFIFO|0o622, 0)
	t.mknod("special/socket", unix.S_IFSOCK|0o700, 0)
	for _, d := range []struct {
		name         string
		mode         uint32
		major, minor uint32
	}{
		{"null", unix.S_IFCHR | 0o666, 1, 3}, {"whiteout", unix.S_IFCHR, 0, 0}, {"large numbers", unix.S_IFCHR | 0o600, 4095, 1048575},
		{"minor 256", unix.S_IFBLK | 0o660, 7, 256}, {"loop", unix.S_IFBLK | 0o600, 7, 99},
	} {
		t.mknod("special/"+d.name, d.mode, unix.Mkdev(d.major, d.minor))
	}
}

// visit is one name that walk comes to: a directory before and after what is in it.
type visit struct {
	dir   int // the open directory that it is in
	name  string
	path  string // relative to the top of the walk
	stat  unix.Stat_t
	after bool
}

// walk visits everything below an open directory, through open directories.
func walk(f *os.File, at string, call func(visit) error) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list %q: %w", at, err)
	}
	for _, name := range names {
		v := visit{dir: int(f.Fd()), name: name, path: path.Join(at, name)}
		if err := unix.Fstatat(v.dir, name, &v.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("stat %q: %w", v.path, err)
		}
		if err := call(v); err != nil {
			return err
		}
		if v.stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if err := walkInto(v, call); err != nil {
			return err
		}
		v.after = true
		if err := call(v); err != nil {
			return err
		}
	}
	return nil
}

func walkInto(v visit, call func(visit) error) error {
	fd, err := unix.Openat(v.dir, v.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", v.path, err)
	}
	f := os.NewFile(uintptr(fd), v.name)
	defer f.Close()
	return walk(f, v.path, call)
}
