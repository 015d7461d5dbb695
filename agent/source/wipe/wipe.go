// Package wipe removes directories, and what is in directories, on behalf of a restore: caches, queues and journals of an application that must
// not meet its restored data.
//
// Words: the root is a directory that the source file declares; the path is what is to go, the root itself or below it.
//
// Invariants
//   - Nothing outside the root is removed, whatever links there are or appear meanwhile. The root is opened as it is named; from there each
//     element of the path is opened from the descriptor of its parent without following links, and so is all that is below. A link on
//     the way, or in the place of the path, is an *EscapeError; links below the path are removed, not followed.
//   - Other file systems that are mounted below the path are left alone: they are an error, before anything is removed.
//   - What is protected (the archive that is restored from) is not removed, nor what holds it, nor what it holds.
//   - Look finds all of these beforehand; Remove and Empty look first themselves.
//   - A path that is not there is no error: it is gone already. A directory that is emptied keeps its owner, mode and inode.
//
// A crash leaves some of what was to go. One call after the other may be made; several at once on one path spoil each other's counts.
package wipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth is how many directories may lie in each other; each takes a descriptor.
const maxDepth = 900

// EscapeError means that a path leads out of its root, or might.
type EscapeError struct {
	Path string // the link
	Root string
}

func (e *EscapeError) Error() string {
	return fmt.Sprintf("%s is a link: it may lead out of %s", e.Path, e.Root)
}

// Hint names the operator's next step.
func (e *EscapeError) Hint() string {
	return "name the directory that is meant, and declare it in `restore: roots`"
}

// ErrProtected is part of the error when what was to go is still needed.
var ErrProtected = errors.New("holds what the restore needs")

// Target is one path that is to go.
type Target struct {
	Root      string
	Path      string
	Protected []string // files and directories that must stay
}

// Found is what is there.
type Found struct {
	Exists bool
	Dir    bool
	Files  int // entries below it that are no directories
	Dirs   int
	Bytes  uint64 // of files
}

// Look says what would be removed, or why it would not.
func Look(ctx context.Context, t Target) (Found, error) {
	p, err := open(t)
	if err != nil || p == nil {
		return Found{}, err
	}
	defer p.close()
	return p.look(ctx)
}

// Remove removes the path with all that is below.
func Remove(ctx context.Context, t Target) (Found, error) {
	p, err := open(t)
	if err != nil || p == nil {
		return Found{}, err
	}
	defer p.close()
	found, err := p.look(ctx)
	if err != nil {
		return found, err
	}
	if p.fd < 0 {
		err = unix.Unlinkat(p.parent, p.name, 0)
	} else if err = p.clear(ctx); err == nil {
		err = unix.Unlinkat(p.parent, p.name, unix.AT_REMOVEDIR)
	}
	if err != nil {
		return found, fmt.Errorf("remove %s: %w", t.Path, err)
	}
	return found, nil
}

// Empty removes all that is in a directory.
func Empty(ctx context.Context, t Target) (Found, error) {
	p, err := open(t)
	if err != nil || p == nil {
		return Found{}, err
	}
	defer p.close()
	found, err := p.look(ctx)
	if err == nil && !found.Dir {
		err = fmt.Errorf("empty %s: it is not a directory", t.Path)
	}
	if err != nil {
		return found, err
	}
	if err := p.clear(ctx); err != nil {
		return found, fmt.Errorf("empty %s: %w", t.Path, err)
	}
	return found, nil
}

// place is an opened path.
type place struct {
	Target
	parent, fd int // fd < 0: it is no directory
	name       string
	mount      mount
	protected  map[inode]string
}

