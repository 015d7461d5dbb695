package archive

import (
	"context"
	"fmt"
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

// FoldRecords publishes one record that says what several say, and then removes those. Only records are folded of which nothing is left that
// they condemn or forget, which the caller knows from listings and the index: who lists the records while one is replaced may see neither, and
// must not need it. It returns how many were folded; 0 when they are few.
func (a *Archive) FoldRecords(ctx context.Context, now time.Time, program string, over func(*Record) (bool, error)) (int, error) {
	list, err := a.Records(ctx)
	if err != nil || len(list) < foldFrom {
		return 0, err
	}
	into := &Record{Time: now, Program: program}
	var folded []string
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
		folded = append(folded, recordPrefix+r.ID.String())
	}
	if len(folded) < 2 {
		return 0, nil
	}
	if err := a.PublishRecord(ctx, into, true); err != nil {
		return 0, err
	}
	for _, m := range a.all.Members() {
		if m.Store == nil {
			continue // see recordOnAll
		}
		err := remote.DeleteAll(ctx, m.Store, func(yield func(string) bool) {
			for _, name := range folded {
				if !yield(name) {
					return
				}
			}
		})
		if err != nil {
			return 0, fmt.Errorf("remove folded gc records from %s: %w", m.Label, err)
		}
	}
	return len(folded), nil
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
