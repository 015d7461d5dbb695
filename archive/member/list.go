package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// State is how a member is, in one word or two.
type State string

// The states.
const (
	OK      State = "ok"
	Missing State = "missing"      // it could not be opened
	BadCard State = "damaged card" // something is there, but nothing says that it is this member
	Stale   State = "stale card"   // it missed a change of the layout, and is used
	Failing State = "failing"      // it is there and cannot be listed
	Slow    State = "slow"         // it answers much later than the others
)

// Status is one member as it was found.
type Status struct {
	archive.MemberInfo
	State   State
	Problem string        // what is wrong, when something is
	Latency time.Duration // median of a few small requests
	Objects int           // of the archive
	Bytes   int64
	// MissingShards are those of packs known anywhere that are not here in full length, MissingCopies those of key slots,
	// snapshots and marks.
	MissingShards, MissingCopies int
	Free, Total                  uint64 // of the file system, for directories
	SpaceKnown                   bool
}

// ListReport is what List found.
type ListReport struct {
	Geometry pack.Geometry // of new packs
	Layouts  int           // that packs may have
	Members  []Status      // those of the current layout first and in its order, then those of former ones
	Packs    int
	Degraded int // packs with fewer than n shards, but at least k
	// Weak packs have fewer than k shards: left by an upload that was cut short, or lost. The index tells which (check).
	Weak int
	// Survive is how many members, whichever they are, can be lost beyond those that are missing without losing a pack; -1
	// when already too few are there.
	Survive int
	// Former counts packs in former layouts.
	Former int
}

const (
	latencyAsks = 5
	slowFactor  = 5
	slowLeast   = 50 * time.Millisecond
)

// listedPrefixes is where the objects of an archive are.
var listedPrefixes = []string{"binaries/", "index/", "keys/", "snapshots/", "gc/", "sessions/"}

// List looks at every member: whether it is there, how fast it answers, and by comparing the listings of all what it
// lacks. It needs no key. Memory: about 150 bytes for each pack of 4+2.
func List(ctx context.Context, a *archive.Archive) (*ListReport, error) {
	l := &lister{a: a, r: &ListReport{Geometry: a.Geometry(), Layouts: len(a.Placements())}, packs: map[pack.ID]*packSeen{}, copies: map[string][]int{}}
	for _, m := range a.Members() {
		s := Status{MemberInfo: m, State: OK}
		switch {
		case m.Store == nil:
			s.State, s.Problem = Missing, problemOf(m)
		case m.Stale:
			s.State, s.Problem = Stale, "it missed a change of the layout; `cairn repair` renews its card"
		}
		l.r.Members = append(l.r.Members, s)
	}
	for _, bad := range a.BadCards() {
		for i := range l.r.Members {
			if s := &l.r.Members[i]; s.State == Missing && s.Label == bad.Member {
				s.State, s.Problem = BadCard, bad.Err.Error()
				break
			}
		}
	}
	l.ask(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.tellSlow()
	return l.r, l.compare(ctx)
}

func problemOf(m archive.MemberInfo) string {
	if m.Err != nil {
		return m.Err.Error()
	}
	return "not named"
}

// lister is one call of List.
type lister struct {
	a *archive.Archive
	r *ListReport

	mu     sync.Mutex
	packs  map[pack.ID]*packSeen
	copies map[string][]int // name → members that have it
}

type packSeen struct {
	kind chunk.Type
	at   []sighting
}

// anyKind is the kind by which a pack is asked for: a name does not tell data from trees.
func anyKind(k chunk.Type) chunk.Type {
	if k == chunk.Index {
		return k
	}
	return chunk.Data
}

type sighting struct {
	member int32
	size   int64
}

// ask asks all members at once.
func (l *lister) ask(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range l.r.Members {
		s := &l.r.Members[i]
		if s.Store == nil {
			continue
		}
		wg.Go(func() {
			s.Latency = latencyOf(ctx, s.Store)
			if err := l.list(ctx, i); err != nil {
				s.State, s.Problem = Failing, err.Error()
			}
			s.Free, s.Total, s.SpaceKnown = space(s.URL)
		})
	}
	wg.Wait()
}

func latencyOf(ctx context.Context, s remote.Store) time.Duration {
	var times []time.Duration
	for range latencyAsks {
		start := time.Now()
		if _, err := s.Stat(ctx, "cairn.json"); err != nil && !errors.Is(err, remote.ErrNotExist) {
			return 0
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2]
}

func (l *lister) list(ctx context.Context, i int) error {
	s := &l.r.Members[i]
	s.Objects = 1 // the card
	for _, prefix := range listedPrefixes {
		for info, err := range s.Store.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("list %s: %w", prefix, err)
			}
			s.Objects++
			s.Bytes += info.Size
			l.note(i, info)
		}
	}
	return nil
}

