package member

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/local"
	"cairn/remote/mem"
)

// odd is a store with one peculiarity.
type odd struct {
	*mem.Store
	put    func(name string, data []byte) ([]byte, error)
	get    func(name string, data []byte, err error) ([]byte, error)
	stat   func(remote.Info, error) (remote.Info, error)
	list   func(remote.Info) (remote.Info, bool)
	delete func(name string) error
	putNew func() error
}

func (o *odd) Put(ctx context.Context, name string, data []byte) error {
	if o.put != nil {
		var err error
		if data, err = o.put(name, data); err != nil {
			return err
		}
	}
	return o.Store.Put(ctx, name, data)
}

func (o *odd) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	data, err := o.Store.Get(ctx, name, off, n, dst)
	if o.get != nil {
		return o.get(name, data, err)
	}
	return data, err
}

func (o *odd) Stat(ctx context.Context, name string) (remote.Info, error) {
	info, err := o.Store.Stat(ctx, name)
	if o.stat != nil {
		return o.stat(info, err)
	}
	return info, err
}

func (o *odd) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		for info, err := range o.Store.List(ctx, prefix) {
			if o.list != nil {
				var ok bool
				if info, ok = o.list(info); !ok {
					continue
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (o *odd) Delete(ctx context.Context, name string) error {
	if o.delete != nil {
		if err := o.delete(name); err != nil {
			return err
		}
	}
	return o.Store.Delete(ctx, name)
}

func (o *odd) PutNew(ctx context.Context, name string, data []byte) error {
	if o.putNew != nil {
		return o.putNew()
	}
	return o.Store.PutNew(ctx, name, data)
}

// TestProbe: what is wrong with a store is found, by the test that is about it.
func TestProbe(t *testing.T) {
	t.Parallel()
	first := map[string][]byte{}
	for _, c := range []struct {
		name  string
		store *odd
		test  string
		grade Grade
	}{
		{"fine", &odd{}, "", Good},
		{"read only", &odd{put: func(string, []byte) ([]byte, error) { return nil, fs.ErrPermission }}, "write", Bad},
		{"loses bytes", &odd{put: func(_ string, b []byte) ([]byte, error) { return b[:len(b)/2], nil }}, "write", Bad},
		{"flips a bit", &odd{put: func(_ string, b []byte) ([]byte, error) {
			b = append([]byte(nil), b...)
			if len(b) > 100 {
				b[100] ^= 1
			}
			return b, nil
		}}, "read", Bad},
		{"no ranges", &odd{get: func(_ string, b []byte, err error) ([]byte, error) {
			if len(b) == 1000 {
				return nil, errors.New("ranges are not implemented")
			}
			return b, err
		}}, "read", Bad},
		{"missing is forbidden", &odd{get: func(_ string, b []byte, err error) ([]byte, error) {
			if errors.Is(err, remote.ErrNotExist) {
				return nil, errors.New("access denied")
			}
			return b, err
		}}, "missing", Bad},
		{"lists late", &odd{list: func(i remote.Info) (remote.Info, bool) { return i, false }}, "list", Warning},
		{"lists wrong sizes", &odd{list: func(i remote.Info) (remote.Info, bool) { i.Size++; return i, true }}, "list", Bad},
		{"reads old content", &odd{put: func(name string, b []byte) ([]byte, error) {
			if old, ok := first[name]; ok {
				return old, nil
			}
			first[name] = b
			return b, nil
		}}, "overwrite", Warning},
		{"keeps everything", &odd{delete: func(string) error { return errors.New("object is locked") }}, "delete", Warning},
		{"no conditional put", &odd{putNew: func() error { return errors.ErrUnsupported }}, "create only if new", Note},
		{"ignores the condition", &odd{putNew: func() error { return nil }}, "create only if new", Note},
		{"clock in the past", &odd{stat: func(i remote.Info, err error) (remote.Info, error) {
			i.Modified = i.Modified.Add(-time.Hour)
			return i, err
		}}, "clock", Warning},
		{"clock a bit ahead", &odd{stat: func(i remote.Info, err error) (remote.Info, error) {
			i.Modified = i.Modified.Add(time.Minute)
			return i, err
		}}, "clock", Note},
	} {
		c.store.Store = mem.New()
		r := Probe(t.Context(), c.store, ProbeOptions{ShardSize: 100_000})
		if r.Worst() != c.grade {
			t.Errorf("%s: %s, want %s: %v", c.name, r.Worst(), c.grade, r.Findings)
		}
		for _, f := range r.Findings {
			if (f.Test == c.test) != (f.Grade != Good) {
				t.Errorf("%s: %v", c.name, f)
			}
		}
		if c.store.delete == nil {
			for info, err := range c.store.Store.List(t.Context(), "") {
				t.Errorf("%s: left over: %v, %v", c.name, info, err)
			}
		} else if len(r.Left) == 0 {
			t.Errorf("%s: nothing is told of what is left over", c.name)
		}
	}
}

// liar says that it locks.
type liar struct{ *mem.Versioned }

func (l liar) PutRetained(ctx context.Context, name string, data []byte, _ remote.Retention) error {
	return l.Put(ctx, name, data)
}

// bare has a bucket without object lock.
type bare struct{ *mem.Versioned }

func (bare) Protection(context.Context) (remote.Protection, error) {
	return remote.Protection{Versions: remote.Yes, Locks: remote.No}, nil
}

// TestProbeLocks: whether locks hold is tried out, and the object that was locked for it is removed.
func TestProbeLocks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		store func(*mem.Versioned) remote.Store
		grade Grade
		locks bool
	}{
		{"locks", func(s *mem.Versioned) remote.Store { return s }, Note, true}, // a note: no default retention
		{"lies", func(s *mem.Versioned) remote.Store { return liar{s} }, Warning, false},
		{"bare", func(s *mem.Versioned) remote.Store { return bare{s} }, Note, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mem.NewVersioned(nil)
			r := Probe(t.Context(), c.store(s), ProbeOptions{Quick: true})
			if r.Worst() != c.grade || r.Protects() != c.locks || len(r.Left) > 0 {
				t.Errorf("%s, protects %v: %+v", r.Worst(), r.Protects(), r)
			}
			for info, err := range s.List(t.Context(), "") {
				t.Errorf("left over: %v, %v", info, err)
			}
		})
	}
}

// TestProbeLocal: a directory, and one that goes away in the middle.
func TestProbeLocal(t *testing.T) {
	t.Parallel()
	s, err := local.OpenWith(t.TempDir(), local.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	r := Probe(t.Context(), s, ProbeOptions{ShardSize: 100_000, Each: func(Finding) { told++ }})
	if r.Worst() != Good || r.Protects() || told != len(r.Findings) || told != 10 || r.Latency <= 0 || r.Write <= 0 || r.Read <= 0 || !r.ClockKnown {
		t.Errorf("%+v", r)
	}
	for n := range 30 {
		f := fault.New(mem.New(), fault.Rule{Skip: n, Op: fault.Read | fault.Put, Hits: 1, Err: fmt.Errorf("operation %d fails", n)})
		if r := Probe(t.Context(), f, ProbeOptions{ShardSize: 1000}); r.Worst() == Good && n < 20 {
			t.Errorf("operation %d failed and nothing is told", n)
		}
	}
}
