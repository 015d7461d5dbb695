package archive

import (
	"fmt"
	"testing"

	"cairn/chunk"
)

// geometries are those of docs/performance.md.
var geometries = [][2]int{{1, 0}, {4, 2}}

// BenchmarkOpen opens an archive with a key file, and lists its one snapshot: what `cairn snapshots` does besides starting. The members are in memory.
func BenchmarkOpen(b *testing.B) {
	for _, g := range geometries {
		b.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(b *testing.B) {
			f := newBench(b, g[0], g[1])
			f.save(f.open(), blobs(1, 3, 1000)...)
			o := f.options()
			o.Notice = func(string) {}
			for b.Loop() {
				a, err := Open(b.Context(), f.members(), o)
				if err != nil {
					b.Fatal(err)
				}
				if list, _, err := a.Snapshots(b.Context()); err != nil || len(list) != 1 {
					b.Fatal(len(list), err)
				}
				a.Close()
			}
		})
	}
}

// BenchmarkSave stores 32 MiB of chunks that do not compress, up to the mark, by one goroutine; the packs are sealed beside it.
func BenchmarkSave(b *testing.B) {
	for _, g := range geometries {
		b.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(b *testing.B) {
			list := blobs(2, 32, 1<<20)
			b.SetBytes(32 << 20)
			for b.Loop() {
				b.StopTimer()
				f := newBench(b, g[0], g[1])
				a := f.open()
				b.StartTimer()
				w, err := a.NewWriter(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				saveAll(b, w, list)
				if _, err := w.Commit(b.Context(), newSnapshot()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFetch reads 32 MiB of chunks back: from all members, and without two of six.
func BenchmarkFetch(b *testing.B) {
	for _, c := range []struct{ k, m, gone int }{{1, 0, 0}, {4, 2, 0}, {4, 2, 2}} {
		b.Run(fmt.Sprintf("%d+%d/gone=%d", c.k, c.m, c.gone), func(b *testing.B) {
			list := blobs(3, 32, 1<<20)
			f := newBench(b, c.k, c.m)
			w, err := f.open().NewWriter(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			saveAll(b, w, list)
			if _, err := w.Commit(b.Context(), newSnapshot()); err != nil {
				b.Fatal(err)
			}
			for i := range c.gone {
				f.stores[i] = nil
			}
			a := f.open()
			want := ids(list)
			b.SetBytes(32 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Fetch(b.Context(), chunk.Data, want, func(chunk.ID, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
