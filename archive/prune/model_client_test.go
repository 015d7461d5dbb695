package prune_test

import "context"

// modelClient is a client of the model in one step: archive.Publication decides what is next, this does it.
type modelClient struct {
	*run
	i uint8
	c *client
}

func (r *run) stepClient(i uint8) bool {
	m := &modelClient{r, i, &r.w.client[i]}
	for r.kind == 0 && !m.c.at.Done() {
		if err := m.c.at.Step(context.Background(), m); err != nil {
			panic(err) // no method has one
		}
	}
	if r.kind == 0 && int(i) < r.replace {
		m.remove()
	}
	return r.kind != 0
}

// begin says which members are to be asked, when the step begins.
func (m *modelClient) begin(members func() uint8) (begins bool) {
	if m.c.todo != 0 {
		return false
	}
	m.c.todo = members()
	return true
}

func (m *modelClient) readRecords() (bool, error) {
	if m.begin(m.reached) {
		m.c.records = 0
	}
	at := m.member(&m.c.todo)
	m.c.records |= m.w.condemned[at]
	m.act("reads records on %d: %s condemned", at, m.w.condemned[at])
	m.kind = readsRecords
	return m.c.todo == 0, nil
}

func (m *modelClient) readIndex() (bool, error) {
	m.begin(m.reached)
	at := m.member(&m.c.todo)
	m.c.index |= m.w.named[at]
	m.act("reads index on %d: %s named", at, m.w.named[at])
	return m.c.todo == 0, nil
}

func (m *modelClient) Records(context.Context) (bool, error) {
	if m.indexFirst {
		return m.readIndex()
	}
	return m.readRecords()
}

func (m *modelClient) Index(context.Context) (bool, error) {
	if m.indexFirst {
		return m.readRecords()
	}
	return m.readIndex()
}

// Store stores b unless it has a live copy. What it relies on from here on was named before the records that will be read next.
func (m *modelClient) Store(context.Context) (bool, error) {
	m.c.relied, m.c.index = m.c.index&^m.c.records, 0
	m.c.records, m.c.anew = 0, m.c.at.Published()
	if m.c.relied != 0 {
		return true, nil
	}
	m.c.fresh = m.store(clientBits << (2 + packsOfClient*m.i))
	return true, nil
}

func (m *modelClient) Name(context.Context) (bool, error) {
	if m.c.fresh == 0 {
		return true, nil
	}
	reached := m.reached()
	for at := range m.members {
		if reached&(1<<at) != 0 {
			m.w.named[at] |= m.c.fresh
		}
	}
	m.act("names %s on %02b", m.c.fresh, reached)
	m.c.relied, m.c.fresh = m.c.fresh, 0
	return true, nil
}

func (m *modelClient) Publish(context.Context) (bool, error) {
	m.begin(m.reached)
	at := m.member(&m.c.todo)
	m.w.listed[at] |= snapshotOf(m.i)
	m.act("publishes %s on %d", snapshotOf(m.i), at)
	return m.c.todo == 0, nil
}

// Lacks says whether all that the client relied on is condemned. Another copy that it found since does not count until the
// records were read once more.
func (m *modelClient) Lacks(context.Context) (bool, error) {
	known := m.c.relied
	if m.hasty {
		known |= m.c.index
	}
	if m.blind || m.once && m.c.anew || known&^m.c.records != 0 {
		m.c.records, m.c.index, m.c.relied = 0, 0, 0 // they are not used any more
		return false, nil
	}
	return true, nil
}

func (m *modelClient) Mark(context.Context) (bool, error) {
	reached := m.reached()
	for at := range m.members {
		if reached&(1<<at) != 0 {
			m.w.marked[at] |= snapshotOf(m.i)
		}
	}
	m.act("marks %s on %02b and reports success", snapshotOf(m.i), reached)
	return true, nil
}

// remove removes the old snapshot, member by member, after that which replaces it was marked.
func (m *modelClient) remove() {
	switch m.c.removed {
	case 0:
		m.c.todo, m.c.removed = m.all(), 1
		fallthrough
	case 1:
		at := m.member(&m.c.todo)
		m.w.listed[at] &^= old
		m.w.marked[at] &^= old
		m.act("removes %s on %d", old, at)
		if m.c.todo == 0 {
			m.c.removed = 2
		}
	}
}
