package archive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/local"
	"cairn/remote/mem"
	"cairn/remote/stripe"
)

// at is a wanted blob of a pack with four columns of 8 MiB.
func at(p byte, column int, offset, stored uint32) wanted {
	w := wanted{id: chunk.ID{p, byte(column), byte(offset >> 16), byte(offset >> 8), byte(offset)}}
	w.Location = pack.Location{Pack: pack.ID{p}, Kind: chunk.Data, Geometry: pack.Geometry{K: 4, M: 2}, L: 8 << 20, Column: column, Offset: offset, Stored: stored, Plain: stored}
	return w
}

// show writes a plan as "pack: column from-to[blobs] … | …", a stretch between bars.
func show(list []stretch) (out []string) {
	for _, s := range list {
		line := fmt.Sprintf("%d:", s.first().Pack[0])
		for _, x := range s.spans {
			line += fmt.Sprintf(" %d %d-%d[%d]", x.first().Column, x.from, x.to, len(x.blobs))
		}
		out = append(out, line)
	}
	return out
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want []wanted
		plan []string
	}{
		"nothing": {nil, nil},
		"a pack": {
			[]wanted{at(2, 1, 0, 50_000), at(1, 3, 100, 50), at(1, 3, 0, 100), at(1, 0, 0, 200), at(2, 1, 50_000, 50_000)},
			[]string{"1: 0 0-200[1] 3 0-150[2]", "2: 1 0-100000[2]"},
		},
		"columns that do not lie beside each other": {
			[]wanted{at(1, 0, 0, 1000), at(1, 1, 1000, 1000), at(1, 2, 1999, 1000)},
			[]string{"1: 0 0-1000[1]", "1: 1 1000-2000[1] 2 1999-2999[1]"},
		},
		"a small gap is read along": {
			[]wanted{at(1, 0, 0, 100_000), at(1, 0, 104_000, 100_000)},
			[]string{"1: 0 0-204000[2]"},
		},
		"as long as all are 5 %, the smallest first": {
			[]wanted{at(1, 0, 0, 100_000), at(1, 0, 108_000, 100_000), at(1, 0, 222_000, 100_000)},
			[]string{"1: 0 0-208000[2]", "1: 0 222000-322000[1]"},
		},
		"two gaps of one length or none": {
			[]wanted{at(1, 0, 0, 100_000), at(1, 0, 108_000, 100_000), at(1, 0, 216_000, 100_000)},
			[]string{"1: 0 0-100000[1]", "1: 0 108000-208000[1]", "1: 0 216000-316000[1]"},
		},
		"blobs that overlap": {
			[]wanted{at(1, 0, 0, 100), at(1, 0, 50, 10), at(1, 0, 55, 100)},
			[]string{"1: 0 0-155[3]"},
		},
	} {
		if diff := cmp.Diff(c.plan, show(plan(c.want, longestStretch))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// One of ten small files: each alone would be 800 requests. And some that lie far from each other.
	var small, far []wanted
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range uint32(800) {
		small = append(small, at(1, 0, i*10_000+uint32(rng.IntN(5000)), 1000))
	}
	for i := range uint32(80) {
		far = append(far, at(1, 0, i*100_000, 1000))
	}
	if n := len(plan(small, longestStretch)); n > maxSpans {
		t.Errorf("%d requests for small files that lie near each other, at most %d expected", n, maxSpans)
	}
	if n := len(plan(far, longestStretch)); n != len(far) {
		t.Errorf("%d requests for %d blobs that lie far from each other", n, len(far))
	}
	// The same id in another layout is another place.
	other := at(1, 0, 100, 100)
	other.Geometry.Epoch = 1
	if got := plan([]wanted{other, at(1, 0, 0, 100)}, longestStretch); len(got) != 2 {
		t.Errorf("%v", show(got))
	}
}

// TestPlanHolds: whatever is wanted, each blob is in one span, spans are in bounds, and little is read that is not wanted.
func TestPlanHolds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var want []wanted
		share := rng.IntN(100) + 1
		for p := range byte(rng.IntN(5) + 1) {
			for column := range 4 {
				for off := uint32(0); off < 8<<20; {
					n := uint32(rng.IntN(60_000) + 100)
					if off+n <= 8<<20 && rng.IntN(100) < share {
						want = append(want, at(p+1, column, off, n))
					}
					off += n
				}
			}
		}
		total, needed := len(want), int64(0)
		for i := range want {
			needed += int64(want[i].Stored)
		}
		rng.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
		list := plan(want, longestStretch)
		blobs, read := 0, int64(0)
		for _, s := range list {
			if len(s.spans) > maxSpans {
				t.Fatalf("%d spans at once", len(s.spans))
			}
			for _, x := range s.spans {
				read += x.to - x.from
				blobs += len(x.blobs)
				if x.from < s.from || x.to > s.to || x.to-x.from > longestStretch(x.first().Geometry) {
					t.Fatalf("span %d-%d of a stretch %d-%d", x.from, x.to, s.from, s.to)
				}
				if slices.ContainsFunc(x.blobs, func(w wanted) bool {
					return int64(w.Offset) < x.from || w.end() > x.to || !w.samePack(x.first()) || w.Column != x.first().Column
				}) {
					t.Fatal("a blob is not in its span")
				}
			}
		}
		if dense := total > 4*maxSpans; blobs != total || !dense && float64(read) > 1.05*float64(needed) || float64(read) > 1.05*float64(needed)+float64(total)*denseGap {
			t.Fatalf("%d of %d blobs, %d bytes for %d", blobs, total, read, needed)
		}
	}
}

