package stripe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"cairn/remote"
)

// MaxVerified is the largest object that GetVerified reads: more than anything that is mirrored
// (docs/format.md §10: 64 MiB for a snapshot).
const MaxVerified = 64<<20 + 4096

// Get reads a range from the first member that answers well. It is ErrNotExist only if no member has the object and at
// least one says so; a member that has it but fails is passed over. One that does not answer in time is not waited for as long
// as there are others.
func (s *Set) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	return first(ctx, s, name, question[[]byte]{
		size: sizeOf(off, n),
		ask: func(ctx context.Context, m *member, alone bool) ([]byte, error) {
			if !alone { // another request may be writing there
				return m.store.Get(ctx, name, off, n, nil)
			}
			return m.store.Get(ctx, name, off, n, dst)
		},
		take: func(b []byte) ([]byte, error) {
			if len(b) > 0 && cap(dst) > 0 && &b[0] == &dst[:1][0] {
				return b, nil
			}
			return into(dst, b), nil
		},
	})
}

// Stat asks as Get does.
func (s *Set) Stat(ctx context.Context, name string) (remote.Info, error) {
	return first(ctx, s, name, question[remote.Info]{
		ask:  func(ctx context.Context, m *member, _ bool) (remote.Info, error) { return m.store.Stat(ctx, name) },
		take: func(info remote.Info) (remote.Info, error) { return info, nil },
	})
}

// GetVerified reads a whole mirrored object of at most MaxVerified bytes from the first member whose copy passes
// verify, which is called in the caller's goroutine. Its errors are Get's, or verify's if there are copies and none is good.
func (s *Set) GetVerified(ctx context.Context, name string, verify func([]byte) error) ([]byte, error) {
	return first(ctx, s, name, question[[]byte]{
		size: -1,
		ask: func(ctx context.Context, m *member, _ bool) ([]byte, error) {
			return remote.ReadAll(ctx, m.store, name, MaxVerified)
		},
		take: func(b []byte) ([]byte, error) { return b, verify(b) },
	})
}

// question is what members are asked until an answer is taken.
type question[T any] struct {
	size int64 // bytes of the answer; < 0: unknown
	ask  func(ctx context.Context, m *member, alone bool) (T, error)
	take func(T) (T, error) // in the caller's goroutine, when no other request runs any more
}

// first asks the fastest member, and the next when it fails or does not answer in time; benched ones last and
// only if no other knew. These requests are few, so they need no budget.
func first[T any](ctx context.Context, s *Set, name string, q question[T]) (T, error) {
	var zero T
	if err := remote.ValidName(name); err != nil {
		return zero, err
	}
	if m := s.members[0]; len(s.members) == 1 && m.store != nil {
		return only(ctx, s, m, name, q)
	}
	now, later, res := s.lineup()
	s.bySpeed(now, classOf(q.size))
	for g, group := range [2][]int{now, later} {
		for len(group) > 0 && ctx.Err() == nil {
			var v T
			var ok bool
			if v, group, ok = askGroup(ctx, s, group, g == 0 && len(later) > 0, res.Errs, q); ok {
				return v, nil
			}
		}
		if err := s.verdict(name, res.Errs); ctx.Err() == nil && errors.Is(err, remote.ErrNotExist) {
			return zero, err
		}
	}
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	return zero, s.verdict(name, res.Errs)
}

// only is first with one member.
func only[T any](ctx context.Context, s *Set, m *member, name string, q question[T]) (v T, err error) {
	begin := time.Now()
	v, err = q.ask(ctx, m, true)
	if c := classOf(q.size); answered(err) && c != unknown {
		m.meter.sample(c, time.Since(begin))
	}
	if err = s.settle(ctx, m, err); err == nil {
		if v, err = q.take(v); err == nil {
			return v, nil
		}
		err = fmt.Errorf("%s: %w", m.label, err)
	}
	var zero T
	if ctx.Err() != nil {
		return zero, ctx.Err()
	}
	return zero, s.verdict(name, []error{err})
}

