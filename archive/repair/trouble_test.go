package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

// TestMemberAway: what lies on a member that is away stays lacking and is counted, what is bad elsewhere is healed.
func TestMemberAway(t *testing.T) {
	t.Parallel()
	for _, missing := range []bool{false, true} {
		b := newBench(t, 4, 2)
		b.backup(2, 4000)
		whole := b.state()
		name := b.objects(0, "binaries/")[0]
		b.put(0, name, nil)
		b.stores[1] = nil
		r, found := b.repair(b.bare(), Options{Missing: missing})
		if len(found[Healed]) != 1 || len(found) != 1 || r.Degraded != 6 || !r.Whole() || !slices.Equal(r.Before, []int{0, 5, 1}) || !slices.Equal(r.After, []int{0, 6}) {
			t.Errorf("missing %v: %v, %+v", missing, found, r)
		}
		if len(r.Away) != 1 || len(r.Lacking) != 1 || r.Lacking[r.Away[0]] != 6 {
			t.Errorf("missing %v: %+v", missing, r)
		}
		b.as(whole)
	}
}

// TestUnreachable: a member that was opened and then answers nothing is away.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(2, 4000)
	name := b.objects(0, "binaries/")[0]
	b.put(0, name, nil)
	a := b.bare()
	b.stores[1].Set(fault.Rule{Err: remote.ErrUnavailable})
	r, found := b.repair(a, Options{})
	if r.Degraded != 6 || r.LostCount > 0 || r.Shards != 1 || len(r.Away) != 1 || len(found[Healed]) != 1 {
		t.Errorf("%v, %+v", found, r)
	}
}

func TestTooFew(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(1, 4000)
	b.stores[0], b.stores[1] = nil, nil
	if _, err := Run(t.Context(), b.bare(), Options{}); !errors.Is(err, stripe.ErrTooFew) {
		t.Errorf("%v", err)
	}
	// One shard is gone and one member away: nobody can say.
	b = newBench(t, 2, 1)
	b.backup(1, 4000)
	b.put(0, b.objects(0, "binaries/")[0], nil)
	b.stores[1] = nil
	if r, found := b.repair(b.bare(), Options{}); r.Undecided != 1 || r.Whole() || r.LostCount > 0 {
		t.Errorf("%v, %+v", found, r)
	}
}

// TestCards: a member whose card is damaged or gone gets it back, and with it its place.
func TestCards(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(2, 4000)
	whole := b.state()
	hurt := []byte(strings.Replace(string(b.read(3, "cairn.json")), `"data": 4`, `"data": 3`, 1))
	b.put(3, "cairn.json", hurt)
	b.put(4, "cairn.json", nil)
	name := b.objects(3, "binaries/")[0]
	b.put(3, name, nil)
	r, found := b.repair(b.open(), Options{DryRun: true})
	if len(found[Planned]) != 2 || r.Cards != 2 || r.Reopen {
		t.Errorf("%v, %+v", found, r)
	}
	r, found = b.repair(b.open(), Options{})
	if len(found[Healed]) != 2 || r.Cards != 2 || !r.Reopen || r.Shards > 0 {
		t.Fatalf("%v, %+v", found, r)
	}
	if r, found := b.repair(b.open(), Options{}); r.Cards > 0 || r.Reopen || len(found[Healed]) != 1 || !r.Whole() {
		t.Errorf("%v, %+v", found, r)
	}
	b.as(whole)
	// Without a key nobody can make one.
	b.put(3, "cairn.json", hurt)
	if r, found := b.repair(b.bare(), Options{}); len(found[Left]) != 1 || r.Whole() {
		t.Errorf("%v, %+v", found, r)
	}
}

// TestWriteFails: what cannot be written, or does not read back, is not called healed.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left")
	for what, rule := range map[string]fault.Rule{
		"put":  {Op: fault.Put, Err: full},
		"lost": {Op: fault.Put, Do: fault.Lose, Err: full}, // it is there, and nobody knows
		"rots": {Op: fault.Get, Do: fault.Flip},
	} {
		b := newBench(t, 2, 1)
		b.backup(1, 4000)
		whole := b.state()
		name, slot := b.objects(0, "binaries/")[0], b.objects(0, "keys/")[0]
		b.put(0, name, nil)
		b.put(0, slot, nil)
		a := b.bare()
		b.stores[0].Set(rule)
		r, found := b.repair(a, Options{Missing: true})
		if r.Shards+r.Copies > 0 && what != "rots" || !slices.Contains(found[Left], "0 "+name) || !slices.Contains(found[Left], "0 "+slot) || r.Whole() || r.Unwritten < 2 {
			t.Errorf("%s: %v, %+v", what, found, r)
		}
		if r.After[0] == 3 || r.Lacking["store0"] == 0 {
			t.Errorf("%s: %+v", what, r)
		}
		b.stores[0].Set()
		if r, found := b.repair(b.bare(), Options{}); !r.Whole() {
			t.Errorf("%s: again: %v, %+v", what, found, r)
		}
		b.as(whole)
	}
}

