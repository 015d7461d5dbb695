package replicate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// carryRefs makes the references of the source stand for the copies in the target. Each change in the source is carried once, so a reference that is
// changed in the target stays so until it changes in the source again. One whose snapshot is not copied waits.
func carryRefs(ctx context.Context, from, to *archive.Archive, o ReplicaOptions) (int, error) {
	refs, err := from.Refs(ctx)
	if err != nil || len(refs) == 0 {
		return 0, err
	}
	sources, _, err := from.Snapshots(ctx)
	if err != nil {
		return 0, fmt.Errorf("source: %w", err)
	}
	copies, _, err := to.Snapshots(ctx)
	if err != nil {
		return 0, fmt.Errorf("target: %w", err)
	}
	have, err := to.Refs(ctx)
	if err != nil {
		return 0, fmt.Errorf("target: %w", err)
	}
	changed := 0
	holds, there := archive.Holding(refs), archive.Holding(have)
	for _, name := range slices.Sorted(maps.Keys(holds)) {
		h := holds[name]
		if slices.ContainsFunc(have, func(r *archive.Ref) bool { return r.Name == name && r.From == h.ID }) {
			continue
		}
		var s *snapshot.Snapshot
		if h.Demotes() {
			if t := there[name]; t == nil || t.Demotes() || t.From.IsZero() {
				continue // it never came from here
			}
		} else if s = copyOf(copies, from, h.Find(sources)); s == nil {
			continue
		}
		changed++
		if o.DryRun {
			continue
		}
		r := archive.Ref{Name: name, Time: h.Time, User: h.User, Host: h.Host, Program: h.Program, Verified: h.Verified, From: h.ID}
		var race *archive.RefRaceError
		if _, _, err := to.SetRef(ctx, r, s); err != nil && !errors.As(err, &race) { // who won the race may have carried the same
			return changed, fmt.Errorf("target: %w", err)
		}
	}
	return changed, nil
}

// copyOf finds the newest complete copy of a snapshot.
func copyOf(copies []*snapshot.Snapshot, from *archive.Archive, s *snapshot.Snapshot) *snapshot.Snapshot {
	if s == nil {
		return nil
	}
	origin := snapshot.Origin{Archive: [16]byte(from.ID()), Snapshot: chunk.ID(s.ID)}
	for _, c := range slices.Backward(copies) {
		if c.Origin == origin && !c.Incomplete {
			return c
		}
	}
	return nil
}
