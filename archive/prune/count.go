package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cairn/chunk"
	"cairn/index"
	"cairn/pack"
)

// stateOf says what the index says of a pack.
func stateOf(info *index.PackInfo) packState {
	switch {
	case info.State == index.Condemned:
		return condemned
	case info.Columns == 0:
		return unnamed
	}
	return named
}

// whole says whether a pack can be read.
func (p *packUse) whole() bool { return p.geometry.K > 0 && int(p.shards) >= p.geometry.K }

// at returns the pack of a number, nil for one that is newer than the listing.
func (g *Prune) at(number uint32) *packUse {
	if number < uint32(len(g.byNumber)) {
		return g.byNumber[number]
	}
	return nil
}

// count adds up what is needed of each pack. Of several copies of a blob the best one counts. It is a *DamageError if something that a
// complete snapshot needs has no copy.
func (g *Prune) count(ctx context.Context) error {
	for try := 0; ; try++ {
		c := counting{g: g}
		if err := c.run(ctx); err != nil {
			return err
		}
		if len(c.lost) == 0 {
			g.report.Blobs = c.blobs
			return g.remember(ctx)
		}
		if try == maxTries {
			return g.refuse(ctx, c.lost, c.losses)
		}
		// A segment that is replaced while the index is listed may be missed, and the one in its place as well.
		if err := g.refresh(ctx); err != nil {
			return err
		}
		if err := g.describePacks(ctx); err != nil {
			return err
		}
	}
}

// maxTries bounds how often all blobs are counted again because one has no copy.
const maxTries = 2

// counting is one look at all blobs.
type counting struct {
	g       *Prune
	group   []index.Copy // of one blob
	blobs   uint64       // that have a copy
	seen    uint64       // needed ones
	lacking uint64       // needed ones without a live copy, but with a condemned one
	sure    uint64       // of those: that a complete snapshot needs
	sources map[*packUse]bool
	lost    []loss
	losses  int
}

