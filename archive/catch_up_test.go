package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

// inDir gives the archive a cache directory.
func (b *bench) inDir(dir string) Options {
	o := b.options()
	o.Dir = func(seal.ArchiveID) string { return dir }
	return o
}

// lack lists what a store lacks that any other has, shards of short packs excepted.
func (b *bench) lack(i int) (list []string) {
	for _, name := range b.names("") {
		if _, err := b.mem[i].Stat(b.t.Context(), name); err != nil {
			list = append(list, name)
		}
	}
	return list
}

// TestCatchUp: a member that was away for a backup has all of it after the next.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	for _, cache := range []bool{true, false} {
		b := newBench(t, 2, 1)
		o := b.options()
		if cache {
			o = b.inDir(t.TempDir())
		}
		b.save(b.openWith(o), blobs(1, 30, 5000)...)
		away := b.without(1)
		a := away.openWith(o)
		short := away.save(a, blobs(2, 30, 5000)...)
		if len(short.Degraded) == 0 {
			t.Fatal("not degraded")
		}
		r := a.CatchUp(t.Context(), nil)
		if r.Healed() > 0 || len(r.Errs) > 0 || len(r.Lacking) != 1 || !strings.Contains(r.Lacking[0], "store1") {
			t.Errorf("still away: %+v", r)
		}
		missing := len(b.lack(1))
		a = b.openWith(o)
		b.save(a, blobs(3, 30, 5000)...)
		// With the cache this machine knows the packs; without, the snapshot of the series names them.
		r = a.CatchUp(t.Context(), []*snapshot.Snapshot{short})
		if r.Healed() != missing || r.Copied["store1"] != 2 || r.Shards["store1"] != missing-2 || len(r.Errs)+len(r.Lacking)+len(r.Lost) > 0 {
			t.Errorf("cache %v: %d were lacking: %+v", cache, missing, r)
		}
		if left := b.lack(1); len(left) > 0 {
			t.Errorf("cache %v: still lacking %v", cache, left)
		}
		if r := a.CatchUp(t.Context(), []*snapshot.Snapshot{short}); r.Healed() > 0 || len(r.Lacking)+len(r.Errs) > 0 {
			t.Errorf("again: %+v", r)
		}
		if n := len(a.Suspects()); n > 0 {
			t.Errorf("%d shards are still suspected", n)
		}
		b.fetchAll(b.without(0).open(), blobs(2, 30, 5000))
	}
}

// TestCatchUpDamage: shards that a reader found bad are healed; what is lost is told and not tried again.
func TestCatchUpDamage(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 30, 5000)
	a := b.openWith(b.inDir(t.TempDir()))
	b.save(a, list...)
	at := b.locate(a, chunk.Sum(list[0]))
	name := at.Pack.Name(chunk.Data)
	change(t, b.shard(at.Pack, 2), name, flip(pack.HeaderSize+100))
	a.Suspect(at.Pack, at.Kind, 2)
	if r := a.CatchUp(t.Context(), nil); r.Healed() != 1 || r.Shards[fmt.Sprintf("store%d", b.onMember(at.Pack, 2))] != 1 || len(a.Suspects()) > 0 {
		t.Errorf("%+v", r)
	}
	remove(t, b.shard(at.Pack, 0), name)
	remove(t, b.shard(at.Pack, 1), name)
	a.Suspect(at.Pack, at.Kind, 1)
	if r := a.CatchUp(t.Context(), nil); r.Healed() != 0 || len(r.Lost) != 1 || r.Lost[0].Pack != at.Pack || len(a.Suspects()) > 0 {
		t.Errorf("%+v, %v", r, a.Suspects())
	}
	// A pack that was removed altogether is nothing to tell of.
	remove(t, b.shard(at.Pack, 2), name)
	a.Suspect(at.Pack, at.Kind, 0)
	if r := a.CatchUp(t.Context(), nil); r.Healed()+len(r.Lost)+len(r.Errs) > 0 || len(a.Suspects()) > 0 {
		t.Errorf("%+v, %v", r, a.Suspects())
	}
	// A member that takes nothing: that is told, and tried again by the next.
	other := b.locate(a, chunk.Sum(blobs(1, 30, 5000)[1]))
	for _, e := range list {
		if other = b.locate(a, chunk.Sum(e)); other.Pack != at.Pack {
			break
		}
	}
	full := b.onMember(other.Pack, 0)
	remove(t, b.mem[full], other.Pack.Name(chunk.Data))
	b.stores[full].Set(fault.Rule{Op: fault.Put})
	a.Suspect(other.Pack, other.Kind, 0)
	r := a.CatchUp(t.Context(), nil)
	if len(r.Errs) != 1 || !errors.Is(r.Errs[0], fault.ErrInjected) || len(r.Lacking) != 1 || len(a.Suspects()) != 1 {
		t.Errorf("%+v, %v", r, a.Suspects())
	}
}

