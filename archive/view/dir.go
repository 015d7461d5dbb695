package view

import (
	"errors"
	"io"
	"io/fs"

	"cairn/snapshot"
)

// dir is an open directory. Its entries are read at the first ReadDir.
type dir struct {
	v      *FS
	name   string
	node   *snapshot.Node
	listed bool
	rest   []fs.DirEntry
	broken error // what comes behind the entries
	closed bool
}

var _ fs.ReadDirFile = (*dir)(nil)

func (d *dir) Stat() (fs.FileInfo, error) { return infoOf(d.name, d.node), nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, d.v.fail("read", d.name, errors.New("is a directory"))
}

func (d *dir) Close() error {
	if d.closed {
		return d.v.fail("close", d.name, fs.ErrClosed)
	}
	d.closed, d.rest = true, nil
	return nil
}

// ReadDir implements fs.ReadDirFile.
func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, d.v.fail("readdir", d.name, fs.ErrClosed)
	}
	if !d.listed {
		d.rest, d.broken = d.v.entries(d.name, d.node)
		d.listed = true
	}
	if n <= 0 {
		list := d.rest
		d.rest = nil
		return list, d.broken
	}
	if len(d.rest) == 0 {
		if d.broken != nil {
			return nil, d.broken
		}
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	list := d.rest[:n:n]
	d.rest = d.rest[n:]
	return list, nil
}

// other is what is neither a file nor a directory. It says what it is.
type other struct {
	v    *FS
	name string
	node *snapshot.Node
}

func (o *other) Stat() (fs.FileInfo, error) { return infoOf(o.name, o.node), nil }

func (o *other) Read([]byte) (int, error) {
	if o.node.Type == snapshot.Symlink {
		return 0, o.v.fail("read", o.name, ErrSymlink)
	}
	return 0, o.v.fail("read", o.name, errors.New("is no file and no directory"))
}

func (o *other) Close() error { return nil }
