package archive

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/fault"
)

// TestListPacks: a listing that is too large for one is made by the levels of the pair-tree.
func TestListPacks(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	for i := range 300 {
		id := pack.ID{byte(i), byte(i * 7), byte(i / 3), byte(i >> 8)}
		for j := range 3 {
			if (i+j)%5 == 0 {
				continue
			}
			if err := b.shard(id, j).Put(t.Context(), id.Name(chunk.Data), make([]byte, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	type seen map[pack.ID][]ListedShard
	list := func(most int) seen {
		got := seen{}
		errs, err := a.listPacks(t.Context(), packPrefix, most, func(p *PackListing) error {
			if _, ok := got[p.Pack]; ok {
				t.Errorf("pack %s comes twice", p.Pack.Short())
			}
			slices.SortFunc(p.Shards, func(a, b ListedShard) int { return a.Member - b.Member })
			got[p.Pack] = p.Shards
			return nil
		})
		if err != nil || errors.Join(errs...) != nil {
			t.Fatal(err, errs)
		}
		return got
	}
	want := list(maxListed)
	if len(want) != 300 {
		t.Errorf("%d packs", len(want))
	}
	for _, most := range []int{100, 3} {
		if diff := cmp.Diff(want, list(most)); diff != "" {
			t.Errorf("at most %d: %s", most, diff)
		}
	}
	b.stores[1].Set(fault.Rule{Op: fault.List, Name: packPrefix})
	if errs, err := a.ListPacks(t.Context(), packPrefix, func(*PackListing) error { return nil }); err != nil || errs[1] == nil || errs[0] != nil {
		t.Errorf("%v, %v", errs, err)
	}
	stop := errors.New("stop")
	if _, err := a.ListPacks(t.Context(), packPrefix, func(*PackListing) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	dir := t.TempDir()
	b.save(b.openWith(b.inDir(dir)), blobs(1, 30, 5000)...)
	for _, o := range []Options{b.inDir(dir), {}} {
		s, err := b.openWith(o).Status(t.Context())
		if err != nil || s.Degraded() || s.Slots != 1 || s.Snapshots != 1 || s.Incomplete != 0 || s.IndexPacks != 1 || s.Reachable() != 3 || s.FoundBad+s.Noted+s.BadSlots > 0 {
			t.Errorf("%+v, %v", s, err)
		}
	}
	away := b.without(2)
	away.save(away.openWith(b.inDir(dir)), blobs(2, 30, 5000)...)
	s, err := away.openWith(b.inDir(dir)).Status(t.Context())
	if err != nil || !s.Degraded() || s.Reachable() != 2 || s.Members[2].Reachable || s.Noted == 0 {
		t.Errorf("away: %+v, %v", s, err)
	}
	s, err = b.openWith(b.inDir(dir)).Status(t.Context())
	if err != nil || !s.Degraded() || s.Reachable() != 3 || s.Members[2].LacksCopies != 2 || s.Members[2].LacksShards == 0 || s.Members[0].LacksCopies > 0 {
		t.Errorf("back: %+v, %v", s, err)
	}
	a := b.openWith(b.inDir(dir))
	a.CatchUp(t.Context(), nil)
	if s, err = a.Status(t.Context()); err != nil || s.Degraded() {
		t.Errorf("healed: %+v, %v", s, err)
	}
	change(t, b.mem[0], b.names(keyPrefix)[0], half)
	if s, err = a.Status(t.Context()); err != nil || s.Members[0].LacksCopies != 1 || s.Members[1].LacksCopies != 0 || s.Slots != 1 {
		t.Errorf("cut off slot: %+v, %v", s, err)
	}
	few, err := b.without(0, 1).openWith(Options{}).Status(t.Context())
	if err != nil || few.Reachable() != 1 {
		t.Errorf("%+v, %v", few, err)
	}
}
