package archive

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

// Placement is one layout of the archive: how the packs of its epoch are spread over which members. An archive has
// one, and after its layout was changed the former ones too, as long as packs of theirs may exist.
type Placement struct {
	Geometry pack.Geometry
	Set      *stripe.Set // in the layout's order: shard j of a pack is on member pack.Member(id, j, n)
}

// MemberOf names the member on which shard j of a pack lies.
func (p Placement) MemberOf(id pack.ID, j int) string {
	return p.Set.Members()[pack.Member(id, j, p.Geometry.N())].Label
}

// Placements returns all layouts, the current one, which new packs have, first.
func (a *Archive) Placements() []Placement { return a.placements }

// placement finds the layout that packs of a geometry have.
func (a *Archive) placement(g pack.Geometry) (Placement, bool) {
	for _, p := range a.placements {
		if p.Geometry == g {
			return p, true
		}
	}
	return Placement{}, false
}

// has says whether packs of a geometry can be in this archive.
func (a *Archive) has(g pack.Geometry) bool {
	_, ok := a.placement(g)
	return ok
}

// setOf returns the members in the order of a geometry that the archive has (see plausible).
func (a *Archive) setOf(g pack.Geometry) *stripe.Set {
	if p, ok := a.placement(g); ok {
		return p.Set
	}
	return a.set
}

// maxEpochs bounds the layouts of packs that are remembered, at about 3 MB.
const maxEpochs = 1 << 16

// epochCache remembers which layout packs have, for archives with several.
type epochCache struct {
	mu sync.Mutex
	of map[pack.ID]pack.Geometry
}

func (c *epochCache) get(id pack.ID) (pack.Geometry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.of[id]
	return g, ok
}

func (c *epochCache) put(id pack.ID, g pack.Geometry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxEpochs {
		c.of = map[pack.ID]pack.Geometry{}
	}
	c.of[id] = g
}

// PlacementOf finds out which layout a pack has. As long as there is only one, that costs nothing; otherwise the header
// of a shard is read, whichever member has one. It fails as ReadPack does: with a *PackDamage, or with a
// *stripe.TooFewError if members that did not answer may know.
func (a *Archive) PlacementOf(ctx context.Context, id pack.ID, kind chunk.Type) (Placement, error) {
	if len(a.placements) == 1 {
		return a.placements[0], nil
	}
	g, ok := a.epochs.get(id)
	if !ok {
		var err error
		if g, err = a.geometryOf(ctx, id, kind); err != nil {
			return Placement{}, err
		}
		a.epochs.put(id, g)
	}
	p, ok := a.placement(g)
	if !ok {
		return Placement{}, fmt.Errorf("pack %s has layout %d (%d+%d), which this archive does not have", id.Short(), g.Epoch, g.K, g.M)
	}
	return p, nil
}

// headerRead is what became of asking one member for a pack's header.
type headerRead struct {
	header  *pack.Header
	err     error
	away    bool // it did not answer: nothing is known
	foreign bool // it is a shard of another archive
}

// geometryOf asks the header of a pack for its layout.
func (a *Archive) geometryOf(ctx context.Context, id pack.ID, kind chunk.Type) (pack.Geometry, error) {
	h, err := a.PackHeader(ctx, id, kind)
	if err != nil {
		return pack.Geometry{}, err
	}
	return h.Geometry, nil
}

// PackHeader asks one member after the other for a header of the pack: the shards have one name on all members, whatever
// the layout. The id is a hash of the header, so a member cannot lie. The member on which the first shard lies in the current
// layout comes first, and for most packs it is the only one that is asked. Those that do not answer for now come last. Its errors are those
// of PlacementOf. Which shard's header it is, and its signature, are not to be relied on.
func (a *Archive) PackHeader(ctx context.Context, id pack.ID, kind chunk.Type) (*pack.Header, error) {
	members := a.all.Members()
	reads := make([]headerRead, len(members))
	first := pack.Member(id, 0, a.geom.N())
	order := make([]int, len(members))
	for i := range order {
		order[i] = (first + i) % len(members)
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case members[i].Benched == members[j].Benched:
			return 0
		case members[j].Benched:
			return -1
		}
		return 1
	})
	for _, i := range order {
		reads[i] = a.readHeader(ctx, members[i], id, kind)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if h := reads[i].header; h != nil {
			return h, nil
		}
	}
	return nil, a.headless(id, kind, reads)
}

// readHeader reads the copy of the header that ends a shard, or the header itself.
func (a *Archive) readHeader(ctx context.Context, m stripe.Member, id pack.ID, kind chunk.Type) (r headerRead) {
	if m.Store == nil {
		return headerRead{err: fmt.Errorf("%s: %w", m.Label, m.Err), away: true}
	}
	for _, from := range []int64{-pack.HeaderSize, 0} {
		b, err := m.Store.Get(ctx, id.Name(kind), from, pack.HeaderSize, nil)
		if err != nil {
			return headerRead{err: fmt.Errorf("%s: %w", m.Label, err), away: !Gone(err)}
		}
		h, err := pack.ParseHeader(b)
		switch {
		case err != nil:
			r.err = fmt.Errorf("%s: %w", m.Label, err)
		case h.ID != id || h.Archive != a.id:
			r.foreign = r.foreign || h.Archive != a.id
			r.err = fmt.Errorf("%s: this is a shard of pack %s of archive %.8s", m.Label, h.ID.Short(), h.Archive)
		default:
			return headerRead{header: h}
		}
	}
	return r
}

// headless says what it means that no member gave a header: reads is by member of all layouts.
func (a *Archive) headless(id pack.ID, kind chunk.Type, reads []headerRead) error {
	var damage *PackDamage
	for _, l := range a.card.layouts() { // the current one decides what is said, if it is damage
		few := &stripe.TooFewError{Need: l.Data}
		d := &PackDamage{Pack: id, Kind: kind, Need: l.Data}
		for j := range l.Members {
			i := slices.Index(a.ids, l.Members[pack.Member(id, j, len(l.Members))])
			label, r := a.all.Members()[i].Label, reads[i]
			if r.away {
				few.Missing, few.Causes = append(few.Missing, label), append(few.Causes, r.err)
			} else {
				d.Bad = append(d.Bad, ShardDamage{Pack: id, Kind: kind, Shard: j, Member: label, Err: r.err})
			}
		}
		if len(few.Missing) >= few.Need {
			return fmt.Errorf("%s pack %s: %w", kind, id.Short(), few)
		}
		if damage == nil {
			damage = d
		}
	}
	return damage
}
