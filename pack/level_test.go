package pack

import (
	"testing"

	"cairn/chunk"
)

// A pack that is sealed early must not pay for a column that chance has made long.
func TestLevel(t *testing.T) {
	t.Parallel()
	rng, s := seeded(17), testSession()
	for _, g := range []Geometry{{K: 1}, {K: 2, M: 1}, {K: 4, M: 2}} {
		w := NewWriter(testKeys(), s, chunk.Data, g, 1<<20)
		var blobs []blob
		total := 0
		for i := range 300 {
			b := newBlob(t, rng, s, chunk.Data, 1+(i*37)%3000)
			if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, b)
			total += len(b.sealed)
		}
		w.Level()
		if n, _ := w.Len(); n != len(blobs) {
			t.Fatalf("%s: %d blobs became %d", g, len(blobs), n)
		}
		p, err := w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		// Directories take 41 bytes a blob, a column's length is rounded up to 4 KiB.
		if limit := int64(total/g.K+300*41/g.K) + 3000 + 2*Align; p.Columns[0].L > limit {
			t.Errorf("%s: columns of %d bytes for %d bytes of blobs, want at most %d", g, p.Columns[0].L, total, limit)
		}
		wantAll(t, p, blobs)
	}
}
