package prune_test

import (
	"context"
	"errors"

	"cairn/archive"
)

// modelClient is a client of the model in one step: archive.Publication decides what is next, this does it.
type modelClient struct {
	*run
	i uint8
	c *client
}

func (r *run) stepClient(i uint8) bool {
	m := &modelClient{r, i, &r.w.client[i]}
	var publisher archive.Publisher = m
	if int(i) < r.replace {
		publisher = replacer{m}
	}
	for r.kind == 0 && !m.c.at.Done() && !m.c.failed {
		if err := m.c.at.Step(context.Background(), publisher); err != nil {
			r.act("fails: %v", err)
			*m.c = client{at: m.c.at, failed: true}
		}
	}
	if r.kind == 0 && int(i) < r.replace {
		m.remove()
	}
	return r.kind != 0
}

// idle says whether a client has come to its end.
func (p *protocol) idle(w *world, i int) bool {
	c := &w.client[i]
	return c.failed || c.at.Done() && (i >= p.replace || c.removed == 2)
}

// begin says which members are to be asked, when the step begins.
func (m *modelClient) begin(members func() uint8) (begins bool) {
	if m.c.todo != 0 {
		return false
	}
	m.c.todo = members()
	m.c.news = m.c.news || int(m.i) < m.replace && m.c.todo != m.all() // what it did not ask for may be new
	return true
}

func (m *modelClient) readRecords() (bool, error) {
	if m.begin(m.reached) {
		m.c.records = 0
	}
	at := m.member(&m.c.todo)
	m.c.records |= m.w.condemned[at]
	if int(m.i) < m.replace {
		m.note(at)
	}
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

// remove forgets the old snapshot after that which replaces it was marked: a record on one member after the other, then the snapshot.
func (m *modelClient) remove() {
	if m.c.failed || m.c.removed == 2 {
		return
	}
	if m.c.todo == 0 {
		m.c.todo = m.all()
	}
	at := m.member(&m.c.todo)
	if m.c.removed == 0 {
		m.w.forgotten[at] |= old
		m.act("forgets %s on %d", old, at)
	} else {
		m.w.listed[at] &^= old
		m.w.marked[at] &^= old
		m.act("removes %s on %d", old, at)
	}
	if m.c.todo == 0 {
		m.c.removed++
	}
}

// replacer is a client that publishes a changed copy of the old snapshot. It has no source to store anything from, and does not look at
// the snapshot's trees without a reason.
type replacer struct{ *modelClient }

var (
	errGone      = errors.New("what is needed anew is gone")
	errForgotten = errors.New("the snapshot that it changes was forgotten")
)

// note takes note of what else the records of a member say: whether the old snapshot was forgotten, and whether there are new ones.
func (m *modelClient) note(at int) {
	bit := uint8(1) << at
	m.c.known = m.c.known || m.w.forgotten[at]&old != 0
	m.c.news = m.c.news || m.c.at.Published() && m.c.unseen&bit != 0
	m.c.unseen &^= bit
}

// Store relies on what is live, or copies b out of a condemned pack.
func (m replacer) Store(context.Context) (bool, error) {
	c := m.c
	live, from, condemned := c.index&^c.records, c.index&m.w.stored, c.index&c.records
	c.index = 0
	if !c.at.Published() {
		c.news = c.news || condemned != 0
		return true, nil
	}
	if c.relied = live; live == 0 {
		if from == 0 {
			return false, errGone
		}
		c.fresh = m.store(clientBits << (2 + packsOfClient*m.i))
	}
	return true, nil
}

// Lacks reads the snapshot's trees only when records are new since it published, or something was named then that was condemned
// already, or it did not reach all members. What it finds in the trees it relies on, and looks again.
func (m replacer) Lacks(context.Context) (bool, error) {
	c := m.c
	switch {
	case m.blind:
	case m.trusting && !c.walked:
		c.walked, c.relied = true, c.index
		if c.index != 0 && c.index&^c.records == 0 {
			return true, nil
		}
	case c.known && !m.trusting:
		return false, errForgotten
	case !c.walked && c.news:
		c.walked = true
		return true, nil
	case c.walked && c.relied&^c.records == 0:
		return true, nil
	}
	c.records, c.index, c.relied, c.news, c.walked, c.known = 0, 0, 0, false, false, false
	return false, nil
}
