// Package treecmp compares two directory trees the way a suspicious administrator would: by lstat, readlink,
// listxattr and content, sharing no code with the program that made the second tree out of the first.
//
// It compares, for every name: type, permission bits with setuid, setgid and sticky, numeric owner, mtime to
// the nanosecond (of directories and symlinks too), size, content, extended attributes with ACLs and
// capabilities, the target of symlinks, device numbers, which names are hard links of each other, and holes:
// every hole of A that is at least 64 KiB long must be a hole in B (more holes in B are welcome).
//
// Everything is reached through open directories, so names may be any bytes and paths longer than PATH_MAX.
// Nothing is changed in either tree, except atimes. Both trees must stand still while they are compared.
package treecmp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Options says what not to look at. The zero value compares everything.
type Options struct {
	IgnoreOwner      bool     // uid and gid: a normal user cannot restore them
	IgnoreRoot       bool     // the metadata of the two top directories themselves
	IgnoreUnreadable bool     // what cannot be read in A, whether it exists in B or not
	IgnoreXattrs     []string // prefixes of attribute names, such as "security.selinux"
}

// Difference is one thing that is not the same. Path is relative to the tops; its bytes are the file system's.
type Difference struct {
	Path string
	What string // "missing", "extra", "mode", "content", "xattr user.x", …; "unreadable" means not compared
	A, B string // for people
}

func (d Difference) String() string {
	if d.A == "" && d.B == "" {
		return fmt.Sprintf("%q: %s", d.Path, d.What)
	}
	return fmt.Sprintf("%q: %s: %s != %s", d.Path, d.What, d.A, d.B)
}

// Compare calls report for each difference between the trees a and b, in the order of their names. Its error
// means that the comparison could not be made at all.
func Compare(a, b string, o Options, report func(Difference)) error {
	c := comparison{
		o: o, report: report,
		firstA: map[inode]string{}, firstB: map[inode]string{},
		bufA: make([]byte, piece), bufB: make([]byte, piece),
	}
	var sides [2]item
	for i, top := range []string{a, b} {
		fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", top, err)
		}
		defer unix.Close(fd)
		sides[i] = item{dir: fd, name: "."}
		if err := unix.Fstat(fd, &sides[i].stat); err != nil {
			return fmt.Errorf("stat %s: %w", top, err)
		}
	}
	if !o.IgnoreRoot {
		c.metadata(".", sides[0], sides[1])
	}
	c.directories("", sides[0].dir, sides[1].dir)
	return nil
}

// List is Compare with the differences in a slice.
func List(a, b string, o Options) ([]Difference, error) {
	var list []Difference
	err := Compare(a, b, o, func(d Difference) { list = append(list, d) })
	return list, err
}

type inode struct{ dev, ino uint64 }

// item is one name in one tree, reached through its open directory.
type item struct {
	dir  int
	name string
	stat unix.Stat_t
}

func (i item) typ() uint32  { return i.stat.Mode & unix.S_IFMT }
func (i item) inode() inode { return inode{i.stat.Dev, i.stat.Ino} }

type comparison struct {
	o      Options
	report func(Difference)
	// the first name of each inode with several links; both trees are walked in the same order, so names that
	// belong together have the same first name in both
	firstA, firstB map[inode]string
	bufA, bufB     []byte // content is read into these; clearing new ones for each file costs 1 ms
}

func (c *comparison) differ(path, what, a, b string) {
	c.report(Difference{Path: path, What: what, A: a, B: b})
}

func (c *comparison) unreadable(path, side string, err error) {
	if !c.o.IgnoreUnreadable || side != "A" {
		c.differ(path, "unreadable", fmt.Sprintf("%s: %v", side, err), "not compared")
	}
}

func (c *comparison) directories(path string, a, b int) {
	namesA, err := names(a)
	if err != nil {
		c.unreadable(path, "A", err)
		return
	}
	namesB, err := names(b)
	if err != nil {
		c.unreadable(path, "B", err)
		return
	}
	for len(namesA) > 0 || len(namesB) > 0 {
		order := 0
		switch {
		case len(namesA) == 0:
			order = 1
		case len(namesB) == 0:
			order = -1
		default:
			order = strings.Compare(namesA[0], namesB[0])
		}
		switch {
		case order < 0:
			if !c.o.IgnoreUnreadable || readable(a, namesA[0]) {
				c.differ(join(path, namesA[0]), "missing", "", "")
			}
			namesA = namesA[1:]
		case order > 0:
			c.differ(join(path, namesB[0]), "extra", "", "")
			namesB = namesB[1:]
		default:
			c.names(join(path, namesA[0]), item{dir: a, name: namesA[0]}, item{dir: b, name: namesB[0]})
			namesA, namesB = namesA[1:], namesB[1:]
		}
	}
}

