package snapshot

import (
	"bytes"
	"cmp"
	"slices"

	"cairn/chunk"
)

// Snapshot is one finished backup: a point in time that can be restored.
type Snapshot struct {
	// ID, Signer, Incomplete and Refs are not part of the encoding: whoever loads the object knows them.
	ID         chunk.ID // SHA-256 of the whole stored object
	Signer     [32]byte // public key of the writer
	Incomplete bool     // published but not validated: there is no .ok beside it
	Refs       []string // names of the references that stand for it, in order

	Content []chunk.ID // of the root directory, which stands for "/"
	Depth   uint8

	Start, End Time
	ZoneOffset int    // of the writer's local time from UTC in seconds
	Series     string // the chain of snapshots that this one continues
	Host       string
	User       string
	Source     string
	Role       string
	Component  string   // of a system of several: whose data this is, beside Host and Role
	Paths      []string // what was backed up, as raw bytes
	Tags       []string
	Previous   chunk.ID // the snapshot of the series before this one; zero for the first
	Original   chunk.ID // the snapshot that this one replaces, with other tags or without some files; zero otherwise
	Origin     Origin   // the snapshot of another archive that this one is a copy of; zero otherwise

	Stats  map[string]uint64 // see the Stat names
	Errors []ReadError       // what could not be read; Encode keeps as many as fit, see MaxListed

	Partial     bool // made although something was missing
	Pinned      bool // never forgotten by retention
	Checkpoint  bool // of a backup that was not through: its tree is what was done so far
	Program     string
	Excludes    []string
	Expires     Time       // until then it is kept, afterwards retention forgets it
	Degraded    [][32]byte // packs with fewer shards than the layout wants
	Description string
}

// Twin says whether two snapshots are one and the same but for what `tag` changes: who is stopped between publishing the changed one and
// forgetting the other leaves both.
func (s *Snapshot) Twin(t *Snapshot) bool {
	return s.ID != t.ID && s.first() == t.first() && s.Start == t.Start && s.Incomplete == t.Incomplete && s.Depth == t.Depth && slices.Equal(s.Content, t.Content)
}

// first is the snapshot that was replaced first, this one if it replaces none.
func (s *Snapshot) first() chunk.ID {
	if s.Original.IsZero() {
		return s.ID
	}
	return s.Original
}

// Origin names a snapshot of another archive.
type Origin struct {
	Archive  [16]byte // its id
	Snapshot chunk.ID
}

// IsZero says that there is none.
func (o Origin) IsZero() bool { return o == Origin{} }

// ReadError is something that could not be read.
type ReadError struct {
	Path    string // raw bytes
	Message string
}

// Names of the statistics of a snapshot. Other names may occur; a missing one counts as zero.
const (
	StatFilesNew       = "files_new"       // regular files that the previous snapshot has not
	StatFilesChanged   = "files_changed"   // regular files that were read again
	StatFilesUnchanged = "files_unchanged" // regular files known from the stat cache
	StatDirsNew        = "dirs_new"
	StatDirsChanged    = "dirs_changed"
	StatDirsUnchanged  = "dirs_unchanged"
	StatOther          = "other"        // symlinks, fifos, sockets and devices
	StatFilesTotal     = "files_total"  // regular files in the tree
	StatDirsTotal      = "dirs_total"   // directories in the tree
	StatBytesTotal     = "bytes_total"  // sizes of the regular files, holes included
	StatBytesRead      = "bytes_read"   // read from the source
	StatBytesNew       = "bytes_new"    // plain bytes of the blobs that were not in the archive
	StatBytesStored    = "bytes_stored" // the same, sealed
	StatBlobsNew       = "blobs_new"    // data blobs that were not in the archive
	StatTreesStored    = "trees_stored" // tree blobs that were not in the archive
	StatErrors         = "errors"       // what could not be read, also beyond the list of Errors
)

// Root returns the root of the snapshot's tree.
func (s *Snapshot) Root() Root { return Root{s.Content, s.Depth} }

// AddError lists something that could not be read and counts it.
func (s *Snapshot) AddError(path, message string) {
	if s.Stats == nil {
		s.Stats = make(map[string]uint64)
	}
	s.Stats[StatErrors]++
	if len(s.Errors) < MaxListed {
		s.Errors = append(s.Errors, ReadError{path, message})
	}
}

// Compare orders times.
func (t Time) Compare(o Time) int {
	return cmp.Or(cmp.Compare(t.Sec, o.Sec), cmp.Compare(t.Nsec, o.Nsec))
}

// SortByTime sorts by start time, snapshots of one time by their ids. "latest" is the last of this order.
func SortByTime(list []*Snapshot) { slices.SortFunc(list, (*Snapshot).Compare) }

// Compare orders snapshots by their start, those of one time by their ids.
func (s *Snapshot) Compare(o *Snapshot) int {
	return cmp.Or(s.Start.Compare(o.Start), bytes.Compare(s.ID[:], o.ID[:]))
}

// Filter chooses snapshots; the zero Filter chooses all.
type Filter struct {
	Host      string   // exactly this host
	Series    string   // exactly this series
	Source    string   // exactly this source,
	Role      string   // role
	Component string   // and component
	Ref       string   // the one for which this reference stands
	Tags      []string // every one of these tags
	Paths     []string // every one of these among the paths that were backed up
}

// Apply returns the snapshots that fit, in the order of the list.
func (f Filter) Apply(list []*Snapshot) []*Snapshot {
	var fit []*Snapshot
	for _, s := range list {
		if f.Match(s) {
			fit = append(fit, s)
		}
	}
	return fit
}

// Match says whether the snapshot fits.
func (f Filter) Match(s *Snapshot) bool {
	return fits(f.Host, s.Host) && fits(f.Series, s.Series) && fits(f.Source, s.Source) && fits(f.Role, s.Role) &&
		fits(f.Component, s.Component) &&
		(f.Ref == "" || slices.Contains(s.Refs, f.Ref)) && containsAll(s.Tags, f.Tags) && containsAll(s.Paths, f.Paths)
}

func fits(want, have string) bool { return want == "" || want == have }

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
