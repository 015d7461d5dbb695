package stripe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"cairn/remote"
)

// member is one store with what is known of it. All Sets made by Select of one another share it.
type member struct {
	label  string
	store  remote.Store // nil: missing since the beginning
	missed error        // why store is nil
	meter  meter
	lags   [classes]lag

	benched  atomic.Bool // changed under mu; read without
	troubled atomic.Bool // the next good answer has something to change

	mu     sync.Mutex
	behind bool  // something written through a Set is not on it
	last   error // the last error that made it benched or behind

	// up ends when it is benched, by down, and with it the reads that are on their way; there is a new one when it is back.
	up      context.Context
	down    context.CancelFunc
	pause   time.Duration // until the next probe
	back    time.Time     // when it last came back
	timer   *time.Timer   // of the next probe; nil: not benched
	benches int           // how often it was benched, so that a late probe says nothing about a later time
}

var errNotOpened = fmt.Errorf("not opened: %w", remote.ErrUnavailable)

func newMember(label string, store remote.Store) *member {
	m := &member{label: label, store: store}
	m.up, m.down = context.WithCancel(context.Background())
	if gone, ok := store.(*missing); ok {
		m.store, m.missed = nil, gone.err
	} else if store == nil {
		m.missed = errNotOpened
	}
	return m
}

// Causes that contexts of requests end with.
var (
	errBenched = errors.New("not asked again for now")
	errGivenUp = errors.New("given up")
	errBeaten  = errors.New("others were faster")
)

// enter returns the context of a request: it ends when the member is benched by another one, unless it is the last
// resort. leave must be called.
func (m *member) enter(ctx context.Context, last bool) (sub context.Context, leave func()) {
	if last {
		return ctx, func() {}
	}
	sub, cancel := context.WithCancelCause(ctx)
	stop := m.watch(cancel)
	return sub, func() { stop(); cancel(nil) }
}

// watch ends a request when the member is benched. stop must be called.
func (m *member) watch(cancel context.CancelCauseFunc) (stop func() bool) {
	stop = context.AfterFunc(m.state(), func() { cancel(errBenched) })
	if m.benched.Load() {
		cancel(errBenched) // AfterFunc takes a moment
	}
	return stop
}

func (m *member) state() context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

// lag is what is known about reads like one of a class.
func (m *member) lag(c class) *lag { return &m.lags[c] }

func (m *member) isSlow() bool {
	for c := range m.lags {
		if m.lags[c].slow.Load() {
			return true
		}
	}
	return false
}

func (m *member) absent() error { return fmt.Errorf("%s: %w", m.label, m.missed) }

func (m *member) benchedError() error {
	cause := m.trouble()
	if cause == nil {
		cause = errors.New("did not answer")
	}
	return fmt.Errorf("%s: %w, %w: %w", m.label, remote.ErrUnavailable, errBenched, cause)
}

