package restore

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io"
	"io/fs"

	"cairn/snapshot"
)

// zipSink compresses files; sizes and checksums follow the content, so nothing is kept.
type zipSink struct {
	gaps
	buf *bufio.Writer
	zw  *zip.Writer
}

func newZipSink(buf *bufio.Writer) *zipSink { return &zipSink{buf: buf, zw: zip.NewWriter(buf)} }

func (z *zipSink) takes(k snapshot.NodeType) bool {
	return k == snapshot.File || k == snapshot.Dir || k == snapshot.Symlink
}

func (z *zipSink) links() bool { return false }

func (z *zipSink) begin(path, _ string, n *snapshot.Node) error {
	h := &zip.FileHeader{Name: path, Modified: n.Mtime.Time(), Method: zip.Deflate}
	mode := fs.FileMode(n.Mode & 0o777)
	for bit, m := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n.Mode&bit != 0 {
			mode |= m
		}
	}
	switch n.Type {
	case snapshot.Dir:
		mode |= fs.ModeDir
		h.Name, h.Method = path+"/", zip.Store
	case snapshot.Symlink:
		mode |= fs.ModeSymlink
		h.Method = zip.Store
	}
	h.SetMode(mode)
	w, err := z.zw.CreateHeader(h)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch n.Type {
	case snapshot.Symlink:
		_, err = io.WriteString(w, n.Target)
	case snapshot.File:
		err = z.reset(n, w)
	}
	return err
}

func (z *zipSink) finish() error {
	if err := z.zw.Close(); err != nil {
		return err
	}
	return z.buf.Flush()
}
