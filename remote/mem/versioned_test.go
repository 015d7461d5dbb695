package mem_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/limit"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
	"cairn/remote/retry"
)

func TestVersioned(t *testing.T) {
	t.Parallel()
	remotetest.Run(t, func(*testing.T) remote.Store { return mem.NewVersioned(nil) })
}

// clock stands still but when it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// TestProtected: the abilities come through the wrappers.
func TestProtected(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(remote.Store) remote.Store{
		"plain": func(s remote.Store) remote.Store { return s },
		"retry": func(s remote.Store) remote.Store { return retry.New(s, retry.Options{}) },
		"limit": func(s remote.Store) remote.Store { return limit.New(s, nil, nil) },
		"fault": func(s remote.Store) remote.Store { return fault.New(s) },
		"sub":   func(s remote.Store) remote.Store { return remote.Sub(s, "m00") },
		"all": func(s remote.Store) remote.Store {
			return remote.Sub(retry.New(limit.New(s, nil, nil), retry.Options{}), "m00")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotetest.RunProtected(t, func(*testing.T) remotetest.Protected {
				clock := &clock{now: time.Now()}
				s := mem.NewVersioned(clock.Now)
				prefix := ""
				if name == "sub" || name == "all" {
					prefix = "m00/"
				}
				return remotetest.Protected{Store: wrap(s), Clock: clock.Now, Advance: clock.Advance,
					Hide: func(ctx context.Context, n string) error { return s.Hide(ctx, prefix+n) }}
			})
		})
	}
}
