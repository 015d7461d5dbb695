package backup

import (
	"fmt"
	"testing"

	"cairn/chunk"
	"cairn/index"
)

// BenchmarkUnchanged looks through 10,000 files of which none has changed, with the stat cache that the program has. The Saver is a map.
func BenchmarkUnchanged(b *testing.B) {
	const dirs, files = 100, 100
	root := b.TempDir()
	for i := range dirs {
		for j := range files {
			write(b, fmt.Sprintf("%s/d%03d/f%03d.go", root, i, j), noise(uint64(i*files+j), 300))
		}
	}
	cache, err := index.OpenFiles(b.TempDir(), index.Options{})
	check(b, err)
	defer cache.Close()
	s, o := newStore(), testOptions(b, root)
	o.Cache = cache
	first := mustRun(b, s, o)
	check(b, cache.Flush())
	o.PreviousContent, o.PreviousDepth = first.Snapshot.Content, first.Snapshot.Depth
	if first.Files.New != dirs*files {
		b.Fatalf("%+v", first.Files)
	}
	b.ReportAllocs()
	for b.Loop() {
		report := mustRun(b, s, o)
		if report.Files.Unchanged != dirs*files {
			b.Fatalf("%+v", report.Files)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*dirs*files), "µs/file")
}

// BenchmarkLargeFile reads and cuts a file of 64 MiB with the default parameters, for a Saver that is a map: what this package and SHA-256 cost for each byte.
func BenchmarkLargeFile(b *testing.B) {
	const size = 64 << 20
	root := b.TempDir()
	write(b, root+"/large", noise(1, size))
	o := testOptions(b, root)
	p := chunk.DefaultParams()
	p.Poly = o.Params.Poly
	o.Params = p
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		report := mustRun(b, newStore(), o)
		if report.Files.New != 1 {
			b.Fatalf("%+v", report.Files)
		}
	}
}
