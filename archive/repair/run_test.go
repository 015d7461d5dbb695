package repair

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/fault"
)

var everything = []string{"binaries/", "index/", "keys/", "snapshots/"}

// TestHealsAll: E26: whatever is done to up to m shards or copies of each object, a repair finds exactly that, heals it to the same
// bytes, and leaves nothing for a second one to do.
func TestHealsAll(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(4, 4000)
	whole := b.state()
	for seed := range uint64(12) {
		want := b.hurt(seed, 2, everything...)
		a := b.open()
		if seed%2 == 1 {
			a = b.bare()
		}
		r, found := b.repair(a, Options{})
		if diff := cmp.Diff(want, found[Healed]); diff != "" || len(found[Left]) > 0 {
			t.Errorf("seed %d: left %v\n%s", seed, found[Left], diff)
		}
		if !r.Whole() || r.Degraded > 0 || r.Shards+r.Copies != len(want) || r.Packs != 8 || r.Segments != 4 || !slices.Equal(r.After, []int{12}) || len(r.Before) < 2 || r.BytesWritten == 0 {
			t.Errorf("seed %d: %+v", seed, r)
		}
		b.as(whole)
		if r, found := b.repair(a, Options{}); len(found) > 0 || !slices.Equal(r.Before, []int{12}) || r.BytesWritten > 0 {
			t.Errorf("seed %d: again: %v", seed, found)
		}
	}
	b.clean()
}

// TestCheckThenMissing: what a scrub found needs no second reading of everything.
func TestCheckThenMissing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(3, 4000)
	whole := b.state()
	want := b.hurt(7, 1, everything...)
	a := b.bare()
	if _, err := check.Shards(t.Context(), a, check.Options{Patience: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if r, found := b.repair(a, Options{Missing: true}); !slices.Equal(found[Healed], want) || !r.Whole() {
		t.Errorf("%v, want %v: %+v", found, want, r)
	}
	b.as(whole)
}

// TestRegions: a damaged byte anywhere in a shard is found, and the shard healed to the same bytes.
func TestRegions(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(1, 300_000)
	whole := b.state()
	for _, name := range append(b.objects(0, "binaries/"), b.objects(0, "index/")...) {
		size := len(b.read(0, name))
		sums := size - pack.HeaderSize - 4
		for _, at := range []int{0, 8, 11, 15, 60, 70, 100, 300, 1249, 1300, 2700, 2816, 2820, 2900, 2950, 3000, 4063, 4064, 4095,
			pack.HeaderSize, sums - 1, sums, sums + 3, sums + 4, size - 4000, size - 1200, size - 1} {
			for j := range b.mem {
				data := b.read(j, name)
				data[at] ^= 0x10
				b.put(j, name, data)
				r, found := b.repair(b.bare(), Options{})
				if len(found[Healed]) != 1 || r.Shards != 1 || !r.Whole() {
					t.Fatalf("byte %d of %s on %d: %v", at, name, j, found)
				}
				if !bytes.Equal(b.read(j, name), whole[j][name]) {
					t.Fatalf("byte %d of %s on %d: healed to something else", at, name, j)
				}
			}
		}
	}
	b.as(whole)
}

// TestBlocks: no shard is whole, but each block is good in k of them.
func TestBlocks(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(1, 1_500_000)
	whole := b.state()
	for _, name := range b.objects(0, "binaries/") {
		if len(b.read(0, name)) < 4*pack.BlockSize {
			continue
		}
		for j := range b.mem {
			data := b.read(j, name)
			data[pack.HeaderSize+j*pack.BlockSize+99] ^= 1
			b.put(j, name, data)
		}
	}
	if r, found := b.repair(b.bare(), Options{}); len(found[Healed]) != 3 || !r.Whole() || !slices.Equal(r.Before, []int{2, 0, 0, 1}) || !slices.Equal(r.After, []int{3}) {
		t.Errorf("%v: %+v", found, r)
	}
	b.as(whole)
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(2, 4000)
	want := b.hurt(3, 2, everything...)
	hurt := b.state()
	r, found := b.repair(b.open(), Options{DryRun: true})
	if diff := cmp.Diff(want, found[Planned]); diff != "" || len(found) != 1 || r.BytesWritten > 0 && r.Copies == 0 {
		t.Errorf("%+v\n%s", found, diff)
	}
	if !slices.Equal(r.Before, r.After) || r.Shards+r.Copies != len(want) || r.Degraded == 0 {
		t.Errorf("%+v", r)
	}
	b.as(hurt)
}

// TestMissing reads no shard that is listed in its length, and so does not see rot.
func TestMissing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(3, 4000)
	whole := b.state()
	names := b.objects(0, "binaries/")
	b.put(0, names[0], nil)
	b.put(1, names[1], b.read(1, names[1])[:5000])
	rotten := b.read(2, names[2])
	rotten[5000] ^= 1
	b.put(2, names[2], rotten)
	before := make([]int, len(b.stores))
	a := b.bare()
	for i, s := range b.stores {
		before[i] = s.Count(fault.Get)
	}
	r, found := b.repair(a, Options{Missing: true})
	gets := 0
	for i, s := range b.stores {
		gets += s.Count(fault.Get) - before[i]
	}
	// Two packs of six shards and one of each read back; 8 mirrored objects on six members, of which all are good.
	if want := 2*6 + 2 + 8*6; gets != want {
		t.Errorf("%d requests, want %d", gets, want)
	}
	if len(found[Healed]) != 2 || r.Shards != 2 || r.Read != 2 || !slices.Equal(r.Before, []int{7, 2}) || !slices.Equal(r.After, []int{9}) {
		t.Errorf("%v: %+v", found, r)
	}
	b.put(2, names[2], whole[2][names[2]])
	b.as(whole)
}

