package member

import (
	"context"
	"errors"
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

// errOther ends a run beside which another one changes the layout.
var errOther = remote.WithHint(errors.New("index segments vanish under this run: another one changes the layout, too"),
	"let one of them finish; then `cairn member layout --resume` finishes what is left")

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
			replaced, err := r.mover.ReplaceSegments(ctx, gone, archive.ReplaceOptions{Drop: r.isMoved, Vanished: func(pack.ID) error { return errOther }, Removing: r.removing})
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

// removing is called between the publication of what is kept and the removal. Two runs at once: each publishes
// before it looks whether the segments are still there, and looks for new ones after it removed some. So of two that
// replace the same segment one sees it vanish and stops before it removes a pack, or the other sees what it published.
func (r *rewrite) removing(ctx context.Context, gone []pack.ID) error {
	listed, err := r.listed(ctx)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if _, ok := listed[id]; !ok {
			return errOther
		}
	}
	r.noteRemoval(gone)
	return nil
}

// noteRemoval records what is about to be removed: the index packs, and the packs that were moved.
func (r *rewrite) noteRemoval(gone []pack.ID) {
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
			delete(r.packs, id)
			r.report.Packs++
		}
	}
	return nil
}

// countUnnamed counts the packs of former layouts that no segment names: just being written by somebody, or left by a crash.
func (r *rewrite) countUnnamed(ctx context.Context) error {
	if len(r.a.Placements()) == 1 {
		return nil
	}
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
		if err == nil && p.Geometry != r.geom {
			r.report.Unnamed++
		}
	}
	return nil
}
