package prune_test

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"
)

// protocol is what a search explores: who acts, what may happen, and what is left out of the protocol to see that it is missed.
type protocol struct {
	members    int // 0: 1
	clients    int
	collectors int

	copies  packs // of b that are named in the beginning
	replace int   // so many clients change a snapshot: theirs replaces the old one
	forget  bool  // somebody forgets a snapshot
	windows bool  // listings take time: they may miss what is removed meanwhile, and what is put

	// mutations
	blind      bool // clients do not validate
	indexFirst bool // clients read the index before the records
	once       bool // clients do not validate again what they stored anew
	noRelist   bool // collectors do not list the snapshots again
	oneMember  bool // collectors are content with a record on one member
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
	acted   bool // a store operation was done: the step ends
	explain bool
	notes   []string
}

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
	r.acted = true
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
	r.acted, r.notes = false, r.notes[:0]
	switch {
	case a < firstCollector:
		return int(a) < r.clients && r.stepClient(uint8(a))
	case a < theForgetter:
		return int(a-firstCollector) < r.collectors && r.stepCollector(uint8(a-firstCollector))
	}
	return r.forget && r.stepForgetter()
}

// search visits every state that the actors can reach, breadth first: each actor may stop for ever after any operation, because a
// state in which it goes on no more is a state in which it has not gone on yet.
type search struct {
	protocol
	states []world
	from   []origin
	table  []uint32 // open addressing; 1 + place in states
	seed   maphash.Seed
}

type origin struct {
	state   uint32
	choices choices
	actor   actor
}

func newSearch(p protocol) *search {
	if p.members == 0 {
		p.members = 1
	}
	s := &search{protocol: p, table: make([]uint32, 1<<16), seed: maphash.MakeSeed()}
	w := world{stored: p.copies}
	for m := range p.members {
		w.named[m] = p.copies
		if p.replace > 0 {
			w.listed[m], w.marked[m] = old, old
		}
	}
	s.add(w, origin{})
	return s
}

// add notes a state unless it is known.
func (s *search) add(w world, from origin) bool {
	at := s.find(w)
	if s.table[at] != 0 {
		return false
	}
	s.states, s.from = append(s.states, w), append(s.from, from)
	s.table[at] = uint32(len(s.states))
	if len(s.states)*5 > len(s.table)*3 {
		s.table = make([]uint32, 2*len(s.table))
		for i, w := range s.states {
			s.table[s.find(w)] = uint32(i + 1)
		}
	}
	return true
}

// find returns the place of a state in the table, or that where it is to go.
func (s *search) find(w world) int {
	mask := len(s.table) - 1
	at := int(maphash.Comparable(s.seed, w)) & mask
	for s.table[at] != 0 && s.states[s.table[at]-1] != w {
		at = (at + 1) & mask
	}
	return at
}

// run visits all states, or stops at the first that is wrong, and returns what is wrong and its place.
func (s *search) run() (string, int) {
	r := &run{protocol: &s.protocol}
	for i := 0; i < len(s.states); i++ {
		if wrong := s.states[i].wrong(); wrong != "" {
			return wrong, i
		}
		for a := range actors {
			for more := true; more; more = r.next() {
				r.w = s.states[i]
				if r.step(a) {
					s.add(r.w, origin{uint32(i), r.taken(), a})
				}
			}
		}
	}
	return "", 0
}

// trace tells the operations that lead to a state, the shortest way.
func (s *search) trace(i int) string {
	var path []int
	for ; i > 0; i = int(s.from[i].state) {
		path = append(path, i)
	}
	var b strings.Builder
	r := &run{protocol: &s.protocol, w: s.states[0], explain: true}
	for len(path) > 0 {
		o := s.from[path[len(path)-1]]
		path = path[:len(path)-1]
		r.take(o.choices)
		r.step(o.actor)
		fmt.Fprintf(&b, "  %-10s %s\n", o.actor, strings.Join(r.notes, "; "))
	}
	return b.String()
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

// holds fails unless the protocol loses nothing.
func holds(t *testing.T, p protocol) *search {
	t.Helper()
	s := newSearch(p)
	if wrong, at := s.run(); wrong != "" {
		t.Fatalf("%s:\n%s", wrong, s.trace(at))
	}
	t.Logf("%d states", len(s.states))
	return s
}

// fails fails unless the protocol, which lacks something, loses b.
func fails(t *testing.T, p protocol) {
	t.Helper()
	s := newSearch(p)
	wrong, at := s.run()
	if !strings.Contains(wrong, "is lost") {
		t.Fatalf("nothing was lost in %d states (%q): the model does not see what this is for", len(s.states), wrong)
	}
	t.Logf("after %d states: %s\n%s", len(s.states), wrong, s.trace(at))
}
