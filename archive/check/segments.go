package check

import (
	"context"
	"fmt"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// rebuildable ends the description of what a lost index segment causes.
const rebuildable = "; `cairn repair --index` finds again what a lost index segment named"

// segments reads every index pack and fills the local index with what they say.
func (c *checker) segments(ctx context.Context) error {
	return c.a.ReloadIndex(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		return c.segment(ctx, id, columns, err, false)
	})
}

// segment takes one index pack over. late means that the members were listed before.
func (c *checker) segment(ctx context.Context, id pack.ID, columns []pack.Column, err error, late bool) error {
	if archive.Unfinished(err) { // an interrupted backup left it, or it is being removed; what it named is in others, or was not needed
		return ctx.Err()
	}
	name := archive.NameOf(id, chunk.Index)
	c.packs[name] = &packState{kind: chunk.Index, late: late}
	if err != nil {
		c.blind = true
		c.later(name, []Damage{{Object: name.String(), Away: c.away(err), Problem: fmt.Sprintf("index segment cannot be read: %v%s", err, rebuildable)}})
		return nil
	}
	c.report.Segments++
	n := uint32(len(c.segmentOf))
	c.segmentOf, c.numbers[id] = append(c.segmentOf, id), n
	for i := range columns {
		if !c.condemned(columns[i].Pack) {
			c.addColumn(&columns[i], n, late)
		}
	}
	return nil
}

func (c *checker) addColumn(col *pack.Column, segment uint32, late bool) {
	name := archive.NameOf(col.Pack, col.Kind)
	p := c.packs[name]
	if p == nil {
		p = &packState{kind: col.Kind, length: col.L, geom: col.Geometry, late: late}
		c.packs[name] = p
		c.total += uint64(pack.ShardSize(col.L)) * uint64(col.N())
	}
	if p.columns&(1<<col.Number) == 0 {
		c.report.Blobs += uint64(len(col.Entries))
	}
	p.columns |= 1 << col.Number
	for i := range p.naming {
		if p.naming[i].segment == segment {
			p.naming[i].columns |= 1 << col.Number
			return
		}
	}
	p.naming = append(p.naming, naming{segment, 1 << col.Number})
}

// newSegments lists the index packs and reads those that were published since. It returns which are listed.
func (c *checker) newSegments(ctx context.Context) (listed map[pack.ID]bool, err error) {
	listed = map[pack.ID]bool{}
	for id, err := range c.a.Packs(ctx, "index/") {
		if err != nil {
			return nil, err
		}
		listed[id] = true
	}
	for id := range listed {
		if c.packs[archive.NameOf(id, chunk.Index)] != nil || c.condemned(id) {
			continue
		}
		columns, err := c.a.ReadSegment(ctx, id)
		if c.a.Stops(ctx, err) {
			return nil, err
		}
		if err := c.segment(ctx, id, columns, err, true); err != nil {
			return nil, err
		}
	}
	return listed, nil
}
