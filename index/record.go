package index

import (
	"encoding/binary"
	"slices"

	"cairn/chunk"
	"cairn/pack"
)

// packRecord is what is known of a pack. It is not changed once it is in a cache, only replaced.
type packRecord struct {
	id        pack.ID
	kind      chunk.Type
	geometry  pack.Geometry
	length    int64
	session   uint32 // number of the header's session
	columns   uint32 // bit i: all blobs of column i are in the index
	blobs     uint32 // in those columns
	condemned bool
	names     []naming // in ascending order of their segments
}

// naming says which columns of a pack a segment names. Segment 0 stands for columns that were applied without one, and for all
// segments beyond maxNamings: these columns are named until Drop.
type naming struct{ segment, columns uint32 }

// maxNamings bounds a pack record to 11 KB. One segment names a pack, or two, when it lies at the end of the first; a collector
// replaces segments by others, which are retired.
const maxNamings = 1024

const packSize = 32 + 1 + 1 + 1 + 2 + 8 + 4 + 4 + 4 + 1

func (p *packRecord) encode() []byte {
	b := make([]byte, 0, packSize+8*len(p.names))
	b = append(b, p.id[:]...)
	b = append(b, byte(p.kind), byte(p.geometry.K), byte(p.geometry.M))
	b = binary.LittleEndian.AppendUint16(b, p.geometry.Epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.length))
	b = binary.LittleEndian.AppendUint32(b, p.session)
	b = binary.LittleEndian.AppendUint32(b, p.columns)
	b = binary.LittleEndian.AppendUint32(b, p.blobs)
	flags := byte(0)
	if p.condemned {
		flags = 1
	}
	b = append(b, flags)
	for _, n := range p.names {
		b = binary.AppendUvarint(b, uint64(n.segment))
		b = binary.AppendUvarint(b, uint64(n.columns))
	}
	return b
}

func parsePack(b []byte) (p packRecord, err error) {
	if len(b) < packSize || b[packSize-1] > 1 {
		return p, errRecord
	}
	copy(p.id[:], b)
	p.kind = chunk.Type(b[32])
	p.geometry = pack.Geometry{K: int(b[33]), M: int(b[34]), Epoch: binary.LittleEndian.Uint16(b[35:])}
	p.length = int64(binary.LittleEndian.Uint64(b[37:]))
	p.session = binary.LittleEndian.Uint32(b[45:])
	p.columns = binary.LittleEndian.Uint32(b[49:])
	p.blobs = binary.LittleEndian.Uint32(b[53:])
	p.condemned = b[57] == 1
	for b = b[packSize:]; len(b) > 0; {
		var n naming
		if n.segment, b, err = uvarint32(b); err != nil {
			return p, err
		}
		if n.columns, b, err = uvarint32(b); err != nil {
			return p, err
		}
		p.names = append(p.names, n)
	}
	return p, nil
}

func uvarint32(b []byte) (uint32, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<32-1 {
		return 0, nil, errRecord
	}
	return uint32(v), b[n:], nil
}

// conflict says what two columns of one pack disagree about, or nothing.
func (p *packRecord) conflict(q *packRecord) string {
	switch {
	case p.kind != q.kind:
		return "kind"
	case p.geometry != q.geometry:
		return "geometry"
	case p.length != q.length:
		return "column length"
	case p.session != q.session:
		return "session"
	}
	return ""
}

// named returns the columns that are in the index and that a segment names.
func (p *packRecord) named() (columns uint32) {
	for _, n := range p.names {
		columns |= n.columns
	}
	return columns & p.columns
}

// name notes that the segment names the columns, and says whether that is new.
func (p *packRecord) name(segment, columns uint32) bool {
	i, ok := p.naming(segment)
	if !ok {
		if segment != 0 && len(p.names) >= maxNamings {
			return p.name(0, columns)
		}
		p.names = slices.Insert(p.names, i, naming{segment: segment})
	}
	was := p.names[i].columns
	p.names[i].columns |= columns
	return p.names[i].columns != was
}

// unname takes it back.
func (p *packRecord) unname(segment uint32) bool {
	i, ok := p.naming(segment)
	if ok {
		p.names = slices.Delete(p.names, i, i+1)
	}
	return ok
}

func (p *packRecord) naming(segment uint32) (int, bool) {
	return slices.BinarySearchFunc(p.names, segment, func(n naming, s uint32) int { return int(int64(n.segment) - int64(s)) })
}

// segments says how many segments name the pack.
func (p *packRecord) segments() int {
	if len(p.names) > 0 && p.names[0].segment == 0 {
		return len(p.names) - 1
	}
	return len(p.names)
}

func (p *packRecord) state() State {
	switch {
	case p.condemned:
		return Condemned
	case p.named() == 0:
		return Gone
	}
	return Live
}

func (p *packRecord) info(number uint32, s pack.SessionWrap) PackInfo {
	return PackInfo{ID: p.id, Number: number, Kind: p.kind, Geometry: p.geometry, L: p.length, Session: s,
		Columns: p.named(), State: p.state(), Segments: p.segments()}
}

// A segment record is its number(4) ‖ 1 when it is applied, 0 when only a part of its columns may be named.
type segmentRecord struct {
	number  uint32
	applied bool
}

func (s segmentRecord) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, s.number)
	if s.applied {
		return append(b, 1)
	}
	return append(b, 0)
}

func parseSegment(b []byte) (s segmentRecord, err error) {
	if len(b) != 5 || b[4] > 1 {
		return s, errRecord
	}
	return segmentRecord{binary.LittleEndian.Uint32(b), b[4] == 1}, nil
}

// partNumbers is how many numbers of packs are in one value: at most 20 KB.
const partNumbers = 4096

func segmentPartKey(segment uint32, part int) []byte {
	return binary.BigEndian.AppendUint16(numberKey(prefixSegmentPacks, segment), uint16(part))
}

// appendNumbers writes numbers in ascending order, each as the distance from the one before.
func appendNumbers(b []byte, list []uint32) []byte {
	last := uint32(0)
	for _, n := range list {
		b = binary.AppendUvarint(b, uint64(n-last))
		last = n
	}
	return b
}

func parseNumbers(b []byte) (list []uint32, err error) {
	last := uint32(0)
	for len(b) > 0 {
		var d uint32
		if d, b, err = uvarint32(b); err != nil {
			return nil, err
		}
		if last+d < last {
			return nil, errRecord
		}
		last += d
		list = append(list, last)
	}
	return list, nil
}
