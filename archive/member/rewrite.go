package member

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
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
	// which is 2 GiB of data, or a 64th of all if that is more.
	RoundPacks int
	// Target is the length aimed at for the columns of new packs, for tests; 0 is the default.
	Target int
	// Dir is the local cache directory of the archive, for the record that lets an interrupted run go on where it was; "" for none:
	// then a round is copied again.
	Dir      string
	Program  string       // recorded with what is condemned
	Progress *Progress    // may be nil
	Notice   func(string) // may be nil
}

const (
	// leastRound packs are 2 GiB. Each round publishes a gc record, which every machine reads once and which stays, so a large archive is not
	// rewritten in thousands of them, but in about mostRounds, each of which takes 1.6 % more room for a while.
	leastRound, mostRounds = 64, 64
	// roundBlobs bounds what is remembered of the blobs of a round that was interrupted: 2^19 of about 150 bytes.
	roundBlobs = 1 << 19
)

// round is how many packs are copied at once when there are so many.
func (o RewriteOptions) round(total int) int {
	if o.RoundPacks > 0 {
		return o.RoundPacks
	}
	return max(leastRound, (total+mostRounds-1)/mostRounds)
}

func (o RewriteOptions) applyDefaults() RewriteOptions {
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

// Rewrite brings the packs of former layouts into the current one. In rounds, each of them a Relocation: the blobs of some packs are copied
// into new packs (without being decrypted, from columns that prove themselves), those are stored with all their shards and named in new
// segments; a gc record condemns the old packs; when the copies are live all the same, index packs that name the old packs are replaced by
// ones that do not; only then the old packs are removed. So each blob is named at every moment in a place where it is, and who holds an
// older index finds it after reading the index again.
//
// It can be interrupted at any operation and run again, by itself or as a collection (archive/prune), which finds what is condemned.
// Others may do either beside it. What other writers store in a former layout meanwhile is found by listing until nothing is left. It needs
// a key that can read, which signs the records. Memory: a Mover, one pack read ahead, and about 200 bytes for each pack of a former layout.
func Rewrite(ctx context.Context, a *archive.Archive, o RewriteOptions) (*RewriteReport, error) {
	r := &rewrite{
		a: a, o: o.applyDefaults(), geom: a.Geometry(),
		segments: map[pack.ID]*segment{}, packs: map[pack.ID]*oldPack{}, seen: map[pack.ID]struct{}{}, named: map[pack.ID]struct{}{}, moved: map[pack.ID]struct{}{},
		report: &RewriteReport{Left: map[pack.ID]error{}, Unreadable: map[pack.ID]error{}},
	}
	if err := needReadKey(a); err != nil {
		return r.report, err
	}
	if err := allThere(a); err != nil {
		return r.report, err
	}
	return r.report, r.run(ctx)
}

// needReadKey fails unless the archive was opened with a key that can sign gc records.
func needReadKey(a *archive.Archive) error {
	if a.Keys() == nil || !a.Keys().CanRead() {
		return remote.WithHint(seal.ErrNoReadKey, "a writer key can back up only: a change of the layout needs the password or a full key, to sign which packs it removes")
	}
	return nil
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
	copiedTo []pack.ID            // the packs that hold them
	torn     []pack.ID            // packs of an interrupted run that lack shards and that nothing names
	total    int                  // packs to be moved, when that was begun
	report   *RewriteReport
}

type segment struct {
	at    archive.Placement
	packs []pack.ID // of former layouts
}

type oldPack struct {
	kind  chunk.Type
	at    archive.Placement
	blobs int
	bare  bool // condemned, and no segment names it: nothing in it is needed
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
		return r.removeUnnamed(ctx)
	}
	if err := r.session(ctx, r.resume); err != nil {
		return err
	}
	r.total = len(r.packs)
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
		if err := r.round(ctx, batch); err != nil {
			return err
		}
	}
	if err := r.removeUnnamed(ctx); err != nil {
		return err
	}
	if err := r.rec.remove(); err != nil {
		r.o.Notice(err.Error())
	}
	return nil
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
	s.at, err = r.a.PlacementOf(ctx, id, chunk.Index)
	if archive.Unfinished(err) {
		return nil // somebody has just replaced it: what it named is in another one
	}
	if err != nil {
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
	if p := r.packs[c.Pack]; p != nil {
		p.blobs += len(c.Entries)
		return nil
	}
	for _, p := range r.a.Placements() {
		if p.Geometry == c.Geometry {
			r.packs[c.Pack] = &oldPack{kind: c.Kind, at: p, blobs: len(c.Entries)}
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
	most, blobs := r.o.round(r.total), 0
	for _, id := range sorted(r.segments) {
		for _, p := range r.segments[id].packs {
			if len(batch) == most || blobs >= roundBlobs {
				return batch
			}
			old, todo := r.packs[p]
			_, left := r.report.Left[p]
			if _, twice := chosen[p]; !todo || left || twice {
				continue
			}
			chosen[p] = struct{}{}
			batch = append(batch, p)
			blobs += old.blobs
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
