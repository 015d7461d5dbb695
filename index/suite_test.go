package index

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

// index is what Index and Map have in common.
type index interface {
	Slot() int
	Apply(segment pack.ID, cols []pack.Column) error
	Applied(segment pack.ID) (bool, error)
	Segments() iter.Seq2[pack.ID, error]
	Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error
	Has(t chunk.Type, ids []chunk.ID, out []bool) error
	Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error
	Number(t chunk.Type, ids []chunk.ID, out []uint32) error
	Numbers() uint32
	Condemn(record chunk.ID, packs []pack.ID) error
	Noted(record chunk.ID) (bool, error)
	Condemned(id pack.ID) (bool, error)
	Retire(segment pack.ID) error
	SegmentPacks(segment pack.ID) ([]pack.ID, error)
	Wasteful() (bool, error)
	Waits() (bool, error)
	Vanished(id pack.ID) error
	Moved(packs []pack.ID) (stranded []pack.ID, live map[pack.ID]chunk.Type, err error)
	Copies(t chunk.Type) iter.Seq2[Copy, error]
	PutTreeRefs(number uint32, role byte, trees, data []uint32) error
	TreeRefs(number uint32, role byte) (trees, data []uint32, ok bool, err error)
	Flush() error
	Packs() iter.Seq2[PackInfo, error]
	Blobs(t chunk.Type) iter.Seq2[Blob, error]
	Stats() (Stats, error)
	Verify() error
	Drop() error
	Close() error
}

func TestMap(t *testing.T) {
	t.Parallel()
	suite(t, func(t *testing.T) index { return NewMap() })
}

func TestIndex(t *testing.T) {
	t.Parallel()
	suite(t, func(t *testing.T) index { return open(t, t.TempDir()+"/index", Options{}) })
}

