package check

import (
	"context"
	"math/bits"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// records is what the gc records say.
type records struct {
	n         int
	condemned map[pack.ID]struct{}
	folded    map[chunk.ID]bool // records that others replace
}

// readRecords reads the gc records, again if need be.
func (c *checker) readRecords(ctx context.Context) error {
	list, err := c.a.Records(ctx)
	if err != nil {
		return err
	}
	if len(list) == c.records.n && c.records.condemned != nil {
		return nil
	}
	r := records{n: len(list), folded: map[chunk.ID]bool{}}
	for _, one := range list {
		for _, id := range one.Folded {
			r.folded[id] = true
		}
	}
	if r.condemned, err = c.a.CondemnedPacks(ctx); err != nil {
		return err
	}
	c.records, c.report.Records = r, len(list)
	return nil
}

func (c *checker) condemned(id pack.ID) bool {
	_, ok := c.records.condemned[id]
	return ok
}

// settle tells of what was found wrong with packs, if they are still wanted. The records are read before the index: who deletes a pack
// has condemned it before, and who moved its blobs has named them elsewhere and unnamed it.
func (c *checker) settle(ctx context.Context) error {
	if len(c.pending) == 0 {
		return nil
	}
	if err := c.arrived(ctx); err != nil {
		return err
	}
	if err := c.readRecords(ctx); err != nil {
		return err
	}
	listed, err := c.newSegments(ctx)
	if err != nil {
		return err
	}
	lacking := map[uint32]bool{}
	for name := range c.pending {
		if n, ok := c.numbers[name.ID]; ok && name.Index {
			lacking[n] = true
		}
	}
	needed := c.onlyNamedBy(lacking)
	dropped := map[pack.ID]bool{}
	for name, damages := range c.pending {
		p := c.packs[name]
		switch {
		case name.Index && (c.condemned(name.ID) || c.unwantedSegment(name.ID, p, listed, needed)), !name.Index && (c.condemned(name.ID) || !c.blind && !p.namedBy(c.segmentOf, listed)):
			dropped[name.ID] = true
			c.drop(name)
		default:
			c.tell(p, damages)
		}
	}
	clear(c.pending)
	for key, b := range c.bad {
		if dropped[b.pack] {
			delete(c.bad, key)
		}
	}
	return ctx.Err()
}

// arrived drops what was told of shards that were on their way: index packs, mostly, which are found before all their shards are stored.
func (c *checker) arrived(ctx context.Context) error {
	waited := false
	for name, damages := range c.pending {
		if !slices.ContainsFunc(damages, func(d Damage) bool { return d.missing }) {
			continue
		}
		if !waited {
			if err := c.wait(ctx); err != nil {
				return err
			}
			waited = true
		}
		p := c.packs[name]
		damages = slices.DeleteFunc(damages, func(d Damage) bool {
			if !d.missing || c.ask(ctx, name, p, p.layout.member(name.ID, d.shard)) != nil {
				return false
			}
			p.have |= 1 << d.shard
			p.broken &^= 1 << d.shard
			p.absent &^= 1 << d.shard
			return true
		})
		if c.pending[name] = damages; len(damages) == 0 {
			delete(c.pending, name)
		}
	}
	return ctx.Err()
}

// drop takes a pack off the books that is not wanted any more.
func (c *checker) drop(name archive.PackName) {
	if name.Index {
		c.report.Segments--
	} else {
		c.report.Packs--
	}
	delete(c.packs, name)
}

// namedBy says whether one of the segments that are listed names the pack.
func (p *packState) namedBy(segments []pack.ID, listed map[pack.ID]bool) bool {
	for _, n := range p.naming {
		if listed[segments[n.segment]] {
			return true
		}
	}
	return false
}

// unwantedSegment says whether an index pack that lacks shards is garbage: it is gone; or too few of its shards are there, and
// what is there is good; or all that it names is condemned, or named by others, which is when it is removed.
func (c *checker) unwantedSegment(id pack.ID, p *packState, listed map[pack.ID]bool, needed map[uint32]bool) bool {
	n, read := c.numbers[id]
	switch {
	case !listed[id]:
		return true
	case p.layout != nil && p.lost() && p.broken == p.absent:
		return !needed[n] || !read
	}
	return read && !needed[n]
}

// onlyNamedBy returns those of the segments that name a column which is wanted and which no segment but these names.
func (c *checker) onlyNamedBy(these map[uint32]bool) map[uint32]bool {
	needed := map[uint32]bool{}
	if len(these) == 0 {
		return needed
	}
	for name, p := range c.packs {
		if name.Index || c.condemned(name.ID) {
			continue
		}
		others := uint32(0)
		for _, n := range p.naming {
			if !these[n.segment] {
				others |= n.columns
			}
		}
		for _, n := range p.naming {
			if these[n.segment] && n.columns&^others != 0 {
				needed[n.segment] = true
			}
		}
	}
	return needed
}

// later keeps what was found wrong with a pack until it is known whether the pack is wanted.
func (c *checker) later(name archive.PackName, damages []Damage) {
	if len(damages) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[name] = append(c.pending[name], damages...)
}

// garbage counts the packs that the members list and nobody wants.
func (c *checker) garbage(ctx context.Context) error {
	for name := range c.inv.Packs() {
		r := &c.report
		switch p := c.packs[name]; {
		case c.condemned(name.ID):
			r.Condemned++
			r.CondemnedBytes += c.inv.PackBytes(name)
		case c.packs != nil && p == nil:
			r.Unreferenced++
			r.UnreferencedBytes += c.inv.PackBytes(name)
		}
	}
	return ctx.Err()
}

// unreachable says whether a pack cannot be read now and may be when members are back.
func (c *checker) unreachable(p *packState) bool {
	return !p.lost() && bits.OnesCount32(p.have) < p.layout.Geometry.K
}
