package replicate

import (
	"context"
	"fmt"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/snapshot"
)

// ReplicaOptions say what Run does. The zero value works.
type ReplicaOptions struct {
	Options
	// Delete forgets in the target the copies of snapshots that the source does not have any more. It needs a key that can read.
	Delete  bool
	Time    time.Time // recorded with what is forgotten
	Program string
	Gone    func(*snapshot.Snapshot, bool) // told of each copy whose source is gone, and whether it is forgotten. May be nil
}

// ReplicaReport says what Run did.
type ReplicaReport struct {
	Report
	Damaged   []*archive.SnapshotError // of the source: listed, and cannot be read
	Forgotten int                      // copies that were forgotten, in a dry run: would be
	Kept      int                      // copies whose source is gone, and which are kept
	Refs      int                      // references that stand for another copy than before, in a dry run: would
}

// errEmpty keeps an emptied source from emptying its replica.
var errEmpty = remote.WithHint(fmt.Errorf("the source has no snapshot at all: nothing is forgotten in the target"),
	"if that is meant, forget the snapshots in the target with `cairn forget`")

// Run brings a replica up to date: it copies all complete snapshots of the source that the target does not have, with tags, pins and expiry, and with
// Delete forgets those that the source forgot. Otherwise the target keeps what it has: a source that was emptied, by mistake or by who
// stole its key, takes nothing from it.
//
// A snapshot whose tags were changed is a new one; its copy is made anew, which carries nothing but the object, and the old copy's source is
// gone. A copy that was changed in the target is left alone, and kept if it is pinned there. One that was forgotten there is not made
// again, as long as this machine remembers that it made it, so that a target may have a shorter retention of its own.
//
// References of the source come to stand for the copies, if the target is opened with a key that can read; see carryRefs.
func Run(ctx context.Context, from, to *archive.Archive, o ReplicaOptions) (*ReplicaReport, error) {
	if o.Gone == nil {
		o.Gone = func(*snapshot.Snapshot, bool) {}
	}
	report := &ReplicaReport{}
	all, damaged, err := from.Snapshots(ctx)
	if err != nil {
		return report, fmt.Errorf("source: %w", err)
	}
	report.Damaged = damaged
	copied, err := carry(ctx, from, to, all, all, o.Options, true)
	if copied != nil {
		report.Report = *copied
	}
	if err != nil {
		return report, err
	}
	if to.Keys() != nil && !to.Keys().CanRead() {
		if o.Delete {
			return report, remote.WithHint(seal.ErrNoReadKey, "a writer key cannot forget: leave out --delete, or use the target's password or a full key")
		}
		return report, nil
	}
	// First the references: what stands for a snapshot that is gone in the source may stand for another one there by now.
	if report.Refs, err = carryRefs(ctx, from, to, o); err != nil {
		return report, err
	}
	return report, report.forget(ctx, from, to, o)
}

// forget finds the copies whose source is gone.
func (r *ReplicaReport) forget(ctx context.Context, from, to *archive.Archive, o ReplicaOptions) error {
	there, err := from.SnapshotIDs(ctx) // listed anew: what was made meanwhile is not gone
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	list, _, err := to.Snapshots(ctx)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	var gone []chunk.ID
	for _, s := range list {
		if s.Origin.Archive != [16]byte(from.ID()) || s.Incomplete {
			continue
		}
		if _, ok := there[s.Origin.Snapshot]; ok {
			continue
		}
		kept := !o.Delete || s.Pinned && !s.Original.IsZero() || len(s.Refs) > 0 // it was pinned in the target, or stands for something there
		if kept {
			r.Kept++
		} else {
			gone = append(gone, s.ID)
		}
		o.Gone(s, !kept)
	}
	if len(gone) == 0 {
		return nil
	}
	if len(there) == 0 {
		return errEmpty
	}
	r.Forgotten = len(gone)
	if o.DryRun {
		return nil
	}
	if err := to.AllRefs(); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if _, err := to.Forget(ctx, gone, archive.Record{Time: o.Time, Program: o.Program}); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// Watch calls run now, and again as long after its end as every says, until ctx ends. An error of run is given to failed and the next
// run comes all the same, because members come back: unless failed returns an error, which ends it. When ctx ends while it waits, that
// is a good end.
func Watch(ctx context.Context, every time.Duration, run func(context.Context) error, failed func(error) error) error {
	for {
		err := run(ctx)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			if err := failed(err); err != nil {
				return err
			}
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
