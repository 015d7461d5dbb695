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
//	type(1) id(32)                          → entry             one blob; type is chunk.Data or chunk.Tree
//	'C' pack id(32)                         → nothing           a gc record condemns the pack, known or not
//	'G' segment number(4) part(2)           → numbers of the packs that the segment names
//	'N'                                     → number(4)         the largest number that a blob may have
//	'P' pack id(32)                         → pack number(4)
//	'R' record id(32)                       → nothing           the gc record is noted
//	'S' fingerprint(16)                     → session number(4)
//	'g' segment id(32)                      → segment record    the segment is applied, or begun
//	'p' pack number(4)                      → pack record       numbers are big-endian in keys
//	's' session number(4)                   → session record
//	't' blob number(4) role(1) part(2)      → what a tree refers to
//	'x' type(1) id(32)                      → further copies of a blob
const (
	prefixCondemned    = 'C'
	prefixSegmentPacks = 'G'
	prefixNumbers      = 'N'
	prefixPackID       = 'P'
	prefixRecord       = 'R'
	prefixFingerprint  = 'S'
	prefixSegment      = 'g'
	prefixPack         = 'p'
	prefixSession      = 's'
	prefixRefs         = 't'
	prefixCopies       = 'x'
)

var errRecord = errors.New("a record of it is damaged")

// entry is one copy of a blob: where it is, with numbers for pack and session.
//
//	pack u32 | column u8, + 128 where there are further copies | compression u8 | offset u32 | stored u32 | plain u32 |
//	number u32 | session uvarint, where foreign
//
// 22 bytes, or at most 5 more for a blob that was copied into its pack from another session.
type entry struct {
	pack                  uint32
	offset, stored, plain uint32
	number                uint32 // of the blob, from 1
	foreign               uint32 // session number + 1, or 0: the session of the pack
	column                uint8
	compression           seal.Compression
	more                  bool // there are further copies
}

const (
	entrySize = 22
	moreBit   = 0x80 // columns are below pack.MaxShards = 32
)

func (e *entry) append(b []byte) []byte {
	column := e.column
	if e.more {
		column |= moreBit
	}
	b = binary.LittleEndian.AppendUint32(b, e.pack)
	b = append(b, column, byte(e.compression))
	b = binary.LittleEndian.AppendUint32(b, e.offset)
	b = binary.LittleEndian.AppendUint32(b, e.stored)
	b = binary.LittleEndian.AppendUint32(b, e.plain)
	b = binary.LittleEndian.AppendUint32(b, e.number)
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
	e.column, e.more, e.compression = b[4]&^moreBit, b[4]&moreBit != 0, seal.Compression(b[5])
	e.offset = binary.LittleEndian.Uint32(b[6:])
	e.stored = binary.LittleEndian.Uint32(b[10:])
	e.plain = binary.LittleEndian.Uint32(b[14:])
	e.number = binary.LittleEndian.Uint32(b[18:])
	if b = b[entrySize:]; len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n != len(b) || v == 0 || v > 1<<32-1 {
			return e, errRecord
		}
		e.foreign = uint32(v)
	}
	return e, nil
}

// Further copies are entries one after the other, each behind its length (1).
func encodeCopies(list []entry) []byte {
	b := make([]byte, 0, len(list)*(1+entrySize+2))
	for i := range list {
		at := len(b)
		b = list[i].append(append(b, 0))
		b[at] = byte(len(b) - at - 1)
	}
	return b
}

// parseCopies also bounds what is allocated: the value is at most valueThreshold long.
func parseCopies(b []byte) (list []entry, err error) {
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n {
			return nil, errRecord
		}
		e, err := parseEntry(b[1 : 1+n])
		if err != nil {
			return nil, err
		}
		list, b = append(list, e), b[1+n:]
	}
	return list, nil
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
