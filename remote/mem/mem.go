// Package mem is a remote.Store in a map: for tests, and for what need not outlive the process.
//
// Every operation takes one lock for the time of one copy. List takes the names at one moment, so it needs
// memory for all of them. "Durable" means here: until the process ends.
package mem

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"

	"cairn/remote"
)

type object struct {
	data     []byte // never changed after it is in the map
	modified time.Time
}

// Store keeps objects in memory. It is safe for concurrent use.
type Store struct {
	mu      sync.RWMutex
	objects map[string]object
}

// New returns an empty store.
func New() *Store { return &Store{objects: make(map[string]object)} }

// Put stores a copy of data.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.put(ctx, name, data, false)
}

// PutNew stores a copy of data if there is no such object.
func (s *Store) PutNew(ctx context.Context, name string, data []byte) error {
	return s.put(ctx, name, data, true)
}

func (s *Store) put(ctx context.Context, name string, data []byte, isNew bool) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	o := object{append([]byte(nil), data...), time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; ok && isNew {
		return fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	s.objects[name] = o
	return nil
}

// Get copies a range of an object.
func (s *Store) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	o, err := s.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	start, length, err := remote.Span(name, int64(len(o.data)), off, n)
	if err != nil {
		return nil, err
	}
	dst = remote.Into(dst, length)
	copy(dst, o.data[start:])
	return dst, nil
}

// Stat returns the size and the time of the Put of an object.
func (s *Store) Stat(ctx context.Context, name string) (remote.Info, error) {
	o, err := s.lookup(ctx, name)
	if err != nil {
		return remote.Info{}, err
	}
	return o.info(name), nil
}

// List yields what was there when it began.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		if err := remote.ValidPrefix(prefix); err != nil {
			yield(remote.Info{}, err)
			return
		}
		for _, info := range s.snapshot(prefix) {
			if err := ctx.Err(); err != nil {
				yield(remote.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(remote.Info{}, err)
		}
	}
}

// Delete forgets an object.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
	return nil
}

func (s *Store) lookup(ctx context.Context, name string) (object, error) {
	if err := check(ctx, name); err != nil {
		return object{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.objects[name]
	if !ok {
		return object{}, fmt.Errorf("object %s: %w", name, remote.ErrNotExist)
	}
	return o, nil
}

func (s *Store) snapshot(prefix string) []remote.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var infos []remote.Info
	for name, o := range s.objects {
		if strings.HasPrefix(name, prefix) {
			infos = append(infos, o.info(name))
		}
	}
	return infos
}

func (o object) info(name string) remote.Info {
	return remote.Info{Name: name, Size: int64(len(o.data)), Modified: o.modified}
}

func check(ctx context.Context, name string) error {
	if err := remote.ValidName(name); err != nil {
		return err
	}
	return ctx.Err()
}
