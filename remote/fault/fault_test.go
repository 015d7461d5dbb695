package fault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"cairn/remote"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
)

func TestStore(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Store { return New(mem.New()) })
}

// TestRuleThatNeverHits: rules alone change nothing.
func TestRuleThatNeverHits(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Store { return New(mem.New(), Rule{Name: "never/", Do: Hang}) })
}

func TestWhich(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		rule Rule
		fail [6]bool // Put x/a, Put x/a, Put y.bin, Put x/b.bin, Stat x/a, Put x/a
	}{
		{"all", Rule{}, [6]bool{true, true, true, true, true, true}},
		{"second", Rule{Skip: 1, Hits: 1}, [6]bool{false, true, false, false, false, false}},
		{"from the third on", Rule{Skip: 2}, [6]bool{false, false, true, true, true, true}},
		{"puts below x", Rule{Op: Put, Name: "x/"}, [6]bool{true, true, false, true, false, true}},
		{"pattern of last element", Rule{Name: "*.bin"}, [6]bool{false, false, true, true, false, false}},
		{"whole name, skipped once", Rule{Name: "x/a", Skip: 1, Hits: 2}, [6]bool{false, true, false, false, true, false}},
		{"reads", Rule{Op: Read}, [6]bool{false, false, false, false, true, false}},
	} {
		s := New(mem.New(), Rule{Op: List}, test.rule)
		put := func(name string) error { return s.Put(t.Context(), name, nil) }
		errs := []error{put("x/a"), put("x/a"), put("y.bin"), put("x/b.bin")}
		_, err := s.Stat(t.Context(), "x/a")
		errs = append(errs, err, put("x/a"))
		for i, err := range errs {
			if errors.Is(err, ErrInjected) != test.fail[i] {
				t.Errorf("%s: operation %d: %v", test.name, i, err)
			}
		}
		if got := s.Count(Put); got != 5 {
			t.Errorf("%d Puts counted, want 5", got)
		}
		if got := s.Count(Any); got != 6 {
			t.Errorf("%d operations counted, want 6", got)
		}
		s.Set()
		if err := put("x/a"); err != nil {
			t.Errorf("without rules: %v", err)
		}
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	m := mem.New()
	data := []byte("0123456789")
	if err := m.Put(t.Context(), "a", data); err != nil {
		t.Fatal(err)
	}
	own := errors.New("own")
	s := New(m, Rule{Op: Put | Delete, Do: Lose, Err: own})
	if err := s.Put(t.Context(), "b", data); err != own {
		t.Errorf("lost Put: %v", err)
	}
	if b, err := s.Get(t.Context(), "b", 0, -1, nil); err != nil || !bytes.Equal(b, data) {
		t.Errorf("after a lost Put: %q, %v", b, err)
	}
	if err := s.Delete(t.Context(), "b"); err != own {
		t.Errorf("lost Delete: %v", err)
	}
	if _, err := m.Stat(t.Context(), "b"); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("after a lost Delete: %v", err)
	}

	s.Set(Rule{Op: Get, Do: Flip})
	b, err := s.Get(t.Context(), "a", 2, 6, nil)
	if err != nil || len(b) != 6 || bytes.Equal(b, data[2:8]) {
		t.Errorf("flipped: %q, %v", b, err)
	}
	s.Set(Rule{Op: Get, Do: Truncate})
	if b, err := s.Get(t.Context(), "a", 0, -1, nil); err != nil || string(b) != "01234" {
		t.Errorf("truncated: %q, %v", b, err)
	}
	if _, err := s.Get(t.Context(), "a", 2, 6, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("range of a truncated object: %v", err)
	}
	s.Set()
	if b, err := s.Get(t.Context(), "a", 0, -1, nil); err != nil || !bytes.Equal(b, data) {
		t.Errorf("the object itself was changed: %q, %v", b, err)
	}

	s.Set(Rule{Do: Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, "a", nil); err != context.DeadlineExceeded {
		t.Errorf("hanging Put: %v", err)
	}
	for _, err = range s.List(ctx, "") {
	}
	if err != context.DeadlineExceeded {
		t.Errorf("hanging List: %v", err)
	}
}

func TestListBreaksOff(t *testing.T) {
	t.Parallel()
	m := mem.New()
	for _, name := range []string{"a", "b", "c"} {
		if err := m.Put(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	for do, want := range map[Action]int{Fail: 0, Lose: 1} {
		names, errs := 0, 0
		for _, err := range New(m, Rule{Op: List, Do: do}).List(t.Context(), "") {
			if err != nil {
				errs++
			} else {
				names++
			}
		}
		if names != want || errs != 1 {
			t.Errorf("action %d: %d names, %d errors", do, names, errs)
		}
	}
}

// TestSlow: waits of Slow rules add up, other rules have their own, bytes share a rate, and a context ends all of them.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		s := New(m)
		took := func(what string, min, max time.Duration, do func() error, want error) {
			t.Helper()
			begin := time.Now()
			if err := do(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			if d := time.Since(begin); d < min || d > max {
				t.Errorf("%s took %v, want %v to %v", what, d, min, max)
			}
		}
		put := func() error { return s.Put(t.Context(), "a", make([]byte, 1000)) }
		get := func() error { _, err := s.Get(t.Context(), "a", 0, 500, nil); return err }
		took("no rule", 0, 0, put, nil)
		s.Set(Rule{Do: Slow, Delay: time.Second, Skip: 1}, Rule{Op: Get, Do: Slow, Delay: 2 * time.Second, Jitter: time.Second})
		took("skipped", 0, 0, put, nil)
		took("one", time.Second, time.Second, put, nil)
		took("two that add up", 3*time.Second, 4*time.Second, get, nil)
		s.Set(Rule{Delay: time.Second}, Rule{Delay: time.Hour, Do: Lose}, Rule{Do: Slow, Delay: time.Second})
		took("late failure", 2*time.Second, 2*time.Second, get, ErrInjected)
		s.Set(Rule{Do: Slow, Delay: time.Second, Rate: 1000})
		took("rate of a Get", 1500*time.Millisecond, 1500*time.Millisecond, get, nil)
		took("two at once", 2500*time.Millisecond, 2500*time.Millisecond, func() error {
			other := make(chan error)
			go func() { other <- put() }()
			return errors.Join(get(), <-other)
		}, nil)
		s.Set(Rule{Op: Get, Do: Flip, Delay: time.Second})
		took("late and wrong", time.Second, time.Second, get, nil)
		s.Set(Rule{Do: Slow, Delay: time.Hour})
		took("context", time.Minute, time.Minute, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := s.Get(ctx, "a", 0, 1, nil)
			return err
		}, context.DeadlineExceeded)
		if got := s.Bytes(Get); got != 500*4 {
			t.Errorf("%d bytes were read, want 2000", got)
		}
	})
}
