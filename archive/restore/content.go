package restore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
)

// content restores the content of the batch's files, and all of those that end in it. Unless it is the last batch, parts whose
// packs will be needed again are kept.
func (r *run) content(ctx context.Context, last bool) error {
	if err := r.files(ctx, last); err != nil {
		return err
	}
	b := &r.batch
	parts := b.parts[:0]
	b.blobs = 0
	for _, p := range b.parts {
		if !p.fetched && !p.f.settled() && !r.o.DryRun {
			parts = append(parts, p)
			b.blobs += len(p.ids)
		}
	}
	clear(b.parts[len(parts):])
	b.parts, b.kept = parts, len(parts)
	return nil
}

func (r *run) files(ctx context.Context, last bool) error {
	added := r.batch.parts[r.batch.kept:]
	if err := r.sizes(ctx, added); err != nil {
		return err
	}
	if err := r.each(ctx, added, r.prepare); err != nil || r.o.DryRun {
		return err
	}
	countPending(added)
	var green func(chunk.ID) bool
	if !last {
		green = r.batch.green()
	}
	for {
		places, ids := r.places()
		unripe, err := r.fetch(ctx, places, ids, green)
		if err != nil {
			return err
		}
		r.batch.hold(places, unripe)
		if !r.batch.holdsTooMuch() {
			break
		}
		green = nil
	}
	return r.each(ctx, r.batch.parts, r.complete)
}

func countPending(parts []*part) {
	for _, p := range parts {
		n := len(p.ids)
		if p.need != nil {
			n = 0
			for _, need := range p.need {
				if need {
					n++
				}
			}
		}
		p.f.pending += n
	}
}

// green tells the blobs of the last quarter of the batch: packs that hold many of them are likely to hold those of the next.
func (b *batch) green() func(chunk.ID) bool {
	green := make(map[chunk.ID]struct{}, b.blobs/4)
	n := 0
	for i := len(b.parts) - 1; i >= 0 && n < b.blobs/4; i-- {
		for _, id := range b.parts[i].ids {
			green[id] = struct{}{}
		}
		n += len(b.parts[i].ids)
	}
	return func(id chunk.ID) bool {
		_, ok := green[id]
		return ok
	}
}

