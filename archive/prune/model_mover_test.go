package prune_test

import "context"

// formerLayout are the packs that may be in the former layout: those that are there from the beginning, and those of clients.
const formerLayout packs = 1<<ofCollectors - 1

// modelMover changes the layout in one step: member.Relocation decides what is next, this does it. It has a collector's place.
type modelMover struct{ *modelCollector }

func (r *run) stepMover(j uint8) bool {
	m := modelMover{&modelCollector{r, j, &r.w.collector[j]}}
	for r.kind == 0 && !m.g.move.Done() {
		if err := m.g.move.Step(context.Background(), m); err != nil {
			panic(err) // no step gives one
		}
	}
	if m.g.move.Done() {
		*m.g = collector{move: m.g.move}
	}
	return r.kind != 0
}

func (m modelMover) Index(context.Context) (bool, error) {
	m.g.index = union(m.w.named)
	m.act("reads index: %s named", m.g.index)
	return true, nil
}

// Copy chooses the packs the first time: all that are named and in the former layout. It relies on a live copy elsewhere if all of those are
// condemned already, and makes one if not. When none of them is there any more, others have deleted them.
func (m modelMover) Copy(context.Context) (bool, error) {
	g := m.g
	first := !g.move.Condemned()
	if g.own == 0 && first {
		g.own = g.index & formerLayout
	}
	if live := g.index &^ g.records; g.phase == 0 && (!first || live&g.own == 0) && live&^g.own != 0 {
		g.relied = live &^ g.own
		return true, nil
	}
	if g.phase == 0 {
		from := g.own & m.w.stored
		if g.relied = 0; from == 0 {
			m.act("finds nothing to copy")
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

func (m modelMover) Name(ctx context.Context) (bool, error) {
	m.g.records = 0
	if m.g.fresh != 0 {
		m.g.relied = m.g.fresh
	}
	return m.modelCollector.Name(ctx)
}

func (m modelMover) Condemn(ctx context.Context) (bool, error) {
	if m.mute || m.g.own == 0 {
		return true, nil
	}
	return m.modelCollector.Condemn(ctx)
}

// Lacks says whether a copy that it relies on is condemned.
func (m modelMover) Lacks(context.Context) (bool, error) {
	g := m.g
	if g.relied&g.records != 0 && !m.sure {
		return true, nil
	}
	g.relied, g.known = 0, 0
	if !m.fine {
		g.index, g.records = 0, 0
	}
	return false, nil
}