// told is what one member said.
type told[T any] struct {
	i   int
	v   T
	err error
}

// asking is one round of questions: to one member after the other, the next one when one says no or is late, until one has an
// answer.
type asking[T any] struct {
	s       *Set
	q       question[T]
	group   []int
	more    bool // there are others to ask when this round comes to nothing
	errs    []error
	answers chan told[T]
	begun   time.Time
	asked   int
	running int
	winner  *told[T]
	beaten  []int // asked, and ended because there was a winner
}

// askGroup also returns whom to ask if the answer it got was not taken.
func askGroup[T any](ctx context.Context, s *Set, group []int, more bool, errs []error, q question[T]) (v T, rest []int, ok bool) {
	sub, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &asking[T]{s: s, q: q, group: group, more: more, errs: errs, answers: make(chan told[T], len(group)), begun: time.Now()}
	a.ask(sub)
	timer := time.NewTimer(a.patience())
	defer timer.Stop()
	for a.running > 0 {
		select {
		case t := <-a.answers:
			a.running--
			switch {
			case a.winner != nil:
				a.beaten = append(a.beaten, t.i)
			case t.err == nil:
				a.winner = &t
				cancel(errBeaten)
			default:
				errs[t.i] = t.err
				a.ask(sub)
			}
		case <-timer.C:
			if a.asked < len(group) {
				a.ask(sub)
			} else if a.more || a.running < len(group) {
				cancel(errGivenUp)
			}
		}
		timer.Reset(a.patience())
	}
	if a.winner == nil {
		return v, nil, false
	}
	v, err := q.take(a.winner.v)
	if err != nil {
		errs[a.winner.i] = fmt.Errorf("%s: %w", s.members[a.winner.i].label, err)
	}
	return v, append(a.beaten, group[a.asked:]...), err == nil
}

// ask asks the next member, if there is one and nothing has ended the round.
func (a *asking[T]) ask(ctx context.Context) {
	if a.asked == len(a.group) || ctx.Err() != nil {
		return
	}
	i := a.group[a.asked]
	m, alone, last := a.s.members[i], a.asked == 0, a.s.members[i].benched.Load()
	a.asked++
	a.running++
	go func() {
		v, err := timed(ctx, a.s, m, last, classOf(a.q.size), func(ctx context.Context) (T, error) { return a.q.ask(ctx, m, alone) })
		if err != nil && context.Cause(ctx) == errGivenUp {
			err = a.s.giveUp(m, a.begun, err)
		}
		a.answers <- told[T]{i, v, err}
	}()
}

// unknownPatience is how much longer the last answer of unknown size may take: it may be a snapshot of 64 MiB. Until the next member is
// asked it is as with small ones, for that is what nearly all are.
const unknownPatience = 8

// patience is how long to wait for the next answer: until the next member is asked, or, when all were, until the last ones are given up,
// because what the others say is enough.
func (a *asking[T]) patience() time.Duration {
	if a.asked < len(a.group) && a.s.o.Hedge >= 0 {
		return a.s.late(a.s.members[a.group[a.asked-1]], max(classOf(a.q.size), 0))
	}
	if grace, ok := a.s.o.grace(0); ok && a.q.size < 0 {
		return unknownPatience * grace
	} else if ok {
		return grace
	}
	return math.MaxInt64
}

// verdict makes one error of what all members said about a mirrored object.
func (s *Set) verdict(name string, errs []error) error {
	var missing, other error
	for i, err := range errs {
		switch {
		case errors.Is(err, remote.ErrNotExist):
			missing = err
		case s.members[i].store != nil && !unreachable(err) && other == nil:
			other = err
		}
	}
	switch {
	case other != nil:
		return fmt.Errorf("object %s: %w", name, other)
	case missing != nil:
		return fmt.Errorf("object %s: %w", name, missing)
	}
	return s.tooFew(1, Result{make([]bool, len(errs)), errs})
}
