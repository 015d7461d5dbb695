package prune

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// readAhead is a pack on its way from the members to the Mover.
type readAhead struct {
	use    *packUse
	shards *archive.PackShards
	err    error
}

// CopyOut copies the needed blobs out of the packs that were aimed at, sealed as they are, while the next pack is read. What proves
// them are the hashes in the pack's signed header.
func (g *Prune) CopyOut(ctx context.Context) (bool, error) {
	p := g.o.Progress
	p.enter(Copying)
	p.Packs.Store(0)
	p.Bytes.Store(0)
	p.TotalPacks.Store(uint64(len(g.sources)))
	total := int64(0)
	for _, s := range g.sources {
		total += s.length * int64(s.geometry.K)
	}
	p.TotalBytes.Store(uint64(total))
	group, ctx := errgroup.WithContext(ctx)
	ch := make(chan readAhead)
	var next atomic.Int64
	var reading sync.WaitGroup
	for range g.readers() {
		reading.Add(1)
		group.Go(func() error {
			defer reading.Done()
			for i := next.Add(1) - 1; i < int64(len(g.sources)); i = next.Add(1) - 1 {
				s := g.sources[i]
				r := readAhead{use: s}
				if at, ok := g.placementOf(s.geometry); ok {
					r.shards, r.err = g.a.ReadPackAt(ctx, at, s.id, s.kind)
				} else {
					r.err = fmt.Errorf("layout %d (%d+%d) is not one of this archive", s.geometry.Epoch, s.geometry.K, s.geometry.M)
				}
				select {
				case ch <- r:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		reading.Wait()
		close(ch)
		return nil
	})
	group.Go(func() error {
		for r := range ch {
			if err := g.copyPack(ctx, r); err != nil {
				return err
			}
			p.Packs.Add(1)
			p.Bytes.Add(uint64(r.use.length) * uint64(r.use.geometry.K))
		}
		return nil
	})
	return true, group.Wait()
}

// readers is how many packs are read at a time. Proving a shard takes a core 9 ms for 16 MiB, and the shards of one pack are read at once: with one
// data shard one reader kept the other core waiting, and the copying of 1.1 GiB took half as long again. At most two packs of k·T = 32 MiB, with
// long ones 64, are in memory beside the one that is copied.
func (g *Prune) readers() int { return max(1, 2/g.a.Geometry().K) }

// copyPack copies what is needed of one pack. One that cannot be read stays, if it is not condemned yet.
func (g *Prune) copyPack(ctx context.Context, r readAhead) error {
	columns, err := g.directories(r)
	if g.a.Stops(ctx, err) {
		return err
	}
	if err != nil {
		left := Left{r.use.id, r.use.kind, err}
		g.failed = append(g.failed, left)
		if r.use.state == condemned || g.report.condemned() {
			return nil
		}
		delete(g.doomed, r.use.id)
		g.report.Repacked.sub(r.use)
		others, err := g.condemnedByOthers(ctx, r.use.id)
		if !others {
			g.report.Left = append(g.report.Left, left)
		}
		return err
	}
	for i, c := range columns {
		if err := g.copyColumn(ctx, c, r.shards.Payload(i)); err != nil {
			return err
		}
	}
	return nil
}

// condemnedByOthers says whether another collector has condemned a pack since the index was read: it may have deleted the pack as well, after
// it copied what is needed.
func (g *Prune) condemnedByOthers(ctx context.Context, id pack.ID) (bool, error) {
	records, err := g.a.Records(ctx)
	for _, r := range records {
		if slices.Contains(r.Packs, id) {
			return true, err
		}
	}
	return false, err
}

// directories opens all directories of a pack before any blob of it is copied.
func (g *Prune) directories(r readAhead) ([]*pack.Column, error) {
	if r.err != nil {
		return nil, r.err
	}
	if err := r.shards.Header.VerifySignature(g.a.Keys()); err != nil {
		return nil, err
	}
	var columns []*pack.Column
	for c := range r.shards.Header.Geometry.K {
		column, err := r.shards.Directory(g.a.Keys(), c)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return columns, nil
}

// copyColumn copies those blobs of a column that are needed and have no live copy but in a pack that goes.
func (g *Prune) copyColumn(ctx context.Context, c *pack.Column, payload []byte) error {
	ids := make([]chunk.ID, len(c.Entries))
	for i, e := range c.Entries {
		ids[i] = e.ID
	}
	numbers := make([]uint32, len(ids))
	if err := g.idx.Number(c.Kind, ids, numbers); err != nil {
		return err
	}
	needed := ids[:0]
	var at []int // in the column
	for i, n := range numbers {
		if g.mark.needed.has(n) && !g.copied.has(n) {
			needed, at = append(needed, ids[i]), append(at, i)
		}
	}
	live := make([]pack.ID, len(needed))
	if err := g.idx.Live(c.Kind, needed, live); err != nil {
		return err
	}
	for j, i := range at {
		if live[j] != (pack.ID{}) && !g.doomed[live[j]] || !g.copied.add(numbers[i]) {
			continue
		}
		e := c.Entries[i]
		if err := g.mover.Add(ctx, c, e, payload); err != nil {
			return err
		}
		g.report.Copied++
		g.report.CopiedBytes += int64(e.Stored)
	}
	return nil
}
