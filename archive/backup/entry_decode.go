package backup

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"cairn/chunk"
	"cairn/snapshot"
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// decoder reads a part. After the first fault bad is set and everything reads as zero; counts are compared with the
// bytes that are left before anything is allocated.
type decoder struct {
	data  []byte
	names []string
	bad   bool
}

func (d *decoder) fail() {
	d.bad = true
	d.data = nil
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.data)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.data)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[size:]
	return n
}

func (d *decoder) uint32() uint32 {
	n := d.uint()
	if n > math.MaxUint32 {
		d.fail()
		return 0
	}
	return uint32(n)
}

func (d *decoder) byte() byte {
	b := d.bytes(1)
	if d.bad {
		return 0
	}
	return b[0]
}

func (d *decoder) flag() bool {
	b := d.byte()
	if b > 1 {
		d.fail()
	}
	return b == 1
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.data) {
		d.fail()
		return nil
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

// count reads a number of things of at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.data)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return string(d.bytes(d.count(1))) }

func (d *decoder) ids() []chunk.ID {
	n := d.count(32)
	if n == 0 {
		return nil
	}
	ids := make([]chunk.ID, n)
	for i := range ids {
		copy(ids[i][:], d.bytes(32))
	}
	return ids
}

func (d *decoder) time() snapshot.Time {
	sec := d.int()
	return snapshot.Time{Sec: sec, Nsec: d.uint32()}
}

func (d *decoder) name() string {
	i := d.uint()
	if i >= uint64(len(d.names)) {
		d.fail()
		return ""
	}
	return d.names[i]
}

// entry reads what encoder.entry wrote. The caller validates the node.
func (d *decoder) entry(n *snapshot.Node) (trusted bool) {
	bits := d.uint()
	n.Type = snapshot.NodeType(bits & typeMask)
	n.Name = d.string()
	n.Mode, n.UID, n.GID = d.uint32(), d.uint32(), d.uint32()
	n.User, n.Group = d.name(), d.name()
	n.Mtime, n.Ctime, n.Inode = d.time(), d.time(), d.uint()
	if bits&bitAtime != 0 {
		n.Atime = d.time()
	}
	if bits&bitSize != 0 {
		n.Size = d.uint()
	}
	if bits&bitContent != 0 {
		n.Content = d.ids()
	}
	if bits&bitDepth != 0 {
		n.Depth = d.byte()
	}
	if bits&bitTarget != 0 {
		n.Target = d.string()
	}
	if bits&bitLink != 0 {
		n.Link = &snapshot.LinkID{Device: d.uint(), Inode: d.uint()}
	}
	if bits&bitDevice != 0 {
		n.Device = &snapshot.Device{Major: d.uint32(), Minor: d.uint32()}
	}
	if bits&bitXattrs != 0 {
		n.Xattrs = d.xattrs()
	}
	if bits&bitHoles != 0 {
		n.Holes = d.holes()
	}
	if bits&bitError != 0 {
		n.Error = d.string()
	}
	return bits&bitTrusted != 0
}

func (d *decoder) xattrs() []snapshot.Xattr {
	list := make([]snapshot.Xattr, d.count(2))
	for i := range list {
		list[i].Name = d.string()
		list[i].Value = append([]byte(nil), d.bytes(d.count(1))...)
	}
	return list
}

func (d *decoder) holes() []snapshot.Range {
	list := make([]snapshot.Range, d.count(2))
	for i := range list {
		list[i] = snapshot.Range{Offset: d.uint(), Length: d.uint()}
	}
	return list
}
