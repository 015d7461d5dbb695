package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

const (
	// lookupBatch ids are looked up at once; a location takes about 200 bytes.
	lookupBatch = 1 << 16
	// maxMoves is how often a blob is looked for at another place, after the index was read again, when the pack in which it was is
	// gone. Each move of a blob costs whoever moves it a round of copying, publishing and deleting, a reader one listing of the
	// index: who loses the race so often is not reading an archive that only gets moved.
	maxMoves = 10
)

// BlobDamage is a blob that no combination of the shards that are there gives back. When that is because too few members are there for its
// pack (it was stored with fewer shards, or Salvage goes on without them), it wraps a *stripe.TooFewError, which names the members
// that would be needed: see Unreachable.
type BlobDamage struct {
	Type chunk.Type
	ID   chunk.ID
	Pack pack.ID
	Err  error
}

func (e *BlobDamage) Error() string {
	return fmt.Sprintf("%s blob %s in pack %s: %v", e.Type, e.ID.Short(), e.Pack.Short(), e.Err)
}

func (e *BlobDamage) Unwrap() error { return e.Err }

// Unreachable says whether the blob may come back with the members that are away.
func (e *BlobDamage) Unreachable() bool { return tooFew(e.Err) }

// Hint names the operator's next step.
func (e *BlobDamage) Hint() string {
	if hint := remote.Hint(e.Err); hint != "" {
		return hint
	}
	return "`cairn check --read-data` lists every file that needs it"
}

// FetchError lists the blobs that Fetch could not give; all others were given.
type FetchError struct {
	Missing []*MissingError
	Damaged []*BlobDamage
}

func (e *FetchError) Error() string {
	away := 0
	for _, d := range e.Damaged {
		if d.Unreachable() {
			away++
		}
	}
	s := fmt.Sprintf("%d blobs are damaged, %d need members that are away, and %d are not in the index", len(e.Damaged)-away, away, len(e.Missing))
	if len(e.Damaged) > 0 {
		s += "; the first: " + e.Damaged[0].Error()
	} else if len(e.Missing) > 0 {
		s += "; the first: " + e.Missing[0].Error()
	}
	return s
}

// Unwrap gives each loss to errors.Is and errors.As.
func (e *FetchError) Unwrap() []error {
	var errs []error
	for _, d := range e.Damaged {
		errs = append(errs, d)
	}
	for _, m := range e.Missing {
		errs = append(errs, m)
	}
	return errs
}

// Sizes fills in the plain lengths of blobs in bytes. It fails with a *MissingError for the first that is not in the index.
func (a *Archive) Sizes(ctx context.Context, t chunk.Type, ids []chunk.ID, sizes []uint32) error {
	for from := 0; from < len(ids); from += lookupBatch {
		part := ids[from:min(from+lookupBatch, len(ids))]
		locs, err := a.locate(ctx, t, part, a.Refresh)
		if err != nil {
			return err
		}
		for i, l := range locs {
			if absent(l) {
				return a.missing(t, part[i])
			}
			sizes[from+i] = l.Plain
		}
	}
	return nil
}

// Live finds, for each blob, a pack that is named and not condemned: what may be relied on. Zero: there is none, as far as the local index
// knows (see Refresh).
func (a *Archive) Live(ctx context.Context, t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	for from := 0; from < len(ids); from += lookupBatch {
		to := min(from+lookupBatch, len(ids))
		if err := a.live(ctx, t, ids[from:to], out[from:to]); err != nil {
			return err
		}
	}
	return nil
}

// Fetch reads blobs, each distinct one once, pack by pack: a column in one request when most of it is wanted, several packs at
// once. fn is called concurrently with verified plaintext that it must not keep. Blobs that are lost do not stop the others:
// they are listed in a *FetchError at the end, and so are those of packs that too few members have while the archive has
// enough (see Stops). An error of fn, or too few members for every pack, stops it.
//
// Memory: for each id 300 bytes (a copy and its location), at most 96 MiB of columns (see readBudget), and one plaintext for
// each of the goroutines that open blobs.
func (a *Archive) Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(id chunk.ID, plain []byte) error) error {
	_, err := a.FetchRipe(ctx, t, ids, nil, fn)
	return err
}

// ripeShare: a pack of which a smaller part of the blobs that are wanted is green is read now. What is green in it then is most
// often content that many files share, which will be asked for again whenever it is read.
const ripeShare = 8

// FetchRipe is Fetch for who asks for the blobs of a tree part by part, and would read each pack where one part ends and the next begins
// twice: green tells the blobs that were asked for last. Packs of which a share of what is wanted is green will be asked for more. They are
// not read, and their blobs are returned, to be asked for again. A nil green is Fetch.
func (a *Archive) FetchRipe(ctx context.Context, t chunk.Type, ids []chunk.ID, green func(chunk.ID) bool, fn func(id chunk.ID, plain []byte) error) (unripe []chunk.ID, err error) {
	f := &fetch{a: a, t: t, fn: fn}
	want, err := f.locate(ctx, ids)
	if err != nil {
		return nil, err
	}
	if green != nil {
		want, unripe = ripe(want, green)
	}
	for moves := 0; ; moves++ {
		if err := f.read(ctx, want); err != nil {
			return nil, err
		}
		if len(f.lost.Damaged)+len(f.lost.Missing) == 0 {
			return unripe, nil
		}
		if moves == maxMoves {
			break
		}
		if want, err = f.again(ctx); err != nil {
			return nil, err
		}
		if len(want) == 0 {
			break
		}
	}
	return unripe, &f.lost
}

