package chunk

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// TestArena: what is lent at the same time does not overlap, has room, and what came back is lent again.
func TestArena(t *testing.T) {
	t.Parallel()
	var a Arena
	rng := rand.New(rand.NewPCG(1, 2))
	type held struct {
		buf  []byte
		fill byte
	}
	var out []held
	verify := func(h held) {
		for _, b := range h.buf {
			if b != h.fill {
				t.Fatalf("a buffer of %d bytes was written to by another one", len(h.buf))
			}
		}
	}
	for i := range 3000 {
		if len(out) > 8 || len(out) > 0 && rng.IntN(2) == 0 {
			at := rng.IntN(len(out))
			verify(out[at])
			a.Put(out[at].buf)
			out[at] = out[len(out)-1]
			out = out[:len(out)-1]
			continue
		}
		n := rng.IntN(1 << (4 + rng.IntN(20)))
		buf := a.Take(n)
		if len(buf) != 0 || cap(buf) < n {
			t.Fatalf("%d bytes, room for %d, want %d", len(buf), cap(buf), n)
		}
		buf = buf[:n]
		for j := range buf {
			buf[j] = byte(i)
		}
		out = append(out, held{buf, byte(i)})
	}
	for _, h := range out {
		verify(h)
		a.Put(h.buf)
	}
	for i := range a.pieces {
		if len(a.pieces[i].lent) > 0 {
			t.Errorf("piece %d: %d parts did not come back", i, len(a.pieces[i].lent))
		}
	}
}

// TestArenaIsBounded: what is beyond its pieces is made anew, and forgotten when it comes back.
func TestArenaIsBounded(t *testing.T) {
	t.Parallel()
	var a Arena
	var out [][]byte
	for range 100 {
		buf := a.Take(maxChunk)
		if cap(buf) < maxChunk {
			t.Fatal(cap(buf))
		}
		out = append(out, buf)
	}
	pieces := len(a.pieces)
	if pieces < arenaPieces || pieces > 99 {
		t.Errorf("%d pieces", pieces)
	}
	for _, buf := range out {
		a.Put(buf)
	}
	a.Put(a.Take(MaxPlain))
	a.Put(a.Take(0))
	if len(a.pieces) != pieces {
		t.Errorf("%d pieces", len(a.pieces))
	}
	// From the first place: the piece that was touched is touched again.
	first := a.Take(1000)
	if &first[:1][0] != &a.pieces[0].memory[0] {
		t.Error("not the first place")
	}
}

func TestArenaConcurrently(t *testing.T) {
	t.Parallel()
	var a Arena
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for range 500 {
				buf := a.Take(1 + rng.IntN(3<<20))
				buf = append(buf, byte(i))
				if buf[0] != byte(i) {
					t.Error("shared")
				}
				a.Put(buf)
			}
		})
	}
	wg.Wait()
}

// BenchmarkSum hashes chunks of mean and of the shortest length.
func BenchmarkSum(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"10KiB", 10 << 10}, {"512KiB", 512 << 10}, {"1.5MiB", 3 << 19}} {
		b.Run(c.name, func(b *testing.B) {
			plain := make([]byte, c.n)
			rand.NewChaCha8([32]byte{1}).Read(plain)
			b.SetBytes(int64(c.n))
			for b.Loop() {
				if Sum(plain) == (ID{}) {
					b.Fatal("no id")
				}
			}
		})
	}
}
