package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/limit"
	"cairn/remote/retry"
)

// TestStall: whatever hangs ends in bounded time with an error that says so, and retry does not repeat it for long.
func TestStall(t *testing.T) {
	t.Parallel()
	const stall = 150 * time.Millisecond
	data := content(1 << 20)
	for _, test := range []struct {
		name string
		hook func(w http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool
		do   func(ctx context.Context, s remote.Store) error
	}{
		{"no answer to a get", func(_ http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool { <-quit; return true },
			func(ctx context.Context, s remote.Store) error { _, err := s.Get(ctx, "a", 0, -1, nil); return err }},
		{"no answer to a stat", func(_ http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool { <-quit; return true },
			func(ctx context.Context, s remote.Store) error { _, err := s.Stat(ctx, "a"); return err }},
		{"a body that stops", func(w http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool {
			w.Header().Set("Content-Length", "1000000")
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Write(data[:1000])
			w.(http.Flusher).Flush()
			<-quit
			return true
		}, func(ctx context.Context, s remote.Store) error { _, err := s.Get(ctx, "a", 0, -1, nil); return err }},
		{"a put that is not taken", func(_ http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool { <-quit; return true },
			func(ctx context.Context, s remote.Store) error { return s.Put(ctx, "a", make([]byte, 64<<20)) }},
		{"a put that is not answered", func(_ http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool {
			io.Copy(io.Discard, r.Body)
			<-quit
			return true
		}, func(ctx context.Context, s remote.Store) error { return s.Put(ctx, "a", data) }},
		{"a listing", func(_ http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool { <-quit; return true },
			func(ctx context.Context, s remote.Store) error {
				for _, err := range s.List(ctx, "") {
					return err
				}
				return nil
			}},
		{"a deletion", func(_ http.ResponseWriter, r *http.Request, quit <-chan struct{}) bool { <-quit; return true },
			func(ctx context.Context, s remote.Store) error { return s.Delete(ctx, "a") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			quit := make(chan struct{})
			var calls atomic.Int32
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool { calls.Add(1); return test.hook(w, r, quit) })
			defer close(quit)
			begin := time.Now()
			s := retry.New(f.open(t, func(o *Options) { o.Stall = stall }), retry.Options{})
			err := test.do(t.Context(), s)
			took := time.Since(begin)
			if !errors.Is(err, remote.ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no progress for") || remote.Hint(err) == "" {
				t.Errorf("%v; hint %q", err, remote.Hint(err))
			}
			if took < 2*stall || took > 3*time.Second || calls.Load() != 2 {
				t.Errorf("took %v and %d requests", took, calls.Load())
			}
		})
	}
}

// TestSlowIsNoStall: bytes that come slowly, but come.
func TestSlowIsNoStall(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			time.Sleep(60 * time.Millisecond)
			return false
		}
		w.Header().Set("Content-Length", "10")
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		for range 10 {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			time.Sleep(40 * time.Millisecond)
		}
		return true
	})
	s := f.open(t, func(o *Options) { o.Stall = 300 * time.Millisecond })
	if b, err := s.Get(t.Context(), "a", 0, -1, nil); err != nil || string(b) != "xxxxxxxxxx" {
		t.Errorf("%q, %v", b, err)
	}
	// A limit of our own is no stall either: 96 KiB at 128 KiB/s wait longer than the watch does.
	up := limit.NewRate(128 << 10)
	s = f.open(t, func(o *Options) { o.Stall = 150 * time.Millisecond; o.Up = up })
	begin := time.Now()
	if err := s.Put(t.Context(), "a", content(96<<10)); err != nil || time.Since(begin) < 400*time.Millisecond {
		t.Errorf("limited Put: %v after %v", err, time.Since(begin))
	}
}

// TestLimits: bodies keep to the rates, in both directions, and a change counts at once.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	rate := limit.NewRate(1 << 20)
	s := f.open(t, func(o *Options) { o.Up, o.Down = rate, rate })
	data := content(512 << 10)
	timed := func(want time.Duration, do func() error) {
		t.Helper()
		begin := time.Now()
		if err := do(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < want*3/4 || took > want+2*time.Second {
			t.Errorf("took %v, want %v", took, want)
		}
	}
	timed(450*time.Millisecond, func() error { return s.Put(t.Context(), "a", data) })
	timed(450*time.Millisecond, func() error { _, err := s.Get(t.Context(), "a", 0, -1, nil); return err })
	rate.Set(16 << 10)
	time.AfterFunc(200*time.Millisecond, func() { rate.Set(0) })
	timed(200*time.Millisecond, func() error { _, err := s.Get(t.Context(), "a", 0, -1, nil); return err })
}

// TestRefused: nobody listens; that is found out at once, and given up soon.
func TestRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s, err := Open(Options{Host: l.Addr().String(), Bucket: "bucket", Insecure: true, Keys: staticKeys})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err = retry.New(s, retry.Options{}).Get(t.Context(), "a", 0, -1, nil)
	if took := time.Since(begin); !errors.Is(err, remote.ErrUnavailable) || errors.Is(err, remote.ErrNotExist) || took > 4*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if !strings.Contains(remote.Hint(err), "running") {
		t.Errorf("hint %q", remote.Hint(err))
	}
}

// TestEndless: an answer that never ends is cut off.
func TestEndless(t *testing.T) {
	t.Parallel()
	endless := true
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if endless {
			w.Write([]byte("<ListBucketResult><Contents><Key>"))
			for b := bytes.Repeat([]byte("x"), 1<<20); ; {
				if _, err := w.Write(b); err != nil {
					return true
				}
			}
		}
		io.WriteString(w, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>")
		return true
	})
	s := f.open(t)
	for range 2 {
		var last error
		for _, err := range s.List(t.Context(), "") {
			last = err
		}
		if last == nil {
			t.Errorf("an endless listing (one answer: %v) ends well", endless)
		}
		endless = false
	}
}

// TestKeepsAskingLess: a server that says "slow down" gets fewer requests at once, and more again when it has recovered.
func TestKeepsAskingLess(t *testing.T) {
	t.Parallel()
	var now, most, slow atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		if n > 4 && slow.Load() == 1 {
			refuse(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}
		return false
	})
	s := f.open(t, func(o *Options) { o.Concurrency = 16 })
	burst := func(n int) (throttled int) {
		most.Store(0)
		ch := make(chan error, n)
		for range n {
			go func() { ch <- s.Put(t.Context(), "a", nil) }()
		}
		for range n {
			if err := <-ch; errors.Is(err, remote.ErrSlowDown) {
				throttled++
			} else if err != nil {
				t.Error(err)
			}
		}
		return throttled
	}
	if burst(100); most.Load() > 16 || most.Load() < 8 {
		t.Errorf("%d requests at once, want up to 16", most.Load())
	}
	slow.Store(1)
	if burst(100) == 0 {
		t.Error("the server never throttled")
	}
	if limit := s.gate.limit; limit > 12 {
		t.Errorf("limit after throttling: %v", limit)
	}
	slow.Store(0)
	burst(400)
	if limit := s.gate.limit; limit < 15 {
		t.Errorf("limit after recovery: %v", limit)
	}
}

// TestGateGivesUp: who stops waiting leaves no hole, and a place that was given to him goes on.
func TestGateGivesUp(t *testing.T) {
	t.Parallel()
	g := newGate(1)
	if err := g.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.enter(ctx) }()
		go cancel()
		g.leave(time.Now(), nil)
		if err := <-done; err != nil {
			if err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.leave(time.Now(), nil)
	if g.busy != 0 || len(g.waiting) != 0 {
		t.Errorf("%d busy, %d waiting", g.busy, len(g.waiting))
	}
}

// TestGateHalvesOnce: the answers to one burst count as one.
func TestGateHalvesOnce(t *testing.T) {
	t.Parallel()
	g := newGate(32)
	begun := time.Now()
	for range 32 {
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 32 {
		g.leave(begun, remote.ErrSlowDown)
	}
	if g.limit != 16 {
		t.Errorf("limit %v, want 16", g.limit)
	}
	for range 20 {
		time.Sleep(time.Microsecond)
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.leave(time.Now(), remote.ErrSlowDown)
	}
	if g.limit != 1 {
		t.Errorf("limit %v, want 1", g.limit)
	}
}
