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
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
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
		held, err := g.deleteFrom(ctx, m.Store, names)
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
	g.forgotten = slices.DeleteFunc(g.forgotten, func(id chunk.ID) bool {
		if locked["snapshots/"+id.String()] {
			return false
		}
		g.report.Forgotten++
		return true
	})
	for _, p := range victims {
		if !locked[p.id.Name(p.kind)] {
			delete(g.packs, p.id)
		}
	}
	return true, nil
}

// Fold joins gc records of which nothing is left on the members, when there are many. It comes last.
func (g *Prune) Fold(ctx context.Context) error {
	if g.o.DryRun || len(g.report.Left) > 0 {
		return nil
	}
	var left map[pack.ID]bool
	early := func(id chunk.ID) bool { return g.early[id] }
	n, err := g.a.FoldRecords(ctx, time.Now(), g.o.Program, early, func(r *archive.Record) (bool, error) {
		if !g.early[r.ID] || slices.ContainsFunc(r.Snapshots, func(id chunk.ID) bool { return slices.Contains(g.forgotten, id) }) {
			return false, nil
		}
		if left == nil { // few collections come here
			var err error
			if left, err = g.remaining(); err != nil {
				return false, err
			}
		}
		return !slices.ContainsFunc(r.Packs, func(id pack.ID) bool { return left[id] }), nil
	})
	g.report.Folded = n
	return err
}

// remaining are the packs that were listed before and are not deleted, or that a segment names.
func (g *Prune) remaining() (map[pack.ID]bool, error) {
	left := map[pack.ID]bool{}
	for id := range g.packs {
		left[id] = true
	}
	for info, err := range g.idx.Packs() {
		if err != nil {
			return nil, err
		}
		if info.Segments > 0 || info.Columns != 0 {
			left[info.ID] = true
		}
	}
	for id := range g.segments {
		left[id] = true // index packs that were condemned
	}
	return left, nil
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
func (g *Prune) deleteFrom(ctx context.Context, s remote.Store, names iter.Seq[string]) (locked []string, err error) {
	_, bulk := remote.As[remote.BulkDeleter](s)
	next, stop := iter.Pull(names)
	defer stop()
	refused := false
	for more := true; more; {
		var batch []string
		for len(batch) < deleteBatch {
			var name string
			if name, more = next(); !more {
				break
			}
			batch = append(batch, name)
		}
		if err := ctx.Err(); err != nil {
			return locked, err
		}
		if bulk {
			err := remote.DeleteAll(ctx, s, slices.Values(batch))
			if refused = refused || errors.Is(err, remote.ErrLocked); err != nil && !errors.Is(err, remote.ErrLocked) {
				return locked, err
			}
			continue
		}
		held, err := deleteEach(ctx, s, batch)
		if locked = append(locked, held...); err != nil {
			return locked, err
		}
	}
	if refused {
		return g.stillThere(ctx, s)
	}
	return locked, nil
}

// stillThere finds out which of the objects that were to be deleted are there all the same. The answer to a request that deletes many does
// not tell.
func (g *Prune) stillThere(ctx context.Context, s remote.Store) (names []string, err error) {
	for _, prefix := range []string{"binaries/", "index/", "snapshots/"} {
		for info, err := range s.List(ctx, prefix) {
			if err != nil {
				return names, err
			}
			id, _, isPack := pack.ParseName(info.Name)
			snapshot, _, isSnapshot := archive.ParseSnapshotName(info.Name)
			if isPack && g.doomed[id] || isSnapshot && slices.Contains(g.forgotten, snapshot) {
				names = append(names, info.Name)
			}
		}
	}
	return names, nil
}

// deleteEach deletes objects one by one, several at once.
func deleteEach(ctx context.Context, s remote.Store, batch []string) (locked []string, err error) {
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
