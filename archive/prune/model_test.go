package prune_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"cairn/archive/member"
	"cairn/archive/prune"
)

// soaking says whether there is time for what takes minutes (make soak).
func soaking() bool { return os.Getenv("CAIRN_SOAK") != "" }

// TestModel lets clients, collectors and forgetters do their store operations in every order, while any of them may stop for ever at any
// moment. Nothing that was reported as done may be lost, no collector may take something for lost that is not, no client may be kept
// from coming to its end, and one more collection by itself leaves nothing that nobody needs.
func TestModel(t *testing.T) {
	t.Parallel()
	const everything, unlessRaced, soak = 0, 1, 2
	for _, c := range []struct {
		name string
		p    protocol
		when int
	}{
		{"1 client, 1 collector", protocol{clients: 1, collectors: 1, copies: 1, repack: true, fine: true}, everything},
		{"2 clients, 1 collector", protocol{clients: 2, collectors: 1, copies: 1, repack: true, fine: true}, everything},
		{"1 client, 2 collectors", protocol{clients: 1, collectors: 2, copies: 1, repack: true, fine: true}, everything},
		{"2 clients, 2 collectors", protocol{clients: 2, collectors: 2, copies: 1, repack: true}, unlessRaced},
		{"2 copies", protocol{clients: 1, collectors: 2, copies: 3, repack: true}, everything},
		{"2 clients, 2 collectors, fine", protocol{clients: 2, collectors: 2, copies: 1, repack: true, fine: true}, soak},
		{"forget", protocol{clients: 1, collectors: 2, copies: 1, repack: true, forget: true}, everything},
		{"forget beside 2 clients", protocol{clients: 2, collectors: 1, copies: 1, repack: true, forget: true, windows: true}, everything},
		{"tag", protocol{clients: 1, replace: 1, collectors: 2, copies: 3, repack: true, windows: true}, everything},
		{"tag and backup", protocol{clients: 2, replace: 1, collectors: 1, copies: 3, repack: true, windows: true}, everything},
		{"2 tags", protocol{clients: 2, replace: 2, collectors: 1, copies: 3, repack: true, windows: true}, everything},
		{"tag and forget", protocol{clients: 1, replace: 1, collectors: 2, copies: 1, windows: true, forget: true}, unlessRaced},
		{"tag, backup and forget", protocol{clients: 2, replace: 1, collectors: 1, copies: 1, repack: true, windows: true, forget: true}, everything},
		{"2 members", protocol{members: 2, clients: 1, collectors: 1, copies: 1, repack: true, fine: true}, everything},
		{"2 members, 2 clients", protocol{members: 2, clients: 2, collectors: 1, copies: 1, repack: true}, soak},
		{"2 members, tag and forget", protocol{members: 2, clients: 1, replace: 1, collectors: 1, copies: 1, windows: true, forget: true}, soak},
		{"2 members, forget", protocol{members: 2, clients: 1, collectors: 1, copies: 1, repack: true, windows: true, forget: true}, everything},
		{"2 members, tag", protocol{members: 2, clients: 1, replace: 1, collectors: 1, copies: 1, windows: true}, everything},
		{"2 members, 2 clients, fine", protocol{members: 2, clients: 2, collectors: 1, copies: 1, repack: true, fine: true}, soak},
		{"2 members, 2 collectors", protocol{members: 2, clients: 1, collectors: 2, copies: 1}, soak},
		{"layout", protocol{clients: 1, collectors: 2, moves: 1, copies: 1, repack: true, fine: true}, everything},
		{"layout beside 2 clients", protocol{clients: 2, collectors: 2, moves: 1, copies: 1, repack: true}, unlessRaced},
		{"layout beside 2 clients, fine", protocol{clients: 2, collectors: 2, moves: 1, copies: 1, repack: true, fine: true}, soak},
		{"2 layouts", protocol{clients: 1, collectors: 2, moves: 2, copies: 3, fine: true}, everything},
		{"layout, 2 copies", protocol{clients: 1, collectors: 2, moves: 1, copies: 3, repack: true, fine: true}, everything},
		{"layout and forget", protocol{clients: 1, collectors: 2, moves: 1, copies: 1, repack: true, windows: true, forget: true}, unlessRaced},
		{"layout and tag", protocol{clients: 1, replace: 1, collectors: 2, moves: 1, copies: 3, repack: true, windows: true}, everything},
		{"2 members, layout", protocol{members: 2, clients: 1, collectors: 2, moves: 1, copies: 1}, soak},
		// Not part of the protocol, and found to be harmless: the records are read last then.
		{"index before records", protocol{clients: 1, collectors: 2, copies: 1, repack: true, indexFirst: true}, everything},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.when == soak && !soaking() || c.when == unlessRaced && prune.Raced {
				t.Skip("takes long")
			}
			s := newSearch(c.p)
			l := newLone(c.p)
			if wrong, at := s.run(l.visit); wrong != "" {
				t.Fatalf("after %d states: %s\n%s", s.states, wrong, s.trace(at))
			}
			t.Logf("%d states, %d of them looked at by a lone collector or client", s.states, len(l.seen))
		})
	}
}

