package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// resume publishes what dead sessions on this machine stored but did not publish.
func (w *Writer) resume(ctx context.Context) error {
	if w.a.dir == "" {
		return nil
	}
	names, err := journals(w.a.dir)
	if err != nil {
		w.a.opts.Notice(err.Error())
		return nil
	}
	for _, name := range names {
		if err := w.resumeOne(ctx, name); err != nil {
			return fmt.Errorf("resume interrupted session %.8s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func (w *Writer) resumeOne(ctx context.Context, name string) error {
	f := takeJournal(name)
	if f == nil {
		return nil
	}
	defer f.Close()
	var stored []pack.Column
	packs := map[pack.ID]bool{}
	for _, c := range readJournal(f) {
		if known, err := w.a.knowsAll(ctx, &c); err != nil {
			return err
		} else if known {
			continue // the session died between publishing and noting that
		}
		usable, seen := packs[c.Pack]
		if !seen {
			var err error
			if usable, err = w.finish(ctx, c); err != nil {
				return err
			}
			packs[c.Pack] = usable
		}
		if usable {
			stored = append(stored, c)
		}
	}
	if len(stored) > 0 {
		if err := w.putSegments(ctx, stored); err != nil {
			return err
		}
		w.a.opts.Notice("an interrupted run had stored packs that no index names yet: they are used, not uploaded again")
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.a.opts.Notice(fmt.Sprintf("journal of an interrupted run: %v", err))
	}
	return nil
}

// knowsAll says whether the index has all blobs of a column.
func (a *Archive) knowsAll(ctx context.Context, c *pack.Column) (bool, error) {
	ids, has := make([]chunk.ID, len(c.Entries)), make([]bool, len(c.Entries))
	for i, e := range c.Entries {
		ids[i] = e.ID
	}
	if err := a.Has(ctx, c.Kind, ids, has); err != nil {
		return false, err
	}
	for _, ok := range has {
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// finish says whether a pack that was begun can be used: at least k shards of it are on their members in full length. The
// others are made of those. A member that does not answer counts as one without a shard: what is not certain is
// uploaded again.
func (w *Writer) finish(ctx context.Context, c pack.Column) (bool, error) {
	at, ok := w.a.placement(c.Geometry)
	if !ok {
		return false, nil
	}
	name := c.Pack.Name(c.Kind)
	stores := at.shardStores(c.Pack)
	var lacking []int
	for j, m := range stores {
		var info remote.Info
		err := errNotOpened
		if m != nil {
			info, err = m.Stat(ctx, name)
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil || info.Size != pack.ShardSize(c.L) {
			lacking = append(lacking, j)
		}
	}
	if len(lacking) == 0 || len(lacking) > c.M {
		return len(lacking) == 0, nil
	}
	reads, err := w.a.readShards(ctx, at, c.Pack, c.Kind)
	if err != nil {
		return false, err
	}
	if countGood(reads) < c.K {
		return false, nil
	}
	objects := make([][]byte, len(reads))
	var h *pack.Header
	for j, r := range reads {
		if r.object != nil {
			objects[j], h = r.object, r.header
		}
	}
	if objects, err = pack.RebuildShards(h, objects); err != nil {
		return false, nil
	}
	for _, j := range lacking {
		err := errNotOpened
		if stores[j] != nil {
			err = stores[j].Put(ctx, name, objects[j])
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			w.short[c.Pack] = struct{}{}
		}
	}
	return true, nil
}

var errNotOpened = errors.New("not opened")

// shardStores gives the members on which the shards of a pack lie, by shard number; nil for those that are missing.
func (p Placement) shardStores(id pack.ID) []remote.Store {
	members := p.Set.Members()
	stores := make([]remote.Store, p.Geometry.N())
	for j := range stores {
		stores[j] = members[pack.Member(id, j, p.Geometry.N())].Store
	}
	return stores
}
