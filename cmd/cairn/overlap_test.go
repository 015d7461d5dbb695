package main

import (
	"runtime"
	"testing"

	"cairn/chunk"
)

// While files are read there are more places than cores, afterwards as many as before, and memory is bounded by the cores all the time. Not parallel: the number is the process's.
func TestOverlapWaiting(t *testing.T) {
	before, cores := runtime.GOMAXPROCS(0), chunk.Cores()
	end := (&env{overlap: true}).overlapWaiting()
	if got := runtime.GOMAXPROCS(0); got != 2*cores {
		t.Errorf("%d places for %d cores", got, cores)
	}
	if got := chunk.Cores(); got != cores {
		t.Errorf("%d cores, before %d", got, cores)
	}
	end()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("%d places afterwards, before %d", got, before)
	}
	defer (&env{}).overlapWaiting()()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("%d places although the environment says %d", got, before)
	}
}
