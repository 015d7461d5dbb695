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
	return "`cairn check --read-data` lists every file that needs it; the next backup of an unchanged source stores it anew with --force"
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

// locate finds blobs, reading the archive's index once more before it calls one missing: another machine may
// have moved it.
func (a *Archive) locate(ctx context.Context, t chunk.Type, ids []chunk.ID) ([]pack.Location, error) {
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	locs := make([]pack.Location, len(ids))
	if err := idx.Lookup(t, ids, locs); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(locs, absent) {
		return locs, nil
	}
	if err := a.Refresh(ctx); err != nil {
		return nil, err
	}
	return locs, idx.Lookup(t, ids, locs)
}

func absent(l pack.Location) bool { return l.Pack == pack.ID{} }

// Sizes fills in the plain lengths of blobs in bytes. It fails with a *MissingError for the first that is not in the index.
func (a *Archive) Sizes(ctx context.Context, t chunk.Type, ids []chunk.ID, sizes []uint32) error {
	for from := 0; from < len(ids); from += lookupBatch {
		part := ids[from:min(from+lookupBatch, len(ids))]
		locs, err := a.locate(ctx, t, part)
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
// Memory: GOMAXPROCS+2 workers, each with a read of at most 4 MiB (one large blob: 8 MiB) and one plaintext.
func (a *Archive) Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(id chunk.ID, plain []byte) error) error {
	lost := &FetchError{}
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 2)
	for from := 0; from < len(ids) && groupCtx.Err() == nil; from += lookupBatch {
		distinct := slices.Clone(ids[from:min(from+lookupBatch, len(ids))])
		slices.SortFunc(distinct, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
		distinct = slices.Compact(distinct)
		locs, err := a.locate(ctx, t, distinct)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		want := make([]wanted, 0, len(locs))
		for i, l := range locs {
			if absent(l) {
				lost.Missing = append(lost.Missing, &MissingError{t, distinct[i]})
				continue
			}
			want = append(want, wanted{distinct[i], l})
		}
		for _, span := range spans(want) {
			group.Go(func() error {
				damaged, err := a.readSpan(groupCtx, span, fn)
				mu.Lock()
				defer mu.Unlock()
				lost.Damaged = append(lost.Damaged, damaged...)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(lost.Damaged)+len(lost.Missing) > 0 {
		return lost
	}
	return nil
}

// spans sorts blobs by place and joins neighbours.
func spans(want []wanted) [][]wanted {
	slices.SortFunc(want, func(a, b wanted) int {
		return cmp.Or(bytes.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Offset, b.Offset))
	})
	var out [][]wanted
	start := 0
	for i := 1; i <= len(want); i++ {
		if i < len(want) && joins(want[start], want[i-1], want[i]) {
			continue
		}
		if i > start {
			out = append(out, want[start:i])
		}
		start = i
	}
	return out
}

func joins(first, last, next wanted) bool {
	return next.Pack == last.Pack && next.Column == last.Column &&
		next.Offset <= last.Offset+last.Stored+spanGap && next.Offset+next.Stored-first.Offset <= spanBytes
}

// buffers keeps the reads' memory from being allocated anew for each span.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readSpan reads one stretch of a column and opens the blobs in it.
func (a *Archive) readSpan(ctx context.Context, span []wanted, fn func(chunk.ID, []byte) error) ([]*BlobDamage, error) {
	first, last := span[0], span[len(span)-1]
	raw, plain := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer buffers.Put(raw)
	defer buffers.Put(plain)
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	data, err := a.set.Read(ctx, object(first.Pack, first.Kind, first.Geometry, first.L), first.Column, int64(first.Offset), n, (*raw)[:0], nil)
	if err != nil && (ctx.Err() != nil || tooFew(err)) {
		return nil, err
	}
	if err == nil {
		*raw = data
	}
	var damaged []*BlobDamage
	for _, w := range span {
		var sealed []byte
		if err == nil {
			at := w.Offset - first.Offset
			sealed = data[at : at+w.Stored]
		}
		out, openErr := a.openBlob(ctx, (*plain)[:0], w, sealed)
		if openErr != nil {
			if ctx.Err() != nil || tooFew(openErr) || errors.Is(openErr, seal.ErrNoReadKey) {
				return damaged, openErr
			}
			damaged = append(damaged, &BlobDamage{w.Kind, w.id, w.Pack, openErr})
			continue
		}
		if cap(out) > cap(*plain) {
			*plain = out
		}
		if err := fn(w.id, out); err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

// openBlob opens what was read, and when that does not prove itself (or sealed is nil because it could not be
// read), what the other shards say.
func (a *Archive) openBlob(ctx context.Context, dst []byte, w wanted, sealed []byte) ([]byte, error) {
	session, err := a.session(w.Session)
	if err != nil {
		return nil, err
	}
	b := w.sealed()
	if sealed != nil {
		plain, err := session.Open(dst, b, sealed)
		if err == nil {
			return plain, nil
		}
	}
	return a.heal(ctx, dst, w, session, b)
}

// heal rebuilds a blob from k other shards. First the same range of them; if that does not open either, one of those is
// bad too: the shards are read whole, and those that do not prove themselves are left out.
func (a *Archive) heal(ctx context.Context, dst []byte, w wanted, session *seal.Session, b seal.Sealed) ([]byte, error) {
	cause := errors.New("its shard does not have it")
	if w.Geometry.M > 0 {
		o := object(w.Pack, w.Kind, w.Geometry, w.L)
		sealed, err := a.set.Read(ctx, o, w.Column, int64(w.Offset), int64(w.Stored), nil, []int{w.Column})
		if err == nil {
			plain, openErr := session.Open(dst, b, sealed)
			if openErr == nil {
				return plain, nil
			}
			err = openErr
		}
		cause = err
	}
	column, err := a.healed.column(ctx, a, w.Pack, w.Kind, w.Column)
	if err != nil {
		return nil, err
	}
	if int64(w.Offset)+int64(w.Stored) > int64(len(column)) {
		return nil, fmt.Errorf("index names bytes behind the end of the column: %w", cause)
	}
	return session.Open(dst, b, column[w.Offset:w.Offset+w.Stored])
}
