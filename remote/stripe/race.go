package stripe

import (
	"context"
	"sync"
	"time"
)

// race is a read of one shard that the K others may overtake.
type race struct {
	s      *Set
	o      Object
	w      Range // without Dst, into which the direct read writes
	avoid  []int
	delay  time.Duration
	trial  bool                    // the member is slow, and this read finds out whether it still is
	beat   context.CancelCauseFunc // ends the direct read
	direct chan struct{}           // closed when the direct read has returned
	done   chan struct{}           // closed when run has returned

	mu   sync.Mutex
	over bool               // the direct read has returned
	stop context.CancelFunc // of the reconstruction, once it has begun
	data []byte             // the result of the reconstruction; read after done
}

// raced reads a range from its own member, and when that takes too long also from the others. It returns what came first, or the
// member's own error. While the member is in time that costs a timer and a context, 1.5 µs.
func (s *Set) raced(ctx context.Context, o Object, w Range, avoid []int) ([]byte, error) {
	m, c := s.members[o.Member(w.Shard)], classOf(w.N)
	if s.o.Hedge < 0 || !s.canRebuild(o) {
		return s.get(ctx, m, o.Name, o.Base+w.Off, w.N, w.Dst, o.M == 0)
	}
	s.budget.read(&s.o, o.K)
	sub, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer m.watch(cancel)()
	r := &race{s: s, o: o, w: w, avoid: avoid, trial: m.lag(c).slow.Load(), beat: cancel, delay: s.late(m, c)}
	r.w.Dst = nil
	r.direct, r.done = make(chan struct{}), make(chan struct{})
	timer := time.AfterFunc(r.delay, func() { r.run(ctx, m) })
	b, err := s.get(sub, m, o.Name, o.Base+w.Off, w.N, w.Dst, true) // sub is watched already
	if timer.Stop() {
		return b, err
	}
	if r.end(err == nil); err == nil && r.stop != nil {
		m.lag(c).held()
	}
	if err == nil || r.data == nil {
		return b, err
	}
	return into(w.Dst, r.data), nil
}

// end waits until nothing of the race is left.
func (r *race) end(won bool) {
	close(r.direct)
	r.mu.Lock()
	r.over = true
	if won && r.stop != nil {
		r.stop()
	}
	r.mu.Unlock()
	<-r.done
}

// run is called when the direct read is late. It ends when that has returned, or when the others were faster.
func (r *race) run(ctx context.Context, m *member) {
	defer close(r.done)
	c := classOf(r.w.N)
	m.lag(c).late(time.Now())
	for waited := r.delay; ; waited += r.delay {
		j := r.s.newJob(r.o, []Range{r.w}, r.avoid)
		j.shards[r.w.Shard].err = errBeaten // its read is on its way already
		if j.ready(waited) >= r.o.K && r.s.mayRace(m, c, r.trial, waited, r.o.K) {
			if r.overtake(ctx, j) {
				m.lag(c).beaten(time.Now())
				return
			}
		}
		timer := time.NewTimer(r.delay)
		select {
		case <-timer.C:
		case <-r.direct:
			timer.Stop()
			return
		}
	}
}

// overtake reads from the others and says whether it was first.
func (r *race) overtake(ctx context.Context, j *job) bool {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return false
	}
	ctx, r.stop = context.WithCancel(ctx)
	defer r.stop()
	r.mu.Unlock()
	j.run(ctx)
	if j.errs[0] != nil {
		return false
	}
	r.data = j.out[0]
	r.beat(errBeaten)
	return true
}
