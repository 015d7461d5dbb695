package restore

import (
	"fmt"
	"os"
	"testing"
)

// BenchmarkSmallFiles is about what this package costs for each small file: the fake source costs a map lookup and a copy.
func BenchmarkSmallFiles(b *testing.B) {
	f := newFake()
	f.chunk = 1 << 20
	var kids tree
	const dirs, files = 200, 50
	for i := range dirs {
		var in tree
		for j := range files {
			in = append(in, file_(fmt.Sprintf("f%03d.go", j), text(fmt.Sprint(i, j), 10<<10)))
		}
		kids = append(kids, dir_(fmt.Sprintf("d%03d", i), in))
	}
	root := f.put(b, kids)
	b.ReportAllocs()
	for b.Loop() {
		target, err := os.MkdirTemp(b.TempDir(), "")
		must(b, err)
		rep, err := Run(b.Context(), f, root, Options{Target: target})
		must(b, err)
		if rep.Files != dirs*files {
			b.Fatalf("%+v", rep)
		}
		b.StopTimer()
		must(b, os.RemoveAll(target))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*dirs*files), "µs/file")
}

func BenchmarkLargeFile(b *testing.B) {
	f := newFake()
	f.chunk = 1 << 20
	const size = 256 << 20
	root := f.put(b, tree{file_("large", text("large", size))})
	b.SetBytes(size)
	for b.Loop() {
		rep, err := Run(b.Context(), f, root, Options{Target: b.TempDir(), InPlace: true})
		must(b, err)
		if rep.BytesWritten+rep.BytesUnchanged != size {
			b.Fatalf("%+v", rep)
		}
	}
}
