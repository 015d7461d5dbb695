package index

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

func testCopies(t *testing.T, x index) {
	for n := 1; n <= 5; n++ {
		apply1(t, x, packID(1000+n), column(n, n%2, chunk.Data, 5*n, 6))
	}
	// Blob 10 is the last of pack 1 and the first of pack 2, and so on.
	apply1(t, x, packID(1006), column(6, 0, chunk.Data, 5, 26), column(6, 1, chunk.Data, 20, 1), column(7, 0, chunk.Tree, 0, 10))
	condemn(t, x, 1, 3)
	retired(t, x, 1002)
	type brief struct {
		Pack, Column int
		State        State
		Best         bool
	}
	packs := make(map[uint32]int)
	for _, p := range collect(t, x.Packs()) {
		for n := 1; n <= 7; n++ {
			if p.ID == packID(n) {
				packs[p.Number] = n
			}
		}
	}
	see := func() map[chunk.ID][]brief {
		t.Helper()
		seen := make(map[chunk.ID][]brief)
		var last chunk.ID
		for _, c := range collect(t, x.Copies(chunk.Data)) {
			if bytes.Compare(c.ID[:], last[:]) < 0 {
				t.Fatalf("%s after %s", c.ID, last)
			}
			last = c.ID
			var n [1]uint32
			if err := x.Number(chunk.Data, []chunk.ID{c.ID}, n[:]); err != nil || n[0] != c.Number || n[0] == 0 {
				t.Fatalf("number %d, want %d, %v", c.Number, n[0], err)
			}
			seen[c.ID] = append(seen[c.ID], brief{packs[c.Pack], int(c.Column), c.State, c.Best})
		}
		if len(seen) != 26 {
			t.Errorf("%d blobs", len(seen))
		}
		return seen
	}
	seen := see()
	for blob, want := range map[int][]brief{
		7:  {{1, 1, Live, false}, {6, 0, Live, true}},
		10: {{1, 1, Live, false}, {2, 0, Gone, false}, {6, 0, Live, true}},
		20: {{3, 1, Condemned, false}, {4, 0, Live, false}, {6, 0, Live, false}, {6, 1, Live, true}},
	} {
		if diff := cmp.Diff(want, seen[blobID(blob)]); diff != "" {
			t.Errorf("blob %d: %s", blob, diff)
		}
	}
	condemn(t, x, 2, 6)
	seen = see()
	for blob, want := range map[int][]brief{
		7:  {{1, 1, Live, true}, {6, 0, Condemned, false}},
		12: {{2, 0, Gone, false}, {6, 0, Condemned, true}},
		20: {{3, 1, Condemned, false}, {4, 0, Live, true}, {6, 0, Condemned, false}, {6, 1, Condemned, false}},
	} {
		if diff := cmp.Diff(want, seen[blobID(blob)]); diff != "" {
			t.Errorf("blob %d: %s", blob, diff)
		}
	}
	for c := range x.Copies(chunk.Data) { // it can be left
		if c.Pack > 0 {
			break
		}
	}
	var trees []Copy
	for _, c := range collect(t, x.Copies(chunk.Tree)) {
		trees = append(trees, c)
		if c.Stored == 0 || c.Plain == 0 || !c.Best || packs[c.Pack] != 7 {
			t.Errorf("%+v", c)
		}
	}
	if len(trees) != 10 || len(collect(t, x.Copies(chunk.Index))) != 0 {
		t.Errorf("%d trees", len(trees))
	}
}

