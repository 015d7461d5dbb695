package prune

import (
	"context"
	"iter"

	"cairn/remote"
)

// gate calls a function before each operation on any store behind it; its error is the operation's.
type gate struct {
	before func(op, name string) error
}

func (g *gate) via(_ string, s remote.Store) remote.Store { return &gated{g, s} }

type gated struct {
	g *gate
	s remote.Store
}

func (s *gated) Put(ctx context.Context, name string, data []byte) error {
	if err := s.g.before("put", name); err != nil {
		return err
	}
	return s.s.Put(ctx, name, data)
}

func (s *gated) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if err := s.g.before("get", name); err != nil {
		return nil, err
	}
	return s.s.Get(ctx, name, off, n, dst)
}

func (s *gated) Stat(ctx context.Context, name string) (remote.Info, error) {
	if err := s.g.before("stat", name); err != nil {
		return remote.Info{}, err
	}
	return s.s.Stat(ctx, name)
}

func (s *gated) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	if err := s.g.before("list", prefix); err != nil {
		return func(yield func(remote.Info, error) bool) { yield(remote.Info{}, err) }
	}
	return s.s.List(ctx, prefix)
}

func (s *gated) Delete(ctx context.Context, name string) error {
	if err := s.g.before("delete", name); err != nil {
		return err
	}
	return s.s.Delete(ctx, name)
}
