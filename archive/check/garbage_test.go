package check

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
)

// packs lists the packs below binaries/ that a member has.
func (b *bench) packs(member int) (ids []pack.ID) {
	b.t.Helper()
	for _, name := range b.objects(member, "binaries/") {
		id, _, ok := pack.ParseName(name)
		if !ok {
			b.t.Fatalf("object %s", name)
		}
		ids = append(ids, id)
	}
	return ids
}

// garbage makes an archive of which one snapshot was forgotten, and the packs that only that needed.
func garbage(t *testing.T, k, m int) (*bench, []pack.ID) {
	t.Helper()
	b := newBench(t, k, m)
	b.backup(map[string]byte{"a/1": 1, "a/2": 2}, 4000)
	before := b.packs(0)
	old := b.backup(map[string]byte{"b/3": 3}, 4000)
	ids := slices.DeleteFunc(b.packs(0), func(id pack.ID) bool { return slices.Contains(before, id) })
	b.backup(map[string]byte{"a/1": 1, "a/2": 5}, 4000)
	if _, err := b.open().Forget(t.Context(), []chunk.ID{old.ID}, archive.Record{Program: "test"}); err != nil {
		t.Fatal(err)
	}
	return b, ids
}

func (b *bench) condemn(ids ...pack.ID) {
	b.t.Helper()
	if err := b.open().PublishRecord(b.t.Context(), &archive.Record{Packs: ids, Program: "test"}, true); err != nil {
		b.t.Fatal(err)
	}
}

// fine fails unless a check with and one without a key find nothing wrong.
func (b *bench) fine(what string, condemned int) {
	b.t.Helper()
	for i, r := range []*Report{b.check(Options{}), b.check(Options{ReadData: true}), b.scrub(Options{})} {
		if r.Damaged+r.Lost+r.Lacking+r.Unreachable+r.Short+r.Waiting > 0 || r.Condemned != condemned || (condemned > 0) != (r.CondemnedBytes > 0) {
			b.t.Errorf("%s, check %d: %+v", what, i, r)
		}
	}
}

// TestCondemned: condemned packs are no damage, in whatever state they are, named or not.
func TestCondemned(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		b, ids := garbage(t, g[0], g[1])
		b.fine("forgotten", 0)
		b.condemn(ids...)
		b.fine("whole", len(ids))
		name := ids[0].Name(chunk.Data)
		data := b.read(0, name)
		for _, m := range mutations(name, data) {
			b.put(0, name, m.data)
			left := len(ids)
			if m.data == nil && len(b.mem) == 1 {
				left--
			}
			b.fine(m.name, left)
		}
		for i := range b.mem {
			for _, id := range ids {
				b.put(i, id.Name(chunk.Data), nil)
			}
		}
		b.fine("gone, and named still", 0)
	}
}

// TestCondemnedMeanwhile: a pack may be condemned and deleted at any moment of a check.
func TestCondemnedMeanwhile(t *testing.T) {
	t.Parallel()
	for at := range 6 {
		for _, keyless := range []bool{false, true} {
			b, ids := garbage(t, 2, 1)
			collect := func(context.Context) error {
				b.condemn(ids...)
				for i := range b.mem {
					for _, id := range ids[:1+i%2] { // one of them not everywhere
						b.put(i, id.Name(chunk.Data), nil)
					}
				}
				return nil
			}
			c := newChecker(b.open(), Options{ReadData: true, Patience: 1})
			steps := []func(context.Context) error{c.readRecords, c.copies, c.segments, c.listing, c.data, c.settle, c.losses, c.snapshots, c.again, c.garbage}
			c.packs = map[archive.PackName]*packState{}
			if keyless {
				c = newChecker(b.open(), Options{Patience: 1})
				c.keyless = true
				steps = []func(context.Context) error{c.readRecords, c.copies, c.inventory, c.scrub, c.again, c.garbage}
			}
			if at >= len(steps) {
				continue
			}
			r, err := c.run(t.Context(), slices.Insert(steps, at, collect)...)
			if err != nil || r.Damaged+r.Short+r.Lost > 0 {
				t.Errorf("before step %d, keyless %v: %v, %+v", at, keyless, err, r)
			}
		}
	}
}

