package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"cairn/chunk"
	"cairn/pack"
)

// renewable is a local index that is replaced when it is lost under a running command: its directory was removed, its
// disk failed or is full. It is a cache, so that costs time and never the command. Options.IndexLost says which
// errors mean that; all others are the caller's.
type renewable struct {
	a *Archive

	mu     sync.RWMutex
	inner  Index
	closed bool
}

// do runs an operation, and once more on a new index if the old one is lost.
func (r *renewable) do(op func(Index) error) error {
	r.mu.RLock()
	inner := r.inner
	err := op(inner)
	r.mu.RUnlock()
	if err == nil || r.a.opts.IndexLost == nil || !r.a.opts.IndexLost(err) {
		return err
	}
	if renewErr := r.renew(inner, err); renewErr != nil {
		return errors.Join(err, renewErr)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return op(r.inner)
}

// renew opens another index and fills it from the archive, unless somebody else has done so meanwhile.
func (r *renewable) renew(lost Index, cause error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inner != lost || r.closed {
		return nil
	}
	_ = lost.Close() // it is lost, whatever it says
	idx, err := r.a.opts.OpenIndex(r.a.id)
	if err != nil {
		return err
	}
	r.a.opts.Notice(fmt.Sprintf("%v: the local index is made anew", cause))
	if err := r.a.fill(context.Background(), idx); err != nil { // bounded by the archive; callers have no context to give
		return errors.Join(err, idx.Close())
	}
	r.inner = idx
	r.a.emptied.Add(1)
	return nil
}

// fill applies all segments that can be read to an empty index.
func (a *Archive) fill(ctx context.Context, idx Index) error {
	if _, err := a.condemnIn(idx); err != nil {
		return err
	}
	listed, err := a.listSegments(ctx)
	if err != nil {
		return err
	}
	for id := range listed {
		columns, err := a.ReadSegment(ctx, id)
		if err != nil {
			if a.hopeless(ctx, err) {
				return err
			}
			continue // told of when the index was opened
		}
		if err := a.apply(idx, id, columns); err != nil {
			return err
		}
	}
	return nil
}

func (r *renewable) Apply(segment pack.ID, columns []pack.Column) error {
	return r.do(func(i Index) error { return i.Apply(segment, columns) })
}

func (r *renewable) Applied(segment pack.ID) (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Applied(segment); return err })
	return ok, err
}

func (r *renewable) Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error {
	return r.do(func(i Index) error { return i.Lookup(t, ids, out) })
}

func (r *renewable) Has(t chunk.Type, ids []chunk.ID, out []bool) error {
	return r.do(func(i Index) error { return i.Has(t, ids, out) })
}

func (r *renewable) Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	return r.do(func(i Index) error { return i.Live(t, ids, out) })
}

func (r *renewable) Condemn(record chunk.ID, packs []pack.ID) error {
	return r.do(func(i Index) error { return i.Condemn(record, packs) })
}

func (r *renewable) Noted(record chunk.ID) (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Noted(record); return err })
	return ok, err
}

func (r *renewable) Condemned(id pack.ID) (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Condemned(id); return err })
	return ok, err
}

func (r *renewable) Vanished(id pack.ID) error {
	return r.do(func(i Index) error { return i.Vanished(id) })
}

func (r *renewable) Moved(packs []pack.ID) (stranded []pack.ID, live map[pack.ID]chunk.Type, err error) {
	err = r.do(func(i Index) (err error) { stranded, live, err = i.Moved(packs); return err })
	return stranded, live, err
}

func (r *renewable) Waits() (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Waits(); return err })
	return ok, err
}

func (r *renewable) Wasteful() (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Wasteful(); return err })
	return ok, err
}

func (r *renewable) Retire(segment pack.ID) error {
	return r.do(func(i Index) error { return i.Retire(segment) })
}

// Unwrap gives the index itself, for those that can do more with one of a kind that they know.
func (r *renewable) Unwrap() Index {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.inner
}

func (r *renewable) Drop() error {
	r.a.emptied.Add(1)
	return r.do(Index.Drop)
}

// Segments lists what the index had when it was called; it is not renewed half-way.
func (r *renewable) Segments() iter.Seq2[pack.ID, error] {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.inner.Segments()
}

func (r *renewable) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.inner.Close()
}
