package index

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

// TestModel does the same random operations to both indexes, closing and dropping one now and then.
func TestModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir() + "/index"
	x, m := open(t, dir, Options{}), NewMap()
	numbers := make(map[uint32]chunk.ID)
	for step := range 300 {
		switch n := rng.IntN(60); {
		case n == 0:
			if err := errors.Join(x.Drop(), m.Drop()); err != nil {
				t.Fatal(err)
			}
			clear(numbers)
		case n <= 6:
			mustClose(t, x)
			x = open(t, dir, Options{})
		default:
			op := randomOp(rng, step, 50, 120)
			if err := errors.Join(op(x), op(m)); err != nil {
				t.Fatal(err)
			}
		}
		if step%10 == 0 {
			compare(t, step, m, x, true)
			sameNumbers(t, x, numbers)
		}
	}
	mustClose(t, x)
}

// compare compares an Index with a Map. Unless they must be equal, the order in which copies were applied may differ.
func compare(t *testing.T, step int, m *Map, x *Index, equal bool) {
	t.Helper()
	want, got := packsByID(t, m), packsByID(t, x)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("step %d: %s", step, diff)
	}
	for kind := chunk.Data; kind <= chunk.Tree; kind++ {
		want, got := copiesOf(t, m, kind, equal), copiesOf(t, x, kind, equal)
		if !slices.Equal(want, got) {
			t.Fatalf("step %d: %s", step, gocmp.Diff(want, got))
		}
		compareBlobs(t, step, collect(t, m.Blobs(kind)), collect(t, x.Blobs(kind)), equal)
	}
	segments := collect(t, m.Segments())
	if diff := gocmp.Diff(segments, collect(t, x.Segments())); diff != "" {
		t.Fatalf("step %d: %s", step, diff)
	}
	for _, id := range segments {
		want, errM := m.SegmentPacks(id)
		got, errX := x.SegmentPacks(id)
		sortIDs(want)
		sortIDs(got)
		if applied, err := x.Applied(id); !slices.Equal(want, got) || !applied || errors.Join(errM, errX, err) != nil {
			t.Fatalf("step %d: segment %s: %v, want %v, applied %v, %v", step, id, got, want, applied, errors.Join(errM, errX, err))
		}
	}
	if waste, err := x.Wasteful(); waste || err != nil {
		t.Fatalf("step %d: wasteful %v %v", step, waste, err)
	}
}

func compareBlobs(t *testing.T, step int, want, got []Blob, equal bool) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("step %d: %d blobs, want %d", step, len(got), len(want))
	}
	for i := range want {
		if want[i].ID != got[i].ID {
			t.Fatalf("step %d: %s, want %s", step, got[i].ID, want[i].ID)
		}
		if equal || want[i].Pack == got[i].Pack && want[i].Column == got[i].Column {
			same(t, want[i].Location, got[i].Location)
		}
	}
}

func sortIDs(list []pack.ID) {
	slices.SortFunc(list, func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
}

// packsByID returns all packs without what two indexes may number otherwise.
func packsByID(t *testing.T, x index) map[pack.ID]PackInfo {
	t.Helper()
	list := make(map[pack.ID]PackInfo)
	for _, p := range collect(t, x.Packs()) {
		p.Number = 0
		list[p.ID] = p
	}
	return list
}

type modelCopy struct {
	Copy
	In pack.ID
}

// copiesOf returns all copies; without what depends on the order of those of one blob, unless they must be equal.
func copiesOf(t *testing.T, x index, kind chunk.Type, equal bool) []modelCopy {
	t.Helper()
	packs := packsByNumber(t, x)
	var list []modelCopy
	found := make(map[chunk.ID]State)
	for _, c := range collect(t, x.Copies(kind)) {
		if c.Best {
			if s, ok := found[c.ID]; ok {
				t.Fatalf("%s has two best copies, %s and %s", c.ID, s, c.State)
			}
			found[c.ID] = c.State
		}
		of := modelCopy{c, packs[c.Pack]}
		of.Pack, of.Number, of.Best = 0, 0, c.Best && equal
		list = append(list, of)
	}
	for _, c := range list {
		if best := found[c.ID]; c.State == Live && best != Live || c.State == Condemned && best == Gone {
			t.Fatalf("%s has a copy that is %s, but the best is %s", c.ID, c.State, best)
		}
	}
	if !equal {
		slices.SortFunc(list, func(a, b modelCopy) int {
			return cmp.Or(bytes.Compare(a.ID[:], b.ID[:]), bytes.Compare(a.In[:], b.In[:]), cmp.Compare(a.Column, b.Column))
		})
	}
	return list
}