// TestForged: a record that the root did not sign condemns nothing for who has the key, and hides no damage.
func TestForged(t *testing.T) {
	t.Parallel()
	b := three(t, 1, 0)
	stranger, err := seal.NewRoot(b.open().ID())
	if err != nil {
		t.Fatal(err)
	}
	ids := b.packs(0)
	b.condemn(ids[0]) // a true one, to be forged
	name := b.objects(0, "gc/")[0]
	object := b.read(0, name)
	b.put(0, name, nil)
	body, _, err := seal.CheckRecord(b.open().ID(), object)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := stranger.EncodeRecord(body)
	if err != nil {
		t.Fatal(err)
	}
	b.put(0, "gc/"+chunk.Sum(forged).String(), forged)
	data := b.read(0, ids[0].Name(chunk.Data))
	b.put(0, ids[0].Name(chunk.Data), nil)
	r := b.check(Options{})
	if r.FilesLost == 0 || r.Condemned > 0 || r.naming(ids[0].Name(chunk.Data)) == nil || r.naming("gc/"+chunk.Sum(forged).String()) == nil {
		t.Errorf("%+v", r)
	}
	b.put(0, ids[0].Name(chunk.Data), data)
	// Without a key nobody can tell, and says so.
	if r := b.scrub(Options{}); r.Condemned != 1 || r.Damaged > 0 {
		t.Errorf("without a key: %+v", r)
	}
	// A record that is no good under its name is damage, and counts for nobody.
	b.put(0, "gc/"+chunk.Sum([]byte("x")).String(), bytes.Clone(forged))
	if r := b.scrub(Options{}); r.Damaged != 1 || r.Lost > 0 {
		t.Errorf("a rotten record: %+v", r)
	}
}

// TestWaiting: what a snapshot needs and only a condemned pack holds is waiting for a collector, as long as it can be read.
func TestWaiting(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(map[string]byte{"a/1": 1}, 4000)
	b.backup(map[string]byte{"a/1": 1, "a/2": 2}, 4000)
	b.condemn(b.packs(0)...)
	r := b.check(Options{ReadData: true})
	if r.Damaged > 0 || r.Waiting == 0 || r.Condemned != 4 || len(r.Notes) != 2 || !strings.Contains(r.Notes[0].Text, "condemned") {
		t.Errorf("%+v", r)
	}
	for i := range b.mem {
		for _, name := range b.objects(i, "binaries/") {
			b.put(i, name, nil)
		}
	}
	if r := b.check(Options{}); r.FilesLost == 0 || r.Lost == 0 {
		t.Errorf("all is gone: %+v", r)
	}
}

// TestIncomplete: what a snapshot lacks that was never reported as done is a note.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	b.backup(map[string]byte{"a/1": 1}, 4000)
	before := b.packs(0)
	s := b.backup(map[string]byte{"a/1": 1, "b/2": 2}, 4000)
	for _, id := range b.packs(0) {
		if !slices.Contains(before, id) {
			b.put(0, id.Name(chunk.Data), nil)
			b.condemn(id)
		}
	}
	if r := b.check(Options{}); r.FilesLost == 0 {
		t.Errorf("with its mark: %+v", r)
	}
	b.put(0, "snapshots/"+s.ID.String()+".ok", nil)
	r := b.check(Options{ReadData: true})
	if r.Damaged > 0 || r.Incomplete != 1 || len(r.Notes) != 2 || !strings.Contains(fmt.Sprint(r.Notes), "never reported as done") {
		t.Errorf("%+v", r)
	}
}

// TestForgotten: a snapshot that is on some member though it was forgotten is garbage.
func TestForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	s := b.backup(map[string]byte{"a/1": 1}, 100)
	b.backup(map[string]byte{"a/1": 2}, 100)
	name := "snapshots/" + s.ID.String()
	object, mark := b.read(1, name), b.read(1, name+".ok")
	if _, err := b.open().Forget(t.Context(), []chunk.ID{s.ID}, archive.Record{Program: "test"}); err != nil {
		t.Fatal(err)
	}
	b.fine("forgotten", 0) // and nobody asks where the predecessor of the second is
	if r := b.check(Options{}); len(r.Notes) > 0 || r.Records != 1 {
		t.Errorf("%+v", r)
	}
	for _, left := range []map[string][]byte{{name: object}, {name + ".ok": mark}, {name: object, name + ".ok": mark}, {name: object[:100]}} {
		for n, data := range left {
			b.put(1, n, data)
		}
		b.fine(fmt.Sprint(len(left)), 0)
		if r := b.check(Options{}); r.Forgotten != 1 || r.Snapshots != 1 || len(r.Notes) > 0 {
			t.Errorf("%+v", r)
		}
		for n := range left {
			b.put(1, n, nil)
		}
	}
}

