package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// list gathers the listings of all members, the old one and the new one. Memory: about 150 bytes for each pack of 4+2.
func (r *replacer) list(ctx context.Context) (map[pack.ID]*packSeen, error) {
	stores := map[string]remote.Store{r.to.URL: r.to.Store}
	for _, m := range r.a.Members() {
		if m.Store != nil {
			stores[m.Label] = m.Store
		}
	}
	if r.old != nil {
		stores["the old member"] = r.old
	}
	packs := map[pack.ID]*packSeen{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	number := int32(0)
	var newErr error
	for label, s := range stores {
		number++
		member := number
		wg.Go(func() {
			for _, prefix := range []string{"index/", "binaries/"} {
				for info, err := range s.List(ctx, prefix) {
					if err != nil {
						if s == r.to.Store {
							newErr = fmt.Errorf("%s: list %s: %w", label, prefix, err)
						} else if ctx.Err() == nil {
							r.o.Notice(fmt.Sprintf("%s cannot be listed, packs that only it has are not seen: %v", label, err))
						}
						return
					}
					if id, kind, ok := pack.ParseName(info.Name); ok {
						mu.Lock()
						if packs[id] == nil {
							packs[id] = &packSeen{kind: anyKind(kind)}
						}
						packs[id].at = append(packs[id].at, sighting{member, info.Size})
						mu.Unlock()
					}
				}
			}
		})
	}
	wg.Wait()
	return packs, errors.Join(newErr, ctx.Err())
}

// placeOf finds the layout of a pack.
func (r *replacer) placeOf(ctx context.Context, id pack.ID, kind chunk.Type) (newPlace, error) {
	if len(r.places) == 1 {
		return r.places[0], nil
	}
	p, err := r.a.PlacementOf(ctx, id, kind)
	if err != nil {
		return newPlace{}, err
	}
	for _, at := range r.places {
		if at.Geometry == p.Geometry {
			return at, nil
		}
	}
	return newPlace{}, fmt.Errorf("pack %s has another layout", id.Short())
}

// build makes the shards that are to be made. One that cannot be is noted, and does not keep the others from it.
func (r *replacer) build(ctx context.Context, todo []task) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(buildAtOnce)
	for _, t := range todo {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := r.shard(groupCtx, t)
			r.o.Progress.Packs.Add(1)
			r.o.Progress.Bytes.Add(uint64(t.size))
			if groupCtx.Err() != nil {
				return groupCtx.Err()
			}
			var write *writeError
			if errors.As(err, &write) {
				return err // the new member does not take it: no use to go on
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if err != nil {
				r.failed[t.id] = err
			}
			r.done[t.id] = err == nil
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// writeError is a failure of the new member.
type writeError struct {
	url string
	err error
}

func (e *writeError) Error() string { return fmt.Sprintf("%s: %v", e.url, e.err) }
func (e *writeError) Unwrap() error { return e.err }

// shard brings one shard to the new member, unless a good one is there.
func (r *replacer) shard(ctx context.Context, t task) error {
	name := t.id.Name(t.kind)
	if got, err := r.to.Store.Get(ctx, name, 0, -1, nil); err == nil && r.proved(t, got) {
		r.count(&r.report.Kept)
		return nil
	}
	object, counter := r.fromOld(ctx, t), &r.report.Copied
	if object == nil {
		var err error
		counter = &r.report.Rebuilt
		if object, err = r.a.MakeShard(ctx, t.at, t.id, t.kind, t.shard); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.repair(ctx, t, err)
		}
	}
	if err := r.to.Store.Put(ctx, name, object); err != nil {
		return &writeError{r.to.URL, err}
	}
	got, err := r.to.Store.Get(ctx, name, 0, -1, nil)
	if err == nil && (!bytes.Equal(got, object) || !r.proved(t, got)) {
		err = fmt.Errorf("%s reads back differently", name)
	}
	if err != nil {
		return &writeError{r.to.URL, err}
	}
	r.count(counter)
	return nil
}

func (r *replacer) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// proved says whether a shard is the one that belongs there.
func (r *replacer) proved(t task, object []byte) bool {
	h, err := r.a.ProveShard(t.at, t.id, t.kind, t.shard, object)
	return err == nil && h.VerifySignature(r.a.Keys()) == nil
}

// oldPatience is how many requests the old member may leave unanswered before it counts as gone.
const oldPatience = 3

// fromOld reads the shard from the old member: one read instead of k.
func (r *replacer) fromOld(ctx context.Context, t task) []byte {
	r.mu.Lock()
	use := r.old != nil && r.oldFails < oldPatience
	r.mu.Unlock()
	if !use {
		return nil
	}
	data, err := r.old.Get(ctx, t.id.Name(t.kind), 0, -1, nil)
	if err != nil {
		if !archive.Gone(err) && ctx.Err() == nil {
			r.count(&r.oldFails)
		}
		return nil
	}
	if !r.proved(t, data) {
		return nil
	}
	return data
}

// repair tries what a plain rebuild did not achieve: from blocks of shards that are damaged themselves.
func (r *replacer) repair(ctx context.Context, t task, cause error) error {
	report, err := r.a.RepairPack(ctx, t.at, t.id, t.kind, archive.RepairOptions{})
	if err != nil {
		return err
	}
	if s := report.Shards[t.shard]; s.After != archive.ShardGood {
		return cause
	}
	r.count(&r.report.Rebuilt)
	return nil
}
