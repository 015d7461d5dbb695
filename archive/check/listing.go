package check

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// inventory lists what all members hold.
func (c *checker) inventory(ctx context.Context) error {
	inv, err := c.a.Inventory(ctx)
	if err != nil {
		return err
	}
	c.inv = inv
	members := inv.Members()
	c.missed = make([]atomic.Int32, len(members))
	for i, m := range members {
		if err := inv.Unlisted(i); err != nil && m.Store != nil {
			c.cannotList("binaries/", m.Label, err)
		}
	}
	for _, p := range c.a.Placements() {
		c.layouts = append(c.layouts, layout{p, c.a.Lineup(p)})
	}
	return nil
}

// listing compares what the members have with what the index names: each shard on its member, in its full length.
func (c *checker) listing(ctx context.Context) error {
	if err := c.inventory(ctx); err != nil {
		return err
	}
	// What is named by now was stored before, if not before the members were listed; what is not will be: see garbage.
	if _, err := c.newSegments(ctx); err != nil {
		return err
	}
	for name, p := range c.packs {
		if !name.Index {
			c.report.Packs++
		}
		if err := c.place(ctx, name, p); err != nil {
			return err
		}
		if p.layout == nil {
			continue
		}
		damages := c.compare(ctx, name, p)
		if c.unreachable(p) {
			damages = append(damages, Damage{Object: name.String(), Away: true, Problem: fmt.Sprintf("%d of its %d shards are on members that are there, and %d are needed",
				bits.OnesCount32(p.have), p.layout.Geometry.N(), p.layout.Geometry.K)})
		}
		c.later(name, damages)
	}
	c.looked = time.Now()
	return c.settle(ctx)
}

// place finds the layout of a pack, and tells of those that have none.
func (c *checker) place(ctx context.Context, name archive.PackName, p *packState) error {
	if name.Index {
		return c.placeByHeader(ctx, name, p)
	}
	for i := range c.layouts {
		if c.layouts[i].Geometry == p.geom {
			p.layout = &c.layouts[i]
			return nil
		}
	}
	c.later(name, []Damage{{Object: name.String(), Lost: true, Problem: fmt.Sprintf("it has layout %d (%d+%d), which this archive does not have", p.geom.Epoch, p.geom.K, p.geom.M)}})
	return nil
}

// placeByHeader asks the header of a shard for the layout, if there are several.
func (c *checker) placeByHeader(ctx context.Context, name archive.PackName, p *packState) error {
	if len(c.layouts) == 1 {
		p.layout = &c.layouts[0]
		return nil
	}
	at, err := c.a.PlacementOf(ctx, name.ID, name.Kind())
	if err != nil {
		return ctx.Err()
	}
	for i := range c.layouts {
		if c.layouts[i].Geometry == at.Geometry {
			p.layout = &c.layouts[i]
		}
	}
	return nil
}

// compare says which shards of a pack are listed in full length, and returns what is wrong with the others.
func (c *checker) compare(ctx context.Context, name archive.PackName, p *packState) []Damage {
	var damages []Damage
	for j := range p.layout.Geometry.N() {
		i := p.layout.member(name.ID, j)
		if c.inv.Unlisted(i) != nil {
			continue
		}
		size, listed := c.inv.Size(name, i)
		want := pack.ShardSize(p.length)
		if !listed {
			switch err := c.ask(ctx, name, p, i); {
			case errors.Is(err, remote.ErrNotExist):
				p.broken |= 1 << j
				p.absent |= 1 << j
				damages = append(damages, c.shardDamage(name, p, j, errMissing))
			case err == nil: // it came meanwhile
				p.have |= 1 << j
			}
			continue
		}
		if p.length > 0 && size != want {
			p.broken |= 1 << j
			damages = append(damages, c.shardDamage(name, p, j, fmt.Errorf("it has %d bytes instead of %d", size, want)))
			continue
		}
		p.have |= 1 << j
	}
	return damages
}

var errMissing = errors.New("it is missing")

// member gives the inventory's number of the member that shard j belongs on.
func (l *layout) member(id pack.ID, j int) int {
	return l.lineup[pack.Member(id, j, len(l.lineup))]
}

// askTwice is how many shards of one member are asked for before its listing is believed: a lost disk lacks all.
const askTwice = 32

// ask asks for a shard that was not listed: it may have been on its way.
func (c *checker) ask(ctx context.Context, name archive.PackName, p *packState, member int) error {
	if c.insist || p.late || c.missed[member].Load() < askTwice {
		if _, err := c.inv.Members()[member].Store.Stat(ctx, name.String()); !errors.Is(err, remote.ErrNotExist) {
			return err
		}
	}
	c.missed[member].Add(1)
	return remote.ErrNotExist
}

func (c *checker) shardDamage(name archive.PackName, p *packState, j int, err error) Damage {
	of := "pack"
	if p.kind != 0 {
		of = p.kind.String() + " pack"
	}
	d := Damage{Object: name.String(), Member: p.layout.MemberOf(name.ID, j), shard: j, missing: errors.Is(err, errMissing)}
	var corrupt *pack.CorruptError
	if errors.As(err, &corrupt) {
		d.Blocks, err = corrupt.Blocks, errors.New(corrupt.Brief())
	}
	d.Problem = fmt.Sprintf("shard %d of a %s: %v%s", j, of, err, ranges(d.Blocks))
	return d
}

// tell reports what is wrong with a pack, when all of it is known.
func (c *checker) tell(p *packState, damages []Damage) {
	for _, d := range damages {
		// What an index pack says, the directories say too.
		d.Lost = d.Lost || !d.Away && p.layout != nil && p.kind != chunk.Index && p.lost()
		d.Lacking = d.missing && p.layout != nil && p.kind == chunk.Index && !p.lost()
		c.found(d)
	}
}
