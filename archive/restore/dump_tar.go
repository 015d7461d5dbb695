package restore

import (
	"archive/tar"
	"bufio"
	"fmt"
	"strings"

	"cairn/snapshot"
)

// tarSink writes PAX headers, which hold names of any length and bytes, nanoseconds and extended attributes (as GNU
// tar, star and bsdtar read them). The first name of a group of hard links carries the content.
type tarSink struct {
	gaps
	buf *bufio.Writer
	tw  *tar.Writer
}

func newTarSink(buf *bufio.Writer) *tarSink { return &tarSink{buf: buf, tw: tar.NewWriter(buf)} }

func (t *tarSink) takes(k snapshot.NodeType) bool { return k != snapshot.Socket }
func (t *tarSink) links() bool                    { return true }

func (t *tarSink) begin(path, link string, n *snapshot.Node) error {
	h := &tar.Header{
		Format: tar.FormatPAX, Name: path, Mode: int64(n.Mode & 0o7777), ModTime: n.Mtime.Time(),
		Uid: int(n.UID), Gid: int(n.GID), Uname: n.User, Gname: n.Group,
	}
	if !n.Atime.IsZero() {
		h.AccessTime = n.Atime.Time()
	}
	for _, x := range n.Xattrs {
		if strings.Contains(x.Name, "=") { // PAX has no way to write it
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
	}
	switch n.Type {
	case snapshot.File:
		h.Typeflag, h.Size = tar.TypeReg, int64(n.Size)
	case snapshot.Dir:
		h.Typeflag, h.Name = tar.TypeDir, path+"/"
	case snapshot.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.Target
	case snapshot.Fifo:
		h.Typeflag = tar.TypeFifo
	case snapshot.CharDevice:
		h.Typeflag = tar.TypeChar
	case snapshot.BlockDevice:
		h.Typeflag = tar.TypeBlock
	default:
		return fmt.Errorf("%s: %w", path, errType)
	}
	if n.Device != nil {
		h.Devmajor, h.Devminor = int64(n.Device.Major), int64(n.Device.Minor)
	}
	if link != "" {
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, link, 0, nil
	}
	if err := t.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if n.Type != snapshot.File || link != "" {
		return nil
	}
	return t.reset(n, t.tw)
}

func (t *tarSink) finish() error {
	if err := t.tw.Close(); err != nil {
		return err
	}
	return t.buf.Flush()
}
