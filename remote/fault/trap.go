package fault

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"cairn/remote"
)

// When is the moment of an operation at which a Trap springs.
type When uint8

// The moments.
const (
	Before When = iota // it is not done
	Half               // a Put has left its litter, and no object; of other operations: Before
	After              // it is done, and its answer lost
)

// Trap counts the operations of all Stores that it watches together, and springs at one of them: there the process dies, or stops, or
// whatever Spring does. If that returns, the process is dead all the same as far as the Stores are concerned: this operation and all
// later ones fail with ErrInjected and do nothing more, unless Once is set.
//
// Its fields must not be changed once it is in use.
type Trap struct {
	At     int                      // the operation, from 1 on; 0 never springs
	When   When                     // the moment of it
	Ops    Op                       // the kinds that count; 0: Any
	Once   bool                     // after Spring everything goes on
	Spring func()                   // called once; nil: nothing
	Seen   func(op Op, name string) // called for each operation that counts, concurrently; nil: nobody

	count  atomic.Int64
	sprung atomic.Bool
}

// Watch wraps a Store. litter leaves behind what a Put does that is killed halfway; it may be nil.
func (t *Trap) Watch(s remote.Store, litter func(name string, data []byte)) remote.Store {
	return &trapped{s, t, litter}
}

// Count returns how many operations of the kinds that count were begun.
func (t *Trap) Count() int { return int(t.count.Load()) }

// do does an operation, or not.
func (t *Trap) do(op Op, name string, half func(), do func() error) error {
	if t.sprung.Load() && !t.Once {
		return ErrInjected
	}
	ops := t.Ops
	if ops == 0 {
		ops = Any
	}
	if ops&op == 0 {
		return do()
	}
	if t.Seen != nil {
		t.Seen(op, name)
	}
	if n := t.count.Add(1); t.At == 0 || n != int64(t.At) {
		return do()
	}
	if t.When == After {
		if err := do(); err != nil {
			return err
		}
	}
	if t.When == Half && half != nil {
		half()
	}
	t.sprung.Store(true)
	if t.Spring != nil {
		t.Spring()
	}
	switch {
	case !t.Once:
		return ErrInjected
	case t.When == After:
		return nil
	}
	return do()
}

// trapped is a Store that a Trap watches. It has no Unwrap: nothing is to pass by the Trap.
type trapped struct {
	store  remote.Store
	trap   *Trap
	litter func(name string, data []byte)
}

func (s *trapped) half(name string, data []byte) func() {
	if s.litter == nil {
		return nil
	}
	return func() { s.litter(name, data) }
}

func (s *trapped) Put(ctx context.Context, name string, data []byte) error {
	return s.trap.do(Put, name, s.half(name, data), func() error { return s.store.Put(ctx, name, data) })
}

// PutNew implements remote.NewPutter.
func (s *trapped) PutNew(ctx context.Context, name string, data []byte) error {
	p, ok := remote.As[remote.NewPutter](s.store)
	if !ok {
		return remote.Permanent(fmt.Errorf("create %s: %w", name, errors.ErrUnsupported))
	}
	return s.trap.do(Put, name, s.half(name, data), func() error { return p.PutNew(ctx, name, data) })
}

func (s *trapped) Get(ctx context.Context, name string, off, n int64, dst []byte) (b []byte, err error) {
	err = s.trap.do(Get, name, nil, func() error {
		b, err = s.store.Get(ctx, name, off, n, dst)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *trapped) Stat(ctx context.Context, name string) (info remote.Info, err error) {
	err = s.trap.do(Stat, name, nil, func() error {
		info, err = s.store.Stat(ctx, name)
		return err
	})
	if err != nil {
		return remote.Info{}, err
	}
	return info, nil
}

func (s *trapped) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		var list iter.Seq2[remote.Info, error]
		err := s.trap.do(List, prefix, nil, func() error {
			list = s.store.List(ctx, prefix)
			return nil
		})
		if err != nil {
			yield(remote.Info{}, err)
			return
		}
		list(yield)
	}
}

func (s *trapped) Delete(ctx context.Context, name string) error {
	return s.trap.do(Delete, name, nil, func() error { return s.store.Delete(ctx, name) })
}
