package member

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// recordName is the file in the archive's cache directory that says what Rewrite is at.
const recordName = "rewrite.json"

// record lets the next run on this machine finish what an interrupted one began. Without it nothing is lost: one round of blobs is
// copied twice, and packs that were about to be removed stay as garbage that nothing names. The methods of a nil record do
// nothing.
type record struct {
	file string
	lock *os.File // held with flock while the run lives

	Sessions []string     `json:"sessions"`           // of the packs that were being written: the last is the round's, others tried it before
	Copying  []string     `json:"copying"`            // packs of the round
	Removing []recordPack `json:"removing,omitempty"` // their blobs are published elsewhere
}

type recordPack struct {
	ID    string `json:"id"`
	Kind  uint8  `json:"kind"`
	Epoch uint16 `json:"epoch"`
}

// errRunning means that another process on this machine rewrites the same archive.
var errRunning = errors.New("another `cairn member` command rewrites the packs of this archive")

// takeRecord reads the record of an interrupted run, or gives an empty one, and locks it.
func takeRecord(dir string) (*record, error) {
	if dir == "" {
		return nil, errors.New("no cache directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &record{file: filepath.Join(dir, recordName)}
	var err error
	if r.lock, err = os.OpenFile(r.file+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := flock(r.lock); err != nil {
		r.unlock()
		return nil, err
	}
	data, err := os.ReadFile(r.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.unlock()
		return nil, err
	}
	if json.Unmarshal(data, r) != nil { // also when there is none
		return &record{file: r.file, lock: r.lock}, nil
	}
	return r, nil
}

// A process that was just killed may hold its lock until the disk has finished its last write.
const (
	lockTries = 20
	lockWait  = 100 * time.Millisecond
)

func flock(f *os.File) error {
	for range lockTries {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(lockWait)
	}
	return errRunning
}

// unlock lets the next run begin.
func (r *record) unlock() {
	if r != nil && r.lock != nil {
		r.lock.Close() // gives the lock back, whatever it says
	}
}

// begun says whether an interrupted run left something to go on with.
func (r *record) begun() bool { return r != nil && len(r.Sessions) > 0 }

// copying notes a round before its first pack is written. again says that it is one that was interrupted.
func (r *record) copying(s seal.SessionID, batch []pack.ID, again bool) error {
	if r == nil {
		return nil
	}
	if !again {
		r.Sessions = nil
	}
	r.Sessions = append(r.Sessions, s.String())
	r.Copying, r.Removing = nil, nil
	for _, id := range batch {
		r.Copying = append(r.Copying, id.String())
	}
	return r.write()
}

// removing notes what may be removed, before the first of it is.
func (r *record) removing(list ...recordPack) error {
	if r == nil {
		return nil
	}
	for _, p := range list {
		if !slices.Contains(r.Removing, p) {
			r.Removing = append(r.Removing, p)
		}
	}
	return r.write()
}

func (r *record) write() error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Not synced: of a file that a power cut leaves empty, takeRecord says that there was none.
	if err := os.WriteFile(r.file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(r.file+".new", r.file)
}

// remove ends the run.
func (r *record) remove() error {
	if r == nil {
		return nil
	}
	if err := os.Remove(r.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func recordOf(id pack.ID, kind chunk.Type, epoch uint16) recordPack {
	return recordPack{id.String(), uint8(kind), epoch}
}
