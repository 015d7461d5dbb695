package stripe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cairn/remote"
)

// maxRunning bounds the requests of one job: two for each of 32 members.
const maxRunning = 64

// rank says how willingly a shard is read.
type rank int

const (
	ready   rank = iota
	slow         // its member is
	benched      // its member is
)

// source is one shard of the object of a job.
type source struct {
	rank    rank
	err     error    // why no new request is sent: its member is missing, it is to be avoided, or a read of it failed
	late    bool     // a read of it takes too long: go on as if it were not there, but take what comes
	trial   bool     // its member is slow, and this job finds out whether it still is
	fetches []*fetch // what is read of it
}

// fetch is one request.
type fetch struct {
	shard  int
	off, n int64
	want   int     // the want that it is exactly, and into whose Dst it goes; -1: none
	pooled *[]byte // where it goes otherwise
	last   bool    // also if the member is benched
	state  state
	data   []byte
	begun  time.Time
	check  time.Time // when it is late
	late   bool      // it was late once
}

type state int

const (
	planned state = iota
	running
	arrived
	failed
)

func (f *fetch) end() int64 { return f.off + f.n }

type answer struct {
	f    *fetch
	data []byte
	err  error
}

// job reads some ranges of one object. It belongs to one goroutine; requests run in their own and report to it. After each report and
// each time that one is late it plans anew (plan.go): what is still wanted, from which shards, which requests
// that needs beyond those that were begun.
type job struct {
	s      *Set
	o      Object
	wants  []Range
	out    [][]byte
	errs   []error
	done   []bool
	shards []source
	size   class // of its largest want

	queue   []*fetch
	running int
	answers chan answer
	asked   bool // something was read in order to calculate with it
	pooled  []*[]byte
	copies  []func() // into Dst, when no request writes there any more
}

// newJob needs an object that fits the Set.
func (s *Set) newJob(o Object, wants []Range, avoid []int) *job {
	j := &job{s: s, o: o, wants: wants, out: make([][]byte, len(wants)), errs: make([]error, len(wants)), done: make([]bool, len(wants)),
		shards: make([]source, len(s.members)), answers: make(chan answer, maxRunning)}
	for _, w := range wants {
		j.size = max(j.size, classOf(w.N))
	}
	for shard := range j.shards {
		src, m := &j.shards[shard], s.members[o.Member(shard)]
		switch {
		case m.store == nil:
			src.err = m.absent()
		case slices.Contains(avoid, shard):
			src.err = fmt.Errorf("%s: shard %d: %w", m.label, shard, errAvoided)
		case m.benched.Load():
			src.rank = benched
		case m.lag(j.size).slow.Load():
			src.rank = slow
		}
	}
	return j
}

func (j *job) member(shard int) *member { return j.s.members[j.o.Member(shard)] }

// run reads until each want is done, by success or by error, and until nothing runs any more.
func (j *job) run(ctx context.Context) {
	sub, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for j.plan(); slices.Contains(j.done, false); j.plan() {
		j.start(sub)
		if wait, ok := j.nextCheck(); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case a := <-j.answers:
			j.take(a)
		case <-timer.C:
			j.checkLate()
		case <-ctx.Done():
			j.abandon(ctx.Err())
		}
	}
	var late []*fetch // and others were faster
	for shard := range j.shards {
		for _, f := range j.shards[shard].fetches {
			if j.shards[shard].late && f.late && f.state == running && ctx.Err() == nil {
				late = append(late, f)
			}
		}
	}
	cancel(errBeaten)
	j.end(late)
}

// end waits for the last requests and gives the results where they belong.
func (j *job) end(late []*fetch) {
	for j.running > 0 {
		j.take(<-j.answers)
	}
	for _, f := range late {
		if f.state == failed {
			j.member(f.shard).lag(classOf(f.n)).beaten(time.Now())
		}
	}
	for _, do := range j.copies {
		do()
	}
	for _, b := range j.pooled {
		j.s.memory.Put(b)
	}
	j.tellBad()
}

// tellBad tells of shards that were no use, unless the whole object was none.
func (j *job) tellBad() {
	if j.s.o.Bad == nil || !slices.Contains(j.errs, nil) {
		return
	}
	for shard := range j.shards {
		if err := j.shards[shard].err; err != nil && gone(err) && !errors.Is(err, errAvoided) {
			j.s.o.Bad(j.o.Name, shard, err)
		}
	}
}

