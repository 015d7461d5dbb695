package archive

import (
	"crypto/rand"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// TestOneLongPack: a blob that is too large for a column of target length goes into the pack that is long already, and when that
// has no room, makes no other one long.
func TestOneLongPack(t *testing.T) {
	t.Parallel()
	keys, err := seal.NewRoot(seal.NewArchiveID())
	if err != nil {
		t.Fatal(err)
	}
	session, err := keys.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	const target = 64 << 10
	packs := make([]*pack.Writer, 2)
	for i := range packs {
		packs[i] = pack.NewWriter(keys, session, chunk.Data, pack.Geometry{K: 2, M: 1, Epoch: 1}, target)
	}
	add := func(p *pack.Writer, n int) {
		t.Helper()
		id := chunk.ID{}
		rand.Read(id[:])
		_, err := p.Add(seal.Sealed{ID: id, Type: chunk.Data, Plain: uint32(n - 28), Session: session.ID()}, make([]byte, n), nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	const large = target + 10_000
	if room := withRoom(packs, large); len(room) != 2 {
		t.Fatalf("two empty packs: %d have room", len(room))
	}
	add(packs[1], large)
	if !packs[1].Long() || packs[0].Long() {
		t.Fatal("which pack is long?")
	}
	if room := withRoom(packs, large); len(room) != 1 || room[0] != packs[1] {
		t.Errorf("a second large blob may go to %d packs", len(room))
	}
	if room := withRoom(packs, 1000); len(room) != 2 {
		t.Errorf("a small blob may go to %d packs", len(room))
	}
	add(packs[1], large) // the other column
	if room := withRoom(packs, large); len(room) != 0 {
		t.Errorf("the long pack is full, and %d packs may take a large blob", len(room))
	}
	w := &Writer{open: map[chunk.Type][]*pack.Writer{chunk.Data: packs}}
	if full := w.takeFull(chunk.Data, large); full == nil || !full.Long() {
		t.Error("the long pack is not the one that is stored")
	}
	for n, g := range map[int]pack.Geometry{2: {K: 4, M: 2}, 1: {K: 10, M: 4}} {
		if got := uploadsAt(g); got != n {
			t.Errorf("%d+%d: %d packs on their way, want %d", g.K, g.M, got, n)
		}
	}
}
