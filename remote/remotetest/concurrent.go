package remotetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"testing"

	"cairn/remote"
)

// testConcurrentPuts: of many Puts under one name one wins, whole; and many names at once do not disturb each other.
func testConcurrentPuts(t *testing.T, s remote.Store) {
	inParallel(48, func(i int) {
		if err := s.Put(t.Context(), "same/name", bytes.Repeat([]byte{byte(i)}, 1000+i)); err != nil {
			t.Error(err)
		}
		if err := s.Put(t.Context(), fmt.Sprintf("new/dir/%d/x", i%5), content(uint64(i%5), 500)); err != nil {
			t.Error(err)
		}
	})
	got := mustGet(t, s, "same/name")
	if len(got) != 1000+int(got[0]) || !uniform(got) {
		t.Errorf("concurrent Puts left a mixture of %d bytes", len(got))
	}
	for i := range 5 {
		if got := mustGet(t, s, fmt.Sprintf("new/dir/%d/x", i)); !bytes.Equal(got, content(uint64(i), 500)) {
			t.Errorf("object %d has other content", i)
		}
	}
}

// testConcurrentAll mixes all methods over few names: whatever is read is whole, and nothing fails but by absence.
func testConcurrentAll(t *testing.T, s remote.Store) {
	inParallel(160, func(i int) {
		name := fmt.Sprintf("mix/%d/x", i%3)
		switch i % 8 {
		case 0, 1, 2:
			if err := s.Put(t.Context(), name, bytes.Repeat([]byte{byte(i)}, 3000+i)); err != nil {
				t.Errorf("Put: %v", err)
			}
		case 3, 4:
			b, err := s.Get(t.Context(), name, 0, -1, nil)
			if err == nil && (len(b) != 3000+int(b[0]) || !uniform(b)) {
				t.Errorf("Get: a mixture of %d bytes", len(b))
			}
			if err != nil && !errors.Is(err, remote.ErrNotExist) {
				t.Errorf("Get: %v", err)
			}
		case 5:
			if info, err := s.Stat(t.Context(), name); err != nil && !errors.Is(err, remote.ErrNotExist) || err == nil && info.Size < 3000 {
				t.Errorf("Stat: %+v, %v", info, err)
			}
		case 6:
			for info, err := range s.List(t.Context(), "") {
				if err != nil || info.Size < 3000 {
					t.Errorf("List: %+v, %v", info, err)
				}
			}
		case 7:
			if err := s.Delete(t.Context(), name); err != nil {
				t.Errorf("Delete: %v", err)
			}
		}
	})
}

// testAtomicReplace: while one goroutine replaces an object by ones of other sizes, readers see only whole ones.
func testAtomicReplace(t *testing.T, s remote.Store) {
	sizes := []int{100, 200_000, 3, 70_000}
	mustPut(t, s, "dir/a", bytes.Repeat([]byte{0}, sizes[0]))
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer close(done)
		defer stop.Store(true)
		for i := range 60 {
			if err := s.Put(t.Context(), "dir/a", bytes.Repeat([]byte{byte(i % 4)}, sizes[i%4])); err != nil {
				done <- err
				return
			}
		}
	}()
	inParallel(3, func(int) {
		var buf []byte
		for !stop.Load() {
			b, err := s.Get(t.Context(), "dir/a", 0, -1, buf)
			if err != nil {
				t.Errorf("Get while replacing: %v", err)
				return
			}
			if len(b) == 0 || int(b[0]) >= len(sizes) || len(b) != sizes[b[0]] || !uniform(b) {
				t.Errorf("Get while replacing: a mixture of %d bytes", len(b))
				return
			}
			buf = b
			if names := list(t, s, "dir/"); !slices.Equal(names, []string{"dir/a"}) && len(names) > 0 {
				t.Errorf("List while replacing: %q", names)
			}
		}
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func testPutNew(t *testing.T, s remote.Store) {
	p := newPutter(t, s)
	if err := p.PutNew(t.Context(), "dir/a", []byte("one")); err != nil {
		t.Fatalf("PutNew: %v", err)
	}
	for range 2 {
		if err := p.PutNew(t.Context(), "dir/a", []byte("two")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("PutNew of an existing object: %v, want fs.ErrExist", err)
		}
	}
	if got := mustGet(t, s, "dir/a"); string(got) != "one" {
		t.Errorf("PutNew replaced an object: %q", got)
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"dir/a"}) {
		t.Errorf("List after PutNew: %q", got)
	}
	if err := s.Delete(t.Context(), "dir/a"); err != nil {
		t.Fatal(err)
	}
	if err := p.PutNew(t.Context(), "dir/a", []byte("three")); err != nil {
		t.Errorf("PutNew after Delete: %v", err)
	}
}

func testPutNewConcurrent(t *testing.T, s remote.Store) {
	p := newPutter(t, s)
	var won atomic.Int32
	inParallel(32, func(i int) {
		err := p.PutNew(t.Context(), "x/y", bytes.Repeat([]byte{byte(i)}, 1000+i))
		if err == nil {
			won.Add(1)
		} else if !errors.Is(err, fs.ErrExist) {
			t.Errorf("PutNew: %v", err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d of 32 concurrent PutNew succeeded, want 1", won.Load())
	}
	if got := mustGet(t, s, "x/y"); len(got) != 1000+int(got[0]) || !uniform(got) {
		t.Errorf("concurrent PutNew left a mixture of %d bytes", len(got))
	}
}

func newPutter(t *testing.T, s remote.Store) remote.NewPutter {
	p, ok := remote.As[remote.NewPutter](s)
	if !ok {
		t.Skip("this store cannot PutNew")
	}
	err := p.PutNew(t.Context(), "probe", nil)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this store turns out to be unable to PutNew")
	}
	if err == nil {
		err = s.Delete(t.Context(), "probe")
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func uniform(b []byte) bool {
	return len(b) == 0 || bytes.Count(b, b[:1]) == len(b)
}
