package check

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"cairn/archive"
	"cairn/chunk"
)

// Shards scrubs: it reads every shard of every member and holds it against its own proof, and all copies against each
// other. It needs no key and opens no index; Options.ReadData is implied, Options.Subset chooses the packs that are read. What
// the listings alone tell (missing shards and copies) is told of all.
//
// A pack with fewer than k good shards may be a loss, or what an interrupted upload left: only the index knows, so it is
// told of as damage that is not counted as lost, and counted in Report.Short. Packs that a record condemns are not looked at, nor
// told of when that happens meanwhile. Who signed a record is not to be told without a key: Report.Condemned says how many packs that
// concerns.
func Shards(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	c := newChecker(a, o)
	c.keyless = true
	return c.run(ctx, c.readRecords, c.copies, c.inventory, c.scrub, c.again, c.garbage)
}

// scrubbing is what a scrub remembers from pack to pack.
type scrubbing struct {
	*checker
	total     uint64
	postponed []archive.PackName // lacked shards: perhaps they were on their way
	last      bool               // those are looked at once more
	strays    map[string]int     // by member: shards of packs whose layout it is not in
}

// scrub looks at all packs that any member lists.
func (c *checker) scrub(ctx context.Context) error {
	s := &scrubbing{checker: c, total: uint64(c.inv.Bytes()), strays: map[string]int{}}
	c.o.Progress.TotalPacks.Store(uint64(c.inv.Len()))
	for name := range c.inv.Packs() {
		if s.reads(name) && !c.condemned(name.ID) {
			c.o.Progress.TotalBytes.Add(uint64(c.inv.PackBytes(name)))
		}
	}
	if err := c.each(ctx, c.inv.Packs(), s.pack); err != nil {
		return err
	}
	s.last, c.insist = true, true
	if len(s.postponed) > 0 {
		c.looked = time.Now()
		if err := c.wait(ctx); err != nil {
			return err
		}
		if err := c.each(ctx, slices.Values(s.postponed), s.pack); err != nil {
			return err
		}
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	for member, n := range s.strays {
		c.note("binaries/", fmt.Sprintf("%d packs have shards on %s, which is not of their layout: left by a change of the layout, harmless", n, member))
	}
	return nil
}

// reads says whether the shards of a pack are read, or compared by the listings only.
func (s *scrubbing) reads(name archive.PackName) bool {
	return name.Index || s.o.Subset.Has(name.ID, s.total) || !s.inv.Even(name)
}

func (s *scrubbing) pack(ctx context.Context, name archive.PackName, buf *[]byte) error {
	if s.condemned(name.ID) {
		return nil
	}
	p := &packState{}
	if name.Index {
		p.kind = chunk.Index
	}
	if err := s.placeByHeader(ctx, name, p); err != nil {
		return err
	}
	if p.layout == nil { // no shard has a header: each of them is told of as it would be in the newest layout
		p.layout = &s.layouts[0]
	}
	damages := s.compare(ctx, name, p)
	read := s.reads(name)
	if read {
		more, err := s.readShards(ctx, name, p, buf)
		if err != nil {
			return err
		}
		damages = append(damages, more...)
		if p.have&^p.absent == 0 && p.broken == p.absent {
			return nil // it was removed since it was listed
		}
	}
	if p.absent == 0 || !s.postpone(name) {
		s.counted(name, p, read)
		s.judge(name, p, damages)
	}
	return ctx.Err()
}

// postpone puts a pack that lacks shards off to the end of the scrub. When there are many, they are not on their way.
func (s *scrubbing) postpone(name archive.PackName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last || len(s.postponed) == askTwice {
		return false
	}
	s.postponed = append(s.postponed, name)
	return true
}

func (s *scrubbing) counted(name archive.PackName, p *packState, read bool) {
	s.count(func(r *Report) {
		if name.Index {
			r.Segments++
		} else if r.Packs++; read {
			r.PacksRead++
		}
		for i, m := range s.inv.Members() {
			if _, listed := s.inv.Size(name, i); listed && !slices.Contains(p.layout.lineup, i) {
				s.strays[m.Label]++
			}
		}
	})
}

// judge notes what is wrong with a pack that was scrubbed. Of one with too few shards, the missing ones are one damage.
func (s *scrubbing) judge(name archive.PackName, p *packState, damages []Damage) {
	g := p.layout.Geometry
	if p.lost() {
		damages = slices.DeleteFunc(damages, func(d Damage) bool { return d.missing })
		damages = append(damages, Damage{Object: name.String(), short: true, Problem: fmt.Sprintf("%d of its %d shards are good, and %d are needed: lost, or left by an interrupted upload (check with a key tells)",
			g.N()-bits.OnesCount32(p.broken), g.N(), g.K)})
	}
	for i := range damages {
		damages[i].Lacking = damages[i].missing && name.Index && !p.lost()
	}
	s.later(name, damages)
}

// settle tells of the packs that were not condemned meanwhile.
func (s *scrubbing) settle(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	if err := s.readRecords(ctx); err != nil {
		return err
	}
	for name, damages := range s.pending {
		if s.condemned(name.ID) {
			continue
		}
		for _, d := range damages {
			if d.short {
				s.report.Short++
			}
			s.found(d)
		}
	}
	return ctx.Err()
}