func suite(t *testing.T, make func(t *testing.T) index) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, x index)
	}{
		{"empty", testEmpty}, {"round trip", testRoundTrip}, {"last wins", testLastWins}, {"repeated", testRepeated},
		{"conflict", testConflict}, {"refused", testRefused}, {"packs", testPacks}, {"blobs", testBlobs},
		{"loop", testLoop}, {"drop", testDrop}, {"closed", testClosed}, {"concurrent", testConcurrent},
		{"own memory", testOwnMemory}, {"condemned", testCondemned}, {"vanished", testVanished}, {"moved", testMoved}, {"retired", testRetired}, {"halves", testHalves},
		{"copies", testCopies}, {"numbers", testNumbers}, {"references", testRefs}, {"waste", testWaste},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := make(t)
			c.test(t, x)
			if err := x.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func testEmpty(t *testing.T, x index) {
	if got := lookup(t, x, chunk.Data, blobID(1), chunk.ID{}); got[0].Found() || got[1].Found() {
		t.Errorf("an empty index found %+v", got)
	}
	lookup(t, x, chunk.Tree)
	if n := len(collect(t, x.Packs())) + len(collect(t, x.Segments())) + len(collect(t, x.Blobs(chunk.Data))); n != 0 {
		t.Errorf("an empty index holds %d things", n)
	}
	if ok, err := x.Applied(packID(1)); ok || err != nil {
		t.Errorf("applied %v %v", ok, err)
	}
	if s, err := x.Stats(); err != nil || s.Data+s.Tree+s.Packs+s.Segments+s.Sessions != 0 {
		t.Errorf("stats %+v %v", s, err)
	}
	if x.Slot() != 0 {
		t.Errorf("slot %d", x.Slot())
	}
	if err := x.Verify(); err != nil {
		t.Errorf("verify: %v", err)
	}
	apply1(t, x, packID(7))
	if ok, err := x.Applied(packID(7)); !ok || err != nil {
		t.Errorf("empty segment applied %v %v", ok, err)
	}
}

func testRoundTrip(t *testing.T, x index) {
	cols := []pack.Column{
		column(1, 0, chunk.Data, 0, 40), column(1, 3, chunk.Data, 40, 60), column(2, 1, chunk.Tree, 0, 50), column(3, 0, chunk.Data, 0, 0),
	}
	apply1(t, x, packID(1000), cols...)
	expect(t, x, cols...)
	if got := lookup(t, x, chunk.Tree, blobID(60)); got[0].Found() {
		t.Errorf("a data blob was found among trees: %+v", got)
	}
	late := column(4, 2, chunk.Tree, 500, 10)
	apply1(t, x, pack.ID{}, late)
	expect(t, x, append(cols, late)...)
	if got, want := collect(t, x.Segments()), []pack.ID{packID(1000)}; !slices.Equal(got, want) {
		t.Errorf("segments %v", got)
	}
	s, err := x.Stats()
	s.Disk = 0
	if want := (Stats{Data: 100, Tree: 60, Packs: 4, Sessions: 6, Segments: 1}); err != nil || s != want {
		t.Errorf("stats %+v %v, want %+v", s, err, want)
	}
}

func testLastWins(t *testing.T, x index) {
	first, second := column(1, 0, chunk.Data, 0, 10), column(2, 1, chunk.Data, 5, 10)
	apply1(t, x, packID(1000), first)
	apply1(t, x, packID(1001), second)
	expect(t, x, second)
	third, fourth := column(3, 0, chunk.Data, 0, 1), column(4, 0, chunk.Data, 0, 1)
	apply1(t, x, pack.ID{}, third, fourth)
	expect(t, x, fourth)
	// Columns that were applied before change nothing.
	apply1(t, x, packID(1002), first)
	expect(t, x, second, fourth)
}

func testRepeated(t *testing.T, x index) {
	cols := []pack.Column{column(1, 0, chunk.Data, 0, 10), column(1, 1, chunk.Data, 10, 10)}
	apply1(t, x, pack.ID{}, cols[0])
	for range 2 {
		apply1(t, x, packID(1000), cols...)
		apply1(t, x, packID(1001), append(cols, cols...)...)
	}
	expect(t, x, cols...)
	if s, err := x.Stats(); err != nil || s.Data != 20 || s.Packs != 1 || s.Segments != 2 || s.Sessions != 3 {
		t.Errorf("stats %+v %v", s, err)
	}
}

func testConflict(t *testing.T, x index) {
	good := column(1, 0, chunk.Data, 0, 10)
	apply1(t, x, packID(1000), good)
	for what, change := range map[string]func(c *pack.Column){
		"kind":          func(c *pack.Column) { c.Kind = chunk.Tree },
		"geometry":      func(c *pack.Column) { c.Geometry.M++ },
		"column length": func(c *pack.Column) { c.L++ },
		"session":       func(c *pack.Column) { c.Session = session(55) },
	} {
		bad, alone := column(1, 1, chunk.Data, 20, 10), column(9, 0, chunk.Data, 20, 10)
		change(&bad)
		change(&alone)
		for _, cols := range [][]pack.Column{
			{column(2, 0, chunk.Data, 100, 10), bad},                                     // against the index
			{column(9, 1, chunk.Data, 20, 10), alone},                                    // against each other
			{column(2, 0, chunk.Data, 100, 10), alone, column(9, 1, chunk.Data, 100, 1)}, // the other way round
		} {
			var conflict *ConflictError
			if err := x.Apply(packID(1001), cols); !errors.As(err, &conflict) || conflict.What != what {
				t.Fatalf("%s: got %v", what, err)
			}
		}
		if ok, _ := x.Applied(packID(1001)); ok || lookup(t, x, chunk.Data, blobID(100))[0].Found() {
			t.Errorf("%s: something of a contradictory segment was written", what)
		}
	}
	apply1(t, x, packID(1002), column(1, 1, chunk.Data, 20, 10))
	expect(t, x, good, column(1, 1, chunk.Data, 20, 10))
}

func testRefused(t *testing.T, x index) {
	for what, change := range map[string]func(c *pack.Column){
		"zero pack":       func(c *pack.Column) { c.Pack = pack.ID{} },
		"kind":            func(c *pack.Column) { c.Kind = chunk.Index },
		"negative column": func(c *pack.Column) { c.Number = -1 },
		"parity column":   func(c *pack.Column) { c.Number = 4 },
		"geometry":        func(c *pack.Column) { c.Geometry.K = 33 },
		"session":         func(c *pack.Column) { c.Entries[0].Session = 3 },
		"wrap":            func(c *pack.Column) { c.Session.Wrap.HPKE = make([]byte, maxWrap+1) },
		"foreign wrap":    func(c *pack.Column) { c.Sessions[1].Wrap.Root = make([]byte, maxWrap+1) },
	} {
		c := column(1, 0, chunk.Data, 0, 10)
		change(&c)
		if err := x.Apply(packID(1000), []pack.Column{column(2, 0, chunk.Data, 50, 1), c}); err == nil {
			t.Errorf("%s: applied", what)
		}
	}
	if err := x.Lookup(chunk.Index, []chunk.ID{{}}, make([]pack.Location, 1)); err == nil {
		t.Error("index blobs were looked up")
	}
	if err := x.Lookup(chunk.Data, []chunk.ID{{}}, nil); err == nil {
		t.Error("looked up without room for the answer")
	}
	if err := x.Has(chunk.Data, nil, make([]bool, 1)); err == nil {
		t.Error("asked for more answers than questions")
	}
	if n := len(collect(t, x.Blobs(chunk.Data))); n != 0 {
		t.Errorf("%d blobs were written", n)
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 10))
}

