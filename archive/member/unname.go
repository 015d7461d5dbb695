package member

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// smallRequests is how many requests without much content are under way at once.
const smallRequests = 8

// unname replaces all index packs that name a moved pack, or lie in a former layout without naming one, until a listing
// shows none. What they name beside that is published again first.
func (r *rewrite) unname(ctx context.Context) error {
	for {
		var gone []pack.ID
		for _, id := range sorted(r.segments) {
			if r.replaceable(r.segments[id]) {
				gone = append(gone, id)
			}
		}
		if len(gone) > 0 {
			replaced, err := r.mover.ReplaceSegments(ctx, gone, archive.ReplaceOptions{
				Drop:     r.isMoved,
				Vanished: func(pack.ID) error { return nil }, // whoever replaced it has published what it named
				Removing: r.noteRemoval,
			})
			r.report.Segments += replaced.Removed
			r.report.Shards += replaced.Shards
			if err != nil {
				return err
			}
			if len(replaced.Locked) > 0 {
				return fmt.Errorf("remove index segments of a former layout: %w", remote.ErrLocked)
			}
			for _, id := range gone {
				delete(r.segments, id)
			}
		}
		fresh, err := r.relist(ctx)
		if err != nil {
			return err
		}
		if len(gone) == 0 && fresh == 0 {
			return nil
		}
	}
}

func (r *rewrite) isMoved(c *pack.Column) bool {
	_, moved := r.moved[c.Pack]
	return moved
}

// replaceable says whether an index pack has to go: it names what was moved, or it is in a former layout and keeps nothing
// there.
func (r *rewrite) replaceable(s *segment) bool {
	if len(s.packs) == 0 {
		return true
	}
	return slices.ContainsFunc(s.packs, func(id pack.ID) bool { _, ok := r.moved[id]; return ok })
}

// noteRemoval records what is about to be removed: the index packs, and the packs that were moved, whose copies were live after all members had
// the record that condemns them.
func (r *rewrite) noteRemoval(_ context.Context, gone []pack.ID) error {
	var list []recordPack
	for _, id := range gone {
		list = append(list, recordOf(id, chunk.Index, r.segments[id].at.Geometry.Epoch))
	}
	for id, p := range r.packs {
		if _, ok := r.moved[id]; ok {
			list = append(list, recordOf(id, p.kind, p.at.Geometry.Epoch))
		}
	}
	if err := r.rec.removing(list...); err != nil {
		r.o.Notice(err.Error())
	}
	return nil
}

func (r *rewrite) listed(ctx context.Context) (map[pack.ID]struct{}, error) {
	listed := map[pack.ID]struct{}{}
	for id, err := range r.a.Packs(ctx, "index/") {
		if err != nil {
			return nil, err
		}
		listed[id] = struct{}{}
	}
	return listed, nil
}

// relist reads the segments that were published meanwhile, and says how many of them name something in a former layout.
func (r *rewrite) relist(ctx context.Context) (fresh int, err error) {
	listed, err := r.listed(ctx)
	if err != nil {
		return 0, err
	}
	before := len(r.segments)
	for id := range listed {
		if _, ok := r.seen[id]; ok {
			continue
		}
		columns, err := r.a.ReadSegment(ctx, id)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err := r.survey(ctx, id, columns, err); err != nil {
			return 0, err
		}
	}
	return len(r.segments) - before, nil
}

// removePacks removes the moved packs of a batch; nothing names them any more.
func (r *rewrite) removePacks(ctx context.Context, batch []pack.ID) error {
	var left atomic.Int64
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(smallRequests)
	for _, id := range batch {
		p := r.packs[id]
		if _, ok := r.moved[id]; !ok || groupCtx.Err() != nil {
			continue
		}
		group.Go(func() error {
			n, err := r.a.RemovePack(groupCtx, p.at, id, p.kind)
			left.Add(int64(n))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.report.Shards += int(left.Load())
	for _, id := range batch {
		if _, ok := r.moved[id]; ok {
			if !r.packs[id].bare {
				r.report.Packs++
			}
			delete(r.packs, id)
		}
	}
	return nil
}

// removeUnnamed looks for packs of former layouts that no segment names. Those that are condemned are removed, in a round of their own: whoever
// took them out of the index had looked whether what is needed has another copy, and whoever names one later looks at the records
// after that. The others are just being written by somebody, or left by a crash, and are counted.
func (r *rewrite) removeUnnamed(ctx context.Context) error {
	if len(r.a.Placements()) == 1 {
		return nil
	}
	bare := r.torn
	for id, err := range r.a.Packs(ctx, "binaries/") {
		if err != nil {
			return err
		}
		if _, ok := r.named[id]; ok {
			continue
		}
		if _, ok := r.moved[id]; ok {
			continue
		}
		p, err := r.a.PlacementOf(ctx, id, chunk.Data)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || p.Geometry == r.geom {
			continue
		}
		condemned, err := r.a.Condemned(ctx, id)
		if err != nil {
			return err
		}
		if !condemned {
			r.report.Unnamed++
			continue
		}
		r.packs[id] = &oldPack{kind: chunk.Data, at: p, bare: true}
		bare = append(bare, id)
	}
	if len(bare) == 0 {
		return nil
	}
	return r.round(ctx, bare)
}
