package index

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

// TestModel applies the same random segments to both indexes, closing and dropping one now and then.
func TestModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir() + "/index"
	x, m := open(t, dir, Options{}), NewMap()
	for step := range 150 {
		switch n := rng.IntN(20); {
		case n == 0 && rng.IntN(3) == 0:
			if err := errors.Join(x.Drop(), m.Drop()); err != nil {
				t.Fatal(err)
			}
		case n <= 2:
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			x = open(t, dir, Options{})
		default:
			var cols []pack.Column
			for range rng.IntN(4) {
				p := rng.IntN(50)
				cols = append(cols, column(p, rng.IntN(4), chunk.Data+chunk.Type(p%2), rng.IntN(500), rng.IntN(200)))
			}
			segment := packID(1000 + step)
			if n == 3 {
				segment = pack.ID{}
			}
			apply1(t, x, segment, cols...)
			apply1(t, m, segment, cols...)
		}
		if step%10 != 0 {
			continue
		}
		for kind := chunk.Data; kind <= chunk.Tree; kind++ {
			want, got := collect(t, m.Blobs(kind)), collect(t, x.Blobs(kind))
			if len(want) != len(got) {
				t.Fatalf("step %d: %d blobs, want %d", step, len(got), len(want))
			}
			for i := range want {
				if want[i].ID != got[i].ID {
					t.Fatalf("step %d: %s, want %s", step, got[i].ID, want[i].ID)
				}
				same(t, want[i].Location, got[i].Location)
			}
		}
		if diff := cmp.Diff(collect(t, m.Segments()), collect(t, x.Segments())); diff != "" {
			t.Fatalf("step %d: %s", step, diff)
		}
		if diff := cmp.Diff(sorted(collect(t, m.Packs())), sorted(collect(t, x.Packs()))); diff != "" {
			t.Fatalf("step %d: %s", step, diff)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

func sorted(list []PackInfo) []PackInfo {
	slices.SortFunc(list, func(a, b PackInfo) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list
}
