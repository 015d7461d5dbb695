package chunk

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic/chunker"
)

const testPoly = 0x3DA3358B4DC173

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(s).Read(b)
	return b
}

func periodic(n, period int) []byte {
	return bytes.Repeat(random(period, uint64(period)), n/period+1)[:n]
}

// small cuts short data often, so that many cuts are compared in little time.
func small() Params { return Params{Poly: testPoly, Min: 2 << 10, Max: 64 << 10, Bits: 12} }

func newCutter(t testing.TB, p Params) *Cutter {
	t.Helper()
	c, err := NewCutter(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reference returns the chunk lengths that the library's own reader finds.
func reference(t testing.TB, p Params, data []byte) []int {
	t.Helper()
	ch := chunker.New(bytes.NewReader(data), chunker.Pol(p.Poly),
		chunker.WithBoundaries(uint(p.Min), uint(p.Max)), chunker.WithAverageBits(p.Bits))
	var lengths []int
	for {
		c, err := ch.Next(nil)
		if err == io.EOF {
			return lengths
		}
		if err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, int(c.Length))
	}
}

// cut returns the chunk lengths that a Cutter finds when data arrives in buffers of the lengths that next returns.
func cut(c *Cutter, data []byte, next func() int) []int {
	var lengths []int
	current := 0
	for len(data) > 0 {
		buf := data[:min(next(), len(data))]
		data = data[len(buf):]
		for n := c.Next(buf); n >= 0; n = c.Next(buf) {
			lengths = append(lengths, current+n)
			current, buf = 0, buf[n:]
		}
		current += len(buf)
	}
	if current > 0 {
		lengths = append(lengths, current)
	}
	return lengths
}

// inputs are data of all the kinds that cutters may treat differently.
func inputs(p Params) map[string][]byte {
	in := map[string][]byte{
		"empty": nil, "one byte": {7}, "min": random(p.Min, 4), "min+1": random(p.Min+1, 4), "max": make([]byte, p.Max),
		"random": random(600_000, 5), "zeros": make([]byte, 400_000), "ones": bytes.Repeat([]byte{0xff}, 300_000),
		"mixed":   slices.Concat(random(150_000, 1), make([]byte, 200_000), random(90_001, 2), periodic(100_000, 64), make([]byte, 63), random(70_000, 3)),
		"planted": plant(p, random(600_000, 6), rand.New(rand.NewPCG(7, 8))),
	}
	for _, period := range []int{1, 2, 3, 4, 5, 6, 7, 63, 64, 65, 100, 4096} {
		in[fmt.Sprintf("period %d", period)] = periodic(300_000, period)
	}
	return in
}

func TestCutterEqualsReference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range []Params{small(), wide(), {testPoly, 65, 700, 10}, {goldenPoly, 3000, 3000, 17}} {
		splits := map[string]func() int{
			"whole": func() int { return 1 << 30 }, "min": func() int { return p.Min }, "min-64": func() int { return p.Min - windowSize + 1 },
			"odd": func() int { return 1 + r.IntN(9973) }, "large": func() int { return 1 + r.IntN(200_000) },
		}
		for name, data := range inputs(p) {
			want := reference(t, p, data)
			for _, k := range kernels() {
				c := cutterWith(t, p, k)
				for split, next := range splits {
					c.Reset()
					if diff := cmp.Diff(want, cut(c, data, next)); diff != "" {
						t.Errorf("%v, %v, %s in buffers of %s: %s", p, k, name, split, diff)
					}
				}
			}
		}
	}
}

// TestCutterSmallBuffers: a window that begins in one buffer and ends in another, or in a third.
func TestCutterSmallBuffers(t *testing.T) {
	t.Parallel()
	for _, p := range []Params{small(), {testPoly, 65, 700, 10}} {
		c := newCutter(t, p)
		for name, data := range inputs(p) {
			data = data[:min(len(data), 40_000)]
			want := reference(t, p, data)
			for _, n := range []int{1, 2, 7, 63, 64, 65, 127, 129} {
				c.Reset()
				if diff := cmp.Diff(want, cut(c, data, func() int { return n })); diff != "" {
					t.Errorf("%v, %s in buffers of %d: %s", p, name, n, diff)
				}
			}
		}
	}
}

