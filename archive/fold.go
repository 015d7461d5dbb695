package archive

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// foldFrom is from how many records on they are folded: each costs every machine one small request, once.
const foldFrom = 24

// foldMost bounds what one record names: 2^20 ids are 32 MiB.
const foldMost = 1 << 20

// FoldRecords publishes one record that says what several say; a later collection removes those. Only records are folded of which nothing is
// left that they condemn or forget, which over says from listings and the index. It returns how many were folded; 0 when they are few.
//
// Who lists the records while one is replaced by another may see neither: the new one was put behind the place that the listing had reached, and
// the old one is gone before it comes to its own. A writer that relied on a pack since before all this would then mark a snapshot without it. So
// the record that folds and the removal of what it folds are at least the rest of one collection and the whole next one apart: what is removed
// here was folded by a record that early knows, one that was there when this collection began. To miss both a single listing has to last as
// long, on every member.
func (a *Archive) FoldRecords(ctx context.Context, now time.Time, program string, early func(chunk.ID) bool, over func(*Record) (bool, error)) (int, error) {
	list, err := a.Records(ctx)
	if err != nil {
		return 0, err
	}
	if err := a.removeFolded(ctx, list, early); err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(r *Record) bool { return a.folded(r.ID) })
	if len(list) < foldFrom {
		return 0, nil
	}
	into := &Record{Time: now, Program: program}
	for _, r := range list {
		if len(into.Packs)+len(into.Snapshots)+len(into.Folded)+len(r.Packs)+len(r.Snapshots)+1 > foldMost {
			continue
		}
		ok, err := over(r)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		into.Packs, into.Snapshots = append(into.Packs, r.Packs...), append(into.Snapshots, r.Snapshots...)
		into.Folded = append(into.Folded, r.ID)
	}
	if len(into.Folded) < 2 {
		return 0, nil
	}
	return len(into.Folded), a.PublishRecord(ctx, into, true)
}

// removeFolded removes the records that are still there although an early record says what they say.
func (a *Archive) removeFolded(ctx context.Context, list []*Record, early func(chunk.ID) bool) error {
	over := map[string]bool{}
	for _, r := range list {
		if early(r.ID) {
			for _, id := range r.Folded {
				over[recordPrefix+id.String()] = true
			}
		}
	}
	if len(over) == 0 {
		return nil
	}
	on, _, err := a.listCopies(ctx, recordPrefix)
	if err != nil {
		return fmt.Errorf("list gc records: %w", err)
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(on)), func(name string) bool { return !over[name] })
	if len(names) == 0 {
		return nil
	}
	for _, m := range a.all.Members() {
		if m.Store == nil {
			continue // see recordOnAll
		}
		if err := remote.DeleteAll(ctx, m.Store, slices.Values(names)); err != nil {
			return fmt.Errorf("remove folded gc records from %s: %w", m.Label, err)
		}
	}
	return nil
}

// folded says whether another record, as far as they are known, says what this one says: it was removed, or is just being.
func (a *Archive) folded(id chunk.ID) bool {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	for _, r := range a.gc.records {
		if slices.Contains(r.Folded, id) {
			return true
		}
	}
	return false
}

// CondemnedPacks yields the packs that the records condemn. Without a key nothing proves that a record is the root's.
func (a *Archive) CondemnedPacks(ctx context.Context) (map[pack.ID]struct{}, error) {
	list, err := a.Records(ctx)
	if err != nil {
		return nil, err
	}
	packs := map[pack.ID]struct{}{}
	for _, r := range list {
		for _, id := range r.Packs {
			packs[id] = struct{}{}
		}
	}
	return packs, nil
}
