package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cairn/chunk"
	"cairn/snapshot"
)

// Copies of other archives' snapshots name what they are copies of. Whoever holds a writer key cannot read that, and what a copy that was forgotten
// was a copy of nobody can. So this machine remembers what it copied, in the folder `copies` of the cache directory: a file for each source, a
// line for each copy. A torn line is none. Losing it costs the holder of a writer key a second copy of each snapshot, of which all
// blobs are there, and a replica the snapshots that were forgotten in it only: they come back.

func (a *Archive) copiesFile(source [16]byte) string {
	return filepath.Join(a.dir, "copies", fmt.Sprintf("%x", source))
}

// maxCopies bounds what is read of one file, for half a million copies.
const maxCopies = 64 << 20

// Copies returns what this machine copied here from another archive: for each of its snapshots the last copy that was made.
func (a *Archive) Copies(source [16]byte) map[chunk.ID]chunk.ID {
	of := map[chunk.ID]chunk.ID{}
	if a.dir == "" {
		return of
	}
	name := a.copiesFile(source)
	if info, err := os.Stat(name); err != nil || info.Size() > maxCopies {
		return of
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return of
	}
	for line := range strings.Lines(string(data)) {
		was, is, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		from, err := chunk.ParseID(was)
		to, toErr := chunk.ParseID(is)
		if err == nil && toErr == nil {
			of[from] = to
		}
	}
	return of
}

// RememberCopy notes a copy for Copies.
func (a *Archive) RememberCopy(o snapshot.Origin, id chunk.ID) error {
	if a.dir == "" {
		return nil
	}
	name := a.copiesFile(o.Archive)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "\n%s %s\n", o.Snapshot, id) // behind a line that a crash tore
	return errors.Join(err, f.Close())
}
