package s3

import (
	"context"
	"errors"
	"sync"
	"time"

	"cairn/remote"
)

// gate lets so many requests through at once as the server likes: one more after each round of answers, half as many when it
// says "slow down" (additive increase, multiplicative decrease, as TCP does it). Who waits is served in order.
type gate struct {
	mu      sync.Mutex
	max     float64
	limit   float64 // ≥ 1
	busy    int
	cut     time.Time // when limit was last halved
	waiting []chan struct{}
}

func newGate(n int) *gate { return &gate{max: float64(n), limit: float64(n)} }

// enter waits for a place.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	if g.busy < int(g.limit) && len(g.waiting) == 0 {
		g.busy++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		g.giveUp(turn)
		return ctx.Err()
	}
}

// giveUp takes a waiter out, or gives the place on that it was given at the same moment.
func (g *gate) giveUp(turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.waiting {
		if other == turn {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return
		}
	}
	g.busy--
	g.admit()
}

// leave gives a place back; begun and err are the request's.
func (g *gate) leave(begun time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	switch {
	case errors.Is(err, remote.ErrSlowDown):
		// The requests of one burst are all answered that way; only the first answer says something new.
		if begun.After(g.cut) {
			g.limit = max(1, g.limit/2)
			g.cut = time.Now()
		}
	case err == nil:
		g.limit = min(g.max, g.limit+1/g.limit)
	}
	g.admit()
}

func (g *gate) admit() {
	for len(g.waiting) > 0 && g.busy < int(g.limit) {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.busy++
	}
}
