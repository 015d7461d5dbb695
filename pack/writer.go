package pack

import (
	crand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// errSealed means that a Writer is used after Seal.
var errSealed = errors.New("pack is sealed already")

// Writer fills one pack in memory. It is not safe for concurrent use.
//
// Memory: each data column is one buffer, taken when its first blob comes and never copied on the way to the store: header, column,
// checksums and copy lie in it as they will in the object. With the default target of T = 32 MiB / k, at least 4 and at
// most 16 MiB (a backup into a directory takes less, archive/writer.go), an open pack holds k·T: k=1 16 MiB, k=2 32, k=4 32, k=8 32, k=16 64 MiB (plus 9 KiB a column); Seal
// adds m·T for parity, so 4+2 makes 48 MiB. Blobs larger than T may double that. Sealed.Release keeps up to idleBytes of it for the next pack.
type Writer struct {
	keys    *seal.Keys
	session SessionWrap
	key     string // sessionKey of session
	kind    chunk.Type
	g       Geometry
	layout  layout
	columns []Column // Entries and Sessions are filled in
	buffers [][]byte // each HeaderSize bytes of nothing, then the column's blobs
	have    map[chunk.ID]struct{}
	noise   *rand.ChaCha8
	rng     *rand.Rand // draws from noise
	err     error      // of NewWriter, or errSealed
}

// NewWriter starts a pack of blobs of the given kind. s is the session of the header, to which all blobs belong that are
// added without another; for packs of kind chunk.Index it is a session of Keys.IndexSession. target is the length aimed at
// for each column, at most MaxColumn; 0 means Geometry.DefaultTarget. Wrong arguments make Add and Seal fail.
func NewWriter(k *seal.Keys, s *seal.Session, kind chunk.Type, g Geometry, target int) *Writer {
	w := &Writer{keys: k, kind: kind, g: g, session: SessionWrap{ID: s.ID(), Wrap: s.Wrap()}}
	if kind == chunk.Index {
		w.session.Wrap = seal.Wrap{} // readers derive the key
	}
	w.key = string(sessionKey(nil, w.session))
	if target <= 0 {
		target = g.DefaultTarget()
	}
	w.layout.target = min(target, MaxColumn) &^ (Align - 1)
	w.err = g.Validate()
	switch {
	case w.err != nil:
		return w
	case !kind.Valid():
		w.err = fmt.Errorf("new pack: kind %s", kind)
	default:
		if err := checkWrap(kind, w.session.Wrap); err != nil {
			w.err = fmt.Errorf("new pack: session %s: %w", s.ID(), err)
		}
	}
	var seed [32]byte
	crand.Read(seed[:]) // never fails (Go 1.24)
	// Some of what it draws is published as padding: ChaCha8 does not give away the rest by that.
	w.noise = rand.NewChaCha8(seed)
	w.rng = rand.New(w.noise)
	w.reset()
	return w
}

// reset empties the Writer.
func (w *Writer) reset() {
	w.layout.spans = make([]span, w.g.K)
	w.columns = make([]Column, w.g.K)
	w.buffers = make([][]byte, w.g.K)
	w.have = map[chunk.ID]struct{}{}
}

// Fits says whether a blob of the writer's session, n bytes sealed, fits without making the pack longer than its target (or than it
// is). A blob larger than the target also fits while no column gets longer than twice the target, and in an empty pack
// whenever MaxColumn has room for it.
func (w *Writer) Fits(n int) bool { return w.err == nil && n > 0 && w.layout.fitting(n, nil).n > 0 }

// Target is the length aimed at for each column.
func (w *Writer) Target() int { return w.layout.target }

// Long says whether a blob has made the pack longer than its target.
func (w *Writer) Long() bool { return w.layout.limit() > w.layout.target }

// Len returns how many blobs the pack holds, and their sealed bytes.
func (w *Writer) Len() (blobs int, bytes int64) {
	for _, s := range w.layout.spans {
		blobs += s.entries
		bytes += int64(s.used)
	}
	return blobs, bytes
}

// Kind is the type of all blobs of the pack.
func (w *Writer) Kind() chunk.Type { return w.kind }

// Has says whether the pack holds the blob.
func (w *Writer) Has(id chunk.ID) bool {
	_, ok := w.have[id]
	return ok
}

// Add copies a sealed blob into a column. foreign is the session that sealed it if that is not the writer's: blobs are copied
// from other packs as they are. It returns ErrDuplicate if the pack has the blob and ErrFull if it does not fit (foreign
// sessions take room of their own, and a column has room for 255, so Fits does not promise it for them). After an
// error the pack is as before.
func (w *Writer) Add(b seal.Sealed, sealed []byte, foreign *SessionWrap) (column int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	g := w.guest(foreign)
	if err := w.check(b, sealed, g); err != nil {
		return 0, fmt.Errorf("add %s blob %s: %w", b.Type, b.ID, err)
	}
	column, ok := w.layout.choose(w.rng, len(sealed), g)
	if !ok {
		return 0, fmt.Errorf("add %s blob %s of %d bytes: %w", b.Type, b.ID, len(sealed), ErrFull)
	}
	w.place(column, Entry{ID: b.ID, Plain: b.Plain, Compression: b.Compression}, sealed, g)
	return column, nil
}

// guest returns nil if s is the pack's own session.
func (w *Writer) guest(s *SessionWrap) *guest {
	if s == nil {
		return nil
	}
	if g := newGuest(*s); g.key != w.key {
		return g
	}
	return nil
}

// check refuses what readers would refuse, before it is stored.
func (w *Writer) check(b seal.Sealed, sealed []byte, g *guest) error {
	if b.Type != w.kind {
		return fmt.Errorf("in a pack of kind %s", w.kind)
	}
	if w.Has(b.ID) {
		return ErrDuplicate
	}
	session := w.session.ID
	if g != nil {
		session = g.ID
		if err := checkWrap(w.kind, g.Wrap); err != nil {
			return fmt.Errorf("session %s: %w", g.ID, err)
		}
	}
	if b.Session != session {
		return fmt.Errorf("sealed in session %s, added with session %s", b.Session, session)
	}
	e := Entry{Stored: uint32(min(len(sealed), MaxColumn+1)), Plain: b.Plain, Compression: b.Compression}
	return new(Column).checkEntry(&e)
}

// place puts a blob that fits into a column.
func (w *Writer) place(column int, e Entry, sealed []byte, g *guest) {
	s, c := &w.layout.spans[column], &w.columns[column]
	e.Offset, e.Stored = uint32(s.used), uint32(len(sealed))
	e.Session = s.add(len(sealed), g)
	if int(e.Session) > len(c.Sessions) {
		c.Sessions = append(c.Sessions, g.SessionWrap)
	}
	c.Entries = append(c.Entries, e)
	w.have[e.ID] = struct{}{}
	w.reserve(column, w.room(s.size()))
	w.buffers[column] = append(w.buffers[column], sealed...)
}

// room is the length for which a column's buffer is made: the target, and twice that once a large blob has made the pack longer. Packs
// of trees and of the index are rarely full: their buffers grow from 1 MiB to 4 and to the target.
func (w *Writer) room(size int) int {
	t := w.layout.target
	if w.kind != chunk.Data {
		for step := bufferStep; step < t; step *= 4 {
			if size <= step {
				return step
			}
		}
	}
	switch {
	case size <= t:
		return t
	case size <= 2*t && 2*t <= MaxColumn:
		return 2 * t
	}
	return size
}

// reserve makes a column's buffer large enough for a length of size.
func (w *Writer) reserve(column, size int) {
	old := w.buffers[column]
	if old != nil && holds(old, size) {
		return
	}
	b := newBuffer(size)[:HeaderSize]
	if old != nil {
		b = append(b, old[HeaderSize:]...)
		if w.kind == chunk.Data { // of the others' sizes another one is rarely needed, and they would lie idle
			freeBuffer(old)
		}
	}
	w.buffers[column] = b
}

// Absorb moves all blobs of another open pack into this one, if they fit, so that small tails become one pack. If it returns false,
// nothing has changed; otherwise o is empty and may be filled again. Blobs that both hold are kept once.
func (w *Writer) Absorb(o *Writer) bool {
	if w.err != nil || o.err != nil || w == o || w.keys.Archive() != o.keys.Archive() || w.kind != o.kind || w.g != o.g {
		return false
	}
	moves := o.moves(w)
	// The largest first: the small ones fill the gaps.
	slices.SortStableFunc(moves, func(a, b move) int { return int(b.Stored) - int(a.Stored) })
	trial := w.layout.clone()
	for i := range moves {
		m := &moves[i]
		to, ok := trial.choose(w.rng, int(m.Stored), m.guest)
		if !ok {
			return false
		}
		trial.spans[to].add(int(m.Stored), m.guest)
		m.to = to
	}
	for _, m := range moves {
		w.place(m.to, m.Entry, o.buffers[m.from][HeaderSize+int(m.Offset):][:m.Stored], m.guest)
	}
	for _, b := range o.buffers {
		freeBuffer(b)
	}
	o.reset()
	return true
}

// move is a blob on its way to another pack.
type move struct {
	Entry
	guest    *guest
	from, to int
}

// moves lists all blobs that w has not.
func (o *Writer) moves(w *Writer) []move {
	var moves []move
	for from := range o.columns {
		c := &o.columns[from]
		guests := []*guest{w.guest(&o.session)}
		for i := range c.Sessions {
			guests = append(guests, w.guest(&c.Sessions[i]))
		}
		for _, e := range c.Entries {
			if !w.Has(e.ID) {
				moves = append(moves, move{Entry: e, guest: guests[e.Session], from: from})
			}
		}
	}
	return moves
}

// Sealed is a finished pack.
type Sealed struct {
	ID      ID
	Kind    chunk.Type
	Name    string   // of the shard objects, the same on each member
	Shards  [][]byte // n whole objects; valid until Release
	Columns []Column // what an index has to know
}

// Release gives the shards' memory to the next pack. Nothing may use them any more.
func (s *Sealed) Release() {
	for _, b := range s.Shards {
		freeBuffer(b)
	}
	s.Shards = nil
}

// Seal finishes the pack: directories, padding, parity, checksums, headers. The Writer is used up. The pack must
// hold a blob. For 32 MiB in 4+2 it takes 65 ms of one core, of which 47 are the SHA-256 of 48 MiB, 9 the checksums
// and 3 the parity; callers seal several packs at a time.
func (w *Writer) Seal() (*Sealed, error) {
	if w.err != nil {
		return nil, w.err
	}
	if blobs, _ := w.Len(); blobs == 0 {
		return nil, errors.New("seal pack: it holds no blob")
	}
	w.err = errSealed
	coder, err := coderFor(w.g)
	if err != nil {
		return nil, fmt.Errorf("seal pack: %w", err)
	}
	h := &Header{
		Version: version, Kind: w.kind, Geometry: w.g, Archive: w.keys.Archive(), Session: w.session,
		L: w.length(), DirLen: make([]uint32, w.g.K), Hashes: make([][32]byte, w.g.N()),
		Signature: seal.Signature{Signer: w.keys.Signer()},
	}
	for i := range w.columns {
		if h.DirLen[i], err = w.finish(i, h.L); err != nil {
			return nil, fmt.Errorf("seal pack: column %d: %w", i, err)
		}
	}
	shards, payloads := w.shards(h.L)
	if w.g.M > 0 {
		if err := coder.Encode(payloads); err != nil {
			return nil, fmt.Errorf("seal pack: parity: %w", err)
		}
	}
	for j, p := range payloads {
		h.Hashes[j] = sha256.Sum256(p)
	}
	if err := w.sign(h); err != nil {
		return nil, fmt.Errorf("seal pack: %w", err)
	}
	for j := range shards {
		h.frame(shards[j], j)
	}
	for i := range w.columns {
		c := &w.columns[i]
		c.Pack, c.Kind, c.Geometry, c.L, c.Number, c.Session = h.ID, h.Kind, h.Geometry, h.L, i, h.Session
	}
	return &Sealed{ID: h.ID, Kind: w.kind, Name: h.ID.Name(w.kind), Shards: shards, Columns: w.columns}, nil
}

// length returns L: the longest column with its directory, aligned.
func (w *Writer) length() int64 {
	longest := 0
	for i := range w.layout.spans {
		longest = max(longest, w.layout.spans[i].size())
	}
	return int64(roundUp(longest))
}

// finish fills up column i with random padding and its sealed directory, whose length it returns.
func (w *Writer) finish(i int, L int64) (uint32, error) {
	plain, err := w.columns[i].encodeDirectory()
	if err != nil {
		return 0, err
	}
	sealed, err := w.keys.SealDirectory(w.session.ID, w.kind, i, plain)
	if err != nil {
		return 0, err
	}
	s := &w.layout.spans[i]
	if len(sealed)+s.used != s.size() {
		return 0, fmt.Errorf("directory of %d bytes, computed were %d", len(sealed), s.size()-s.used)
	}
	w.reserve(i, w.room(int(L)))
	b := w.buffers[i]
	from, to := len(b), HeaderSize+int(L)-len(sealed)
	b = b[:ShardSize(L)]
	w.noise.Read(b[from:to]) // never fails
	copy(b[to:], sealed)
	w.buffers[i] = b
	return uint32(len(sealed)), nil
}

// shards returns all n objects, parity not yet computed, and the payloads in them.
func (w *Writer) shards(L int64) (shards, payloads [][]byte) {
	shards = w.buffers
	for range w.g.M {
		shards = append(shards, newBuffer(w.room(int(L)))[:ShardSize(L)])
	}
	w.buffers = nil
	for _, b := range shards {
		payloads = append(payloads, b[HeaderSize:HeaderSize+L:HeaderSize+L])
	}
	return shards, payloads
}

// sign completes the header and reads it back: a pack that nobody can read must not be stored.
func (w *Writer) sign(h *Header) error {
	h.encodeCore()
	h.Signature = w.keys.Sign(seal.LabelPack, h.ID[:])
	h.encodeSignature()
	var stored [HeaderSize]byte
	h.put(stored[:], 0)
	again, err := ParseHeader(stored[:])
	if err != nil {
		return fmt.Errorf("check header: %w", err)
	}
	if again.ID != h.ID {
		return errors.New("check header: it reads back differently")
	}
	return again.VerifySignature(w.keys)
}
