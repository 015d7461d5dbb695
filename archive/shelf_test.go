package archive

import (
	"math/rand/v2"
	"testing"
)

// Stretches of any length up to the common one share buffers: after the first few none is made. What is kept and given out stays within the limit.
func TestShelfShares(t *testing.T) {
	t.Parallel()
	const common, limit = 4<<20 + shelfStep, 28 << 20
	s := &shelf{limit: limit, common: common}
	rng := rand.New(rand.NewPCG(1, 2))
	made := map[*byte]bool{}
	var out [][]byte
	for range 1000 {
		if len(out) == 4 {
			s.put(out[0])
			out = out[1:]
		}
		n := 1 + rng.Int64N(common)
		b := s.take(n)
		if int64(cap(b)) < n || len(b) != 0 {
			t.Fatalf("%d bytes of room for %d", cap(b), n)
		}
		for _, o := range out {
			if &o[:1][0] == &b[:1][0] {
				t.Fatal("a buffer was given out twice")
			}
		}
		made[&b[:1][0]] = true
		out = append(out, b)
		if s.held > limit {
			t.Fatalf("%d bytes are held", s.held)
		}
	}
	if len(made) > 4 {
		t.Errorf("%d buffers for four at a time", len(made))
	}
}

// One that is longer than the common ones drives those out that lie idle, and short ones take no more than they need when the limit is reached.
func TestShelfLimit(t *testing.T) {
	t.Parallel()
	s := &shelf{limit: 10 << 20, common: 4<<20 + shelfStep}
	a, b := s.take(1), s.take(1)
	if int64(cap(a)) != s.common || int64(cap(b)) != s.common {
		t.Errorf("%d and %d bytes", cap(a), cap(b))
	}
	if c := s.take(1); cap(c) != shelfStep {
		t.Errorf("%d bytes for one when there is no room for a common buffer", cap(c))
	}
	s.put(a)
	s.put(b)
	if d := s.take(8 << 20); cap(d) != 8<<20 || s.held != 8<<20+shelfStep {
		t.Errorf("%d bytes, %d held", cap(d), s.held)
	}
}
