package pack

import (
	"fmt"

	"cairn/chunk"
)

// maxSegmentSessions is the largest number of sessions in a segment (docs/format.md §10).
const maxSegmentSessions = 65535

// Wire format of an index segment's plaintext (docs/format.md §7), do not change.
type (
	wireSegment struct {
		Sessions []wireSession `cbor:"1,keyasint"`
		Columns  []wireColumn  `cbor:"2,keyasint"`
	}
	wireColumn struct {
		_         struct{} `cbor:",toarray"`
		Pack      []byte
		Kind      uint8
		K, M      uint8
		Epoch     uint16
		L         uint32
		Number    uint8
		Session   uint16
		Directory wireDirectory
	}
)

// SegmentSize returns an upper bound of what the column adds to an index segment, so that the caller can fill
// segments without encoding them twice. A blob takes 42 bytes.
func (c *Column) SegmentSize() int {
	const fixed = 1 + 34 + 2 + 2 + 2 + 3 + 5 + 2 + 3 // array head, pack id, kind, k, m, epoch, L, number, session
	return fixed + c.directorySize() + sessionSize(c.Session)
}

// sessionKey makes a session with its wraps comparable. A session's id alone is no key: a hostile writer may use one
// twice with different wraps, and that must not keep others from writing an index.
func sessionKey(dst []byte, s SessionWrap) []byte {
	dst = append(dst[:0], s.ID[:]...)
	dst = append(dst, byte(len(s.Wrap.Root)))
	dst = append(dst, s.Wrap.Root...)
	return append(dst, s.Wrap.HPKE...)
}

// EncodeSegment returns the plaintext of an index segment about cols, which may be columns of any packs of data and
// trees. It fails if the result is longer than a blob may be; SegmentSize tells how many columns to give.
func EncodeSegment(cols []Column) ([]byte, error) {
	seg := wireSegment{Columns: make([]wireColumn, len(cols))}
	numbers := map[string]uint16{}
	var key []byte
	for i := range cols {
		c := &cols[i]
		if err := c.checkAll(); err != nil {
			return nil, fmt.Errorf("index segment: column %d of pack %s: %w", c.Number, c.Pack, err)
		}
		key = sessionKey(key, c.Session)
		number, ok := numbers[string(key)]
		if !ok {
			if len(seg.Sessions) == maxSegmentSessions {
				return nil, fmt.Errorf("index segment: more than %d sessions", maxSegmentSessions)
			}
			number = uint16(len(seg.Sessions))
			numbers[string(key)] = number
			s := &c.Session
			seg.Sessions = append(seg.Sessions, wireSession{ID: s.ID[:], HPKE: s.Wrap.HPKE, Root: s.Wrap.Root})
		}
		seg.Columns[i] = wireColumn{
			Pack: c.Pack[:], Kind: uint8(c.Kind), K: uint8(c.K), M: uint8(c.M), Epoch: c.Epoch, L: uint32(c.L),
			Number: uint8(c.Number), Session: number, Directory: c.encodeTables(),
		}
	}
	plain, err := marshal(&seg)
	if err != nil {
		return nil, fmt.Errorf("index segment: %w", err)
	}
	if len(plain) > chunk.MaxPlain {
		return nil, fmt.Errorf("index segment of %d bytes, at most %d are allowed", len(plain), chunk.MaxPlain)
	}
	return plain, nil
}