// TestCatchUpCopies: incomplete snapshots, marks and slots are copied too, damaged copies written again, and a key slot that was
// removed while a member was away does not come back.
func TestCatchUpCopies(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	s := b.save(b.open(), blobs(1, 3, 500)...)
	name := snapshotPrefix + s.ID.String()
	slot := b.names(keyPrefix)[0]
	for what, hurt := range map[string]func(){
		"snapshot on one":  func() { remove(t, b.mem[0], name); remove(t, b.mem[2], name) },
		"mark on two":      func() { remove(t, b.mem[1], name+markSuffix) },
		"slot on two":      func() { remove(t, b.mem[2], slot) },
		"cut off snapshot": func() { change(t, b.mem[1], name, half) },
		"empty slot":       func() { change(t, b.mem[0], slot, empty) },
	} {
		hurt()
		r := b.open().CatchUp(t.Context(), nil)
		if r.Healed() == 0 || len(r.Errs)+len(r.Lacking)+len(r.Kept) > 0 {
			t.Errorf("%s: %+v", what, r)
		}
		for i := range b.mem {
			for _, n := range []string{name, name + markSuffix, slot} {
				if data, err := b.mem[i].Get(t.Context(), n, 0, -1, nil); err != nil || b.open().verifierOf(n)(data) != nil {
					t.Errorf("%s: %s on %d: %v", what, n, i, err)
				}
			}
		}
	}
	for i := range 2 {
		for _, n := range []string{name + markSuffix} {
			remove(t, b.mem[i], n)
		}
	}
	remove(t, b.mem[2], name+markSuffix)
	remove(t, b.mem[2], name)
	if r := b.open().CatchUp(t.Context(), nil); r.Copied["store2"] != 1 || r.Healed() != 1 {
		t.Errorf("incomplete snapshot: %+v", r)
	}
	a := b.open()
	second, err := seal.NewKeyFileSlot(a.Keys(), "second", [32]byte{3}, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.AddSlot(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	var said notices
	o := b.options()
	o.Notice = said.add
	if err := b.without(1).openWith(o).RemoveSlot(t.Context(), second.ID); err != nil || !strings.Contains(said.String(), "store1") {
		t.Errorf("%v, said %s", err, &said)
	}
	r := b.open().CatchUp(t.Context(), nil)
	if r.Healed() > 0 || len(r.Kept) != 1 || !strings.Contains(r.Kept[0], second.ID.String()) {
		t.Errorf("removed slot: %+v", r)
	}
}

func TestRepairsFile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := filepath.Join(t.TempDir(), "not", "yet")
	one, two := b.openWith(b.inDir(dir)), b.openWith(b.inDir(dir))
	want := map[Suspect]Suspicion{}
	var wg sync.WaitGroup
	for i := range 40 {
		id := pack.ID{byte(i)}
		want[Suspect{id, chunk.Data, i % 3}] = FoundBad
		for _, a := range []*Archive{one, two} {
			wg.Go(func() { a.Suspect(id, chunk.Tree, i%3); a.Suspect(id, chunk.Data, i%3) })
		}
	}
	wg.Wait()
	for _, a := range []*Archive{one, two} {
		if diff := cmp.Diff(want, a.Suspects()); diff != "" {
			t.Error(diff)
		}
	}
	name := filepath.Join(dir, "repairs")
	info, err := os.Stat(name)
	if err != nil || info.Size() > 80*repairRecord || info.Size() < 40*repairRecord {
		t.Errorf("%v bytes, %v", info, err)
	}
	for s := range want {
		if s.Shard == 0 {
			two.Repaired(s.Pack, s.Kind, s.Shard)
			delete(want, s)
		}
	}
	if diff := cmp.Diff(want, one.Suspects()); diff != "" {
		t.Error(diff)
	}
	// Out of range, torn, damaged.
	one.Suspect(pack.ID{1}, chunk.Data, -1)
	one.Suspect(pack.ID{1}, chunk.Data, pack.MaxShards)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append(slices.Clone(data), "torn"...)
	damaged[5] ^= 1
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	three := b.openWith(b.inDir(dir))
	if got := three.Suspects(); len(got) != len(want)-1 {
		t.Errorf("%d of %d are left", len(got), len(want))
	}
	three.Suspect(pack.ID{99}, chunk.Index, 2)
	if got := one.Suspects(); len(got) != len(want) || got[Suspect{pack.ID{99}, chunk.Index, 2}] != FoundBad {
		t.Errorf("after a torn record: %v", got)
	}
	for n := range len(damaged) {
		readSuspects(strings.NewReader(string(damaged[:n])))
	}
}

func FuzzSuspects(f *testing.F) {
	f.Add(appendSuspect(nil, Suspect{pack.ID{1}, chunk.Data, 2}, NotThere))
	f.Fuzz(func(t *testing.T, data []byte) {
		for s, why := range readSuspects(strings.NewReader(string(data))) {
			again := readSuspects(strings.NewReader(string(appendSuspect(nil, s, why))))
			if again[s] != why || s.Shard >= pack.MaxShards {
				t.Errorf("%v: %v", s, again)
			}
		}
	})
}

// TestHungMember: Open does not wait for a member that hangs when the others are enough.
func TestHungMember(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 10, 5000)
	b.save(b.open(), list...)
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, k: 2, m: 1, mem: b.mem, key: b.key, keys: b.keys}
		for _, s := range b.mem {
			b.stores = append(b.stores, fault.New(s))
		}
		b.stores[1].Set(fault.Rule{Do: fault.Hang})
		var said notices
		o := b.options()
		o.Notice = said.add
		begin := time.Now()
		a, err := OpenWithKeys(t.Context(), b.members(), b.keys, o)
		if took := time.Since(begin); err != nil || took != DefaultPatience {
			t.Fatalf("took %v: %v", took, err)
		}
		if len(a.Missing()) != 1 || !strings.Contains(said.String(), "store1 is left out of this run: it did not answer") {
			t.Errorf("missing %v, said %s", a.Missing(), &said)
		}
		b.fetchAll(a, list)
		// Two of three: too few, and that is said, too.
		b.stores[2].Set(fault.Rule{Do: fault.Hang})
		begin = time.Now()
		a, err = OpenWithKeys(t.Context(), b.members(), b.keys, o)
		if took := time.Since(begin); err != nil || took > patienceForEnough*DefaultPatience {
			t.Fatalf("took %v: %v", took, err)
		}
		if _, err := a.Index(t.Context()); !errors.Is(err, stripe.ErrTooFew) {
			t.Errorf("one of 2+1: %v", err)
		}
		// All: the caller's context decides.
		b.stores[0].Set(fault.Rule{Do: fault.Hang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := OpenWithKeys(ctx, b.members(), b.keys, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("none of 2+1: %v", err)
		}
	})
}

