// Package stripe makes one archive out of n stores, its members. A Set does two things:
//
//	mirror   small objects (snapshots, marks, keys) are copied to every member: Set is a remote.Store
//	stripe   an erasure-coded object is n shards, shard j on member (j + rotation) mod n: PutShards, GetShard, Read
//
//	                 shard 0   shard 1   shard 2       coded region of each shard: bytes [Base, Base+Length)
//	rotation 1  →    member 1  member 2  member 0      any range of it from any K shards gives that range of all
//
// Any n−K members may be gone: writes go to those that are reachable and say which were not, reads go
// around them. A member whose store says that it is unreachable is benched: for a while it is asked only when
// the others are not enough, so that not every request waits for it. Content is not verified here, except by the
// function given to GetVerified; who finds a shard's bytes wrong calls Read again with that shard in avoid.
//
// A Set is safe for concurrent use. Each goroutine it starts ends before the call that started it returns.
// A crash in the middle of a write leaves the object on some members only; a crash in the middle of a
// delete, too. Names that are written once and content that proves itself make both harmless.
package stripe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cairn/remote"
)

// DefaultBench is how long a member that could not be reached is left alone: long against a request (so that a backup
// of thousands of packs waits a handful of times for a dead member), short against a backup.
const DefaultBench = 30 * time.Second

// Options of a Set. The zero value mirrors; to read around missing shards it needs Reconstruct.
type Options struct {
	// Reconstruct fills the columns named in want from any k columns that are not nil. All have equal length.
	Reconstruct func(k, m int, cols [][]byte, want []int) error
	Bench       time.Duration    // how long an unreachable member is left alone; 0: DefaultBench, < 0: never
	Now         func() time.Time // nil: time.Now
}

func (o Options) applyDefaults() Options {
	if o.Bench == 0 {
		o.Bench = DefaultBench
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Set is the members of one archive in layout order. It implements remote.Store by mirroring.
type Set struct {
	members []*member
	o       Options
}

type member struct {
	label  string
	store  remote.Store // nil: missing since the beginning
	missed error        // why store is nil

	benched atomic.Int64 // Unix nanoseconds until which it is left alone; 0: not at all
	mu      sync.Mutex
	behind  bool  // something written through this Set is not on it
	last    error // the last error that made it benched or behind
}

// New returns a Set of n members in layout order. A nil Store, or one made by Missing, is a member that could not be opened.
// labels are for messages; where one is lacking, the member is called by its number.
func New(members []remote.Store, labels []string, o Options) *Set {
	s := &Set{o: o.applyDefaults()}
	for i, store := range members {
		m := &member{label: fmt.Sprintf("member %d", i), store: store}
		if i < len(labels) && labels[i] != "" {
			m.label = labels[i]
		}
		if gone, ok := store.(*missing); ok {
			m.store, m.missed = nil, gone.err
		} else if store == nil {
			m.missed = errNotOpened
		}
		s.members = append(s.members, m)
	}
	return s
}

// Select returns a Set of some of the members, in the given order, for an archive whose packs are laid out in several ways.
// The members are shared: what one Set learns of a member, the other knows.
func (s *Set) Select(members []int) *Set {
	view := &Set{o: s.o}
	for _, i := range members {
		view.members = append(view.members, s.members[i])
	}
	return view
}

var errNotOpened = fmt.Errorf("not opened: %w", remote.ErrUnavailable)

// Member is one member as it stands.
type Member struct {
	Label string
	Store remote.Store // nil when it could not be opened
	Err   error        // why it could not be opened or what was last wrong with it; nil when all is well
}

// Members returns all members in layout order.
func (s *Set) Members() []Member {
	list := make([]Member, len(s.members))
	for i, m := range s.members {
		list[i] = Member{m.label, m.store, m.trouble()}
	}
	return list
}

// Degraded returns the labels of the members that could not be opened or that lack something that was written or deleted
// through this Set. It is empty as long as everything is everywhere.
func (s *Set) Degraded() []string {
	var labels []string
	for _, m := range s.members {
		if m.isBehind() {
			labels = append(labels, m.label)
		}
	}
	return labels
}

func (m *member) trouble() error {
	if m.store == nil {
		return m.missed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

func (m *member) isBehind() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store == nil || m.behind
}

func (m *member) setBehind(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind, m.last = true, err
}

// recovered forgets an error that was only about being out of reach.
func (m *member) recovered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.behind {
		m.last = nil
	}
}

// onBench says whether the member is to be asked only when the others are not enough. When its time is over, everybody asks
// it again until the first answer; to let one caller alone try would bench it for ever if that one got its answer elsewhere.
func (s *Set) onBench(m *member) bool {
	until := m.benched.Load()
	return until != 0 && s.o.Now().UnixNano() < until
}

// settle notes what the answer of a member says about the member, and adds its label to the error.
func (s *Set) settle(ctx context.Context, m *member, err error) error {
	switch {
	case err == nil, errors.Is(err, remote.ErrNotExist):
		if m.benched.Swap(0) != 0 {
			m.recovered()
		}
	case ctx.Err() != nil: // says nothing about the member
	case s.o.Bench > 0 && unreachable(err):
		m.benched.Store(s.o.Now().Add(s.o.Bench).UnixNano())
		m.mu.Lock()
		m.last = err
		m.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.label, err)
	}
	return nil
}
