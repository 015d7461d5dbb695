package prune

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cairn/chunk"
	"cairn/pack"
)

// DefaultSessionAge is how long ago the last sign of life of a session may be before its packs count as left behind.
const DefaultSessionAge = 7 * 24 * time.Hour

// DefaultMaxUnused is the share of garbage that may stay in packs which are needed.
const DefaultMaxUnused = 0.05

// Options say what to collect. The zero value leaves no garbage at all.
type Options struct {
	Limits
	// DryRun finds out what would be done, and writes nothing.
	DryRun bool
	// Forget are snapshots that a DryRun regards as forgotten.
	Forget []chunk.ID
	// SessionAge is how long ago the last heartbeat of a session at work may be, by the members' clocks; 0: DefaultSessionAge. Packs of such
	// sessions are left alone. It is politeness: no data depends on it.
	SessionAge time.Duration
	// Target is the length aimed at for the columns of new packs, for tests; 0 is the default.
	Target   int
	Program  string // for the gc record
	Progress *Progress
	Notice   func(string) // may be nil
}

// Validate refuses limits that mean nothing.
func (o Options) Validate() error {
	switch {
	case !(o.MaxUnused >= 0): // NaN, too
		return fmt.Errorf("unused share %v: must not be negative", o.MaxUnused)
	case o.MaxUnusedBytes < 0 || o.MaxRepack < 0 || o.Target < 0:
		return errors.New("limits must not be negative")
	case len(o.Forget) > 0 && !o.DryRun:
		return errors.New("only a dry run takes snapshots for forgotten that are not")
	case o.SessionAge < 0:
		return fmt.Errorf("session age %s: must not be negative", o.SessionAge)
	}
	return nil
}

func (o Options) applyDefaults() Options {
	if o.SessionAge == 0 {
		o.SessionAge = DefaultSessionAge
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	return o
}

// Phase is what a collection is doing.
type Phase int32

// The phases, in their order. Some may come twice.
const (
	Listing Phase = iota
	Marking
	Counting
	Copying
	Condemning
	Unnaming
	Deleting
)

func (p Phase) String() string {
	switch p {
	case Listing:
		return "list"
	case Marking:
		return "mark"
	case Counting:
		return "count"
	case Copying:
		return "copy"
	case Condemning:
		return "condemn"
	case Unnaming:
		return "update index"
	case Deleting:
		return "delete"
	}
	return fmt.Sprintf("phase %d", int32(p))
}

// Progress is counted while a collection runs; it may be read at any time.
type Progress struct {
	Phase             atomic.Int32
	Snapshots         atomic.Uint64 // whose trees were walked
	TotalSnapshots    atomic.Uint64
	Trees             atomic.Uint64 // distinct ones
	Packs, TotalPacks atomic.Uint64 // copied, or deleted
	Bytes, TotalBytes atomic.Uint64 // read to be copied
}

func (p *Progress) enter(phase Phase) { p.Phase.Store(int32(phase)) }

// Amount is a number of packs and their bytes on all members.
type Amount struct {
	Packs int
	Bytes int64
}

func (a *Amount) add(p *packUse) {
	a.Packs++
	a.Bytes += p.listed
}

// Report tells what a collection found and did. With DryRun it tells what would be done, as far as that can be known.
type Report struct {
	Snapshots  int // that were marked
	Incomplete int // of them
	Trees      int // distinct trees that they need
	TreesRead  int // of those, from the archive: the others were in the cache
	Blobs      uint64
	Needed     uint64 // of those
	Total      Amount // all packs of data and trees, before
	Index      Amount // index packs, before

	Unneeded Amount // packs in which nothing is needed; without those of the next lines
	Orphans  Amount // packs that no index segment names
	Zombies  Amount // condemned by a collector that did not come to an end
	Repacked Amount // packs out of which needed blobs are copied
	Copied   uint64 // blobs
	// CopiedBytes are their sealed bytes, WrittenBytes what was put on all members for them and for the index.
	CopiedBytes, WrittenBytes int64
	Busy                      Amount        // packs of sessions at work, which are left alone
	SessionsAtWork            int           //
	Unused                    int64         // garbage that stays in packs which are needed, on all members
	Bounded                   bool          // more would have been repacked without MaxRepack
	Records                   int           // gc records published
	Folded                    int           // gc records that were joined into one
	Segments                  int           // index packs that were replaced
	Deleted                   Amount        // packs
	Locked                    Amount        // condemned packs that an object lock holds
	LockedSegments            int           // index packs that name them, and are held likewise
	Locks                     *ExtendReport // what became of the locks of what stays; nil: the archive has no retention
	Forgotten                 int           // forgotten snapshots that were still on some member, and were deleted
	Left                      []Left        // packs that could not be copied, and stay
	Rounds                    int           // how often blobs were copied because another collector, or a new snapshot, came between
	Estimate                  int64         // with DryRun: bytes that would be freed, beside what is written anew
}

// Left is a pack that would have been repacked.
type Left struct {
	Pack pack.ID
	Kind chunk.Type
	Err  error
}

// Freed is by how many bytes the members hold less.
func (r *Report) Freed() int64 { return r.Deleted.Bytes - r.WrittenBytes }
