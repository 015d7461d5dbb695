// Package limit keeps transfers below a rate: Rate is the rate, which may change while transfers run, and Store is a
// remote.Store that keeps to one in each direction.
//
// One Rate is meant to be shared by everything that goes over the same line: all members of an archive, all
// goroutines. It is safe for concurrent use, starts no goroutine, and is fair: who waits first goes first. Nothing of it outlives the process.
package limit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Rate lets so many bytes a second pass. A nil *Rate lets all pass.
type Rate struct {
	perSecond atomic.Int64  // ≤ 0: no limit
	turn      chan struct{} // held by the one who waits for credit

	mu      sync.Mutex
	credit  float64 // bytes; negative after more passed than was there
	at      time.Time
	changed chan struct{} // closed by Set
}

// burst is how much of an unused rate is kept: a tenth of a second, so that a pause does not become a flood.
const burst = 0.1

// NewRate returns a Rate of so many bytes a second; 0 is no limit.
func NewRate(bytesPerSecond int64) *Rate {
	r := &Rate{turn: make(chan struct{}, 1), changed: make(chan struct{}), at: time.Now()}
	r.perSecond.Store(bytesPerSecond)
	return r
}

// Limit returns the bytes a second; 0 is no limit.
func (r *Rate) Limit() int64 {
	if r == nil {
		return 0
	}
	return max(0, r.perSecond.Load())
}

// Set changes the rate, for those who wait already too.
func (r *Rate) Set(bytesPerSecond int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refill(time.Now())
	r.perSecond.Store(bytesPerSecond)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Wait returns when n more bytes may pass. They may be more than pass in a second; those who come later then wait for them.
func (r *Rate) Wait(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r == nil || r.perSecond.Load() <= 0 || n <= 0 {
		return nil
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	for {
		wait, changed := r.take(n)
		if wait <= 0 {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		t.Stop()
	}
}

// take takes n bytes if there is any credit, else it says how long to wait for some. Credit may go below zero: so the first
// bytes pass at once, and what is larger than the burst passes at all.
func (r *Rate) take(n int) (wait time.Duration, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refill(time.Now())
	rate := float64(r.perSecond.Load())
	if rate <= 0 || r.credit >= 0 {
		r.credit -= float64(n)
		return 0, nil
	}
	seconds := -r.credit / rate
	return time.Duration(math.Min(seconds, 3600)*float64(time.Second)) + time.Microsecond, r.changed
}

func (r *Rate) refill(now time.Time) {
	rate := float64(r.perSecond.Load())
	r.credit += now.Sub(r.at).Seconds() * rate
	if rate <= 0 {
		r.credit = 0 // what passed without a limit is not owed
	}
	r.credit = min(r.credit, rate*burst)
	r.at = now
}

// String is for messages.
func (r *Rate) String() string {
	if n := r.Limit(); n > 0 {
		return fmt.Sprintf("%d B/s", n)
	}
	return "no limit"
}