func TestCutterEqualsReferenceByDefault(t *testing.T) {
	t.Parallel()
	p := DefaultParams()
	p.Poly = testPoly
	c := newCutter(t, p)
	r := rand.New(rand.NewPCG(3, 4))
	for name, data := range map[string][]byte{
		"random": random(24<<20, 7), "zeros": make([]byte, 5<<20), "never": periodic(20<<20, 3), // without a cut of its own: MaxSize
	} {
		want := reference(t, p, data)
		if len(want) < 3 {
			t.Fatalf("%s: %d chunks prove nothing", name, len(want))
		}
		c.Reset()
		if diff := cmp.Diff(want, cut(c, data, func() int { return 1 + r.IntN(1<<20) })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCutterBounds(t *testing.T) {
	t.Parallel()
	p := small()
	c := newCutter(t, p)
	for name, data := range map[string][]byte{"random": random(2<<20, 1), "zeros": make([]byte, 1<<20), "period": periodic(1<<20, 7)} {
		c.Reset()
		lengths := cut(c, data, func() int { return 10_007 })
		sum := 0
		for i, n := range lengths {
			sum += n
			if n > p.Max || n < p.Min && i < len(lengths)-1 {
				t.Errorf("%s: chunk %d has %d bytes", name, i, n)
			}
		}
		if sum != len(data) {
			t.Errorf("%s: chunks have %d bytes, want %d", name, sum, len(data))
		}
	}
	for _, n := range []int{1, 63, 64, 65, p.Min - 1, p.Min} {
		c.Reset()
		if got := cut(c, random(n, 9), func() int { return 1 << 20 }); len(got) != 1 {
			t.Errorf("a file of %d bytes has %d chunks", n, len(got))
		}
	}
}

// TestCutterResync is what content-defined chunking is for: after an insertion the cuts come to lie where they were.
func TestCutterResync(t *testing.T) {
	t.Parallel()
	c := newCutter(t, small())
	data := random(1<<20, 11)
	ids := func(data []byte) map[ID]bool {
		c.Reset()
		found := map[ID]bool{}
		for _, n := range cut(c, data, func() int { return 1 << 30 }) {
			found[Sum(data[:n])] = true
			data = data[n:]
		}
		return found
	}
	before := ids(data)
	fresh := 0
	for id := range ids(slices.Insert(slices.Clone(data), 300_000, []byte("inserted")...)) {
		if !before[id] {
			fresh++
		}
	}
	if fresh == 0 || fresh > 8 {
		t.Errorf("%d of %d chunks are new after an insertion", fresh, len(before))
	}
}

func TestCutterReset(t *testing.T) {
	t.Parallel()
	c := newCutter(t, small())
	data := random(300_000, 12)
	want := cut(c, data, func() int { return 1 << 30 })
	c.Next(random(1000, 13)) // leaves a chunk half done
	clone := c.Clone()
	c.Reset()
	for name, c := range map[string]*Cutter{"reset": c, "clone": clone} {
		if diff := cmp.Diff(want, cut(c, data, func() int { return 777 })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if clone.Reset(); cut(clone, data, func() int { return 1 })[0] != want[0] {
		t.Error("a clone does not cut after a reset")
	}
}

func TestCutterAllocations(t *testing.T) {
	c := newCutter(t, small())
	data := random(100_000, 14)
	if n := testing.AllocsPerRun(100, func() {
		c.Reset()
		for buf := data; len(buf) > 0; {
			n := c.Next(buf)
			if n < 0 {
				break
			}
			buf = buf[n:]
		}
	}); n != 0 {
		t.Errorf("%v allocations for a file", n)
	}
}

// BenchmarkCutter compares with the library in one run: on a machine with neighbours only the ratio counts.
func BenchmarkCutter(b *testing.B) {
	p := DefaultParams()
	p.Poly = testPoly
	c := newCutter(b, p)
	base := *chunker.NewBase(chunker.Pol(p.Poly))
	for _, data := range []struct {
		name  string
		bytes []byte
	}{{"random", random(32<<20, 1)}, {"zeros", make([]byte, 32<<20)}, {"text", text(32 << 20)}} {
		for _, kernel := range []struct {
			name  string
			reset func()
			next  func([]byte) int
		}{
			{"cairn", c.Reset, c.Next},
			{"library", func() { base.Reset(chunker.Pol(p.Poly)) }, base.NextSplitPoint},
		} {
			b.Run(data.name+"/"+kernel.name, func(b *testing.B) {
				b.SetBytes(int64(len(data.bytes)))
				for b.Loop() {
					kernel.reset()
					for buf := data.bytes; len(buf) > 0; {
						n := kernel.next(buf)
						if n < 0 {
							break
						}
						buf = buf[n:]
					}
				}
			})
		}
	}
}

// text is words out of a small vocabulary.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	words := make([][]byte, 4096)
	for i := range words {
		for range 2 + r.IntN(9) {
			words[i] = append(words[i], byte('a'+r.IntN(26)))
		}
		words[i] = append(words[i], " \n"[r.IntN(8)/7])
	}
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b[:n]
}

// BenchmarkCutterReset is what a Cutter costs for each file.
func BenchmarkCutterReset(b *testing.B) {
	c := newCutter(b, small())
	buf := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		c.Reset()
		c.Next(buf)
	}
}

// BenchmarkNewCutter is what the tables cost each process.
func BenchmarkNewCutter(b *testing.B) {
	for b.Loop() {
		newCutter(b, small())
	}
}

func BenchmarkDerivePoly(b *testing.B) {
	var seed [32]byte
	for b.Loop() {
		seed[0]++
		seed[1] += seed[0]
		if _, err := DerivePoly(seed); err != nil {
			b.Fatal(err)
		}
	}
}