// TestForgottenMeanwhile: a snapshot that is forgotten while it is checked, and its packs collected, is a note.
func TestForgottenMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	s := b.backup(map[string]byte{"a/1": 1, "b/2": 2}, 4000)
	ids := b.packs(0)
	b.backup(map[string]byte{"a/1": 3}, 4000)
	forgetting := b.open()
	a := b.open()
	c := newChecker(a, Options{Patience: 1})
	c.packs = map[archive.PackName]*packState{}
	w := &walker{c: c, seen: map[treeKey]int32{}}
	if _, err := c.run(t.Context(), c.readRecords, c.copies, c.segments, c.listing, c.data, c.settle, func(ctx context.Context) error {
		if _, err := forgetting.Forget(ctx, []chunk.ID{s.ID}, archive.Record{Program: "test"}); err != nil {
			return err
		}
		b.condemn(ids...)
		for _, id := range ids {
			b.put(0, id.Name(chunk.Data), nil)
		}
		return w.snapshot(ctx, s) // which was listed before
	}, c.losses); err != nil || c.report.Damaged > 0 || len(c.report.Notes) != 1 || !strings.Contains(c.report.Notes[0].Text, "forgotten") {
		t.Errorf("%v, %+v", err, c.report)
	}
	if r := b.check(Options{}); r.Damaged > 0 || r.Snapshots != 1 {
		t.Errorf("%+v", r)
	}
}

// TestReplacedSegment: an index pack whose columns others name is garbage, whatever is left of it.
func TestReplacedSegment(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(map[string]byte{"a/1": 1, "a/2": 2}, 4000)
	name := b.objects(0, "index/")[0]
	id, _, _ := pack.ParseName(name)
	a := b.open()
	columns, err := a.ReadSegment(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.NewMover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.End()
	if err := m.Name(t.Context(), columns); err != nil {
		t.Fatal(err)
	}
	for i := range b.mem {
		b.put(i, name, nil)
		r := b.check(Options{ReadData: true})
		if left := i+1 < len(b.mem); r.Damaged+r.Lacking+r.Lost > 0 || r.Segments != 1 || (r.Unreferenced == 1) != left {
			t.Errorf("%d of %d shards deleted: %+v", i+1, len(b.mem), r)
		}
	}
}

// TestOutOfReach: a pack that was stored with few shards may be out of reach although the archive is not. That ends no check, and is no damage.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(map[string]byte{"a/1": 1}, 4000)
	whole := b.stores[2]
	b.stores[2] = fault.New(b.mem[2])
	b.stores[2].Set(fault.Rule{Op: fault.Put, Err: remote.ErrUnavailable})
	s := b.backup(map[string]byte{"a/1": 1, "b/2": 2}, 4000)
	b.stores[2] = whole
	for _, away := range []int{0, 1} {
		kept := b.stores[away]
		b.stores[away] = nil
		for _, o := range []Options{{}, {ReadData: true}} {
			r, err := b.tryCheck(o)
			if err != nil || r.Lost > 0 || r.Unreachable == 0 || r.Snapshots != 2 {
				t.Errorf("without member %d: %v, %+v", away, err, r)
				continue
			}
			named := slices.ContainsFunc(r.Damages, func(d Damage) bool { return d.Away && d.Snapshot == s.ID })
			if !named {
				t.Errorf("without member %d: %v", away, r.Damages)
			}
		}
		b.stores[away] = kept
	}
	if r := b.check(Options{}); r.Unreachable+r.Lost > 0 || r.Damaged == 0 {
		t.Errorf("with all members: %+v", r)
	}
}
