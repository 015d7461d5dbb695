package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/chunk"
	"cairn/pack"
)

// salvagedSegment marks a local index that knows more than the archive's segments say, because fewer than k members were there
// and it was filled from directories. No such segment exists in any archive, so the first command that is no salvage finds that it is
// gone and makes the index anew: no backup comes to depend on what was only salvaged. It concerns this machine's cache only
// and is no wire format.
var salvagedSegment = pack.ID(chunk.Sum([]byte("cairn: local index filled from directories")))

// local empties the local index and fills it (see fill).
func (r *rebuild) local(ctx context.Context) error {
	r.a.indexMu.Lock()
	defer r.a.indexMu.Unlock()
	if r.a.index == nil {
		idx, err := r.a.newIndex()
		if err != nil {
			return err
		}
		r.a.index = idx
	}
	return r.fill(ctx, r.a.index)
}

// fill fills the local index with all that can be found out from fewer than k members, and writes nothing to them. Of a blob that is in
// several packs the index remembers the place that it was told last, so columns that are lost come first: they only
// tell how long the blobs are that are missing. The caller holds indexMu.
func (r *rebuild) fill(ctx context.Context, idx Index) error {
	r.idx = idx
	if !r.o.DryRun {
		if err := idx.Drop(); err != nil {
			return err
		}
	}
	shards := map[pack.ID][]int{} // on which members there are some
	_, err := r.a.ListPacks(ctx, packPrefix, func(p *PackListing) error {
		for _, s := range p.Shards {
			if s.Size > 0 {
				shards[p.Pack] = append(shards[p.Pack], s.Member)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list packs: %w", err)
	}
	for _, lost := range []bool{true, false} {
		if err := r.segmentParts(ctx, shards, lost); err != nil {
			return err
		}
	}
	return r.unnamed(ctx)
}

// syncSalvaged is sync for Options.Salvage. Nothing is forgotten because a segment is not there. If there are segments that
// the index does not know and that cannot be read, it is filled from what can.
func (a *Archive) syncSalvaged(ctx context.Context, idx Index, listed map[pack.ID]struct{}) error {
	for id := range listed {
		done, err := idx.Applied(id)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		columns, err := a.ReadSegment(ctx, id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if err := a.apply(idx, id, columns); err != nil {
				return err
			}
			continue
		case Unfinished(err) && !tooFew(err):
			continue
		}
		a.opts.Notice("not all index segments can be read: the index is filled from the directories of the packs that are there")
		r := newRebuild(a, RebuildOptions{Local: true})
		err = r.fill(ctx, idx)
		for _, d := range r.report.Damaged {
			a.opts.Notice(d.Error())
		}
		return err
	}
	return nil
}

// segmentParts applies what can be read of the segments: in the first round the columns that are lost, in the second those
// of packs that are not. Of the others, the columns that survive of packs with too few shards, the directories tell.
func (r *rebuild) segmentParts(ctx context.Context, shards map[pack.ID][]int, lost bool) error {
	for id, err := range r.a.Packs(ctx, "index/") {
		if err != nil {
			return err
		}
		columns, whole, err := r.a.readSegmentParts(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if lost {
			switch {
			case whole:
				r.report.Segments++
			case len(columns) > 0:
				r.report.Partial++
			}
			if err != nil && !tooFew(err) && !Unfinished(err) {
				r.damaged(fmt.Errorf("index segment %s: %w", id.Short(), err))
			}
		}
		var round []pack.Column
		for _, c := range columns {
			at, ok := r.a.placement(c.Geometry)
			if !ok {
				continue
			}
			on := shards[c.Pack]
			whole, own := len(on) >= c.K, slices.Contains(on, r.a.memberIndex(at, c.Pack, c.Number))
			switch {
			case lost && !whole && !own:
				round = append(round, c)
			case !lost && whole:
				round = append(round, c)
				r.known[columnKey{c.Pack, c.Number}] = struct{}{}
			}
		}
		if r.o.DryRun {
			continue
		}
		if err := r.a.apply(r.idx, salvagedSegment, round); err != nil {
			return err
		}
		if err := r.idx.Apply(id, nil); err != nil { // nobody needs to try it again
			return err
		}
	}
	return nil
}

// readSegmentParts is ReadSegment that does with the data columns that are there.
func (a *Archive) readSegmentParts(ctx context.Context, id pack.ID) (columns []pack.Column, whole bool, err error) {
	columns, err = a.ReadSegment(ctx, id)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoKey) {
		return columns, err == nil, err
	}
	at, placeErr := a.PlacementOf(ctx, id, chunk.Index)
	if placeErr != nil {
		return nil, false, placeErr
	}
	for c := range at.Geometry.K {
		r := a.readShard(ctx, at, id, chunk.Index, c)
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if r.object == nil {
			continue
		}
		part, partErr := a.segmentColumns(r.header, c, r.object[pack.HeaderSize:][:r.header.L])
		if partErr != nil {
			return columns, false, partErr
		}
		columns = append(columns, part...)
	}
	return columns, false, err
}

// segmentColumns opens the segments in one data column of an index pack.
func (a *Archive) segmentColumns(h *pack.Header, number int, payload []byte) ([]pack.Column, error) {
	if err := h.VerifySignature(a.keys); err != nil {
		return nil, err
	}
	column, err := pack.OpenDirectory(a.keys, h, number, payload[len(payload)-int(h.DirLen[number]):])
	if err != nil {
		return nil, err
	}
	session := a.keys.IndexSession(h.Session.ID)
	var all []pack.Column
	for _, e := range column.Entries {
		plain, err := session.Open(nil, column.Blob(e), payload[e.Offset:e.Offset+e.Stored])
		if err != nil {
			return nil, err
		}
		columns, err := pack.DecodeSegment(plain)
		if err != nil {
			return nil, err
		}
		all = append(all, columns...)
	}
	return all, nil
}

// Salvages says whether reads go on with too few members (Options.Salvage).
func (a *Archive) Salvages() bool { return a.opts.Salvage }

// Locate says what the local index knows of blobs, without asking the members again: out[i].Found() is false for those
// that it does not know. A location is a claim.
func (a *Archive) Locate(ctx context.Context, t chunk.Type, ids []chunk.ID, out []pack.Location) error {
	idx, err := a.Index(ctx)
	if err != nil {
		return err
	}
	for i := range out {
		out[i] = pack.Location{}
	}
	return idx.Lookup(t, ids, out)
}
