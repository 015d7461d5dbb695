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

func TestCutterEqualsReference(t *testing.T) {
	t.Parallel()
	p := small()
	c := newCutter(t, p)
	mixed := slices.Concat(random(150_000, 1), make([]byte, 200_000), random(90_001, 2), periodic(100_000, 64), make([]byte, 63), random(70_000, 3))
	inputs := map[string][]byte{
		"empty": nil, "one byte": {7}, "min": random(p.Min, 4), "min+1": random(p.Min+1, 4), "max": make([]byte, p.Max),
		"random": random(1<<20, 5), "zeros": make([]byte, 1<<20), "mixed": mixed, "ones": bytes.Repeat([]byte{0xff}, 300_000),
	}
	for _, period := range []int{1, 2, 63, 64, 65, 100, 4096} {
		inputs[fmt.Sprintf("period %d", period)] = periodic(300_000, period)
	}
	r := rand.New(rand.NewPCG(1, 2))
	splits := map[string]func() int{
		"whole": func() int { return 1 << 30 }, "1": func() int { return 1 }, "63": func() int { return 63 }, "64": func() int { return 64 }, "65": func() int { return 65 },
		"min": func() int { return p.Min }, "min-64": func() int { return p.Min - windowSize }, "odd": func() int { return 1 + r.IntN(9973) },
	}
	for name, data := range inputs {
		want := reference(t, p, data)
		for split, next := range splits {
			c.Reset()
			if diff := cmp.Diff(want, cut(c, data, next)); diff != "" {
				t.Errorf("%s in buffers of %s: %s", name, split, diff)
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

func FuzzCutter(f *testing.F) {
	f.Add([]byte("seed"), uint16(100), uint16(3))
	f.Add(make([]byte, 9000), uint16(64), uint16(1))
	f.Add(random(20_000, 1), uint16(20_000), uint16(2))
	p := Params{Poly: testPoly, Min: 128, Max: 4096, Bits: 10}
	c, err := NewCutter(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, split, repeat uint16) {
		data = bytes.Repeat(data, 1+int(repeat)%50)
		c.Reset()
		if diff := cmp.Diff(reference(t, p, data), cut(c, data, func() int { return 1 + int(split) })); diff != "" {
			t.Error(diff)
		}
	})
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
