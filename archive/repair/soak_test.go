package repair

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/tests/damage"
)

// TestSoak damages and repairs a small archive again and again: with a key or without, after a scrub or not, in one go or
// interrupted, by two at once. After each round every byte must be what it was. CAIRN_SOAK=1h makes it long (`make soak`):
// a million injuries take about 20 minutes.
func TestSoak(t *testing.T) {
	t.Parallel()
	length, err := time.ParseDuration(os.Getenv("CAIRN_SOAK"))
	seed := uint64(time.Now().UnixNano())
	if err != nil {
		length, seed = time.Second, 1
	}
	t.Logf("seed %d", seed)
	s := &soak{bench: newBench(t, 4, 2), rnd: rand.New(rand.NewPCG(seed, 0))}
	s.backup(5, 4000)
	s.whole = s.state()
	rounds := 0
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); rounds++ {
		s.round()
	}
	t.Logf("%d rounds, %d injuries", rounds, s.injuries)
	s.clean()
}

type soak struct {
	*bench
	rnd      *rand.Rand
	whole    damage.State
	injuries int
}

func (s *soak) round() {
	done, err := s.whole.Hurt(s.t.Context(), s.rnd, s.all(), 2, everything...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.injuries += len(done)
	var places []string
	for _, i := range done {
		places = append(places, i.Place())
	}
	slices.Sort(places)
	a := s.bare()
	if s.rnd.IntN(2) == 0 {
		a = s.open()
	}
	o := Options{}
	switch s.rnd.IntN(4) {
	case 0:
		s.scrubbed(a, places)
		o.Missing = true
	case 1:
		s.interrupted(a)
		places = nil
	}
	r, found := s.repair(a, o)
	if !r.Whole() || r.Degraded > 0 || len(found[Left]) > 0 || places != nil && !slices.Equal(places, found[Healed]) {
		s.t.Errorf("%+v: %v\n%v", r, found, done)
	}
	s.as(s.whole)
}

// scrubbed notes what is bad, so that the repair need not read what is good.
func (s *soak) scrubbed(a *archive.Archive, places []string) {
	r, err := check.Shards(s.t.Context(), a, check.Options{Patience: time.Millisecond})
	if err != nil || r.Damaged+r.Lacking != len(places) || r.Short+r.Lost > 0 {
		s.t.Errorf("%+v, %v", r, err)
	}
}

// interrupted ends a repair somewhere.
func (s *soak) interrupted(a *archive.Archive) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	left := s.rnd.IntN(60)
	_, err := Run(ctx, a, Options{Found: func(Finding) {
		if left--; left == 0 {
			cancel()
		}
	}})
	if err != nil && !errors.Is(err, context.Canceled) {
		s.t.Errorf("%v", err)
	}
}