// TestRequests: what opening an archive of 4+2 and a backup of nothing new ask of the members.
func TestRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	list := blobs(1, 30, 5000)
	b.save(b.open(), list...)
	idx := index.NewMap()
	run := func() map[fault.Op][]int {
		before := map[fault.Op][]int{}
		ops := []fault.Op{fault.Get, fault.Stat, fault.List, fault.Put, fault.Delete}
		for _, op := range ops {
			for _, s := range b.stores {
				before[op] = append(before[op], s.Count(op))
			}
		}
		o := b.options()
		o.OpenIndex = func(seal.ArchiveID) (Index, error) { return keepOpen{idx}, nil }
		a, err := Open(t.Context(), b.members(), o)
		if err != nil {
			t.Fatal(err)
		}
		w, err := a.NewWriter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.SnapshotIDs(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if s, err := w.Save(t.Context(), chunk.Data, p); err != nil || s.New {
				t.Fatalf("%v, %v", s, err)
			}
		}
		if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
			t.Fatal(err)
		}
		if r := a.CatchUp(t.Context(), nil); len(r.Errs)+len(r.Lacking) > 0 || r.Healed() > 0 {
			t.Errorf("%+v", r)
		}
		for _, op := range ops {
			for i, s := range b.stores {
				before[op][i] = s.Count(op) - before[op][i]
			}
		}
		return before
	}
	run() // fills the index
	got := run()
	t.Logf("gets %v, stats %v, lists %v, puts %v, deletes %v", got[fault.Get], got[fault.Stat], got[fault.List], got[fault.Put], got[fault.Delete])
	// Each member: its card; index/, snapshots/ and keys/ listed once; snapshot and mark. The quickest: keys/ once more and one slot.
	sum := func(list []int) (n int) {
		for _, i := range list {
			n += i
		}
		return n
	}
	for op, most := range map[fault.Op]int{fault.Get: 6 + 1, fault.Stat: 0, fault.List: 3*6 + 1, fault.Put: 2 * 6, fault.Delete: 0} {
		if n := sum(got[op]); n > most {
			t.Errorf("operation %d: %d requests, want at most %d", op, n, most)
		}
	}
}

// keepOpen is an index that outlives its archive, as one on disk does.
type keepOpen struct{ Index }

func (keepOpen) Close() error { return nil }

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
