package chunk

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzCutter compares all kernels with the library, for any parameters, over random data with stretches of the fuzzer's own
// repeated in it, given in any pieces.
func FuzzCutter(f *testing.F) {
	f.Add([]byte("seed"), uint64(1), uint16(3000), uint16(1), uint16(9000), uint8(10))
	f.Add([]byte{0}, uint64(2), uint16(600), uint16(40), uint16(60_000), uint8(16))
	f.Add([]byte("abc"), uint64(3), uint16(1), uint16(0), uint16(100), uint8(20))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, repeat, low, more uint16, bits uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := Params{
			Poly: 1<<polyDegree | 1 | uint64(seed%256)<<r.IntN(44), // 256·44: the library never forgets one
			Min:  windowSize + 1 + int(low),
			Bits: minBits + int(bits)%(maxBits-minBits+1),
		}
		p.Max = min(p.Min+8*int(more), maxChunk)
		d := random(r.IntN(120_000), seed)
		if stretch := bytes.Repeat(data, 1+int(repeat)%4096); len(stretch) < 1<<18 {
			at := r.IntN(len(d) + 1)
			d = append(append(d[:at:at], stretch...), d[at:]...)
		}
		d = plant(p, d, r)
		want := reference(t, p, d)
		largest := 1 + r.IntN(1+len(d))
		for _, k := range kernels() {
			c := cutterWith(t, p, k)
			if diff := cmp.Diff(want, cut(c, d, func() int { return 1 + r.IntN(largest) })); diff != "" {
				t.Errorf("%v, %v: %s", k, p, diff)
			}
		}
	})
}
