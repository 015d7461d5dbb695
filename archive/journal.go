package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// A journal is a local file that lists the packs of a running session which no published segment names yet, from when
// they are sealed. When the session dies (Ctrl-C, kill -9, power), the next one on this machine publishes those that
// reached k members instead of uploading their content again. It is a cache like the index: losing it costs uploads, never data. Each record is one column:
//
//	length u32 ‖ CRC-32C u32 ‖ segment plaintext (docs/format.md §7)
//
// Beside it a file with the suffix .index lists the ids of the index packs that are being stored, one in hex a line, so that what a
// dead session left of one can be removed.
//
// A torn last record is left out. The file is held with flock while its session lives, which is how the next
// session tells a dead one. The methods work on a nil journal and do nothing.
type journal struct {
	mu   sync.Mutex
	file *os.File
	name string

	segments []pack.ID // index packs that are being stored, or were not stored on k members
}

const (
	journalDir       = "journal"
	segmentSuffix    = ".index"
	maxJournalRecord = chunk.MaxPlain
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newJournal makes the journal of a session. It gets its name when it is locked: without its lock, another session
// would take it for a dead one's.
func newJournal(dir string, id seal.SessionID) (*journal, error) {
	if dir == "" {
		return nil, nil
	}
	dir = filepath.Join(dir, journalDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, id.String())
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(name+".new"), f.Close())
	}
	return &journal{file: f, name: name}, nil
}

// append notes a pack that is about to be stored. An error is not worth stopping for: it costs what a lost journal costs.
func (j *journal) append(columns []pack.Column) {
	if j == nil {
		return
	}
	var records []byte
	for _, c := range columns {
		records = appendRecord(records, c)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.file.Write(records) // see above
}

// appendRecord appends a column's record, or nothing if it cannot be encoded.
func appendRecord(dst []byte, c pack.Column) []byte {
	plain, err := pack.EncodeSegment([]pack.Column{c})
	if err != nil {
		return dst
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(plain)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(plain, castagnoli))
	return append(dst, plain...)
}

// published takes out the packs that a segment names now. Packs stored while the segment was being published stay:
// publishing a column twice is harmless, losing one is not.
func (j *journal) published(columns []pack.Column) {
	if j == nil {
		return
	}
	done := map[pack.ID]struct{}{}
	for _, c := range columns {
		done[c.Pack] = struct{}{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var records []byte
	for _, c := range readJournal(j.file) {
		if _, ok := done[c.Pack]; !ok {
			records = appendRecord(records, c)
		}
	}
	if j.file.Truncate(0) == nil {
		_, _ = j.file.Write(records) // see append
	}
}

// empty says whether nothing is noted that the next session would have to look at.
func (j *journal) empty() bool {
	if j == nil {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	info, err := j.file.Stat()
	return len(j.segments) == 0 && err == nil && info.Size() == 0
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
		err = removeJournal(j.name)
	}
	return errors.Join(err, j.file.Close())
}

// removeJournal removes a journal and what belongs to it. The cache directory may have been removed before.
func removeJournal(name string) error {
	var errs []error
	for _, n := range []string{name + segmentSuffix, name} { // the other way round the first would be left without an owner
		if err := os.Remove(n); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// segment notes an index pack that is about to be stored.
func (j *journal) segment(id pack.ID) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, id)
	j.writeSegments()
}

// segmentDone takes an index pack out that is stored.
func (j *journal) segmentDone(id pack.ID) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = slices.DeleteFunc(j.segments, func(s pack.ID) bool { return s == id })
	j.writeSegments()
}

// writeSegments writes the few that there are anew. For its errors see append.
func (j *journal) writeSegments() {
	if len(j.segments) == 0 {
		_ = os.Remove(j.name + segmentSuffix)
		return
	}
	var text []byte
	for _, id := range j.segments {
		text = append(text, id.String()+"\n"...)
	}
	_ = os.WriteFile(j.name+segmentSuffix, text, 0o600)
}

// readSegmentIDs returns the index packs that a session was storing when it died.
func readSegmentIDs(journal string) []pack.ID {
	f, err := os.Open(journal + segmentSuffix)
	if err != nil {
		return nil
	}
	defer f.Close()
	var ids []pack.ID
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if id, err := pack.ParseID(lines.Text()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// readJournal returns the columns of all whole records.
func readJournal(f *os.File) []pack.Column {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	return decodeJournal(io.NewSectionReader(f, 0, info.Size()), info.Size())
}

// decodeJournal reads records until the first that is torn or damaged. left is how many bytes there are: no more is
// allocated than that.
func decodeJournal(src io.Reader, left int64) []pack.Column {
	var columns []pack.Column
	r := bufio.NewReader(src)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return columns
		}
		n := int64(binary.LittleEndian.Uint32(head[:4]))
		if left -= int64(len(head)) + n; n > maxJournalRecord || left < 0 {
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

// takeJournal opens the journal of a dead session and locks it; nil if there is nothing to take: its session lives, or
// another process has just finished it.
func takeJournal(name string) *os.File {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		held, err := f.Stat()
		now, nowErr := os.Stat(name)
		if err == nil && nowErr == nil && os.SameFile(held, now) {
			return f
		}
	}
	f.Close()
	return nil
}

// journals lists the journals in a cache directory.
func journals(dir string) ([]string, error) {
	dir = filepath.Join(dir, journalDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for interrupted sessions: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := seal.ParseSessionID(e.Name()); err == nil {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}
