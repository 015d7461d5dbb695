package index

import (
	"path/filepath"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// These are for comparing two states of the code; how an index grows, BenchmarkMillion tells.

const benchBlobs = 32_000

// BenchmarkApply fills an empty index from one segment.
func BenchmarkApply(b *testing.B) {
	cols := benchColumns(0, benchBlobs, 32)
	for b.Loop() {
		b.StopTimer()
		x := benchOpen(b, filepath.Join(b.TempDir(), "index"))
		b.StartTimer()
		if err := x.Apply(pack.ID{1}, cols); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		benchClose(b, x)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBlobs), "ns/blob")
}

// BenchmarkLive asks a small index for all that it has, and for as much that it has not.
func BenchmarkLive(b *testing.B) {
	x := benchOpen(b, filepath.Join(b.TempDir(), "index"))
	defer benchClose(b, x)
	if err := x.Apply(pack.ID{1}, benchColumns(0, benchBlobs, 32)); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		first int
	}{{"hit", 0}, {"miss", benchBlobs}} {
		ids, out := make([]chunk.ID, benchBlobs), make([]pack.ID, benchBlobs)
		for i := range ids {
			ids[i] = randomID(c.first + i)
		}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := x.Live(chunk.Data, ids, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBlobs), "ns/blob")
		})
	}
}

// BenchmarkReopen opens and closes an index with something in it: each command that reads files pays that.
func BenchmarkReopen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "index")
	x := benchOpen(b, dir)
	if err := x.Apply(pack.ID{1}, benchColumns(0, benchBlobs, 32)); err != nil {
		b.Fatal(err)
	}
	benchClose(b, x)
	for b.Loop() {
		benchClose(b, benchOpen(b, dir))
	}
}