// ended is the error of a request whose context ended.
func (m *member) ended(ctx context.Context, err error) error {
	if context.Cause(ctx) == errBenched {
		return m.benchedError()
	}
	return fmt.Errorf("%s: %w", m.label, err)
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

// answered says whether the member answered a read properly.
func answered(err error) bool { return err == nil || errors.Is(err, remote.ErrNotExist) }

// group is what all Sets over the same members share.
type group struct {
	o       Options
	members []*member
	budget  budget

	ctx    context.Context // of the probes
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	probes sync.WaitGroup
	tell   sync.Mutex // held while a member is benched or comes back, so that events are told in order
	memory sync.Pool  // *[]byte, for reads that are not the caller's
}

func newGroup(o Options) *group {
	g := &group{o: o.applyDefaults()}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// settle notes what the answer of a member says about the member, and adds its label to the error. ctx is that of the request.
func (g *group) settle(ctx context.Context, m *member, err error) error {
	m.meter.requests.Add(1)
	if answered(err) {
		if m.troubled.Load() {
			g.recover(m)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", m.label, err)
		}
		return err
	}
	if ctx.Err() != nil { // says nothing about the member
		return m.ended(ctx, err)
	}
	m.meter.errors.Add(1)
	if unreachable(err) {
		g.bench(m, err)
	}
	return fmt.Errorf("%s: %w", m.label, err)
}

// giveUp benches a member that did not answer although others have, and returns what to say about that.
func (g *group) giveUp(m *member, begun time.Time, err error) error {
	err = fmt.Errorf("%w: no answer for %v: %w", remote.ErrUnavailable, time.Since(begun).Round(time.Millisecond), err)
	g.bench(m, err)
	return fmt.Errorf("%s: %w", m.label, err)
}

// bench leaves a member alone until a probe finds it back. Where it is the only one there is no choice.
func (g *group) bench(m *member, err error) {
	if g.o.Bench < 0 || len(g.members) == 1 || m.benched.Load() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.last = err
		m.troubled.Store(true)
		return
	}
	g.tell.Lock()
	defer g.tell.Unlock()
	if !m.sit(g, err) {
		return
	}
	if g.o.Event != nil {
		g.o.Event(Event{Label: m.label, Benched: true, Err: err})
	}
}

// sit puts a member on the bench and says whether it was not there before. One that flaps (it was back for
// less than the longest pause) sits longer each time, or a server that answers the probe and nothing else would hold up
// something every few seconds.
func (m *member) sit(g *group, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = err
	m.troubled.Store(true)
	if m.timer != nil {
		return false
	}
	if !m.back.IsZero() && time.Since(m.back) < g.o.BenchMax {
		m.pause = min(2*m.pause, g.o.BenchMax)
	} else {
		m.pause = g.o.Bench
	}
	m.benches++
	m.benched.Store(true)
	m.down()
	g.probeLater(m)
	return true
}

// recover takes a member that answered off the bench.
func (g *group) recover(m *member) {
	g.tell.Lock()
	defer g.tell.Unlock()
	if m.stand() && g.o.Event != nil {
		g.o.Event(Event{Label: m.label})
	}
}

// stand is the opposite of sit. It forgets an error that was only about being out of reach.
func (m *member) stand() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.behind {
		m.last = nil
	}
	m.troubled.Store(false)
	if m.timer == nil {
		return false
	}
	m.timer.Stop()
	m.timer, m.back = nil, time.Now()
	m.up, m.down = context.WithCancel(context.Background())
	m.benched.Store(false)
	return true
}

// probeLater is called with m.mu held.
func (g *group) probeLater(m *member) {
	bench := m.benches
	m.timer = time.AfterFunc(m.pause, func() { g.probe(m, bench) })
}

// probeName is what a probe asks for. No object has this name; that the store says so is the answer.
const probeName = "probe"

// probe asks a benched member for a sign of life.
func (g *group) probe(m *member, bench int) {
	if !g.begin() {
		return
	}
	defer g.probes.Done()
	ctx, cancel := context.WithTimeout(g.ctx, g.o.Probe)
	defer cancel()
	_, err := m.store.Stat(ctx, probeName)
	if answered(err) || ctx.Err() == nil && !unreachable(err) {
		m.mu.Lock()
		same := m.benches == bench
		m.mu.Unlock()
		if same {
			g.recover(m)
		}
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.benches != bench || m.timer == nil { // another request found it back meanwhile
		return
	}
	if g.ctx.Err() == nil {
		m.pause = min(2*m.pause, g.o.BenchMax)
		g.probeLater(m)
	}
}

// begin says whether a probe may still begin.
func (g *group) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.probes.Add(1)
	}
	return !g.closed
}

func (g *group) close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	for _, m := range g.members {
		m.mu.Lock()
		if m.timer != nil {
			m.timer.Stop()
		}
		m.mu.Unlock()
	}
	g.probes.Wait()
	return nil
}

// exact compares the length of what a Get returned with what was asked for; n < 0 is any.
func (m *member) exact(name string, b []byte, n int64) error {
	if n >= 0 && int64(len(b)) != n {
		return fmt.Errorf("%s: get %s: %d bytes instead of %d: %w", m.label, name, len(b), n, io.ErrUnexpectedEOF)
	}
	return nil
}
