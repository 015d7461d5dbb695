package recover

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/index"
)

// keep is an index that outlives the archive that closes it.
type keep struct{ *index.Map }

func (keep) Close() error { return nil }

// TestIndexOfTooFew: what is salvaged stays on this machine, and is forgotten when the members are back.
func TestIndexOfTooFew(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		lost := b.survived()
		b.lose(lost...)
		before := b.objects()
		b.salvage = true
		b.idx = keep{index.NewMap()}
		r, err := Index(t.Context(), b.open(), archive.RebuildOptions{DryRun: true})
		if err != nil || !r.Local || r.Packs == 0 || r.Published == 0 {
			t.Fatalf("dry run: %+v, %v", r, err)
		}
		dry := r.Blobs
		if n := count(t, b.idx.(keep).Map); n != 0 {
			t.Errorf("a dry run applies %d blobs", n)
		}
		r, err = Index(t.Context(), b.open(), archive.RebuildOptions{})
		if err != nil || !r.Local || r.Blobs != dry || len(r.Damaged) > 0 || r.Members != b.k-1 {
			t.Fatalf("%+v, %v", r, err)
		}
		salvaged := count(t, b.idx.(keep).Map)
		if salvaged < dry {
			t.Errorf("%d blobs were found, the index has %d", r.Blobs, salvaged)
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("something was written: %s", diff)
		}
		// The next salvage uses it as it is; a backup after the members came back must not.
		a := b.open()
		if _, err := a.Index(t.Context()); err != nil || count(t, b.idx.(keep).Map) != salvaged {
			t.Errorf("%d of %d blobs, %v", count(t, b.idx.(keep).Map), salvaged, err)
		}
		b.bring(lost...)
		b.salvage = false
		a = b.open()
		if _, err := a.Index(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := index.NewMap()
		b.idx = keep{fresh}
		if _, err := b.open().Index(t.Context()); err != nil || count(t, fresh) <= salvaged-1 {
			t.Errorf("%d blobs, %d were salvaged, %v", count(t, fresh), salvaged, err)
		}
		b.whole()
	})
}

func count(t *testing.T, m *index.Map) int {
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return int(s.Data + s.Tree)
}

// TestIndexLost: all index packs are gone, or more of their shards than parity makes good.
func TestIndexLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		b.removeAll("index")
		before := b.objects()
		r, err := Index(t.Context(), b.open(), archive.RebuildOptions{DryRun: true})
		if err != nil || r.Local || r.Packs == 0 || r.Published == 0 {
			t.Fatalf("dry run: %+v, %v", r, err)
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("a dry run writes: %s", diff)
		}
		if r, err = Index(t.Context(), b.open(), archive.RebuildOptions{}); err != nil || r.Local || r.Published == 0 || r.Weak > 0 || len(r.Damaged) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		b.whole()
		if r, err = Index(t.Context(), b.open(), archive.RebuildOptions{}); err != nil || r.Packs > 0 || r.Segments == 0 {
			t.Errorf("again: %+v, %v", r, err)
		}
		// With m members away it goes as well.
		b.removeAll("index")
		b.lose(b.lostMembers()[1:]...)
		if r, err = Index(t.Context(), b.open(), archive.RebuildOptions{}); err != nil || r.Local || r.Published == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		b.bring(b.lostMembers()[1:]...)
		b.whole()
		b.removeAll("index", b.lostMembers()...)
		if r, err = Index(t.Context(), b.open(), archive.RebuildOptions{}); err != nil || r.Published == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		b.whole()
	})
}
