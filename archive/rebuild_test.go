package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

// TestRebuild: the directories of the shards give the index back, and it is published, so that a fresh machine can do with
// segments alone.
func TestRebuild(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}, {4, 2}} {
		for _, with := range []string{"index", "no index", "member missing", "damaged tails"} {
			t.Run(fmt.Sprintf("%d+%d/%s", g[0], g[1], with), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, g[0], g[1])
				a := b.open()
				data, trees := blobs(1, 100, 2500), blobs(2, 30, 200)
				w := b.writer(a)
				for _, p := range trees {
					if _, err := w.Save(t.Context(), chunk.Tree, p); err != nil {
						t.Fatal(err)
					}
				}
				for _, p := range data {
					if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
					t.Fatal(err)
				}
				for _, name := range b.names("index/") {
					for _, s := range b.mem {
						remove(t, s, name)
					}
				}
				if with != "index" {
					a = b.open()
				}
				switch {
				case with == "member missing" && g[1] > 0:
					c := *b
					c.stores = append([]*fault.Store{nil}, b.stores[1:]...)
					b = &c
					a = b.open()
				case with == "damaged tails":
					for _, name := range b.names("binaries/") {
						id, _, _ := pack.ParseName(name)
						change(t, b.shard(id, 0), name, func(d []byte) []byte { d[len(d)-10] ^= 1; return d })
					}
				}
				r, err := a.RebuildIndex(t.Context(), RebuildOptions{})
				if err != nil || r.Segments != 0 || r.Packs != len(b.names("binaries/")) || r.Blobs != 130 || len(r.Damaged) > 0 {
					t.Fatalf("%+v, %v", r, err)
				}
				fresh := b.open()
				b.fetchAll(fresh, data)
				for _, p := range trees {
					if _, err := fresh.LoadTree(t.Context(), chunk.Sum(p)); err != nil {
						t.Error(err)
					}
				}
				if r, err := fresh.RebuildIndex(t.Context(), RebuildOptions{}); err != nil || r.Packs != 0 || r.Published != 0 || r.Segments == 0 {
					t.Errorf("again: %+v, %v", r, err)
				}
			})
		}
	}
}

// TestRebuildInParts publishes more than one segment's worth.
func TestRebuildManyColumns(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	var all [][]byte
	for i := range 12 { // a session each, with a wrap of 1.2 KB
		list := blobs(byte(i), 2, 500)
		b.save(b.open(), list...)
		all = append(all, list...)
	}
	for _, name := range b.names("index/") {
		remove(t, b.mem[0], name)
	}
	a := b.open()
	if r, err := a.RebuildIndex(t.Context(), RebuildOptions{}); err != nil || r.Published != 12 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := len(b.names("index/")); n != 1 {
		t.Errorf("%d segments", n)
	}
	b.fetchAll(b.open(), all)
	// One column more than fits into a segment makes another one.
	var columns []pack.Column
	err := a.ReadSegments(t.Context(), func(_ pack.ID, c []pack.Column, err error) error { columns = c; return err })
	if err != nil {
		t.Fatal(err)
	}
	var many []pack.Column
	for size := 0; size <= maxSegments; {
		for _, c := range columns {
			c.Session.ID = seal.NewSessionID()
			c.Pack = pack.ID(chunk.Sum(c.Session.ID[:]))
			many = append(many, c)
			size += c.SegmentSize()
		}
	}
	w := b.writer(a)
	before := len(b.names("index/"))
	if err := w.putSegments(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if n := len(b.names("index/")) - before; n != 2 {
		t.Errorf("%d segments for %d columns", n, len(many))
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRebuildLeavesLitterAlone: what an upload left on fewer than k members is named only if it is the last of its kind.
func TestRebuildLeavesLitterAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 40, 1000)
	b.stores[1].Set(fault.Rule{Op: fault.Put, Name: "binaries/"})
	b.stores[2].Set(fault.Rule{Op: fault.Put, Name: "binaries/"})
	w := b.writer(b.open())
	for _, p := range list {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	var few *stripe.TooFewError
	if _, err := w.Commit(t.Context(), newSnapshot()); !errors.As(err, &few) {
		t.Fatal(err)
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	litter := b.names("binaries/")
	b.stores[1].Set()
	b.stores[2].Set()
	b.save(b.open(), list...)
	r, err := b.open().RebuildIndex(t.Context(), RebuildOptions{})
	if err != nil || r.Published != 0 {
		t.Errorf("%+v, %v: the litter is named", r, err)
	}
	for _, name := range b.names("binaries/") {
		if !strings.Contains(strings.Join(litter, " "), name) {
			for _, s := range b.mem {
				remove(t, s, name)
			}
		}
	}
	for _, name := range b.names("index/") {
		for _, s := range b.mem {
			remove(t, s, name)
		}
	}
	a := b.open()
	r, err = a.RebuildIndex(t.Context(), RebuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := b.fetch(a, ids(list))
	weak := 0 // member 0 has the litter: parity of some packs, a data column of others
	for _, name := range litter {
		if id, _, _ := pack.ParseName(name); pack.ShardOn(id, 0, 3) < 2 {
			weak++
		}
	}
	if len(got) != r.Restored || r.Weak != weak || (len(got) > 0) != (weak > 0) || r.Published != 0 {
		t.Errorf("%+v: %d blobs can be read, %d columns", r, len(got), weak)
	}
	// They were stored anew: one member may go now, and the litter too.
	for _, name := range litter {
		for _, s := range b.mem {
			remove(t, s, name)
		}
	}
	for i := range b.stores {
		c := *b
		c.stores = slices.Clone(b.stores)
		c.stores[i] = nil
		if again, err := c.fetch(c.open(), ids(list)); len(again) != len(got) {
			t.Errorf("%d blobs without member %d, %d before: %v", len(again), i, len(got), err)
		}
	}
}
