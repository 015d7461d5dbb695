package seal

import (
	"testing"
	"time"
)

// TestTuned: a fast machine makes its slots stronger, a slow one never weaker than the floor.
func TestTuned(t *testing.T) {
	t.Parallel()
	floor := DefaultArgon()
	for _, c := range []struct {
		took   time.Duration // of the floor, on one core
		cores  int
		passes uint32
	}{
		{260 * time.Millisecond, 1, 3},
		{260 * time.Millisecond, 2, 3}, // 130 ms, and a pass 43
		{260 * time.Millisecond, 4, 6}, // 65 ms, and a pass 21.7: 130
		{260 * time.Millisecond, 64, 6},
		{100 * time.Millisecond, 1, 4},
		{100 * time.Millisecond, 2, 9},
		{100 * time.Millisecond, 4, 12},
		{1 * time.Millisecond, 4, 12},
		{1, 64, 3}, // less than a clock can tell
		{time.Hour, 1, 3},
		{0, 8, 3},
		{100 * time.Millisecond, 0, 4},
	} {
		got := tuned(floor, c.took, c.cores)
		want := floor
		want.Time = c.passes
		if got != want {
			t.Errorf("%v on %d cores: %+v, want %+v", c.took, c.cores, got, want)
		}
		if err := got.Validate(); err != nil {
			t.Error(err)
		}
	}
	p := TunedArgon()
	if p.Time < floor.Time || p.MemoryKiB != floor.MemoryKiB || p.Lanes != floor.Lanes || p.Time > argonMostPasses {
		t.Errorf("here: %+v", p)
	}
}
