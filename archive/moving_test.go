package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/pack"
)

// moveAll does to an archive what a change of its layout, or a collector, does: the blobs of all packs that it finds named are
// copied out and named, then the segments are replaced, then the packs deleted. Nothing is decrypted or decided by time.
func moveAll(ctx context.Context, a *Archive, target int) error {
	named := map[pack.ID]chunk.Type{}
	segments := map[pack.ID][]pack.Column{}
	survey := func(id pack.ID, columns []pack.Column, err error) error {
		if Unfinished(err) {
			return nil
		}
		segments[id] = columns
		for _, c := range columns {
			named[c.Pack] = c.Kind
		}
		return err
	}
	if err := a.ReadSegments(ctx, survey); err != nil {
		return err
	}
	m, err := a.NewMover(ctx)
	if err != nil {
		return err
	}
	defer m.End()
	m.SetTarget(target)
	for id, kind := range named {
		if err := copyOut(ctx, a, m, id, kind); err != nil {
			return fmt.Errorf("copy out: %w", err)
		}
	}
	if _, err := m.Publish(ctx); err != nil {
		return err
	}
	for id, columns := range segments {
		left := slices.DeleteFunc(columns, func(c pack.Column) bool { _, old := named[c.Pack]; return old })
		if len(left) > 0 {
			return errors.New("a column that was not surveyed")
		}
		if _, err := a.RemovePack(ctx, a.placements[0], id, chunk.Index); err != nil {
			return err
		}
	}
	for id, kind := range named {
		if _, err := a.RemovePack(ctx, a.placements[0], id, kind); err != nil {
			return err
		}
	}
	return nil
}

func copyOut(ctx context.Context, a *Archive, m *Mover, id pack.ID, kind chunk.Type) error {
	shards, err := a.ReadPack(ctx, id, kind)
	if err != nil {
		return err
	}
	for c := range shards.Header.Geometry.K {
		column, err := shards.Directory(a.keys, c)
		if err != nil {
			return err
		}
		for _, e := range column.Entries {
			if err := m.Add(ctx, column, e, shards.Payload(c)); err != nil {
				return err
			}
		}
	}
	return nil
}

// moving moves everything in an archive again and again until it is stopped, and counts how often it did.
func (b *bench) moving() (rounds *atomic.Int32, stop func()) {
	b.t.Helper()
	a := b.open()
	ctx, cancel := context.WithCancel(b.t.Context())
	rounds = &atomic.Int32{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := moveAll(ctx, a, 64<<10); err != nil && ctx.Err() == nil {
				b.t.Errorf("round %d: %v", rounds.Load(), err)
				return
			}
			rounds.Add(1)
		}
	})
	return rounds, func() { cancel(); wg.Wait() }
}

// TestReadMoving reads an archive all of whose blobs are moved to other packs all the time: nothing is ever missing.
func TestReadMoving(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		t.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, g[0], g[1])
			list := blobs(1, 120, 8000)
			a := b.open()
			w := b.writer(a)
			for i, p := range list {
				kind := chunk.Data
				if i%4 == 0 {
					kind = chunk.Tree
				}
				if _, err := w.Save(t.Context(), kind, p); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
				t.Fatal(err)
			}
			var data, trees [][]byte
			for i, p := range list {
				if i%4 == 0 {
					trees = append(trees, p)
				} else {
					data = append(data, p)
				}
			}
			reader := b.open()
			rounds, stop := b.moving()
			for until := time.Now().Add(5 * time.Second); !t.Failed() && rounds.Load() < 10 && time.Now().Before(until); {
				b.fetchAll(reader, data)
				reader.Ahead(t.Context(), ids(trees))
				for _, id := range ids(trees) {
					if _, err := reader.LoadTree(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
				if err := reader.Sizes(t.Context(), chunk.Data, ids(data), make([]uint32, len(data))); err != nil {
					t.Error(err)
				}
			}
			stop()
			if n := rounds.Load(); n < 2 {
				t.Errorf("moved %d times only", n)
			}
		})
	}
}
