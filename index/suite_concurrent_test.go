package index

import (
	"slices"
	"sync"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

func testConcurrent(t *testing.T, x index) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 10 {
				c := column(g*10+i, i%4, chunk.Data, 1000*g+50*i, 50)
				apply1(t, x, packID(1000+g*10+i), c)
				out := make([]bool, len(c.Entries))
				if err := x.Has(chunk.Data, ids(1000*g+50*i, 50), out); err != nil || slices.Contains(out, false) {
					t.Error("not found", err)
				}
			}
		})
		wg.Go(func() {
			for i := range 10 {
				if err := x.Lookup(chunk.Data, []chunk.ID{blobID(1000*g + i*40)}, make([]pack.Location, 1)); err != nil {
					t.Error(err)
				}
				for range x.Blobs(chunk.Data) {
				}
				for range x.Packs() {
				}
				condemn(t, x, 100*g+i, 2000+10*g+i)
				if err := x.PutTreeRefs(uint32(i), byte(g), nil, []uint32{1}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for i := range 10 {
				other := column(500+g*10+i, 0, chunk.Data, 1000*g+50*i, 50)
				apply1(t, x, packID(1500+g*10+i), other)
				retired(t, x, 1500+g*10+i)
				if err := x.Live(chunk.Data, ids(1000*g+50*i, 50), make([]pack.ID, 50)); err != nil {
					t.Error(err)
				}
				for c, err := range x.Copies(chunk.Data) {
					if err != nil || c.Number == 0 {
						t.Error(c, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if s, err := x.Stats(); err != nil || s.Packs != 80 || s.Data != 2000 {
		t.Errorf("stats %+v %v", s, err)
	}
}

// testOwnMemory: the index must not keep what it is given.
func testOwnMemory(t *testing.T, x index) {
	c, again := column(1, 0, chunk.Data, 0, 10), column(1, 0, chunk.Data, 0, 10)
	apply1(t, x, packID(1000), c)
	clear(c.Session.Wrap.HPKE)
	clear(c.Sessions[0].Wrap.HPKE)
	clear(c.Entries)
	expect(t, x, again)
}
