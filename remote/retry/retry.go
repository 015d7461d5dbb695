// Package retry is a remote.Store that tries again what may go well the second time.
//
// An operation is tried again after a pause that doubles each time and is partly random, so that many clients
// of one broken store do not come back in step. It is not tried again when the answer is final: the object does not exist or
// exists already, the range ends behind it, the error is marked remote.Permanent, the context is done, the disk is full or
// the store refuses access. When the tries are used up, the error wraps remote.ErrUnavailable and the last error.
//
//	error                                       tries    at most
//	a store that asks to slow down              10       a minute, with pauses of 1 to 15 s
//	a store that is unavailable (it hangs)      2        as long as it hangs twice
//	connection refused                          4        2 s: the machine is there, the server is not
//	any other                                   5        3 s of pauses, 30 s in all
//
// Optional abilities found by remote.As behind it are not tried again: a second PutNew would find what the first one made. A
// List is tried again only while it has yielded nothing; a driver that fetches pages tries a page again itself.
// It is as safe for concurrent use as the Store inside, keeps no state and leaves nothing after a crash.
package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"syscall"
	"time"

	"cairn/remote"
)

// Defaults: 5 attempts with pauses of about 0.2, 0.4, 0.8 and 1.6 s bridge a dropped connection or a busy store, and a
// store that refuses connections is given up within 3 seconds, as a backup with members down needs. Total ends
// it when each attempt is slow.
const (
	DefaultAttempts = 5
	DefaultTotal    = 30 * time.Second
	DefaultBase     = 200 * time.Millisecond
	DefaultCap      = 10 * time.Second
)

// A store that throttles answers again soon, and gets what it asks for: fewer requests. Giving it up would cost shards that
// somebody has to repair, so this is worth a minute.
const (
	slowAttempts = 10
	slowTotal    = time.Minute
	slowBase     = time.Second
	slowCap      = 15 * time.Second
)

// A store that hung until a timeout is asked once more, because often only one connection was dead; not when
// that timeout was long, for the others wait.
const (
	hungAttempts = 2
	hungTotal    = 16 * time.Second
)

// refusedAttempts is for a machine that answers at once that nobody listens.
const refusedAttempts = 4

// Options of a Store. The zero value has the defaults.
type Options struct {
	Attempts int           // tries in all; 0: DefaultAttempts, 1: never again
	Total    time.Duration // no try begins later than this after the first; 0: DefaultTotal
	Base     time.Duration // the first pause; 0: DefaultBase
	Cap      time.Duration // the longest pause; 0: DefaultCap

	// Notify, if set, is called before each pause, for progress displays and logs.
	Notify func(op, name string, attempt int, wait time.Duration, err error)

	Now   func() time.Time                                 // nil: time.Now
	Sleep func(ctx context.Context, d time.Duration) error // nil: a timer; returns early with the context's error
	Rand  func() float64                                   // in [0, 1); nil: math/rand
}

func (o Options) applyDefaults() Options {
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Total <= 0 {
		o.Total = DefaultTotal
	}
	if o.Base <= 0 {
		o.Base = DefaultBase
	}
	if o.Cap <= 0 {
		o.Cap = DefaultCap
	}
	if o.Notify == nil {
		o.Notify = func(string, string, int, time.Duration, error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Store tries the operations of another Store again.
type Store struct {
	store remote.Store
	o     Options
}

// New wraps a Store.
func New(s remote.Store, o Options) *Store { return &Store{s, o.applyDefaults()} }

// Unwrap returns the Store inside, for remote.As.
func (s *Store) Unwrap() remote.Store { return s.store }

// Put stores an object. A try that reported an error may have stored it; storing it again does no harm.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.do(ctx, "put", name, func() error { return s.store.Put(ctx, name, data) })
}

// Get reads a range. All tries share dst.
func (s *Store) Get(ctx context.Context, name string, off, n int64, dst []byte) (b []byte, err error) {
	err = s.do(ctx, "get", name, func() error {
		b, err = s.store.Get(ctx, name, off, n, dst)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Stat returns the size and time of an object.
func (s *Store) Stat(ctx context.Context, name string) (info remote.Info, err error) {
	err = s.do(ctx, "stat", name, func() error {
		info, err = s.store.Stat(ctx, name)
		return err
	})
	return info, err
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, name string) error {
	return s.do(ctx, "delete", name, func() error { return s.store.Delete(ctx, name) })
}

// List tries to begin a listing again. An error after the first object goes to the caller.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		var late error // after something was yielded
		err := s.do(ctx, "list", prefix, func() error {
			begun := false
			for info, err := range s.store.List(ctx, prefix) {
				if err != nil && !begun {
					return err
				}
				if err != nil {
					late = err
					return nil
				}
				begun = true
				if !yield(info, nil) {
					return nil
				}
			}
			return nil
		})
		if err = errors.Join(err, late); err != nil {
			yield(remote.Info{}, err)
		}
	}
}

// do calls f until it succeeds, fails for good, or the tries are used up.
func (s *Store) do(ctx context.Context, op, name string, f func() error) error {
	begin := s.o.Now()
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || final(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p := s.o.policy(err)
		wait := s.pause(p, attempt)
		if attempt >= p.attempts || s.o.Now().Add(wait).Sub(begin) > p.total {
			return fmt.Errorf("%w, tried %s: %w", remote.ErrUnavailable, times(attempt), err)
		}
		s.o.Notify(op, name, attempt, wait, err)
		if s.o.Sleep(ctx, wait) != nil {
			return ctx.Err()
		}
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// policy is how often and how long an operation is tried that ended with a certain error.
type policy struct {
	attempts         int
	total, base, cap time.Duration
}

// policy finds what the last error asks for. Options that ask for less hold for all errors.
func (o *Options) policy(err error) policy {
	p := policy{o.Attempts, o.Total, o.Base, o.Cap}
	switch {
	case errors.Is(err, remote.ErrSlowDown):
		if o.Attempts > 1 {
			p = policy{max(slowAttempts, o.Attempts), max(slowTotal, o.Total), max(slowBase, o.Base), max(slowCap, o.Cap)}
		}
	case errors.Is(err, remote.ErrUnavailable):
		p.attempts, p.total = min(p.attempts, hungAttempts), min(p.total, hungTotal)
	case errors.Is(err, syscall.ECONNREFUSED):
		p.attempts = min(p.attempts, refusedAttempts)
	}
	return p
}

// pause returns the wait after the given attempt: doubling, between a half and the whole of it at random.
func (s *Store) pause(p policy, attempt int) time.Duration {
	d := p.base
	for i := 1; i < attempt && d < p.cap; i++ {
		d *= 2
	}
	d = min(d, p.cap)
	return d/2 + time.Duration(s.o.Rand()*float64(d-d/2))
}

// final says whether an error will be the same next time.
func final(err error) bool {
	for _, target := range []error{
		remote.ErrNotExist, remote.ErrLocked, remote.ErrNoHistory, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed, errors.ErrUnsupported,
		context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF,
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.EFBIG,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return remote.IsPermanent(err)
}
