package pack

import (
	"fmt"
	"testing"

	"cairn/chunk"
)

// BenchmarkReconstruct computes all parity columns from the data columns, as sealing does, and all lost data columns, as a degraded read does. The
// rate is that of k columns.
func BenchmarkReconstruct(b *testing.B) {
	for _, g := range []Geometry{{K: 2, M: 1}, {K: 4, M: 2}, {K: 10, M: 4}} {
		for _, what := range []string{"parity", "data"} {
			b.Run(fmt.Sprintf("%d+%d/%s", g.K, g.M, what), func(b *testing.B) {
				const size = 1 << 20
				first := g.K // of the columns to be computed
				if what == "data" {
					first = 0
				}
				all := make([][]byte, g.N())
				for i := range all {
					all[i] = randomBytes(seeded(uint64(i)), size)
				}
				var want []int
				for i := range g.M {
					want = append(want, first+i)
				}
				columns := make([][]byte, g.N())
				b.SetBytes(int64(g.K) * size)
				b.ReportAllocs()
				for b.Loop() {
					copy(columns, all)
					for _, i := range want {
						columns[i] = all[i][:0]
					}
					if err := Reconstruct(g, columns, want); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkCheckShard proves a shard of 8 MiB, as a scrub and `check --read-data` do.
func BenchmarkCheckShard(b *testing.B) {
	w := NewWriter(testKeys(), testSession(), chunk.Data, Geometry{K: 1}, 8<<20)
	rng := seeded(1)
	for range 7 {
		x := newBlob(b, rng, testSession(), chunk.Data, 1<<20)
		if _, err := w.Add(x.Sealed, x.sealed, nil); err != nil {
			b.Fatal(err)
		}
	}
	sealed, err := w.Seal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(sealed.Shards[0])))
	for b.Loop() {
		if _, err := CheckShard(sealed.ID, sealed.Shards[0]); err != nil {
			b.Fatal(err)
		}
	}
}
