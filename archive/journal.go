package archive

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"cairn/chunk/seal"
	"cairn/pack"
)

// A journal is a local file that lists the packs of a running session which no published segment names yet. When
// the session dies (Ctrl-C, kill -9, power), the next one on this machine publishes them instead of uploading their
// content again. It is a cache like the index: losing it costs uploads, never data. Each record is
//
//	length u32 ‖ CRC-32C u32 ‖ segment plaintext (docs/format.md §7)
//
// A torn last record is left out. The file is held with flock while its session lives, which is how the next
// session tells a dead one. The methods work on a nil journal and do nothing.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

const (
	journalDir       = "journal"
	maxJournalRecord = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newJournal(dir string, id seal.SessionID) (*journal, error) {
	if dir == "" {
		return nil, nil
	}
	dir = filepath.Join(dir, journalDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, id.String()), os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{file: f}, nil
}

// append notes a stored pack. An error is not worth stopping for: it costs what a lost journal costs.
func (j *journal) append(columns []pack.Column) {
	if j == nil {
		return
	}
	plain, err := pack.EncodeSegment(columns)
	if err != nil {
		return
	}
	record := binary.LittleEndian.AppendUint32(nil, uint32(len(plain)))
	record = binary.LittleEndian.AppendUint32(record, crc32.Checksum(plain, castagnoli))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file.Write(append(record, plain...)) //nolint:errcheck // see above
}

// published empties the journal when nothing stored is left unnamed. Packs stored while the segment was being
// published stay in it: publishing a column twice is harmless, losing one is not.
func (j *journal) published(columns []pack.Column) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := keepUnpublished(readJournal(j.file), columns)
	if err := j.file.Truncate(0); err != nil {
		return
	}
	for _, k := range kept {
		plain, err := pack.EncodeSegment([]pack.Column{k})
		if err != nil {
			continue
		}
		record := binary.LittleEndian.AppendUint32(nil, uint32(len(plain)))
		record = binary.LittleEndian.AppendUint32(record, crc32.Checksum(plain, castagnoli))
		j.file.Write(append(record, plain...)) //nolint:errcheck // see append
	}
}

func keepUnpublished(all, published []pack.Column) []pack.Column {
	done := map[pack.ID]struct{}{}
	for _, c := range published {
		done[c.Pack] = struct{}{}
	}
	var kept []pack.Column
	for _, c := range all {
		if _, ok := done[c.Pack]; !ok {
			kept = append(kept, c)
		}
	}
	return kept
}

// close ends the journal; done removes it because all is published.
func (j *journal) close(done bool) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if done {
		err = os.Remove(j.file.Name())
	}
	return errors.Join(err, j.file.Close())
}

// readJournal returns the columns of all whole records.
func readJournal(f *os.File) []pack.Column {
	var columns []pack.Column
	r := bufio.NewReader(io.NewSectionReader(f, 0, 1<<62))
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return columns
		}
		n := binary.LittleEndian.Uint32(head[:4])
		if n > maxJournalRecord {
			return columns
		}
		plain := make([]byte, n)
		if _, err := io.ReadFull(r, plain); err != nil || crc32.Checksum(plain, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			return columns
		}
		cols, err := pack.DecodeSegment(plain)
		if err != nil {
			return columns
		}
		columns = append(columns, cols...)
	}
}

// resume publishes what dead sessions on this machine stored but did not publish.
func (w *Writer) resume(ctx context.Context) error {
	if w.a.dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(w.a.dir, journalDir, "*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := w.resumeOne(ctx, name); err != nil {
			return fmt.Errorf("resume interrupted session %.8s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func (w *Writer) resumeOne(ctx context.Context, name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil // another process has finished it
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // its session lives
	}
	var stored []pack.Column
	packs := map[pack.ID]bool{}
	for _, c := range readJournal(f) {
		whole, seen := packs[c.Pack]
		if !seen {
			if whole, err = w.isStored(ctx, c); err != nil {
				return err
			}
			packs[c.Pack] = whole
		}
		if whole && !strings.Contains(c.Kind.String(), "index") {
			stored = append(stored, c)
		}
	}
	if len(stored) > 0 {
		if err := w.putSegments(ctx, stored); err != nil {
			return err
		}
		w.a.opts.Notice(fmt.Sprintf("an interrupted run left %d packs: they are used, not uploaded again", len(packs)))
	}
	return os.Remove(name)
}

// isStored says whether at least k shards of a pack are on their members in full length.
func (w *Writer) isStored(ctx context.Context, c pack.Column) (bool, error) {
	if c.Geometry != w.a.geom {
		return false, nil
	}
	have := 0
	for j, m := range w.a.shardStores(c.Pack) {
		if m == nil {
			continue
		}
		info, err := m.Stat(ctx, c.Pack.Name(c.Kind))
		if err == nil && info.Size == pack.ShardSize(c.L) {
			have++
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if have >= c.K || j == c.N() {
			break
		}
	}
	return have >= c.K, nil
}
