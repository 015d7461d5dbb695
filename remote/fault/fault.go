// Package fault is a remote.Store for tests that does to another Store what networks, disks and crashes do: it fails, hangs,
// is slow, corrupts, truncates and loses acknowledgements, at operations chosen by kind, name and number, and counts them all.
//
// It is safe for concurrent use. With no Rule it is the Store inside.
package fault

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"time"

	"cairn/remote"
)

// Op is a set of kinds of operation.
type Op uint8

// The kinds. They may be joined by |.
const (
	Put Op = 1 << iota
	Get
	Stat
	List // one for the whole listing
	Delete
	Any   = Put | Get | Stat | List | Delete
	Write = Put | Delete
	Read  = Get | Stat | List
)

// Action is what happens to an operation.
type Action uint8

// The actions.
const (
	Fail     Action = iota // it is not done and reports the error
	Lose                   // it is done and reports the error all the same: a lost acknowledgement. A List breaks off after its first object
	Hang                   // it is not done and waits until its context is done
	Flip                   // Get returns the range with one bit of its middle byte flipped
	Truncate               // Get behaves as if the object had only the first half of its bytes
	Slow                   // it is done, as late as the Rule says. What other rules say happens as well, after the wait
)

// ErrInjected is the error of a Rule that names none.
var ErrInjected = errors.New("injected fault")

// Rule says which operations go wrong, and how.
type Rule struct {
	Op   Op     // 0: Any
	Name string // "": all names. "x/": names below x/. Otherwise a pattern of path.Match for the name or its last element
	Skip int    // so many matching operations go well first
	Hits int    // so many go wrong then; 0: all from then on
	Do   Action
	Err  error // nil: ErrInjected

	// With any Do: how long it takes before it is done, or fails. The waits of all Slow rules that hit an operation add up.
	Delay  time.Duration
	Jitter time.Duration // and at random up to this much more
	Rate   int64         // bytes a second that all operations of the Rule share, after Delay; 0: no limit. Bytes are those of Put and Get
}

func (r *Rule) matches(op Op, name string) bool {
	if r.Op != 0 && r.Op&op == 0 {
		return false
	}
	if r.Name == "" {
		return true
	}
	if strings.HasSuffix(r.Name, "/") {
		return strings.HasPrefix(name, r.Name)
	}
	whole, _ := path.Match(r.Name, name)
	base, _ := path.Match(r.Name, path.Base(name))
	return whole || base
}

func (r *Rule) err() error {
	if r.Err != nil {
		return r.Err
	}
	return ErrInjected
}

// Store does what its rules say, and otherwise what the Store inside does.
type Store struct {
	store remote.Store

	mu     sync.Mutex
	rules  []*state
	counts map[Op]int
	bytes  map[Op]int64
}

type state struct {
	Rule
	seen int       // matching operations so far
	free time.Time // when what was sent so far has gone through
}

// hit is what happens to one operation.
type hit struct {
	*Rule          // nil: nothing but the waits
	slow  []*state // whose waits it has
}

// New wraps a Store.
func New(s remote.Store, rules ...Rule) *Store {
	f := &Store{store: s, counts: make(map[Op]int), bytes: make(map[Op]int64)}
	f.Set(rules...)
	return f
}

// Set replaces all rules; with none, all goes well again.
func (f *Store) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for _, r := range rules {
		f.rules = append(f.rules, &state{Rule: r})
	}
}

// Count returns how many operations of the given kinds were begun, the failed ones included.
func (f *Store) Count(ops Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for op, count := range f.counts {
		if ops&op != 0 {
			n += count
		}
	}
	return n
}

// Bytes returns how many bytes the Gets and Puts among the given kinds have carried, but for those that failed before they carried any.
func (f *Store) Bytes(ops Op) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n int64
	for op, bytes := range f.bytes {
		if ops&op != 0 {
			n += bytes
		}
	}
	return n
}

// Unwrap returns the Store inside, for remote.As. What is found there is free of faults.
func (f *Store) Unwrap() remote.Store { return f.store }

