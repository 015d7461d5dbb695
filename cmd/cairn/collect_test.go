package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestCollecting is not parallel: what it sets is the process's.
func TestCollecting(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() int {
		now := debug.SetGCPercent(1)
		debug.SetGCPercent(now)
		return now
	}
	large := make([]byte, 2*headroom)
	var c collecting
	runtime.GC()
	c.percent.Store(10)
	c.adjust()
	if got := percent(); got < 10 || got > 50 {
		t.Errorf("%d %% with more than 20 MiB alive", got)
	}
	c.percent.Store(70)
	c.adjust()
	if got := percent(); got != 70 {
		t.Errorf("%d %%, want what was set", got)
	}
	runtime.KeepAlive(large)
	runtime.GC()
	c.start(10)
	small := percent()
	if small <= 10 {
		t.Errorf("%d %% with little alive", small)
	}
	// What lives is looked at again after each collection.
	large = make([]byte, 20*headroom)
	for range 100 {
		runtime.GC()
		if percent() < small {
			runtime.KeepAlive(large)
			c.percent.Store(int64(before)) // what runs after the other tests' collections leaves things as they were
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it was not adjusted after a collection")
}
