package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"syscall"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
)

func TestStore(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Store { return New(mem.New(), Options{}) })
}

// fake calls its fields.
type fake struct {
	remote.Store
	do   func() error
	list func(yield func(remote.Info, error) bool)
}

func (f *fake) Put(context.Context, string, []byte) error { return f.do() }
func (f *fake) Get(_ context.Context, _ string, _, _ int64, dst []byte) ([]byte, error) {
	return append(dst[:0], 'x'), f.do()
}
func (f *fake) Stat(context.Context, string) (remote.Info, error) {
	return remote.Info{Size: 1}, f.do()
}
func (f *fake) Delete(context.Context, string) error                       { return f.do() }
func (f *fake) List(context.Context, string) iter.Seq2[remote.Info, error] { return f.list }

// clock counts pauses instead of making them.
type clock struct {
	now    time.Time
	pauses []time.Duration
	onWait func()
}

func (c *clock) options() Options {
	return Options{
		Now:  func() time.Time { return c.now },
		Rand: func() float64 { return 1 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			c.pauses = append(c.pauses, d)
			c.now = c.now.Add(d)
			if c.onWait != nil {
				c.onWait()
			}
			return ctx.Err()
		},
	}
}

var errFlaky = errors.New("connection reset")

func TestRetries(t *testing.T) {
	t.Parallel()
	ops := map[string]func(s *Store, ctx context.Context) error{
		"put":    func(s *Store, ctx context.Context) error { return s.Put(ctx, "a", nil) },
		"get":    func(s *Store, ctx context.Context) error { _, err := s.Get(ctx, "a", 0, 1, nil); return err },
		"stat":   func(s *Store, ctx context.Context) error { _, err := s.Stat(ctx, "a"); return err },
		"delete": func(s *Store, ctx context.Context) error { return s.Delete(ctx, "a") },
	}
	for name, op := range ops {
		for fails := 0; fails <= DefaultAttempts; fails++ {
			var c clock
			calls, notified := 0, 0
			o := c.options()
			o.Notify = func(op, object string, attempt int, _ time.Duration, err error) {
				if notified++; op != name || object != "a" || attempt != notified || err != errFlaky {
					t.Errorf("Notify(%s, %s, %d, %v)", op, object, attempt, err)
				}
			}
			s := New(&fake{do: func() error {
				if calls++; calls <= fails {
					return errFlaky
				}
				return nil
			}}, o)
			err := op(s, t.Context())
			if fails < DefaultAttempts && (err != nil || calls != fails+1 || notified != fails) {
				t.Errorf("%s that fails %d times: %v after %d calls", name, fails, err, calls)
			}
			if fails == DefaultAttempts && (!errors.Is(err, errFlaky) || !errors.Is(err, remote.ErrUnavailable) || calls != DefaultAttempts) {
				t.Errorf("%s that always fails: %v after %d calls", name, err, calls)
			}
			if want := []time.Duration{200e6, 400e6, 800e6, 1600e6}[:min(fails, 4)]; !slices.Equal(c.pauses, want) {
				t.Errorf("pauses: %v, want %v", c.pauses, want)
			}
		}
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	for _, final := range []error{
		remote.ErrNotExist, fs.ErrExist, remote.Permanent(errFlaky), context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF,
		syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR, fs.ErrPermission, fs.ErrInvalid,
		errors.ErrUnsupported,
	} {
		var c clock
		calls := 0
		wrapped := fmt.Errorf("put x: %w", final)
		s := New(&fake{do: func() error { calls++; return wrapped }}, c.options())
		if err := s.Put(t.Context(), "x", nil); err != wrapped || calls != 1 {
			t.Errorf("%v: %d calls, then %v", final, calls, err)
		}
	}
}

func TestContextEndsRetrying(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	c := clock{onWait: cancel}
	s := New(&fake{do: func() error { calls++; return errFlaky }}, c.options())
	if err := s.Put(ctx, "x", nil); err != context.Canceled || calls != 1 {
		t.Errorf("canceled in a pause: %v after %d calls", err, calls)
	}
	if err := s.Put(ctx, "x", nil); err != context.Canceled || calls != 2 || len(c.pauses) != 1 {
		t.Errorf("canceled before: %v after %d calls, %d pauses", err, calls, len(c.pauses))
	}
}

// TestTotal: slow attempts are fewer, and no pause begins that would end too late.
func TestTotal(t *testing.T) {
	t.Parallel()
	var c clock
	calls := 0
	o := c.options()
	o.Attempts, o.Total = 100, 10*time.Second
	s := New(&fake{do: func() error { calls++; c.now = c.now.Add(4 * time.Second); return errFlaky }}, o)
	if err := s.Put(t.Context(), "x", nil); !errors.Is(err, remote.ErrUnavailable) || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestPolicies: what an error means decides how long its operation is tried.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		err      error
		takes    time.Duration // each attempt
		calls    int
		min, max time.Duration // in all
	}{
		{"slow down", remote.ErrSlowDown, 10 * time.Millisecond, 7, 40 * time.Second, 62 * time.Second},
		{"refused", syscall.ECONNREFUSED, 0, 4, 0, 3 * time.Second},
		{"hangs", remote.ErrUnavailable, 15 * time.Second, 2, 30 * time.Second, 31 * time.Second},
		{"hangs long", remote.ErrUnavailable, 25 * time.Second, 1, 25 * time.Second, 25 * time.Second},
		{"unavailable at once", remote.ErrUnavailable, 0, 2, 0, time.Second},
		{"flaky", errFlaky, 0, 5, 0, 3 * time.Second},
		{"flaky and slow", errFlaky, 10 * time.Second, 3, 30 * time.Second, 31 * time.Second},
	} {
		var c clock
		calls := 0
		begin := c.now
		s := New(&fake{do: func() error { calls++; c.now = c.now.Add(test.takes); return fmt.Errorf("get x: %w", test.err) }}, c.options())
		err := s.Put(t.Context(), "x", nil)
		took := c.now.Sub(begin)
		if !errors.Is(err, test.err) || !errors.Is(err, remote.ErrUnavailable) || calls != test.calls || took < test.min || took > test.max {
			t.Errorf("%s: %v after %d calls and %v, want %d calls in %v to %v", test.name, err, calls, took, test.calls, test.min, test.max)
		}
	}
}

