package prune_test

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// protocol is what a search explores: who acts, what may happen, and what is left out of the protocol to see that it is missed.
type protocol struct {
	members    int // 0: 1
	clients    int
	collectors int
	moves      int // of those, the last: they change the layout

	copies  packs // of b that are named in the beginning
	replace int   // so many clients change a snapshot: theirs replaces the old one
	forget  bool  // somebody forgets a snapshot
	repack  bool  // collectors also copy b out of the packs that it is in and condemn all of them
	fine    bool  // operations are taken apart that are otherwise done as one
	windows bool  // listings take time: they may miss what is removed meanwhile, and what is put

	// mutations
	blind      bool // clients do not validate
	indexFirst bool // clients read the index before the records: harmless as long as no record is ever removed
	once       bool // clients do not validate again what they stored anew
	hasty      bool // clients rely at once on copies that they find when they validate
	noRelist   bool // collectors do not list the snapshots again
	oneMember  bool // collectors are content with a record on one member
	trusting   bool // clients that change a snapshot trust that the old one protects what both need
	silent     bool // the second collector publishes no record
	mute       bool // who changes the layout publishes no record
	sure       bool // who changes the layout does not look at the copies after its record
	drop       bool // collectors remove their record when they have finished
	unnameAll  bool // collectors take the names also of what only others condemned
}

// actor is a client (0, 1), a collector (2, 3) or the forgetter (4).
type actor uint8

const (
	firstCollector actor = mostClients
	theForgetter   actor = firstCollector + mostCollectors
	actors         actor = theForgetter + 1
)

// choices are the ways that one step went where it could go several: four bits each, the first one lowest.
type choices uint32

// run is one step of one actor. When the step can go several ways it is repeated with other choices until all were taken.
type run struct {
	*protocol
	w       world
	picks   []uint8 // what was chosen so far
	ways    []uint8 // of how many
	picked  int
	kind    uint8 // of store operation that was done: the step ends
	explain bool
	notes   []string
}

// The kinds of operation that are told apart, beside no operation.
const (
	acts = 1 + iota
	readsRecords
	listsSnapshots
)

// pick chooses one of n.
func (r *run) pick(n int) int {
	if n < 1 || n > 16 {
		panic(fmt.Sprintf("a choice of %d", n))
	}
	if r.picked == len(r.picks) {
		r.picks, r.ways = append(r.picks, 0), append(r.ways, uint8(n))
	}
	r.picked++
	return int(r.picks[r.picked-1])
}

// next turns to the choices that come after the last ones, and says whether there are any.
func (r *run) next() bool {
	r.picked = 0
	for i := len(r.picks) - 1; i >= 0; i-- {
		if r.picks[i]+1 < r.ways[i] {
			r.picks[i]++
			r.picks, r.ways = r.picks[:i+1], r.ways[:i+1]
			return true
		}
	}
	r.picks, r.ways = r.picks[:0], r.ways[:0]
	return false
}

func (r *run) taken() (c choices) {
	for i, p := range r.picks {
		c |= choices(p) << (4 * i)
	}
	return c
}

func (r *run) take(c choices) {
	r.picks, r.ways, r.picked = r.picks[:0], r.ways[:0], 0
	for range 8 {
		r.picks, r.ways = append(r.picks, uint8(c&15)), append(r.ways, 16)
		c >>= 4
	}
}

// act is one store operation on the archive; note says which, for traces.
func (r *run) act(format string, args ...any) {
	r.kind = acts
	if r.explain {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
	}
}

// member takes one of the members that are to be asked, whichever, out of todo.
func (r *run) member(todo *uint8) int {
	var left []int
	var space [mostMembers]int
	left = space[:0]
	for m := range r.members {
		if *todo&(1<<m) != 0 {
			left = append(left, m)
		}
	}
	m := left[r.pick(len(left))]
	*todo &^= 1 << m
	return m
}

// reached is the set of members that a client reaches in one phase: any, at least one.
func (r *run) reached() uint8 { return uint8(1 + r.pick(1<<r.members-1)) }

func (r *run) all() uint8 { return 1<<r.members - 1 }

// step lets an actor do its next store operation; it says whether there was one to do.
func (r *run) step(a actor) bool {
	r.kind, r.notes = 0, r.notes[:0]
	switch {
	case a < firstCollector:
		return int(a) < r.clients && r.stepClient(uint8(a))
	case a < theForgetter:
		j := int(a - firstCollector)
		if j < r.collectors && j >= r.collectors-r.moves {
			return r.stepMover(uint8(j))
		}
		return j < r.collectors && r.stepCollector(uint8(j))
	}
	return r.forget && r.stepForgetter()
}

// search visits every state that the actors can reach, breadth first: each actor may stop for ever after any operation, because a
// state in which it goes on no more is a state in which it has not gone on yet. Of a state that was visited a hash of 64 bits is
// kept, so that of 40 million states two are taken for one with a probability of 1 : 20,000.
type search struct {
	protocol
	known  []uint64 // open addressing; 0: free
	states int
	from   []origin
	level  []world // found in the last round, in the order of from
	next   []world
	seed   maphash.Seed
}

type origin struct {
	state   uint32
	choices choices
	actor   actor
}

