package local

import (
	"fmt"
	"testing"

	"cairn/remote"
)

// sizes are those of a snapshot, a segment and a shard.
var sizes = []int{4 << 10, 1 << 20, 8 << 20}

// BenchmarkPut is a durable write, with the disk's part and without.
func BenchmarkPut(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("sync=%v/%dK", sync, size>>10), func(b *testing.B) {
				s := benchStore(b, Options{NoSync: !sync})
				data := make([]byte, size)
				b.SetBytes(int64(size))
				for i := 0; b.Loop(); i++ { // some names, so that disks of tests do not fill up
					if err := s.Put(b.Context(), remote.PairTree("binaries", fmt.Sprintf("%064x", i%64)), data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkGet reads what is in memory, whole and the header only.
func BenchmarkGet(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			s := benchStore(b, Options{NoSync: true})
			name := remote.PairTree("binaries", fmt.Sprintf("%064x", 1))
			if err := s.Put(b.Context(), name, make([]byte, size)); err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(b.Context(), name, 0, int64(size), dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkList lists 2,000 objects in a pair-tree, most of them alone in their directories as in an archive.
func BenchmarkList(b *testing.B) {
	const objects = 2000
	s := benchStore(b, Options{NoSync: true})
	for i := range objects {
		if err := s.Put(b.Context(), remote.PairTree("binaries", fmt.Sprintf("%08x%056x", uint32(i)*2654435761, i)), nil); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		n := 0
		for _, err := range s.List(b.Context(), "binaries/") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != objects {
			b.Fatalf("%d objects", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*objects), "ns/object")
}

func benchStore(b *testing.B, o Options) *Store {
	s, err := OpenWith(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}
