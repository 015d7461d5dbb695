package archive

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote/fault"
	"cairn/snapshot"
)

func TestCommitStoresAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 12, 20_000)
	a := b.open()
	b.save(a, list...)
	packs := b.packsOf(a, list)

	w := b.writer(a) // of another machine, as it were: it relies on what the first one stored
	if known, err := w.Known(chunk.Data, ids(list)); err != nil || !known {
		t.Fatalf("known %v %v", known, err)
	}
	b.condemn(b.open(), packs...)
	s := newSnapshot()
	if _, err := w.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if s.Incomplete {
		t.Error("the snapshot is not marked")
	}
	b.delete(packs...)
	b.fetchAll(b.open(), list) // from the copies
	c := b.open()
	for _, id := range ids(list) {
		if slices.Contains(packs, b.locate(c, id).Pack) {
			t.Errorf("blob %s is looked for in a condemned pack", id.Short())
		}
	}
}

func TestCommitNeedsTheSource(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(2, 6, 20_000)
	a := b.open()
	b.save(a, list...)
	packs := b.packsOf(a, list)
	w := b.writer(a)
	if known, err := w.Known(chunk.Data, ids(list)); err != nil || !known {
		t.Fatalf("known %v %v", known, err)
	}
	b.condemn(b.open(), packs...)
	b.delete(packs...)
	s := newSnapshot()
	if _, err := w.Commit(t.Context(), s); !errors.Is(err, ErrStoreAnew) {
		t.Fatalf("commit of what is gone: %v", err)
	}
	if known, err := w.Known(chunk.Data, ids(list)); err != nil || known {
		t.Fatalf("known %v %v after it was gone", known, err)
	}
	for _, p := range list {
		if saved, err := w.Save(t.Context(), chunk.Data, p); err != nil || !saved.New {
			t.Fatalf("saved %+v %v", saved, err)
		}
	}
	if _, err := w.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b.fetchAll(b.open(), list)
	if n := len(b.names(snapshotPrefix)); n != 4 {
		t.Errorf("%d objects in snapshots/, want two snapshots with their marks: %q", n, b.names(snapshotPrefix))
	}
	if left := b.names(sessionPrefix); len(left) > 0 {
		t.Errorf("session objects are left: %q", left)
	}
}

// A session that was taken for dead: its own packs are condemned before they are named.
func TestOwnPacksCondemned(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(3, 9, 30_000)
	w := b.writer(b.open())
	saveAll(t, w, list)
	if err := w.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var unnamed []pack.ID
	for _, name := range b.names(packPrefix) {
		id, _, _ := pack.ParseName(name)
		unnamed = append(unnamed, id)
	}
	if len(unnamed) == 0 {
		t.Fatal("nothing is stored yet")
	}
	b.condemn(b.open(), unnamed...)
	b.delete(unnamed...)
	_, err := w.Commit(t.Context(), newSnapshot())
	if !errors.Is(err, ErrStoreAnew) {
		t.Fatalf("commit: %v", err)
	}
	saveAll(t, w, list)
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Fatal(err)
	}
	b.fetchAll(b.open(), list)
}

// A collector that takes the session for dead may find an index pack of it before all its shards are there, and condemn that.
func TestOwnIndexPackCondemned(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		b := newBench(t, 2, 1)
		list := blobs(4, 9, 30_000)
		w := b.writer(b.open())
		saveAll(t, w, list)
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		names := b.names("index/")
		if len(names) == 0 {
			t.Fatal("nothing is named yet")
		}
		for _, name := range names {
			id, _, _ := pack.ParseName(name)
			b.condemn(b.open(), id)
			for _, s := range b.mem {
				if gone {
					remove(t, s, name)
				}
			}
		}
		s := newSnapshot()
		if _, err := w.Commit(t.Context(), s); err != nil || s.Incomplete {
			t.Fatalf("gone %v: commit: %v", gone, err)
		}
		for _, name := range names { // the collector goes on
			for _, s := range b.mem {
				remove(t, s, name)
			}
		}
		b.fetchAll(b.open(), list)
	}
}

// A record that is listed and cannot be read is no record that condemns nothing: who went on without it would report as done what is about
// to be deleted.
func TestUnreadableRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	list := blobs(1, 6, 20_000)
	a := b.open()
	b.save(a, list...)
	packs := b.packsOf(a, list)
	w := b.writer(b.open())
	if known, err := w.Known(chunk.Data, ids(list)); err != nil || !known {
		t.Fatalf("known %v %v", known, err)
	}
	b.condemn(b.open(), packs...)
	for i, s := range b.stores {
		if i == 0 { // the other copy is not even the record
			for _, name := range b.names(recordPrefix) {
				change(t, b.mem[0], name, half)
			}
			continue
		}
		s.Set(fault.Rule{Op: fault.Get, Name: recordPrefix, Do: fault.Fail})
	}
	if id, err := w.Commit(t.Context(), newSnapshot()); err == nil {
		t.Fatalf("snapshot %s was reported as done", id.Short())
	}
	if names := b.names(snapshotPrefix); len(names) != 3 {
		t.Errorf("%q, want a snapshot with its mark and one without", names)
	}
	b.stores[1].Set()
	b.fetchAll(b.open(), list)
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	dir := t.TempDir()
	o := b.options()
	o.Dir = func(seal.ArchiveID) string { return dir }
	a := b.openWith(o)
	list := blobs(4, 9, 30_000)
	w := b.writer(a)
	w.ForSeries("test")
	save := func(p []byte) {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	var last *snapshot.Snapshot
	for _, part := range [][][]byte{list[:3], list[3:6]} {
		for _, p := range part {
			save(p)
		}
		last = newSnapshot()
		if err := w.Checkpoint(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	other := b.open()
	got, _, err := other.Snapshots(t.Context())
	if err != nil || len(got) != 1 || !got[0].Incomplete || !got[0].Checkpoint || !got[0].Partial || got[0].ID != last.ID {
		t.Fatalf("snapshots %+v %v", got, err)
	}
	b.fetchAll(other, list[:6]) // what a checkpoint names is in the index
	w.Kill()

	// The next backup of the series finishes the job and removes what the dead session left.
	a = b.openWith(o)
	w = b.writer(a)
	w.ForSeries("test")
	for _, p := range list {
		save(p)
	}
	s := newSnapshot()
	if _, err := w.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, _, err = b.open().Snapshots(t.Context())
	if err != nil || len(got) != 1 || got[0].Incomplete || got[0].ID != s.ID {
		t.Errorf("snapshots %+v %v", got, err)
	}
	if left := b.names(sessionPrefix); len(left) > 0 {
		t.Errorf("session objects are left: %q", left)
	}
	if notes, _ := filepath.Glob(filepath.Join(dir, noteDir, "*")); len(notes) > 0 {
		t.Errorf("notes are left: %q", notes)
	}
}

func TestSessionsAtWork(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	a := b.open()
	w := b.writer(a)
	for _, p := range blobs(1, 9, 40_000) {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.storeOpen(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := b.open().NewMover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.End()
	m.Show(t.Context())
	for age, want := range map[time.Duration]int{time.Hour: 1, 0: 0} {
		got, dead, err := a.SessionsAtWork(t.Context(), m.Session(), age)
		if err != nil || len(got) != want || len(dead) != 1-want || want > 0 && !got[w.session.ID()] {
			t.Errorf("younger than %v: %v, dead %v, %v, want %d", age, got, dead, err, want)
		}
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := a.SessionsAtWork(t.Context(), m.Session(), time.Hour); err != nil || len(got) > 0 {
		t.Errorf("after the commit: %v %v", got, err)
	}
}
