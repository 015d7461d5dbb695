package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/remote"
)

// Retention is tried again like Put: what was stored twice, or locked twice until the same time, is as well. So is a view of an earlier time.

func (s *Store) retainer(op, name string) (remote.Retainer, error) {
	r, ok := remote.As[remote.Retainer](s.store)
	if !ok {
		return nil, remote.Permanent(fmt.Errorf("%s %s: %w", op, name, errors.ErrUnsupported))
	}
	return r, nil
}

// PutRetained stores a locked object.
func (s *Store) PutRetained(ctx context.Context, name string, data []byte, lock remote.Retention) error {
	r, err := s.retainer("put locked", name)
	if err != nil {
		return err
	}
	return s.do(ctx, "put", name, func() error { return r.PutRetained(ctx, name, data, lock) })
}

// Retain locks an object.
func (s *Store) Retain(ctx context.Context, name string, lock remote.Retention) error {
	r, err := s.retainer("lock", name)
	if err != nil {
		return err
	}
	return s.do(ctx, "lock", name, func() error { return r.Retain(ctx, name, lock) })
}

// Retention returns the lock of an object.
func (s *Store) Retention(ctx context.Context, name string) (lock remote.Retention, err error) {
	r, err := s.retainer("lock of", name)
	if err != nil {
		return remote.Retention{}, err
	}
	err = s.do(ctx, "lock of", name, func() error {
		lock, err = r.Retention(ctx, name)
		return err
	})
	return lock, err
}

// AsOf returns the store as it was at a time.
func (s *Store) AsOf(at time.Time) remote.Store { return New(remote.AsOf(s.store, at), s.o) }

var (
	_ remote.Retainer  = (*Store)(nil)
	_ remote.Historian = (*Store)(nil)
)
