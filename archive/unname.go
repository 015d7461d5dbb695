package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

const (
	// keepBlobs bounds what is kept of removed segments until it is published again: 2^18 entries of about 60 bytes, and as many
	// as the last segment has.
	keepBlobs = 1 << 18
	// segmentReads is how many index packs are read at once: 4 × 10 MB.
	segmentReads = 4
	// smallRequests is how many requests without much content are under way at once.
	smallRequests = 8
)

// ReplaceOptions say how ReplaceSegments works.
type ReplaceOptions struct {
	// Drop says which columns are not to be named any more.
	Drop func(*pack.Column) bool
	// Vanished decides about an index pack that is not there any more: somebody else has replaced it. With an error that ends it.
	Vanished func(pack.ID) error
	// Removing, when set, is told which index packs are removed next; what they name beside what is dropped is published by then.
	Removing func(ctx context.Context, gone []pack.ID) error
}

// ReplaceReport tells what ReplaceSegments did.
type ReplaceReport struct {
	Removed   int // index packs
	Published int // columns that are named anew
	Shards    int // of removed index packs, on members that did not answer
	// Locked are index packs that stay because an object lock holds them.
	Locked map[pack.ID]bool
}

// ReplaceSegments takes names out of the archive's index. It publishes anew what index packs name beside what is dropped, and
// then removes them; so every other blob is named at every moment. Others may do the same with the same index packs: each publishes before it
// removes, so what both keep is named twice, which harms nothing. Memory: keepBlobs entries.
func (m *Mover) ReplaceSegments(ctx context.Context, segments []pack.ID, o ReplaceOptions) (*ReplaceReport, error) {
	r := &replacing{m: m, a: m.w.a, o: o, report: &ReplaceReport{Locked: map[pack.ID]bool{}}}
	for len(segments) > 0 {
		n := min(segmentReads, len(segments))
		if err := r.read(ctx, segments[:n]); err != nil {
			return r.report, err
		}
		if segments = segments[n:]; r.blobs >= keepBlobs || len(segments) == 0 {
			if err := r.turn(ctx); err != nil {
				return r.report, err
			}
		}
	}
	return r.report, nil
}

// replacing is one call of ReplaceSegments.
type replacing struct {
	m *Mover
	a *Archive
	o ReplaceOptions

	gone   []pack.ID // read since the last turn
	keep   []pack.Column
	blobs  int // in keep
	report *ReplaceReport
}

// read reads some index packs and keeps what is not dropped of them.
func (r *replacing) read(ctx context.Context, ids []pack.ID) error {
	columns, errs := make([][]pack.Column, len(ids)), make([]error, len(ids))
	group := errgroup.Group{}
	for i, id := range ids {
		group.Go(func() error {
			columns[i], errs[i] = r.a.ReadSegment(ctx, id)
			return nil
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return err
	}
	for i, id := range ids {
		switch {
		case Unfinished(errs[i]):
			if err := r.o.Vanished(id); err != nil {
				return err
			}
			continue
		case errs[i] != nil:
			return fmt.Errorf("index segment %s: %w", id.Short(), errs[i])
		}
		r.gone = append(r.gone, id)
		for _, c := range columns[i] {
			if !r.o.Drop(&c) {
				r.keep = append(r.keep, c)
				r.blobs += len(c.Entries)
			}
		}
	}
	return nil
}

// turn publishes what is kept and removes what was read.
func (r *replacing) turn(ctx context.Context) error {
	gone, keep := r.gone, r.keep
	r.gone, r.keep, r.blobs = nil, nil, 0
	if len(gone) == 0 {
		return nil
	}
	if len(keep) > 0 {
		if err := r.m.Name(ctx, keep); err != nil {
			return err
		}
	}
	r.report.Published += len(keep)
	if r.o.Removing != nil {
		if err := r.o.Removing(ctx, gone); err != nil {
			return err
		}
	}
	locked := make([]bool, len(gone))
	var left atomic.Int64
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(smallRequests)
	for i, id := range gone {
		group.Go(func() (err error) {
			locked[i], err = r.remove(groupCtx, id, &left)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.report.Shards += int(left.Load())
	for i, id := range gone {
		if locked[i] {
			r.report.Locked[id] = true
		} else {
			r.report.Removed++
		}
	}
	return nil
}

// remove removes one index pack.
func (r *replacing) remove(ctx context.Context, id pack.ID, left *atomic.Int64) (locked bool, err error) {
	at, err := r.a.PlacementOf(ctx, id, chunk.Index)
	if Unfinished(err) {
		return false, nil // somebody else was faster
	}
	if err != nil {
		return false, fmt.Errorf("index segment %s: %w", id.Short(), err)
	}
	n, err := r.a.RemovePack(ctx, at, id, chunk.Index)
	left.Add(int64(n))
	if isLocked(err) {
		return true, nil
	}
	return false, err
}

// isLocked says whether a deletion failed because some member's object lock holds the object; then all of them may.
func isLocked(err error) bool {
	var few *stripe.TooFewError
	if errors.As(err, &few) {
		return slices.ContainsFunc(few.Causes, func(cause error) bool { return errors.Is(cause, remote.ErrLocked) })
	}
	return errors.Is(err, remote.ErrLocked)
}

// RemoveSegment removes an index pack. It says whether an object lock holds it.
func (a *Archive) RemoveSegment(ctx context.Context, id pack.ID) (locked bool, err error) {
	r := replacing{a: a}
	var left atomic.Int64
	return r.remove(ctx, id, &left)
}
