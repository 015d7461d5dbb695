package prune_test

import (
	"fmt"
	"math/bits"
	"strings"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/archive/prune"
)

// The model: what the members hold, and what each actor has in mind, as small as it can be said. One blob b is needed. Every pack
// of the model holds b, so a set of packs is a set of copies of b.

const (
	mostMembers    = 2
	mostClients    = 2
	mostCollectors = 2

	packsOfClient    = 3 // at once: the first, and one anew for each collector that condemns the last one
	packsOfCollector = 4 // at once: copied out before condemning and after it, each once more when the other collector condemns it
)

// packs is a set of packs. Bits 0 and 1 are there from the beginning; then come three of each client and four of each collector.
type packs uint16

func (p packs) String() string {
	if p == 0 {
		return "nothing"
	}
	var list []string
	for left := p; left != 0; left &= left - 1 {
		k := bits.TrailingZeros16(uint16(left))
		switch {
		case k < 2:
			list = append(list, fmt.Sprintf("p%d", k))
		case k < ofCollectors:
			list = append(list, fmt.Sprintf("%c%d", 'a'+(k-2)/packsOfClient, (k-2)%packsOfClient))
		default:
			k -= ofCollectors
			list = append(list, fmt.Sprintf("%c%d", 'x'+k/packsOfCollector, k%packsOfCollector))
		}
	}
	return strings.Join(list, " ")
}

// snapshots is a set of snapshots that need b: of each client its own, and one that is there from the beginning.
type snapshots uint8

const old snapshots = 1 << mostClients

func snapshotOf(i uint8) snapshots { return 1 << i }

func (s snapshots) String() string {
	var list []string
	for i := range mostClients {
		if s&(1<<i) != 0 {
			list = append(list, fmt.Sprintf("S%c", 'a'+i))
		}
	}
	if s&old != 0 {
		list = append(list, "S")
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, " ")
}

// world is one state. It has no pointers and no padding: it is compared and hashed as bytes.
type world struct {
	stored    packs                  // with k shards and more, on whatever members
	named     [mostMembers]packs     // by the segments on a member
	condemned [mostMembers]packs     // by the records on a member
	listed    [mostMembers]snapshots // on a member
	marked    [mostMembers]snapshots // with their marks
	forgotten [mostMembers]snapshots // by the records on a member
	client    [mostClients]client
	collector [mostCollectors]collector
	forgetter forgetter
	broken    bool // an actor did what the model has no room for
}

type client struct {
	records packs // condemned, for all that it has read
	index   packs // named, for all that it has read
	relied  packs // named before it read the records
	fresh   packs // stored and not named yet
	at      archive.Publication
	todo    uint8 // members that the step under way is still to ask; 0: the step begins
	removed uint8 // steps of removing the snapshot that its own replaces
	unseen  uint8 // members on which records came since it read those there
	news    bool  // it found such records after it published, or did not reach all members
	known   bool  // that the old snapshot was forgotten
	anew    bool  // it stored anew
	walked  bool  // the trees of the snapshot that it changes
	failed  bool  // what it needs anew is gone
}

type collector struct {
	records packs // condemned, for all that it has read
	index   packs // named, for all that it has read
	seen    packs // listed below binaries/
	own     packs // condemned by it
	fresh   packs // stored and not named yet
	tried   packs // copies that were not there when they were to be read
	at      prune.Collection
	move    member.Relocation // instead, of one that changes the layout
	phase   uint8             // within a step
	todo    uint8             // members that the step under way is still to ask
	window  snapshots         // seen by the listing that is under way
	needs   snapshots         // listed
	marked  snapshots         // of those, with their marks
	known   snapshots         // forgotten
	relied  packs             // copies that a mover counts on
	refused uint8             // it stopped because a marked snapshot lacks b
}

const (
	withCause    = 1 + iota // the snapshot was forgotten meanwhile
	withoutCause            // nothing is missing
)

// forgetter forgets one snapshot that was reported as done.
type forgetter struct {
	chosen snapshots
	todo   uint8
	phase  uint8
}

func union[T packs | snapshots](of [mostMembers]T) (u T) {
	for _, s := range of {
		u |= s
	}
	return u
}

// promised returns the snapshots that users count on: reported as done, not forgotten, not replaced.
func (w *world) promised() snapshots {
	s := old & union(w.listed)
	for i := range w.client {
		if w.client[i].at.Done() {
			s |= snapshotOf(uint8(i))
		}
	}
	return s &^ union(w.forgotten)
}

// wrong says what is wrong with a state, or "".
func (w *world) wrong() string {
	if w.broken {
		return "an actor made more packs than the model has names for"
	}
	if s := w.promised(); s != 0 && w.stored&union(w.named) == 0 {
		return fmt.Sprintf("b is lost, and %s needs it", s)
	}
	for j := range w.collector {
		if w.collector[j].refused == withoutCause {
			return fmt.Sprintf("collector %c says that b is missing, and it is not", 'x'+j)
		}
	}
	return ""
}

// mentioned returns the packs that are there, or that somebody may yet ask for.
func (w *world) mentioned() packs {
	p := w.stored | union(w.named)
	for i := range w.client {
		c := &w.client[i]
		p |= c.index | c.relied | c.fresh
	}
	for j := range w.collector {
		g := &w.collector[j]
		p |= g.index | g.seen | g.own | g.fresh | g.tried | g.relied
	}
	return p
}

// tidy forgets the packs of which nothing is left but that they were condemned, so that their names can be given to others.
func (w *world) tidy() {
	p := w.mentioned()
	for m := range w.condemned {
		w.condemned[m] &= p
	}
	for i := range w.client {
		w.client[i].records &= p
	}
	for j := range w.collector {
		w.collector[j].records &= p
	}
}

// store stores a pack by a name that is free of those given.
func (r *run) store(names packs) packs {
	free := names &^ r.w.mentioned()
	if free == 0 {
		r.w.broken = true
		r.act("stores one pack too many")
		return 0
	}
	p := free & -free
	r.w.stored |= p
	r.act("stores %s", p)
	return p
}