// begin counts an operation and returns the first rule that hits it, with all that only slow it down, and waits as long as they say.
func (f *Store) begin(ctx context.Context, op Op, name string) (hit, error) {
	f.mu.Lock()
	f.counts[op]++
	var h hit
	var wait time.Duration
	for _, s := range f.rules {
		if !s.matches(op, name) {
			continue
		}
		s.seen++
		if s.seen <= s.Skip || s.Hits > 0 && s.seen > s.Skip+s.Hits || s.Do != Slow && h.Rule != nil {
			continue
		}
		if s.Do != Slow {
			h.Rule = &s.Rule
		}
		h.slow = append(h.slow, s)
		wait += s.Delay
		if s.Jitter > 0 {
			wait += rand.N(s.Jitter)
		}
	}
	f.mu.Unlock()
	return h, sleep(ctx, wait)
}

// carry waits until so many bytes have gone through.
func (f *Store) carry(ctx context.Context, op Op, h hit, n int) error {
	f.mu.Lock()
	f.bytes[op] += int64(n)
	now := time.Now()
	end := now
	for _, s := range h.slow {
		if s.Rate <= 0 {
			continue
		}
		if s.free.Before(now) {
			s.free = now
		}
		s.free = s.free.Add(time.Duration(float64(n) / float64(s.Rate) * float64(time.Second)))
		if s.free.After(end) {
			end = s.free
		}
	}
	f.mu.Unlock()
	return sleep(ctx, end.Sub(now))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run does an operation whose only result is an error.
func (f *Store) run(ctx context.Context, op Op, name string, bytes int, do func() error) error {
	h, err := f.begin(ctx, op, name)
	if err != nil {
		return err
	}
	if h.Rule != nil && h.Do == Fail {
		return h.err()
	}
	if h.Rule != nil && h.Do == Hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := f.carry(ctx, op, h, bytes); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if h.Rule != nil && h.Do == Lose {
		return h.err()
	}
	return nil
}

// Put implements remote.Store.
func (f *Store) Put(ctx context.Context, name string, data []byte) error {
	return f.run(ctx, Put, name, len(data), func() error { return f.store.Put(ctx, name, data) })
}

// Delete implements remote.Store.
func (f *Store) Delete(ctx context.Context, name string) error {
	return f.run(ctx, Delete, name, 0, func() error { return f.store.Delete(ctx, name) })
}

// Stat implements remote.Store.
func (f *Store) Stat(ctx context.Context, name string) (info remote.Info, err error) {
	err = f.run(ctx, Stat, name, 0, func() error {
		info, err = f.store.Stat(ctx, name)
		return err
	})
	if err != nil {
		return remote.Info{}, err
	}
	return info, nil
}

// Get implements remote.Store.
func (f *Store) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	h, err := f.begin(ctx, Get, name)
	if err != nil {
		return nil, err
	}
	do := Slow
	if h.Rule != nil {
		do = h.Do
	}
	get := f.store.Get
	switch do {
	case Fail, Lose:
		return nil, h.err()
	case Hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case Truncate:
		get = f.getHalf
	}
	b, err := get(ctx, name, off, n, dst)
	if err != nil {
		return nil, err
	}
	if do == Flip && len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	if err := f.carry(ctx, Get, h, len(b)); err != nil {
		return nil, err
	}
	return b, nil
}

// getHalf reads from the object as if its second half were cut off.
func (f *Store) getHalf(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	info, err := f.store.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	start, length, err := remote.Span(name, info.Size/2, off, n)
	if err != nil {
		return nil, err
	}
	return f.store.Get(ctx, name, start, length, dst)
}

// List implements remote.Store.
func (f *Store) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		h, err := f.begin(ctx, List, prefix)
		r := h.Rule
		switch {
		case err != nil:
			yield(remote.Info{}, err)
			return
		case r != nil && r.Do == Fail:
			yield(remote.Info{}, r.err())
			return
		case r != nil && r.Do == Hang:
			<-ctx.Done()
			yield(remote.Info{}, ctx.Err())
			return
		}
		for info, err := range f.store.List(ctx, prefix) {
			if !yield(info, err) || err != nil {
				return
			}
			if r != nil && r.Do == Lose {
				yield(remote.Info{}, r.err())
				return
			}
		}
	}
}
