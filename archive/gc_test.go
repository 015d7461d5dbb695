package archive

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/snapshot"
)

// condemn publishes a record as a collector does.
func (b *bench) condemn(a *Archive, packs ...pack.ID) {
	b.t.Helper()
	if err := a.PublishRecord(b.t.Context(), &Record{Packs: packs, Time: time.Unix(1, 0)}, true); err != nil {
		b.t.Fatal(err)
	}
}

// delete removes packs from all members.
func (b *bench) delete(packs ...pack.ID) {
	b.t.Helper()
	for _, id := range packs {
		for _, s := range b.mem {
			remove(b.t, s, id.Name(chunk.Data))
		}
	}
}

func (b *bench) packsOf(a *Archive, list [][]byte) []pack.ID {
	b.t.Helper()
	var packs []pack.ID
	for _, id := range ids(list) {
		if p := b.locate(a, id).Pack; !slices.Contains(packs, p) {
			packs = append(packs, p)
		}
	}
	return packs
}

func TestForget(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	a := b.open()
	first, second := b.save(a, blobs(1, 2, 1000)...), b.save(a, blobs(2, 2, 1000)...)
	away := b.stores[2]
	b.stores[2] = nil
	a = b.open()
	report, err := a.Forget(t.Context(), []chunk.ID{first.ID}, Record{Time: time.Unix(5, 0)})
	if err != nil || len(report.Away) != 1 {
		t.Fatalf("forget: %+v %v", report, err)
	}
	b.stores[2] = away
	a = b.open() // the member that was away brings the snapshot back, and nobody takes notice
	list, damaged, err := a.Snapshots(t.Context())
	if err != nil || len(damaged) > 0 || len(list) != 1 || list[0].ID != second.ID {
		t.Errorf("snapshots %v %v %v", list, damaged, err)
	}
	if !a.Forgotten(first.ID) || a.Forgotten(second.ID) {
		t.Error("forgotten is the wrong one")
	}
	if r := a.CatchUp(t.Context(), nil); len(r.Errs) > 0 {
		t.Error(r.Errs)
	}
	for i, s := range b.mem[:2] {
		if _, err := s.Stat(t.Context(), snapshotPrefix+first.ID.String()); err == nil {
			t.Errorf("member %d has it again", i)
		}
	}
	if _, err := b.mem[2].Stat(t.Context(), recordPrefix+report.Record.String()); err != nil {
		t.Errorf("the record did not reach the member that was away: %v", err)
	}
}

// move takes packs away from all members, or brings them back.
func (b *bench) move(packs []pack.ID, away bool) {
	b.t.Helper()
	for _, id := range packs {
		from, to := id.Name(chunk.Data), "away/"+id.Name(chunk.Data)
		if !away {
			from, to = to, from
		}
		for _, s := range b.mem {
			data, err := s.Get(b.t.Context(), from, 0, -1, nil)
			if errors.Is(err, remote.ErrNotExist) {
				continue
			}
			if err := errors.Join(err, s.Put(b.t.Context(), to, data)); err != nil {
				b.t.Fatal(err)
			}
			remove(b.t, s, from)
		}
	}
}

// Blobs that are in several condemned packs are found in the one that is there: a client names its pack, too, when that was condemned and
// deleted before.
func TestCondemnedCopies(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 8, 20_000)
	a := b.open()
	var copies [][]pack.ID
	for range 3 {
		b.save(a, list...)
		copies = append(copies, b.packsOf(a, list))
		b.condemn(a, copies[len(copies)-1]...)
	}
	for _, left := range []int{0, 2} {
		for n, packs := range copies {
			if n != left {
				b.move(packs, true)
			}
		}
		b.fetchAll(b.open(), list)
		reader := b.open()
		for _, id := range ids(list) {
			if _, err := reader.Load(t.Context(), chunk.Data, id); err != nil {
				t.Errorf("with copy %d: %v", left, err)
			}
		}
		b.move(slices.Concat(copies...), false)
	}
}

