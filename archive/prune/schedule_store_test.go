package prune

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/remote"
)

// scheduler lets one store operation of all actors happen at a time, in an order that it draws: each operation waits until its turn
// comes. Some of them fail, before or after they were done, some are delivered a second time later, and actors stop for ever between two
// operations. What is random in the actors (ids, columns) is not drawn from its seed, and neither is which of an actor's goroutines
// asks first: a seed gives a similar order each time, not the same one. The trace tells what it was.
type scheduler struct {
	rng *rand.Rand

	mu     sync.Mutex
	actors []*player
	late   []func(*scheduler) // deliveries that come later
	trace  []string
}

// player is one actor of a schedule.
type player struct {
	s       *scheduler
	name    string
	stop    context.CancelFunc
	waiting []*turn
	done    bool
	stopped bool
	failed  bool // an operation of it
}

// turn is an operation that waits.
type turn struct {
	what  string
	write func() error // of Put and Delete: may be delivered late, or twice
	goOn  chan outcome
}

// outcome is what happens to an operation.
type outcome struct {
	skip bool  // it is not done
	err  error // is reported, whether it was done or not
}

var (
	errStopped = errors.New("this actor has stopped")
	errLost    = errors.New("connection lost")
)

func newScheduler(seed uint64) *scheduler { return &scheduler{rng: rand.New(rand.NewPCG(seed, 4))} }

// play starts an actor.
func (s *scheduler) play(ctx context.Context, name string, act func(context.Context, *player) error) {
	p := &player{s: s, name: name}
	ctx, p.stop = context.WithCancel(ctx)
	s.actors = append(s.actors, p)
	go func() {
		err := act(ctx, p)
		s.mu.Lock()
		defer s.mu.Unlock()
		p.done = true
		s.note("%s ends: %v", name, err)
	}()
}

// play lets n actors of a kind work.
func (w *world) play(s *scheduler, n int, name string, make func(name string) func(context.Context, *bench, *player) error) {
	for i := range n {
		name := fmt.Sprintf("%s %d", name, i)
		act := make(name)
		s.play(w.t.Context(), name, func(ctx context.Context, p *player) error {
			b := *w.bench
			b.via, b.patience = p.via, 0
			return act(ctx, &b, p)
		})
	}
}

func (s *scheduler) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

// wait is called by an operation before it is done.
func (p *player) wait(ctx context.Context, what string, write func() error) outcome {
	t := &turn{what, write, make(chan outcome, 1)}
	p.s.mu.Lock()
	if p.stopped {
		p.s.mu.Unlock()
		return outcome{true, errStopped}
	}
	p.waiting = append(p.waiting, t)
	p.s.mu.Unlock()
	select {
	case o := <-t.goOn:
		return o
	case <-ctx.Done():
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(w *turn) bool { return w == t })
	return outcome{true, ctx.Err()}
}

// hurt says whether an operation of this actor failed: it may fail, too.
func (p *player) hurt() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.failed || p.stopped
}

// chaos says how much goes wrong, in thousandths of all operations.
type chaos struct{ fail, lose, twice, stop int }

// run plays until all actors have ended or stopped and everything was delivered. It returns false when nothing moves any more.
func (s *scheduler) run(c chaos) bool {
	idle := time.Now()
	var favourite *player
	for {
		ready, live := s.settle()
		if live == 0 && len(ready) == 0 && !s.deliver() {
			return true
		}
		if len(ready) == 0 {
			if time.Since(idle) > time.Minute {
				return false
			}
			time.Sleep(20 * time.Microsecond)
			continue
		}
		idle = time.Now()
		if s.rng.IntN(8) == 0 {
			s.deliver()
		}
		if s.rng.IntN(12) == 0 || !slices.Contains(ready, favourite) {
			favourite = ready[s.rng.IntN(len(ready))] // goes on for a while, while others wait
		}
		p := favourite
		if s.rng.IntN(6) == 0 {
			p = ready[s.rng.IntN(len(ready))]
		}
		s.let(p, c)
	}
}

// settle waits until each actor that has not ended asks for something, or is busy for longer than that should take. It returns those that
// ask, and how many have not ended.
func (s *scheduler) settle() (ready []*player, live int) {
	until := time.Now().Add(3 * time.Millisecond)
	for {
		ready, live = ready[:0], 0
		s.mu.Lock()
		for _, p := range s.actors {
			if !p.done {
				live++
			}
			if len(p.waiting) > 0 {
				ready = append(ready, p)
			}
		}
		s.mu.Unlock()
		if len(ready) == live || time.Now().After(until) {
			return ready, live
		}
		time.Sleep(10 * time.Microsecond)
	}
}

