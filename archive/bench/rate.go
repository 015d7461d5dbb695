package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

// step does a bit of work and says how many bytes that were. errEnough ends a worker before its time, with what it has done.
type step func() (int, error)

var errEnough = errors.New("enough")

// rate lets n workers, each with a step of its own, work until the time is over, and returns what they do together in a second. Each
// does one step before it counts, so that what is made once (tables, buffers) is not counted. At the first error all end.
func rate(ctx context.Context, n int, d time.Duration, worker func() (step, error)) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	sums := make([]float64, n)
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			work, err := worker()
			if err == nil {
				_, err = work()
			}
			ready.Done()
			if err != nil {
				if err != errEnough {
					cancel(err)
				}
				return
			}
			<-begin
			sums[i], err = repeat(ctx, d, work)
			if err != nil {
				cancel(err)
			}
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total, nil
}

// repeat does steps until the time is over, at least one, and returns bytes a second.
func repeat(ctx context.Context, d time.Duration, work step) (float64, error) {
	bytes := 0
	start := time.Now()
	for {
		n, err := work()
		if err != nil && err != errEnough {
			return 0, err
		}
		bytes += n
		if took := time.Since(start); took >= d || err != nil || ctx.Err() != nil {
			return float64(bytes) / max(took.Seconds(), 1e-9), ctx.Err()
		}
	}
}
