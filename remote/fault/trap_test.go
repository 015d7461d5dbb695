package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
)

func TestTrapIsAStore(t *testing.T) {
	t.Parallel()
	remotetest.Run(t, func(*testing.T) remote.Store { return new(fault.Trap).Watch(mem.New(), nil) })
}

// TestTrap: of two stores together the third write meets its end, before, in the middle, or after; what comes later is not done.
func TestTrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		when   fault.When
		once   bool
		third  bool // is done
		litter int
		after  bool // what comes later is done
	}{
		{fault.Before, false, false, 0, false},
		{fault.Half, false, false, 1, false},
		{fault.After, false, true, 0, false},
		{fault.Before, true, true, 0, true},
		{fault.After, true, true, 0, true},
	} {
		t.Run(fmt.Sprintf("%d %v", c.when, c.once), func(t *testing.T) {
			t.Parallel()
			springs, litter, seen := 0, 0, 0
			trap := &fault.Trap{At: 3, When: c.when, Ops: fault.Write, Once: c.once,
				Spring: func() { springs++ }, Seen: func(fault.Op, string) { seen++ }}
			inner := []remote.Store{mem.New(), mem.New()}
			var stores []remote.Store
			for _, s := range inner {
				stores = append(stores, trap.Watch(s, func(string, []byte) { litter++ }))
			}
			var errs []error
			for i := range 4 {
				if _, err := stores[i%2].Stat(t.Context(), "x"); err == nil {
					t.Error("x exists")
				}
				errs = append(errs, stores[i%2].Put(t.Context(), fmt.Sprint(i), []byte("data")))
			}
			for i, want := range []bool{true, true, c.third, c.after} {
				if _, err := inner[i%2].Stat(t.Context(), fmt.Sprint(i)); (err == nil) != want {
					t.Errorf("Put %d: the object is there: %v, want %v", i, err == nil, want)
				}
			}
			for i, want := range []error{nil, nil, fault.ErrInjected, fault.ErrInjected} {
				if c.once {
					want = nil
				}
				if !errors.Is(errs[i], want) {
					t.Errorf("Put %d: %v, want %v", i, errs[i], want)
				}
			}
			if springs != 1 || litter != c.litter {
				t.Errorf("sprung %d times, litter %d", springs, litter)
			}
			if want := 3; !c.once && (trap.Count() != want || seen != want) {
				t.Errorf("%d operations, seen %d, want %d", trap.Count(), seen, want)
			}
		})
	}
}
