package index

import (
	"maps"
	"slices"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

func ids(first, count int) []chunk.ID {
	var list []chunk.ID
	for i := range count {
		list = append(list, blobID(first+i))
	}
	return list
}

// live returns what Live says of one data blob.
func live(t *testing.T, x index, id chunk.ID) pack.ID {
	t.Helper()
	var out [1]pack.ID
	if err := x.Live(chunk.Data, []chunk.ID{id}, out[:]); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// foundIn checks in which pack a data blob is found, and whether that is live; a negative pack means: in none.
func foundIn(t *testing.T, x index, blob, in int, isLive bool) {
	t.Helper()
	var want, wantLive pack.ID
	if in >= 0 {
		want = packID(in)
	}
	if isLive {
		wantLive = want
	}
	if got := lookup(t, x, chunk.Data, blobID(blob))[0].Pack; got != want {
		t.Fatalf("blob %d is in pack %s, want %s", blob, got, want)
	}
	if got := live(t, x, blobID(blob)); got != wantLive {
		t.Fatalf("blob %d is live in pack %s, want %s", blob, got, wantLive)
	}
}

func condemn(t *testing.T, x index, record int, packs ...int) {
	t.Helper()
	var list []pack.ID
	for _, n := range packs {
		list = append(list, packID(n))
	}
	if err := x.Condemn(blobID(record), list); err != nil {
		t.Fatal(err)
	}
	if ok, err := x.Noted(blobID(record)); !ok || err != nil {
		t.Fatalf("noted %v %v", ok, err)
	}
	for _, id := range list {
		if ok, err := x.Condemned(id); !ok || err != nil {
			t.Fatalf("condemned %v %v", ok, err)
		}
	}
}

func retired(t *testing.T, x index, segment int) {
	t.Helper()
	if err := x.Retire(packID(segment)); err != nil {
		t.Fatal(err)
	}
	if ok, err := x.Applied(packID(segment)); ok || err != nil {
		t.Fatalf("a retired segment is applied: %v %v", ok, err)
	}
}

// stateOf returns state and number of naming segments of a pack.
func stateOf(t *testing.T, x index, n int) (State, int) {
	t.Helper()
	for _, p := range collect(t, x.Packs()) {
		if p.ID == packID(n) {
			return p.State, p.Segments
		}
	}
	t.Fatalf("pack %d is not listed", n)
	return 0, 0
}

func waits(t *testing.T, x index, want bool) {
	t.Helper()
	if got, err := x.Waits(); got != want || err != nil {
		t.Fatalf("waits %v, want %v, %v", got, want, err)
	}
}

func testCondemned(t *testing.T, x index) {
	if ok, err := x.Noted(blobID(1)); ok || err != nil {
		t.Fatalf("noted %v %v", ok, err)
	}
	if ok, err := x.Condemned(packID(1)); ok || err != nil {
		t.Fatalf("condemned %v %v", ok, err)
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 10), column(2, 0, chunk.Data, 5, 10))
	foundIn(t, x, 7, 2, true)
	waits(t, x, false)
	for range 2 {
		condemn(t, x, 1, 2, 3) // the index does not know 3
		waits(t, x, true)
		foundIn(t, x, 7, 1, true)
		foundIn(t, x, 12, 2, false)
	}
	apply1(t, x, packID(1001), column(3, 0, chunk.Data, 0, 20))
	foundIn(t, x, 7, 1, true)
	foundIn(t, x, 12, 3, false)
	condemn(t, x, 2, 1)
	condemn(t, x, 3)
	foundIn(t, x, 7, 3, false) // the last of three that are condemned
	for n := 1; n <= 3; n++ {
		if s, segments := stateOf(t, x, n); s != Condemned || segments != 1 {
			t.Errorf("pack %d is %s, %d segments", n, s, segments)
		}
	}
	// What a segment named is forgotten, that it is condemned is not.
	retired(t, x, 1000)
	retired(t, x, 1001)
	foundIn(t, x, 7, -1, false)
	waits(t, x, false)
	if s, segments := stateOf(t, x, 2); s != Condemned || segments != 0 {
		t.Errorf("%s, %d segments", s, segments)
	}
	apply1(t, x, packID(1002), column(2, 0, chunk.Data, 5, 10))
	foundIn(t, x, 7, 2, false)
	if err := x.Drop(); err != nil {
		t.Fatal(err)
	}
	if ok, err := x.Noted(blobID(1)); ok || err != nil {
		t.Errorf("noted after Drop: %v %v", ok, err)
	}
	if ok, err := x.Condemned(packID(1)); ok || err != nil {
		t.Errorf("condemned after Drop: %v %v", ok, err)
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 10))
	foundIn(t, x, 7, 1, true)
}

// What a condemned pack held is found in others when that is gone.
func testVanished(t *testing.T, x index) {
	vanished := func(n int) {
		t.Helper()
		if err := x.Vanished(packID(n)); err != nil {
			t.Fatal(err)
		}
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 10), column(2, 0, chunk.Data, 0, 10), column(3, 0, chunk.Data, 0, 5))
	vanished(3) // it is not condemned, and may come back
	foundIn(t, x, 3, 3, true)
	condemn(t, x, 1, 1, 2, 3)
	foundIn(t, x, 3, 3, false)
	vanished(3)
	vanished(7)
	foundIn(t, x, 3, 2, false)
	foundIn(t, x, 7, 2, false)
	vanished(2)
	foundIn(t, x, 3, 1, false)
	vanished(1)
	foundIn(t, x, 3, -1, false)
	apply1(t, x, packID(1001), column(4, 0, chunk.Data, 0, 5))
	foundIn(t, x, 3, 4, true)
	if err := x.Drop(); err != nil {
		t.Fatal(err)
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 10))
	foundIn(t, x, 3, 1, true)
}

