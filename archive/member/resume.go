package member

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// takeRecord reads what an interrupted run on this machine was at. One that is running is an error.
func (r *rewrite) takeRecord() error {
	rec, err := takeRecord(r.o.Dir)
	if errors.Is(err, errRunning) {
		return err
	}
	if err != nil {
		r.o.Notice(fmt.Sprintf("no record of this run can be kept (%v): if it is interrupted, up to %d packs are copied again", err, r.o.RoundPacks))
		return nil
	}
	r.rec = rec
	return nil
}

// resume takes up what an interrupted run was at.
func (r *rewrite) resume(ctx context.Context) error {
	if err := r.fillSegments(ctx); err != nil {
		return err
	}
	if !r.rec.begun() {
		return nil
	}
	if err := r.a.Refresh(ctx); err != nil { // a collector may have condemned what the interrupted run stored
		return err
	}
	if err := r.finishRemoval(ctx, r.rec); err != nil {
		return err
	}
	return r.findCopied(ctx, r.rec)
}

// fillSegments makes the missing shards of index packs in the current layout: one that an interrupted run was writing may name
// what this run is about to rely on.
func (r *rewrite) fillSegments(ctx context.Context) error {
	listed, err := r.shards(ctx, "index/")
	if err != nil {
		return err
	}
	for id := range r.seen {
		if p := listed[id]; p != nil && p.full(r.geom) {
			continue
		}
		at, err := r.a.PlacementOf(ctx, id, chunk.Index)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || at.Geometry != r.geom {
			continue
		}
		p, err := r.a.RepairPack(ctx, at, id, chunk.Index, archive.RepairOptions{})
		if err != nil {
			return err
		}
		if !p.Whole() {
			return remote.WithHint(fmt.Errorf("index pack %s lacks shards that cannot be made: packs in former layouts are kept", id.Short()),
				"run `cairn repair`, then `cairn member layout --resume`")
		}
	}
	return nil
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
		if kind != chunk.Index { // earlier versions removed packs without a gc record: those are left to a collector
			if condemned, err := r.a.Condemned(ctx, id); err != nil || !condemned {
				if err != nil {
					return err
				}
				continue
			}
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
			if c.Geometry == r.geom && slices.Contains(rec.Sessions, c.Session.ID.String()) {
				candidates[c.Pack] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	listed, err := r.shards(ctx, "binaries/")
	if err != nil {
		return err
	}
	r.copied, r.copiedTo = map[blobKey]struct{}{}, nil
	var columns []pack.Column
	for id, p := range listed {
		if _, named := r.named[id]; named && !candidates[id] { // somebody else's
			continue
		}
		condemned, err := r.a.Condemned(ctx, id)
		if err != nil {
			return err
		}
		if condemned { // a collector has taken the interrupted run for dead, and deletes it
			continue
		}
		if !p.full(r.geom) {
			if !candidates[id] {
				if err := r.removeTorn(ctx, id, chunk.Data, p, rec); err != nil {
					return err
				}
			}
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
	if len(columns) > 0 { // the interrupted run did not come to that
		if err := r.mover.Name(ctx, columns); err != nil {
			return err
		}
	}
	return r.removeTornSegments(ctx, rec)
}

// removeTornSegments removes index packs of the interrupted run that cannot be read.
func (r *rewrite) removeTornSegments(ctx context.Context, rec *record) error {
	listed, err := r.shards(ctx, "index/")
	if err != nil {
		return err
	}
	for id, p := range listed {
		if _, read := r.seen[id]; !read && p.shards < r.geom.K {
			if err := r.removeTorn(ctx, id, chunk.Index, p, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// listedPack is what the members of the current layout list of a pack.
type listedPack struct {
	shards int
	size   int64 // -1: they differ
	member int   // one that has a shard
}

// full says whether all members have a shard, equally long.
func (p *listedPack) full(g pack.Geometry) bool { return p.shards == g.N() && p.size >= 0 }

// shards lists the packs below a prefix on the members of the current layout.
func (r *rewrite) shards(ctx context.Context, prefix string) (map[pack.ID]*listedPack, error) {
	packs := map[pack.ID]*listedPack{}
	_, err := r.a.Set().ListEach(ctx, prefix, func(member int, info remote.Info) error {
		id, _, ok := pack.ParseName(info.Name)
		if !ok {
			return nil
		}
		p := packs[id]
		if p == nil {
			p = &listedPack{size: info.Size, member: member}
			packs[id] = p
		}
		if p.shards++; p.size != info.Size {
			p.size = -1
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	return packs, nil
}

// removeTorn removes a pack that the interrupted run did not get onto all members, and that nothing names: its process is dead
// (the record's lock was free), so nobody will name it.
func (r *rewrite) removeTorn(ctx context.Context, id pack.ID, kind chunk.Type, p *listedPack, rec *record) error {
	b, err := r.a.Set().Members()[p.member].Store.Get(ctx, id.Name(kind), -pack.HeaderSize, 0, nil)
	if err != nil {
		return ctx.Err()
	}
	h, err := pack.ParseHeader(b)
	if err != nil || h.ID != id || !r.dead(h, rec) {
		return nil
	}
	if kind != chunk.Index && p.shards >= r.geom.K { // it can be read, so `repair --index` may name it at any moment: not without a record
		r.packs[id] = &oldPack{kind: kind, at: r.a.Placements()[0], bare: true}
		r.torn = append(r.torn, id)
		return nil
	}
	_, err = r.a.RemovePack(ctx, r.a.Placements()[0], id, kind)
	return err
}

// dead says whether a pack is one of the interrupted run's.
func (r *rewrite) dead(h *pack.Header, rec *record) bool {
	return h.Geometry == r.geom && slices.Contains(rec.Sessions, h.Session.ID.String()) && h.Signature.Signer == r.a.Keys().Signer() &&
		h.VerifySignature(r.a.Keys()) == nil
}

// own notes the blobs of a pack if it is one of the interrupted round's. Otherwise it returns nothing.
func (r *rewrite) own(ctx context.Context, id pack.ID, rec *record) ([]*pack.Column, error) {
	whole, err := r.a.ReadPackAt(ctx, r.a.Placements()[0], id, chunk.Data)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil || len(whole.Bad) > 0 || !r.dead(whole.Header, rec) {
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
	r.copiedTo = append(r.copiedTo, id)
	return columns, nil
}
