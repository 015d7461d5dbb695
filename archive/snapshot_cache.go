package archive

import (
	"errors"
	"os"
	"path/filepath"

	"cairn/chunk"
)

// Snapshots never change, and every backup reads all of them, to find the one before. So their objects, as they are stored
// and sealed, are kept in the folder `snapshots` of the cache directory: a year of nightly backups would otherwise cost a
// request for each of 365. What is read there is compared with its name as if it came from a member, and which snapshots
// there are is always listed from the members.

// maxCachedSnapshot bounds one object. A snapshot has a few KB, unless a great many files could not be read.
const maxCachedSnapshot = 256 << 10

func (a *Archive) snapshotCache() string { return filepath.Join(a.dir, "snapshots") }

// cachedSnapshot returns a snapshot's object from the cache, or nil.
func (a *Archive) cachedSnapshot(id chunk.ID) []byte {
	if a.dir == "" {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(a.snapshotCache(), id.String()))
	if err != nil || verifyNamed(id, data) != nil {
		return nil
	}
	return data
}

// cacheSnapshot keeps a snapshot's object. An error costs what a lost cache costs.
func (a *Archive) cacheSnapshot(id chunk.ID, object []byte) {
	if a.dir != "" && len(object) <= maxCachedSnapshot {
		_ = writeCache(filepath.Join(a.snapshotCache(), id.String()), object)
	}
}

// dropSnapshots removes from the cache what the archive does not list any more.
func (a *Archive) dropSnapshots(ids map[chunk.ID]bool) {
	if a.dir == "" {
		return
	}
	entries, err := os.ReadDir(a.snapshotCache())
	if err != nil {
		return
	}
	for _, e := range entries {
		if id, err := chunk.ParseID(e.Name()); err == nil {
			if _, listed := ids[id]; !listed {
				if err := os.Remove(filepath.Join(a.snapshotCache(), e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
					return
				}
			}
		}
	}
}
