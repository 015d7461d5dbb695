package member

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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

	Session  string       `json:"session"`            // of the packs that were being written
	Copying  []string     `json:"copying"`            // packs of the round
	Removing []recordPack `json:"removing,omitempty"` // their blobs are published elsewhere
}

type recordPack struct {
	ID    string `json:"id"`
	Kind  uint8  `json:"kind"`
	Epoch uint16 `json:"epoch"`
}

// takeRecord reads the record of an interrupted run, or gives an empty one.
func takeRecord(dir string) (*record, error) {
	if dir == "" {
		return nil, errors.New("no cache directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &record{file: filepath.Join(dir, recordName)}
	data, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, r) != nil {
		return &record{file: r.file}, nil
	}
	return r, nil
}

// copying notes a round before its first pack is written.
func (r *record) copying(s seal.SessionID, batch []pack.ID) error {
	if r == nil {
		return nil
	}
	r.Session, r.Copying, r.Removing = s.String(), nil, nil
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