// A changed copy of a snapshot that was forgotten meanwhile is not reported as done: what both need may be gone already, without a trace in
// the index.
func TestReplaceForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	a := b.open()
	s := b.save(a, blobs(1, 2, 1000)...)
	changed := *s
	changed.Tags = []string{"late"}
	if _, err := b.open().Forget(t.Context(), []chunk.ID{s.ID}, Record{Time: time.Unix(5, 0)}); err != nil {
		t.Fatal(err)
	}
	if id, err := a.Replace(t.Context(), s, &changed); !errors.Is(err, errForgottenMeanwhile) {
		t.Errorf("replaced by %s: %v", id.Short(), err)
	}
	if list, _, err := b.open().Snapshots(t.Context()); err != nil || slices.ContainsFunc(list, func(s *snapshot.Snapshot) bool { return !s.Incomplete }) {
		t.Errorf("snapshots %v %v", list, err)
	}
}

// Records that the root did not sign do not count, and do not stop anybody.
func TestForgedRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	s := b.save(a, blobs(1, 2, 1000)...)
	writer, err := a.keys.NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	body, err := (&Record{Snapshots: []chunk.ID{s.ID}, Time: time.Unix(1, 0)}).encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.EncodeRecord(body); err == nil {
		t.Error("a writer key signs records")
	}
	good, err := a.keys.EncodeRecord(body)
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.NewRoot(a.id)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.EncodeRecord(body)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[80] ^= 1
	for _, object := range [][]byte{forged, flipped, good[:40], []byte("rubbish")} {
		if err := b.mem[0].Put(t.Context(), recordPrefix+chunk.Sum(object).String(), object); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.mem[0].Put(t.Context(), recordPrefix+strings.Repeat("ab", 32), good); err != nil {
		t.Fatal(err)
	}
	var heard notices
	o := b.options()
	o.Notice = heard.add
	a = b.openWith(o)
	if list, _, err := a.Snapshots(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%d snapshots, %v", len(list), err)
	}
	if n := strings.Count(heard.String(), "is left out"); n != 4 {
		t.Errorf("%d notices, want 4:\n%s", n, &heard)
	}
	if _, err := a.Records(t.Context()); err != nil || len(heard.list) != 5 {
		t.Errorf("told again: %v\n%s", err, &heard)
	}
	// One that is not what its name says may have been a good one.
	var damage *RecordDamage
	if _, err := a.NewWriter(t.Context()); !errors.As(err, &damage) || !strings.Contains(remote.Hint(err), "repair") {
		t.Errorf("a session: %v", err)
	}
	remove(t, b.mem[0], recordPrefix+strings.Repeat("ab", 32))
	b.save(b.open(), blobs(2, 2, 1000)...)
}

// TestUnreadRecord: a record that a member cannot read stops who writes and nobody else, also when it comes while a snapshot is published. What
// it condemned and is gone is condemned by the one in its place.
func TestUnreadRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	first := blobs(1, 4, 1000)
	b.save(a, first...)
	second := blobs(2, 4, 1000)
	s := b.save(a, second...)
	w, err := b.open().NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := b.packsOf(a, first)
	b.condemn(a, gone...)
	b.delete(gone...)
	name := b.names(recordPrefix)[0]
	b.stores[0].Set(fault.Rule{Op: fault.Get, Name: name, Err: syscall.EIO})
	var damage *RecordDamage
	changed := *s
	if _, err := w.Commit(t.Context(), &changed); !errors.As(err, &damage) || Fleeting(err) {
		t.Errorf("committed: %v", err)
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	a = b.open()
	if _, err := a.Replace(t.Context(), s, &changed); !errors.As(err, &damage) {
		t.Errorf("replaced: %v", err)
	}
	b.fetchAll(b.open(), second)
	if has := make([]bool, len(first)); true { // what a session would rely on without the record
		if err := a.Has(t.Context(), chunk.Data, ids(first), has); err != nil || slices.Contains(has, false) {
			t.Errorf("%v %v", has, err)
		}
	}
	for _, dry := range []bool{true, false} {
		g, err := a.GiveUpRecords(t.Context(), GiveUpRecordsOptions{DryRun: dry, SessionAge: 1})
		if err != nil || len(g.Records) != 1 || len(g.Condemned) != len(gone) {
			t.Fatalf("%+v, %v", g, err)
		}
		if g, want := len(b.names(recordPrefix)), 1; g != want {
			t.Errorf("%d records, want %d", g, want)
		}
	}
	b.save(b.open(), first...) // stored once more
	b.fetchAll(b.open(), append(first, second...))
}

