package index

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"cairn/chunk"
	"cairn/pack"
)

// Lookup does what Index.Lookup does.
func (m *Map) Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error {
	return m.each(t, ids, len(out), func(i int) {
		out[i] = pack.Location{}
		c := m.copies(t, ids[i])
		if e, ok := c.best(); ok {
			out[i] = m.locate(e)
		}
	})
}

// Has does what Index.Has does.
func (m *Map) Has(t chunk.Type, ids []chunk.ID, out []bool) error {
	return m.each(t, ids, len(out), func(i int) {
		c := m.copies(t, ids[i])
		_, out[i] = c.best()
	})
}

// Live does what Index.Live does.
func (m *Map) Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	return m.each(t, ids, len(out), func(i int) {
		out[i] = pack.ID{}
		c := m.copies(t, ids[i])
		if e, ok := c.best(); ok {
			if p := m.stateOf(e.pack); p.of(e.column) == Live {
				out[i] = p.id
			}
		}
	})
}

// Number does what Index.Number does.
func (m *Map) Number(t chunk.Type, ids []chunk.ID, out []uint32) error {
	return m.each(t, ids, len(out), func(i int) { out[i] = m.blobs[t][ids[i]].number })
}

// Numbers does what Index.Numbers does.
func (m *Map) Numbers() uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.count
}

func (m *Map) each(t chunk.Type, ids []chunk.ID, out int, fn func(i int)) error {
	if err := checkBatch(t, len(ids), out); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.open(); err != nil {
		return err
	}
	for i := range ids {
		fn(i)
	}
	return nil
}

// copies returns what is known of a blob; a blob that is not known has one copy that is gone.
func (m *Map) copies(t chunk.Type, id chunk.ID) copies {
	last, ok := m.blobs[t][id]
	c := copies{id: id, last: last, state: Gone}
	if !ok {
		return c
	}
	if last.more {
		c.more = m.more[t][id]
	}
	_ = c.setStates(func(n uint32) (packState, error) { return m.stateOf(n), nil }) // which gives no error
	return c
}

func (m *Map) locate(e *entry) pack.Location {
	p := &m.packs[e.pack]
	n := p.session
	if e.foreign > 0 {
		n = e.foreign - 1
	}
	return e.location(p, m.sessions[n])
}

// Packs does what Index.Packs does.
func (m *Map) Packs() iter.Seq2[PackInfo, error] {
	return yieldAll(m, func() []PackInfo {
		var list []PackInfo
		for i := range m.packs {
			list = append(list, m.packs[i].info(uint32(i), m.sessions[m.packs[i].session]))
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
		var out [1]pack.Location
		for id, err := range m.ids(t) {
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

// Copies does what Index.Copies does.
func (m *Map) Copies(t chunk.Type) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		for id, err := range m.ids(t) {
			m.mu.RLock()
			if err == nil {
				err = m.open()
			}
			var c copies
			if err == nil {
				c = m.copies(t, id)
				c.more = slices.Clone(c.more)
			}
			m.mu.RUnlock()
			if err != nil {
				yield(Copy{}, err)
				return
			}
			if c.last.number > 0 && !c.yield(yield) {
				return
			}
		}
	}
}

// ids yields the blobs that were there at the start.
func (m *Map) ids(t chunk.Type) iter.Seq2[chunk.ID, error] {
	return yieldAll(m, func() []chunk.ID {
		if t != chunk.Data && t != chunk.Tree {
			return nil
		}
		return slices.SortedFunc(maps.Keys(m.blobs[t]), func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	})
}

// SegmentPacks does what Index.SegmentPacks does.
func (m *Map) SegmentPacks(segment pack.ID) (ids []pack.ID, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if s := m.segments[segment]; s != nil {
		for _, n := range slices.Sorted(maps.Keys(s.packs)) {
			ids = append(ids, m.packs[n].id)
		}
	}
	return ids, m.open()
}

// PutTreeRefs does what Index.PutTreeRefs does.
func (m *Map) PutTreeRefs(number uint32, role byte, trees, data []uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return err
	}
	id := refsID{number, role}
	m.refs[id] = id.encode(trees, data)
	return nil
}

// Flush has nothing to do.
func (m *Map) Flush() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.open()
}

// TreeRefs does what Index.TreeRefs does.
func (m *Map) TreeRefs(number uint32, role byte) (trees, data []uint32, ok bool, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	id := refsID{number, role}
	trees, data, ok = id.parse(m.refs[id])
	return trees, data, ok, m.open()
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