func (c *counting) run(ctx context.Context) error {
	for _, p := range c.g.packs {
		p.used, p.total, p.usedBlobs, p.totalBlobs = 0, 0, 0, 0
	}
	c.sources = map[*packUse]bool{}
	for _, t := range []chunk.Type{chunk.Data, chunk.Tree} {
		n := 0
		for copy, err := range c.g.idx.Copies(t) {
			if err != nil {
				return err
			}
			if len(c.group) > 0 && c.group[0].ID != copy.ID {
				c.blob(t)
			}
			c.group = append(c.group, copy)
			if n++; n%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		c.blob(t)
	}
	if c.seen != c.g.mark.needed.len() {
		return fmt.Errorf("%d of %d blobs that are needed: %w", c.seen, c.g.mark.needed.len(), errIndex)
	}
	return ctx.Err()
}

// checkEvery so many copies it is asked whether to stop: they take some 10 ms.
const checkEvery = 10_000

// blob counts the blob whose copies are in the group.
func (c *counting) blob(t chunk.Type) {
	group := c.group
	if c.group = c.group[:0]; len(group) == 0 {
		return
	}
	any := false
	for i := range group {
		p := c.g.at(group[i].Pack)
		if group[i].State == index.Gone || p == nil {
			continue
		}
		any = true
		p.total += int64(group[i].Stored)
		p.totalBlobs++
	}
	if any {
		c.blobs++
	}
	if number := group[0].Number; c.g.mark.needed.has(number) {
		c.seen++
		c.need(t, group)
	}
}

// need chooses the copy of a needed blob that counts.
func (c *counting) need(t chunk.Type, group []index.Copy) {
	best, live := -1, false
	for i := range group {
		p := c.g.at(group[i].Pack)
		switch state := group[i].State; {
		case state == index.Gone, p != nil && !p.whole():
		case state == index.Live && p == nil: // it is newer than the listing, and somebody else's
			best, live = i, true
		case state == index.Live && (!live || group[i].Best):
			best, live = i, true
		case state == index.Condemned && p != nil && !live:
			best = i
		}
	}
	if best < 0 {
		if c.g.mark.partial.has(group[0].Number) {
			return // what an incomplete snapshot lacks, its client stores, or nobody
		}
		if c.losses++; len(c.lost) < maxLost {
			c.lost = append(c.lost, loss{t, group[0].ID, errNoCopy})
		}
		return
	}
	p := c.g.at(group[best].Pack)
	if !live {
		if c.lacking++; !c.g.mark.partial.has(group[0].Number) {
			c.sure++
		}
		c.sources[p] = true
	}
	if p != nil {
		p.used += int64(group[best].Stored)
		p.usedBlobs++
	}
}

var errNoCopy = errors.New("no pack that can be read holds it")

// state is what the numbers of a counting rest on, beside the snapshots: gc records, and segments.
type state struct {
	records  map[chunk.ID]bool
	segments map[pack.ID]bool
}

// stateNow is the state that the local index shows.
func (g *Prune) stateNow(ctx context.Context) (state, error) {
	s := state{map[chunk.ID]bool{}, map[pack.ID]bool{}}
	records, err := g.a.Records(ctx)
	if err != nil {
		return s, err
	}
	for _, r := range records {
		noted, err := g.idx.Noted(r.ID) // or it was just read, and the index does not know it yet
		if err != nil {
			return s, err
		}
		if noted {
			s.records[r.ID] = true
		}
	}
	for id, err := range g.idx.Segments() {
		if err != nil {
			return s, err
		}
		s.segments[id] = true
	}
	return s, nil
}

func (s state) equal(o state) bool {
	return maps.Equal(s.records, o.records) && maps.Equal(s.segments, o.segments)
}

// remember notes the state that was counted, and that nothing was copied since.
func (g *Prune) remember(ctx context.Context) (err error) {
	g.expected, g.copied, g.failed, g.sources = 0, bitmap{}, nil, nil
	g.known, err = g.stateNow(ctx)
	return err
}

// aim makes packs those out of which blobs are copied next.
func (g *Prune) aim(sources []*packUse) {
	g.sources = slices.SortedFunc(slices.Values(sources), func(a, b *packUse) int { return cmp.Compare(a.number, b.number) }) // in the order in which they were made
	for _, p := range sources {
		g.expected += uint64(p.usedBlobs)
	}
}

// ownSegments takes note of segments that this collection has published: the index reads those of others in Index only.
func (g *Prune) ownSegments() error {
	for id, err := range g.idx.Segments() {
		if err != nil {
			return err
		}
		g.known.segments[id] = true
	}
	return nil
}

// Lacks says whether something needed has no copy outside of what is condemned. When nothing has happened since the last counting but what
// this collection did itself, nothing can.
func (g *Prune) Lacks(ctx context.Context) (bool, error) {
	now, err := g.stateNow(ctx)
	if err != nil {
		return false, err
	}
	if g.incoming == 0 && now.equal(g.known) && g.copied.len() == g.expected {
		return false, nil
	}
	g.o.Progress.enter(Counting)
	for try := 0; ; try++ {
		if err := g.describePacks(ctx); err != nil {
			return false, err
		}
		c := counting{g: g}
		if err := c.run(ctx); err != nil {
			return false, err
		}
		failed := g.failed
		if c.losses == 0 {
			return g.stillLacks(ctx, &c, failed)
		}
		if try == maxTries {
			return false, g.refuse(ctx, c.lost, c.losses)
		}
		if err := g.refresh(ctx); err != nil {
			return false, err
		}
	}
}

// stillLacks aims at the packs that hold what is lacking.
func (g *Prune) stillLacks(ctx context.Context, c *counting, failed []Left) (bool, error) {
	if err := g.remember(ctx); err != nil || c.lacking == 0 {
		return false, err
	}
	sources := slices.Collect(maps.Keys(c.sources))
	for _, f := range failed {
		if !slices.ContainsFunc(sources, func(p *packUse) bool { return p.id == f.Pack }) {
			continue
		}
		if c.sure == 0 {
			return false, nil // another collector deletes it; the client finds that out, and stores anew
		}
		return false, &DamageError{Err: fmt.Errorf("%d blobs that snapshots need are in condemned packs only, of which one cannot be read: %s pack %s: %w", c.lacking, f.Kind, f.Pack.Short(), f.Err),
			Next: "nothing was deleted; `cairn repair --lost` takes out what can be read and finishes, and the next backup stores the rest anew; then prune again"}
	}
	if g.report.Rounds++; g.report.Rounds > maxRounds {
		return false, fmt.Errorf("other collectors condemned what this one copied, %d times", maxRounds)
	}
	g.aim(sources)
	return true, nil
}

// maxRounds bounds how often blobs are copied once more. Each time another collector has condemned what this one had just copied.
const maxRounds = 16
