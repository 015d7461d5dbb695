package remote

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What a Sub offers beyond Store, when the Store behind it can: the names differ, so As must not find that one.

func (s *sub) retainer(op, name string) (Retainer, error) {
	if err := ValidName(name); err != nil {
		return nil, err
	}
	r, ok := As[Retainer](s.store)
	if !ok {
		return nil, Permanent(fmt.Errorf("%s %s%s: %w", op, s.prefix, name, errors.ErrUnsupported))
	}
	return r, nil
}

func (s *sub) PutRetained(ctx context.Context, name string, data []byte, lock Retention) error {
	r, err := s.retainer("put locked", name)
	if err != nil {
		return err
	}
	return r.PutRetained(ctx, s.prefix+name, data, lock)
}

func (s *sub) Retain(ctx context.Context, name string, lock Retention) error {
	r, err := s.retainer("lock", name)
	if err != nil {
		return err
	}
	return r.Retain(ctx, s.prefix+name, lock)
}

func (s *sub) Retention(ctx context.Context, name string) (Retention, error) {
	r, err := s.retainer("lock of", name)
	if err != nil {
		return Retention{}, err
	}
	return r.Retention(ctx, s.prefix+name)
}

func (s *sub) Protection(ctx context.Context) (Protection, error) {
	if p, ok := As[Protector](s.store); ok {
		return p.Protection(ctx)
	}
	return Protection{Versions: No, Locks: No}, nil
}

func (s *sub) Hide(ctx context.Context, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	h, ok := As[Hider](s.store)
	if !ok {
		return Permanent(fmt.Errorf("hide %s%s: %w", s.prefix, name, errors.ErrUnsupported))
	}
	return h.Hide(ctx, s.prefix+name)
}

func (s *sub) AsOf(at time.Time) Store { return &sub{AsOf(s.store, at), s.prefix} }

var (
	_ Retainer  = (*sub)(nil)
	_ Protector = (*sub)(nil)
	_ Historian = (*sub)(nil)
)
