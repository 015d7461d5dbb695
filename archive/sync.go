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
	"cairn/remote/stripe"
)

// staleAfter bounds how often a tree that is not in the index makes the archive's index be listed again: in an archive
// with lost segments a walk may miss thousands, one after the other, and a listing costs a request or more each.
const staleAfter = 2 * time.Second

// syncState is what is known of the archive's segments beside the index; indexMu guards it.
type syncState struct {
	at         time.Time
	stale      bool              // a snapshot was read since: its segments may be newer
	bad        map[pack.ID]error // segments that are listed and cannot be read
	torn       map[pack.ID]bool  // segments with fewer than k shards: on their way when they were listed, or left by somebody
	generation int               // of the gc records that the index knows
	held       int               // by how many callers of HoldIndex
}

// Index opens the local index on first use and brings it up to date with the archive.
func (a *Archive) Index(ctx context.Context) (Index, error) {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	return a.openIndex(ctx)
}

// openIndex is Index for callers that hold indexMu.
func (a *Archive) openIndex(ctx context.Context) (Index, error) {
	if a.index != nil {
		return a.index, nil
	}
	idx, err := a.newIndex()
	if err != nil {
		return nil, err
	}
	if err := a.sync(ctx, idx, a.readRecordsLately); err != nil {
		return nil, errors.Join(err, idx.Close())
	}
	a.index = idx
	return idx, nil
}

// newIndex opens the local index as it is, without asking the members what is in it.
func (a *Archive) newIndex() (Index, error) {
	if a.keys == nil {
		return nil, ErrNoKey
	}
	if a.opts.OpenIndex == nil {
		return nil, errors.New("the archive was opened without a local index")
	}
	opened, err := a.opts.OpenIndex(a.id)
	if err != nil {
		return nil, err
	}
	return &renewable{a: a, inner: opened}, nil
}

// Refresh reads what other writers have published since the index was opened.
func (a *Archive) Refresh(ctx context.Context) error {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	idx, err := a.openIndex(ctx)
	if err != nil {
		return err
	}
	return a.sync(ctx, idx, a.readRecords)
}

// refreshStale is Refresh, unless that was done just now and no snapshot was read since.
func (a *Archive) refreshStale(ctx context.Context) error {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	idx, err := a.openIndex(ctx)
	if err != nil || (!a.synced.stale && time.Since(a.synced.at) < staleAfter) {
		return err
	}
	return a.sync(ctx, idx, a.readRecordsLately)
}

// sawSnapshot notes that a snapshot was read, which may need newer segments than the index has.
func (a *Archive) sawSnapshot() {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	a.synced.stale = true
}

// maxListings bounds how often sync lists the segments because some vanished.
const maxListings = 5

// sync reads the gc records, and then the segments that the index does not know. In this order: a record that is not there yet condemns
// only what its collector will not remove from the index before it has listed the snapshots once more. What only segments named
// that are gone from the archive is taken back at the end: the index must never know more than the archive.
//
// A listing is not of one moment: while it is made, somebody may publish a segment where it has been and then remove the one
// that this replaces where it has not. So when one is gone that was there before, or that was listed just now, the segments are listed
// again: what replaced it was published before.
func (a *Archive) sync(ctx context.Context, idx Index, records func(context.Context) error) error {
	a.synced.stale = false
	if err := records(ctx); err != nil {
		return err
	}
	if err := a.condemn(idx); err != nil {
		return err
	}
	var listed map[pack.ID]struct{}
	gone := map[pack.ID]bool{}
	for range maxListings {
		var err error
		if listed, err = a.listSegments(ctx); err != nil {
			return err
		}
		if a.opts.Salvage {
			a.synced.at = time.Now()
			return a.syncSalvaged(ctx, idx, listed)
		}
		now, err := a.goneSegments(idx, listed)
		if err != nil {
			return err
		}
		again, err := a.applyListed(ctx, idx, listed)
		if err != nil {
			return err
		}
		for id := range now {
			again = again || !gone[id]
		}
		if gone = now; !again {
			break
		}
	}
	if err := a.stillUnread(idx, listed); err != nil {
		return err
	}
	for id := range gone { // what they named is named by others now, or was collected
		if err := idx.Retire(id); err != nil {
			return err
		}
	}
	a.synced.at = time.Now()
	if len(gone) > 0 {
		return a.shrink(ctx, idx, listed)
	}
	return nil
}

// HoldIndex keeps the index from being made anew because it is wasteful, until release is called: for who holds numbers of blobs.
func (a *Archive) HoldIndex() (release func()) {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	a.synced.held++
	return func() {
		a.indexMu.Lock()
		defer a.indexMu.Unlock()
		a.synced.held--
	}
}

// shrink makes an index anew of which most was collected.
func (a *Archive) shrink(ctx context.Context, idx Index, listed map[pack.ID]struct{}) error {
	if a.synced.held > 0 {
		return nil
	}
	if wasteful, err := idx.Wasteful(); err != nil || !wasteful {
		return err
	}
	a.opts.Notice("most of the local index was pruned from the archive: it is made anew")
	if err := idx.Drop(); err != nil {
		return err
	}
	if err := a.condemn(idx); err != nil {
		return err
	}
	torn, err := a.applyListed(ctx, idx, listed)
	a.synced.stale = torn // what replaced it is read with the next refresh
	return err
}

