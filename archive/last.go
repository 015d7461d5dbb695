package archive

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cairn/chunk"
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
	name := a.lastFile(s.Series)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