// start begins what is planned.
func (j *job) start(ctx context.Context) {
	for len(j.queue) > 0 && j.running < maxRunning {
		f := j.queue[0]
		j.queue = j.queue[1:]
		if f.want >= 0 && j.done[f.want] { // it was calculated meanwhile
			f.state = failed
			continue
		}
		m := j.member(f.shard)
		f.state, f.begun = running, time.Now()
		f.check = f.begun.Add(j.s.late(m, classOf(f.n)))
		var dst []byte
		if f.want >= 0 {
			dst = j.wants[f.want].Dst
		} else {
			f.pooled = j.buffer(f.n)
			dst = *f.pooled
		}
		j.running++
		go func() {
			b, err := j.request(ctx, m, f, dst)
			j.answers <- answer{f, b, err}
		}()
	}
}

// request does one fetch. A benched member that is asked as a last resort gets as long as a straggler of a write, not for ever.
func (j *job) request(ctx context.Context, m *member, f *fetch, dst []byte) ([]byte, error) {
	if grace, ok := j.s.o.grace(j.s.late(m, classOf(f.n))); ok && f.last && j.o.M > 0 {
		sub, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		b, err := j.s.get(sub, m, j.o.Name, j.o.Base+f.off, f.n, dst, true)
		if err != nil && sub.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w, no answer for %v: %w", remote.ErrUnavailable, grace.Round(time.Millisecond), err)
		}
		return b, err
	}
	return j.s.get(ctx, m, j.o.Name, j.o.Base+f.off, f.n, dst, f.last)
}

// buffer returns memory that goes back when the job is done.
func (j *job) buffer(n int64) *[]byte {
	b, _ := j.s.memory.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	*b = remote.Into(*b, n)
	j.pooled = append(j.pooled, b)
	return b
}

func (j *job) take(a answer) {
	j.running--
	src := &j.shards[a.f.shard]
	if a.err != nil {
		a.f.state = failed
		if errors.Is(a.err, errBenched) {
			src.rank = benched // by another request: what the shard is like is not known
		} else if src.err == nil {
			src.err = a.err
		}
		return
	}
	a.f.state, a.f.data = arrived, a.data
	if src.late {
		j.member(a.f.shard).lag(classOf(a.f.n)).held()
	}
	if a.f.pooled != nil {
		*a.f.pooled = a.data
	}
}

// nextCheck is how long from now the first running request is late.
func (j *job) nextCheck() (time.Duration, bool) {
	if j.s.o.Hedge < 0 || !j.s.canRebuild(j.o) {
		return 0, false
	}
	var first time.Time
	for f := range j.runningFetches() {
		if first.IsZero() || f.check.Before(first) {
			first = f.check
		}
	}
	return time.Until(first), !first.IsZero()
}

// runningFetches yields the running requests that do not count as late.
func (j *job) runningFetches() func(func(*fetch) bool) {
	return func(yield func(*fetch) bool) {
		for shard := range j.shards {
			if src := &j.shards[shard]; !src.late {
				for _, f := range src.fetches {
					if f.state == running && !yield(f) {
						return
					}
				}
			}
		}
	}
}

// checkLate marks the shards whose reads take too long, if there are others and racing them is allowed.
func (j *job) checkLate() {
	now := time.Now()
	for f := range j.runningFetches() {
		m, src, c := j.member(f.shard), &j.shards[f.shard], classOf(f.n)
		if now.Before(f.check) || src.late {
			continue
		}
		if !f.late {
			f.late = true
			m.lag(c).late(now)
		}
		cost := j.o.K
		if f.want < 0 { // one of K that are read to calculate with: one other can stand in
			cost = 1
		}
		src.late = true
		if waited := now.Sub(f.begun); j.ready(waited) < j.o.K || !j.s.mayRace(m, c, src.trial, waited, cost) {
			src.late = false
			f.check = now.Add(j.s.late(m, c))
		}
	}
}

// ready counts the shards that can be read instead of one that was waited for. After a long time that includes those of
// members that are benched or slow.
func (j *job) ready(waited time.Duration) int {
	n := 0
	for shard := range j.shards {
		src, m := &j.shards[shard], j.member(shard)
		if m.store != nil && !m.benched.Load() { // it may have come back meanwhile
			if src.rank == benched {
				src.rank = ready
			}
			if unreachable(src.err) {
				src.err = nil
			}
		}
		if src.err == nil && !src.late && (src.rank == ready || j.s.o.Grace >= 0 && waited >= j.s.o.Grace) {
			n++
		}
	}
	return n
}

// abandon ends what is not done.
func (j *job) abandon(err error) {
	for i := range j.done {
		if !j.done[i] {
			j.done[i], j.errs[i] = true, err
		}
	}
	j.queue = nil
}