func TestLost(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(2, 4000)
	names := b.objects(0, "binaries/")
	b.put(0, names[0], nil)
	rotten := b.read(1, names[0])
	rotten[5000] ^= 1
	b.put(1, names[0], rotten)
	hurt := b.state()
	r, found := b.repair(b.open(), Options{})
	if r.LostCount != 1 || r.Lost[0].Pack.String() != names[0] || r.Lost[0].Good != 1 || r.Unsure || r.Whole() || r.Shards > 0 || len(found[Healed]) > 0 {
		t.Errorf("%+v, %v", r, found)
	}
	b.as(hurt)
	if r, _ := b.repair(b.bare(), Options{}); r.LostCount != 1 || !r.Unsure {
		t.Errorf("without a key: %+v", r)
	}
}

// TestAllGone: a pack of which no member lists anything is lost all the same, when an index segment names it.
func TestAllGone(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(2, 4000)
	name := b.objects(0, "binaries/")[0]
	for i := range b.mem {
		b.put(i, name, nil)
	}
	for _, missing := range []bool{false, true} {
		if r, _ := b.repair(b.open(), Options{Missing: missing}); r.LostCount != 1 || r.Lost[0].Pack.String() != name || r.Whole() {
			t.Errorf("missing %v: %+v", missing, r)
		}
	}
}

// TestOnItsWay: a pack of which the first reading finds too few shards, and that is whole when the index names it, is not lost.
func TestOnItsWay(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(2, 4000)
	name := b.objects(0, "binaries/")[0]
	id, _, _ := pack.ParseName(name)
	data := [][]byte{b.read(0, name), b.read(1, name)}
	b.put(0, name, nil)
	b.put(1, name, nil)
	r := newRun(b.open(), Options{})
	if err := r.survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.pack(t.Context(), archive.NameOf(id, chunk.Data)); err != nil || len(r.short) != 1 || r.report.Packs > 0 {
		t.Fatalf("%+v, %v", r.report, err)
	}
	b.put(0, name, data[0])
	b.put(1, name, data[1])
	if err := r.losses(t.Context()); err != nil || r.report.LostCount > 0 || r.report.Packs != 1 || !r.report.Whole() {
		t.Errorf("%+v, %v", r.report, err)
	}
}

// TestUnfinished: what no segment names and has too few shards is left alone.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(1, 4000)
	other := newBench(t, 2, 1)
	other.backup(1, 4000)
	name := b.objects(0, "index/")[0]
	litter := other.objects(0, "binaries/")[0]
	segment := b.read(0, name)
	b.put(0, litter, other.read(0, litter))
	if r, found := b.repair(b.open(), Options{}); r.Unfinished != 1 || !r.Whole() || len(found[Healed]) > 0 || r.Packs != 3 {
		t.Errorf("%+v, %v", r, found)
	}
	// An index pack that was cut short, too.
	b.put(0, litter, nil)
	b.put(1, name, nil)
	b.put(2, name, nil)
	b.put(0, name, nil)
	if _, err := b.open().RebuildIndex(t.Context(), archive.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	b.put(0, name, segment)
	if r, found := b.repair(b.open(), Options{}); r.Unfinished != 1 || !r.Whole() || len(found) > 0 {
		t.Errorf("%+v, %v", r, found)
	}
	if r, err := check.Run(t.Context(), b.open(), check.Options{ReadData: true, Patience: time.Millisecond}); err != nil || r.Damaged > 0 || r.Unreferenced != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
