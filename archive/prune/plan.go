package prune

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"cairn/chunk"
	"cairn/pack"
)

// packState is what the index says of a pack.
type packState uint8

const (
	named     packState = iota // a segment names it
	unnamed                    // no segment does: a session at work will, or it was left by one that is dead
	condemned                  // by a record, whose collector did not come to an end
)

// packUse is what the collector knows of one pack of data or trees: 120 bytes.
type packUse struct {
	id       pack.ID
	number   uint32 // in the index; 0 when it does not know the pack
	kind     chunk.Type
	geometry pack.Geometry
	length   int64 // of a column; 0 when not known
	state    packState
	busy     bool   // its session is at work, or nobody can say
	late     bool   // it came when the packs were listed
	shards   uint32 // listed in full length
	listed   int64  // bytes of all shards that the members list

	used, total           int64 // sealed bytes of blobs: those that are needed and counted here, and all
	usedBlobs, totalBlobs uint32
}

// unused estimates the bytes on all members that nobody needs.
func (p *packUse) unused() int64 {
	if p.total == 0 {
		return p.listed
	}
	return int64(float64(p.listed) * float64(p.total-p.used) / float64(p.total))
}

// share is the part of the pack that nobody needs.
func (p *packUse) share() float64 {
	if p.total == 0 {
		return 1
	}
	return float64(p.total-p.used) / float64(p.total)
}

// Limits say how far a collection goes. They are checked by Validate.
type Limits struct {
	// MaxUnused is the share of what the archive holds afterwards that may be blobs which nobody needs, beside others that are
	// needed; 1 and above: packs are never repacked.
	MaxUnused float64
	// MaxUnusedBytes is the same in bytes on all members; the larger of both holds.
	MaxUnusedBytes int64
	// MaxRepack bounds the sealed bytes that are copied; 0: no bound.
	MaxRepack int64
}

// never says whether no pack is to be repacked for its size's sake.
func (l Limits) never() bool { return l.MaxUnused >= 1 }

// allowed is how many bytes of garbage may stay beside so many that are needed.
func (l Limits) allowed(needed int64) int64 {
	if l.never() {
		return math.MaxInt64
	}
	return max(l.MaxUnusedBytes, int64(float64(needed)*l.MaxUnused/(1-l.MaxUnused)))
}

const (
	// smallShare: packs with less than this part of a full pack's length are merged.
	smallShare = 4
	// smallFew packs of a kind are left as they are: each run would copy the same few megabytes again.
	smallFew = 4
)

// decision is what a plan comes to.
type decision struct {
	condemn []*packUse // nothing in them is needed
	repack  []*packUse // what is needed in them is copied out
	left    int64      // bytes of garbage that stay
	bounded bool       // more would be repacked without MaxRepack
}

// plan decides about packs. target is the length of a full pack's columns, all together. Equal packs give equal decisions, in
// whatever order they come, so that two collectors are likely to agree. It is a pure function.
func plan(packs []*packUse, target int64, l Limits) decision {
	var d decision
	var sparse, small []*packUse
	var needed, copied int64
	for _, p := range packs {
		switch {
		case p.busy:
			needed += p.listed - p.unused()
			d.left += p.unused()
		case p.used == 0:
			d.condemn = append(d.condemn, p)
		case p.state == condemned: // it has blobs that are nowhere else, and may be gone at any moment
			needed += p.listed - p.unused()
			copied += p.used
			d.repack = append(d.repack, p)
		default:
			needed += p.listed - p.unused()
			d.left += p.unused()
			sparse = append(sparse, p)
		}
	}
	if l.never() {
		return d
	}
	take := func(p *packUse) bool {
		if l.MaxRepack > 0 && copied+p.used > l.MaxRepack {
			d.bounded = true
			return false
		}
		copied += p.used
		d.left -= p.unused()
		d.repack = append(d.repack, p)
		return true
	}
	slices.SortFunc(sparse, func(a, b *packUse) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), bytes.Compare(a.id[:], b.id[:]))
	})
	allowed := l.allowed(needed)
	for _, p := range sparse {
		if (d.left <= allowed || p.used == p.total || !take(p)) && isSmall(p, target) {
			small = append(small, p)
		}
	}
	for t := chunk.Data; t <= chunk.Tree; t++ {
		few := slices.DeleteFunc(slices.Clone(small), func(p *packUse) bool { return p.kind != t })
		if len(few) < smallFew {
			continue
		}
		for _, p := range few {
			take(p)
		}
	}
	return d
}

func isSmall(p *packUse, target int64) bool {
	return int64(p.geometry.K)*p.length < target/smallShare
}
