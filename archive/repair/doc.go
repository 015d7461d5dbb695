// Package repair makes an archive whole again: it writes what is missing or rotten, from what is left, and reads back what it
// wrote.
//
//	cards     of members that are there           made anew with the key
//	copies    key slots, snapshots, marks         from a copy that proves itself
//	shards    of data, tree and index packs       from any k good ones, block by block where fewer are whole
//
// Run reads every shard, so it finds what a scrub finds and heals it in the same pass. With Options.Missing it reads the
// listings only, and heals what they show to be missing or of the wrong length, and the shards that readers and writers noted
// (archive.Suspect); good shards are not read then.
//
// Invariants:
//
//   - What the report says of shards and copies comes from reading them: before, and again after they were written.
//   - Nothing is removed, and nothing is written that does not prove itself. Objects have one right content, so two repairs, or a
//     repair beside a backup, write the same.
//   - A pack with fewer than k good shards is left alone: if no segment names it, an interrupted upload left it.
//   - A copy of what was removed from all members meanwhile is not left behind.
//   - Garbage is not repaired: neither a pack that a gc record condemns, whatever is left of it, nor the copies of a snapshot that
//     one forgets, nor a record that another replaces. What is lost is told of only if it is wanted still after it was looked for.
//
// So it may run beside collectors and others that forget. What is condemned or forgotten right after the records were read may get a
// shard or a copy more, which the next prune removes.
//
// A snapshot that is on some members only, and in no record, was stored while the others were away. It is copied to all. A key slot is not, when it is on fewer than half of the members: a key
// that was removed must not come back by itself.
//
// Memory: packs of at most 112 MiB of shards at a time (two of 4+2, one of 10+4), what of them is rebuilt and read back besides, which is
// m/n of it each, and about 150 bytes for each pack: 196 MB at the peak with 10+4. A crash, or the end of the context, leaves what was
// healed; running it again goes on.
package repair

import (
	"fmt"
	"sync/atomic"

	"cairn/archive"
	"cairn/chunk"
)

// Options say what to repair. The zero value reads and heals everything. Without keys in the archive, cards are left alone.
type Options struct {
	Missing bool // heal what the listings lack and what was noted; do not read good shards
	DryRun  bool // write nothing, say what would be written
	// Choose says which packs to look at, given the bytes of all; nil: every one.
	Choose   func(id [32]byte, total uint64) bool
	Progress *Progress
	// Found is called for everything that was not as it must be, one at a time. May be nil.
	Found func(Finding)
}

// Progress is counted while a repair runs.
type Progress struct {
	Packs, TotalPacks atomic.Uint64
	Bytes, TotalBytes atomic.Uint64 // read
	Healed            atomic.Uint64 // shards and copies
}

// Outcome is what became of something that was not as it must be.
type Outcome uint8

// The outcomes.
const (
	Healed  Outcome = iota // it was written, read back, and is good
	Planned                // it would have been written (DryRun)
	Left                   // it is as it was
)

func (o Outcome) String() string {
	switch o {
	case Healed:
		return "healed"
	case Planned:
		return "would be written"
	}
	return "left as it is"
}

// Finding is one object on one member that was not as it must be, or, with no member, a whole pack.
type Finding struct {
	Object  string
	Member  string
	Problem string
	Outcome Outcome
	Err     error // why it is left
}

func (f Finding) String() string {
	s := f.Object
	if f.Member != "" {
		s += " on " + f.Member
	}
	s += fmt.Sprintf(": %s: %s", f.Problem, f.Outcome)
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Loss is a pack of which too few shards are good to make the others.
type Loss struct {
	Pack       archive.PackName
	Kind       chunk.Type
	Good, Need int
}

// Report says what was found and what was done.
type Report struct {
	// Reopen means that members got their cards back which this open archive does without. Nothing else was done: open
	// the archive anew and run again.
	Reopen bool

	Packs, Segments int // data and tree packs, and index packs, that were looked at
	Read            int // of all those: all of their shards
	// Before and After count the packs that lacked so many shards: Before[0] were whole. What lies on members that are away
	// is lacking. After comes from reading again what was written.
	Before, After []int
	Shards        int // healed, or in a dry run: that would be
	Copies        int // of key slots, snapshots and marks
	Cards         int
	BytesRead     uint64
	BytesWritten  uint64

	// Lacking counts, by member, the shards that are not good after all: the packs with such are degraded.
	Lacking  map[string]int
	Degraded int // packs that lack shards and can be read
	// Lost are packs that an index segment names. At most maxLosses are listed.
	Lost      []Loss
	LostCount int
	// Unsure means that some of them may be unfinished uploads: without a key, or with a segment that cannot be read, nobody
	// knows what is named.
	Unsure     bool
	Unfinished int // packs with too few shards that nothing names: left by interrupted uploads, or just being stored or removed
	Condemned  int // packs that a record condemns: they wait for the next prune, and were left as they are
	Undecided  int // packs of which too many members are away to say anything
	Unwritten  int // shards, copies and cards that could have been made and not be stored, or have no good source
	Away       []string
}

// Whole says whether nothing is left to be done on the members that are there.
func (r *Report) Whole() bool { return r.LostCount+r.Undecided+r.Unwritten == 0 }

const maxLosses = 10_000
