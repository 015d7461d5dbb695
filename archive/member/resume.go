package member

import (
	"context"
	"fmt"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// resume takes up what an interrupted run on this machine was at.
func (r *rewrite) resume(ctx context.Context) error {
	rec, err := takeRecord(r.o.Dir)
	if err != nil {
		r.o.Notice(fmt.Sprintf("no record of this run can be kept (%v): if it is interrupted, up to %d packs are copied again", err, r.o.RoundPacks))
		return nil
	}
	r.rec = rec
	if rec.Session == "" {
		return nil
	}
	if err := r.finishRemoval(ctx, rec); err != nil {
		return err
	}
	return r.findCopied(ctx, rec)
}

// finishRemoval removes the rest of what the interrupted run was removing: it was noted only when everything in it was
// published elsewhere. What a segment names all the same is moved again instead.
func (r *rewrite) finishRemoval(ctx context.Context, rec *record) error {
	for _, p := range rec.Removing {
		id, err := pack.ParseID(p.ID)
		if err != nil {
			continue
		}
		kind := chunk.Type(p.Kind)
		at, ok := r.at(p.Epoch)
		_, named := r.named[id]
		if kind == chunk.Index { // it is about itself that this asks: whether it can still be read, and so may be all that names something
			_, named = r.seen[id]
		}
		if !ok || named {
			continue
		}
		left, err := r.a.RemovePack(ctx, at, id, kind)
		if err != nil {
			return err
		}
		r.report.Shards += left
	}
	return nil
}

func (r *rewrite) at(epoch uint16) (archive.Placement, bool) {
	for _, p := range r.a.Placements() {
		if p.Geometry.Epoch == epoch {
			return p, true
		}
	}
	return archive.Placement{}, false
}

// blobKey tells copies of a blob apart that were sealed differently.
type blobKey struct {
	kind    chunk.Type
	id      chunk.ID
	session string // with its wraps
	stored  uint32
}

func keyOf(c *pack.Column, e pack.Entry) blobKey {
	s := c.SessionOf(e)
	return blobKey{c.Kind, e.ID, string(s.ID[:]) + string(s.Wrap.Root), e.Stored}
}

// findCopied finds the blobs that the interrupted round had stored, so that they are not stored twice: those in packs of its session,
// whether a segment names them already or not. The packs are read whole: what is left out now is removed where it was, so
// nobody's word counts for it but a pack with all its shards that proves itself and bears this archive's own signature.
// Memory: about 150 bytes for each blob of one round.
func (r *rewrite) findCopied(ctx context.Context, rec *record) error {
	candidates := map[pack.ID]bool{} // whether a segment names it
	err := r.a.ReadSegments(ctx, func(_ pack.ID, columns []pack.Column, err error) error {
		for _, c := range columns {
			if c.Geometry == r.geom && c.Session.ID.String() == rec.Session {
				candidates[c.Pack] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	full, err := r.full(ctx)
	if err != nil {
		return err
	}
	r.copied = map[blobKey]struct{}{}
	var columns []pack.Column
	for id := range full {
		if _, named := r.named[id]; named && !candidates[id] {
			continue
		}
		list, err := r.own(ctx, id, rec)
		if err != nil {
			return err
		}
		for _, c := range list {
			if len(c.Entries) > 0 && !candidates[id] {
				columns = append(columns, *c)
			}
		}
	}
	if len(columns) == 0 {
		return nil
	}
	return r.mover.Name(ctx, columns) // the interrupted run did not come to that
}

// full lists the packs of which all members of the current layout have a shard, equally long.
func (r *rewrite) full(ctx context.Context) (map[pack.ID]struct{}, error) {
	shards, sizes := map[pack.ID]int{}, map[pack.ID]int64{}
	_, err := r.a.Set().ListEach(ctx, "binaries/", func(_ int, info remote.Info) error {
		id, _, ok := pack.ParseName(info.Name)
		if !ok {
			return nil
		}
		if shards[id]++; shards[id] > 1 && sizes[id] != info.Size {
			sizes[id] = -1
		} else {
			sizes[id] = info.Size
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	full := map[pack.ID]struct{}{}
	for id, n := range shards {
		if n == r.geom.N() && sizes[id] >= 0 {
			full[id] = struct{}{}
		}
	}
	return full, nil
}

// own notes the blobs of a pack if it is one of the interrupted round's. Otherwise it returns nothing.
func (r *rewrite) own(ctx context.Context, id pack.ID, rec *record) ([]*pack.Column, error) {
	whole, err := r.a.ReadPackAt(ctx, r.a.Placements()[0], id, chunk.Data)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil || len(whole.Bad) > 0 || whole.Header.Session.ID.String() != rec.Session || whole.Header.Signature.Signer != r.a.Keys().Signer() {
		return nil, nil
	}
	columns, err := r.directories(readAhead{id, whole, nil})
	if err != nil {
		return nil, nil
	}
	for _, c := range columns {
		for _, e := range c.Entries {
			r.copied[keyOf(c, e)] = struct{}{}
		}
	}
	return columns, nil
}
