package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// resume publishes what dead sessions on this machine stored but did not publish.
func (w *Writer) resume(ctx context.Context) error {
	if w.a.dir == "" {
		return nil
	}
	names, err := journals(w.a.dir)
	if err != nil {
		w.a.opts.Notice(err.Error())
		return nil
	}
	for _, name := range names {
		if err := w.resumeOne(ctx, name); err != nil {
			return fmt.Errorf("resume interrupted session %.8s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func (w *Writer) resumeOne(ctx context.Context, name string) error {
	f := takeJournal(name)
	if f == nil {
		return nil
	}
	defer f.Close()
	columns := readJournal(f)
	byPack := map[pack.ID][]pack.Column{}
	for _, c := range columns {
		byPack[c.Pack] = append(byPack[c.Pack], c)
	}
	var stored []pack.Column
	packs := map[pack.ID]bool{}
	idx, err := w.a.Index(ctx)
	if err != nil {
		return err
	}
	for _, c := range columns {
		if condemned, err := idx.Condemned(c.Pack); err != nil {
			return err
		} else if condemned {
			continue // the session was taken for dead
		}
		if known, err := w.knows(ctx, c); err != nil {
			return err
		} else if known {
			continue // the session died between publishing and noting that
		}
		usable, seen := packs[c.Pack]
		if !seen {
			var err error
			if usable, err = w.finish(ctx, byPack[c.Pack]); err != nil {
				return err
			}
			packs[c.Pack] = usable
		}
		if usable {
			stored = append(stored, c)
		}
	}
	if len(stored) > 0 {
		if err := w.putSegments(ctx, stored); err != nil {
			return err
		}
		w.a.opts.Notice("an interrupted run had stored packs that no index names yet: they are used, not uploaded again")
	}
	if err := w.dropUnfinished(ctx, readSegmentIDs(name)); err != nil {
		return err
	}
	if err := removeJournal(name); err != nil {
		w.a.opts.Notice(fmt.Sprintf("journal of an interrupted run: %v", err))
	}
	return nil
}

// knows says whether the index has all blobs of a column.
func (w *Writer) knows(ctx context.Context, c pack.Column) (bool, error) {
	has := make([]bool, len(c.Entries))
	if err := w.a.Has(ctx, c.Kind, entryIDs(c), has); err != nil {
		return false, err
	}
	return !slices.Contains(has, false), nil
}

func entryIDs(c pack.Column) []chunk.ID {
	ids := make([]chunk.ID, len(c.Entries))
	for i, e := range c.Entries {
		ids[i] = e.ID
	}
	return ids
}

// finish says whether a pack that was begun can be used: at least k shards of it are on their members in full length. The
// others are made of those. A member that does not answer counts as one without a shard: what is not certain is
// uploaded again. When all members answer and fewer than k have one, what they have is removed: nobody else knows of it.
func (w *Writer) finish(ctx context.Context, columns []pack.Column) (bool, error) {
	c := columns[0]
	at, ok := w.a.placement(c.Geometry)
	if !ok {
		return false, nil
	}
	shards := w.a.askShards(ctx, at, c.Pack, c.Kind)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	full, parts, silent := 0, 0, 0
	for _, s := range shards {
		switch {
		case s.silent:
			silent++
		case s.size == pack.ShardSize(c.L):
			full++
		case s.size >= 0:
			parts++
		}
	}
	switch {
	case full == c.N():
		return true, nil
	case full < c.K:
		if silent == 0 && full+parts > 0 {
			return false, w.removeLeftovers(ctx, columns, shards)
		}
		return false, nil
	}
	r, err := w.a.RepairPack(ctx, at, c.Pack, c.Kind, RepairOptions{})
	if err != nil {
		return false, err
	}
	if _, good := r.Good(); good < c.K {
		return false, nil
	}
	for j := range r.Shards {
		if r.Shards[j].After != ShardGood {
			w.lacks(c.Pack, c.Kind, j)
		}
	}
	return true, nil
}

// askedShard is what a member says of a shard: its size, -1 if it has none.
type askedShard struct {
	store  remote.Store
	size   int64
	silent bool // it did not answer
}

// askShards asks all members for the shards of a pack at once.
func (a *Archive) askShards(ctx context.Context, at Placement, id pack.ID, kind chunk.Type) []askedShard {
	shards := make([]askedShard, at.Geometry.N())
	members := at.Set.Members()
	eachShard(len(shards), func(j int) {
		s := &shards[j]
		s.store, s.size = members[pack.Member(id, j, len(shards))].Store, -1
		if s.store == nil {
			s.silent = true
			return
		}
		info, err := s.store.Stat(ctx, id.Name(kind))
		if err == nil {
			s.size = info.Size
		}
		s.silent = err != nil && !errors.Is(err, remote.ErrNotExist)
	})
	return shards
}

// removeLeftovers removes the shards of a pack that was never complete. The index is read once more before: a segment that
// names the pack, published by the session before it died or by somebody who rebuilt the index, makes it more than a
// leftover. So may, for all we know, one that cannot be read.
func (w *Writer) removeLeftovers(ctx context.Context, columns []pack.Column, shards []askedShard) error {
	if err := w.a.Refresh(ctx); err != nil || w.a.blind() {
		return err
	}
	for _, c := range columns {
		has := make([]bool, len(c.Entries))
		if err := w.a.Has(ctx, c.Kind, entryIDs(c), has); err != nil || slices.Contains(has, true) {
			return err
		}
	}
	return w.removeShards(ctx, columns[0].Pack, columns[0].Kind, shards)
}

func (w *Writer) removeShards(ctx context.Context, id pack.ID, kind chunk.Type, shards []askedShard) error {
	for _, s := range shards {
		if s.size < 0 {
			continue
		}
		if err := s.store.Delete(ctx, id.Name(kind)); err != nil {
			w.a.opts.Notice(fmt.Sprintf("what an interrupted run left of pack %s is not removed: %v", id.Short(), err))
		}
	}
	return ctx.Err()
}

// dropUnfinished removes what is there of index packs that a dead session was storing, if it is too little to read any. What
// they were to name has been published anew by now, or is uploaded again.
func (w *Writer) dropUnfinished(ctx context.Context, segments []pack.ID) error {
	for _, id := range segments {
		at, err := w.a.PlacementOf(ctx, id, chunk.Index)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			continue // nothing is there, or not all members answer
		}
		shards := w.a.askShards(ctx, at, id, chunk.Index)
		there := 0
		for _, s := range shards {
			if s.size >= 0 || s.silent {
				there++
			}
		}
		if there > 0 && there < at.Geometry.K {
			if err := w.removeShards(ctx, id, chunk.Index, shards); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

var errNotOpened = errors.New("not opened")
