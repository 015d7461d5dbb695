package chunk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cutAhead returns the chunk lengths that a Cutter finds when workers have looked at the pieces, the last one first.
func cutAhead(c *Cutter, data []byte, piece, workers int) []int {
	found := make([]Candidates, (len(data)+piece-1)/piece)
	next := make(chan int, len(found))
	for i := range found {
		next <- len(found) - 1 - i
	}
	close(next)
	s := c.Scanner()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				from := max(i*piece-windowSize, 0)
				s.Scan(data[from:min((i+1)*piece, len(data))], i*piece-from, &found[i])
			}
		})
	}
	wg.Wait()
	var lengths []int
	c.Reset()
	current := 0
	for i := range found {
		buf := data[i*piece : min((i+1)*piece, len(data))]
		for n := c.NextOf(buf, &found[i]); n >= 0; n = c.NextOf(buf, &found[i]) {
			lengths = append(lengths, current+n)
			current, buf = 0, buf[n:]
		}
		current += len(buf)
	}
	if current > 0 {
		lengths = append(lengths, current)
	}
	return lengths
}

func TestAheadEqualsReference(t *testing.T) {
	t.Parallel()
	for _, p := range []Params{small(), wide()} {
		for name, data := range inputs(p) {
			want := reference(t, p, data)
			for _, k := range kernels() {
				c := cutterWith(t, p, k)
				for piece, workers := range map[int]int{100: 2, 4096: 3, 65_537: 1, 300_000: 4, 1 << 21: 8} {
					if diff := cmp.Diff(want, cutAhead(c, data, piece, workers)); diff != "" {
						t.Errorf("%v, %v, %s in pieces of %d: %s", p, k, name, piece, diff)
					}
				}
			}
		}
	}
}

// TestAheadWithoutLookBack: a caller who gives no bytes in front of a piece loses time, not cuts.
func TestAheadWithoutLookBack(t *testing.T) {
	t.Parallel()
	p := small()
	c := newCutter(t, p)
	data := plant(p, random(500_000, 1), rand.New(rand.NewPCG(1, 1)))
	want := reference(t, p, data)
	var got []int
	current := 0
	var found Candidates
	for piece := range slices.Chunk(data, 1000) {
		c.Scanner().Scan(piece, 0, &found)
		for n := c.NextOf(piece, &found); n >= 0; n = c.NextOf(piece, &found) {
			got = append(got, current+n)
			current, piece = 0, piece[n:]
		}
		current += len(piece)
	}
	if diff := cmp.Diff(want, append(got, current)); diff != "" {
		t.Error(diff)
	}
}

// TestCandidatesBounded: what is remembered of a piece does not grow with it.
func TestCandidatesBounded(t *testing.T) {
	p := small()
	c := newCutter(t, p)
	var found Candidates
	period := plant(p, random(1000, 1), rand.New(rand.NewPCG(1, 1)))
	period = append(period[:500:500], make([]byte, windowSize)...) // a candidate in each, at least
	c.Scanner().Scan(bytes.Repeat(period, 3000), 0, &found)
	if len(found.runs) != maxRuns || found.end >= found.size {
		t.Errorf("%d runs, searched up to %d of %d", len(found.runs), found.end, found.size)
	}
	data := bytes.Repeat(period, 3000)
	if diff := cmp.Diff(reference(t, p, data), cutAhead(c, data, len(data), 1)); diff != "" {
		t.Errorf("behind what is remembered: %s", diff)
	}
	c.Scanner().Scan(make([]byte, 1<<20), 0, &found)
	if len(found.runs) != 1 || found.end != 1<<20 {
		t.Errorf("zeros: %d runs, searched up to %d", len(found.runs), found.end)
	}
	if n := testing.AllocsPerRun(5, func() { c.Scanner().Scan(period, 0, &found) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestRunEnd: 63 equal bytes are no run yet, for the 64th byte in front of them still is to leave.
func TestRunEnd(t *testing.T) {
	t.Parallel()
	s := scanner{newTables(testPoly), 1<<minBits - 1}
	tried := 0
	for n := range 1 << 16 {
		d := append([]byte{byte(n >> 8)}, bytes.Repeat([]byte{byte(n)}, 5000)...)
		h := s.t.roll(0, d[:windowSize])
		if h&s.mask != 0 || d[0] == d[1] {
			continue
		}
		want := windowSize
		if s.t.roll(0, d[1:windowSize+1])&s.mask == 0 {
			want = len(d)
		}
		if got := s.runEnd(d, windowSize-1); got != want {
			t.Errorf("%d, then %d: run until %d, want %d", d[0], d[1], got, want)
		}
		tried++
	}
	if tried < 10 {
		t.Errorf("%d tries prove nothing", tried)
	}
}

func BenchmarkScan(b *testing.B) {
	p := DefaultParams()
	p.Poly = testPoly
	data := random(4<<20, 1)
	for _, k := range kernels() {
		b.Run(k.String(), func(b *testing.B) {
			s := cutterWith(b, p, k).Scanner()
			var found Candidates
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s.Scan(data, 0, &found)
			}
		})
	}
}