func testRetired(t *testing.T, x index) {
	first, second, third := column(1, 0, chunk.Data, 0, 10), column(2, 0, chunk.Data, 5, 10), column(3, 0, chunk.Data, 100, 10)
	apply1(t, x, packID(1000), first, second)
	apply1(t, x, packID(1001), second)
	apply1(t, x, pack.ID{}, third)
	foundIn(t, x, 2, 1, true)
	for range 2 {
		retired(t, x, 1000)
		retired(t, x, 1005) // never applied
		foundIn(t, x, 2, -1, false)
		foundIn(t, x, 7, 2, true)
		foundIn(t, x, 102, 3, true)
	}
	if got, want := collect(t, x.Segments()), []pack.ID{packID(1001)}; !slices.Equal(got, want) {
		t.Errorf("segments %v", got)
	}
	for n, want := range map[int]State{1: Gone, 2: Live, 3: Live} {
		if s, segments := stateOf(t, x, n); s != want || segments != n%3/2 {
			t.Errorf("pack %d is %s, %d segments", n, s, segments)
		}
	}
	// Named anew, by another segment or by the same.
	apply1(t, x, packID(1002), first)
	expect(t, x, column(1, 0, chunk.Data, 0, 5), second)
	retired(t, x, 1002)
	foundIn(t, x, 2, -1, false)
	apply1(t, x, packID(1000), first, second)
	expect(t, x, column(1, 0, chunk.Data, 0, 5), second)
	retired(t, x, 1001)
	retired(t, x, 1000)
	foundIn(t, x, 7, -1, false)
	if n := len(collect(t, x.Blobs(chunk.Data))); n != 10 {
		t.Errorf("%d blobs are found", n)
	}
	if n := len(collect(t, x.Copies(chunk.Data))); n != 30 {
		t.Errorf("%d copies are known", n)
	}
	// What was applied without a segment stays, whatever else names it.
	apply1(t, x, packID(1003), third)
	retired(t, x, 1003)
	foundIn(t, x, 102, 3, true)
}

// testHalves: two segments name one half of a pack each.
func testHalves(t *testing.T, x index) {
	left, right := column(1, 0, chunk.Data, 0, 10), column(1, 1, chunk.Data, 10, 10)
	apply1(t, x, packID(1000), left)
	apply1(t, x, packID(1001), right)
	apply1(t, x, packID(1002))
	if s, segments := stateOf(t, x, 1); s != Live || segments != 2 {
		t.Errorf("%s, %d segments", s, segments)
	}
	retired(t, x, 1000)
	retired(t, x, 1002)
	foundIn(t, x, 3, -1, false)
	foundIn(t, x, 13, 1, true)
	if p := collect(t, x.Packs()); len(p) != 1 || p[0].Columns != 2 {
		t.Errorf("%+v", p)
	}
	apply1(t, x, packID(1003), left, right, column(2, 0, chunk.Data, 100, 1))
	expect(t, x, left, right)
	for segment, want := range map[int][]pack.ID{1000: nil, 1001: {packID(1)}, 1003: {packID(1), packID(2)}} {
		if got, err := x.SegmentPacks(packID(segment)); err != nil || !slices.Equal(got, want) {
			t.Errorf("segment %d: %v %v", segment, got, err)
		}
	}
	// A segment that is applied in pieces names all of them.
	apply1(t, x, packID(1001), left, column(3, 0, chunk.Data, 200, 1))
	retired(t, x, 1003)
	expect(t, x, left, right)
	foundIn(t, x, 100, -1, false)
	retired(t, x, 1001)
	foundIn(t, x, 200, -1, false)
}

// testMoved: whoever relied on condemned packs learns where their blobs are now, also when nothing names those packs any more.
func testMoved(t *testing.T, x index) {
	apply1(t, x, packID(100), column(1, 0, chunk.Data, 0, 20), column(1, 1, chunk.Data, 20, 20), column(2, 0, chunk.Data, 40, 20), column(3, 0, chunk.Tree, 0, 10))
	apply1(t, x, packID(101), column(4, 0, chunk.Data, 0, 40))
	apply1(t, x, packID(102), column(5, 0, chunk.Data, 40, 19), column(6, 0, chunk.Tree, 0, 10))
	condemn(t, x, 1, 1, 2, 3)
	for _, named := range []bool{true, false} {
		stranded, live, err := x.Moved([]pack.ID{packID(1), packID(2), packID(3), packID(9)})
		if err != nil {
			t.Fatal(err)
		}
		if want := []pack.ID{packID(2), packID(9)}; !slices.Equal(stranded, want) {
			t.Errorf("named: %v: stranded %v, want %v", named, stranded, want)
		}
		if want := map[pack.ID]chunk.Type{packID(4): chunk.Data, packID(5): chunk.Data, packID(6): chunk.Tree}; !maps.Equal(live, want) {
			t.Errorf("named: %v: live %v, want %v", named, live, want)
		}
		if err := x.Retire(packID(100)); err != nil {
			t.Fatal(err)
		}
	}
	condemn(t, x, 2, 4)
	stranded, live, err := x.Moved([]pack.ID{packID(1), packID(3)})
	if err != nil || len(stranded) != 1 || stranded[0] != packID(1) || len(live) != 1 {
		t.Errorf("the copies are condemned as well: stranded %v, live %v, %v", stranded, live, err)
	}
}
