package archive

import (
	"errors"
	"testing"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
)

// TestRepairPack in all the ways a pack of 2+1 and one of 1+2 can be hurt.
func TestRepairPack(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{2, 1}, {1, 2}, {3, 3}} {
		b := newBench(t, g[0], g[1])
		list := blobs(1, 30, 15000)
		b.save(b.open(), list...)
		for _, keyless := range []bool{false, true} {
			a := b.open()
			at := b.locate(a, chunk.Sum(list[0]))
			if keyless {
				a = b.openWith(Options{})
			}
			b.repairs(a, at)
		}
		b.fetchAll(b.open(), list)
	}
}

func (b *bench) repairs(a *Archive, at pack.Location) {
	t, name, p := b.t, at.Pack.Name(chunk.Data), a.Placements()[0]
	n := b.k + b.m
	whole := make([][]byte, n)
	for j := range n {
		data, err := b.shard(at.Pack, j).Get(t.Context(), name, 0, -1, nil)
		if err != nil {
			t.Fatal(err)
		}
		whole[j] = data
	}
	payload := func(b []byte) []byte { return flip(pack.HeaderSize + 10)(b) }
	last := func(b []byte) []byte { return flip(int64(len(b)) - 1)(b) }
	for what, c := range map[string]struct {
		hurt  []func([]byte) []byte // the last shards; nil: removed
		state ShardState
	}{
		"removed": {hurt: []func([]byte) []byte{nil}, state: ShardMissing},
		"flipped": {hurt: []func([]byte) []byte{payload}, state: ShardBad},
		"header":  {hurt: []func([]byte) []byte{flip(100)}, state: ShardBad},
		"end":     {hurt: []func([]byte) []byte{last}, state: ShardBad},
		"cut off": {hurt: []func([]byte) []byte{half}, state: ShardBad},
		"empty":   {hurt: []func([]byte) []byte{empty}, state: ShardBad},
	} {
		hurt := map[int]bool{}
		for i, fn := range c.hurt {
			j := n - 1 - i
			hurt[j] = true
			if fn == nil {
				remove(t, b.shard(at.Pack, j), name)
			} else {
				change(t, b.shard(at.Pack, j), name, fn)
			}
		}
		dry, err := a.RepairPack(t.Context(), p, at.Pack, chunk.Data, RepairOptions{DryRun: true})
		if err != nil || dry.Healed() > 0 || dry.Whole() || dry.Lost != nil {
			t.Errorf("%s, dry: %+v, %v", what, dry, err)
		}
		r, err := a.RepairPack(t.Context(), p, at.Pack, chunk.Data, RepairOptions{})
		if err != nil || r.Healed() != len(hurt) || !r.Whole() || r.Size != pack.ShardSize(at.L) {
			t.Errorf("%s: %+v, %v", what, r, err)
			continue
		}
		for j := range n {
			if s := r.Shards[j]; hurt[j] != (s.Before != ShardGood) || hurt[j] && s.Before != c.state || hurt[j] != s.Written || (s.Err != nil) != hurt[j] {
				t.Errorf("%s: shard %d: %+v", what, j, s)
			}
			if got, err := b.shard(at.Pack, j).Get(t.Context(), name, 0, -1, nil); err != nil || string(got) != string(whole[j]) {
				t.Errorf("%s: shard %d is not what it was: %v", what, j, err)
			}
		}
	}
	// One more than m gone: lost, and nothing is written; away: not lost, nothing is known.
	for j := range b.m + 1 {
		remove(t, b.shard(at.Pack, j), name)
	}
	r, err := a.RepairPack(t.Context(), p, at.Pack, chunk.Data, RepairOptions{})
	var damage *PackDamage
	if before, after := r.Good(); err != nil || !errors.As(r.Lost, &damage) || before != b.k-1 || after != before {
		t.Errorf("lost: %+v, %v", r, err)
	}
	away := b.onMember(at.Pack, b.m+1-1)
	b.stores[away].Set(fault.Rule{Op: fault.Get, Err: remote.ErrUnavailable})
	if r, err = a.RepairPack(t.Context(), p, at.Pack, chunk.Data, RepairOptions{}); err != nil || r.Lost != nil || r.Healed() > 0 || r.Shards[b.m].Before != ShardAway {
		t.Errorf("away: %+v, %v", r, err)
	}
	b.stores[away].Set()
	for j := range b.m + 1 {
		if err := b.shard(at.Pack, j).Put(t.Context(), name, whole[j]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepairByBlocks: all shards of a pack are damaged, each in another block: any k of the others give each block.
func TestRepairByBlocks(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 20, 50_000)
	a := b.open()
	w, err := a.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.limits.target = 512 << 10
	for _, p := range list {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Fatal(err)
	}
	at := b.locate(a, chunk.Sum(list[0]))
	if pack.Blocks(at.L) < 3 {
		t.Fatalf("columns of %d bytes", at.L)
	}
	for j := range 3 {
		change(t, b.shard(at.Pack, j), at.Pack.Name(chunk.Data), flip(pack.HeaderSize+int64(j)*pack.BlockSize+7))
	}
	r, err := b.openWith(Options{}).RepairPack(t.Context(), a.Placements()[0], at.Pack, chunk.Data, RepairOptions{})
	if err != nil || !r.Salvaged || !r.Whole() || r.Healed() != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	for i := range 3 {
		b.fetchAll(b.without(i).open(), list)
	}
}
