package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// cutter lets so many writes through and then none.
type cutter struct {
	left int
	on   bool
}

func (c *cutter) write() error {
	if !c.on {
		return nil
	}
	if c.left--; c.left < 0 {
		return fmt.Errorf("cut: %w", ErrNoSpace)
	}
	return nil
}

// TestCut cuts random operations short after each of their writes. Then the index, as it is or opened again, must not call
// live what is not live before or after the operation, and must find what is live before and after it; and the operation
// done again must have the effect that it has on a Map.
func TestCut(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir() + "/index"
	c := &cutter{}
	x, m := open(t, dir, Options{writes: c.write}), NewMap()
	numbers := make(map[uint32]chunk.ID)
	for step := range 40 {
		op := randomOp(rng, step, 10, 6)
		before := liveIn(t, m)
		if err := op(m); err != nil {
			t.Fatal(err)
		}
		after := liveIn(t, m)
		for n := 0; ; n++ {
			c.on, c.left = true, n
			err := op(x)
			c.on = false
			if err == nil {
				break
			}
			if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			namesHold(t, x)
			between(t, fmt.Sprintf("step %d, cut after %d writes", step, n), liveIn(t, x), before, after)
			if n%5 == 1 {
				mustClose(t, x)
				x = open(t, dir, Options{writes: c.write})
				between(t, fmt.Sprintf("step %d, reopened after %d writes", step, n), liveIn(t, x), before, after)
			}
			// Most calls have a handful of writes, and those with many are much of a kind.
			n += rng.IntN(n/4 + 1)
		}
		compare(t, step, m, x, false)
		sameNumbers(t, x, numbers)
	}
	mustClose(t, x)
}

// TestCutAndGone: the segment of an Apply that was cut short vanishes before it is applied again. Nothing of it may stay live.
func TestCutAndGone(t *testing.T) {
	t.Parallel()
	c := &cutter{}
	dir := t.TempDir() + "/index"
	for n := 0; ; n++ {
		x := open(t, dir, Options{writes: c.write})
		if err := x.Drop(); err != nil {
			t.Fatal(err)
		}
		apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 3), column(2, 0, chunk.Data, 10, 3))
		c.on, c.left = true, n
		err := x.Apply(packID(1001), []pack.Column{column(1, 1, chunk.Data, 2, 5), column(3, 0, chunk.Data, 12, 3)})
		c.on = false
		mustClose(t, x)
		x = open(t, dir, Options{})
		for id, err := range x.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			if id == packID(1001) {
				if err := x.Retire(id); err != nil {
					t.Fatal(err)
				}
			}
		}
		expect(t, x, column(1, 0, chunk.Data, 0, 3), column(2, 0, chunk.Data, 10, 3))
		if n := len(collect(t, x.Blobs(chunk.Data))); n != 6 {
			t.Fatalf("%d blobs are found", n)
		}
		mustClose(t, x)
		if err == nil {
			return
		}
	}
}

// randomOp returns an operation that changes an index, the same one however often it is called, with so many packs of columns of
// less than size blobs.
func randomOp(rng *rand.Rand, step, packs, size int) func(x index) error {
	switch n := rng.IntN(10); {
	case n == 0:
		var list []pack.ID
		for range rng.IntN(4) {
			list = append(list, packID(rng.IntN(packs)))
		}
		return func(x index) error { return x.Condemn(blobID(100_000+step), list) }
	case n <= 3:
		segment := packID(1000 + max(0, step-rng.IntN(20)))
		return func(x index) error { return x.Retire(segment) }
	}
	var cols []pack.Column
	for range rng.IntN(4) {
		p := rng.IntN(packs)
		number := rng.IntN(4)
		of := rand.New(rand.NewPCG(uint64(p), uint64(number))) // a column of a pack is always the same
		cols = append(cols, column(p, number, chunk.Data+chunk.Type(p%2), of.IntN(10*packs), of.IntN(size)))
	}
	segment := packID(1000 + step)
	switch rng.IntN(12) {
	case 0:
		segment = pack.ID{}
	case 1, 2: // one that was applied, or retired
		segment = packID(1000 + max(0, step-rng.IntN(20)))
	}
	return func(x index) error { return x.Apply(segment, cols) }
}

type place struct {
	kind   chunk.Type
	id     chunk.ID
	pack   pack.ID
	column uint8
}

// liveIn returns the live copies, after comparing them with what Lookup and Live say.
func liveIn(t *testing.T, x index) map[place]bool {
	t.Helper()
	packs := packsByNumber(t, x)
	list := make(map[place]bool)
	for kind := chunk.Data; kind <= chunk.Tree; kind++ {
		want := make(map[chunk.ID]pack.ID)
		var known []chunk.ID
		for _, c := range collect(t, x.Copies(kind)) {
			if len(known) == 0 || known[len(known)-1] != c.ID {
				known = append(known, c.ID)
			}
			if c.State != Live {
				continue
			}
			list[place{kind, c.ID, packs[c.Pack], c.Column}] = true
			if c.Best {
				want[c.ID] = packs[c.Pack]
			}
		}
		got := make([]pack.ID, len(known))
		if err := x.Live(kind, known, got); err != nil {
			t.Fatal(err)
		}
		for i, id := range known {
			if got[i] != want[id] {
				t.Fatalf("Live says %s, Copies %s", got[i], want[id])
			}
		}
		lookup(t, x, kind, known...)
	}
	return list
}

func packsByNumber(t *testing.T, x index) map[uint32]pack.ID {
	t.Helper()
	packs := make(map[uint32]pack.ID)
	for _, p := range collect(t, x.Packs()) {
		packs[p.Number] = p.ID
	}
	return packs
}

func between(t *testing.T, what string, got, before, after map[place]bool) {
	t.Helper()
	for p := range got {
		if !before[p] && !after[p] {
			t.Fatalf("%s: %+v is live", what, p)
		}
	}
	for p := range before {
		if after[p] && !got[p] {
			t.Fatalf("%s: %+v is not live", what, p)
		}
	}
}

// namesHold checks that what an applied segment names counts as named.
func namesHold(t *testing.T, x index) {
	t.Helper()
	names := make(map[pack.ID]int)
	for _, segment := range collect(t, x.Segments()) {
		list, err := x.SegmentPacks(segment)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range list {
			names[id]++
		}
	}
	for _, p := range collect(t, x.Packs()) {
		if p.Segments < names[p.ID] {
			t.Fatalf("%d of %d applied segments name pack %s", p.Segments, names[p.ID], p.ID)
		}
	}
}

// sameNumbers checks that no number is of two blobs, now or since the map was made.
func sameNumbers(t *testing.T, x index, numbers map[uint32]chunk.ID) {
	t.Helper()
	for kind := chunk.Data; kind <= chunk.Tree; kind++ {
		for _, c := range collect(t, x.Copies(kind)) {
			id := c.ID
			id[0] ^= byte(kind)
			if was, ok := numbers[c.Number]; ok && was != id || c.Number == 0 || c.Number > x.Numbers() {
				t.Fatalf("%s has number %d, which is that of %s", id, c.Number, was)
			}
			numbers[c.Number] = id
		}
	}
}
