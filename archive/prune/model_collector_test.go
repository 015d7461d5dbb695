package prune_test

import (
	"context"
	"errors"
	"math/bits"

	"cairn/archive/prune"
)

// modelCollector is a collector of the model in one step: prune.Collection decides what is next, this does it.
type modelCollector struct {
	*run
	j uint8
	g *collector
}

var errMissing = errors.New("a marked snapshot lacks b")

func (r *run) stepCollector(j uint8) bool {
	m := &modelCollector{r, j, &r.w.collector[j]}
	for r.kind == 0 && !m.g.at.Done() && m.g.refused == 0 {
		if err := m.g.at.Step(context.Background(), m); err != nil {
			r.act("refuses: %v", err)
			refused := uint8(withoutCause)
			if (r.forget || r.replace > 0) && m.g.needs&m.g.marked&^union(m.w.forgotten) == 0 {
				refused = withCause
			}
			*m.g = collector{at: m.g.at, refused: refused}
		}
	}
	if m.g.at.Done() {
		*m.g = collector{at: m.g.at} // what it knew matters no more
	}
	return r.kind != 0
}

// Mark lists the snapshots of each member. A listing with a window may miss what was removed while it was under way, and it may
// miss or show what was put.
func (m *modelCollector) Mark(context.Context) (bool, error) {
	g := m.g
	if m.noRelist && g.own != 0 {
		return true, nil
	}
	if g.phase == 0 {
		g.todo, g.needs, g.marked, g.phase = m.all(), 0, 0, 1
	}
	if m.windows && g.phase == 1 {
		at := m.member(&g.todo)
		g.window, g.phase = m.w.listed[at], 2+uint8(at)
		m.act("begins to list snapshots on %d", at)
		return false, nil
	}
	var at int
	var shown snapshots
	if m.windows {
		at = int(g.phase - 2)
		shown = g.window & m.w.listed[at]
		if most := g.window | m.w.listed[at]; most != shown && m.pick(2) == 1 {
			shown = most
		}
		g.window, g.phase = 0, 1
	} else {
		at = m.member(&g.todo)
		shown = m.w.listed[at]
	}
	g.needs |= shown
	g.marked |= shown & m.w.marked[at]
	m.act("lists snapshots on %d: %s", at, shown)
	m.kind = listsSnapshots
	if g.todo != 0 {
		return false, nil
	}
	g.phase = 0
	if !m.forget && m.replace == 0 { // which ones they are matters no more
		g.needs, g.marked = whichever(g.needs), whichever(g.marked)
	}
	return true, nil
}

// whichever stands for whichever snapshots.
func whichever(s snapshots) snapshots {
	if s == 0 {
		return 0
	}
	return old
}

func (m *modelCollector) Records(context.Context) (bool, error) {
	m.g.records = union(m.w.condemned)
	m.g.known = union(m.w.forgotten)
	m.act("reads records: %s condemned, %s forgotten", m.g.records, m.g.known)
	m.kind = readsRecords
	return true, nil
}

// Index reads the index, and the first time lists the packs after it.
func (m *modelCollector) Index(context.Context) (bool, error) {
	if m.g.phase == 1 {
		m.g.seen, m.g.phase = m.w.stored, 0
		m.act("lists packs: %s", m.g.seen)
		return true, nil
	}
	m.g.index = union(m.w.named)
	m.g.tried &= m.g.index
	m.act("reads index: %s named", m.g.index)
	if m.g.own != 0 {
		return true, nil
	}
	if m.fine {
		m.g.phase = 1
		return false, nil
	}
	m.g.seen = m.w.stored
	return true, nil
}

// need says whether a snapshot needs b, and whether one with a mark does.
func (m *modelCollector) need() (needed, marked bool) {
	n := m.g.needs &^ m.g.known
	return n != 0, n&m.g.marked != 0
}

// Choose condemns what it can: what is condemned already and still there, what no segment names, and of the others all, or
// all but one, whichever, when b is needed. Or it has b copied out first, and condemns all of them.
func (m *modelCollector) Choose(context.Context) (prune.Choice, error) {
	g := m.g
	live := g.index &^ g.records
	rest := (g.index|g.seen)&g.records | g.seen&^g.index
	choice := prune.Condemn
	if needed, marked := m.need(); !needed {
		g.own = live | rest
	} else if live == 0 {
		if g.index == 0 && marked {
			return prune.Nothing, errMissing
		}
		g.own = rest
	} else if keep := m.keep(live); keep == 0 {
		g.own, choice = live|rest, prune.CopyFirst
	} else {
		g.own = live&^keep | rest
	}
	g.seen = 0
	if g.own == 0 {
		choice = prune.Nothing
	}
	if choice != prune.CopyFirst {
		g.index = 0
	}
	g.records = 0
	return choice, nil
}

// keep chooses one of the live copies, or none.
func (m *modelCollector) keep(live packs) packs {
	n := bits.OnesCount16(uint16(live))
	if m.repack {
		n++
	}
	k := m.pick(n)
	for range k {
		live &= live - 1
	}
	return live & -live
}

