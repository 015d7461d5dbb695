package prune

import (
	"context"
	"maps"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

const (
	// smallSegment is what an index pack of fewer bytes in all its columns is merged with others of: about 12,000 blobs. A full one names 65,536.
	smallSegment = 512 << 10
	// segmentsFew small ones are left as they are: a client reads so many requests more when its cache is lost.
	segmentsFew = 8
)

// judgeSegments looks at the index packs that are condemned, and at those that lack shards and whose session is not at work. Those with too few were left by an upload that
// was stopped, name nothing, and are condemned; others were left by a collection that was stopped while it removed them, and are replaced.
func (g *Prune) judgeSegments(ctx context.Context) error {
	g.torn = nil
	most := 0
	for _, at := range g.a.Placements() {
		most = max(most, at.Geometry.N())
	}
	for id, l := range g.segments {
		// What a condemned one named is named elsewhere: by a collector that was stopped, or by `repair --index`, because it is rotten.
		if is, err := g.idx.Condemned(id); err != nil {
			return err
		} else if is {
			g.packs[id] = &packUse{id: id, kind: chunk.Index, state: condemned, shards: uint32(l.shards), listed: l.bytes}
			continue
		}
		if l.shards >= most {
			continue
		}
		h, err := g.a.PackHeader(ctx, id, chunk.Index)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		applied, appliedErr := g.idx.Applied(id)
		switch {
		case appliedErr != nil:
			return appliedErr
		case err != nil && (applied || len(g.atWork) > 0):
		case err == nil && (l.shards >= h.Geometry.N() || g.atWork[h.Session.ID]):
		case applied:
			g.torn = append(g.torn, id)
		case err != nil || l.shards < h.Geometry.K:
			g.packs[id] = &packUse{id: id, kind: chunk.Index, state: unnamed, shards: uint32(l.shards), listed: l.bytes}
		}
	}
	return nil
}

// tidied lists the index packs that are replaced whatever they name: those that lack shards and, if there are several of them, small ones.
func (g *Prune) tidied() []pack.ID {
	k := int64(g.a.Geometry().K)
	list := g.torn
	var small []pack.ID
	for id, l := range g.segments {
		if p := g.packs[id]; p == nil && !g.held[id] && (l.size-2*pack.HeaderSize)*k < smallSegment {
			small = append(small, id)
		}
	}
	if len(small) >= segmentsFew {
		list = slices.Concat(list, small)
	}
	return list
}

// Unname replaces the index packs that name something which this collection condemned, and merges small ones, until a listing shows
// none. What else they name is named in new ones first. Nothing is left out but what this collection condemned itself: of what others
// condemn, they may not have copied yet what is needed.
func (g *Prune) Unname(ctx context.Context) (bool, error) {
	g.o.Progress.enter(Unnaming)
	merge := map[pack.ID]bool{}
	for _, id := range g.tidied() {
		merge[id] = true
	}
	held, err := g.removeHeld(ctx, g.held)
	if err != nil {
		return false, err
	}
	tried := maps.Clone(held)
	for {
		var gone []pack.ID
		for id, err := range g.idx.Segments() {
			if err != nil {
				return false, err
			}
			if tried[id] || g.doomed[id] { // what is condemned itself is deleted, not replaced: it may be unreadable
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
			g.held, g.report.LockedSegments = held, len(held)
			return true, nil
		}
		replaced, err := g.mover.ReplaceSegments(ctx, gone, archive.ReplaceOptions{
			Drop:     func(c *pack.Column) bool { return g.doomed[c.Pack] },
			Vanished: func(pack.ID) error { return nil }, // another collector has published what it named
		})
		g.report.Segments += replaced.Removed
		maps.Copy(held, replaced.Locked)
		g.writeHeld(held)
		if err != nil {
			return false, g.unreadable(err)
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
