package prune

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive/member"
	"cairn/remote"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// TestLocked: what an object lock holds stays and is told of, and goes when the lock is over. Meanwhile no run adds anything.
func TestLocked(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	all := files("d", 16)
	b.forget(a, b.backup(a, all...), b.backup(a, files("z", 8)...))
	b.backup(a, all[:6]...)
	for i := range 9 {
		b.backup(a, files("f", i)...)
	}
	var locked atomic.Bool
	locked.Store(true)
	b.via = (&gate{before: func(op, name string) error {
		if op == "delete" && locked.Load() && !strings.HasPrefix(name, "sessions/") {
			return remote.Permanent(fmt.Errorf("delete %s: %w", name, remote.ErrLocked))
		}
		return nil
	}}).via
	dir := t.TempDir()
	first, err := b.pruneIn(t.Context(), dir, Options{})
	b.must(err)
	if first.Deleted.Packs != 0 || first.Locked.Packs == 0 || first.LockedSegments == 0 || first.Records != 1 {
		t.Errorf("%+v", first)
	}
	b.restore(10)
	before := b.objects("")
	for range 3 {
		r, err := b.pruneIn(t.Context(), dir, Options{})
		b.must(err)
		if r.Locked != first.Locked || r.LockedSegments != first.LockedSegments || r.WrittenBytes != 0 || r.Records != 0 {
			t.Errorf("once more: %+v, the first time %+v", r, first)
		}
	}
	if diff := cmp.Diff(before, b.objects("")); diff != "" {
		t.Errorf("objects: %s", diff)
	}
	locked.Store(false)
	r, err := b.pruneIn(t.Context(), dir, Options{})
	b.must(err)
	if r.Deleted != first.Locked || r.Locked.Packs+r.LockedSegments != 0 {
		t.Errorf("%+v, held were %+v", r, first.Locked)
	}
	b.exact()
	b.clean()
	b.restore(10)
}

// TestPolite: what a session at work has stored is left alone, as long as it shows itself.
func TestPolite(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	b.backup(a, files("d", 4)...)
	w, err := a.NewWriter(t.Context())
	b.must(err)
	s, err := b.fill(t.Context(), w, files("e", 8))
	b.must(err)
	b.must(w.Flush(t.Context()))
	for _, name := range newest(b, "index/", "e0/f0") { // as if it had not come to that
		for _, m := range b.mem {
			b.must(m.Delete(t.Context(), name))
		}
	}
	before := b.objects("binaries/")
	r := b.prune()
	if r.SessionsAtWork != 1 || r.Busy.Packs != 2 || r.Deleted.Packs != 0 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff(before, b.objects("binaries/")); diff != "" {
		t.Errorf("packs: %s", diff)
	}
	// It gave no sign of life for longer than that: its packs go, and it stores them anew.
	r, err = b.tryPrune(t.Context(), Options{SessionAge: 1})
	b.must(err)
	if r.SessionsAtWork != 0 || r.Orphans.Packs != 2 || r.Deleted.Packs != 2 {
		t.Errorf("%+v", r)
	}
	if _, err = w.Commit(t.Context(), s); err != nil {
		s, err = b.fill(t.Context(), w, files("e", 8))
		b.must(err)
		_, err = w.Commit(t.Context(), s)
	}
	b.must(err)
	b.clean()
	b.restore(2)
}

// TestFold: many records become few, a collection later.
func TestFold(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	keep := b.backup(a, files("d", 4)...)
	for i := range 30 {
		b.forget(a, b.backup(a, fmt.Sprintf("e/f%d", i)))
	}
	// What is folded stays until the next collection: who lists the records now must see one or the other.
	r := b.prune()
	if n := len(b.objects("gc/")); n < 30 || r.Folded < 30 {
		t.Errorf("%d records: %+v", n, r)
	}
	r = b.prune()
	if n := len(b.objects("gc/")); n > 3 || r.Folded != 0 {
		t.Errorf("%d records a collection later: %+v", n, r)
	}
	again := b.open()
	list, _, err := again.Snapshots(t.Context())
	b.must(err)
	if len(list) != 1 || list[0].ID != keep.ID {
		t.Errorf("%d snapshots", len(list))
	}
	b.exact()
	b.clean()
}

// TestLayouts: packs of former layouts are as good as others, and what is copied has the current one. A member that only former layouts have may
// be gone when nothing lies there any more.
func TestLayouts(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	all := files("d", 16)
	b.forget(a, b.backup(a, all...))
	b.backup(a, all[:6]...)
	b.backup(a, files("old", 4)...)
	b.relayout(2, 1, "/n0", "/n1", "/n2")
	a = b.open()
	b.forget(a, b.backup(a, files("z", 8)...))
	b.backup(a, append(files("new", 4), all[:2]...)...)
	r := b.prune()
	if r.Repacked.Packs == 0 || r.Unneeded.Packs == 0 {
		t.Errorf("%+v", r)
	}
	b.restore(3)
	if len(b.objects("binaries/")) == 0 {
		t.Error("nothing is left")
	}
	away := b.mem["/m0"]
	b.mem["/m0"] = nil
	if _, err := b.tryPrune(t.Context(), Options{}); err == nil {
		t.Error("prune goes on without a member that holds packs of a former layout")
	}
	b.mem["/m0"] = away
	b.rewrite()
	b.prune()
	b.mem["/m0"] = nil
	b.forget(b.open(), b.newestSnapshot())
	r = b.prune()
	if r.Deleted.Packs == 0 {
		t.Errorf("%+v", r)
	}
	b.clean()
	b.restore(2)
}

// relayout gives the archive a new layout on new members, and leaves the packs where they are.
func (b *bench) relayout(k, m int, names ...string) {
	b.t.Helper()
	a := b.open()
	change, err := a.PlanLayout(k, m, make([]string, len(names)))
	b.must(err)
	stores := map[string]remote.Store{}
	for i, id := range change.New() {
		b.mem[names[i]] = mem.New()
		b.names = append(b.names, names[i])
		stores[id] = b.mem[names[i]]
	}
	mirrored, err := a.Mirror(b.t.Context(), change.Placements(stores)[0])
	b.must(errors.Join(append(mirrored.Errs, err)...))
	_, err = a.WriteCards(b.t.Context(), change, stores)
	b.must(err)
}

// rewrite brings all packs into the current layout.
func (b *bench) rewrite() {
	b.t.Helper()
	r, err := member.Finish(b.t.Context(), b.open(), member.RewriteOptions{})
	b.must(err)
	if r.Needed {
		b.t.Errorf("something is left in former layouts: %+v", r)
	}
}

func (b *bench) newestSnapshot() *snapshot.Snapshot {
	b.t.Helper()
	list, _, err := b.open().Snapshots(b.t.Context())
	b.must(err)
	return list[len(list)-1]
}