func testPacks(t *testing.T, x index) {
	want := make(map[pack.ID]PackInfo)
	for n := range 20 {
		var columns uint32
		for c := range 4 {
			if (n>>c)&1 == 1 {
				col := column(n, c, chunk.Data, 10*n+c, 1)
				apply1(t, x, packID(1000+n), col)
				columns |= 1 << c
				want[packID(n)] = PackInfo{ID: col.Pack, Kind: col.Kind, Geometry: col.Geometry, L: col.L, Session: col.Session, Columns: columns,
					Number: uint32(n - 1 - n>>4), State: Live, Segments: 1}
			}
		}
	}
	got := make(map[pack.ID]PackInfo)
	for _, p := range collect(t, x.Packs()) {
		got[p.ID] = p
		if p.Complete() != (p.ID == packID(15)) {
			t.Errorf("columns %b: complete %v", p.Columns, p.Complete())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// testBlobs has more blobs than a page of scan and than a group of Apply.
func testBlobs(t *testing.T, x index) {
	const count = groupSize + pageSize + 1
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, count), column(2, 0, chunk.Tree, 0, pageSize))
	trees := column(2, 0, chunk.Tree, 0, pageSize)
	want := make(map[chunk.ID]pack.Location)
	for i, e := range trees.Entries {
		want[e.ID] = where(&trees, i)
	}
	var last chunk.ID
	for b, err := range x.Blobs(chunk.Tree) {
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Compare(last[:], b.ID[:]) >= 0 {
			t.Fatalf("%s after %s", b.ID, last)
		}
		same(t, want[b.ID], b.Location)
		last = b.ID
		delete(want, b.ID)
	}
	if len(want) > 0 {
		t.Errorf("%d trees were not listed", len(want))
	}
	if s, err := x.Stats(); err != nil || s.Data != count || s.Tree != pageSize {
		t.Errorf("stats %+v %v", s, err)
	}
	if n := len(collect(t, x.Blobs(chunk.Index))); n != 0 {
		t.Errorf("%d index blobs", n)
	}
	expect(t, x, column(1, 0, chunk.Data, 0, count))
}

func testLoop(t *testing.T, x index) {
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 100))
	n := 0
	for b := range x.Blobs(chunk.Data) {
		if n++; n == 50 {
			break
		}
		lookup(t, x, chunk.Data, b.ID)
		apply1(t, x, packID(1000+n), column(10+n, 0, chunk.Tree, n, 1))
	}
	if n := len(collect(t, x.Blobs(chunk.Tree))); n != 49 {
		t.Errorf("%d trees", n)
	}
}

func testDrop(t *testing.T, x index) {
	for range 2 {
		cols := []pack.Column{column(1, 0, chunk.Data, 0, 100), column(2, 0, chunk.Tree, 0, 10)}
		apply1(t, x, packID(1000), cols...)
		expect(t, x, cols...)
		if err := x.Drop(); err != nil {
			t.Fatal(err)
		}
		testEmpty2(t, x)
	}
}

func testEmpty2(t *testing.T, x index) {
	t.Helper()
	if s, err := x.Stats(); err != nil || s.Data+s.Tree+s.Packs+s.Segments+s.Sessions != 0 {
		t.Fatalf("stats %+v %v", s, err)
	}
	if lookup(t, x, chunk.Data, blobID(1))[0].Found() {
		t.Fatal("found in an empty index")
	}
}

func testClosed(t *testing.T, x index) {
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 10))
	for range 2 {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, applied := x.Applied(packID(1000))
	_, stats := x.Stats()
	_, noted := x.Noted(blobID(1))
	_, condemned := x.Condemned(packID(1))
	_, packs := x.SegmentPacks(packID(1000))
	_, waste := x.Wasteful()
	_, _, _, refs := x.TreeRefs(1, 0)
	for what, err := range map[string]error{
		"apply": x.Apply(packID(1), []pack.Column{column(3, 0, chunk.Data, 0, 10)}), "applied": applied, "stats": stats,
		"lookup": x.Lookup(chunk.Data, []chunk.ID{{}}, make([]pack.Location, 1)),
		"has":    x.Has(chunk.Data, []chunk.ID{{}}, make([]bool, 1)), "drop": x.Drop(), "verify": x.Verify(),
		"live":   x.Live(chunk.Data, []chunk.ID{{}}, make([]pack.ID, 1)),
		"number": x.Number(chunk.Data, []chunk.ID{{}}, make([]uint32, 1)),
		"noted":  noted, "condemned": condemned, "segment packs": packs, "wasteful": waste, "tree refs": refs,
		"condemn": x.Condemn(blobID(1), []pack.ID{packID(1)}), "retire": x.Retire(packID(1000)),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, err := range x.Blobs(chunk.Data) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("blobs: %v", err)
		}
	}
	for _, err := range x.Copies(chunk.Data) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("copies: %v", err)
		}
	}
}
