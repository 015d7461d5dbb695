package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/remote"
)

// deleteBatch is how many objects are deleted between two looks at the context: what S3 deletes with one request.
const deleteBatch = 1000

// Delete deletes what this collection condemned, and the snapshots that were forgotten, on all members. What an object lock holds stays, and
// is condemned: a later collection tries again.
func (g *Prune) Delete(ctx context.Context) (bool, error) {
	g.o.Progress.enter(Deleting)
	victims := g.victims()
	g.o.Progress.Packs.Store(0)
	g.o.Progress.TotalPacks.Store(uint64(len(victims) * len(g.a.Members())))
	var mu sync.Mutex
	locked := map[string]bool{}
	err := g.onAll(ctx, "delete", func(ctx context.Context, i int, m archive.MemberInfo) error {
		names := func(yield func(string) bool) {
			for _, id := range g.forgotten {
				name := "snapshots/" + id.String()
				if !yield(name+".ok") || !yield(name) {
					return
				}
			}
			for _, p := range victims {
				if g.mayHave(i, p) && !yield(p.id.Name(p.kind)) {
					return
				}
				g.o.Progress.Packs.Add(1)
			}
		}
		held, err := deleteFrom(ctx, m.Store, names)
		mu.Lock()
		defer mu.Unlock()
		for _, name := range held {
			locked[name] = true
		}
		return err
	})
	if err != nil {
		return false, err
	}
	for _, p := range victims {
		if locked[p.id.Name(p.kind)] {
			g.report.Locked.add(p)
		} else {
			g.report.Deleted.add(p)
		}
	}
	for _, id := range g.forgotten {
		if !locked["snapshots/"+id.String()] {
			g.report.Forgotten++
		}
	}
	g.forgotten = nil
	return true, nil
}

// victims are the packs that were condemned, in the order of their names: the order of directories.
func (g *Prune) victims() []*packUse {
	var list []*packUse
	for id := range maps.Keys(g.doomed) {
		if p := g.packs[id]; p != nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *packUse) int { return bytes.Compare(a.id[:], b.id[:]) })
	return list
}

// mayHave says whether a member is one of those on which the pack lies. Where the layout is not known, all are.
func (g *Prune) mayHave(member int, p *packUse) bool {
	at, ok := g.placementOf(p.geometry)
	return !ok || slices.Contains(g.a.Lineup(at), member)
}

// deleteFrom deletes objects of one member, many with one request where it can, and returns those that an object lock holds.
func deleteFrom(ctx context.Context, s remote.Store, names iter.Seq[string]) (locked []string, err error) {
	next, stop := iter.Pull(names)
	defer stop()
	for {
		var batch []string
		for len(batch) < deleteBatch {
			name, ok := next()
			if !ok {
				break
			}
			batch = append(batch, name)
		}
		if len(batch) == 0 {
			return locked, ctx.Err()
		}
		held, err := deleteMany(ctx, s, batch)
		if locked = append(locked, held...); err != nil {
			return locked, err
		}
	}
}

func deleteMany(ctx context.Context, s remote.Store, batch []string) (locked []string, err error) {
	if _, bulk := remote.As[remote.BulkDeleter](s); bulk {
		err := remote.DeleteAll(ctx, s, slices.Values(batch))
		if err == nil || !errors.Is(err, remote.ErrLocked) {
			return nil, err
		}
		// Some of them are held; which, only asking for each tells.
	}
	held := make([]bool, len(batch))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(smallRequests)
	for i, name := range batch {
		group.Go(func() error {
			err := s.Delete(groupCtx, name)
			if held[i] = errors.Is(err, remote.ErrLocked); held[i] {
				return nil
			}
			if err != nil {
				return fmt.Errorf("delete %s: %w", name, err)
			}
			return nil
		})
	}
	err = group.Wait()
	for i, name := range batch {
		if held[i] {
			locked = append(locked, name)
		}
	}
	return locked, err
}
