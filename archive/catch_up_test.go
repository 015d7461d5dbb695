package archive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/snapshot"
)

// inDir gives the archive a cache directory.
func (b *bench) inDir(dir string) Options { return withDir(b.options(), dir) }

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

// TestCatchUpHanging: a member that the backup gave up because it hangs holds up nothing after the commit for longer than a second, and is
// named.
func TestCatchUpHanging(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.openWith(b.inDir(t.TempDir()))
	b.stores[1].Set(fault.Rule{Err: remote.ErrUnavailable})
	short := b.save(a, blobs(1, 30, 5000)...)
	b.stores[1].Set(fault.Rule{Do: fault.Hang})
	if !a.Set().Members()[1].Benched || len(short.Degraded) == 0 {
		t.Fatalf("%+v, degraded %v", a.Set().Members()[1], short.Degraded)
	}
	begin := time.Now()
	r := a.CatchUp(t.Context(), []*snapshot.Snapshot{short})
	if took := time.Since(begin); took > 3*benchedWithin {
		t.Errorf("took %v", took)
	}
	if r.Healed() > 0 || len(r.Errs) > 0 || len(r.Lacking) != 1 || !strings.Contains(r.Lacking[0], "store1") {
		t.Errorf("%+v", r)
	}
	b.stores[1].Set()
	if r := b.open().CatchUp(t.Context(), []*snapshot.Snapshot{short}); r.Healed() == 0 || len(r.Errs)+len(r.Lacking) > 0 {
		t.Errorf("it is back: %+v", r)
	}
	if left := b.lack(1); len(left) > 0 {
		t.Errorf("still lacking %v", left)
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
