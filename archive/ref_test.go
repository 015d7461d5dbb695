package archive

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/snapshot"
)

func TestRefNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"live", "live-2", "good_one", "v1.2", "x"} {
		if err := CheckRefName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "latest", "Live", "2nd", "a/b", "live~1", "live@now", "a b", "beef", "abc", "-x", "ref:live", "é", strings.Repeat("x", MaxRefName+1)} {
		if CheckRefName(name) == nil {
			t.Errorf("%q passes", name)
		}
	}
}

// What is written is read back, and what differs in a bit is refused: by the signature, or by the name.
func TestRefRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	want := Ref{Name: "live", Sequence: 7, Snapshot: chunk.ID{1}, First: chunk.ID{2}, Tree: chunk.ID{3}, Time: time.Unix(5, 6), User: "u", Host: "h", Program: "p", Verified: "v", From: chunk.ID{4}}
	body, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	object, err := a.keys.EncodeRef(body)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.keys.EncodeRef(body)
	if err != nil || bytes.Equal(object, again) {
		t.Errorf("the same name twice: %v", err)
	}
	got, err := a.openRef(chunk.Sum(object), object)
	if err != nil {
		t.Fatal(err)
	}
	want.ID = chunk.Sum(object)
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
	for i := range object {
		bad := slices.Clone(object)
		bad[i] ^= 1
		if _, err := a.openRef(chunk.Sum(bad), bad); err == nil {
			t.Fatalf("byte %d may be changed", i)
		}
		if _, err := a.openRef(chunk.Sum(bad[:i]), bad[:i]); err == nil {
			t.Fatalf("%d bytes are enough", i)
		}
	}
	if bytes.Contains(object, []byte("live")) {
		t.Error("the name is in the clear")
	}
}

func FuzzRef(f *testing.F) {
	for _, r := range []Ref{{Name: "live", Sequence: 1}, {Name: "x", Snapshot: chunk.ID{1}, First: chunk.ID{1}, Time: time.Unix(-1, 5), User: "u"}} {
		body, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeRef(body)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil || !bytes.Equal(again, body) {
			t.Errorf("%x becomes %x: %v", body, again, err)
		}
	})
}

// refsOf lists what the snapshots of an archive, opened anew, are called.
func (b *bench) refsOf() map[string]chunk.ID {
	b.t.Helper()
	list, damaged, err := b.open().Snapshots(b.t.Context())
	if err != nil || len(damaged) > 0 {
		b.t.Fatalf("snapshots: %v %v", damaged, err)
	}
	refs := map[string]chunk.ID{}
	for _, s := range list {
		for _, name := range s.Refs {
			refs[name] = s.ID
		}
	}
	return refs
}