// CopyOut reads b from a copy that is there, and then stores it. Without one it goes on: what there is was seen to be gone.
func (m *modelCollector) CopyOut(context.Context) (bool, error) {
	g := m.g
	if g.phase == 0 {
		from := g.index & m.w.stored
		if from == 0 {
			g.tried |= g.index
			m.act("finds no copy to read")
			return true, nil
		}
		g.phase = 1
		m.act("reads b from one of %s", from)
		return false, nil
	}
	g.phase = 0
	g.fresh = m.store(collectorBits << (ofCollectors + packsOfCollector*m.j))
	return true, nil
}

func (m *modelCollector) Name(context.Context) (bool, error) {
	m.g.index = 0
	if m.g.fresh == 0 {
		return true, nil
	}
	for at := range m.members {
		m.w.named[at] |= m.g.fresh
	}
	m.act("names %s", m.g.fresh)
	m.g.fresh = 0
	return true, nil
}

// Condemn puts the record on all members, in any order.
func (m *modelCollector) Condemn(context.Context) (bool, error) {
	if m.g.todo == 0 {
		m.g.todo = m.all()
	}
	if m.silent && m.j == 1 {
		m.g.todo = 0
		return true, nil
	}
	at := m.member(&m.g.todo)
	m.w.condemned[at] |= m.g.own
	if m.drop {
		m.g.seen = m.g.own
	}
	for i := range m.replace {
		if c := &m.w.client[i]; !c.failed && !c.at.Done() {
			c.unseen |= 1 << at
		}
	}
	m.act("condemns %s on %d", m.g.own, at)
	if m.oneMember {
		m.g.todo = 0
	}
	return m.g.todo == 0, nil
}

func (m *modelCollector) Lacks(context.Context) (bool, error) {
	g := m.g
	needed, marked := m.need()
	if !needed || g.index&^g.records != 0 {
		return m.lacksNothing()
	}
	if g.index&^g.tried != 0 {
		return true, nil
	}
	if marked {
		return false, errMissing
	}
	return m.lacksNothing()
}

// lacksNothing forgets what matters no more.
func (m *modelCollector) lacksNothing() (bool, error) {
	m.g.needs, m.g.marked, m.g.known, m.g.tried = 0, 0, 0, 0
	if !m.fine {
		m.g.index, m.g.records = 0, 0
	}
	return false, nil
}

// Unname replaces the segments that name what this collector condemned: first what else they name is named once more, as it was read,
// though it may be unnamed by now; then they are removed from one member after the other; then the index is read again.
func (m *modelCollector) Unname(context.Context) (bool, error) {
	g := m.g
	dead := g.own
	if m.unnameAll {
		dead |= g.records
	}
	if !m.fine {
		if g.todo == 0 {
			g.records, g.index, g.todo = 0, 0, m.all()
		}
		at := m.member(&g.todo)
		m.w.named[at] &^= g.own
		m.act("removes names of %s on %d", g.own, at)
		return g.todo == 0, nil
	}
	switch g.phase {
	case 0:
		if g.index&dead == 0 {
			g.records, g.index = 0, 0
			return true, nil
		}
		for at := range m.members {
			m.w.named[at] |= g.index &^ dead
		}
		m.act("names %s again", g.index&^dead)
		g.phase, g.todo = 1, m.all()
	case 1:
		at := m.member(&g.todo)
		m.w.named[at] &^= g.index & dead
		m.act("removes names of %s on %d", g.index&dead, at)
		if g.todo == 0 {
			g.phase = 2
		}
	case 2:
		g.index = union(m.w.named)
		m.act("reads index: %s named", g.index)
		g.phase = 0
	}
	return false, nil
}

// Delete deletes what this collector condemned, one pack after the other.
func (m *modelCollector) Delete(context.Context) (bool, error) {
	first := m.g.own
	if m.fine {
		first &= -first
	}
	m.w.stored &^= first
	m.g.own &^= first
	m.act("deletes %s", first)
	if m.drop && m.g.own == 0 {
		for at := range m.members {
			m.w.condemned[at] &^= m.g.seen
		}
	}
	return m.g.own == 0, nil
}

// stepForgetter chooses a snapshot that was reported as done, puts a record on one member after the other, and removes the snapshot.
func (r *run) stepForgetter() bool {
	f := &r.w.forgetter
	switch f.phase {
	case 0:
		s := r.w.promised()
		if s == 0 {
			return false
		}
		for range r.pick(bits.OnesCount8(uint8(s))) {
			s &= s - 1
		}
		f.chosen, f.todo, f.phase = s&-s, r.all(), 1
		fallthrough
	case 1:
		at := r.member(&f.todo)
		r.w.forgotten[at] |= f.chosen
		r.act("forgets %s on %d", f.chosen, at)
		if f.todo == 0 {
			f.phase, f.todo = 2, r.all()
		}
	case 2:
		at := r.member(&f.todo)
		r.w.listed[at] &^= f.chosen
		r.w.marked[at] &^= f.chosen
		r.act("removes %s on %d", f.chosen, at)
		if f.todo == 0 {
			f.phase = 3
		}
	}
	return r.kind != 0
}
