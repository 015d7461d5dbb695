package stripe

import (
	"context"
	"time"
)

// write calls do for all members at once. Benched members are called only if fewer than need others acknowledge. It
// waits for each, and for stragglers as Options.Grace says. Which members did not acknowledge is in the result and remembered.
func (s *Set) write(ctx context.Context, need int, do func(ctx context.Context, i int) error) (Result, error) {
	if err := ctx.Err(); err != nil {
		return s.none(err), err
	}
	now, later, res := s.lineup()
	if len(s.members) == 1 { // the default archive: one directory, no goroutine
		if m := s.members[0]; m.store != nil {
			res.Errs[0] = s.settle(ctx, m, do(ctx, 0))
			res.Acked[0] = res.Errs[0] == nil
		}
	} else {
		w := &writing{s: s, need: need, do: do, res: res, later: later, answers: make(chan written, len(s.members)), wake: make(chan struct{}, 1),
			pending: make(map[int]pending, len(now)), begun: time.Now()}
		w.run(ctx, now)
	}
	if err := ctx.Err(); err != nil && !res.Full() {
		return res, err
	}
	for i, m := range s.members {
		if !res.Acked[i] && m.store != nil && !isRefusal(res.Errs[i]) {
			m.setBehind(res.Errs[i])
		}
	}
	if res.Count() < need {
		return res, s.tooFew(need, res)
	}
	return res, nil
}

// writing is one write to several members.
type writing struct {
	s       *Set
	need    int
	do      func(ctx context.Context, i int) error
	res     Result
	later   []int // benched members that were not asked yet
	pending map[int]pending
	answers chan written
	wake    chan struct{} // a pending member was benched by another request
	begun   time.Time
	slowest time.Duration // of those that acknowledged
	acked   int
}

type pending struct {
	cancel context.CancelCauseFunc
	forced bool // the member was benched already, and is asked because there are too few others
}

type written struct {
	i   int
	err error
}

func (w *writing) run(ctx context.Context, now []int) {
	for _, i := range now {
		w.start(ctx, i)
	}
	grace, _ := w.s.o.grace(0)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	expired := timer.C
	if w.s.o.Grace < 0 {
		expired = nil
	}
	for len(w.pending) > 0 || w.acked < w.need && len(w.later) > 0 {
		if len(w.pending) == 0 {
			w.callIn(ctx)
		}
		select {
		case a := <-w.answers:
			w.take(a)
			grace, _ := w.s.o.grace(w.slowest)
			timer.Reset(grace) // the time counts from the last sign of life
		case <-w.wake:
		case <-expired:
			if w.acked >= w.need {
				w.giveUp(errGivenUp)
			} else {
				w.callIn(ctx)
			}
			continue
		}
		if w.acked >= w.need && w.onlyBenched() {
			w.giveUp(errBenched)
		}
	}
}

// callIn asks the benched members, too.
func (w *writing) callIn(ctx context.Context) {
	for _, i := range w.later {
		w.start(ctx, i)
	}
	w.later = nil
}

// start calls do for one member. A member that is benched meanwhile may still finish, as long as others are not done either.
func (w *writing) start(ctx context.Context, i int) {
	m := w.s.members[i]
	sub, cancel := context.WithCancelCause(ctx)
	forced := m.benched.Load()
	w.pending[i] = pending{cancel, forced}
	stop := func() bool { return true }
	if !forced {
		stop = context.AfterFunc(m.state(), func() {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		})
	}
	go func() {
		m.meter.inFlight.Add(1)
		err := w.do(sub, i)
		m.meter.inFlight.Add(-1)
		stop()
		w.answers <- written{i, w.settle(sub, m, err)}
	}()
}

// settle is group.settle that knows what it says about a member to be given up.
func (w *writing) settle(ctx context.Context, m *member, err error) error {
	if err != nil && context.Cause(ctx) == errGivenUp {
		return w.s.giveUp(m, w.begun, err)
	}
	return w.s.settle(ctx, m, err)
}

func (w *writing) take(a written) {
	w.res.Acked[a.i], w.res.Errs[a.i] = a.err == nil, a.err
	w.pending[a.i].cancel(nil)
	delete(w.pending, a.i)
	if a.err == nil {
		w.acked++
		w.slowest = max(w.slowest, time.Since(w.begun))
	}
}

// onlyBenched says whether nobody is waited for but members that others found dead.
func (w *writing) onlyBenched() bool {
	for i, p := range w.pending {
		if p.forced || !w.s.members[i].benched.Load() {
			return false
		}
	}
	return true
}

// giveUp ends what is pending. A member that finishes all the same has acknowledged.
func (w *writing) giveUp(cause error) {
	for _, p := range w.pending {
		p.cancel(cause)
	}
	for len(w.pending) > 0 {
		w.take(<-w.answers)
	}
}