func (b *bench) setRef(a *Archive, name string, s *snapshot.Snapshot) *Ref {
	b.t.Helper()
	r, _, err := a.SetRef(b.t.Context(), Ref{Name: name, Time: time.Unix(100, 0), User: "anna", Host: "desk", Verified: "looked at"}, s)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// B2, B3, B4: promoted, replaced, taken away; a new tag does not lose it; nothing but a small record is stored.
func TestSetRef(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	a := b.open()
	one, two := b.save(a, blobs(1, 2, 1000)...), b.save(a, blobs(2, 2, 1000)...)
	packs := b.names("binaries/")
	b.setRef(a, "live", one)
	b.setRef(a, "good", one)
	want := map[string]chunk.ID{"live": one.ID, "good": one.ID}
	if diff := cmp.Diff(want, b.refsOf()); diff != "" {
		t.Fatal(diff)
	}
	b.setRef(a, "live", two)
	want["live"] = two.ID
	if diff := cmp.Diff(want, b.refsOf()); diff != "" {
		t.Fatal(diff)
	}
	records := len(b.names("snapshots/"))
	if r, changed, err := a.SetRef(t.Context(), Ref{Name: "live"}, two); err != nil || changed || r.User != "anna" || len(b.names("snapshots/")) != records {
		t.Errorf("the same once more: %+v %v %v", r, changed, err)
	}
	tagged := *two
	tagged.Tags = []string{"x"}
	id, err := a.Replace(t.Context(), two, &tagged)
	if err != nil {
		t.Fatal(err)
	}
	want["live"] = id
	if diff := cmp.Diff(want, b.refsOf()); diff != "" {
		t.Fatalf("after a new tag: %s", diff)
	}
	b.setRef(a, "live", nil)
	delete(want, "live")
	if diff := cmp.Diff(want, b.refsOf()); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(packs, b.names("binaries/")); diff != "" {
		t.Errorf("data was stored: %s", diff)
	}
	refs, err := a.Refs(t.Context())
	if err != nil || len(refs) != 4 || refs[1].Name != "live" || refs[3].Sequence != 3 || !refs[3].Demotes() || refs[2].Verified != "looked at" {
		t.Errorf("history: %v %v", refs, err)
	}
	incomplete := *one
	incomplete.Incomplete = true
	if _, _, err := a.SetRef(t.Context(), Ref{Name: "live"}, &incomplete); err == nil {
		t.Error("an incomplete snapshot was promoted")
	}
	if _, _, err := a.SetRef(t.Context(), Ref{Name: "latest"}, one); err == nil {
		t.Error("latest was promoted")
	}
}

// Old records of a name go, and what holds is what held.
func TestTrimRefs(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	one, two := b.save(a, blobs(1, 1, 100)...), b.save(a, blobs(2, 1, 100)...)
	for i := range keptRefs + 5 {
		b.setRef(a, "live", []*snapshot.Snapshot{one, two}[i%2])
	}
	refs, err := b.open().Refs(t.Context())
	if err != nil || len(refs) != keptRefs || refs[len(refs)-1].Sequence != keptRefs+5 {
		t.Fatalf("%d records, %v", len(refs), err)
	}
	if got := b.refsOf()["live"]; got != one.ID {
		t.Errorf("live is %s", got.Short())
	}
}

// A member that was away comes back with an older state, which does not count; and is brought to the new one by a mirror.
func TestRefMembers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	a := b.open()
	one, two := b.save(a, blobs(1, 1, 100)...), b.save(a, blobs(2, 1, 100)...)
	b.setRef(a, "live", one)
	away := b.stores[0]
	b.stores[0] = nil
	b.setRef(b.open(), "live", two)
	b.stores[0] = away
	if got := b.refsOf()["live"]; got != two.ID {
		t.Fatalf("live is %s", got.Short())
	}
	a = b.open()
	if _, err := a.Mirror(t.Context(), a.Placements()[0]); err != nil {
		t.Fatal(err)
	}
	b.stores[1], b.stores[2] = nil, nil
	if got := b.refsOf()["live"]; got != two.ID {
		t.Errorf("on the member that was away live is %s", got.Short())
	}
}

// Only the root may say what is live; a record of somebody else is left out, one that rots is read from another member, and one that is nowhere
// stops who forgets.
func TestForgedRef(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	a := b.open()
	one := b.save(a, blobs(1, 1, 100)...)
	r := b.setRef(a, "live", one)
	name := snapshotPrefix + r.ID.String() + refSuffix
	other := newBench(t, 1, 0)
	foreign, err := other.open().keys.EncodeRef([]byte{0xa0})
	if err != nil {
		t.Fatal(err)
	}
	copy(foreign[16:], a.id[:])
	if _, err := seal.CheckRef(a.id, foreign); err == nil {
		t.Error("a signature over another archive passes")
	}
	for _, s := range b.mem {
		if err := s.Put(t.Context(), snapshotPrefix+chunk.Sum(foreign).String()+refSuffix, foreign); err != nil {
			t.Fatal(err)
		}
	}
	change(t, b.mem[0], name, flip(100))
	var said notices
	o := b.options()
	o.Notice = said.add
	a = b.openWith(o)
	refs, err := a.Refs(t.Context())
	if err != nil || len(refs) != 1 || a.AllRefs() != nil || strings.Count(said.String(), "left out") != 1 {
		t.Fatalf("%v %v %v %s", refs, err, a.AllRefs(), said.String())
	}
	change(t, b.mem[1], name, flip(100))
	a = b.openWith(o)
	if refs, err = a.Refs(t.Context()); err != nil || len(refs) != 0 {
		t.Fatalf("%v %v", refs, err)
	}
	if err := a.AllRefs(); err == nil || !strings.Contains(remote.Hint(err), "repair") {
		t.Errorf("unread: %v", err)
	}
	if _, _, err := a.SetRef(t.Context(), Ref{Name: "live"}, one); err == nil {
		t.Error("set beside one that cannot be read")
	}
}

// A writer key, which can neither read nor verify, cannot promote.
func TestWriterCannotPromote(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	one := b.save(a, blobs(1, 1, 100)...)
	w, err := a.keys.NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.EncodeRef([]byte{0xa0}); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("a writer signs %s: %v", one.ID.Short(), err)
	}
}
