package pack

import (
	"encoding/binary"
	"fmt"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// Entry is what a directory says about one blob.
type Entry struct {
	ID          chunk.ID
	Offset      uint32 // in the column; in the shard object it is HeaderSize more
	Stored      uint32 // sealed length
	Plain       uint32
	Compression seal.Compression
	Session     uint8 // 0 is the header's session, s > 0 is Column.Sessions[s-1]
}

// Column is a data column's directory, with what is needed to find and open its blobs: nothing else of the pack
// has to be read for that.
type Column struct {
	Pack ID
	Kind chunk.Type
	Geometry
	L        int64
	Number   int           // which column: also the number of the shard
	Session  SessionWrap   // of the pack's header
	Sessions []SessionWrap // of blobs copied from packs of other sessions
	Entries  []Entry       // in the order of their offsets, without gaps
}

// Blob returns what is needed to open the blob of an entry.
func (c *Column) Blob(e Entry) seal.Sealed {
	return seal.Sealed{ID: e.ID, Type: c.Kind, Compression: e.Compression, Plain: e.Plain, Session: c.SessionOf(e).ID}
}

// SessionOf returns the session that sealed the blob of an entry.
func (c *Column) SessionOf(e Entry) SessionWrap {
	if e.Session == 0 {
		return c.Session
	}
	return c.Sessions[e.Session-1]
}

// end returns where the last blob ends.
func (c *Column) end() int64 {
	if len(c.Entries) == 0 {
		return 0
	}
	last := c.Entries[len(c.Entries)-1]
	return int64(last.Offset) + int64(last.Stored)
}

// Wire format of a directory's plaintext (docs/format.md §6), do not change.
type (
	wireDirectory struct {
		IDs         []byte        `cbor:"1,keyasint"`
		Stored      []byte        `cbor:"2,keyasint"`
		Plain       []byte        `cbor:"3,keyasint"`
		Compression []byte        `cbor:"4,keyasint"`
		Session     []byte        `cbor:"5,keyasint,omitempty"`
		Sessions    []wireSession `cbor:"6,keyasint,omitempty"`
	}
	wireSession struct {
		_    struct{} `cbor:",toarray"`
		ID   []byte
		HPKE []byte
		Root []byte
	}
)

// entrySize is what a blob takes in a directory's tables, and how much more where session numbers are written.
const (
	entrySize   = 32 + 4 + 4 + 1
	sessionByte = 1
)

// directorySize returns the exact length of the plaintext of a directory of n blobs, with session numbers if some are
// foreign, and with so many sessions that take so many bytes (sessionSize). It is arithmetic because the Writer needs it for every
// blob it places, and DecodeSegment to know where blobs must end.
func directorySize(n int, foreign bool, sessions, sessionBytes int) int {
	size := 1 // map head
	for _, width := range [...]int{32, 4, 4, 1} {
		size += 1 + head(n*width) + n*width
	}
	if foreign {
		size += 1 + head(n) + n
	}
	if sessions > 0 {
		size += 1 + head(sessions) + sessionBytes
	}
	return size
}

// directorySize returns the length of the plaintext of the column's directory.
func (c *Column) directorySize() int {
	bytes := 0
	for _, s := range c.Sessions {
		bytes += sessionSize(s)
	}
	return directorySize(len(c.Entries), c.hasForeign(), len(c.Sessions), bytes)
}

// sessionSize returns the encoded length of a session.
func sessionSize(s SessionWrap) int {
	h, r := len(s.Wrap.HPKE), len(s.Wrap.Root)
	return 1 + 1 + len(s.ID) + head(h) + h + head(r) + r
}

// head returns the length of the head of a CBOR string or array of n elements.
func head(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

// encodeTables fills the tables of a column's directory.
func (c *Column) encodeTables() wireDirectory {
	n := len(c.Entries)
	// One allocation for all tables.
	buf := make([]byte, (entrySize+sessionByte)*n)
	cut := func(size int) []byte {
		t := buf[:size:size]
		buf = buf[size:]
		return t
	}
	d := wireDirectory{IDs: cut(32 * n), Stored: cut(4 * n), Plain: cut(4 * n), Compression: cut(n)}
	numbers := cut(n)
	for i := range c.Entries {
		e := &c.Entries[i]
		copy(d.IDs[32*i:], e.ID[:])
		binary.LittleEndian.PutUint32(d.Stored[4*i:], e.Stored)
		binary.LittleEndian.PutUint32(d.Plain[4*i:], e.Plain)
		d.Compression[i] = byte(e.Compression)
		numbers[i] = e.Session
		if e.Session != 0 {
			d.Session = numbers
		}
	}
	for _, s := range c.Sessions {
		d.Sessions = append(d.Sessions, wireSession{ID: s.ID[:], HPKE: s.Wrap.HPKE, Root: s.Wrap.Root})
	}
	return d
}

// decodeTables checks a directory and takes it over into c, whose other fields are set. What it refuses is wrong
// whatever the pack; c.check refuses what does not fit this one.
func (c *Column) decodeTables(d *wireDirectory) error {
	n := len(d.Compression)
	if n > MaxEntries {
		return fmt.Errorf("%d blobs, at most %d are allowed", n, MaxEntries)
	}
	if len(d.IDs) != 32*n || len(d.Stored) != 4*n || len(d.Plain) != 4*n || (d.Session != nil && len(d.Session) != n) {
		return fmt.Errorf("tables of differing length: %d, %d, %d, %d, %d bytes",
			len(d.IDs), len(d.Stored), len(d.Plain), n, len(d.Session))
	}
	if err := c.decodeSessions(d.Sessions); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	c.Entries = make([]Entry, n)
	var offset int64
	foreign := false
	for i := range c.Entries {
		e := &c.Entries[i]
		e.ID = chunk.ID(d.IDs[32*i:])
		e.Offset = uint32(offset)
		e.Stored = binary.LittleEndian.Uint32(d.Stored[4*i:])
		e.Plain = binary.LittleEndian.Uint32(d.Plain[4*i:])
		e.Compression = seal.Compression(d.Compression[i])
		if d.Session != nil {
			e.Session = d.Session[i]
			foreign = foreign || e.Session != 0
		}
		if err := c.checkEntry(e); err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
		// Before the next offset, so that offsets never leave 32 bits.
		if offset += int64(e.Stored); offset > MaxColumn {
			return fmt.Errorf("blob %d ends at %d, behind the largest column", i, offset)
		}
	}
	if d.Session != nil && !foreign {
		return fmt.Errorf("session numbers that are all 0")
	}
	return nil
}

// decodeSessions takes over the sessions of copied blobs.
func (c *Column) decodeSessions(list []wireSession) error {
	if len(list) > MaxSessions {
		return fmt.Errorf("%d sessions, at most %d are allowed", len(list), MaxSessions)
	}
	for i := range list {
		s, err := list[i].decode(c.Kind)
		if err != nil {
			return fmt.Errorf("session %d: %w", i+1, err)
		}
		c.Sessions = append(c.Sessions, s)
	}
	return nil
}

func (w *wireSession) decode(kind chunk.Type) (SessionWrap, error) {
	var s SessionWrap
	if len(w.ID) != len(s.ID) {
		return s, fmt.Errorf("id of %d bytes", len(w.ID))
	}
	copy(s.ID[:], w.ID)
	if len(w.HPKE) > 0 {
		s.Wrap.HPKE = w.HPKE
	}
	if len(w.Root) > 0 {
		s.Wrap.Root = w.Root
	}
	return s, checkWrap(kind, s.Wrap)
}

// checkEntry checks one blob against the limits.
func (c *Column) checkEntry(e *Entry) error {
	switch {
	case e.Plain == 0 || e.Plain > chunk.MaxPlain:
		return fmt.Errorf("plain length %d", e.Plain)
	case e.Stored <= sealing || e.Stored > MaxColumn:
		return fmt.Errorf("sealed length %d", e.Stored)
	case e.Compression > seal.Zstd:
		return fmt.Errorf("unknown compression %d", e.Compression)
	case int(e.Session) > len(c.Sessions):
		return fmt.Errorf("session %d of %d", e.Session, len(c.Sessions))
	}
	return nil
}

// hasForeign says whether session numbers are written.
func (c *Column) hasForeign() bool {
	for i := range c.Entries {
		if c.Entries[i].Session != 0 {
			return true
		}
	}
	return false
}

// encodeDirectory returns the plaintext of the column's directory.
func (c *Column) encodeDirectory() ([]byte, error) { return marshal(c.encodeTables()) }

// decodeDirectory takes over a directory's plaintext, the blobs of which must end before limit.
func (c *Column) decodeDirectory(plain []byte, limit int64) error {
	var d wireDirectory
	if err := unmarshal(InDirectory, plain, &d); err != nil {
		return err
	}
	if err := c.decodeTables(&d); err != nil {
		return corrupt(InDirectory, 0, "%s", err)
	}
	if c.end() > limit {
		return corrupt(InDirectory, 0, "blobs end at %d, behind the directory's begin at %d", c.end(), limit)
	}
	return nil
}

// OpenDirectory opens the sealed directory of a data column of the pack with the given header: the last
// h.DirLen[column] bytes of the payload. It does not check the header's signature.
func OpenDirectory(k *seal.Keys, h *Header, column int, sealed []byte) (*Column, error) {
	fail := func(err error) (*Column, error) {
		return nil, fmt.Errorf("directory of column %d of pack %s: %w", column, h.ID, err)
	}
	if h.Archive != k.Archive() {
		return fail(ErrForeign)
	}
	if column < 0 || column >= h.Geometry.K {
		return fail(ErrParity)
	}
	if len(sealed) != int(h.DirLen[column]) {
		return fail(corrupt(InDirectory, 0, "%d bytes, the header says %d", len(sealed), h.DirLen[column]))
	}
	plain, err := k.OpenDirectory(h.Session.ID, h.Kind, column, sealed)
	if err != nil {
		return fail(err)
	}
	c := &Column{Pack: h.ID, Kind: h.Kind, Geometry: h.Geometry, L: h.L, Number: column, Session: h.Session}
	if err := c.decodeDirectory(plain, h.L-int64(len(sealed))); err != nil {
		return fail(err)
	}
	return c, nil
}