// TestGiveUpRecordsBeside: nothing is given up that a member may have a good copy of, and nothing while others are at work.
func TestGiveUpRecordsBeside(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	a := b.open()
	b.save(a, blobs(1, 2, 1000)...)
	b.condemn(a, pack.ID{1})
	name := b.names(recordPrefix)[0]
	change(t, b.mem[0], name, flip(20))
	if _, err := b.open().NewWriter(t.Context()); err != nil {
		t.Errorf("one good copy does: %v", err)
	}
	b.stores[1].Set(fault.Rule{Op: fault.Get, Name: name})
	if g, err := b.open().GiveUpRecords(t.Context(), GiveUpRecordsOptions{SessionAge: 1}); err == nil {
		t.Errorf("%+v", g)
	}
	b.stores[1].Set()
	change(t, b.mem[1], name, flip(20))
	w, err := a.NewWriter(t.Context()) // it knows the record
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Save(t.Context(), chunk.Data, blobs(7, 1, 1000)[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g, err := b.open().GiveUpRecords(t.Context(), GiveUpRecordsOptions{SessionAge: time.Hour}); err == nil || !strings.Contains(err.Error(), "at work") {
		t.Errorf("%+v, %v", g, err)
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g, err := b.open().GiveUpRecords(t.Context(), GiveUpRecordsOptions{SessionAge: 1}); err != nil || len(g.Records) != 1 || g.Removed != 2 {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestFoldRecords(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	a := b.open()
	var all []chunk.ID
	var keep chunk.ID
	for i := range foldFrom {
		r := &Record{Snapshots: []chunk.ID{chunk.Sum([]byte{byte(i)})}, Packs: []pack.ID{pack.ID(chunk.Sum([]byte{byte(i), 1}))}, Time: time.Unix(int64(i), 0)}
		if err := a.PublishRecord(t.Context(), r, true); err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Snapshots...)
		keep = r.ID
	}
	known := func(list []*Record) func(chunk.ID) bool {
		return func(id chunk.ID) bool { return slices.ContainsFunc(list, func(r *Record) bool { return r.ID == id }) }
	}
	fold := func(a *Archive, early func(chunk.ID) bool) int {
		n, err := a.FoldRecords(t.Context(), time.Unix(99, 0), "test", early, func(r *Record) (bool, error) { return r.ID != keep, nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, err := a.Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := fold(a, known(before)); n != foldFrom-1 {
		t.Fatalf("folded %d", n)
	}
	// Nothing is removed by whoever began before the record that folds was there; and nothing is folded twice.
	if n := fold(a, known(before)); n != 0 {
		t.Errorf("folded %d again", n)
	}
	if got := b.names(recordPrefix); len(got) != foldFrom+1 {
		t.Errorf("%d records where those that are folded must be there still", len(got))
	}
	a = b.open()
	if before, err = a.Records(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := fold(a, known(before)); n != 0 {
		t.Errorf("folded %d a collection later", n)
	}
	if got := b.names(recordPrefix); len(got) != 2 || !slices.Contains(got, recordPrefix+keep.String()) {
		t.Errorf("left: %q", got)
	}
	a = b.open()
	list, err := a.Records(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%d records %v", len(list), err)
	}
	for _, id := range all {
		if !a.Forgotten(id) {
			t.Errorf("snapshot %s came back", id.Short())
		}
	}
	packs, err := a.CondemnedPacks(t.Context())
	if err != nil || len(packs) != foldFrom {
		t.Errorf("%d packs %v", len(packs), err)
	}
}

// A collector's record must be on every member; with one away nothing may be deleted.
func TestRecordEverywhere(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	b.stores[1].Set(fault.Rule{Op: fault.Put, Name: recordPrefix})
	a := b.open()
	err := a.PublishRecord(t.Context(), &Record{Packs: []pack.ID{{1}}, Time: time.Unix(1, 0)}, true)
	if err == nil || !strings.Contains(err.Error(), "store1") {
		t.Errorf("published: %v", err)
	}
	b = newBench(t, 1, 2)
	b.stores[0] = nil
	if err := b.open().PublishRecord(t.Context(), &Record{Packs: []pack.ID{{1}}, Time: time.Unix(1, 0)}, true); err == nil {
		t.Error("published with a member missing")
	}
}
