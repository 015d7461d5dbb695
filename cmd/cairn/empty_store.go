package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"cairn/remote"
)

// emptyStore stands for a place that does not exist yet, in dry runs.
type emptyStore struct{}

var _ remote.Store = emptyStore{}

var errDry = errors.New("nothing is written in a dry run")

func (emptyStore) Put(context.Context, string, []byte) error { return errDry }
func (emptyStore) Get(_ context.Context, name string, _, _ int64, _ []byte) ([]byte, error) {
	return nil, fmt.Errorf("%s: %w", name, remote.ErrNotExist)
}
func (emptyStore) Stat(_ context.Context, name string) (remote.Info, error) {
	return remote.Info{}, fmt.Errorf("%s: %w", name, remote.ErrNotExist)
}
func (emptyStore) List(context.Context, string) iter.Seq2[remote.Info, error] {
	return func(func(remote.Info, error) bool) {}
}
func (emptyStore) Delete(context.Context, string) error { return nil }
