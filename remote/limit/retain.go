package limit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/remote"
)

// PutRetained waits until the bytes may pass, then stores them locked, if the Store inside can.
func (s *Store) PutRetained(ctx context.Context, name string, data []byte, lock remote.Retention) error {
	r, err := s.retainer(name)
	if err != nil {
		return err
	}
	if err := s.pass(ctx, s.up, name, len(data)); err != nil {
		return err
	}
	return r.PutRetained(ctx, name, data, lock)
}

// Retain locks an object.
func (s *Store) Retain(ctx context.Context, name string, lock remote.Retention) error {
	r, err := s.retainer(name)
	if err != nil {
		return err
	}
	return r.Retain(ctx, name, lock)
}

// Retention returns the lock of an object.
func (s *Store) Retention(ctx context.Context, name string) (remote.Retention, error) {
	r, err := s.retainer(name)
	if err != nil {
		return remote.Retention{}, err
	}
	return r.Retention(ctx, name)
}

func (s *Store) retainer(name string) (remote.Retainer, error) {
	r, ok := remote.As[remote.Retainer](s.Store)
	if !ok {
		return nil, remote.Permanent(fmt.Errorf("lock %s: %w", name, errors.ErrUnsupported))
	}
	return r, nil
}

// AsOf returns the store as it was at a time, below the same rates.
func (s *Store) AsOf(at time.Time) remote.Store { return New(remote.AsOf(s.Store, at), s.up, s.down) }
