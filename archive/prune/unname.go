package prune

import (
	"bytes"
	"context"
	"slices"

	"cairn/archive"
	"cairn/pack"
)

const (
	// smallSegment is what an index pack of fewer bytes in all its columns is merged with others of: about 12,000 blobs. A full one names 65,536.
	smallSegment = 512 << 10
	// segmentsFew small ones are left as they are: a client reads so many requests more when its cache is lost.
	segmentsFew = 8
)

// smallSegments lists the index packs that are to be merged, if there are enough of them.
func (g *Prune) smallSegments() []pack.ID {
	k := int64(g.a.Geometry().K)
	var list []pack.ID
	for id, l := range g.segments {
		if l.shards >= g.a.Geometry().K && (l.size-2*pack.HeaderSize)*k < smallSegment {
			list = append(list, id)
		}
	}
	if len(list) < segmentsFew {
		return nil
	}
	slices.SortFunc(list, func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// Unname replaces the index packs that name something which this collection condemned, and merges small ones, until a listing shows
// none. What else they name is named in new ones first. Nothing is left out but what this collection condemned itself: of what others
// condemn, they may not have copied yet what is needed.
func (g *Prune) Unname(ctx context.Context) (bool, error) {
	g.o.Progress.enter(Unnaming)
	merge := map[pack.ID]bool{}
	for _, id := range g.smallSegments() {
		merge[id] = true
	}
	tried := map[pack.ID]bool{}
	for {
		var gone []pack.ID
		for id, err := range g.idx.Segments() {
			if err != nil {
				return false, err
			}
			if tried[id] {
				continue
			}
			names, err := g.namesDoomed(id)
			if err != nil {
				return false, err
			}
			if names || merge[id] {
				tried[id] = true
				gone = append(gone, id)
			}
		}
		if len(gone) == 0 {
			return true, nil
		}
		replaced, err := g.mover.ReplaceSegments(ctx, gone, archive.ReplaceOptions{
			Drop:     func(c *pack.Column) bool { return g.doomed[c.Pack] },
			Vanished: func(pack.ID) error { return nil }, // another collector has published what it named
		})
		g.report.Segments += replaced.Removed
		g.report.LockedSegments += len(replaced.Locked)
		if err != nil {
			return false, err
		}
		if err := g.refresh(ctx); err != nil {
			return false, err
		}
	}
}

// namesDoomed says whether a segment names a pack that this collection condemned.
func (g *Prune) namesDoomed(segment pack.ID) (bool, error) {
	packs, err := g.idx.SegmentPacks(segment)
	return slices.ContainsFunc(packs, func(id pack.ID) bool { return g.doomed[id] }), err
}
