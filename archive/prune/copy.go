package prune

import (
	"context"
	"fmt"
	"maps"
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
	use     *packUse
	extract *archive.Extract
	err     error
}

// CopyOut copies the needed blobs out of the packs that were aimed at, sealed as they are and proved, while others are read.
func (g *Prune) CopyOut(ctx context.Context) (bool, error) {
	p := g.o.Progress
	p.enter(Copying)
	p.Packs.Store(0)
	p.Bytes.Store(0)
	p.TotalPacks.Store(uint64(len(g.sources)))
	total := int64(0)
	for _, s := range g.sources {
		total += s.used
	}
	p.TotalBytes.Store(uint64(total))
	group, ctx := errgroup.WithContext(ctx)
	ch := make(chan readAhead)
	x := &extraction{g: g, sources: g.sources, doomed: maps.Clone(g.doomed), from: g.a.NewExtractor(g.readers() + 1)}
	var reading sync.WaitGroup
	for range g.readers() {
		reading.Add(1)
		group.Go(func() error {
			defer reading.Done()
			return x.run(ctx, ch)
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
			p.Bytes.Add(uint64(r.use.used))
		}
		return nil
	})
	return true, group.Wait()
}

// readers is how many packs are read at a time. The columns of one pack are read at once; with one data column, one reader keeps the other core
// waiting. At most two packs of k·T = 32 MiB, with long ones 64, are in memory beside the one that is copied.
func (g *Prune) readers() int { return max(1, 2/g.a.Geometry().K) }

// extraction reads what is needed out of the sources. What it looks at is not changed meanwhile.
type extraction struct {
	g       *Prune
	sources []*packUse
	next    atomic.Int64
	doomed  map[pack.ID]bool // as it was at the beginning
	from    *archive.Extractor
}

func (x *extraction) run(ctx context.Context, ch chan<- readAhead) error {
	for i := x.next.Add(1) - 1; i < int64(len(x.sources)); i = x.next.Add(1) - 1 {
		r, err := x.read(ctx, x.sources[i])
		if err != nil {
			return err
		}
		select {
		case ch <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// dense is the part of a pack from which on its columns are read whole: the directory costs a request of its own, and gaps are read along.
const dense = 0.6

// read reads one pack. The error is about the index: nothing can be copied without it.
func (x *extraction) read(ctx context.Context, s *packUse) (readAhead, error) {
	at, ok := x.g.placementOf(s.geometry)
	if !ok {
		return readAhead{use: s, err: fmt.Errorf("layout %d (%d+%d) is not one of this archive", s.geometry.Epoch, s.geometry.K, s.geometry.M)}, nil
	}
	q := archive.Quarry{Placement: at, ID: s.id, Kind: s.kind, L: s.length}
	q.Dense = float64(s.used) >= dense*float64(s.length)*float64(s.geometry.K)
	var broken error
	extract, err := x.from.Read(ctx, q, func(c *pack.Column) (chosen []int, err error) {
		chosen, err = x.choose(c)
		broken = err
		return chosen, err
	})
	return readAhead{s, extract, err}, broken
}

// choose picks those blobs of a column that are needed and have no live copy but in a pack that goes.
func (x *extraction) choose(c *pack.Column) ([]int, error) {
	ids := make([]chunk.ID, len(c.Entries))
	for i, e := range c.Entries {
		ids[i] = e.ID
	}
	numbers := make([]uint32, len(ids))
	if err := x.g.idx.Number(c.Kind, ids, numbers); err != nil {
		return nil, err
	}
	needed := ids[:0]
	var at []int // in the column
	for i, n := range numbers {
		if x.g.mark.needed.has(n) {
			needed, at = append(needed, ids[i]), append(at, i)
		}
	}
	live := make([]pack.ID, len(needed))
	if err := x.g.idx.Live(c.Kind, needed, live); err != nil {
		return nil, err
	}
	chosen := at[:0]
	for j, i := range at {
		if live[j] == (pack.ID{}) || x.doomed[live[j]] {
			chosen = append(chosen, i)
		}
	}
	return chosen, nil
}

// copyPack copies what is needed of one pack. One that cannot be read stays, if it is not condemned yet.
func (g *Prune) copyPack(ctx context.Context, r readAhead) error {
	if g.a.Stops(ctx, r.err) {
		return r.err
	}
	if r.err != nil {
		left := Left{r.use.id, r.use.kind, r.err}
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
	defer r.extract.Release()
	for i := range r.extract.Columns {
		if err := g.copyColumn(ctx, &r.extract.Columns[i]); err != nil {
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

// copyColumn copies what was chosen of a column, unless it was copied out of another pack.
func (g *Prune) copyColumn(ctx context.Context, c *archive.ExtractColumn) error {
	ids := make([]chunk.ID, len(c.Chosen))
	for j, i := range c.Chosen {
		ids[j] = c.Entries[i].ID
	}
	numbers := make([]uint32, len(ids))
	if err := g.idx.Number(c.Kind, ids, numbers); err != nil {
		return err
	}
	for j, i := range c.Chosen {
		if !g.copied.add(numbers[j]) {
			continue
		}
		e := c.Entries[i]
		if err := g.mover.Add(ctx, c.Column, e, c.Payload); err != nil {
			return err
		}
		g.report.Copied++
		g.report.CopiedBytes += int64(e.Stored)
	}
	return nil
}