// let lets one operation of an actor happen.
func (s *scheduler) let(p *player, c chaos) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p.waiting) == 0 {
		return // its context ended
	}
	at := s.rng.IntN(len(p.waiting))
	t := p.waiting[at]
	p.waiting = slices.Delete(p.waiting, at, at+1)
	o, how := outcome{}, ""
	switch n := s.rng.IntN(1000); {
	case n < c.stop:
		s.note("%s stops for ever before %s", p.name, t.what)
		s.halt(p, t)
		return
	case n < c.stop+c.fail:
		o, how = outcome{true, errLost}, " (fails)"
	case n < c.stop+c.fail+c.lose:
		o, how = outcome{false, errLost}, " (done, and reported as failed)"
		if t.write != nil && s.rng.IntN(2) == 0 {
			o.skip, how = true, " (reported as failed, and done later)"
			s.later(t)
		}
	case n < c.stop+c.fail+c.lose+c.twice && t.write != nil:
		how = " (and once more later)"
		s.later(t)
	}
	p.failed = p.failed || o.err != nil
	s.note("%s %s%s", p.name, t.what, how)
	t.goOn <- o
}

// halt ends an actor; what it had asked for may still arrive.
func (s *scheduler) halt(p *player, t *turn) {
	p.stopped = true
	for _, w := range append(p.waiting, t) {
		if w.write != nil && s.rng.IntN(2) == 0 {
			s.later(w)
		}
		w.goOn <- outcome{true, errStopped}
	}
	p.waiting = nil
	p.stop()
}

func (s *scheduler) later(t *turn) {
	s.late = append(s.late, func(s *scheduler) {
		if err := t.write(); err == nil {
			s.note("late: %s", t.what)
		}
	})
}

// deliver delivers one of the late operations, and says whether there was one.
func (s *scheduler) deliver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.late) == 0 {
		return false
	}
	at := s.rng.IntN(len(s.late))
	do := s.late[at]
	s.late = slices.Delete(s.late, at, at+1)
	do(s)
	return true
}

// scheduled is a member as an actor sees it.
type scheduled struct {
	p      *player
	member string
	store  remote.Store
}

func (p *player) via(name string, s remote.Store) remote.Store { return &scheduled{p, name, s} }

// what names an operation for the trace.
func (d *scheduled) what(op, name string) string {
	dir, base := path.Split(name)
	if i := strings.IndexByte(dir, '/'); i >= 0 {
		dir = dir[:i+1]
	}
	if len(base) > 8 {
		base = base[:8] + base[min(len(base), 64):]
	}
	return op + " " + d.member + " " + dir + base
}

func (d *scheduled) Put(ctx context.Context, name string, data []byte) error {
	data = slices.Clone(data)
	write := func() error { return d.store.Put(context.Background(), name, data) }
	o := d.p.wait(ctx, d.what("put", name), write)
	if !o.skip {
		if err := write(); err != nil {
			return err
		}
	}
	return o.err
}

func (d *scheduled) Delete(ctx context.Context, name string) error {
	write := func() error { return d.store.Delete(context.Background(), name) }
	o := d.p.wait(ctx, d.what("delete", name), write)
	if !o.skip {
		if err := write(); err != nil {
			return err
		}
	}
	return o.err
}

func (d *scheduled) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if o := d.p.wait(ctx, d.what("get", name), nil); o.err != nil {
		return nil, o.err
	}
	return d.store.Get(ctx, name, off, n, dst)
}

func (d *scheduled) Stat(ctx context.Context, name string) (remote.Info, error) {
	if o := d.p.wait(ctx, d.what("stat", name), nil); o.err != nil {
		return remote.Info{}, o.err
	}
	return d.store.Stat(ctx, name)
}

// List is not of one moment: the names before some name are those of one, and the others those of a later one.
func (d *scheduled) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		var until string
		for _, part := range []string{"first half", "second half"} {
			if o := d.p.wait(ctx, d.what("list", prefix)+" "+part, nil); o.err != nil {
				yield(remote.Info{}, o.err)
				return
			}
			infos, err := d.names(ctx, prefix)
			if err != nil {
				yield(remote.Info{}, err)
				return
			}
			if until == "" {
				if until = prefix; len(infos) > 0 {
					until = infos[len(infos)/2].Name
				}
				infos = slices.DeleteFunc(infos, func(i remote.Info) bool { return i.Name >= until })
			} else {
				infos = slices.DeleteFunc(infos, func(i remote.Info) bool { return i.Name < until })
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

func (d *scheduled) names(ctx context.Context, prefix string) (infos []remote.Info, err error) {
	for info, err := range d.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b remote.Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}
