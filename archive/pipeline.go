package archive

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// readBudget bounds the bytes of sealed data that a Fetch holds: a pack that is opened, and as much of the next one as is read
// in the meantime. It is 32 MiB for 1+0, 48 MiB for 4+2, 56 MiB for 10+4.
func readBudget(g pack.Geometry) int64 {
	const next, most = 16 << 20, 96 << 20
	return min(most, int64(g.K)*int64(g.DefaultTarget())+next)
}

const (
	// maxRequests bounds the requests under way. With 50 ms each, so many give 640 a second.
	maxRequests = 32
	// pieceBytes are opened by one goroutine at a time, so that the last column of a Fetch keeps more than one busy.
	pieceBytes = 512 << 10
)

// longestStretch is how many bytes of each column are read at once: so many of k columns are in the budget.
func longestStretch(g pack.Geometry) int64 { return readBudget(g) / int64(g.K) }

// nearStretch is longestStretch where requests cost nothing. What is read at once is held until the last of it is opened, so
// nearBudget is half of readBudget for 1+0, and 32 MiB for 4+2.
const nearStretch = 4 << 20

func nearBudget(g pack.Geometry) int64 {
	return min(readBudget(g), max(16<<20, 2*nearStretch*int64(g.K)))
}

// reach returns how much is held and how much is read at once.
func (a *Archive) reach() (budget, longest func(pack.Geometry) int64) {
	if !a.near() {
		return readBudget, longestStretch
	}
	return nearBudget, func(g pack.Geometry) int64 { return min(nearStretch, longestStretch(g)) }
}

// near says whether requests to all members cost nothing.
func (a *Archive) near() bool {
	for _, at := range a.placements {
		for _, m := range at.Set.Members() {
			if _, near := remote.As[remote.Near](m.Store); !near {
				return false
			}
		}
	}
	return true
}

// pipeline reads stretches and opens what comes:
//
//	plan ─ budget ─ ReadMany ─ pieces ─ open ─ fn
//	         │      (≤ 32 requests)   (about chunk.Cores goroutines)
//	         └────────── given back ──────┘
//
// Reading waits for room in the budget only, and opening never waits for it, so neither can wait for the other for ever.
type pipeline struct {
	f      *fetch
	size   int64
	budget *semaphore.Weighted
	pieces chan piece
	shelf  *shelf
}

// piece is some blobs of a span that was read.
type piece struct {
	blobs []wanted
	raw   *raw
}

// raw is what was read of a column.
type raw struct {
	from int64
	data []byte
	err  error
	buf  []byte // of the shelf, if data is in it

	mu    sync.Mutex
	left  int    // pieces that are not opened yet
	share int64  // of the budget
	bad   int    // blobs that did not open
	again []byte // the same range, calculated from other shards, once that is worth it
	lost  error  // what kept a blob from being read that too few members have: those behind it meet the same
}

