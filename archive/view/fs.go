package view

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// Source is the archive as a view reads it.
type Source interface {
	// Load returns one blob, verified.
	Load(ctx context.Context, t chunk.Type, id chunk.ID) ([]byte, error)
	// Fetch hands each distinct blob to fn once, verified, concurrently and in any order; plain is valid during the call only.
	Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(id chunk.ID, plain []byte) error) error
	// Sizes fills in the plain lengths of blobs.
	Sizes(ctx context.Context, t chunk.Type, ids []chunk.ID, sizes []uint32) error
}

// Window is how much of a file is fetched at once and held.
const Window = 8 << 20

// FS is the tree below a directory of a snapshot. It implements fs.ReadDirFS, fs.StatFS and fs.ReadLinkFS.
type FS struct {
	ctx  context.Context
	src  Source
	root snapshot.Root
	top  string // where it is in the snapshot, for messages
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// ErrSymlink is what Read says of a symlink.
var ErrSymlink = errors.New("is a symlink, which is not followed")

// New shows the directory dir of a snapshot; "/" is all of it. Calls end with ctx.
func New(ctx context.Context, src Source, root snapshot.Root, dir string) (*FS, error) {
	v := &FS{ctx: ctx, src: src, root: root, top: path.Clean("/" + dir)}
	n, err := snapshot.Find(ctx, v.load, root.Content, root.Depth, v.top)
	if err != nil {
		return nil, err
	}
	if n.Type != snapshot.Dir {
		return nil, fmt.Errorf("%s: is not a directory", v.top)
	}
	v.root = n.Root()
	return v, nil
}

func (v *FS) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	return v.src.Load(ctx, chunk.Tree, id)
}

// full is the path in the snapshot.
func (v *FS) full(name string) string { return path.Join(v.top, name) }

// find returns the node of a name.
func (v *FS) find(op, name string) (*snapshot.Node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := snapshot.Find(v.ctx, v.load, v.root.Content, v.root.Depth, name)
	if err == nil {
		return n, nil
	}
	return nil, v.fail(op, name, err)
}

// fail makes the error of a name.
func (v *FS) fail(op, name string, err error) error {
	if errors.Is(err, snapshot.ErrNotFound) {
		err = fs.ErrNotExist
	}
	return &fs.PathError{Op: op, Path: v.full(name), Err: err}
}

// Node returns what the snapshot recorded of a name. It must not be changed. The root has the name "/".
func (v *FS) Node(name string) (*snapshot.Node, error) { return v.find("stat", name) }

// Open opens a file or a directory. Anything else can be opened, too, and gives its Stat, but cannot be read.
func (v *FS) Open(name string) (fs.File, error) {
	n, err := v.find("open", name)
	if err != nil {
		return nil, err
	}
	switch n.Type {
	case snapshot.Dir:
		return &dir{v: v, name: name, node: n}, nil
	case snapshot.File:
		f, err := newFile(v, name, n)
		if err != nil {
			return nil, v.fail("open", name, err)
		}
		return f, nil
	}
	return &other{v, name, n}, nil
}

// Stat is Lstat.
func (v *FS) Stat(name string) (fs.FileInfo, error) { return v.stat("stat", name) }

// Lstat returns what is known of a name.
func (v *FS) Lstat(name string) (fs.FileInfo, error) { return v.stat("lstat", name) }

func (v *FS) stat(op, name string) (fs.FileInfo, error) {
	n, err := v.find(op, name)
	if err != nil {
		return nil, err
	}
	return infoOf(name, n), nil
}

// ReadLink returns where a symlink leads.
func (v *FS) ReadLink(name string) (string, error) {
	n, err := v.find("readlink", name)
	if err != nil {
		return "", err
	}
	if n.Type != snapshot.Symlink {
		return "", v.fail("readlink", name, fs.ErrInvalid)
	}
	return n.Target, nil
}

// ReadDir returns the entries of a directory by name. With an error it returns those before it: the backup may not have read it whole.
func (v *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := v.find("readdir", name)
	if err != nil {
		return nil, err
	}
	return v.entries(name, n)
}

func (v *FS) entries(name string, n *snapshot.Node) ([]fs.DirEntry, error) {
	if n.Type != snapshot.Dir {
		return nil, v.fail("readdir", name, errors.New("is not a directory"))
	}
	var list []fs.DirEntry
	for e, err := range snapshot.Nodes(v.ctx, v.load, n.Content, n.Depth) {
		if err != nil {
			return list, v.fail("readdir", name, err)
		}
		list = append(list, fs.FileInfoToDirEntry(infoOf(e.Name, e)))
	}
	if n.Error != "" {
		return list, v.fail("readdir", name, unread(n))
	}
	return list, nil
}

// ErrUnread means that the backup could not read something whole.
var ErrUnread = errors.New("was not read whole by the backup")

func unread(n *snapshot.Node) error { return fmt.Errorf("%w: %s", ErrUnread, n.Error) }

// info implements fs.FileInfo. Sys gives the node.
type info struct {
	name string
	node *snapshot.Node
}

func infoOf(name string, n *snapshot.Node) *info {
	c := *n // an iterator may use its node again
	return &info{path.Base(name), &c}
}

func (i *info) Name() string       { return i.name }
func (i *info) ModTime() time.Time { return i.node.Mtime.Time() }
func (i *info) IsDir() bool        { return i.node.Type == snapshot.Dir }
func (i *info) Sys() any           { return i.node }

func (i *info) Size() int64 {
	if i.node.Type == snapshot.Symlink {
		return int64(len(i.node.Target))
	}
	return int64(min(i.node.Size, 1<<63-1))
}

func (i *info) Mode() fs.FileMode {
	m := fs.FileMode(i.node.Mode & 0o777)
	for _, b := range [...]struct {
		unix uint32
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if i.node.Mode&b.unix != 0 {
			m |= b.mode
		}
	}
	switch i.node.Type {
	case snapshot.Dir:
		m |= fs.ModeDir
	case snapshot.Symlink:
		m |= fs.ModeSymlink
	case snapshot.Fifo:
		m |= fs.ModeNamedPipe
	case snapshot.Socket:
		m |= fs.ModeSocket
	case snapshot.CharDevice:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case snapshot.BlockDevice:
		m |= fs.ModeDevice
	}
	return m
}
