package chunk

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// kernels are those that this machine has.
func kernels() []kernel {
	all := []kernel{portable}
	for k := avx2; k <= best(); k++ {
		all = append(all, k)
	}
	return all
}

func (k kernel) String() string { return [...]string{"portable", "avx2", "avx512"}[k] }

func cutterWith(t testing.TB, p Params, k kernel) *Cutter {
	t.Helper()
	c := newCutter(t, p)
	c.s.t.use(k)
	return c
}

// wide has enough bits for the vector kernels.
func wide() Params { return Params{Poly: testPoly, Min: 2 << 10, Max: 256 << 10, Bits: filterBits} }

// plant changes seven bytes at some places, so that a candidate ends there, or one that just is none, or just is one. With 16 or more
// bits random data has too few of them for a test.
func plant(p Params, d []byte, r *rand.Rand) []byte {
	t := newTables(p.Poly)
	for at := r.IntN(p.Min); at < len(d); at += 1 + r.IntN(2*p.Min) {
		if at < windowSize {
			continue
		}
		// The digest of these bytes and seven zeros, taken away from the zeros, leaves zero.
		h := t.roll(t.roll(0, d[at-windowSize:at-7]), make([]byte, 7))
		switch r.IntN(4) {
		case 0:
			h ^= 1 << (p.Bits - 1)
		case 1:
			h ^= r.Uint64() << p.Bits & (1<<polyDegree - 1)
		case 2:
			h ^= 1 << p.Bits
		}
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], h)
		copy(d[at-7:at], b[1:])
	}
	return d
}

// TestLanes compares what the vector kernels say of each lane with a search in it.
func TestLanes(t *testing.T) {
	t.Parallel()
	for _, k := range kernels()[1:] {
		for seed, poly := range []uint64{testPoly, goldenPoly} {
			s := scanner{t: newTables(poly), mask: 1<<filterBits - 1}
			s.t.use(k)
			count := map[kernel]int{avx2: 32, avx512: 64}[k]
			found := 0
			for _, lane := range []int{16, 32, 48, 64, 576, 1088, 2000} {
				for round := range 10 {
					d := random(windowSize+count*lane, uint64(10*seed+round))
					if round == 3 {
						clear(d[len(d)/2 : len(d)/2+100])
					}
					var want uint64
					for l := range count {
						if s.step(d, windowSize+l*lane, windowSize+(l+1)*lane) >= 0 {
							want |= 1 << l
							found++
						}
					}
					if got := s.lanes(d, lane); got != want {
						t.Errorf("%v, lanes of %d, round %d: %b, want %b", k, lane, round, got, want)
					}
				}
			}
			if found < 20 {
				t.Errorf("%d lanes with candidates prove nothing", found)
			}
		}
	}
}

func BenchmarkLanes(b *testing.B) {
	for _, k := range kernels()[1:] {
		s := scanner{t: newTables(testPoly)}
		s.t.use(k)
		for _, lane := range []int{16, 64, 320, laneAVX512, laneAVX2} {
			n := 32 * lane * int(k)
			d := random(windowSize+n, 1)
			b.Run(fmt.Sprintf("%v/%d", k, lane), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					s.lanes(d, lane)
				}
			})
		}
	}
}
