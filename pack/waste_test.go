package pack

import (
	"math/rand/v2"
	"testing"
)

// waste fills packs with blobs of the lengths that next draws, keeping so many open at a time as layout's comment says, and returns
// the share of padding in what would be stored, and the mean L.
func waste(rng *rand.Rand, k, open, blobs int, next func() int) (padding, meanL float64) {
	fresh := func() *layout { return &layout{target: Geometry{K: k}.DefaultTarget(), spans: make([]span, k)} }
	used := func(l *layout) (total, longest int) {
		for i := range l.spans {
			total += l.spans[i].size()
			longest = max(longest, l.spans[i].size())
		}
		return total, longest
	}
	packs := make([]*layout, open)
	for i := range packs {
		packs[i] = fresh()
	}
	var pad, all, sealed int
	for range blobs {
		n := next()
		var room []int
		for i, l := range packs {
			if l.fitting(n, nil).n > 0 {
				room = append(room, i)
			}
		}
		if room == nil {
			fullest, total, longest := 0, 0, 0
			for i, l := range packs {
				if t, most := used(l); t > total {
					fullest, total, longest = i, t, most
				}
			}
			L := roundUp(longest)
			pad, all, sealed = pad+k*L-total, all+k*L, sealed+1
			packs[fullest], room = fresh(), []int{fullest}
		}
		l := packs[room[rng.IntN(len(room))]]
		column, _ := l.choose(rng, n, nil)
		l.spans[column].add(n, nil)
	}
	return 100 * float64(pad) / float64(all), float64(all) / float64(sealed*k) / (1 << 20)
}

// chunks draws lengths as the cutter makes them, times what compression leaves.
func chunks(rng *rand.Rand, compressed float64) func() int {
	return func() int {
		n := min(8<<20, 512<<10+rng.ExpFloat64()*(1<<20))
		return int(n*compressed) + sealing
	}
}

// The figures in layout's comment.
func TestPaddingWaste(t *testing.T) {
	t.Parallel()
	rng := seeded(30)
	for _, c := range []struct {
		name    string
		blobs   int
		next    func() int
		k, open int
		most    float64
	}{
		{"half", 3000, chunks(rng, 0.5), 1, 1, 0.1}, {"half", 3000, chunks(rng, 0.5), 1, 2, 0.1},
		{"half", 3000, chunks(rng, 0.5), 4, 1, 3}, {"half", 3000, chunks(rng, 0.5), 4, 2, 1.5},
		{"half", 3000, chunks(rng, 0.5), 8, 1, 7}, {"half", 3000, chunks(rng, 0.5), 8, 2, 3.5},
		{"raw", 3000, chunks(rng, 1), 1, 1, 0.1}, {"raw", 3000, chunks(rng, 1), 1, 2, 0.1},
		{"raw", 3000, chunks(rng, 1), 4, 1, 7.5}, {"raw", 3000, chunks(rng, 1), 4, 2, 3.5},
		{"raw", 3000, chunks(rng, 1), 8, 1, 12.5}, {"raw", 3000, chunks(rng, 1), 8, 2, 8},
		{"3 KiB", 30000, func() int { return 3 << 10 }, 1, 1, 0.1}, {"3 KiB", 30000, func() int { return 3 << 10 }, 1, 2, 0.1},
		{"3 KiB", 30000, func() int { return 3 << 10 }, 4, 1, 0.2}, {"3 KiB", 30000, func() int { return 3 << 10 }, 4, 2, 0.2},
		{"3 KiB", 30000, func() int { return 3 << 10 }, 8, 1, 0.2}, {"3 KiB", 30000, func() int { return 3 << 10 }, 8, 2, 0.2},
	} {
		padding, meanL := waste(rng, c.k, c.open, c.blobs, c.next)
		t.Logf("%-6s k=%d, %d open: %4.1f %% padding, L %.1f MiB", c.name, c.k, c.open, padding, meanL)
		if padding > c.most {
			t.Errorf("%s k=%d, %d open: %.1f %% padding, want at most %.1f %%", c.name, c.k, c.open, padding, c.most)
		}
	}
}

// Every column can get each blob; the fuller ones are likelier.
func TestChooseSpreads(t *testing.T) {
	t.Parallel()
	rng := seeded(31)
	l := layout{target: 1 << 20, spans: make([]span, 4)}
	for i := range l.spans {
		l.spans[i].add(1000*(i+1), nil)
	}
	var got [4]int
	const draws = 16000
	for range draws {
		column, ok := l.choose(rng, 100, nil)
		if !ok {
			t.Fatal("full")
		}
		got[column]++
	}
	for i, n := range got {
		if want := draws * (2*i + 1) / 16; n < want*8/10 || n > want*12/10 {
			t.Errorf("column %d: %d of %d, want about %d", i, n, draws, want)
		}
	}
}
