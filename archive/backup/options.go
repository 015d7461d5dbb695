package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

// Saver is the archive as a backup sees it. Save and Known may be called concurrently; plain may be
// used again when Save returns.
type Saver interface {
	Save(ctx context.Context, t chunk.Type, plain []byte) (archive.Saved, error)
	Known(t chunk.Type, ids []chunk.ID) (bool, error) // are all of them stored?
	Commit(ctx context.Context, s *snapshot.Snapshot) (chunk.ID, error)
}

// Checkpointer is a Saver that can publish a snapshot of what is done so far, beside Saves. What it names was saved before. An error
// ends nothing: the backup goes on without the checkpoint.
type Checkpointer interface {
	Checkpoint(ctx context.Context, s *snapshot.Snapshot) error
}

// Cache holds the stat cache of one series. A key that was never put is no error. Both may be called
// concurrently; neither slice is kept after return. Values are at most maxRecord bytes plus one entry.
type Cache interface {
	Get(key []byte) ([]byte, bool, error)
	Put(key, value []byte) error
}

// Parent is a previous snapshot that can be read. It stands in where the stat cache knows nothing.
type Parent struct {
	Content []chunk.ID
	Depth   uint8
	Start   time.Time // when that backup began: what changed since 2 s before it is not trusted
	Load    snapshot.LoadFunc
}

// Options says what is backed up and how. Paths and Params are needed, everything else may be zero.
type Options struct {
	Paths  []string // relative ones are taken from the working directory
	Params chunk.Params

	Host, Series, User, Source, Role, Component string
	Description, Program                        string
	Tags                                        []string
	Pinned                                      bool
	Expires                                     snapshot.Time
	Time                                        time.Time // recorded as the start; zero: now
	PreviousID                                  chunk.ID  // of the series' last snapshot, recorded

	Excludes          *pattern.List
	ExcludeLargerThan uint64   // files of more bytes are left out; 0: none
	ExcludeIfPresent  []string // NAME or NAME:header: of a directory that has it only NAME itself is kept
	ExcludeCaches     bool     // the same for a CACHEDIR.TAG with its signature; off by default, as elsewhere
	OneFileSystem     bool     // a directory on another file system than the path it was reached from is stored empty

	WithAtime       bool // record access times; then trees differ in nearly every backup
	IgnoreInode     bool // a changed inode number or
	IgnoreCtime     bool // a changed ctime alone does not make a file be read again
	Force           bool // read everything again
	SkipIfUnchanged bool // no snapshot if the tree equals PreviousContent, or Parent's but for the ways to the paths

	// AllowPartial lets RunParts make a snapshot although a required part failed: it is marked as partial and lists what failed.
	AllowPartial bool

	Cache           Cache   // nil: none
	Parent          *Parent // nil: none
	PreviousContent []chunk.ID
	PreviousDepth   uint8

	Concurrency int   // savers, and a fourth of the walkers and readers (see waiting); 0: chunk.Cores
	MemoryLimit int64 // of file data in flight; 0: 24 MiB with two cores, 4 for each further one, at most 64; raised to what one large file needs

	// A checkpoint is published after so much time or so many bytes stored, if data was stored since the last one and the Saver is
	// a Checkpointer. 0: CheckpointEvery and CheckpointBytes; a time below 0: never.
	CheckpointEvery time.Duration
	CheckpointBytes int64

	Progress *Progress
	Warn     func(path string, err error) // called one at a time, for each error and warning; may be nil

	clock func() time.Time // for tests: the racy rule depends on it
	fault func(op, path string, offset int64) error
	nudge <-chan struct{} // for tests: checkpoint now
}

// defaultMemory is what keeps n savers busy.
func defaultMemory(n int) int64 { return min(16+4*int64(max(n, 2)), 64) << 20 }

// waiting returns how many walkers or readers there are: each waits for the disk most of the time when nothing is cached. On two cores and a
// virtual disk, nothing cached, 68,000 unchanged files took 2.05 s with two walkers and 1.3 with eight, their first backup 9.3 s with two and four readers and
// 8.1 with eight of both. More than 16 of each would keep a rotating disk from reading anything in a row.
func (o *Options) waiting(least int) int {
	return max(least*o.Concurrency, min(4*o.Concurrency, 16))
}

// How often a long backup publishes a checkpoint. What an interruption leaves unprotected is at most that much, and a checkpoint
// costs the pack that it closes before it is full and a few requests.
const (
	CheckpointEvery = 10 * time.Minute
	CheckpointBytes = 32 << 30
)

// applyDefaults returns a copy in which every number is set.
func (o Options) applyDefaults() (Options, error) {
	if err := o.Params.Validate(); err != nil {
		return o, err
	}
	if o.clock == nil {
		o.clock = time.Now
	}
	if o.Time.IsZero() {
		o.Time = o.clock()
	}
	if o.Concurrency <= 0 {
		o.Concurrency = chunk.Cores()
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = defaultMemory(o.Concurrency)
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = CheckpointEvery
	}
	if o.CheckpointBytes == 0 {
		o.CheckpointBytes = CheckpointBytes
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	if o.Excludes == nil {
		o.Excludes = new(pattern.List)
	}
	if o.Warn == nil {
		o.Warn = func(string, error) {}
	}
	if o.PreviousContent == nil && o.Parent != nil {
		o.PreviousContent, o.PreviousDepth = o.Parent.Content, o.Parent.Depth
	}
	for _, s := range o.ExcludeIfPresent {
		if _, err := parseMarker(s); err != nil {
			return o, err
		}
	}
	return o, nil
}

// How rules that are no patterns are written into a snapshot.
const (
	ruleLargerThan    = "larger-than: "
	ruleIfPresent     = "if-present: "
	ruleCaches        = "caches"
	ruleOneFileSystem = "one-file-system"
)

// rules lists what was left out by rule, for the snapshot.
func (o *Options) rules() []string {
	rules := o.Excludes.Patterns()
	if o.ExcludeLargerThan > 0 {
		rules = append(rules, fmt.Sprintf("%s%d", ruleLargerThan, o.ExcludeLargerThan))
	}
	for _, s := range o.ExcludeIfPresent {
		rules = append(rules, ruleIfPresent+s)
	}
	if o.ExcludeCaches {
		rules = append(rules, ruleCaches)
	}
	if o.OneFileSystem {
		rules = append(rules, ruleOneFileSystem)
	}
	return rules
}

// ErrNoPaths means that there is nothing to back up: no path was given, or none of them exists.
var ErrNoPaths = errors.New("none of the paths can be read")
