package archive

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

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
	// Each member: its card; index/, snapshots/ and keys/ listed once, gc/ twice; snapshot and mark. The quickest: keys/ once more and one slot.
	sum := func(list []int) (n int) {
		for _, i := range list {
			n += i
		}
		return n
	}
	for op, most := range map[fault.Op]int{fault.Get: 6 + 1, fault.Stat: 0, fault.List: 5*6 + 1, fault.Put: 2 * 6, fault.Delete: 0} {
		if n := sum(got[op]); n > most {
			t.Errorf("operation %d: %d requests, want at most %d", op, n, most)
		}
	}
}

// keepOpen is an index that outlives its archive, as one on disk does.
type keepOpen struct{ Index }

func (keepOpen) Close() error { return nil }
