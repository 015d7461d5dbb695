package check

import (
	"fmt"
	"testing"
)

// BenchmarkReadData checks 32 MiB of chunks of 1 MiB that do not compress, from the listings to the last blob. The members are in memory, so it costs what
// is copied, hashed and opened. With parity half as much again is read.
func BenchmarkReadData(b *testing.B) {
	for _, g := range [][2]int{{1, 0}, {4, 2}} {
		b.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(b *testing.B) {
			f := newBench(b, g[0], g[1])
			files := map[string]byte{}
			for i := range 16 {
				files[fmt.Sprintf("d/%c", 'a'+i)] = byte(i)
			}
			f.backup(files, 1<<20)
			b.SetBytes(32 << 20)
			b.ReportAllocs()
			f.open() // derives the keys, once
			for b.Loop() {
				r := f.check(Options{ReadData: true})
				if r.Damaged > 0 || r.PacksRead == 0 || r.BytesRead < 32<<20 {
					b.Fatalf("%+v", r)
				}
			}
		})
	}
}
