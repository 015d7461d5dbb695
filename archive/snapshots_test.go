package archive

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

func TestSnapshots(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	one, two, three := b.save(a), b.save(a), b.save(a)
	list := func() (ids []chunk.ID, incomplete, bad int) {
		t.Helper()
		snaps, damaged, err := b.open().Snapshots(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range snaps {
			ids = append(ids, s.ID)
			if s.Incomplete {
				incomplete++
			}
		}
		return ids, incomplete, len(damaged)
	}
	if ids, incomplete, bad := list(); !slices.Equal(ids, []chunk.ID{one.ID, two.ID, three.ID}) || incomplete+bad > 0 {
		t.Errorf("%v, %d, %d", ids, incomplete, bad)
	}
	read, err := a.Snapshot(t.Context(), one.ID)
	if diff := cmp.Diff(one, read); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	// A copy that is damaged, or lacking, on one or two members is read from the third.
	name := snapshotPrefix + two.ID.String()
	change(t, b.mem[0], name, flip(300))
	remove(t, b.mem[1], name)
	if ids, incomplete, bad := list(); len(ids) != 3 || incomplete+bad > 0 {
		t.Errorf("%v, %d, %d", ids, incomplete, bad)
	}
	change(t, b.mem[2], name, half)
	if ids, _, bad := list(); len(ids) != 2 || bad != 1 {
		t.Errorf("%v, %d", ids, bad)
	}
	// Without its mark it is incomplete. A mark without a snapshot is nothing to list.
	for i, s := range b.mem {
		if ids, incomplete, _ := list(); len(ids) != 2 || incomplete != 0 {
			t.Errorf("%d of 3 marks removed: %v, %d", i, ids, incomplete)
		}
		remove(t, s, snapshotPrefix+three.ID.String()+markSuffix)
	}
	if ids, incomplete, _ := list(); len(ids) != 2 || incomplete != 1 {
		t.Errorf("%v, %d", ids, incomplete)
	}
	if err := a.RemoveSnapshot(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveSnapshot(t.Context(), one.ID); err != nil {
		t.Errorf("again: %v", err)
	}
	if ids, _, _ := list(); len(ids) != 1 || len(b.names(snapshotPrefix)) != 3 {
		t.Errorf("%v, %v", ids, b.names(snapshotPrefix))
	}
	// Too few members is not damage.
	a = b.open()
	for _, s := range b.stores {
		s.Set(fault.Rule{Op: fault.Get, Err: errors.Join(stripe.ErrTooFew)})
	}
	if _, damaged, err := a.Snapshots(t.Context()); err == nil && len(damaged) == 0 {
		t.Error("nobody notices")
	}
}

func TestForgedSnapshot(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	s := b.save(a)
	stranger, err := seal.NewRoot(b.id)
	if err != nil {
		t.Fatal(err)
	}
	session, err := stranger.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	object, err := stranger.EncodeSnapshot(session, plain)
	if err != nil {
		t.Fatal(err)
	}
	id := chunk.Sum(object)
	if err := b.mem[0].Put(t.Context(), snapshotPrefix+id.String(), object); err != nil {
		t.Fatal(err)
	}
	list, damaged, err := a.Snapshots(t.Context())
	if err != nil || len(list) != 1 || len(damaged) != 1 || damaged[0].ID != id || !errors.Is(damaged[0], seal.ErrSignature) {
		t.Errorf("%v, %v, %v", list, damaged, err)
	}
	// A good snapshot under another name is none.
	good, err := b.mem[0].Get(t.Context(), snapshotPrefix+s.ID.String(), 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.mem[0].Put(t.Context(), snapshotPrefix+id.String(), bytes.Clone(good)); err != nil {
		t.Fatal(err)
	}
	if _, damaged, err = a.Snapshots(t.Context()); err != nil || len(damaged) != 1 || !strings.Contains(damaged[0].Error(), "name") {
		t.Errorf("%v, %v", damaged, err)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	old := b.save(a, blobs(1, 5, 1000)...)
	next := *old
	next.Tags = []string{"weekly"}
	id, err := a.Replace(t.Context(), old, &next)
	if err != nil {
		t.Fatal(err)
	}
	third := next
	third.Tags = []string{"monthly"}
	if _, err := a.Replace(t.Context(), &next, &third); err != nil {
		t.Fatal(err)
	}
	list, damaged, err := b.open().Snapshots(t.Context())
	if err != nil || len(damaged) > 0 || len(list) != 1 {
		t.Fatalf("%v, %v, %v", list, damaged, err)
	}
	if s := list[0]; s.ID == id || s.Original != old.ID || !slices.Equal(s.Tags, []string{"monthly"}) || s.Incomplete {
		t.Errorf("%+v", s)
	}
	// A snapshot that nobody validated does not become valid by a tag.
	for _, s := range b.mem {
		remove(t, s, snapshotPrefix+third.ID.String()+markSuffix)
	}
	list, _, err = b.open().Snapshots(t.Context())
	if err != nil || !list[0].Incomplete {
		t.Fatalf("%v, %v", list, err)
	}
	fourth := *list[0]
	if _, err := a.Replace(t.Context(), list[0], &fourth); err != nil {
		t.Fatal(err)
	}
	if list, _, err = b.open().Snapshots(t.Context()); err != nil || len(list) != 1 || !list[0].Incomplete {
		t.Errorf("%v, %v", list, err)
	}
}

func TestLast(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.openWith(withDir(b.options(), t.TempDir()))
	if l := a.LastOf("test"); l != nil {
		t.Errorf("%+v", l)
	}
	s := b.save(a)
	for range 2 {
		if err := a.Remember(s, 3, 1000); err != nil {
			t.Fatal(err)
		}
	}
	l := a.LastOf("test")
	if l == nil || l.ID != s.ID || l.Files != 3 || l.Bytes != 1000 || !l.Time.Equal(s.Start.Time()) {
		t.Errorf("%+v", l)
	}
	if l := a.LastOf("other"); l != nil {
		t.Errorf("%+v", l)
	}
	if err := b.open().Remember(s, 1, 1); err != nil {
		t.Errorf("without a cache: %v", err)
	}
}
