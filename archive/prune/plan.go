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

// strict says whether no garbage at all is to stay.
func (l Limits) strict() bool { return l.MaxUnused == 0 && l.MaxUnusedBytes == 0 }

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

// measure says what new packs take on the members.
type measure struct {
	k, n     int
	full     int64 // length of a full pack's columns, all together
	overhead int64 // of each shard
}

// shardOverhead is what a shard takes beside the blobs: header and copy, and 4 KiB for checksums, directory, wrapped keys of the sessions that
// sealed the blobs, and rounding. The smallest shard has this size.
const shardOverhead = 2*pack.HeaderSize + pack.Align

func measureOf(g pack.Geometry, target int64) measure {
	return measure{k: g.K, n: g.N(), full: target * int64(g.K), overhead: shardOverhead}
}

// cost is the size of the packs to which so many sealed bytes of one kind are copied.
func (m measure) cost(used int64) int64 {
	packs := (used + m.full - 1) / m.full
	return packs*m.least() + used*int64(m.n)/int64(m.k)
}

// least is the size of a pack without blobs.
func (m measure) least() int64 { return int64(m.n) * m.overhead }

// decision is what a plan comes to.
type decision struct {
	condemn []*packUse // nothing in them is needed
	repack  []*packUse // what is needed in them is copied out
	left    int64      // bytes of garbage that stay
	bounded bool       // more would be repacked without MaxRepack
}

// plan decides about packs. Equal packs give equal decisions, in whatever order they come, so that two collectors are likely to agree. It is a
// pure function.
func plan(packs []*packUse, m measure, l Limits) decision {
	p := planner{measure: m, Limits: l}
	for _, u := range packs {
		p.sort(u)
	}
	if l.never() {
		return p.decision
	}
	slices.SortFunc(p.sparse, func(a, b *packUse) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), bytes.Compare(a.id[:], b.id[:]))
	})
	must := len(p.repack)
	p.choose()
	p.worthwhile(must)
	return p.decision
}

// planner is a plan in the making.
type planner struct {
	measure
	Limits
	decision
	sparse         []*packUse // that may be repacked
	needed, copied int64
}

// sort decides about a pack that leaves no choice.
func (p *planner) sort(u *packUse) {
	switch {
	case u.busy:
		p.needed += u.listed - u.unused()
		p.left += u.unused()
	case u.used == 0:
		p.condemn = append(p.condemn, u)
	case u.state == condemned: // it has blobs that are nowhere else, and may be gone at any moment
		p.needed += u.listed - u.unused()
		p.copied += u.used
		p.repack = append(p.repack, u)
	default:
		p.needed += u.listed - u.unused()
		p.left += u.unused()
		p.sparse = append(p.sparse, u)
	}
}

// choose takes the packs with the most garbage, as long as there is too much, and of the others the small ones.
func (p *planner) choose() {
	var small []*packUse
	allowed := p.allowed(p.needed)
	for _, u := range p.sparse {
		if (p.left <= allowed || u.used == u.total || !p.take(u)) && isSmall(u, p.full) {
			small = append(small, u)
		}
	}
	for t := chunk.Data; t <= chunk.Tree; t++ {
		few := slices.DeleteFunc(slices.Clone(small), func(u *packUse) bool { return u.kind != t })
		if len(few) < smallFew {
			continue
		}
		for _, u := range few {
			p.take(u)
		}
	}
}

// take repacks a pack, if that is not too much.
func (p *planner) take(u *packUse) bool {
	if p.MaxRepack > 0 && p.copied+u.used > p.MaxRepack {
		p.bounded = true
		return false
	}
	p.copied += u.used
	p.left -= u.unused()
	p.repack = append(p.repack, u)
	return true
}

// worthwhile gives up to repack what takes as much room in new packs, which in an archive of a few kilobytes is the rule. The first ones in repack
// leave no choice. Who allows no garbage at all may want to be rid of what it says, whatever that costs.
func (p *planner) worthwhile(must int) {
	if p.strict() {
		return
	}
	total := int64(0)
	for t := chunk.Data; t <= chunk.Tree; t++ {
		gain := p.gain(t, must)
		if gain > 0 {
			total += gain
			continue
		}
		p.drop(t, must)
	}
	// A collection that would do nothing else writes a record and an index pack, too.
	if must+len(p.condemn) == 0 && total <= p.least() {
		p.drop(chunk.Data, must)
		p.drop(chunk.Tree, must)
	}
}

// gain is by how much the packs of a kind that are repacked by choice take more than what is written in their place.
func (p *planner) gain(t chunk.Type, must int) int64 {
	var freed, before, all int64
	for i, u := range p.repack {
		if u.kind != t {
			continue
		}
		if all += u.used; i < must {
			before += u.used
		} else {
			freed += u.listed
		}
	}
	return freed - (p.cost(all) - p.cost(before))
}

// drop leaves the packs of a kind that were to be repacked by choice.
func (p *planner) drop(t chunk.Type, must int) {
	kept := p.repack[:must:must]
	for _, u := range p.repack[must:] {
		if u.kind == t {
			p.copied -= u.used
			p.left += u.unused()
		} else {
			kept = append(kept, u)
		}
	}
	p.repack = kept
}

func isSmall(p *packUse, full int64) bool {
	return int64(p.geometry.K)*p.length < full/smallShare
}
