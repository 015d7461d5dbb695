package archive

import (
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// segments reads all index packs: their ids, and the columns that they name.
func (b *bench) segments(a *Archive) (ids []pack.ID, columns []pack.Column) {
	b.t.Helper()
	err := a.ReadSegments(b.t.Context(), func(id pack.ID, list []pack.Column, err error) error {
		ids, columns = append(ids, id), append(columns, list...)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return ids, columns
}

// TestReplaceTwice: two collectors have replaced one index pack, so everything is named twice. Whoever replaces both names it once.
func TestReplaceTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	plain := blobs(1, 1, 40_000)
	b.save(a, plain...)
	m, err := a.NewMover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.End()
	_, once := b.segments(a)
	if err := m.Name(t.Context(), once); err != nil {
		t.Fatal(err)
	}
	ids, twice := b.segments(a)
	if len(ids) != 2 || len(twice) != 2*len(once) {
		t.Fatalf("%d index packs name %d columns", len(ids), len(twice))
	}
	r, err := m.ReplaceSegments(t.Context(), ids, ReplaceOptions{
		Drop:     func(c *pack.Column) bool { return c.Kind != chunk.Data },
		Vanished: func(id pack.ID) error { t.Errorf("segment %s vanished", id); return nil },
	})
	if err != nil || r.Removed != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	_, left := b.segments(a)
	seen := map[pack.ID]map[int]bool{}
	for _, c := range left {
		if seen[c.Pack] == nil {
			seen[c.Pack] = map[int]bool{}
		}
		if seen[c.Pack][c.Number] || c.Kind != chunk.Data {
			t.Errorf("column %d of %s pack %s is named", c.Number, c.Kind, c.Pack)
		}
		seen[c.Pack][c.Number] = true
	}
	if len(left) == 0 {
		t.Error("nothing is named")
	}
	b.fetchAll(b.open(), plain)
}