// read reads what is wanted and hands it to fn.
func (f *fetch) read(ctx context.Context, want []wanted) error {
	if len(want) == 0 {
		return ctx.Err()
	}
	p := &pipeline{f: f, pieces: make(chan piece)}
	budget, longest := f.a.reach()
	for _, at := range f.a.placements {
		p.size = max(p.size, budget(at.Geometry))
	}
	p.budget = semaphore.NewWeighted(p.size)
	p.shelf, _ = f.a.shelves.Get().(*shelf)
	if p.shelf == nil {
		p.shelf = f.a.newShelf(p.size)
	}
	defer f.a.shelves.Put(p.shelf)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.readAll(groupCtx, plan(want, longest)) })
	for range chunk.Cores() + 1 { // one more, because fn may wait for a disk
		group.Go(func() error { return p.openAll(groupCtx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// readAll reads the stretches in their order, as many at once as the budget has room for.
func (p *pipeline) readAll(ctx context.Context, stretches []stretch) error {
	defer close(p.pieces)
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range stretches {
		s := &stretches[i]
		weight := p.weight(s)
		if p.budget.Acquire(groupCtx, weight) != nil {
			break // groupCtx has ended, which has a reason of its own
		}
		group.Go(func() error { return p.stretch(groupCtx, s, weight) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// weight is what a stretch takes of the budget: its bytes, but enough for each request that no more than maxRequests are under
// way, and while it is read, k shards of its range when one of those that hold it is not to be had.
func (p *pipeline) weight(s *stretch) int64 {
	w := p.floor(s)
	if first := s.first(); first.Geometry.M > 0 && p.f.a.anyLacks(s) {
		w = max(w, s.wantedBytes()+int64(first.Geometry.K)*(s.to-s.from))
	}
	return min(w, p.size)
}

func (p *pipeline) floor(s *stretch) int64 {
	w := int64(0)
	for i := range s.spans {
		w += p.share(&s.spans[i])
	}
	return w
}

func (p *pipeline) share(s *span) int64 { return max(s.to-s.from, p.size/maxRequests) }

// anyLacks says whether a member that holds a column of the stretch is known to be in trouble.
func (a *Archive) anyLacks(s *stretch) bool {
	first := s.first()
	return slices.ContainsFunc(s.spans, func(x span) bool { return a.lacks(first.Geometry, first.Pack, x.first().Column) })
}

func (a *Archive) lacks(g pack.Geometry, id pack.ID, column int) bool {
	return a.setOf(g).Members()[pack.Member(id, column, g.N())].Err != nil
}

// stretch reads one stretch and passes it on in pieces. weight of the budget was taken for it.
func (p *pipeline) stretch(ctx context.Context, s *stretch, weight int64) error {
	first := s.first()
	ranges := make([]stripe.Range, len(s.spans))
	for i, x := range s.spans {
		ranges[i] = stripe.Range{Shard: x.first().Column, Off: x.from, N: x.to - x.from, Dst: p.shelf.take(x.to - x.from)}
	}
	data, errs := p.f.a.setOf(first.Geometry).ReadMany(ctx, object(first.Pack, first.Kind, first.Geometry, first.L), ranges, nil)
	for _, err := range errs {
		if p.f.a.Stops(ctx, err) {
			p.budget.Release(weight)
			return err
		}
	}
	raws := make([]*raw, len(s.spans))
	for i := range s.spans {
		share := min(weight, p.share(&s.spans[i]))
		weight -= share
		raws[i] = &raw{from: s.spans[i].from, data: data[i], err: errs[i], share: share, buf: ranges[i].Dst}
		if len(data[i]) == 0 || &data[i][0] != &ranges[i].Dst[:1][0] { // it was calculated elsewhere, or is not there
			p.shelf.put(raws[i].buf)
			raws[i].buf = nil
		}
	}
	p.budget.Release(weight)
	for i, r := range raws {
		if err := p.pass(ctx, s.spans[i].blobs, r); err != nil {
			return err // the run ends: nobody waits for the budget any more
		}
	}
	return nil
}

// pass cuts a span into pieces for those who open.
func (p *pipeline) pass(ctx context.Context, blobs []wanted, r *raw) error {
	var pieces []piece
	start, size := 0, uint32(0)
	for i := range blobs {
		if size += blobs[i].Stored; size >= pieceBytes || i == len(blobs)-1 {
			pieces = append(pieces, piece{blobs[start : i+1], r})
			start, size = i+1, 0
		}
	}
	r.left = len(pieces)
	for _, x := range pieces {
		select {
		case p.pieces <- x:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *pipeline) openAll(ctx context.Context) error {
	for x := range p.pieces {
		if err := p.open(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// open opens the blobs of a piece.
func (p *pipeline) open(ctx context.Context, x piece) error {
	for _, w := range x.blobs {
		if err := p.openOne(ctx, w, x.raw); err != nil {
			return err
		}
	}
	if x.raw.opened() {
		p.shelf.put(x.raw.buf)
		p.budget.Release(x.raw.share)
	}
	return nil
}

func (p *pipeline) openOne(ctx context.Context, w wanted, r *raw) error {
	a, arena := p.f.a, p.f.a.keys.Arena()
	plain := arena.Take(seal.OpenRoom(w.Plain))
	defer arena.Put(plain)
	out, err := a.openRaw(ctx, plain, w, r)
	if err == nil {
		return p.f.fn(w.id, out)
	}
	if a.Stops(ctx, err) {
		return err
	}
	p.f.damaged(&BlobDamage{w.Kind, w.id, w.Pack, err})
	return nil
}

// opened notes that a piece is done, and says whether it was the last one.
func (r *raw) opened() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left--
	return r.left == 0
}

// openRaw opens one blob of what was read. When reading failed, the blob alone may be there, in a shard that was cut off behind
// it. That is not tried for all of them when too few members have the shards: each try may wait for those that do not answer.
func (a *Archive) openRaw(ctx context.Context, dst []byte, w wanted, r *raw) ([]byte, error) {
	if r.err == nil {
		return a.openRead(ctx, dst, w, r)
	}
	if !tooFew(r.err) {
		return a.openBlob(ctx, dst, w, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost != nil {
		return nil, r.lost
	}
	out, err := a.openBlob(ctx, dst, w, nil)
	if tooFew(err) {
		r.lost = err
	}
	return out, err
}

// badFew blobs of a span may not open before all of it is read from other shards: a shard that was cut short, or is another's, would
// cost k requests for each of its blobs.
const badFew = 2

// openRead opens a blob of which the sealed bytes came. Those that do not open are often not alone.
func (a *Archive) openRead(ctx context.Context, dst []byte, w wanted, r *raw) ([]byte, error) {
	session, err := a.session(w.Session)
	if err != nil {
		return nil, err
	}
	at, n := int64(w.Offset)-r.from, int64(w.Stored)
	plain, err := session.Open(dst, w.sealed(), r.data[at:][:n])
	if err == nil {
		return plain, nil
	}
	if again := r.around(ctx, a, &w); again != nil {
		if plain, err := session.Open(dst, w.sealed(), again[at:][:n]); err == nil {
			a.suspectHome(&w)
			return plain, nil
		}
	}
	return a.heal(ctx, dst, w, session)
}

// around returns the range of a span from other shards, when too many of its blobs do not open.
func (r *raw) around(ctx context.Context, a *Archive, w *wanted) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad++; r.bad == badFew && w.Geometry.M > 0 {
		if data, err := a.readAround(ctx, w, r.from, int64(len(r.data))); err == nil {
			r.again = data
		}
	}
	return r.again
}
