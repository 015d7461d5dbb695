package limit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
)

func TestStore(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Store { return New(mem.New(), nil, nil) })
}

// TestStoreLimited is the suite under rates that its 17 MiB pass in a few tenths of a second.
func TestStoreLimited(t *testing.T) {
	up, down := NewRate(400<<20), NewRate(1<<30)
	remotetest.Run(t, func(*testing.T) remote.Store { return New(mem.New(), up, down) })
}

// TestRate: D6: so many bytes take so long, whoever and however many ask for them, in small pieces or large ones.
func TestRate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ goroutines, piece int }{{1, 1000}, {1, 70_000}, {20, 5000}, {3, 100_000}} {
		t.Run(fmt.Sprintf("%d of %d", test.goroutines, test.piece), func(t *testing.T) {
			t.Parallel()
			const perSecond, total = 1_000_000, 600_000
			r := NewRate(perSecond)
			begin := time.Now()
			var wg sync.WaitGroup
			for range test.goroutines {
				wg.Go(func() {
					for done := 0; done < total/test.goroutines; done += test.piece {
						if err := r.Wait(t.Context(), test.piece); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			// The first bytes are free: a burst, and the last piece of each, for which only the next one would wait.
			took, want := time.Since(begin), float64(total-perSecond*burst-test.piece)/perSecond
			if took.Seconds() < want*0.9 || took.Seconds() > want+3 {
				t.Errorf("took %v, want %.2f s", took, want)
			}
		})
	}
}

// TestSet: those who wait notice a change, up, down, and to no limit.
func TestSet(t *testing.T) {
	t.Parallel()
	r := NewRate(1000)
	for _, next := range []int64{1_000_000, 0, -5} {
		r.Set(1000)
		if err := r.Wait(t.Context(), 100_000); err != nil { // a debt of 100 seconds
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- r.Wait(t.Context(), 1) }()
		select {
		case <-done:
			t.Fatal("did not wait")
		case <-time.After(50 * time.Millisecond):
		}
		r.Set(next)
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(2 * time.Second):
			t.Fatalf("still waits after Set(%d)", next)
		}
		if got := r.Limit(); got != max(0, next) {
			t.Errorf("Limit: %d", got)
		}
	}
	r.Set(100) // what passed without a limit is not owed
	begin := time.Now()
	if err := r.Wait(t.Context(), 1); err != nil || time.Since(begin) > time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// TestGivesUp: a context that is done ends waiting, and the turn goes on.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	r := NewRate(1000)
	if err := r.Wait(t.Context(), 2000); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	var failed atomic.Int32
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if errors.Is(r.Wait(ctx, 1), context.DeadlineExceeded) {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() != 5 {
		t.Errorf("%d of 5 gave up", failed.Load())
	}
	r.Set(0)
	if err := r.Wait(t.Context(), 1); err != nil {
		t.Error(err)
	}
	var none *Rate
	if err := none.Wait(t.Context(), 1<<30); err != nil || none.Limit() != 0 {
		t.Errorf("nil Rate: %v, %d", err, none.Limit())
	}
	if err := none.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nil Rate with a context that is done: %v", err)
	}
}

// TestStoreSlows: each direction has its own rate.
func TestStoreSlows(t *testing.T) {
	t.Parallel()
	timed := func(do func() error) time.Duration {
		begin := time.Now()
		if err := do(); err != nil {
			t.Error(err)
		}
		return time.Since(begin)
	}
	data := make([]byte, 1<<20)
	s := New(mem.New(), NewRate(2<<20), nil)
	if took := timed(func() error { return s.Put(t.Context(), "a", data) }); took < 300*time.Millisecond {
		t.Errorf("Put took %v", took)
	}
	if took := timed(func() error { return s.PutNew(t.Context(), "b", data) }); took < 300*time.Millisecond {
		t.Errorf("PutNew took %v", took)
	}
	if took := timed(func() error { _, err := s.Get(t.Context(), "a", 0, -1, nil); return err }); took > 250*time.Millisecond {
		t.Errorf("Get without a limit took %v", took)
	}
	s = New(s.Unwrap(), nil, NewRate(2<<20))
	if took := timed(func() error { _, err := s.Get(t.Context(), "a", 0, -1, nil); return err }); took < 300*time.Millisecond {
		t.Errorf("Get took %v", took)
	}
	if err := s.PutNew(t.Context(), "a", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("PutNew of what is there: %v", err)
	}
	if err := New(struct{ remote.Store }{mem.New()}, nil, nil).PutNew(t.Context(), "a", nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("PutNew over a store without: %v", err)
	}
}
