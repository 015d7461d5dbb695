// Package stripe makes one archive out of n stores, its members. A Set does two things:
//
//	mirror   small objects (snapshots, marks, keys) are copied to every member: Set is a remote.Store
//	stripe   an erasure-coded object is n shards, shard j on member (j + rotation) mod n: PutShards, GetShard, Read, ReadMany
//
//	                 shard 0   shard 1   shard 2       coded region of each shard: bytes [Base, Base+Length)
//	rotation 1  →    member 1  member 2  member 0      any range of it from any K shards gives that range of all
//
// Any n−K members may be gone, hang or be slow:
//
//   - A member whose store says that it is unreachable is benched: it is asked only when the others are not enough, and
//     one probe in the background (a Stat, after 5, 10, 20, 40, 60, 60 … seconds) finds out when it is back. Requests that are
//     on their way to it when another one has it benched are not waited for: reads go round it at once, writes are
//     given up when all other members have finished. No request begins there any more.
//   - A member that hangs says nothing. A write or a listing that others have finished waits for it for
//     max(10 s, 8 × the slowest other), then it is benched. A write never gives anybody up before enough members acknowledged.
//   - A read that takes longer than max(250 ms, 3 × the member's 95th percentile for such sizes) is raced (hedged): the
//     same bytes are calculated from K others, and the first result counts. Races may add 5 % to the number of requests, and two at
//     the beginning, so that a machine that is short of CPU does not read everything twice; after 10 s a read is raced in any case, and
//     after 4 s if others have answered meanwhile in less than half of that time. A member that was late three times in a row and
//     lost, or hung like that, is slow: reads go round it at once, but one now and then (after 1, 2, 4 … 30 s) that finds out whether it has recovered.
//
// So a healthy read is one request, and a degraded one K. Which K: the fastest by moving averages, and among equals those with
// the fewest requests on their way. Content is not verified here, except by the function given to GetVerified; who
// finds a shard's bytes wrong calls Read again with that shard in avoid.
//
// A Set is safe for concurrent use, and so are the Sets made of it by Select, which share what is known of the members. Each goroutine
// it starts ends before the call that started it returns, except the probes, which end with Close. That rests on the
// contract of remote.Store: a call ends when its context does. A store that breaks it (a directory on a network file
// system that does not answer, where the kernel ends no call) holds up who asks it.
// Memory: 4 KiB a member for latencies; for reads see ReadMany.
//
// A crash in the middle of a write leaves the object on some members only; a crash in the middle of a
// delete, too. Names that are written once and content that proves itself make both harmless.
package stripe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cairn/remote"
)

// Set is the members of one archive in layout order. It implements remote.Store by mirroring.
type Set struct {
	members []*member
	*group
}

// New returns a Set of n members in layout order. A nil Store, or one made by Missing, is a member that could not be opened.
// labels are for messages; where one is lacking, the member is called by its number. Close it when it is no longer used.
func New(members []remote.Store, labels []string, o Options) *Set {
	s := &Set{group: newGroup(o)}
	for i, store := range members {
		label := fmt.Sprintf("member %d", i)
		if i < len(labels) && labels[i] != "" {
			label = labels[i]
		}
		s.members = append(s.members, newMember(label, store))
	}
	s.group.members = s.members
	return s
}

// Select returns a Set of some of the members, in the given order, for an archive whose packs are laid out in several ways.
// The members are shared: what one Set learns of a member, the other knows, and to close one is to close all.
func (s *Set) Select(members []int) *Set {
	view := &Set{group: s.group}
	for _, i := range members {
		view.members = append(view.members, s.members[i])
	}
	return view
}

// Close ends the probes of benched members, for this Set and all that share its members, and waits until none runs. It may
// be called again. Requests still work afterwards, but a benched member stays benched until it is needed.
func (s *Set) Close() error { return s.close() }

// Member is one member as it stands.
type Member struct {
	Label    string
	Store    remote.Store  // nil when it could not be opened
	Err      error         // why it could not be opened or what was last wrong with it; nil when all is well
	Benched  bool          // it did not answer, and is asked only if the others are not enough until a probe finds it back
	Slow     bool          // reads go round it
	P50, P95 time.Duration // of requests that read at most 64 KiB; 0 as long as there was none
	Requests int64         // answered or failed, as this Set and those that share the member saw them
	Errors   int64         // of these, those that failed otherwise than by "does not exist"
}

// Members returns all members in layout order.
func (s *Set) Members() []Member {
	list := make([]Member, len(s.members))
	for i, m := range s.members {
		p50, p95 := m.meter.percentiles(0)
		list[i] = Member{
			Label: m.label, Store: m.store, Err: m.trouble(), Benched: m.benched.Load(), Slow: m.isSlow(),
			P50: p50, P95: p95, Requests: m.meter.requests.Load(), Errors: m.meter.errors.Load(),
		}
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

// lineup returns the members to ask now, those to ask only if needed, and a result that says why the others are not asked.
func (s *Set) lineup() (now, later []int, res Result) {
	res = Result{make([]bool, len(s.members)), make([]error, len(s.members))}
	for i, m := range s.members {
		switch {
		case m.store == nil:
			res.Errs[i] = m.absent()
		case m.benched.Load():
			later = append(later, i)
			res.Errs[i] = m.benchedError()
		default:
			now = append(now, i)
		}
	}
	return now, later, res
}

// bySpeed orders members for a request of a size: the fastest first, among equals those with the least to do.
func (s *Set) bySpeed(members []int, c class) {
	type key struct{ level, load int }
	keys := make(map[int]key, len(members)) // taken once: a sort must not see them change
	for _, i := range members {
		keys[i] = key{s.members[i].meter.level(c), int(s.members[i].meter.inFlight.Load())}
	}
	slices.SortStableFunc(members, func(a, b int) int {
		if d := keys[a].level - keys[b].level; d != 0 {
			return d
		}
		return keys[a].load - keys[b].load
	})
}

// get is a Get of one member, timed and settled. With last, the member is asked even if it is benched; otherwise the
// request ends when it is.
func (s *Set) get(ctx context.Context, m *member, name string, off, n int64, dst []byte, last bool) ([]byte, error) {
	b, err := timed(ctx, s, m, last, classOf(sizeOf(off, n)), func(ctx context.Context) ([]byte, error) { return m.store.Get(ctx, name, off, n, dst) })
	if err == nil && off >= 0 {
		err = m.exact(name, b, n)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// timed does one read of a member, times it, and settles what it says about the member.
func timed[T any](ctx context.Context, s *Set, m *member, last bool, c class, ask func(context.Context) (T, error)) (T, error) {
	sub, leave := m.enter(ctx, last)
	defer leave()
	if sub.Err() != nil { // benched since it was chosen
		var zero T
		return zero, m.ended(sub, sub.Err())
	}
	m.meter.inFlight.Add(1)
	begin := time.Now()
	v, err := ask(sub)
	took := time.Since(begin)
	m.meter.inFlight.Add(-1)
	switch {
	case err != nil && sub.Err() != nil:
		m.meter.atLeast(max(c, 0), took)
	case answered(err) && c != unknown:
		s.clock(m, c, took)
	}
	return v, s.settle(sub, m, err)
}