// open walks from the root to the path. It returns nil when the path is not there.
func open(t Target) (*place, error) {
	if !filepath.IsAbs(t.Root) || filepath.Clean(t.Root) != t.Root || t.Path == "/" {
		return nil, fmt.Errorf("%s cannot be removed or emptied", t.Path)
	}
	from, rest := t.Root, strings.TrimPrefix(strings.TrimPrefix(t.Path, t.Root), "/")
	switch {
	case filepath.Clean(t.Path) != t.Path || t.Path != t.Root && !strings.HasPrefix(t.Path, strings.TrimSuffix(t.Root, "/")+"/"):
		return nil, &EscapeError{t.Path, t.Root}
	case t.Path == t.Root:
		from, rest = filepath.Split(t.Root)
	}
	p := &place{Target: t, fd: -1, protected: map[inode]string{}}
	if err := p.protect(); err != nil {
		return nil, err
	}
	var err error
	p.parent, err = unix.Open(from, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for err == nil {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		from = filepath.Join(from, first)
		if p.name = first; rest == "" {
			return p.last()
		}
		var next int
		if next, err = openDir(p.parent, first); err == nil {
			_ = unix.Close(p.parent)
			p.parent = next
		}
	}
	if p.parent >= 0 {
		err = p.explain(err, p.parent, p.name, from)
		_ = unix.Close(p.parent)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return nil, err
}

// last opens the path itself.
func (p *place) last() (*place, error) {
	var st unix.Stat_t
	err := unix.Fstatat(p.parent, p.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK:
		err = &EscapeError{p.Path, p.Root}
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		if p.fd, err = openDir(p.parent, p.name); err == nil {
			p.mount, err = mountOf(p.fd)
		}
	}
	if err == nil {
		return p, nil
	}
	p.close()
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return nil, p.explain(err, -1, "", p.Path)
}

// explain tells a link from what is no directory for other reasons.
func (p *place) explain(err error, parent int, name, path string) error {
	var escape *EscapeError
	if err == nil || errors.As(err, &escape) || errors.Is(err, unix.ENOENT) {
		return err
	}
	var st unix.Stat_t
	if parent >= 0 && unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return &EscapeError{path, p.Root}
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (p *place) close() {
	_ = unix.Close(p.parent)
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// protect notes what must stay, and refuses a path that lies in it.
func (p *place) protect() error {
	real, err := filepath.EvalSymlinks(p.Path)
	if err != nil {
		real = p.Path // it may not be there; then nothing is removed
	}
	for _, name := range p.Protected {
		at, err := filepath.EvalSymlinks(name)
		if err != nil || !filepath.IsAbs(at) {
			continue // it is not there
		}
		if real == at || strings.HasPrefix(real, strings.TrimSuffix(at, "/")+"/") {
			return fmt.Errorf("%s %w: %s", p.Path, ErrProtected, name)
		}
		var st unix.Stat_t
		if unix.Lstat(at, &st) == nil {
			p.protected[inode{st.Dev, st.Ino}] = name
		}
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// mount is a file system, and where it is mounted; bind mounts are of one device.
type mount struct {
	dev uint64
	id  uint64
}

func mountOf(fd int) (mount, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return mount{}, err
	}
	m := mount{dev: unix.Mkdev(st.Dev_major, st.Dev_minor)}
	if st.Mask&unix.STATX_MNT_ID != 0 { // from Linux 5.8 on
		m.id = st.Mnt_id
	}
	return m, nil
}

func openDir(parent int, name string) (int, error) {
	return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// look counts, and finds what must not be removed.
func (p *place) look(ctx context.Context) (Found, error) {
	f := Found{Exists: true, Dir: p.fd >= 0}
	if !f.Dir {
		f.Files = 1
		return f, p.mayGo(p.parent, p.name, p.Path, &f)
	}
	return f, p.walk(ctx, p.fd, p.Path, 0, &f)
}

func (p *place) walk(ctx context.Context, fd int, path string, depth int, f *Found) error {
	return p.each(ctx, fd, path, depth, func(parent int, name string, st *unix.Stat_t, below int) error {
		at := filepath.Join(path, name)
		if what, ok := p.protected[inode{st.Dev, st.Ino}]; ok {
			return fmt.Errorf("%s %w: %s", p.Path, ErrProtected, what)
		}
		if below < 0 {
			f.Files++
			if st.Mode&unix.S_IFMT == unix.S_IFREG {
				f.Bytes += uint64(st.Size)
			}
			return nil
		}
		f.Dirs++
		return p.walk(ctx, below, at, depth+1, f)
	})
}

func (p *place) mayGo(parent int, name, path string, f *Found) error {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	f.Bytes = uint64(st.Size)
	if what, ok := p.protected[inode{st.Dev, st.Ino}]; ok {
		return fmt.Errorf("%s %w: %s", path, ErrProtected, what)
	}
	return nil
}

// clear removes what is in the directory.
func (p *place) clear(ctx context.Context) error { return p.clearDir(ctx, p.fd, p.Path, 0) }

func (p *place) clearDir(ctx context.Context, fd int, path string, depth int) error {
	return p.each(ctx, fd, path, depth, func(parent int, name string, _ *unix.Stat_t, below int) error {
		at := filepath.Join(path, name)
		if below < 0 {
			return named(at, unix.Unlinkat(parent, name, 0))
		}
		if err := p.clearDir(ctx, below, at, depth+1); err != nil {
			return err
		}
		return named(at, unix.Unlinkat(parent, name, unix.AT_REMOVEDIR))
	})
}

func named(path string, err error) error {
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "remove", Path: path, Err: err}
}

// each calls fn for the entries of a directory; below is the descriptor of one that is a directory itself, else -1.
func (p *place) each(ctx context.Context, fd int, path string, depth int, fn func(parent int, name string, st *unix.Stat_t, below int) error) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d directories in each other", path, maxDepth)
	}
	again, err := openDir(fd, ".")
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	list := os.NewFile(uintptr(again), path)
	var names []string // all of them: what is removed while a directory is read makes some file systems pass others over
	for err == nil {
		var some []string
		some, err = list.Readdirnames(4096)
		names = append(names, some...)
	}
	_ = list.Close() // only read
	if !errors.Is(err, io.EOF) {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.one(fd, name, filepath.Join(path, name), fn); err != nil {
			return err
		}
	}
	return nil
}

func (p *place) one(fd int, name, path string, fn func(parent int, name string, st *unix.Stat_t, below int) error) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return named(path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fn(fd, name, &st, -1)
	}
	below, err := openDir(fd, name)
	if err != nil {
		return named(path, err)
	}
	defer func() { _ = unix.Close(below) }()
	m, err := mountOf(below)
	switch {
	case err != nil:
		return named(path, err)
	case m != p.mount:
		return fmt.Errorf("another file system is mounted at %s: unmount it, or name what is beside it", path)
	}
	return fn(fd, name, &st, below)
}