// run visits all states, or stops at the first that is wrong, and returns what is wrong and its place. visit may be nil; it
// may find something wrong, too.
func (s *search) run(visit func(*world) string) (string, int) {
	r := &run{protocol: &s.protocol}
	s.add(s.first(), origin{})
	for at := 0; len(s.next) > 0; {
		s.level, s.next = s.next, s.level[:0]
		for i := range s.level {
			if wrong := s.level[i].wrong(); wrong != "" {
				return wrong, at
			}
			if visit != nil {
				if wrong := visit(&s.level[i]); wrong != "" {
					return wrong, at
				}
			}
			for a := range actors {
				if s.expand(r, i, at, a) {
					break
				}
			}
			at++
		}
	}
	return "", 0
}

// expand takes all ways of one actor's next step. It says whether those are enough: an operation with which nothing collides that others
// may ever do, and which nobody sees, need not be tried later as well.
func (s *search) expand(r *run, i, at int, a actor) (alone bool) {
	for more := true; more; more = r.next() {
		r.w = s.level[i]
		if !r.step(a) {
			continue
		}
		s.add(s.canonical(r.w), origin{uint32(at), r.taken(), a})
		alone = r.kind == readsRecords && s.recordsStay(&s.level[i], a) || r.kind == listsSnapshots && s.snapshotsStay(&s.level[i])
	}
	return alone
}

// recordsStay says whether no other actor will ever add a record.
func (s *search) recordsStay(w *world, but actor) bool {
	for j := range s.collectors {
		g := &w.collector[j]
		if firstCollector+actor(j) == but || g.at.Done() || g.move.Done() || g.refused != 0 {
			continue
		}
		if g.own == 0 {
			return false
		}
		for m := range s.members {
			if g.own&^w.condemned[m] != 0 {
				return false
			}
		}
	}
	return !s.forget && s.replace == 0
}

// snapshotsStay says whether no snapshot or mark will ever come or go.
func (s *search) snapshotsStay(w *world) bool {
	for i := range s.clients {
		if !s.idle(w, i) {
			return false
		}
	}
	return !s.forget
}

func newSearch(p protocol) *search {
	p.members = max(p.members, 1)
	return &search{protocol: p, known: make([]uint64, 1<<16), seed: maphash.MakeSeed()}
}

func (s *search) first() world {
	w := world{stored: s.copies}
	for m := range s.members {
		w.named[m] = s.copies
		if s.replace > 0 {
			w.listed[m], w.marked[m] = old, old
		}
	}
	return w
}

// add notes a state unless it is known.
func (s *search) add(w world, from origin) {
	hash := maphash.Comparable(s.seed, w) | 1
	if !s.put(hash) {
		return
	}
	s.next, s.from = append(s.next, w), append(s.from, from)
	s.states++
	if s.states*5 > len(s.known)*3 {
		old := s.known
		s.known = make([]uint64, 2*len(old))
		for _, h := range old {
			if h != 0 {
				s.put(h)
			}
		}
	}
}

func (s *search) put(hash uint64) bool {
	mask := uint64(len(s.known) - 1)
	at := hash >> 1 & mask
	for s.known[at] != 0 {
		if s.known[at] == hash {
			return false
		}
		at = (at + 1) & mask
	}
	s.known[at] = hash
	return true
}

// canonical returns the one of the states that differ only in who is called the first client and who the second, and likewise of the
// collectors, that stands for all of them. Clients that do different things are not exchanged.
func (s *search) canonical(w world) world {
	w.tidy()
	least := w
	if s.clients == 2 && s.replace != 1 {
		least = lesser(least, w.swapClients())
	}
	if s.collectors == 2 && !s.silent && s.moves != 1 {
		swapped := w.swapCollectors()
		least = lesser(least, swapped)
		if s.clients == 2 && s.replace != 1 {
			least = lesser(least, swapped.swapClients())
		}
	}
	return least
}

// trace tells the operations that lead to a state, the shortest way. The way is known in canonical states; what is told is a way
// of actors that keep their names.
func (s *search) trace(i int) string {
	var path []origin
	for ; i > 0; i = int(s.from[i].state) {
		path = append(path, s.from[i])
	}
	slices.Reverse(path)
	var b strings.Builder
	r := &run{protocol: &s.protocol, explain: true}
	canonical, real := s.first(), s.first()
	for _, o := range path {
		r.w = canonical
		r.take(o.choices)
		r.step(o.actor)
		canonical = s.canonical(r.w)
		a := s.follow(r, real, canonical)
		fmt.Fprintf(&b, "  %-9s %s\n", a, strings.Join(r.notes, "; "))
		real = r.w
		real.tidy()
	}
	return b.String()
}

// follow takes the step from one state that leads to what is canonically another one.
func (s *search) follow(r *run, from, to world) actor {
	r.picks, r.ways, r.picked = nil, nil, 0
	for a := range actors {
		for more := true; more; more = r.next() {
			r.w = from
			if r.step(a) && s.canonical(r.w) == to {
				return a
			}
		}
	}
	panic("no step leads on")
}

func (a actor) String() string {
	switch {
	case a < firstCollector:
		return fmt.Sprintf("client %c", 'a'+a)
	case a < theForgetter:
		return fmt.Sprintf("gc %c", 'x'+a-firstCollector)
	}
	return "forgetter"
}
