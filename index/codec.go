package index

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// Keys of the database. Blobs come first so that the rest does not lie between them. Cache format: raise `format` when
// anything here changes.
//
//	type(1) id(32)        → entry             one blob; type is chunk.Data or chunk.Tree
//	'p' pack number(4)    → pack record       numbers are big-endian in keys
//	'P' pack id(32)       → pack number(4)
//	's' session number(4) → session record
//	'S' fingerprint(16)   → session number(4)
//	'g' segment id(32)    → nothing           the segment is applied
const (
	prefixPack        = 'p'
	prefixPackID      = 'P'
	prefixSession     = 's'
	prefixFingerprint = 'S'
	prefixSegment     = 'g'
)

var errRecord = errors.New("a record of it is damaged")

// entry is the value of a blob: where it is, with numbers for pack and session.
//
//	pack u32 | column u8 | compression u8 | offset u32 | stored u32 | plain u32 | session uvarint, where foreign
//
// 18 bytes, or at most 5 more for a blob that was copied into its pack from another session.
type entry struct {
	pack                  uint32
	offset, stored, plain uint32
	foreign               uint32 // session number + 1, or 0: the session of the pack
	column                uint8
	compression           seal.Compression
}

const entrySize = 18

func (e *entry) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, e.pack)
	b = append(b, e.column, byte(e.compression))
	b = binary.LittleEndian.AppendUint32(b, e.offset)
	b = binary.LittleEndian.AppendUint32(b, e.stored)
	b = binary.LittleEndian.AppendUint32(b, e.plain)
	if e.foreign > 0 {
		b = binary.AppendUvarint(b, uint64(e.foreign))
	}
	return b
}

func parseEntry(b []byte) (e entry, err error) {
	if len(b) < entrySize {
		return e, errRecord
	}
	e.pack = binary.LittleEndian.Uint32(b)
	e.column, e.compression = b[4], seal.Compression(b[5])
	e.offset = binary.LittleEndian.Uint32(b[6:])
	e.stored = binary.LittleEndian.Uint32(b[10:])
	e.plain = binary.LittleEndian.Uint32(b[14:])
	if b = b[entrySize:]; len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n != len(b) || v == 0 || v > 1<<32-1 {
			return e, errRecord
		}
		e.foreign = uint32(v)
	}
	return e, nil
}

// packRecord is what is known of a pack. It is not changed once it is in a cache, only replaced.
type packRecord struct {
	id       pack.ID
	kind     chunk.Type
	geometry pack.Geometry
	length   int64
	session  uint32 // number of the header's session
	columns  uint32 // bit i: all blobs of column i are in the index
}

const packSize = 32 + 1 + 1 + 1 + 2 + 8 + 4 + 4

func (p *packRecord) encode() []byte {
	b := make([]byte, 0, packSize)
	b = append(b, p.id[:]...)
	b = append(b, byte(p.kind), byte(p.geometry.K), byte(p.geometry.M))
	b = binary.LittleEndian.AppendUint16(b, p.geometry.Epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.length))
	b = binary.LittleEndian.AppendUint32(b, p.session)
	return binary.LittleEndian.AppendUint32(b, p.columns)
}

func parsePack(b []byte) (p packRecord, err error) {
	if len(b) != packSize {
		return p, errRecord
	}
	copy(p.id[:], b)
	p.kind = chunk.Type(b[32])
	p.geometry = pack.Geometry{K: int(b[33]), M: int(b[34]), Epoch: binary.LittleEndian.Uint16(b[35:])}
	p.length = int64(binary.LittleEndian.Uint64(b[37:]))
	p.session = binary.LittleEndian.Uint32(b[45:])
	p.columns = binary.LittleEndian.Uint32(b[49:])
	return p, nil
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

// maxWrap is longer than any wrap of the format (1404 and 160 bytes).
const maxWrap = 4096

// A session record is id(16) ‖ length of the HPKE wrap u16 ‖ HPKE wrap ‖ root wrap.
func encodeSession(s pack.SessionWrap) []byte {
	b := make([]byte, 0, len(s.ID)+2+len(s.Wrap.HPKE)+len(s.Wrap.Root))
	b = append(b, s.ID[:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s.Wrap.HPKE)))
	b = append(b, s.Wrap.HPKE...)
	return append(b, s.Wrap.Root...)
}

// parseSession does not keep b.
func parseSession(b []byte) (s pack.SessionWrap, err error) {
	n := copy(s.ID[:], b)
	if len(b) < n+2 {
		return s, errRecord
	}
	h := int(binary.LittleEndian.Uint16(b[n:]))
	b = b[n+2:]
	if h > maxWrap || len(b) < h || len(b)-h > maxWrap {
		return s, errRecord
	}
	s.Wrap.HPKE, s.Wrap.Root = append([]byte(nil), b[:h]...), append([]byte(nil), b[h:]...)
	return s, nil
}

// fingerprint finds the number of a session. It covers the wraps, so that a segment that carries a wrong wrap for a session
// does not spoil the packs that carry the right one.
type fingerprint [16]byte

func sessionFingerprint(record []byte) fingerprint {
	h := sha256.Sum256(record)
	return fingerprint(h[:16])
}

func numberKey(prefix byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix}, n)
}

func numberValue(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

func parseNumber(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, errRecord
	}
	return binary.LittleEndian.Uint32(b), nil
}

// checkColumn refuses what cannot be stored here. pack.DecodeSegment and pack.OpenDirectory refuse much more.
func checkColumn(c *pack.Column) error {
	err := c.Geometry.Validate()
	switch {
	case err != nil:
	case c.Pack == pack.ID{}:
		err = errors.New("its id is zero")
	case c.Kind != chunk.Data && c.Kind != chunk.Tree:
		err = fmt.Errorf("it holds blobs of %s", c.Kind)
	case c.Number < 0 || c.Number >= c.Geometry.K:
		err = fmt.Errorf("it has no data column %d", c.Number)
	case !fits(c.Session):
		err = errors.New("a session's wrap is too long")
	}
	for i := 0; err == nil && i < len(c.Sessions); i++ {
		if !fits(c.Sessions[i]) {
			err = errors.New("a session's wrap is too long")
		}
	}
	for i := 0; err == nil && i < len(c.Entries); i++ {
		if int(c.Entries[i].Session) > len(c.Sessions) {
			err = fmt.Errorf("blob %s names session %d of %d", c.Entries[i].ID, c.Entries[i].Session, len(c.Sessions))
		}
	}
	if err != nil {
		return fmt.Errorf("index pack %s column %d: %w", c.Pack, c.Number, err)
	}
	return nil
}

func fits(s pack.SessionWrap) bool { return len(s.Wrap.HPKE) <= maxWrap && len(s.Wrap.Root) <= maxWrap }