// TestRemovedMeanwhile: a snapshot that is removed while it is copied does not come back.
func TestRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(1, 4000)
	name := "snapshots/" + b.last.String()
	b.put(0, name, nil)
	a := b.bare()
	r := newRun(a, Options{})
	c, err := a.ReadCopies(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.put(0, name, c.Good) // the repair's
	if err := r.removed(t.Context(), c, []int{0}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.read(0, name), c.Good) {
		t.Error("it was taken back although the others have it")
	}
	b.put(1, name, nil)
	b.put(2, name, nil)
	if err := r.removed(t.Context(), c, []int{0}); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(b.objects(0, "snapshots/"), name) {
		t.Error("it came back")
	}
}

// TestRemovedKey: a key slot on few members was rather removed while they were away, and does not come back by itself.
func TestRemovedKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(1, 4000)
	name := b.objects(0, "keys/")[0]
	for i := range 4 {
		b.put(i, name, nil)
	}
	if r, found := b.repair(b.bare(), Options{}); r.Copies > 0 || !slices.Equal(found[Left], []string{" " + name}) || !r.Whole() {
		t.Errorf("%v, %+v", found, r)
	}
}

// TestTwoAtOnce: two repairs, with a backup beside them, do no harm.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(4, 4000)
	b.hurt(11, 2, everything...)
	one, two := b.open(), b.bare()
	var wg sync.WaitGroup
	for _, a := range []*archive.Archive{one, two} {
		wg.Go(func() {
			if r, err := Run(context.Background(), a, Options{}); err != nil || r.LostCount > 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	b.backup(1, 4000)
	wg.Wait()
	if r, _ := b.repair(b.open(), Options{}); !r.Whole() {
		t.Errorf("%+v", r)
	}
	b.clean()
}

// TestCancel: a repair that is stopped anywhere leaves an archive that the next one makes whole.
func TestCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(3, 4000)
	whole := b.state()
	for after := range 6 {
		b.hurt(uint64(after), 2, everything...)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		_, err := Run(ctx, b.bare(), Options{Found: func(Finding) {
			if n++; n > after*3 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d: %v", after*3, err)
		}
		if r, found := b.repair(b.bare(), Options{}); !r.Whole() {
			t.Errorf("%v, %+v", found, r)
		}
		b.as(whole)
		cancel()
	}
}

// TestLayouts: packs of former layouts are scrubbed and healed on their own members, by their own geometry.
func TestLayouts(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(2, 4000)
	a := b.open()
	b.add()
	b.add()
	ids := []string{"", a.Members()[2].ID, "", a.Members()[0].ID} // 2+2 over two old and two new ones; store1 is a former member
	c, err := a.PlanLayout(2, 2, ids)
	if err != nil {
		t.Fatal(err)
	}
	stores := map[string]remote.Store{c.New()[0]: b.mem[3], c.New()[1]: b.mem[4]}
	if _, err := a.WriteCards(t.Context(), c, stores); err != nil {
		t.Fatal(err)
	}
	b.backup(2, 4000)
	// The new members lack what is mirrored.
	if r, _ := b.repair(b.open(), Options{}); !r.Whole() || r.Copies == 0 || r.Shards > 0 || !slices.Equal(r.After, []int{12}) {
		t.Fatalf("%+v", r)
	}
	b.clean()
	whole := b.state()
	for seed := range uint64(6) {
		hurt := b.hurt(seed, 1, "binaries/", "index/")
		r, err := check.Shards(t.Context(), b.bare(), check.Options{Patience: time.Millisecond})
		if err != nil || r.Damaged+r.Lacking != len(hurt) || r.Short > 0 {
			t.Errorf("seed %d: %+v, %v: %v", seed, r, err, hurt)
		}
		if r, err := check.Run(t.Context(), b.open(), check.Options{ReadData: true, Patience: time.Millisecond}); err != nil || r.Damaged+r.Lacking != len(hurt) || r.Lost > 0 {
			t.Errorf("seed %d: with a key: %+v, %v", seed, r, err)
		}
		if r, found := b.repair(b.bare(), Options{}); !slices.Equal(found[Healed], hurt) || !r.Whole() {
			t.Errorf("seed %d: %v, want %v: %+v", seed, found, hurt, r)
		}
		b.as(whole)
	}
	// A shard on a member that is not of its pack's layout harms nothing.
	name := b.objects(1, "binaries/")[0]
	b.put(3, name, b.read(1, name))
	r, err := check.Shards(t.Context(), b.bare(), check.Options{Patience: time.Millisecond})
	if err != nil || r.Damaged > 0 || len(r.Notes) != 1 || !strings.Contains(fmt.Sprint(r.Notes), "store3") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestVanished: a pack that is removed beside a repair is no loss, and does not come back.
func TestVanished(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(2, 4000)
	name := b.objects(0, "binaries/")[0]
	id, _, _ := pack.ParseName(name)
	a := b.open()
	r := newRun(a, Options{})
	if err := r.survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range b.mem {
		b.put(i, name, nil)
	}
	if err := r.pack(t.Context(), archive.NameOf(id, chunk.Data)); err != nil || len(r.short) > 0 || r.report.Packs > 0 {
		t.Errorf("%+v, %v", r.report, err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(3, 4000)
	s, err := check.ParseSubset("1/2", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &Progress{}
	r, _ := b.repair(b.bare(), Options{Choose: s.Has, Progress: p})
	whole, _ := b.repair(b.bare(), Options{})
	if r.Packs+r.Segments == whole.Packs+whole.Segments || int(p.TotalPacks.Load()) != r.Packs+r.Segments || p.Bytes.Load() != p.TotalBytes.Load() {
		t.Errorf("%+v", r)
	}
}
