package index

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"sync"

	"cairn/chunk"
	"cairn/pack"
)

// Map is an index in memory, for machines without a writable cache and for tests. It behaves as Index does, and never
// breaks. A blob takes about 100 bytes (32 B id and 24 B entry, at a load of about one half), so 10 million take 1 GB.
type Map struct {
	mu       sync.RWMutex
	closed   bool
	blobs    [chunk.Tree + 1]map[chunk.ID]entry
	packs    []packRecord // by number
	numbers  map[pack.ID]uint32
	sessions []pack.SessionWrap // by number
	wraps    map[fingerprint]uint32
	segments map[pack.ID]bool
}

// NewMap returns an empty index.
func NewMap() *Map {
	m := new(Map)
	m.empty()
	return m
}

func (m *Map) empty() {
	m.packs, m.sessions = nil, nil
	m.numbers = make(map[pack.ID]uint32)
	m.wraps = make(map[fingerprint]uint32)
	m.segments = make(map[pack.ID]bool)
	for t := chunk.Data; t <= chunk.Tree; t++ {
		m.blobs[t] = make(map[chunk.ID]entry)
	}
}

// Slot is always 0.
func (m *Map) Slot() int { return 0 }

// Verify finds nothing: memory is not checked.
func (m *Map) Verify() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.open()
}

func (m *Map) open() error {
	if m.closed {
		return ErrClosed
	}
	return nil
}

// Close frees the memory. A second call does nothing.
func (m *Map) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.empty()
	m.closed = true
	return nil
}

// Drop empties the index.
func (m *Map) Drop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return err
	}
	m.empty()
	return nil
}

// Apply does what Index.Apply does, at once or not at all.
func (m *Map) Apply(segment pack.ID, cols []pack.Column) error {
	for i := range cols {
		if err := checkColumn(&cols[i]); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return err
	}
	if err := m.conflicts(cols); err != nil {
		return err
	}
	for i := range cols {
		m.add(&cols[i])
	}
	if segment != (pack.ID{}) {
		m.segments[segment] = true
	}
	return nil
}

func (m *Map) conflicts(cols []pack.Column) error {
	seen := make(map[pack.ID]*packRecord)
	for i := range cols {
		p := m.record(&cols[i])
		known := seen[p.id]
		if n, ok := m.numbers[p.id]; ok {
			known = &m.packs[n]
		}
		if known == nil {
			known = p
		}
		seen[p.id] = known
		if what := known.conflict(p); what != "" {
			return &ConflictError{Pack: p.id, What: what}
		}
	}
	return nil
}

func (m *Map) record(c *pack.Column) *packRecord {
	return &packRecord{id: c.Pack, kind: c.Kind, geometry: c.Geometry, length: c.L, session: m.session(c.Session)}
}

func (m *Map) session(s pack.SessionWrap) uint32 {
	f := sessionFingerprint(encodeSession(s))
	n, ok := m.wraps[f]
	if !ok {
		n = uint32(len(m.sessions))
		m.wraps[f] = n
		s.Wrap.HPKE, s.Wrap.Root = bytes.Clone(s.Wrap.HPKE), bytes.Clone(s.Wrap.Root)
		m.sessions = append(m.sessions, s)
	}
	return n
}

func (m *Map) add(c *pack.Column) {
	n, ok := m.numbers[c.Pack]
	if !ok {
		n = uint32(len(m.packs))
		m.numbers[c.Pack] = n
		m.packs = append(m.packs, *m.record(c))
	}
	bit := uint32(1) << c.Number
	if m.packs[n].columns&bit != 0 {
		return
	}
	m.packs[n].columns |= bit
	for i := range c.Entries {
		e := newEntry(n, c.Number, &c.Entries[i])
		if s := c.Entries[i].Session; s > 0 {
			e.foreign = m.session(c.Sessions[s-1]) + 1
		}
		m.blobs[c.Kind][c.Entries[i].ID] = e
	}
}

// Applied says whether Apply was completed for the segment.
func (m *Map) Applied(segment pack.ID) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.segments[segment], m.open()
}

// Lookup does what Index.Lookup does.
func (m *Map) Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error {
	if err := checkBatch(t, len(ids), len(out)); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.open(); err != nil {
		return err
	}
	for i, id := range ids {
		out[i] = pack.Location{}
		if e, ok := m.blobs[t][id]; ok {
			out[i] = m.locate(&e)
		}
	}
	return nil
}

func (m *Map) locate(e *entry) pack.Location {
	p := &m.packs[e.pack]
	n := p.session
	if e.foreign > 0 {
		n = e.foreign - 1
	}
	return e.location(p, m.sessions[n])
}

// Has does what Index.Has does.
func (m *Map) Has(t chunk.Type, ids []chunk.ID, out []bool) error {
	if err := checkBatch(t, len(ids), len(out)); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.open(); err != nil {
		return err
	}
	for i, id := range ids {
		_, out[i] = m.blobs[t][id]
	}
	return nil
}

// Packs does what Index.Packs does.
func (m *Map) Packs() iter.Seq2[PackInfo, error] {
	return yieldAll(m, func() []PackInfo {
		var list []PackInfo
		for i := range m.packs {
			list = append(list, m.packs[i].info(m.sessions[m.packs[i].session]))
		}
		return list
	})
}

// Segments does what Index.Segments does.
func (m *Map) Segments() iter.Seq2[pack.ID, error] {
	return yieldAll(m, func() []pack.ID {
		return slices.SortedFunc(maps.Keys(m.segments), func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
	})
}

// yieldAll yields what collect finds at the start; the index may be used inside the loop.
func yieldAll[T any](m *Map, collect func() []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		m.mu.RLock()
		err := m.open()
		list := collect()
		m.mu.RUnlock()
		if err != nil {
			var zero T
			yield(zero, err)
			return
		}
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Blobs does what Index.Blobs does.
func (m *Map) Blobs(t chunk.Type) iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		ids := yieldAll(m, func() []chunk.ID {
			if t != chunk.Data && t != chunk.Tree {
				return nil
			}
			return slices.SortedFunc(maps.Keys(m.blobs[t]), func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
		})
		var out [1]pack.Location
		for id, err := range ids {
			if err == nil {
				err = m.Lookup(t, []chunk.ID{id}, out[:])
			}
			if err != nil {
				yield(Blob{}, err)
				return
			}
			if out[0].Found() && !yield(Blob{ID: id, Location: out[0]}, nil) {
				return
			}
		}
	}
}

// Stats counts.
func (m *Map) Stats() (Stats, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Stats{
		Data: uint64(len(m.blobs[chunk.Data])), Tree: uint64(len(m.blobs[chunk.Tree])),
		Packs: uint64(len(m.packs)), Sessions: uint64(len(m.sessions)), Segments: uint64(len(m.segments)),
	}, m.open()
}
