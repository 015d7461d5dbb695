package archive

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/snapshot"
)

// Last is what this machine remembers of the newest snapshot it made in a series. A writer key cannot read
// snapshots, so this is all it has to chain them (rollback is noticed by readers) and to see that nothing changed.
type Last struct {
	Series  string     `json:"series"`
	ID      chunk.ID   `json:"id"`
	Content []chunk.ID `json:"content"`
	Depth   uint8      `json:"depth"`
	Time    time.Time  `json:"time"`
	Files   uint64     `json:"files"` // totals, for the next run's progress
	Bytes   uint64     `json:"bytes"`
}

func (a *Archive) lastFile(series string) string {
	return filepath.Join(a.dir, "last", chunk.Sum([]byte(series)).String())
}

// LastOf returns what is remembered of a series, or nil. Like all of the cache directory it may be gone.
func (a *Archive) LastOf(series string) *Last {
	if a.dir == "" {
		return nil
	}
	data, err := os.ReadFile(a.lastFile(series))
	if err != nil {
		return nil
	}
	var l Last
	if json.Unmarshal(data, &l) != nil || l.Series != series {
		return nil
	}
	return &l
}

// Remember notes a finished snapshot of its series for the next run, with how many files and bytes it holds.
func (a *Archive) Remember(s *snapshot.Snapshot, files, bytes uint64) error {
	if a.dir == "" {
		return nil
	}
	l := Last{Series: s.Series, ID: s.ID, Content: s.Content, Depth: s.Depth,
		Time: s.Start.Time(), Files: files, Bytes: bytes}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return writeCache(a.lastFile(s.Series), data)
}

// writeCache replaces a file of the cache directory as a whole. It is not synced: a cache may be lost.
func writeCache(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ErrReplaced means that the archive has another root key than when this machine saw it first.
var ErrReplaced = errors.New("the archive was replaced by another one with the same id")

// rootFile is the file in an archive's cache directory that says whose archive it was when this machine saw it first.
const rootFile = "root"

// known says whether this machine has opened an archive with a key before.
func (o Options) known(archive string) bool {
	id, err := seal.ParseArchiveID(archive)
	if err != nil || o.Dir == nil || o.Dir(id) == "" {
		return false
	}
	_, err = os.Stat(filepath.Join(o.Dir(id), rootFile))
	return err == nil
}

// checkRoot compares the root's public key with the one that this machine saw first (file "root" in the cache directory). An
// archive's id stands in the clear in its card. Whoever holds the members, and knows the public key of one of the
// recipients, could make another archive of the same id that opens here just as well, and read what is backed up to it.
func (a *Archive) checkRoot(k *seal.Keys) error {
	if a.dir == "" {
		return nil
	}
	signer := k.RootSigner()
	now := []byte(hex.EncodeToString(signer[:]) + "\n")
	name := filepath.Join(a.dir, rootFile)
	known, err := os.ReadFile(name)
	if err == nil && len(known) == len(now) {
		if bytes.Equal(known, now) {
			return nil
		}
		return remote.WithHint(fmt.Errorf("archive %.8s: %w (root key %.8s, known is %.8s)", a.id, ErrReplaced, now, known),
			"do not back up to it before you know who did this; if it was you, remove "+name)
	}
	if err := writeCache(name, now); err != nil {
		a.opts.Notice(fmt.Sprintf("the archive's root key cannot be remembered (%v): a replaced archive would not be noticed", err))
	}
	return nil
}