// applyListed applies the segments that the index does not know, and says whether one of them was gone.
func (a *Archive) applyListed(ctx context.Context, idx Index, listed map[pack.ID]struct{}) (gone bool, err error) {
	for id := range listed {
		done, err := idx.Applied(id)
		if err != nil {
			return false, err
		}
		if done {
			continue
		}
		// A condemned one names nothing that others do not, and may be rotten.
		if condemned, err := idx.Condemned(id); err != nil {
			return false, err
		} else if condemned {
			continue
		}
		torn, err := a.applySegment(ctx, idx, id)
		if err != nil {
			return false, err
		}
		gone = gone || torn
	}
	return gone, nil
}

// goneSegments returns the applied segments that are not listed any more. An index that was filled from directories is emptied.
func (a *Archive) goneSegments(idx Index, listed map[pack.ID]struct{}) (map[pack.ID]bool, error) {
	gone := map[pack.ID]bool{}
	for id, err := range idx.Segments() {
		if err != nil {
			return nil, err
		}
		if _, ok := listed[id]; ok {
			continue
		}
		if id != salvagedSegment {
			gone[id] = true
			continue
		}
		if err := idx.Drop(); err != nil {
			return nil, err
		}
		return nil, a.condemn(idx)
	}
	return gone, nil
}

// listSegments lists the index packs, and remembers which seem to lack shards.
func (a *Archive) listSegments(ctx context.Context) (map[pack.ID]struct{}, error) {
	listed := map[pack.ID]struct{}{}
	seen := &lacking{objects: map[string]memberMask{}, total: -1}
	errs, err := a.ListPacks(ctx, indexPrefix, func(p *PackListing) error {
		listed[p.Pack] = struct{}{}
		if on := p.on(); !a.fullSomewhere(on) {
			seen.objects[p.Pack.Name(chunk.Index)] = on
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	seen.note(errs)
	a.listings.put(indexPrefix, seen)
	return listed, nil
}

// fullSomewhere says whether the members that have a pack are all those of a layout, and no others: then it has that layout and
// lacks nothing, unless it lost exactly the shards on the other members. `cairn repair` looks closer.
func (a *Archive) fullSomewhere(on memberMask) bool {
	return slices.Contains(a.masks, on)
}

// applySegment reads a segment into the index. One that is damaged is told of once and costs what it names, not the
// command: other segments may be all that is needed. It says whether too few shards of it are there, for the first time: it may have been
// removed since it was listed.
func (a *Archive) applySegment(ctx context.Context, idx Index, id pack.ID) (torn bool, err error) {
	columns, err := a.ReadSegment(ctx, id)
	if err == nil {
		delete(a.synced.bad, id)
		return false, a.apply(idx, id, columns)
	}
	if a.hopeless(ctx, err) {
		return false, err
	}
	if Unfinished(err) {
		before := a.synced.torn[id]
		if a.synced.torn == nil {
			a.synced.torn = map[pack.ID]bool{}
		}
		a.synced.torn[id] = true
		return !before, nil
	}
	a.unread(id, err)
	return false, nil
}

// hopeless says whether an error of ReadPack is about all packs: more than m members do not answer. A pack that was
// stored while a member was away may lack shards although enough members are there; others do not.
func (a *Archive) hopeless(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return err != nil
	}
	var few *stripe.TooFewError
	if a.opts.Salvage || !errors.As(err, &few) {
		return false
	}
	for _, p := range a.placements {
		if p.Geometry.K == few.Need && len(few.Missing) <= p.Geometry.M {
			return false
		}
	}
	return true
}

// apply puts a segment into the index. When the index refuses it, because a column contradicts what another segment says of
// the same pack, only that pack is left out: one wrong segment must not hide what others name.
func (a *Archive) apply(idx Index, id pack.ID, columns []pack.Column) error {
	for told := false; ; told = true {
		err := idx.Apply(id, columns)
		var clash interface{ ConflictingPack() pack.ID }
		if err == nil || !errors.As(err, &clash) {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(columns), func(c pack.Column) bool { return c.Pack == clash.ConflictingPack() })
		if len(rest) == len(columns) {
			return err
		}
		columns = rest
		if !told {
			a.opts.Notice(fmt.Sprintf("index segment %s: left out in part: %v", id.Short(), err))
		}
	}
}

// Unfinished says whether an error of ReadPack means that too few shards exist at all, and what exists is good: an upload
// that was cut short, to which nothing was ever entrusted, or a pack that is just being stored or removed.
func Unfinished(err error) bool {
	var d *PackDamage
	if !errors.As(err, &d) {
		return false
	}
	return !slices.ContainsFunc(d.Bad, func(b ShardDamage) bool { return !errors.Is(b.Err, remote.ErrNotExist) })
}

// ReadSegment reads one index pack whole, from any k of its shards, and returns the columns that it describes.
func (a *Archive) ReadSegment(ctx context.Context, id pack.ID) ([]pack.Column, error) {
	if a.keys == nil {
		return nil, ErrNoKey
	}
	shards, err := a.ReadPack(ctx, id, chunk.Index)
	if err != nil {
		return nil, err
	}
	var all []pack.Column
	for c := range shards.Header.Geometry.K {
		columns, err := a.segmentColumns(shards.Header, c, shards.Payload(c))
		if err != nil {
			return nil, err
		}
		all = append(all, columns...)
	}
	return all, nil
}

// Packs lists the packs below a prefix ("binaries/" or "index/"), each once, whichever members have shards of it.
func (a *Archive) Packs(ctx context.Context, prefix string) func(yield func(pack.ID, error) bool) {
	return func(yield func(pack.ID, error) bool) {
		for info, err := range a.all.List(ctx, prefix) {
			if err != nil {
				yield(pack.ID{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if id, _, ok := pack.ParseName(info.Name); ok && !yield(id, nil) {
				return
			}
		}
	}
}
