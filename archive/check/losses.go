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
// tried, for often a part of a shard is bad and the rest can be read.
func (c *checker) losses(ctx context.Context) error {
	lost := map[archive.PackName]uint32{}
	for name, p := range c.packs {
		if !name.Index && p.layout != nil && p.lost() {
			lost[name] = p.broken
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return c.a.ReadSegments(ctx, func(_ pack.ID, columns []pack.Column, _ error) error { // errors were told of in segments
		for _, col := range columns {
			if lost[archive.NameOf(col.Pack, col.Kind)]&(1<<col.Number) == 0 {
				continue
			}
			if err := c.try(ctx, &col); err != nil {
				return err
			}
		}
		return nil
	})
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
		if !d.Unreachable() {
			c.setBad(blobKey{d.Type, d.ID}, badBlob{fmt.Sprintf("blob %s is lost with shard %d of %s", d.ID.Short(), col.Number, col.Pack.Name(col.Kind)), d.Pack})
		}
	}
	return nil
}
