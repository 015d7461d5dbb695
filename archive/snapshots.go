package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/snapshot"
)

const (
	packPrefix     = "binaries/"
	indexPrefix    = "index/"
	keyPrefix      = "keys/"
	snapshotPrefix = "snapshots/"
	markSuffix     = ".ok"
	snapshotReads  = 8
)

// SnapshotError is a snapshot that is listed but cannot be read or trusted.
type SnapshotError struct {
	ID  chunk.ID
	Err error
}

func (e *SnapshotError) Error() string { return fmt.Sprintf("snapshot %s: %v", e.ID.Short(), e.Err) }
func (e *SnapshotError) Unwrap() error { return e.Err }

// SnapshotIDs lists the snapshots by name: for each, whether it carries the mark that it was validated.
func (a *Archive) SnapshotIDs(ctx context.Context) (map[chunk.ID]bool, error) {
	ids, _, err := a.listSnapshots(ctx)
	return ids, err
}

// listSnapshots is SnapshotIDs, and returns the names of the listing, in which references stand, too.
func (a *Archive) listSnapshots(ctx context.Context) (map[chunk.ID]bool, map[string]memberMask, error) {
	// The records come second: who forgets publishes his record first.
	names, _, err := a.listCopies(ctx, snapshotPrefix)
	if err != nil {
		return nil, nil, fmt.Errorf("list snapshots: %w", err)
	}
	ids := snapshotIDs(names)
	if a.keys == nil {
		return ids, names, nil // nothing would prove that a record is the root's
	}
	if err := a.readRecordsLately(ctx); err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(ids, func(id chunk.ID, _ bool) bool { return a.Forgotten(id) })
	return ids, names, nil
}

// snapshotIDs finds the snapshots among names, and which have their mark. Other names are not ours; docs/format.md §1.
func snapshotIDs(names map[string]memberMask) map[chunk.ID]bool {
	ids := map[chunk.ID]bool{}
	for name := range names {
		if id, err := chunk.ParseID(strings.TrimPrefix(name, snapshotPrefix)); err == nil {
			_, marked := names[name+markSuffix]
			ids[id] = marked
		}
	}
	return ids
}

// needReadKey fails unless the archive was opened with a key that can read.
func (a *Archive) needReadKey() error {
	if a.keys == nil {
		return ErrNoKey
	}
	if !a.keys.CanRead() {
		return remote.WithHint(seal.ErrNoReadKey, "a writer key can back up only; use the password or a full key")
	}
	return nil
}

// Snapshots reads all snapshots, the oldest first, with the names of the references that stand for them. Those that cannot be read or trusted are in damaged; they do not
// keep the others from being listed.
func (a *Archive) Snapshots(ctx context.Context) (list []*snapshot.Snapshot, damaged []*SnapshotError, err error) {
	if err := a.needReadKey(); err != nil {
		return nil, nil, err
	}
	ids, names, err := a.listSnapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	list, damaged, err = a.ReadSnapshots(ctx, ids)
	if err != nil {
		return list, damaged, err
	}
	refs, err := a.readRefs(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	nameRefs(list, refs)
	a.dropSnapshots(ids)
	return list, damaged, nil
}

// ReadSnapshots reads snapshots that were listed, the oldest first; ids says of each whether it carries its mark. Those that cannot be
// read or trusted are in damaged.
func (a *Archive) ReadSnapshots(ctx context.Context, ids map[chunk.ID]bool) (list []*snapshot.Snapshot, damaged []*SnapshotError, err error) {
	if err := a.needReadKey(); err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(snapshotReads)
	for id, marked := range ids {
		group.Go(func() error {
			s, err := a.listedSnapshot(groupCtx, id)
			switch {
			case errors.Is(err, remote.ErrNotExist):
				return nil // it was removed since it was listed
			case err != nil && (groupCtx.Err() != nil || tooFew(err)):
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				damaged = append(damaged, &SnapshotError{id, err})
				return nil
			}
			s.Incomplete = !marked
			list = append(list, s)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	snapshot.SortByTime(list)
	return list, damaged, nil
}

// listedSnapshot reads a snapshot that is on some member, from the cache if it is there.
func (a *Archive) listedSnapshot(ctx context.Context, id chunk.ID) (*snapshot.Snapshot, error) {
	if object := a.cachedSnapshot(id); object != nil {
		return a.openSnapshot(id, object)
	}
	return a.Snapshot(ctx, id)
}

// Snapshot reads one snapshot from the first member whose copy proves itself.
func (a *Archive) Snapshot(ctx context.Context, id chunk.ID) (*snapshot.Snapshot, error) {
	if err := a.needReadKey(); err != nil {
		return nil, err
	}
	object, err := a.all.GetVerified(ctx, snapshotPrefix+id.String(), func(data []byte) error { return verifyNamed(id, data) })
	if err != nil {
		return nil, err
	}
	a.cacheSnapshot(id, object)
	return a.openSnapshot(id, object)
}

func (a *Archive) openSnapshot(id chunk.ID, object []byte) (*snapshot.Snapshot, error) {
	plain, signer, err := a.keys.DecodeSnapshot(object)
	if err != nil {
		return nil, err
	}
	s, err := snapshot.DecodeSnapshot(plain)
	if err != nil {
		return nil, err
	}
	s.ID, s.Signer = id, signer
	a.sawSnapshot()
	return s, nil
}

// RemoveSnapshot removes a snapshot and its mark from every member. Its blobs stay until they are pruned.
func (a *Archive) RemoveSnapshot(ctx context.Context, id chunk.ID) error {
	name := snapshotPrefix + id.String()
	if err := a.all.Delete(ctx, name+markSuffix); err != nil {
		return remote.WithHint(fmt.Errorf("remove mark of snapshot %s: %w", id.Short(), err), "run the command again when all members are reachable")
	}
	if err := a.all.Delete(ctx, name); err != nil {
		return remote.WithHint(fmt.Errorf("remove snapshot %s: %w", id.Short(), err), "run the command again when all members are reachable")
	}
	return nil
}
