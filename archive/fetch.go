package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

const (
	// spanBytes bounds one read of neighbouring blobs, spanGap the unneeded bytes between them that are read along:
	// about what a connection carries in the time that another request would take (64 KiB at 1 MB/ms on a disk).
	spanBytes = 4 << 20
	spanGap   = 64 << 10
	// lookupBatch ids are looked up at once; a location takes about 200 bytes.
	lookupBatch = 1 << 16
)

// BlobDamage is a blob that no combination of the shards that are there gives back.
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
	s := fmt.Sprintf("%d blobs are damaged and %d are not in the index", len(e.Damaged), len(e.Missing))
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
				return &MissingError{t, part[i]}
			}
			sizes[from+i] = l.Plain
		}
	}
	return nil
}

type wanted struct {
	id chunk.ID
	pack.Location
}

// sealed is what the index says about the blob, as it was authenticated when it was sealed.
func (w *wanted) sealed() seal.Sealed {
	return seal.Sealed{ID: w.id, Type: w.Kind, Compression: w.Compression, Plain: w.Plain, Session: w.Session.ID}
}

// Fetch reads blobs, each distinct one once, in the order of their places: neighbours come in one read, several reads
// run at once. fn is called concurrently with verified plaintext that it must not keep. Blobs that are lost do not
// stop the others: they are listed in a *FetchError at the end. An error of fn, or too few members, stops it.
//
// Memory: a copy of ids, 65,536 locations, and GOMAXPROCS+2 workers, each with a read of at most 4 MiB (one large blob:
// 16 MiB) and one plaintext.
func (a *Archive) Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(id chunk.ID, plain []byte) error) error {
	distinct := slices.Clone(ids)
	slices.SortFunc(distinct, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	distinct = slices.Compact(distinct)
	f := &fetch{a: a, t: t, fn: fn}
	for from := 0; from < len(distinct); from += lookupBatch {
		part := distinct[from:min(from+lookupBatch, len(distinct))]
		locs, err := a.locate(ctx, t, part, a.Refresh)
		if err != nil {
			return err
		}
		want := make([]wanted, 0, len(locs))
		for i, l := range locs {
			want = append(want, wanted{part[i], l})
		}
		if err := f.read(ctx, want); err != nil {
			return err
		}
	}
	if err := f.again(ctx); err != nil {
		return err
	}
	if len(f.lost.Damaged)+len(f.lost.Missing) > 0 {
		return &f.lost
	}
	return nil
}

// fetch is one call of Fetch.
type fetch struct {
	a  *Archive
	t  chunk.Type
	fn func(chunk.ID, []byte) error

	mu   sync.Mutex
	lost FetchError
}

// again reads the damaged blobs that lie elsewhere by now.
func (f *fetch) again(ctx context.Context) error {
	if len(f.lost.Damaged) == 0 {
		return nil
	}
	want, err := f.a.moved(ctx, f.t, f.lost.Damaged, f.a.Refresh)
	if err != nil || len(want) == 0 {
		return err
	}
	moved := map[chunk.ID]bool{}
	for _, w := range want {
		moved[w.id] = true
	}
	f.lost.Damaged = slices.DeleteFunc(f.lost.Damaged, func(d *BlobDamage) bool { return moved[d.ID] })
	return f.read(ctx, want)
}

// moved returns the damaged blobs that lie in another pack by now: another machine may have copied them there and removed
// the old pack while this one was reading.
func (a *Archive) moved(ctx context.Context, t chunk.Type, damaged []*BlobDamage, refresh func(context.Context) error) ([]wanted, error) {
	if err := refresh(ctx); err != nil {
		return nil, err
	}
	ids := make([]chunk.ID, len(damaged))
	for i, d := range damaged {
		ids[i] = d.ID
	}
	locs, err := a.lookup(ctx, t, ids)
	if err != nil {
		return nil, err
	}
	var want []wanted
	for i, l := range locs {
		if l.Found() && l.Pack != damaged[i].Pack {
			want = append(want, wanted{ids[i], l})
		}
	}
	return want, nil
}

// read reads what is wanted, in spans.
func (f *fetch) read(ctx context.Context, want []wanted) error {
	readable := want[:0]
	for _, w := range want {
		if absent(w.Location) {
			f.lost.Missing = append(f.lost.Missing, &MissingError{f.t, w.id})
		} else if err := f.a.plausible(f.t, &w.Location); err != nil {
			f.lost.Damaged = append(f.lost.Damaged, &BlobDamage{f.t, w.id, w.Pack, err})
		} else {
			readable = append(readable, w)
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 2)
	for _, s := range spans(readable) {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return f.span(groupCtx, s) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// span is a stretch of one column with the blobs that are wanted of it.
type span struct {
	from, to int64
	blobs    []wanted
}

// spans sorts blobs by place and joins neighbours.
func spans(want []wanted) []span {
	slices.SortFunc(want, func(a, b wanted) int {
		return cmp.Or(bytes.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Offset, b.Offset))
	})
	var out []span
	start := 0 // of the last span in want
	for i := range want {
		w := &want[i]
		from, to := int64(w.Offset), int64(w.Offset)+int64(w.Stored)
		if i > 0 {
			s, first := &out[len(out)-1], &want[start]
			if w.Pack == first.Pack && w.Column == first.Column && w.L == first.L && from <= s.to+spanGap && to-s.from <= spanBytes {
				s.to = max(s.to, to) // an index that is wrong may let blobs overlap
				s.blobs = want[start : i+1]
				continue
			}
		}
		start = i
		out = append(out, span{from, to, want[i : i+1]})
	}
	return out
}

// buffers keeps the memory of reads and of sealing from being allocated anew for each.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// span reads one stretch of a column and opens the blobs in it.
func (f *fetch) span(ctx context.Context, s span) error {
	first := &s.blobs[0]
	raw, plain := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer buffers.Put(raw)
	defer buffers.Put(plain)
	data, err := f.a.setOf(first.Geometry).Read(ctx, object(first.Pack, first.Kind, first.Geometry, first.L), first.Column, s.from, s.to-s.from, (*raw)[:0], nil)
	if err != nil && (ctx.Err() != nil || tooFew(err)) {
		return err
	}
	if err == nil {
		*raw = data
	}
	for _, w := range s.blobs {
		var sealed []byte
		if err == nil {
			at := int64(w.Offset) - s.from
			sealed = data[at : at+int64(w.Stored)]
		}
		out, openErr := f.a.openBlob(ctx, (*plain)[:0], w, sealed)
		if openErr != nil {
			if f.a.stops(ctx, openErr) {
				return openErr
			}
			f.damaged(&BlobDamage{w.Kind, w.id, w.Pack, openErr})
			continue
		}
		if cap(out) > cap(*plain) {
			*plain = out
		}
		if err := f.fn(w.id, out); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetch) damaged(d *BlobDamage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost.Damaged = append(f.lost.Damaged, d)
}

// stops tells errors that concern more than one blob.
func (a *Archive) stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || tooFew(err) || errors.Is(err, seal.ErrNoReadKey)
}
