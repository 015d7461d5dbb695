// Package check proves that an archive is whole, or says exactly what is not: which object on which member, and
// which files of which snapshots that costs.
//
// Without ReadData it reads all small objects (cards, key slots, index packs, snapshots, trees) and compares the
// listing of the members with the index: every shard must be there in its full length, every blob that a snapshot needs
// must be in a pack that is. With ReadData it also reads every shard, the parity included, compares it with the hashes
// that name it, and opens every blob.
//
// Damage that the other shards make good is damage all the same: the archive survives one loss less. It is told
// apart by Damage.Lost, which is set only when something can no longer be read.
//
// Nothing is written, except to the local index, which is made anew from what the members hold. Memory: 32 bytes and
// map overhead (together about 60) for each pack and each distinct tree, and some whole shards while data is read.
package check

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"

	"cairn/chunk"
)

// Options say how thoroughly to look.
type Options struct {
	ReadData bool
	Subset   Subset // of the packs, with ReadData; zero: all
	Progress *Progress
	// Found is called for each damage as it is found, one at a time. May be nil.
	Found func(Damage)
}

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
	Lost    bool // it cannot be made good from other shards or copies

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

// Report says what was looked at and what is wrong.
type Report struct {
	Snapshots, Segments, Packs, Trees int
	Blobs                             uint64
	BytesRead                         uint64
	Unreferenced                      int // packs that no segment names: leftovers of interrupted runs, harmless
	PacksRead                         int
	Damages                           []Damage // at most maxDamages, all are counted
	Damaged, Lost, FilesLost          int
}

const maxDamages = 100_000

// Subset chooses packs by their ids, so that a part can be read each night.
type Subset struct {
	n, m    uint64  // part n of m, or
	percent float64 // a share chosen at random, or
	bytes   uint64  // about so many bytes chosen at random
	seed    maphash.Seed
}

// ParseSubset reads N/M, P% or a size; size parses the latter.
func ParseSubset(text string, size func(string) (uint64, error)) (Subset, error) {
	s := Subset{seed: maphash.MakeSeed()}
	if n, m, ok := strings.Cut(text, "/"); ok {
		a, errA := strconv.ParseUint(n, 10, 32)
		b, errB := strconv.ParseUint(m, 10, 32)
		if errA != nil || errB != nil || a < 1 || a > b {
			return s, fmt.Errorf("subset %q is not N/M with 1 ≤ N ≤ M", text)
		}
		s.n, s.m = a, b
		return s, nil
	}
	if p, ok := strings.CutSuffix(text, "%"); ok {
		f, err := strconv.ParseFloat(p, 64)
		if err != nil || f <= 0 || f > 100 {
			return s, fmt.Errorf("subset %q is not a percentage above 0 and up to 100", text)
		}
		s.percent = f
		return s, nil
	}
	n, err := size(text)
	if err != nil || n == 0 {
		return s, fmt.Errorf("subset %q is not N/M, P%% or a size", text)
	}
	s.bytes = n
	return s, nil
}

// has says whether a pack belongs to the subset; total is the size of all packs in bytes.
func (s Subset) has(id [32]byte, total uint64) bool {
	if s.m > 0 {
		return (uint64(id[0])<<24|uint64(id[1])<<16|uint64(id[2])<<8|uint64(id[3]))%s.m == s.n-1
	}
	share := s.percent / 100
	if s.bytes > 0 && total > 0 {
		share = float64(s.bytes) / float64(total)
	}
	if share == 0 || share >= 1 {
		return true
	}
	return float64(maphash.Bytes(s.seed, id[:]))/float64(1<<63)/2 < share
}
