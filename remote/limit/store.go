package limit

import (
	"context"
	"errors"
	"fmt"

	"cairn/remote"
)

// Store keeps what is put and got below two rates. It knows whole objects only: bytes that are put wait before they are handed on, bytes that
// were got wait before they are handed out. A driver that sees the bytes as they move (remote/s3) takes the Rates itself.
type Store struct {
	remote.Store
	up, down *Rate
}

// New wraps a Store. A nil Rate is no limit.
func New(s remote.Store, up, down *Rate) *Store { return &Store{s, up, down} }

// Unwrap returns the Store inside, for remote.As.
func (s *Store) Unwrap() remote.Store { return s.Store }

// Put waits until the bytes may pass, then stores them.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := s.pass(ctx, s.up, name, len(data)); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, data)
}

// PutNew is Put, if the Store inside can.
func (s *Store) PutNew(ctx context.Context, name string, data []byte) error {
	p, ok := remote.As[remote.NewPutter](s.Store)
	if !ok {
		return remote.Permanent(fmt.Errorf("create %s: %w", name, errors.ErrUnsupported))
	}
	if err := s.pass(ctx, s.up, name, len(data)); err != nil {
		return err
	}
	return p.PutNew(ctx, name, data)
}

// Get reads a range, then waits until its bytes may pass.
func (s *Store) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	b, err := s.Store.Get(ctx, name, off, n, dst)
	if err != nil {
		return nil, err
	}
	if err := s.pass(ctx, s.down, name, len(b)); err != nil {
		return nil, err
	}
	return b, nil
}

// piece waits at once, so that a change of the rate is noticed in the middle of an object, and one large object does not keep all others
// waiting for its whole length.
const piece = 64 << 10

func (s *Store) pass(ctx context.Context, r *Rate, name string, n int) error {
	if err := remote.ValidName(name); err != nil {
		return err
	}
	for ; n > 0; n -= piece {
		if err := r.Wait(ctx, min(n, piece)); err != nil {
			return err
		}
	}
	return nil
}
