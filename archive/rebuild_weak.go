package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// onTheirWay is how long a pack may take from its first shard to its last, or to be deleted, before what it lacks is lost.
const onTheirWay = time.Second

// maxAgain bounds the directories that are read twice: when there are many, they are not on their way.
const maxAgain = 64

// again reads the directories once more that could not be read: their packs may have been on their way, or just being deleted. Who deletes
// them has condemned them before.
func (r *rebuild) again(ctx context.Context) error {
	r.last = true
	if len(r.doubts) == 0 || r.o.Local {
		return nil
	}
	timer := time.NewTimer(onTheirWay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.a.readRecords(ctx); err != nil {
		return err
	}
	for _, key := range r.doubts {
		if is, err := r.a.Condemned(ctx, key.pack); err != nil {
			return err
		} else if is {
			continue
		}
		at, err := r.a.PlacementOf(ctx, key.pack, chunk.Data)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.damaged(err)
			continue
		}
		if _, err := r.column(ctx, at, key, at.Geometry.K); err != nil {
			return err
		}
	}
	return nil
}

// lostDirectory tells of a directory that cannot be read, when it was tried twice. That a member that is not there takes its columns of packs with
// too few shards with it goes without saying when fewer than k are there.
func (r *rebuild) lostDirectory(key columnKey, shards int, g pack.Geometry, err error) {
	if r.o.Local && shards < g.K && (tooFew(err) || errors.Is(err, remote.ErrNotExist)) {
		return
	}
	var damage *PackDamage
	if r.last && errors.As(err, &damage) && damage.Good == 0 && Unfinished(err) {
		return // nothing is left of the pack
	}
	if !r.o.Local && errors.Is(err, remote.ErrNotExist) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.last && len(r.doubts) < maxAgain {
			r.doubts = append(r.doubts, key)
			return
		}
		r.report.Damaged = append(r.report.Damaged, fmt.Errorf("directory %d of pack %s: %w", key.column, key.pack.Short(), err))
		return
	}
	r.damaged(fmt.Errorf("directory %d of pack %s: %w", key.column, key.pack.Short(), err))
}

// rescue stores anew what packs with fewer than k shards hold and nothing else does. Mostly they were left by an upload that
// failed and was made again later, and then there is nothing to do.
func (r *rebuild) rescue(ctx context.Context) error {
	for _, key := range r.weak {
		if err := r.rescueColumn(ctx, key); err != nil {
			return err
		}
	}
	if r.w == nil || r.report.Restored == 0 {
		return nil
	}
	return r.w.Flush(ctx)
}

func (r *rebuild) rescueColumn(ctx context.Context, key columnKey) error {
	c, err := r.a.ReadDirectory(ctx, key.pack, key.column)
	if is, condErr := r.a.Condemned(ctx, key.pack); condErr != nil || is { // meanwhile
		return condErr
	}
	if err != nil {
		if ctx.Err() == nil {
			r.damaged(fmt.Errorf("directory %d of pack %s: %w", key.column, key.pack.Short(), err))
		}
		return ctx.Err()
	}
	has := make([]bool, len(c.Entries))
	if err := r.a.Has(ctx, c.Kind, entryIDs(*c), has); err != nil || !slices.Contains(has, false) {
		return err
	}
	r.report.Weak++
	switch {
	case r.o.DryRun:
		return nil
	case !r.a.keys.CanRead(): // a writer cannot open what it would have to seal again
		r.damaged(fmt.Errorf("pack %s has fewer than %d shards: column %d is named for what can still be read of it", c.Pack.Short(), c.K, c.Number))
		r.take(c, false)
		return r.publish(ctx, 0)
	}
	return r.restore(ctx, c)
}

// restore saves the blobs of a column that its shard still gives, one read at a time: there are few of these packs.
func (r *rebuild) restore(ctx context.Context, c *pack.Column) error {
	o := object(c.Pack, c.Kind, c.Geometry, c.L)
	for _, e := range c.Entries {
		session, err := r.a.session(c.SessionOf(e))
		var plain []byte
		if err == nil {
			var sealed []byte
			if sealed, err = r.a.setOf(c.Geometry).Read(ctx, o, c.Number, int64(e.Offset), int64(e.Stored), nil, nil); err == nil {
				plain, err = session.Open(nil, c.Blob(e), sealed)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.damaged(fmt.Errorf("%s blob %s in pack %s: %w", c.Kind, e.ID.Short(), c.Pack.Short(), err))
			continue
		}
		saved, err := r.w.Save(ctx, c.Kind, plain)
		if err != nil {
			return err
		}
		if saved.New {
			r.report.Restored++
		}
	}
	return nil
}
