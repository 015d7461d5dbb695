package snapshot

import (
	"testing"
)

func BenchmarkEncodePiece(b *testing.B) {
	nodes := typicalNodes(2048)
	for b.Loop() {
		if _, err := EncodePiece(nodes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2048, "ns/node")
}

func BenchmarkDecodePiece(b *testing.B) {
	plain := mustPiece(b, typicalNodes(2048))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodePiece(plain); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2048, "ns/node")
}

// BenchmarkSaveTree includes the SHA-256 of the pieces, which a real save computes too.
func BenchmarkSaveTree(b *testing.B) {
	nodes := typicalNodes(100_000)
	s := newStore()
	for b.Loop() {
		if _, _, err := SaveTree(b.Context(), nodes, s.save); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/node")
}

func BenchmarkWalk(b *testing.B) {
	s := newStore()
	root := s.dir(b, "", s.dir(b, "d", typicalNodes(100_000)...))
	for b.Loop() {
		if err := Walk(b.Context(), s.load, root.Content, root.Depth, func(string, *Node) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/node")
}
