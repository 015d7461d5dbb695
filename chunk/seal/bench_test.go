package seal

import (
	"fmt"
	"testing"

	"cairn/chunk"
)

func BenchmarkSeal(b *testing.B) {
	s := newSession(b, fixedKeys())
	for _, n := range []int{1 << 10, 64 << 10, 1500 << 10} {
		for name, plain := range map[string][]byte{"random": random(n, 1), "text": text(n, 2), "mixed": mixed(n, 3)} {
			b.Run(fmt.Sprintf("%s/%dK", name, n>>10), func(b *testing.B) {
				id := chunk.Sum(plain)
				dst := make([]byte, 0, MaxSealed(n))
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					out, _, err := s.Seal(dst, chunk.Data, id, plain)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(len(out))/float64(n), "stored")
				}
			})
		}
	}
}

// BenchmarkSealUnchecked is BenchmarkSeal without opening again: the difference is what the check costs.
func BenchmarkSealUnchecked(b *testing.B) {
	s := newSession(b, fixedKeys())
	const n = 1500 << 10
	for name, plain := range map[string][]byte{"random": random(n, 1), "text": text(n, 2), "mixed": mixed(n, 3)} {
		b.Run(name, func(b *testing.B) {
			id := chunk.Sum(plain)
			dst := make([]byte, 0, MaxSealed(n))
			d := new(codec).get()
			b.SetBytes(n)
			for b.Loop() {
				e := Sealed{ID: id, Type: chunk.Data, Plain: n, Session: s.id}
				if _, err := s.seal(dst, d, &e, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newSession(b, fixedKeys())
	for _, n := range []int{1 << 10, 1500 << 10} {
		for name, plain := range map[string][]byte{"random": random(n, 1), "text": text(n, 2)} {
			b.Run(fmt.Sprintf("%s/%dK", name, n>>10), func(b *testing.B) {
				e, sealed := sealBlob(b, s, chunk.Data, plain)
				dst := make([]byte, 0, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Open(dst, e, sealed); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkCipher is the fixed cost of a blob: deriving its key and setting up AES-GCM.
func BenchmarkCipher(b *testing.B) {
	s := newSession(b, fixedKeys())
	e := Sealed{ID: chunk.Sum([]byte{1}), Type: chunk.Data, Plain: 1, Session: s.id}
	b.ReportAllocs()
	for b.Loop() {
		_, m, err := s.cipher(&e)
		if err != nil {
			b.Fatal(err)
		}
		s.macs.Put(m)
	}
}
