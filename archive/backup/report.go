package backup

import (
	"errors"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// Progress is polled by whoever shows it while Run works. Unchanged files count as done with all their bytes.
// Everything that is no directory counts as a file here.
type Progress struct {
	Files, Dirs, Bytes         atomic.Int64 // done
	FoundFiles, FoundBytes     atomic.Int64 // by the walk so far, at most queuedFiles ahead of what is done
	CountedFiles, CountedBytes atomic.Int64 // by Count; 0 until it is through
	BytesRead, BytesNew        atomic.Int64 // read from files; of those, in blobs the archive did not have
	BytesStored                atomic.Int64 // what the new blobs take, trees included
	Errors, Warnings           atomic.Int64
	current                    atomic.Pointer[string]
}

// Current returns the path of a file that is being read.
func (p *Progress) Current() string {
	if s := p.current.Load(); s != nil {
		return *s
	}
	return ""
}

// Changes counts nodes by what the previous backup knew of them.
type Changes struct{ New, Changed, Unchanged uint64 }

// since makes what a second walk counted into what a first one, which counted e, and it found together.
func (c *Changes) since(e Changes) {
	total := c.Total()
	c.New = min(e.New, total)
	c.Changed = min(e.Changed, total-c.New)
	c.Unchanged = total - c.New - c.Changed
}

// Total is the number of nodes.
func (c Changes) Total() uint64 { return c.New + c.Changed + c.Unchanged }

// rewind begins counting what is done anew; what was read and stored stays.
func (p *Progress) rewind() {
	for _, n := range []*atomic.Int64{&p.Files, &p.Dirs, &p.Bytes, &p.FoundFiles, &p.FoundBytes, &p.Errors, &p.Warnings} {
		n.Store(0)
	}
}

// Report says what a backup did.
type Report struct {
	Snapshot  *snapshot.Snapshot
	ID        chunk.ID
	Unchanged bool // SkipIfUnchanged held: there is no snapshot, Snapshot and ID are what would have been

	Errors       []snapshot.ReadError // what could not be read, by path; at most maxListed
	ErrorCount   uint64
	Warnings     []snapshot.ReadError // changed while read, vanished; what is there was stored
	WarningCount uint64
	Incomplete   bool // something could not be read: exit 3

	Files, Dirs, Others Changes
	Bytes               uint64 // of all files, holes included
	BytesRead           uint64 // from files and streams
	BytesNew            uint64 // plain bytes of new data blobs
	BytesStored         uint64 // what new blobs take after compression, trees included
	TreeBytesStored     uint64 // of those, trees
	DataBlobs           uint64 // new ones
	TreeBlobs           uint64
	Start, End          time.Time

	Parts []PartReport // of RunParts, in their order
}

// Duration is how long the backup took.
func (r *Report) Duration() time.Duration { return r.End.Sub(r.Start) }

// maxListed bounds a list of errors: with paths of 4096 bytes 40 MB at the very worst, 2 MB with usual ones.
const maxListed = 10_000

// tally collects what a run did. Safe for concurrent use.
type tally struct {
	dataBlobs, treeBlobs, treeStored atomic.Uint64

	mu       sync.Mutex
	changes  [3]Changes // files, dirs, others
	bytes    uint64
	errors   notes
	warnings notes
	warn     func(string, error)
	progress *Progress
}

// carry takes over what an earlier walk stored.
func (t *tally) carry(from *tally) {
	t.dataBlobs.Store(from.dataBlobs.Load())
	t.treeBlobs.Store(from.treeBlobs.Load())
	t.treeStored.Store(from.treeStored.Load())
}

type notes struct {
	list  []snapshot.ReadError
	count uint64
}

func (n *notes) add(path, message string) {
	n.count++
	if len(n.list) < maxListed {
		n.list = append(n.list, snapshot.ReadError{Path: path, Message: message})
	}
}

func (n *notes) sorted() []snapshot.ReadError {
	sort.SliceStable(n.list, func(i, j int) bool { return n.list[i].Path < n.list[j].Path })
	return n.list
}

// fail lists something that could not be read and returns the message for its node.
func (t *tally) fail(path string, err error) string {
	message := snapshot.CleanText(short(err))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors.add(path, message)
	t.progress.Errors.Add(1)
	t.warn(path, err)
	return message
}

// note lists something that is worth knowing and no loss.
func (t *tally) note(path string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.warnings.add(path, snapshot.CleanText(short(err)))
	t.progress.Warnings.Add(1)
	t.warn(path, err)
}

// short cuts a message to what a list of 10,000 can bear.
func short(err error) string {
	s := err.Error()
	if len(s) > 500 {
		s = s[:500]
	}
	return s
}

type change uint8

const (
	isNew change = iota
	isChanged
	isUnchanged
)

// count is given a directory's nodes at once, so that the lock is taken once a directory.
func (t *tally) count(c [3]Changes, bytes uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range c {
		t.changes[i].New += c[i].New
		t.changes[i].Changed += c[i].Changed
		t.changes[i].Unchanged += c[i].Unchanged
	}
	t.bytes += bytes
}

func (c *Changes) add(what change) {
	switch what {
	case isNew:
		c.New++
	case isChanged:
		c.Changed++
	case isUnchanged:
		c.Unchanged++
	}
}

// report closes the books. The caller fills in the snapshot.
func (t *tally) report(start, end time.Time) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.progress
	return &Report{
		Errors: t.errors.sorted(), ErrorCount: t.errors.count, Incomplete: t.errors.count > 0,
		Warnings: t.warnings.sorted(), WarningCount: t.warnings.count,
		Files: t.changes[0], Dirs: t.changes[1], Others: t.changes[2],
		Bytes: t.bytes, BytesRead: uint64(p.BytesRead.Load()), BytesNew: uint64(p.BytesNew.Load()),
		BytesStored: uint64(p.BytesStored.Load()), TreeBytesStored: t.treeStored.Load(),
		DataBlobs: t.dataBlobs.Load(), TreeBlobs: t.treeBlobs.Load(),
		Start: start, End: end,
	}
}

// stats are the numbers a snapshot carries.
func (r *Report) stats() map[string]uint64 {
	return map[string]uint64{
		snapshot.StatFilesNew: r.Files.New, snapshot.StatFilesChanged: r.Files.Changed,
		snapshot.StatFilesUnchanged: r.Files.Unchanged, snapshot.StatFilesTotal: r.Files.Total(),
		snapshot.StatDirsNew: r.Dirs.New, snapshot.StatDirsChanged: r.Dirs.Changed,
		snapshot.StatDirsUnchanged: r.Dirs.Unchanged, snapshot.StatDirsTotal: r.Dirs.Total(),
		snapshot.StatOther: r.Others.Total(), snapshot.StatBytesTotal: r.Bytes,
		snapshot.StatBytesRead: r.BytesRead, snapshot.StatBytesNew: r.BytesNew, snapshot.StatBytesStored: r.BytesStored,
		snapshot.StatBlobsNew: r.DataBlobs, snapshot.StatTreesStored: r.TreeBlobs,
		snapshot.StatErrors: r.ErrorCount,
	}
}

// vanished says that a name is gone, or no longer is the kind of thing it was: normal on a living system.
func vanished(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, errReplaced)
}
