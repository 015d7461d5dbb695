package index

import (
	"slices"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// TestManyPacks: a segment that names more packs than fit into one part, in several pages of states.
func TestManyPacks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	x := open(t, dir, Options{})
	const count = partNumbers + statePage + 5
	var cols []pack.Column
	var want []pack.ID
	for n := range count {
		c := column(n, 0, chunk.Data, n, 1)
		c.Session, c.Sessions = session(1), []pack.SessionWrap{session(2), session(3)}
		cols, want = append(cols, c), append(want, c.Pack)
	}
	apply1(t, x, packID(-1), cols...)
	apply1(t, x, packID(-2), cols[count-1])
	condemn(t, x, 1, count-2)
	mustClose(t, x)
	x = open(t, dir, Options{})
	if got, err := x.SegmentPacks(packID(-1)); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d packs, %v", len(got), err)
	}
	list := make([]pack.ID, count)
	if err := x.Live(chunk.Data, ids(0, count), list); err != nil {
		t.Fatal(err)
	}
	want[count-2] = pack.ID{}
	if !slices.Equal(list, want) {
		t.Error("not all are live, but the one that is condemned")
	}
	foundIn(t, x, count-2, count-2, false)
	retired(t, x, -1)
	foundIn(t, x, count-1, count-1, true)
	for _, n := range []int{0, statePage - 1, statePage, count - 2} {
		foundIn(t, x, n, -1, false)
	}
	if parts := collect(t, scan(x.d, []byte{prefixSegmentPacks}, decodeNothing)); len(parts) != 1 {
		t.Errorf("%d parts are left", len(parts))
	}
	apply1(t, x, packID(-3), cols...)
	expect(t, x, cols[:100]...)
}

// TestCutParts cuts an Apply short that adds a pack to a segment of several parts, which moves numbers from one to the next.
func TestCutParts(t *testing.T) {
	t.Parallel()
	c := &cutter{}
	dir := t.TempDir() + "/index"
	x := open(t, dir, Options{})
	first := column(0, 0, chunk.Data, 0, 1)
	apply1(t, x, packID(-1), first)
	var cols []pack.Column
	for n := range partNumbers + 3 {
		col := column(n+1, 0, chunk.Data, n, 0)
		col.Session, col.Sessions = session(1), nil
		cols = append(cols, col)
	}
	for n := 0; ; n++ {
		apply1(t, x, packID(-2), cols...)
		mustClose(t, x)
		x = open(t, dir, Options{writes: c.write})
		c.on, c.left = true, n
		err := x.Apply(packID(-2), []pack.Column{first})
		c.on = false
		mustClose(t, x)
		x = open(t, dir, Options{})
		retired(t, x, -2)
		for _, p := range collect(t, x.Packs()) {
			if want := min(1, int(p.Number)); p.Segments != 1-want {
				t.Fatalf("cut after %d writes: %d segments name pack %d", n, p.Segments, p.Number)
			}
		}
		if err == nil {
			if n < 5 {
				t.Errorf("it takes %d writes", n)
			}
			return
		}
	}
}

func TestMaxNamings(t *testing.T) {
	t.Parallel()
	p := packRecord{columns: 0b11}
	for s := uint32(1); s <= maxNamings; s++ {
		if !p.name(s, 0b01) || p.name(s, 0b01) {
			t.Fatalf("segment %d", s)
		}
	}
	if !p.name(maxNamings+1, 0b10) || p.segments() != maxNamings || p.named() != 0b11 {
		t.Errorf("%d segments, columns %b", p.segments(), p.named())
	}
	if b, err := parsePack(p.encode()); err != nil || len(b.names) != maxNamings+1 || len(p.encode()) > 11<<10 {
		t.Errorf("%d bytes, %v", len(p.encode()), err)
	}
	for s := uint32(1); s <= maxNamings+1; s++ {
		p.unname(s)
	}
	if p.segments() != 0 || p.named() != 0b10 {
		t.Errorf("%d segments, columns %b", p.segments(), p.named())
	}
}

func TestMaxCopies(t *testing.T) {
	t.Parallel()
	last, more := entry{pack: 0, number: 5}, []entry(nil)
	for n := uint32(1); n < maxCopies+50; n++ {
		last, more = addCopy(&last, more, entry{pack: n})
		last, more = addCopy(&last, more, entry{pack: n}) // nothing new
		if last.pack != n || last.number != 5 || !last.more || len(more) != min(int(n), maxCopies) || more[len(more)-1].pack != n-1 {
			t.Fatalf("%d: %+v, %d more", n, last, len(more))
		}
	}
	if n := len(encodeCopies(more)); n > 30<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	var none *seen
	if !none.add(new(chunk.ID)) {
		t.Error("without a filter all may be there")
	}
	s := new(seen)
	const count = 3*seenFirst + 10 // in two layers and a third
	wrong := 0
	for i := range count {
		if id := randomID(i); s.add(&id) {
			wrong++
		}
	}
	if len(s.layers) < 2 || wrong > count/25 {
		t.Errorf("%d layers, %d of %d were taken for seen", len(s.layers), wrong, count)
	}
	for i := range count {
		if id := randomID(i); !s.add(&id) {
			t.Fatalf("%d is not seen", i)
		}
	}
	s = &seen{layers: make([][][8]uint64, seenLayers)}
	for i := range s.layers {
		s.layers[i] = make([][8]uint64, 1)
	}
	for i := range 10 {
		if id := randomID(i); !s.add(&id) {
			t.Error("a full filter takes ids")
		}
	}
}