// testNumbers: they stay while everything else comes and goes.
func testNumbers(t *testing.T, x index) {
	numbers := func() map[uint32]bool {
		t.Helper()
		seen := make(map[uint32]bool)
		for kind := chunk.Data; kind <= chunk.Tree; kind++ {
			out := make([]uint32, 60)
			if err := x.Number(kind, ids(0, 60), out); err != nil {
				t.Fatal(err)
			}
			for _, n := range out {
				if seen[n] && n > 0 {
					t.Fatalf("number %d twice", n)
				}
				seen[n] = true
			}
		}
		return seen
	}
	if x.Numbers() != 0 {
		t.Errorf("%d numbers", x.Numbers())
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 30), column(2, 0, chunk.Tree, 0, 20))
	apply1(t, x, packID(1001), column(3, 0, chunk.Data, 10, 30))
	before := numbers()
	if x.Numbers() != 60 || len(before) != 61 { // 40 + 20, and 0
		t.Errorf("%d numbers, %d in use", x.Numbers(), len(before))
	}
	condemn(t, x, 1, 1)
	retired(t, x, 1000)
	if diff := cmp.Diff(before, numbers()); diff != "" {
		t.Error(diff)
	}
	apply1(t, x, packID(1002), column(4, 0, chunk.Data, 0, 10))
	if diff := cmp.Diff(before, numbers()); diff != "" {
		t.Error(diff)
	}
	if err := x.Drop(); err != nil {
		t.Fatal(err)
	}
	if x.Numbers() != 0 || len(numbers()) != 1 {
		t.Errorf("after Drop %d numbers", x.Numbers())
	}
	if err := x.Number(chunk.Index, nil, nil); err == nil {
		t.Error("index blobs have numbers")
	}
	if err := x.Live(chunk.Data, nil, make([]pack.ID, 1)); err == nil {
		t.Error("asked for more answers than questions")
	}
}

func testRefs(t *testing.T, x index) {
	see := func(number uint32, role byte, trees, data []uint32, known bool) {
		t.Helper()
		gotTrees, gotData, ok, err := x.TreeRefs(number, role)
		if err != nil || ok != known {
			t.Fatalf("%v %v", ok, err)
		}
		if !slices.Equal(trees, gotTrees) || !slices.Equal(data, gotData) {
			t.Errorf("%d %d: got %d and %d, want %d and %d", number, role, len(gotTrees), len(gotData), len(trees), len(data))
		}
	}
	var long, odd []uint32 // in several parts
	for i := range uint32(200_000) {
		long = append(long, i*21_000)
		odd = append(odd, i*2+1)
	}
	for range 2 {
		see(1, 0, nil, nil, false)
		for _, put := range []struct {
			number      uint32
			role        byte
			trees, data []uint32
		}{{1, 0, []uint32{5, 3, 5}, []uint32{1<<32 - 1, 0}}, {1, 1, nil, []uint32{9}}, {2, 0, nil, nil}, {3, 255, odd, long}} {
			if err := x.PutTreeRefs(put.number, put.role, put.trees, put.data); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			see(1, 0, []uint32{3, 5}, []uint32{0, 1<<32 - 1}, true)
			see(1, 1, nil, []uint32{9}, true)
			see(2, 0, nil, nil, true)
			see(2, 1, nil, nil, false)
			see(3, 255, odd, long, true)
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.PutTreeRefs(9, 0, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := x.Drop(); err != nil {
			t.Fatal(err)
		}
		see(9, 0, nil, nil, false) // it was not flushed
		if err := x.Flush(); err != nil {
			t.Fatal(err)
		}
		see(9, 0, nil, nil, false)
	}
}

func testWaste(t *testing.T, x index) {
	wasteful := func() bool {
		t.Helper()
		ok, err := x.Wasteful()
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	apply1(t, x, packID(1000), column(1, 0, chunk.Data, 0, 100))
	retired(t, x, 1000)
	if wasteful() {
		t.Error("for 100 blobs")
	}
	// The same blobs many times: ids take time to make.
	big := column(2, 0, chunk.Data, 0, 100)
	for len(big.Entries) < wasteFrom/2 {
		big.Entries = append(big.Entries, big.Entries[:100]...)
	}
	again := big
	again.Pack, again.Number = packID(3), 1
	apply1(t, x, packID(1001), big)
	apply1(t, x, packID(1002), again)
	if wasteful() {
		t.Error("with little gone")
	}
	retired(t, x, 1001)
	if !wasteful() {
		t.Error("more than half is gone")
	}
	apply1(t, x, packID(1003), big)
	if wasteful() {
		t.Error("what is named again is no waste")
	}
}
