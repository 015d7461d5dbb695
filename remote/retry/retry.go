// Package retry is a remote.Store that tries again what may go well the second time.
//
// An operation is tried again after a pause that doubles each time and is partly random, so that many clients
// of one broken store do not come back in step. It is not tried again when the answer is final: the object does not exist or
// exists already, the range ends behind it, the error is marked remote.Permanent, the context is done, the disk is full or
// the store refuses access. When the tries are used up, the error wraps remote.ErrUnavailable and the last error.
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
// it when each attempt is slow: a store that hangs until a timeout is not asked five times.
const (
	DefaultAttempts = 5
	DefaultTotal    = 30 * time.Second
	DefaultBase     = 200 * time.Millisecond
	DefaultCap      = 10 * time.Second
)

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
		wait := s.pause(attempt)
		if attempt >= s.o.Attempts || s.o.Now().Add(wait).Sub(begin) > s.o.Total {
			return fmt.Errorf("%w, tried %d times: %w", remote.ErrUnavailable, attempt, err)
		}
		s.o.Notify(op, name, attempt, wait, err)
		if s.o.Sleep(ctx, wait) != nil {
			return ctx.Err()
		}
	}
}

// pause returns the wait after the given attempt: doubling, between a half and the whole of it at random.
func (s *Store) pause(attempt int) time.Duration {
	d := s.o.Base
	for i := 1; i < attempt && d < s.o.Cap; i++ {
		d *= 2
	}
	d = min(d, s.o.Cap)
	return d/2 + time.Duration(s.o.Rand()*float64(d-d/2))
}

// final says whether an error will be the same next time.
func final(err error) bool {
	for _, target := range []error{
		remote.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed, errors.ErrUnsupported,
		context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF,
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.EFBIG,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return remote.IsPermanent(err)
}
