package remote

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// sub shows the part of a Store below a prefix. It has no Unwrap (see As).
type sub struct {
	store  Store
	prefix string // ends with "/"
}

// Sub returns the part of s below prefix as a Store of its own: its object "x" is prefix/x in s. Several members
// of an archive stand in one store this way (m00, m01, …). An invalid prefix shows in every call's error.
func Sub(s Store, prefix string) Store {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return s
	}
	return &sub{s, prefix + "/"}
}

func (s *sub) Put(ctx context.Context, name string, data []byte) error {
	if err := ValidName(name); err != nil {
		return err
	}
	return s.store.Put(ctx, s.prefix+name, data)
}

func (s *sub) PutNew(ctx context.Context, name string, data []byte) error {
	if err := ValidName(name); err != nil {
		return err
	}
	p, ok := As[NewPutter](s.store)
	if !ok {
		return Permanent(fmt.Errorf("create %s%s: %w", s.prefix, name, errors.ErrUnsupported))
	}
	return p.PutNew(ctx, s.prefix+name, data)
}

// DeleteAll passes on what is valid; the first name that is not ends it.
func (s *sub) DeleteAll(ctx context.Context, names iter.Seq[string]) error {
	var invalid error
	err := DeleteAll(ctx, s.store, func(yield func(string) bool) {
		for name := range names {
			if invalid = ValidName(name); invalid != nil || !yield(s.prefix+name) {
				return
			}
		}
	})
	return errors.Join(err, invalid)
}

func (s *sub) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if err := ValidName(name); err != nil {
		return nil, err
	}
	return s.store.Get(ctx, s.prefix+name, off, n, dst)
}

func (s *sub) Stat(ctx context.Context, name string) (Info, error) {
	if err := ValidName(name); err != nil {
		return Info{}, err
	}
	info, err := s.store.Stat(ctx, s.prefix+name)
	if err != nil {
		return Info{}, err
	}
	info.Name = name
	return info, nil
}

func (s *sub) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := ValidPrefix(prefix); err != nil {
			yield(Info{}, err)
			return
		}
		for info, err := range s.store.List(ctx, s.prefix+prefix) {
			info.Name = strings.TrimPrefix(info.Name, s.prefix)
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func (s *sub) Delete(ctx context.Context, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	return s.store.Delete(ctx, s.prefix+name)
}
