package index

import (
	"bytes"
	"sync"

	"cairn/chunk"
	"cairn/pack"
)

// Map is an index in memory, for machines without a writable cache and for tests. It behaves as Index does, and never
// breaks. A blob takes about 100 bytes (32 B id and 24 B entry, at a load of about one half), so 10 million take 1 GB.
type Map struct {
	mu        sync.RWMutex
	closed    bool
	blobs     [chunk.Tree + 1]map[chunk.ID]entry   // the last copy
	more      [chunk.Tree + 1]map[chunk.ID][]entry // those before it
	count     uint32                               // of blobs: the last number given away
	packs     []packRecord                         // by number
	numbers   map[pack.ID]uint32
	sessions  []pack.SessionWrap // by number
	wraps     map[fingerprint]uint32
	segments  map[pack.ID]*mapSegment
	named     uint32 // the last number of a segment given away
	records   map[chunk.ID]bool
	condemned map[pack.ID]bool
	away      map[pack.ID]struct{} // see Vanished
	refs      map[refsID][]byte
}

// mapSegment is an applied segment: its number, and the packs that it names.
type mapSegment struct {
	number uint32
	packs  map[uint32]bool
}

// NewMap returns an empty index.
func NewMap() *Map {
	m := new(Map)
	m.empty()
	return m
}

func (m *Map) empty() {
	m.packs, m.sessions, m.away = nil, nil, nil
	m.numbers = make(map[pack.ID]uint32)
	m.wraps = make(map[fingerprint]uint32)
	m.segments = make(map[pack.ID]*mapSegment)
	m.records = make(map[chunk.ID]bool)
	m.condemned = make(map[pack.ID]bool)
	m.refs = make(map[refsID][]byte)
	m.count, m.named = 0, 0
	for t := chunk.Data; t <= chunk.Tree; t++ {
		m.blobs[t] = make(map[chunk.ID]entry)
		m.more[t] = make(map[chunk.ID][]entry)
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
	var s *mapSegment
	if segment != (pack.ID{}) {
		if s = m.segments[segment]; s == nil {
			m.named++
			s = &mapSegment{m.named, make(map[uint32]bool)}
			m.segments[segment] = s
		}
	}
	for i := range cols {
		m.add(s, &cols[i])
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

// add adds a column that s names, or nil for no segment.
func (m *Map) add(s *mapSegment, c *pack.Column) {
	n, ok := m.numbers[c.Pack]
	if !ok {
		n = uint32(len(m.packs))
		m.numbers[c.Pack] = n
		m.packs = append(m.packs, *m.record(c))
		m.packs[n].condemned = m.condemned[c.Pack]
	}
	p, bit := &m.packs[n], uint32(1)<<c.Number
	if s == nil {
		p.name(0, bit)
	} else {
		p.name(s.number, bit)
		s.packs[n] = true
	}
	if p.columns&bit != 0 {
		return
	}
	p.columns |= bit
	p.blobs += uint32(len(c.Entries))
	for i := range c.Entries {
		e := newEntry(n, c.Number, &c.Entries[i])
		if s := c.Entries[i].Session; s > 0 {
			e.foreign = m.session(c.Sessions[s-1]) + 1
		}
		m.addCopy(c.Kind, c.Entries[i].ID, e)
	}
}

func (m *Map) addCopy(t chunk.Type, id chunk.ID, e entry) {
	last, ok := m.blobs[t][id]
	if !ok {
		m.count++
		last = e
		last.number = m.count
	}
	var more []entry
	if last.more {
		more = m.more[t][id]
	}
	if m.blobs[t][id], more = addCopy(&last, more, e); len(more) > 0 {
		m.more[t][id] = more
	}
}

// Applied says whether Apply was completed for the segment.
func (m *Map) Applied(segment pack.ID) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.segments[segment] != nil, m.open()
}

// Retire does what Index.Retire does.
func (m *Map) Retire(segment pack.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.segments[segment]; s != nil {
		for n := range s.packs {
			m.packs[n].unname(s.number)
		}
		delete(m.segments, segment)
	}
	return m.open()
}

// Condemn does what Index.Condemn does.
func (m *Map) Condemn(record chunk.ID, packs []pack.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil || m.records[record] {
		return err
	}
	m.records[record] = true
	for _, id := range packs {
		m.condemned[id] = true
		if n, ok := m.numbers[id]; ok {
			m.packs[n].condemned = true
		}
	}
	return nil
}

// Vanished does what Index.Vanished does.
func (m *Map) Vanished(id pack.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.condemned[id] {
		if m.away == nil {
			m.away = map[pack.ID]struct{}{}
		}
		m.away[id] = struct{}{}
	}
	return m.open()
}

// stateOf returns the state of a pack by its number.
func (m *Map) stateOf(n uint32) packState {
	p := m.packs[n].packState()
	if _, ok := m.away[p.id]; ok {
		p.named = 0
	}
	return p
}

// Noted does what Index.Noted does.
func (m *Map) Noted(record chunk.ID) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.records[record], m.open()
}

// Condemned does what Index.Condemned does.
func (m *Map) Condemned(id pack.ID) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.condemned[id], m.open()
}