// hold notes which blobs are still to be fetched.
func (b *batch) hold(places []place, ids []chunk.ID) {
	for _, p := range b.parts {
		p.fetched = true
	}
	slices.SortFunc(ids, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	held := func(pl *place) bool {
		_, ok := slices.BinarySearchFunc(ids, pl.id, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
		return ok
	}
	for i := range places {
		if held(&places[i]) {
			b.parts[places[i].part].fetched = false
		}
	}
	for i := range places {
		if p := b.parts[places[i].part]; !p.fetched {
			if p.need == nil {
				p.need = make([]bool, len(p.ids))
			}
			p.need[places[i].blob] = held(&places[i])
		}
	}
}

// holdsTooMuch says whether so much is kept that the next batch would be a small one.
func (b *batch) holdsTooMuch() bool {
	parts, blobs := 0, 0
	for _, p := range b.parts {
		if !p.fetched {
			parts++
			blobs += len(p.ids)
		}
	}
	return parts > b.maxEntries/2 || blobs > b.maxBlobs/2
}

// each calls do for every part that may still become something, several at once.
func (r *run) each(ctx context.Context, parts []*part, do func(context.Context, *part) error) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(r.o.Concurrency)
	for _, p := range parts {
		if p.f.settled() {
			continue
		}
		if inner.Err() != nil {
			break
		}
		g.Go(func() error { return do(inner, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (f *file) settled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done || f.err != nil
}

// sizes finds out how long the blobs are, all at once if possible, and whether they make up the files.
func (r *run) sizes(ctx context.Context, parts []*part) error {
	var ids []chunk.ID
	for _, p := range parts {
		ids = append(ids, p.ids...)
	}
	sizes := make([]uint32, len(ids))
	var all error
	if len(ids) > 0 {
		all = r.src.Sizes(ctx, chunk.Data, ids, sizes)
	}
	if all != nil && !lost(all) {
		return all
	}
	for _, p := range parts {
		p.sizes, sizes = sizes[:len(p.ids):len(p.ids)], sizes[len(p.ids):]
		if p.f.settled() {
			continue
		}
		if all != nil && len(p.ids) > 0 { // one is missing: find out in which files
			if err := r.src.Sizes(ctx, chunk.Data, p.ids, p.sizes); err != nil {
				if !lost(err) {
					return err
				}
				r.failFile(p.f, lossOf(err), err)
				continue
			}
		}
		if end := p.end(); end > p.f.layout.data || p.f.last && end != p.f.layout.data {
			r.failFile(p.f, Damaged, fmt.Errorf("%d of %d bytes: %w", end, p.f.layout.data, errLength))
		}
	}
	return nil
}

// place is where a blob has to be written.
type place struct {
	id   chunk.ID
	part int32 // in batch.parts
	blob int32 // in its ids
	off  uint64
}

// places lists what has to be fetched, by blob, and the distinct blobs.
func (r *run) places() ([]place, []chunk.ID) {
	var places []place
	for i, p := range r.batch.parts {
		if p.fetched || p.f.settled() {
			continue
		}
		off := p.start
		for j, id := range p.ids {
			if p.need == nil || p.need[j] {
				places = append(places, place{id, int32(i), int32(j), off})
			}
			off += uint64(p.sizes[j])
		}
	}
	slices.SortFunc(places, func(a, b place) int { return bytes.Compare(a.id[:], b.id[:]) })
	ids := make([]chunk.ID, 0, len(places))
	for i := range places {
		if i == 0 || places[i].id != places[i-1].id {
			ids = append(ids, places[i].id)
		}
	}
	return places, ids
}

// fetch gets the blobs and writes each to all its places, and returns those that it did not get because their packs will be needed
// again. Files of which a blob is lost stay pending.
func (r *run) fetch(ctx context.Context, places []place, ids []chunk.ID, green func(chunk.ID) bool) ([]chunk.ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	got := make([]bool, len(ids)) // each written by one call only
	unripe, err := r.src.FetchRipe(ctx, chunk.Data, ids, green, func(id chunk.ID, plain []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, ok := sort.Find(len(ids), func(i int) int { return bytes.Compare(id[:], ids[i][:]) }); ok {
			got[n] = true
		}
		from := sort.Search(len(places), func(i int) bool { return bytes.Compare(places[i].id[:], id[:]) >= 0 })
		for i := from; i < len(places) && places[i].id == id; i++ {
			if err := r.put(r.batch.parts[places[i].part], &places[i], plain); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		err = ctx.Err()
	case lost(err):
		for _, id := range unripe {
			if n, ok := slices.BinarySearchFunc(ids, id, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) }); ok {
				got[n] = true // later
			}
		}
		r.loseFiles(places, ids, got, err)
		err = ctx.Err()
	}
	return unripe, err
}

// loseFiles lists the files that need a blob that did not come. With Salvage a file is listed when all of it was tried.
func (r *run) loseFiles(places []place, ids []chunk.ID, got []bool, cause error) {
	why := reasons(cause)
	n := 0
	for i := range places {
		for n < len(ids) && ids[n] != places[i].id {
			n++
		}
		if got[n] {
			continue
		}
		p := r.batch.parts[places[i].part]
		err := why[places[i].id]
		if err == nil {
			err = cause
		}
		err = fmt.Errorf("blob %s: %w", places[i].id.Short(), err)
		if r.o.Salvage {
			p.f.lack(err, uint64(p.sizes[places[i].blob]))
		} else if !p.f.settled() {
			r.failFile(p.f, lossOf(err), err)
		}
	}
}
