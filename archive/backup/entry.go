package backup

import (
	"encoding/binary"

	"cairn/chunk"
	"cairn/snapshot"
)

// An entry: bits uvarint ‖ name ‖ mode ‖ uid ‖ gid ‖ user ‖ group ‖ mtime ‖ ctime ‖ inode, then what the bits say, in
// their order. Numbers are uvarints, seconds varints; user and group are places in the part's table of names.
const (
	bitTrusted = 1 << (iota + 3) // the three bits below hold the type
	bitAtime
	bitSize
	bitContent
	bitDepth
	bitTarget
	bitLink
	bitDevice
	bitXattrs
	bitHoles
	bitError

	typeMask = 7
	minEntry = 12 // bytes: a name of one byte, everything else one byte each
)

// encoder builds parts. Its buffers are used again for the next part.
type encoder struct {
	buf     []byte
	entries []byte
	count   int
	names   map[string]int
	table   []string
}

func (e *encoder) begin(stamp uint64, part int) {
	e.buf = append(append(e.buf[:0], recordMagic...), recordVersion)
	e.buf = binary.LittleEndian.AppendUint64(e.buf, stamp)
	e.buf = binary.AppendUvarint(e.buf, uint64(part))
	e.buf = append(e.buf, 0) // last; end sets it
	e.entries, e.count, e.table = e.entries[:0], 0, e.table[:0]
	clear(e.names)
}

// end closes the part and returns it, valid until begin.
func (e *encoder) end(last bool) []byte {
	if last {
		_, n := binary.Uvarint(e.buf[len(recordMagic)+9:])
		e.buf[len(recordMagic)+9+n] = 1
	}
	if e.names != nil {
		e.uint(uint64(len(e.table)))
		for _, name := range e.table {
			e.string(name)
		}
		e.uint(uint64(e.count))
		e.buf = append(e.buf, e.entries...)
	}
	return e.sealed()
}

func (e *encoder) sealed() []byte { return binary.LittleEndian.AppendUint32(e.buf, checksum(e.buf)) }

func (e *encoder) uint(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }

func (e *encoder) string(s string) { e.buf = append(binary.AppendUvarint(e.buf, uint64(len(s))), s...) }

func (e *encoder) flag(b bool) {
	if b {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) ids(ids []chunk.ID) { e.buf = appendIDs(e.buf, ids) }

func appendIDs(dst []byte, ids []chunk.ID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

// place returns the number of an owner's name in the table.
func (e *encoder) place(name string) uint64 {
	i, ok := e.names[name]
	if !ok {
		i = len(e.table)
		e.table = append(e.table, name)
		e.names[name] = i
	}
	return uint64(i)
}

func (e *encoder) entry(n *snapshot.Node, trusted bool) {
	bits := bitsOf(n)
	if trusted {
		bits |= bitTrusted
	}
	b := binary.AppendUvarint(e.entries, bits)
	b = appendString(b, n.Name)
	for _, v := range [...]uint64{uint64(n.Mode), uint64(n.UID), uint64(n.GID), e.place(n.User), e.place(n.Group)} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendTime(appendTime(b, n.Mtime), n.Ctime)
	b = binary.AppendUvarint(b, n.Inode)
	if bits&bitAtime != 0 {
		b = appendTime(b, n.Atime)
	}
	if bits&bitSize != 0 {
		b = binary.AppendUvarint(b, n.Size)
	}
	if bits&bitContent != 0 {
		b = appendIDs(b, n.Content)
	}
	if bits&bitDepth != 0 {
		b = append(b, n.Depth)
	}
	if bits&bitTarget != 0 {
		b = appendString(b, n.Target)
	}
	if bits&bitLink != 0 {
		b = binary.AppendUvarint(binary.AppendUvarint(b, n.Link.Device), n.Link.Inode)
	}
	if bits&bitDevice != 0 {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(n.Device.Major)), uint64(n.Device.Minor))
	}
	if bits&bitXattrs != 0 {
		b = binary.AppendUvarint(b, uint64(len(n.Xattrs)))
		for _, x := range n.Xattrs {
			b = append(binary.AppendUvarint(appendString(b, x.Name), uint64(len(x.Value))), x.Value...)
		}
	}
	if bits&bitHoles != 0 {
		b = binary.AppendUvarint(b, uint64(len(n.Holes)))
		for _, h := range n.Holes {
			b = binary.AppendUvarint(binary.AppendUvarint(b, h.Offset), h.Length)
		}
	}
	if bits&bitError != 0 {
		b = appendString(b, n.Error)
	}
	e.entries = b
	e.count++
}

func bitsOf(n *snapshot.Node) uint64 {
	bits := uint64(n.Type) & typeMask
	for _, f := range [...]struct {
		has bool
		bit uint64
	}{
		{!n.Atime.IsZero(), bitAtime}, {n.Size > 0, bitSize}, {len(n.Content) > 0, bitContent}, {n.Depth > 0, bitDepth},
		{n.Target != "", bitTarget}, {n.Link != nil, bitLink}, {n.Device != nil, bitDevice},
		{len(n.Xattrs) > 0, bitXattrs}, {len(n.Holes) > 0, bitHoles}, {n.Error != "", bitError},
	} {
		if f.has {
			bits |= f.bit
		}
	}
	return bits
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendTime(dst []byte, t snapshot.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(dst, t.Sec), uint64(t.Nsec))
}