func (l *lister) note(i int, info remote.Info) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id, kind, ok := pack.ParseName(info.Name); ok {
		p := l.packs[id]
		if p == nil {
			p = &packSeen{kind: anyKind(kind)}
			l.packs[id] = p
		}
		p.at = append(p.at, sighting{int32(i), info.Size})
		return
	}
	if mirrored(info.Name) {
		l.copies[info.Name] = append(l.copies[info.Name], i)
	}
}

func mirrored(name string) bool {
	return strings.HasPrefix(name, "keys/") || strings.HasPrefix(name, "snapshots/")
}

// tellSlow compares the members' latencies.
func (l *lister) tellSlow() {
	var all []time.Duration
	for _, s := range l.r.Members {
		if s.Latency > 0 {
			all = append(all, s.Latency)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	median := all[(len(all)-1)/2]
	for i := range l.r.Members {
		s := &l.r.Members[i]
		if s.State == OK && (s.Latency > slowAnswer || s.Latency > slowLeast && s.Latency > slowFactor*median) {
			s.State, s.Problem = Slow, fmt.Sprintf("a small request takes %s, half of the members answer within %s", round(s.Latency), round(median))
		}
	}
}

// compare finds out what each member lacks.
func (l *lister) compare(ctx context.Context) error {
	places := l.places()
	for _, have := range l.copies {
		for i := range l.r.Members {
			if s := &l.r.Members[i]; s.Number >= 0 && s.comparable() && !slices.Contains(have, i) {
				s.MissingCopies++
			}
		}
	}
	reachable := 0
	for _, s := range l.r.Members {
		if s.Number >= 0 && s.comparable() {
			reachable++
		}
	}
	l.r.Survive = max(-1, reachable-l.r.Geometry.K)
	for id, p := range l.packs {
		at, err := l.placeOf(ctx, id, p, places)
		if err != nil {
			return err
		}
		l.judge(p, at)
	}
	if l.r.Former == 0 { // nothing rests on members of former layouts that are gone
		l.r.Members = slices.DeleteFunc(l.r.Members, func(s Status) bool { return s.Number < 0 && s.Store == nil })
	}
	return nil
}

// comparable says whether it is known what the member has.
func (s *Status) comparable() bool { return s.Store != nil && s.State != Failing }

// place is a layout with the numbers of its members in the report.
type place struct {
	g       pack.Geometry
	members []int
}

func (l *lister) places() []place {
	byLabel := map[string]int{}
	for i, s := range l.r.Members {
		byLabel[s.Label] = i
	}
	var places []place
	for _, p := range l.a.Placements() {
		pl := place{g: p.Geometry}
		for _, m := range p.Set.Members() {
			pl.members = append(pl.members, byLabel[m.Label])
		}
		places = append(places, pl)
	}
	return places
}

// placeOf finds out which layout a pack has: that one for which it is complete; when none or several are, a header says it.
func (l *lister) placeOf(ctx context.Context, id pack.ID, p *packSeen, places []place) (place, error) {
	if len(places) == 1 {
		return places[0], nil
	}
	found, n := 0, 0
	for i, pl := range places {
		if len(pl.members) == len(p.at) && !slices.ContainsFunc(p.at, func(s sighting) bool { return !slices.Contains(pl.members, int(s.member)) }) {
			found = i
			n++
		}
	}
	if n == 1 {
		return places[found], nil
	}
	at, err := l.a.PlacementOf(ctx, id, p.kind)
	if ctx.Err() != nil {
		return place{}, ctx.Err()
	}
	for _, pl := range places {
		if err == nil && pl.g == at.Geometry {
			return pl, nil
		}
	}
	return places[0], nil
}

// judge counts what is there of a pack.
func (l *lister) judge(p *packSeen, at place) {
	size := rightSize(p.at)
	good := 0
	lacking := make([]int, 0, len(at.members))
	for _, i := range at.members {
		if slices.ContainsFunc(p.at, func(s sighting) bool { return int(s.member) == i && s.size == size }) {
			good++
		} else {
			lacking = append(lacking, i)
		}
	}
	l.r.Packs++
	if at.g != l.r.Geometry {
		l.r.Former++
	}
	if good < at.g.K {
		l.r.Weak++
		return
	}
	for _, i := range lacking {
		if s := &l.r.Members[i]; s.comparable() {
			s.MissingShards++
		}
	}
	if len(lacking) > 0 {
		l.r.Degraded++
	}
	l.r.Survive = min(l.r.Survive, good-at.g.K)
}

// rightSize is the length that most shards of a pack have; of several, the longest.
func rightSize(at []sighting) int64 {
	votes := map[int64]int{}
	best := int64(-1)
	for _, s := range at {
		votes[s.size]++
	}
	for size, n := range votes {
		if size > 0 && (best < 0 || n > votes[best] || n == votes[best] && size > best) {
			best = size
		}
	}
	return best
}
