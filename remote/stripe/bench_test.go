package stripe

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"cairn/remote"
	"cairn/remote/mem"
)

// BenchmarkRead is a healthy read of 64 KiB without the store's own cost: one member, and one of six.
func BenchmarkRead(b *testing.B) {
	for _, g := range [][2]int{{1, 0}, {4, 2}} {
		b.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(b *testing.B) {
			var members []remote.Store
			for range g[0] + g[1] {
				members = append(members, mem.New())
			}
			s := New(members, nil, Options{Reconstruct: reconstruct})
			o := Object{Name: "binaries/x", K: g[0], M: g[1], Length: 64 << 10}
			shards := make([][]byte, len(members))
			for j := range shards {
				shards[j] = make([]byte, o.Length)
			}
			if _, err := s.PutShards(b.Context(), o, shards); err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 64)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Read(b.Context(), o, i%g[0], 0, 64, dst, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1, 6} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var members []remote.Store
			for range n {
				members = append(members, mem.New())
			}
			s := New(members, nil, Options{})
			data := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Put(b.Context(), "a", data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadMany is a pack of 4 columns of 4 MiB, with so many members gone.
func BenchmarkReadMany(b *testing.B) {
	for gone := range 3 {
		b.Run(fmt.Sprint(gone), func(b *testing.B) {
			members := make([]remote.Store, 6)
			for i := range members {
				if members[i] = mem.New(); i < gone {
					members[i] = nil
				}
			}
			s := New(members, nil, Options{Reconstruct: reconstruct})
			o := Object{Name: "binaries/x", K: 4, M: 2, Length: 4 << 20}
			shards := slices.Repeat([][]byte{make([]byte, o.Length)}, 6)
			if _, err := s.PutShards(b.Context(), o, shards); err != nil {
				b.Fatal(err)
			}
			var wants []Range
			for j := range o.K {
				wants = append(wants, Range{Shard: j, N: o.Length, Dst: make([]byte, o.Length)})
			}
			b.ReportAllocs()
			b.SetBytes(int64(o.K) * o.Length)
			for b.Loop() {
				if _, errs := s.ReadMany(b.Context(), o, wants, nil); errors.Join(errs...) != nil {
					b.Fatal(errs)
				}
			}
		})
	}
}
