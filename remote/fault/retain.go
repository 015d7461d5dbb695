package fault

import (
	"context"
	"errors"
	"fmt"

	"cairn/remote"
)

// PutRetained is a Put to the rules.
func (f *Store) PutRetained(ctx context.Context, name string, data []byte, lock remote.Retention) error {
	return f.retain(name, func(r remote.Retainer) error {
		return f.run(ctx, Put, name, len(data), func() error { return r.PutRetained(ctx, name, data, lock) })
	})
}

// Retain is a Put of nothing.
func (f *Store) Retain(ctx context.Context, name string, lock remote.Retention) error {
	return f.retain(name, func(r remote.Retainer) error {
		return f.run(ctx, Put, name, 0, func() error { return r.Retain(ctx, name, lock) })
	})
}

// Retention is a Stat.
func (f *Store) Retention(ctx context.Context, name string) (lock remote.Retention, err error) {
	err = f.retain(name, func(r remote.Retainer) error {
		return f.run(ctx, Stat, name, 0, func() error {
			lock, err = r.Retention(ctx, name)
			return err
		})
	})
	return lock, err
}

func (f *Store) retain(name string, do func(remote.Retainer) error) error {
	r, ok := remote.As[remote.Retainer](f.store)
	if !ok {
		return remote.Permanent(fmt.Errorf("lock %s: %w", name, errors.ErrUnsupported))
	}
	return do(r)
}