// ripe takes out the blobs of packs that will be asked for more.
func ripe(want []wanted, green func(chunk.ID) bool) (now []wanted, unripe []chunk.ID) {
	type share struct{ all, green int }
	packs := map[pack.ID]*share{}
	for i := range want {
		s := packs[want[i].Pack]
		if s == nil {
			s = &share{}
			packs[want[i].Pack] = s
		}
		s.all++
		if green(want[i].id) {
			s.green++
		}
	}
	now = want[:0]
	for _, w := range want {
		if s := packs[w.Pack]; s.green*ripeShare >= s.all {
			unripe = append(unripe, w.id)
		} else {
			now = append(now, w)
		}
	}
	return now, unripe
}

// fetch is one call of Fetch.
type fetch struct {
	a  *Archive
	t  chunk.Type
	fn func(chunk.ID, []byte) error

	mu   sync.Mutex
	lost FetchError
}

// locate finds distinct blobs. What is not there or cannot be right is noted as lost.
func (f *fetch) locate(ctx context.Context, ids []chunk.ID) ([]wanted, error) {
	distinct := slices.Clone(ids)
	slices.SortFunc(distinct, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	distinct = slices.Compact(distinct)
	want := make([]wanted, 0, len(distinct))
	for from := 0; from < len(distinct); from += lookupBatch {
		part := distinct[from:min(from+lookupBatch, len(distinct))]
		locs, err := f.a.locate(ctx, f.t, part, f.a.Refresh)
		if err != nil {
			return nil, err
		}
		for i, l := range locs {
			if f.readable(part[i], &l) {
				want = append(want, wanted{part[i], l})
			}
		}
	}
	return want, nil
}

// readable notes a blob as lost that cannot be read by its location.
func (f *fetch) readable(id chunk.ID, l *pack.Location) bool {
	if absent(*l) {
		f.lost.Missing = append(f.lost.Missing, f.a.missing(f.t, id))
		return false
	}
	if err := f.a.plausible(f.t, l); err != nil {
		f.lost.Damaged = append(f.lost.Damaged, &BlobDamage{f.t, id, l.Pack, err})
		return false
	}
	return true
}

// again returns the lost blobs that lie elsewhere, or that the index knows, by now: another machine may have copied them there and
// removed the old pack, and the segment that named it, while this one was reading. They are not lost any more.
func (f *fetch) again(ctx context.Context) ([]wanted, error) {
	if err := f.a.refreshFor(ctx, f.a.Refresh); err != nil {
		return nil, err
	}
	lost := f.lost
	f.lost = FetchError{}
	ids := make([]chunk.ID, 0, len(lost.Damaged)+len(lost.Missing))
	for i, d := range lost.Damaged {
		ids = append(ids, d.ID)
		if i > 0 && d.Pack == lost.Damaged[i-1].Pack {
			continue
		}
		if err := f.a.vanished(ctx, d.Pack); err != nil {
			return nil, err
		}
	}
	for _, m := range lost.Missing {
		ids = append(ids, m.ID)
	}
	locs, err := f.a.lookup(ctx, f.t, ids)
	if err != nil {
		return nil, err
	}
	var want []wanted
	left := map[pack.ID]bool{}
	for i, l := range locs {
		damaged := i < len(lost.Damaged)
		switch {
		case damaged && (absent(l) || l.Pack == lost.Damaged[i].Pack):
			f.lost.Damaged = append(f.lost.Damaged, lost.Damaged[i])
			continue
		case damaged && !left[lost.Damaged[i].Pack]:
			left[lost.Damaged[i].Pack] = true
			f.a.leave(lost.Damaged[i].Pack, f.t)
		}
		if f.readable(ids[i], &l) {
			want = append(want, wanted{ids[i], l})
		}
	}
	return want, nil
}

// refreshFor reads the index again for who may have an old one. With Salvage, that it cannot be read is no reason to stop.
func (a *Archive) refreshFor(ctx context.Context, refresh func(context.Context) error) error {
	if err := refresh(ctx); err != nil && (ctx.Err() != nil || !a.opts.Salvage) {
		return err
	}
	return nil
}

// leave forgets what was noted and planned for a pack from which blobs were moved away: that its shards are not there is no damage.
func (a *Archive) leave(id pack.ID, kind chunk.Type) {
	a.tiles.leave(id)
	gone := make([]Suspect, pack.MaxShards)
	for j := range gone {
		gone[j] = suspect(id, kind, j)
	}
	a.repairs.drop(gone)
}

func (f *fetch) damaged(d *BlobDamage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost.Damaged = append(f.lost.Damaged, d)
}

// Stops says whether an error of Fetch, Load, ReadDirectory or ReadPack is about more than one pack, so that nothing else can be read either:
// ctx has ended, the key cannot read, or more members are away than parity makes up for. A pack that was stored while a member was
// away may lack shards although enough members are there; others do not.
func (a *Archive) Stops(ctx context.Context, err error) bool {
	switch {
	case err == nil:
		return false
	case ctx.Err() != nil || errors.Is(err, seal.ErrNoReadKey):
		return true
	}
	var few *stripe.TooFewError
	return !a.opts.Salvage && errors.As(err, &few) && away(few) > a.parity(few)
}

// away counts the members that did not answer: those that answer that a shard is not there or cut off are not away.
func away(few *stripe.TooFewError) int {
	n := 0
	for _, cause := range few.Causes {
		if !Gone(cause) {
			n++
		}
	}
	return n
}

// parity returns the parity of the layout that an error is about.
func (a *Archive) parity(few *stripe.TooFewError) int {
	m := a.geom.M
	for _, p := range a.placements {
		if p.Geometry.K == few.Need {
			m = max(m, p.Geometry.M)
		}
	}
	return m
}
