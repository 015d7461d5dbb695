package check

import (
	"context"
	"fmt"
	"math/bits"
	"slices"

	"cairn/archive"
	"cairn/chunk"
)

// Shards scrubs: it reads every shard of every member and holds it against its own proof, and all copies against each
// other. It needs no key and opens no index; Options.ReadData is implied, Options.Subset chooses the packs that are read. What
// the listings alone tell (missing shards and copies) is told of all.
//
// A pack with fewer than k good shards may be a loss, or what an interrupted upload left: only the index knows, so it is
// told of as damage that is not counted as lost, and counted in Report.Short.
func Shards(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	c := newChecker(a, o)
	c.keyless = true
	return c.run(ctx, c.copies, c.inventory, c.scrub)
}

// scrub looks at all packs that any member lists.
func (c *checker) scrub(ctx context.Context) error {
	total := uint64(c.inv.Bytes())
	read := func(name archive.PackName) bool {
		return name.Index || c.o.Subset.Has(name.ID, total) || !c.inv.Even(name)
	}
	c.o.Progress.TotalPacks.Store(uint64(c.inv.Len()))
	for name := range c.inv.Packs() {
		if read(name) {
			c.o.Progress.TotalBytes.Add(uint64(c.inv.PackBytes(name)))
		}
	}
	strays := map[string]int{}
	err := c.each(ctx, c.inv.Packs(), func(ctx context.Context, name archive.PackName, buf *[]byte) error {
		return c.scrubPack(ctx, name, read(name), strays, buf)
	})
	for member, n := range strays {
		c.note("binaries/", fmt.Sprintf("%d packs have shards on %s, which is not of their layout: left by a change of the layout, harmless", n, member))
	}
	return err
}

func (c *checker) scrubPack(ctx context.Context, name archive.PackName, read bool, strays map[string]int, buf *[]byte) error {
	p := &packState{}
	if name.Index {
		p.kind = chunk.Index
	}
	if err := c.placeByHeader(ctx, name, p); err != nil {
		return err
	}
	if p.layout == nil { // no shard has a header: each of them is told of as it would be in the newest layout
		p.layout = &c.layouts[0]
	}
	damages := c.compare(ctx, name, p)
	if read {
		more, err := c.readShards(ctx, name, p, buf)
		if err != nil {
			return err
		}
		damages = append(damages, more...)
		if p.have&^p.absent == 0 && p.broken == p.absent {
			return nil // it was removed since it was listed
		}
	}
	c.count(func(r *Report) {
		if name.Index {
			r.Segments++
		} else if r.Packs++; read {
			r.PacksRead++
		}
		for i, m := range c.inv.Members() {
			if _, listed := c.inv.Size(name, i); listed && !slices.Contains(p.layout.lineup, i) {
				strays[m.Label]++
			}
		}
	})
	c.judge(name, p, damages)
	return ctx.Err()
}

// judge tells what is wrong with a pack that was scrubbed. Of one with too few shards, the missing ones are one damage.
func (c *checker) judge(name archive.PackName, p *packState, damages []Damage) {
	g := p.layout.Geometry
	if p.lost() {
		damages = slices.DeleteFunc(damages, func(d Damage) bool { return d.missing })
		damages = append(damages, Damage{Object: name.String(), Problem: fmt.Sprintf("%d of its %d shards are good, and %d are needed: lost, or left by an interrupted upload (check with a key tells)",
			g.N()-bits.OnesCount32(p.broken), g.N(), g.K)})
		c.count(func(r *Report) { r.Short++ })
	}
	for _, d := range damages {
		c.found(d)
	}
}