// names compares what stands under one name in both trees, and below it.
func (c *comparison) names(path string, a, b item) {
	if err := unix.Fstatat(a.dir, a.name, &a.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		c.unreadable(path, "A", err)
		return
	}
	if err := unix.Fstatat(b.dir, b.name, &b.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		c.unreadable(path, "B", err)
		return
	}
	c.metadata(path, a, b)
	if a.typ() != b.typ() {
		return
	}
	c.links(path, a, b)
	switch a.typ() {
	case unix.S_IFREG:
		c.open(path, a, b, unix.O_NOATIME, c.files)
	case unix.S_IFDIR:
		c.open(path, a, b, unix.O_DIRECTORY, c.directories)
	}
}

// open opens both sides and hands them to compare.
func (c *comparison) open(path string, a, b item, flags int, compare func(path string, a, b int)) {
	fdA, err := openAt(a, flags)
	if err != nil {
		c.unreadable(path, "A", err)
		return
	}
	defer unix.Close(fdA)
	fdB, err := openAt(b, flags)
	if err != nil {
		c.unreadable(path, "B", err)
		return
	}
	defer unix.Close(fdB)
	compare(path, fdA, fdB)
}

// openAt opens an item; O_NOATIME is for owners only and is given up elsewhere.
func openAt(i item, flags int) (int, error) {
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(i.dir, i.name, flags, 0)
	if errors.Is(err, unix.EPERM) && flags&unix.O_NOATIME != 0 {
		fd, err = unix.Openat(i.dir, i.name, flags&^unix.O_NOATIME, 0)
	}
	return fd, err
}

func (c *comparison) metadata(path string, a, b item) {
	if a.typ() != b.typ() {
		c.differ(path, "type", typeName(a.typ()), typeName(b.typ()))
		return
	}
	if x, y := a.stat.Mode&0o7777, b.stat.Mode&0o7777; x != y {
		c.differ(path, "mode", fmt.Sprintf("%04o", x), fmt.Sprintf("%04o", y))
	}
	if !c.o.IgnoreOwner && (a.stat.Uid != b.stat.Uid || a.stat.Gid != b.stat.Gid) {
		c.differ(path, "owner", fmt.Sprintf("%d:%d", a.stat.Uid, a.stat.Gid), fmt.Sprintf("%d:%d", b.stat.Uid, b.stat.Gid))
	}
	if a.stat.Mtim != b.stat.Mtim {
		c.differ(path, "mtime", stamp(a.stat.Mtim), stamp(b.stat.Mtim))
	}
	switch a.typ() {
	case unix.S_IFREG:
		if a.stat.Size != b.stat.Size {
			c.differ(path, "size", fmt.Sprint(a.stat.Size), fmt.Sprint(b.stat.Size))
		}
	case unix.S_IFLNK:
		c.targets(path, a, b)
	case unix.S_IFCHR, unix.S_IFBLK:
		if a.stat.Rdev != b.stat.Rdev {
			c.differ(path, "device", device(a.stat.Rdev), device(b.stat.Rdev))
		}
	}
	c.xattrs(path, a, b)
}

func (c *comparison) targets(path string, a, b item) {
	x, errA := readlink(a)
	y, errB := readlink(b)
	switch {
	case errA != nil:
		c.unreadable(path, "A", errA)
	case errB != nil:
		c.unreadable(path, "B", errB)
	case x != y:
		c.differ(path, "target", fmt.Sprintf("%q", x), fmt.Sprintf("%q", y))
	}
}

// links compares which names are the same file. The counts of links are not compared: a tree may be one part of
// what was linked.
func (c *comparison) links(path string, a, b item) {
	if a.typ() == unix.S_IFDIR || a.stat.Nlink < 2 && b.stat.Nlink < 2 {
		return
	}
	x, y := first(c.firstA, a, path), first(c.firstB, b, path)
	if x != y {
		c.differ(path, "hard link", fmt.Sprintf("to %q", x), fmt.Sprintf("to %q", y))
	}
}

func first(seen map[inode]string, i item, path string) string {
	if was, ok := seen[i.inode()]; ok {
		return was
	}
	seen[i.inode()] = path
	return path
}

// names lists a directory, sorted by bytes.
func names(fd int) ([]string, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "directory")
	defer f.Close()
	list, err := f.Readdirnames(-1)
	slices.Sort(list)
	return list, err
}

func readable(dir int, name string) bool {
	i := item{dir: dir, name: name}
	if unix.Fstatat(dir, name, &i.stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	if i.typ() != unix.S_IFREG && i.typ() != unix.S_IFDIR {
		return true
	}
	fd, err := openAt(i, 0)
	if err == nil {
		unix.Close(fd)
	}
	return !errors.Is(err, fs.ErrPermission)
}

func readlink(i item) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(i.dir, i.name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