// DecodeSegment is the inverse of EncodeSegment, and as strict: EncodeSegment makes the very same bytes of what it
// returns. That includes the sessions, which stand in the order in which the columns name them, each once.
func DecodeSegment(plain []byte) ([]Column, error) {
	if len(plain) > chunk.MaxPlain {
		return nil, corrupt(InSegment, 0, "%d bytes, at most %d are allowed", len(plain), chunk.MaxPlain)
	}
	var seg wireSegment
	if err := unmarshal(InSegment, plain, &seg); err != nil {
		return nil, err
	}
	sessions, err := seg.decodeSessions()
	if err != nil {
		return nil, corrupt(InSegment, 0, "%s", err)
	}
	cols := make([]Column, len(seg.Columns))
	used := 0 // sessions named so far
	for i := range cols {
		w := &seg.Columns[i]
		if int(w.Session) > used || int(w.Session) >= len(sessions) {
			return nil, corrupt(InSegment, 0, "entry %d: session %d of %d, of which %d were named", i, w.Session, len(sessions), used)
		}
		used = max(used, int(w.Session)+1)
		if err := cols[i].take(w, sessions[w.Session]); err != nil {
			return nil, corrupt(InSegment, 0, "entry %d: %s", i, err)
		}
	}
	if used != len(sessions) {
		return nil, corrupt(InSegment, 0, "%d sessions, of which only %d are named", len(sessions), used)
	}
	return cols, nil
}

func (seg *wireSegment) decodeSessions() ([]SessionWrap, error) {
	if len(seg.Sessions) > maxSegmentSessions {
		return nil, fmt.Errorf("%d sessions, at most %d are allowed", len(seg.Sessions), maxSegmentSessions)
	}
	sessions := make([]SessionWrap, len(seg.Sessions))
	seen := make(map[string]struct{}, len(sessions))
	var key []byte
	for i := range sessions {
		s, err := seg.Sessions[i].decode(chunk.Data)
		if err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		key = sessionKey(key, s)
		if _, ok := seen[string(key)]; ok {
			return nil, fmt.Errorf("session %d occurs twice", i)
		}
		seen[string(key)] = struct{}{}
		sessions[i] = s
	}
	return sessions, nil
}

// take takes over one entry of a segment.
func (c *Column) take(w *wireColumn, s SessionWrap) error {
	if len(w.Pack) != len(c.Pack) {
		return fmt.Errorf("pack id of %d bytes", len(w.Pack))
	}
	*c = Column{
		Pack: ID(w.Pack), Kind: chunk.Type(w.Kind), Geometry: Geometry{K: int(w.K), M: int(w.M), Epoch: w.Epoch},
		L: int64(w.L), Number: int(w.Number), Session: s,
	}
	if err := c.decodeTables(&w.Directory); err != nil {
		return err
	}
	return c.check()
}

// checkAll checks a column before it is encoded: its offsets, too, which are not stored.
func (c *Column) checkAll() error {
	if len(c.Entries) > MaxEntries {
		return fmt.Errorf("%d blobs", len(c.Entries))
	}
	var offset int64
	for i := range c.Entries {
		e := &c.Entries[i]
		if err := c.checkEntry(e); err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
		if int64(e.Offset) != offset {
			return fmt.Errorf("blob %d begins at %d, the one before ends at %d", i, e.Offset, offset)
		}
		offset += int64(e.Stored)
	}
	return c.check()
}

// check checks what a segment says about a column, entries excepted, which decodeTables has checked.
func (c *Column) check() error {
	if err := c.Geometry.Validate(); err != nil {
		return err
	}
	size := c.directorySize() + sealing
	switch {
	case c.Kind != chunk.Data && c.Kind != chunk.Tree:
		return fmt.Errorf("kind %s", c.Kind)
	case c.L <= 0 || c.L > MaxColumn || c.L%Align != 0:
		return fmt.Errorf("column length %d", c.L)
	case c.Number < 0 || c.Number >= c.K:
		return fmt.Errorf("column number %d of %d", c.Number, c.K)
	case checkWrap(c.Kind, c.Session.Wrap) != nil:
		return checkWrap(c.Kind, c.Session.Wrap)
	case len(c.Sessions) > MaxSessions:
		return fmt.Errorf("%d sessions", len(c.Sessions))
	case c.end()+int64(size) > c.L:
		return fmt.Errorf("blobs end at %d, with a directory of %d bytes in a column of %d", c.end(), size, c.L)
	}
	return nil
}
