package restore

import (
	"context"
	"path"
	"slices"
	"sync/atomic"

	"cairn/chunk"
	"cairn/snapshot"
)

// Source is the archive as restore needs it; *archive.Archive is one. Blobs come verified by their hash.
type Source interface {
	// Load returns one blob.
	Load(ctx context.Context, t chunk.Type, id chunk.ID) ([]byte, error)
	// Ahead tells which trees will be loaded soon. It is a hint.
	Ahead(ctx context.Context, ids []chunk.ID)
	// Fetch hands each distinct blob to fn once, in the order of their places, concurrently; plain is valid during the
	// call only. Lost blobs do not stop it: they make an *archive.FetchError at the end. Any other error is about more
	// than single blobs and ends the restore.
	Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(id chunk.ID, plain []byte) error) error
	// FetchRipe is Fetch that leaves out what had better be read together with what will be asked for next, as it can tell from green:
	// the blobs that were asked for last. It returns what it left out, also with an *archive.FetchError.
	FetchRipe(ctx context.Context, t chunk.Type, ids []chunk.ID, green func(chunk.ID) bool, fn func(id chunk.ID, plain []byte) error) ([]chunk.ID, error)
	// Sizes fills in plain lengths; it fails with an *archive.MissingError when one is not known.
	Sizes(ctx context.Context, t chunk.Type, ids []chunk.ID, sizes []uint32) error
}

// Root is the root directory of a snapshot: the content of "/".
type Root = snapshot.Root

// Matcher is a compiled list of patterns, such as pattern.List. Paths are those in the snapshot, with a leading
// slash. A directory that is excluded brings all below it; Match is not asked about that.
type Matcher interface {
	Match(path string, dir bool) bool
}

// Options say what is restored and how. Only Target is needed.
type Options struct {
	Target string // made if it is not there
	// Path in the snapshot: the content of that directory, or that single file, is put into Target. "" and "/" are
	// the whole snapshot.
	Path string
	// Roots are the paths that were backed up. Delete works at and below them only: what lies above (/srv, when
	// /srv/a was backed up) is recorded with just the names that lead there.
	Roots []string
	// Unread are the paths that could not be read at backup time; nothing at or below them is deleted.
	Unread []string

	Includes Matcher // nil: everything. A directory that matches brings all below it
	Excludes Matcher // wins over Includes; excluded entries are neither restored nor deleted

	InPlace bool // bring existing entries to the recorded state; otherwise those that differ are refused and listed
	Delete  bool // with InPlace: remove entries that the snapshot does not have; needs Roots
	DryRun  bool // change nothing, only call Action
	Sparse  bool // make holes of long runs of zeros, too
	Verify  bool // read back what was written and compare hashes
	// Salvage keeps what could be had of a file that lacks blobs, with zeros where they belong, as NAME.incomplete (mode 0600). The file
	// is listed as a failure all the same. An existing file that lacks blobs is left as far as it was updated.
	Salvage bool

	NoOwner    bool
	NoXattrs   bool
	OwnerNames bool // look owners up by name; ids are used for names that are unknown here

	Concurrency int   // workers that compare and verify; 0: chunk.Cores
	MemoryLimit int64 // bytes for batches and trees read ahead; 0: 64 MiB

	Progress *Progress
	Action   func(Action)                                // called for every entry; concurrently
	Warn     func(kind WarnKind, path string, err error) // called for every warning; concurrently
	Fail     func(Failure)                               // called for every failure; concurrently
}

const defaultMemory = 64 << 20

func (o Options) applyDefaults() Options {
	if o.Concurrency <= 0 {
		o.Concurrency = chunk.Cores()
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = defaultMemory
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	o.Path = cleanPath(o.Path)
	o.Roots = slices.Clone(o.Roots)
	for i := range o.Roots {
		o.Roots[i] = cleanPath(o.Roots[i])
	}
	return o
}

// cleanPath gives a path in a snapshot its one form: a leading slash, no trailing one, "/" for the root.
func cleanPath(p string) string { return path.Clean("/" + p) }

// ActionKind is what happens to an entry.
type ActionKind uint8

const (
	Create    ActionKind = iota + 1 // it was not there
	Update                          // its content or type differs
	Meta                            // only its metadata differs
	Unchanged                       // it is as recorded
	Delete                          // the snapshot does not have it
)

func (k ActionKind) String() string {
	switch k {
	case Create:
		return "create"
	case Update:
		return "update"
	case Meta:
		return "meta"
	case Unchanged:
		return "unchanged"
	case Delete:
		return "delete"
	}
	return "unknown"
}

// Action is one step of the plan.
type Action struct {
	Kind ActionKind
	Path string // in the snapshot
	Dir  bool
	Size uint64 // of a file
}

// Progress is counted while a restore runs; all of it may be read at any time. Found grows as the tree is
// walked, at most one batch ahead of Done; totals known beforehand are in the snapshot's statistics.
type Progress struct {
	FilesFound, FilesDone atomic.Uint64 // entries that are not directories
	BytesFound, BytesDone atomic.Uint64 // content without holes, written or found to be right
	current               atomic.Pointer[file]
}

// Current returns the path of the file that was worked on last.
func (p *Progress) Current() string {
	if f := p.current.Load(); f != nil {
		return f.path()
	}
	return ""
}
