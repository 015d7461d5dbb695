package member

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// Progress counts what is done; it may be read at any time.
type Progress struct {
	Packs, TotalPacks atomic.Uint64
	Bytes, TotalBytes atomic.Uint64
}

// RewriteOptions say how Rewrite works. The zero value is for an archive of real size.
type RewriteOptions struct {
	// RoundPacks is how many packs are copied before the old ones are removed: for so many, both copies take room. 0: 64,
	// which is 2 GiB of data.
	RoundPacks int
	// Target is the length aimed at for the columns of new packs, for tests; 0 is the default.
	Target int
	// Dir is the local cache directory of the archive, for the record that lets an interrupted run go on where it was; "" for none:
	// then a round is copied again.
	Dir      string
	Progress *Progress    // may be nil
	Notice   func(string) // may be nil
}

const defaultRound = 64

func (o RewriteOptions) applyDefaults() RewriteOptions {
	if o.RoundPacks <= 0 {
		o.RoundPacks = defaultRound
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	return o
}

// RewriteReport tells what Rewrite did.
type RewriteReport struct {
	Packs    int    // of former layouts that were rewritten and removed
	Blobs    uint64 // copied
	Bytes    uint64 // of them, sealed
	Written  int64  // bytes of shards written
	Segments int    // index packs that were replaced
	// Left are packs that stay in their former layout, with the reason.
	Left map[pack.ID]error
	// Unreadable are index packs that could not be read: what only they name is not rewritten.
	Unreadable map[pack.ID]error
	// Unnamed counts packs of former layouts that no index segment names.
	Unnamed int
	// Shards counts shards of removed packs on members that did not answer.
	Shards int
}

// Done says whether nothing is left in former layouts that an index segment names.
func (r *RewriteReport) Done() bool { return len(r.Left)+len(r.Unreadable) == 0 }

// Rewrite brings the packs of former layouts into the current one. In rounds: the blobs of some packs are copied into new packs
// (without being decrypted, from columns that prove themselves), those are stored with all their shards and named in new
// segments; index packs that name the old packs are replaced by ones that do not; only then the old packs are removed. So each
// blob is named at every moment in a place where it is, and who holds an older index finds it after reading the index again.
//
// It can be interrupted at any operation and run again. What other writers store in a former layout meanwhile is found by
// listing until nothing is left. Memory: a Mover, one pack read ahead, and about 200 bytes for each pack of a former layout.
func Rewrite(ctx context.Context, a *archive.Archive, o RewriteOptions) (*RewriteReport, error) {
	r := &rewrite{
		a: a, o: o.applyDefaults(), geom: a.Geometry(),
		segments: map[pack.ID]*segment{}, packs: map[pack.ID]*oldPack{}, seen: map[pack.ID]struct{}{}, named: map[pack.ID]struct{}{}, moved: map[pack.ID]struct{}{},
		report: &RewriteReport{Left: map[pack.ID]error{}, Unreadable: map[pack.ID]error{}},
	}
	if err := allThere(a); err != nil {
		return r.report, err
	}
	return r.report, r.run(ctx)
}

// allThere fails unless every member of the current layout is: a copy with fewer shards must not replace a whole one.
func allThere(a *archive.Archive) error {
	var missing []string
	for _, m := range a.Set().Members() {
		if m.Store == nil || m.Err != nil {
			missing = append(missing, m.Label)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return remote.WithHint(fmt.Errorf("all members of the new layout are needed to rewrite packs; missing: %s", strings.Join(missing, ", ")),
		"bring them back or replace them with `cairn member replace`, then run `cairn member layout --resume`")
}

// rewrite is one call of Rewrite.
type rewrite struct {
	a     *archive.Archive
	o     RewriteOptions
	geom  pack.Geometry // the current one
	mover *archive.Mover
	rec   *record

	segments map[pack.ID]*segment // index packs that name packs of former layouts, or lie in one
	packs    map[pack.ID]*oldPack // of former layouts, that a segment names, still to be moved
	seen     map[pack.ID]struct{} // index packs that were read
	named    map[pack.ID]struct{} // all packs that a segment names
	moved    map[pack.ID]struct{} // by this run
	copied   map[blobKey]struct{} // blobs that an interrupted run copied in its last round
	report   *RewriteReport
}

type segment struct {
	at    archive.Placement
	packs []pack.ID // of former layouts
}

type oldPack struct {
	kind   chunk.Type
	at     archive.Placement
	length int64
}

func (r *rewrite) run(ctx context.Context) error {
	if err := r.a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error { return r.survey(ctx, id, columns, err) }); err != nil {
		return err
	}
	if err := r.takeRecord(); err != nil {
		return err
	}
	defer r.rec.unlock()
	if len(r.segments) == 0 && !r.rec.begun() {
		return r.countUnnamed(ctx)
	}
	if err := r.session(ctx, r.resume); err != nil {
		return err
	}
	for {
		batch := r.next()
		if len(batch) == 0 {
			// Others may have stored more in a former layout.
			if err := r.session(ctx, r.unname); err != nil {
				return err
			}
			if batch = r.next(); len(batch) == 0 {
				break
			}
		}
		if err := r.session(ctx, func(ctx context.Context) error { return r.round(ctx, batch) }); err != nil {
			return err
		}
	}
	if err := r.rec.remove(); err != nil {
		r.o.Notice(err.Error())
	}
	return r.countUnnamed(ctx)
}

// session calls fn with a Mover. Each round has its own: by its session an interrupted round is known.
func (r *rewrite) session(ctx context.Context, fn func(context.Context) error) error {
	mover, err := r.a.NewMover(ctx)
	if err != nil {
		return err
	}
	mover.SetTarget(r.o.Target)
	r.mover = mover
	defer func() {
		mover.End()
		r.report.Written += mover.Stats().BytesStored
	}()
	return fn(ctx)
}

// survey notes what a segment names.
func (r *rewrite) survey(ctx context.Context, id pack.ID, columns []pack.Column, err error) error {
	if archive.Unfinished(err) {
		return nil
	}
	r.seen[id] = struct{}{}
	if err != nil {
		r.report.Unreadable[id] = err
		return nil
	}
	s := &segment{}
	for _, c := range columns {
		r.named[c.Pack] = struct{}{}
		if c.Geometry == r.geom {
			continue
		}
		if !slices.Contains(s.packs, c.Pack) {
			s.packs = append(s.packs, c.Pack)
		}
		if err := r.survey1(&c); err != nil {
			r.report.Left[c.Pack] = err
		}
	}
	if s.at, err = r.a.PlacementOf(ctx, id, chunk.Index); err != nil {
		return fmt.Errorf("index segment %s: %w", id.Short(), err)
	}
	if len(s.packs) > 0 || s.at.Geometry != r.geom {
		r.segments[id] = s
	}
	return nil
}

// survey1 notes a pack of a former layout.
func (r *rewrite) survey1(c *pack.Column) error {
	if _, ok := r.moved[c.Pack]; ok {
		return nil
	}
	if _, ok := r.packs[c.Pack]; ok {
		return nil
	}
	for _, p := range r.a.Placements() {
		if p.Geometry == c.Geometry {
			r.packs[c.Pack] = &oldPack{c.Kind, p, c.L}
			r.o.Progress.TotalPacks.Add(1)
			r.o.Progress.TotalBytes.Add(uint64(c.L) * uint64(c.K))
			return nil
		}
	}
	return fmt.Errorf("its layout %d (%d+%d) is not one of this archive", c.Epoch, c.K, c.M)
}

// next chooses the packs of a round: those of one segment after the other, so that few segments have to be written anew for
// the packs that stay.
func (r *rewrite) next() []pack.ID {
	var batch []pack.ID
	if r.copied != nil { // the packs of the round that was interrupted, and no others
		for _, name := range r.rec.Copying {
			id, err := pack.ParseID(name)
			_, todo := r.packs[id]
			_, left := r.report.Left[id]
			if todo && !left && err == nil {
				batch = append(batch, id)
			}
		}
		if len(batch) > 0 {
			return batch
		}
		r.copied = nil
	}
	chosen := map[pack.ID]struct{}{}
	for _, id := range sorted(r.segments) {
		for _, p := range r.segments[id].packs {
			if len(batch) == r.o.RoundPacks {
				return batch
			}
			_, todo := r.packs[p]
			_, left := r.report.Left[p]
			if _, twice := chosen[p]; !todo || left || twice {
				continue
			}
			chosen[p] = struct{}{}
			batch = append(batch, p)
		}
	}
	return batch
}

func sorted[T any](m map[pack.ID]T) []pack.ID {
	ids := make([]pack.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

// round moves some packs.
func (r *rewrite) round(ctx context.Context, batch []pack.ID) error {
	if err := r.rec.copying(r.mover.Session(), batch, r.copied != nil); err != nil {
		r.o.Notice(err.Error())
	}
	if err := r.copyPacks(ctx, batch); err != nil {
		return err
	}
	short, err := r.mover.Publish(ctx)
	if err != nil {
		return err
	}
	if len(short) > 0 {
		return remote.WithHint(fmt.Errorf("members did not take all shards of %d new packs: the old ones are kept", len(short)),
			"see `cairn member list`; when all members answer again, run `cairn repair` and then `cairn member layout --resume`")
	}
	for _, id := range batch {
		if _, left := r.report.Left[id]; !left {
			r.moved[id] = struct{}{}
		}
	}
	r.copied = nil
	if err := r.unname(ctx); err != nil {
		return err
	}
	return r.removePacks(ctx, batch)
}

// readAhead is a pack on its way from the members to the Mover.
type readAhead struct {
	id     pack.ID
	shards *archive.PackShards
	err    error
}

// copyPacks reads one pack while the one before is copied.
func (r *rewrite) copyPacks(ctx context.Context, batch []pack.ID) error {
	group, ctx := errgroup.WithContext(ctx)
	ch := make(chan readAhead)
	group.Go(func() error {
		defer close(ch)
		for _, id := range batch {
			p := r.packs[id]
			shards, err := r.a.ReadPackAt(ctx, p.at, id, p.kind)
			select {
			case ch <- readAhead{id, shards, err}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() error {
		for ahead := range ch {
			if err := r.copyPack(ctx, ahead); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// copyPack copies all blobs of a pack. What is wrong with the pack itself leaves it where it is.
func (r *rewrite) copyPack(ctx context.Context, p readAhead) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	columns, err := r.directories(p)
	if err != nil {
		r.report.Left[p.id] = err
		return nil
	}
	for i, c := range columns {
		payload := p.shards.Payload(i)
		for _, e := range c.Entries {
			if _, done := r.copied[keyOf(c, e)]; done {
				continue
			}
			if err := r.mover.Add(ctx, c, e, payload); err != nil {
				return err
			}
			r.report.Blobs++
			r.report.Bytes += uint64(e.Stored)
		}
	}
	r.o.Progress.Packs.Add(1)
	r.o.Progress.Bytes.Add(uint64(p.shards.Header.L) * uint64(p.shards.Header.Geometry.K))
	return nil
}

// directories opens all directories of a pack before any blob of it is copied.
func (r *rewrite) directories(p readAhead) ([]*pack.Column, error) {
	if p.err != nil {
		return nil, p.err
	}
	if err := p.shards.Header.VerifySignature(r.a.Keys()); err != nil {
		return nil, err
	}
	var columns []*pack.Column
	for c := range p.shards.Header.Geometry.K {
		column, err := p.shards.Directory(r.a.Keys(), c)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return columns, nil
}
