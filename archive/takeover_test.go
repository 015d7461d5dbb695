package archive

import (
	"errors"
	"os"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/snapshot"
)

// TestTakeOver: what a snapshot holds may be taken over as long as no collector is at work, and a record that comes before the
// new snapshot's mark makes the session ask for everything.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	old := b.save(a, blobs(1, 2, 1000)...)
	ask := func(w *Writer, want bool) {
		t.Helper()
		if ok, err := w.TakeOver(t.Context(), old.ID); err != nil || ok != want {
			t.Errorf("take over: %t, %v, want %t", ok, err, want)
		}
	}
	w := b.writer(a)
	ask(w, true)
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Errorf("nothing happened meanwhile: %v", err)
	}

	// A record that condemns nothing: that is not looked at, since it is rare.
	w = b.writer(a)
	ask(w, true)
	if _, err := b.open().Forget(t.Context(), []chunk.ID{{1}}, Record{}); err != nil {
		t.Fatal(err)
	}
	s := newSnapshot()
	if _, err := w.Commit(t.Context(), s); !errors.Is(err, ErrStoreAnew) {
		t.Errorf("with a record meanwhile: %v", err)
	}
	ask(w, false)
	if _, err := w.Commit(t.Context(), s); err != nil { // everything was asked for by now: nothing
		t.Errorf("the second time: %v", err)
	}
	ids, err := a.SnapshotIDs(t.Context())
	if err != nil || !ids[s.ID] || len(ids) != 3 {
		t.Errorf("%v, %v", ids, err)
	}

	// A pack is condemned, and still named.
	id, _, _ := pack.ParseName(b.names(packPrefix)[0])
	if err := b.open().PublishRecord(t.Context(), &Record{Packs: []pack.ID{id}}, true); err != nil {
		t.Fatal(err)
	}
	a = b.open()
	w = b.writer(a)
	ask(w, false)
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCopies: the last copy of a snapshot counts, and a torn line does not.
func TestCopies(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	o := b.options()
	dir := t.TempDir()
	o.Dir = func(seal.ArchiveID) string { return dir }
	a := b.openWith(o)
	source := [16]byte{7}
	for _, line := range [][2]chunk.ID{{{1}, {2}}, {{3}, {4}}, {{1}, {5}}} {
		if err := a.RememberCopy(snapshot.Origin{Archive: source, Snapshot: line[0]}, line[1]); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(a.copiesFile(source), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(chunk.ID{3}.String() + " 0123"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.RememberCopy(snapshot.Origin{Archive: source, Snapshot: chunk.ID{6}}, chunk.ID{7}); err != nil {
		t.Fatal(err)
	}
	got := a.Copies(source)
	if len(got) != 3 || got[chunk.ID{1}] != (chunk.ID{5}) || got[chunk.ID{3}] != (chunk.ID{4}) || got[chunk.ID{6}] != (chunk.ID{7}) || len(a.Copies([16]byte{8})) > 0 {
		t.Errorf("%v", got)
	}
}
