package mem

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"cairn/remote"
)

// Versioned is a store in memory that behaves as a bucket with versioning and object lock: Put covers what was there, Delete
// destroys all versions of a name unless one of them is locked, and AsOf shows an earlier time. It is for tests, and so has no
// other use. It is safe for concurrent use.
type Versioned struct {
	now func() time.Time

	mu       sync.RWMutex
	versions map[string][]version // the oldest first; never empty
}

type version struct {
	object
	marker bool // the object was deleted, as everybody sees it
	lock   remote.Retention
}

// NewVersioned returns an empty store with a clock; nil: time.Now.
func NewVersioned(now func() time.Time) *Versioned {
	if now == nil {
		now = time.Now
	}
	return &Versioned{now: now, versions: make(map[string][]version)}
}

// Put stores a copy of data as the newest version.
func (s *Versioned) Put(ctx context.Context, name string, data []byte) error {
	return s.add(ctx, name, version{object: object{data: append([]byte(nil), data...)}})
}

// PutRetained stores a copy of data as the newest version, locked.
func (s *Versioned) PutRetained(ctx context.Context, name string, data []byte, r remote.Retention) error {
	if _, err := remote.ParseMode(string(r.Mode)); err != nil {
		return remote.Permanent(err)
	}
	return s.add(ctx, name, version{object: object{data: append([]byte(nil), data...)}, lock: r})
}

// Hide adds a marker: what a plain DELETE does in such a bucket.
func (s *Versioned) Hide(ctx context.Context, name string) error {
	return s.add(ctx, name, version{marker: true})
}

func (s *Versioned) add(ctx context.Context, name string, v version) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.modified = s.now()
	s.versions[name] = append(s.versions[name], v)
	return nil
}

// Delete destroys all versions of an object, or none if one is locked.
func (s *Versioned) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.versions[name] {
		if v.lock.Until.After(s.now()) {
			return remote.Permanent(fmt.Errorf("delete %s: %w until %s", name, remote.ErrLocked, v.lock.Until.UTC().Format(time.RFC3339)))
		}
	}
	delete(s.versions, name)
	return nil
}

// Retain makes the lock of the newest version longer.
func (s *Versioned) Retain(ctx context.Context, name string, r remote.Retention) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.newest(ctx, name)
	if err != nil {
		return err
	}
	if now := s.now(); v.lock.Until.After(now) && (r.Until.Before(v.lock.Until) || v.lock.Mode == remote.Compliance && r.Mode != remote.Compliance) {
		return remote.Permanent(fmt.Errorf("lock %s: it would become weaker: %w", name, remote.ErrLocked))
	}
	v.lock = r
	return nil
}

// Retention returns the lock of the newest version.
func (s *Versioned) Retention(ctx context.Context, name string) (remote.Retention, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, err := s.newest(ctx, name)
	if err != nil {
		return remote.Retention{}, err
	}
	return v.lock, nil
}

// newest returns the current version of an object, to be changed under the lock.
func (s *Versioned) newest(ctx context.Context, name string) (*version, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	list := s.versions[name]
	if len(list) == 0 || list[len(list)-1].marker {
		return nil, fmt.Errorf("object %s: %w", name, remote.ErrNotExist)
	}
	return &list[len(list)-1], nil
}

// Protection says that all is kept and can be locked.
func (s *Versioned) Protection(context.Context) (remote.Protection, error) {
	return remote.Protection{Versions: remote.Yes, Locks: remote.Yes}, nil
}

// Get, Stat and List see the newest versions.

// Get copies a range of an object.
func (s *Versioned) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	return s.AsOf(latest).Get(ctx, name, off, n, dst)
}

// Stat returns the size and the time of an object.
func (s *Versioned) Stat(ctx context.Context, name string) (remote.Info, error) {
	return s.AsOf(latest).Stat(ctx, name)
}

// List yields what was there when it began.
func (s *Versioned) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return s.AsOf(latest).List(ctx, prefix)
}

var latest = time.Unix(1<<40, 0) // later than any object

// AsOf returns the store as it was at a time.
func (s *Versioned) AsOf(at time.Time) remote.Store { return &view{s, at} }

// view makes a store of the versions that were the newest at its time, for each call anew.
type view struct {
	s  *Versioned
	at time.Time
}

func (v *view) Put(_ context.Context, name string, _ []byte) error {
	return remote.ReadOnly("put", name)
}
func (v *view) Delete(_ context.Context, name string) error { return remote.ReadOnly("delete", name) }

// store copies what is seen below a prefix, or of one object, into a plain store.
func (v *view) store(match func(name string) bool) *Store {
	plain := New()
	v.s.mu.RLock()
	defer v.s.mu.RUnlock()
	for name, list := range v.s.versions {
		if !match(name) {
			continue
		}
		for i := len(list) - 1; i >= 0; i-- {
			if remote.NotAfter(list[i].modified, v.at) {
				if !list[i].marker {
					plain.objects[name] = list[i].object
				}
				break
			}
		}
	}
	return plain
}

func (v *view) one(name string) *Store { return v.store(func(n string) bool { return n == name }) }

func (v *view) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	return v.one(name).Get(ctx, name, off, n, dst)
}

func (v *view) Stat(ctx context.Context, name string) (remote.Info, error) {
	return v.one(name).Stat(ctx, name)
}

func (v *view) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return v.store(func(n string) bool { return strings.HasPrefix(n, prefix) }).List(ctx, prefix)
}

var (
	_ remote.Store     = (*Versioned)(nil)
	_ remote.Retainer  = (*Versioned)(nil)
	_ remote.Protector = (*Versioned)(nil)
	_ remote.Historian = (*Versioned)(nil)
	_ remote.Hider     = (*Versioned)(nil)
)
