// Package check proves that an archive is whole, or says exactly what is not: which object on which member, and
// which files of which snapshots that costs.
//
// Without ReadData it reads all small objects (cards, key slots, index packs, snapshots, trees) and compares the
// listing of the members with the index: every shard must be there in its full length, every blob that a snapshot needs
// must be in a pack that is. With ReadData it also reads every shard, the parity included, compares it with the hashes
// that name it, and opens every blob. Where there is no parity, opening everything in a shard is the proof, and its bytes are
// hashed once: as the blobs that they hold (archive.ProveByOpening). Shards proves all of them by their names.
//
// Damage that the other shards make good is damage all the same: the archive survives one loss less. It is told
// apart by Damage.Lost, which is set only when something can no longer be read. Files are named only when they
// are affected: of a pack with too few good shards every blob is tried, and what can still be read is not lost.
//
// What nobody can tell from the archive alone: that a key slot, or a snapshot with its mark, is gone from all members.
// A snapshot whose predecessor is gone is told of in a Note, unless a record says that it was forgotten.
//
// Others may back up, prune, forget, repair and change the layout meanwhile, and may have been stopped in the middle of that. So garbage
// is counted and never called damage, whatever is left of it: packs that a record condemns, and the index entries that name
// them; packs that no segment names; index packs with fewer than k shards, or whose columns others name as well; forgotten snapshots
// that are still on a member. And what is found missing or bad is held back until the records and the index were read again and say
// that it is still wanted: the pack is named and not condemned, the snapshot is listed and not forgotten. A snapshot without its mark was
// never reported as done: what it lacks is a Note.
//
// Shards scrubs without any key: a shard proves itself by its name (docs/format.md §5), and its number by its member. It finds
// every damaged byte of every shard, shards that are missing or lie in the place of others, and copies that are missing, rotten
// or differ; it cannot tell a pack that was lost from one whose upload was cut short, nor what a loss costs.
//
// Without a key a record is believed as far as its own signature goes: a scrub passes over the packs that it condemns, and says how many
// they are. A check with a key believes the root's records only.
//
// What too many members are away for is neither good nor bad: it is counted in Report.Unreachable. Only when the members that are away are
// more than parity makes up for, Run ends with a *stripe.TooFewError.
//
// Packs are judged by their own layout's geometry, so an archive may have several while its layout is changed. Nothing is
// written, except to the local index, which Run makes anew from what the members hold.
//
// Memory: about 300 bytes for each pack (130 in a scrub), 60 for each one that was ever condemned, 60 for each distinct directory, 300 for
// each damage, and cores + 1 shards (8 MiB with 4+2, at most 32) while data is read.
package check

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"cairn/archive"
	"cairn/chunk"
)

// Options say how thoroughly to look.
type Options struct {
	ReadData bool   // of Run; Shards always reads
	Subset   Subset // of the packs that are read; zero: all
	// Packs are read by Run also without ReadData: a repair knows which ones are bad, and wants to know what that costs.
	Packs map[archive.PackName]bool
	// Patience is how long a shard or copy may be on its way to its member, or from it, while others have theirs: what is missing is asked for
	// again after that. 0: DefaultPatience.
	Patience time.Duration
	Progress *Progress
	// Found is called for each damage as it is found, one at a time. May be nil.
	Found func(Damage)
}

// DefaultPatience is what members differ by at most while one object is stored on all of them, or deleted: who hangs for longer is
// given up, and what he lacks is missing.
const DefaultPatience = time.Second

// Progress is counted while a check runs.
type Progress struct {
	Packs, TotalPacks atomic.Uint64
	Bytes, TotalBytes atomic.Uint64
	Trees             atomic.Uint64
	Snapshots         atomic.Uint64
}

// Damage is one thing that is not as it must be.
type Damage struct {
	Object  string // name of the stored object, "" when a file is meant
	Member  string // where, "" for all members
	Problem string
	Lost    bool  // it cannot be made good from other shards or copies
	Away    bool  // too many members are away to read it: it is not counted as damage
	Lacking bool  // the member lacks what others have, and nothing is rotten: it is not counted as damage, see Report.Lacking
	Blocks  []int // of a shard's payload, 128 KiB each, as far as its checksums tell which are bad

	missing bool // the shard is not there
	shard   int
	short   bool // of a pack with too few good shards, in a scrub

	// When files are affected:
	Snapshot chunk.ID
	Path     string
}

func (d Damage) String() string {
	switch {
	case d.Object == "" && d.Path != "":
		return fmt.Sprintf("snapshot %s: %s: %s", d.Snapshot.Short(), strconv.Quote(d.Path), d.Problem)
	case d.Member == "":
		return fmt.Sprintf("%s: %s", d.Object, d.Problem)
	}
	return fmt.Sprintf("%s on %s: %s", d.Object, d.Member, d.Problem)
}

// Note is something that may be as it must be, or not: only people know.
type Note struct {
	Object string // name of the object that is not there
	Text   string
}

func (n Note) String() string { return n.Object + ": " + n.Text }

// Report says what was looked at and what is wrong.
type Report struct {
	Snapshots, Segments, Packs, Trees int
	Blobs                             uint64
	BytesRead                         uint64
	Short                             int // packs with fewer than k good shards, in a scrub: nobody knows without a key whether they were ever whole
	PacksRead                         int
	Damages                           []Damage // at most maxDamages, all are counted
	Damaged, Lost, FilesLost          int
	// Lacking counts the copies, and shards of index packs, that a member lacks while enough others have theirs. So does who is killed
	// while he stores them leave the archive, or a member that did not answer for a moment; the next backup, whosever, copies them.
	Lacking     int
	Unreachable int // objects and files of which too many members are away to say anything
	Notes       []Note

	// Garbage, which is harmless and which the next prune removes, with the bytes of all shards that are listed.
	Unreferenced int // packs that no segment names, and index packs that are not whole or not needed: left by who was interrupted, or on their way
	Condemned    int // packs that a record condemns
	Forgotten    int // snapshots that a record forgets and a member has

	UnreferencedBytes, CondemnedBytes int64

	Records    int // gc records
	Incomplete int // of Snapshots: those without their mark
	Waiting    int // blobs that a snapshot needs and that only condemned packs hold: the next prune copies them out
}

const maxDamages = 100_000
