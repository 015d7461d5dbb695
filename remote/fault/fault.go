// Package fault is a remote.Store for tests that does to another Store what networks, disks and crashes do: it fails, hangs,
// corrupts, truncates and loses acknowledgements, at operations chosen by kind, name and number, and counts them all.
//
// It is safe for concurrent use. With no Rule it is the Store inside.
package fault

import (
	"context"
	"errors"
	"iter"
	"path"
	"strings"
	"sync"

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
}

type state struct {
	Rule
	seen int // matching operations so far
}

// New wraps a Store.
func New(s remote.Store, rules ...Rule) *Store {
	f := &Store{store: s, counts: make(map[Op]int)}
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

// Unwrap returns the Store inside, for remote.As. What is found there is free of faults.
func (f *Store) Unwrap() remote.Store { return f.store }

// begin counts an operation and returns the first rule that hits it, or nil.
func (f *Store) begin(op Op, name string) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	var hit *Rule
	for _, s := range f.rules {
		if !s.matches(op, name) {
			continue
		}
		s.seen++
		if hit == nil && s.seen > s.Skip && (s.Hits == 0 || s.seen <= s.Skip+s.Hits) {
			hit = &s.Rule
		}
	}
	return hit
}

// run does an operation whose only result is an error.
func (f *Store) run(ctx context.Context, op Op, name string, do func() error) error {
	r := f.begin(op, name)
	if r == nil {
		return do()
	}
	switch r.Do {
	case Fail:
		return r.err()
	case Hang:
		<-ctx.Done()
		return ctx.Err()
	case Lose:
		if err := do(); err != nil {
			return err
		}
		return r.err()
	}
	return do()
}

// Put implements remote.Store.
func (f *Store) Put(ctx context.Context, name string, data []byte) error {
	return f.run(ctx, Put, name, func() error { return f.store.Put(ctx, name, data) })
}

// Delete implements remote.Store.
func (f *Store) Delete(ctx context.Context, name string) error {
	return f.run(ctx, Delete, name, func() error { return f.store.Delete(ctx, name) })
}

// Stat implements remote.Store.
func (f *Store) Stat(ctx context.Context, name string) (info remote.Info, err error) {
	err = f.run(ctx, Stat, name, func() error {
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
	r := f.begin(Get, name)
	if r == nil {
		return f.store.Get(ctx, name, off, n, dst)
	}
	switch r.Do {
	case Hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case Flip:
		b, err := f.store.Get(ctx, name, off, n, dst)
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return b, err
	case Truncate:
		return f.getHalf(ctx, name, off, n, dst)
	}
	return nil, r.err()
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
		r := f.begin(List, prefix)
		switch {
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
