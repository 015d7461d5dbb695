package prune

import (
	"math/rand/v2"
	"testing"

	"cairn/chunk"
	"cairn/snapshot"
)

// TestBitmap compares it with a map, across pages.
func TestBitmap(t *testing.T) {
	t.Parallel()
	var b bitmap
	want := map[uint32]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := uint32(rng.IntN(2000)) * uint32(1+rng.IntN(3)*pageBits/1000)
		switch had := want[n]; rng.IntN(3) {
		case 0:
			if b.remove(n) != had {
				t.Fatalf("remove %d, which was in: %t", n, had)
			}
			delete(want, n)
		default:
			if b.add(n) == had {
				t.Fatalf("add %d, which was in: %t", n, had)
			}
			want[n] = true
		}
		if b.has(n) != want[n] || b.len() != uint64(len(want)) {
			t.Fatalf("%d of %d numbers", b.len(), len(want))
		}
	}
	if b.has(1<<32-1) || b.remove(1<<32-1) {
		t.Error("the largest number is in")
	}
}

// TestReferences: what the plaintext of tree blobs refers to.
func TestReferences(t *testing.T) {
	t.Parallel()
	id := func(n byte) chunk.ID { return chunk.ID{n} }
	piece, err := snapshot.EncodePiece([]snapshot.Node{
		{Name: "dir", Type: snapshot.Dir, Content: []chunk.ID{id(1), id(2)}},
		{Name: "file", Type: snapshot.File, Size: 1, Content: []chunk.ID{id(3)}},
		{Name: "huge", Type: snapshot.File, Size: 1, Content: []chunk.ID{id(4)}, Depth: 2},
		{Name: "wide", Type: snapshot.Dir, Content: []chunk.ID{id(5)}, Depth: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := referencesOf(piece)
	if err != nil || len(r.trees) != 4 || len(r.data) != 1 || len(r.either) != 0 || r.data[0] != id(3) || r.trees[2] != id(4) || r.trees[3] != id(5) {
		t.Errorf("%+v, %v", r, err)
	}
	list, err := snapshot.EncodeList([]chunk.ID{id(6), id(7)})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = referencesOf(list); err != nil || len(r.either) != 2 || len(r.trees)+len(r.data) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for n := range piece {
		if _, err := referencesOf(piece[:n]); err == nil {
			t.Errorf("a piece cut off after %d bytes is taken", n)
		}
	}
	for n := range list {
		if _, err := referencesOf(list[:n]); err == nil {
			t.Errorf("a list cut off after %d bytes is taken", n)
		}
	}
}