// TestOnce: who wants one try gets one, whatever the error.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{errFlaky, remote.ErrSlowDown, remote.ErrUnavailable} {
		calls := 0
		s := New(&fake{do: func() error { calls++; return cause }}, Options{Attempts: 1})
		if err := s.Put(t.Context(), "x", nil); !errors.Is(err, cause) || calls != 1 {
			t.Errorf("%v: %v after %d calls", cause, err, calls)
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	o := Options{Base: time.Second, Cap: 5 * time.Second}
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, 1000: 5 * time.Second} {
		for _, r := range []float64{0, 0.5, 1} {
			o.Rand = func() float64 { return r }
			s := New(nil, o)
			got := s.pause(s.o.policy(errFlaky), attempt)
			if exact := want/2 + time.Duration(r*float64(want/2)); got != exact {
				t.Errorf("pause(%d) with %v: %v, want %v", attempt, r, got, exact)
			}
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		failAt   []int // per try: error instead of this object; -1: none
		names    int
		err      bool
		attempts int
	}{
		{"no error", []int{-1}, 3, false, 1},
		{"error before the first, twice", []int{0, 0, -1}, 3, false, 3},
		{"error in the middle", []int{1, -1}, 1, true, 1},
		{"error before, then in the middle", []int{0, 2, -1}, 2, true, 2},
		{"always", []int{0, 0, 0, 0, 0, 0, 0}, 0, true, DefaultAttempts},
	} {
		var c clock
		tries := 0
		s := New(&fake{list: func(yield func(remote.Info, error) bool) {
			failAt := test.failAt[tries]
			tries++
			for i := range 3 {
				if i == failAt {
					yield(remote.Info{}, errFlaky)
					return
				}
				if !yield(remote.Info{Name: fmt.Sprint(i)}, nil) {
					return
				}
			}
		}}, c.options())
		names, errs := 0, 0
		for _, err := range s.List(t.Context(), "") {
			if err != nil {
				errs++
			} else {
				names++
			}
		}
		if names != test.names || (errs == 1) != test.err || errs > 1 || tries != test.attempts {
			t.Errorf("%s: %d names, %d errors, %d tries", test.name, names, errs, tries)
		}
	}
}

func TestRealSleep(t *testing.T) {
	t.Parallel()
	calls := 0
	s := New(&fake{do: func() error {
		if calls++; calls < 3 {
			return errFlaky
		}
		return nil
	}}, Options{Base: time.Millisecond})
	if err := s.Put(t.Context(), "x", nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := sleep(ctx, time.Hour); err != context.DeadlineExceeded {
		t.Errorf("sleep: %v", err)
	}
}