// TestShelf: memory is used again, and what is kept stays in bounds.
func TestShelf(t *testing.T) {
	t.Parallel()
	s := shelf{limit: 10 << 20}
	a := s.take(1 << 20)
	s.put(a)
	if b := s.take(1<<20 - 100); &b[:1][0] != &a[:1][0] {
		t.Error("not used again")
	} else {
		s.put(b)
	}
	if b := s.take(10); cap(b) > shelfStep {
		t.Error("a large buffer is given out for a few bytes")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var out [][]byte
	for range 1000 {
		b := s.take(int64(rng.IntN(2 << 20)))
		out = append(out, b)
		if len(out) > 4 {
			i := rng.IntN(len(out))
			s.put(out[i])
			out = slices.Delete(out, i, i+1)
		}
		if s.held > s.limit {
			t.Fatalf("%d bytes are held", s.held)
		}
	}
}

// TestReach: on this machine less is read at once, and less is held.
func TestReach(t *testing.T) {
	t.Parallel()
	near, err := local.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	for _, c := range []struct {
		stores          []remote.Store
		g               pack.Geometry
		budget, longest int64
	}{
		{[]remote.Store{near}, pack.Geometry{K: 1}, 16 << 20, 4 << 20},
		{[]remote.Store{mem.New()}, pack.Geometry{K: 1}, 32 << 20, 32 << 20},
		{[]remote.Store{near, near, near}, pack.Geometry{K: 2, M: 1}, 16 << 20, 4 << 20},
		{[]remote.Store{near, nil, near}, pack.Geometry{K: 2, M: 1}, 48 << 20, 24 << 20},
		{[]remote.Store{near, mem.New(), near}, pack.Geometry{K: 2, M: 1}, 48 << 20, 24 << 20},
	} {
		set := stripe.New(c.stores, nil, stripe.Options{})
		defer set.Close()
		a := &Archive{placements: []Placement{{Geometry: c.g, Set: set}}}
		budget, longest := a.reach()
		if b, l := budget(c.g), longest(c.g); b != c.budget || l != c.longest {
			t.Errorf("%d stores, %+v: %d and %d, want %d and %d", len(c.stores), c.g, b, l, c.budget, c.longest)
		}
	}
}