// TestModelBites leaves something out of the protocol, and fails unless b is lost then.
func TestModelBites(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]protocol{
		"no validation":                        {clients: 1, collectors: 1, copies: 1, blind: true},
		"no second validation":                 {clients: 1, collectors: 2, copies: 1, once: true},
		"a copy found late is relied on":       {clients: 2, collectors: 2, copies: 1, hasty: true},
		"no second listing":                    {clients: 1, collectors: 1, copies: 1, noRelist: true},
		"a record on one member":               {members: 2, clients: 1, collectors: 1, copies: 1, oneMember: true},
		"records are removed":                  {clients: 1, collectors: 1, copies: 1, drop: true},
		"names taken of what others condemned": {clients: 1, collectors: 2, copies: 1, fine: true, unnameAll: true},
		"packs moved without a record":         {collectors: 2, copies: 1, replace: 1, repack: true, silent: true},
		"layout without a record":              {clients: 0, replace: 1, collectors: 2, moves: 1, copies: 1, mute: true},
		"layout without a look at its copies":  {clients: 0, replace: 1, collectors: 2, moves: 1, copies: 1, sure: true},
		"tag without validation":               {clients: 1, replace: 1, collectors: 2, copies: 3, windows: true, blind: true},
		"tag relies on the old snapshot":       {clients: 1, replace: 1, collectors: 1, copies: 1, windows: true, forget: true, trusting: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSearch(p)
			wrong, at := s.run(nil)
			if !strings.Contains(wrong, "is lost") {
				t.Fatalf("nothing was lost in %d states (%q): the model does not see what this is for", s.states, wrong)
			}
			t.Logf("after %d states: %s\n%s", s.states, wrong, s.trace(at))
		})
	}
}

// lone looks at each state in which one actor is left alone, all others having stopped for ever.
type lone struct {
	r    run
	seen map[world]bool
}

func newLone(p protocol) *lone {
	p.members = max(p.members, 1)
	p.moves = 0 // what the lone one does is a collection
	return &lone{r: run{protocol: &p}, seen: map[world]bool{}}
}

// visit says what is wrong with what a lone client or a new collector makes of a state, or "".
func (l *lone) visit(w *world) string {
	for i := range l.r.clients {
		if l.r.idle(w, i) {
			continue
		}
		alone := world{stored: w.stored, named: w.named, condemned: w.condemned, listed: w.listed, marked: w.marked, forgotten: w.forgotten}
		alone.client[i] = w.client[i]
		if !l.known(alone) && !l.finishes(alone, actor(i)) {
			return fmt.Sprintf("client %c does not come to an end", 'a'+i)
		}
	}
	alone := world{stored: w.stored, named: w.named, condemned: w.condemned, listed: w.listed, marked: w.marked, forgotten: w.forgotten}
	if l.known(alone) {
		return ""
	}
	if !l.finishes(alone, firstCollector) {
		return "a lone collector does not come to an end"
	}
	c := &l.r.w
	switch names := union(c.named); {
	case c.collector[0].refused != 0:
		return "a lone collector refuses"
	case c.stored&^names != 0:
		return fmt.Sprintf("a collection leaves orphans: %s", c.stored&^names)
	case c.stored&union(c.condemned) != 0:
		return fmt.Sprintf("a collection leaves what is condemned: %s", c.stored&union(c.condemned))
	case names&^c.stored != 0:
		return fmt.Sprintf("a collection leaves names of what is not there: %s", names&^c.stored)
	case w.promised() != 0 && c.stored == 0:
		return "a lone collector loses b"
	}
	return ""
}

func (l *lone) known(w world) bool {
	w.tidy()
	if l.seen[w] {
		return true
	}
	l.seen[w] = true
	return false
}

// finishes lets one actor alone go on from a state, whose choices are always the first ones.
func (l *lone) finishes(w world, a actor) bool {
	const enough = 100
	l.r.w = w
	l.r.w.tidy()
	for range enough {
		l.r.picks, l.r.ways, l.r.picked = l.r.picks[:0], l.r.ways[:0], 0
		if !l.r.step(a) {
			return true
		}
	}
	return false
}

var (
	_ prune.Collector  = (*modelCollector)(nil)
	_ member.Relocator = modelMover{}
)
