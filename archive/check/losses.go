package check

import (
	"context"
	"errors"
	"fmt"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// losses finds the blobs that packs with too few good shards do not give any more: each blob of their broken columns is
// tried, for often a part of a shard is bad and the rest can be read. A pack of which nothing is left is told of only if the
// index names it still: otherwise its blobs were copied into another one, and it was removed while this ran.
func (c *checker) losses(ctx context.Context) error {
	lost := map[archive.PackName]uint32{}
	for name, p := range c.packs {
		if !name.Index && p.layout != nil && p.lost() {
			lost[name] = p.broken
		}
	}
	if len(lost)+len(c.gone) == 0 {
		return nil
	}
	named := map[archive.PackName]bool{}
	unsure := false // a segment cannot be read, so nobody knows what it names
	err := c.a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		named[archive.NameOf(id, chunk.Index)] = true
		if err != nil {
			unsure = true
			return nil // told of in segments
		}
		for _, col := range columns {
			name := archive.NameOf(col.Pack, col.Kind)
			named[name] = true
			if lost[name]&(1<<col.Number) == 0 {
				continue
			}
			if err := c.try(ctx, &col); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name, damages := range c.gone {
		if named[name] || unsure {
			c.tell(c.packs[name], damages)
		} else if !name.Index {
			c.report.Packs--
		}
	}
	return nil
}

// try reads all blobs of a column and notes those that are lost.
func (c *checker) try(ctx context.Context, col *pack.Column) error {
	ids := make([]chunk.ID, len(col.Entries))
	for i, e := range col.Entries {
		ids[i] = e.ID
	}
	err := c.a.Fetch(ctx, col.Kind, ids, func(chunk.ID, []byte) error { return nil })
	var lost *archive.FetchError
	if !errors.As(err, &lost) {
		return err
	}
	for _, d := range lost.Damaged {
		c.setBad(blobKey{d.Type, d.ID}, fmt.Sprintf("blob %s is lost with shard %d of %s", d.ID.Short(), col.Number, col.Pack.Name(col.Kind)))
	}
	return nil
}
