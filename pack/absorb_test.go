package pack

import (
	"sync"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
)

func TestAbsorb(t *testing.T) {
	t.Parallel()
	rng := seeded(13)
	for _, kind := range []chunk.Type{chunk.Data, chunk.Index} {
		s, other := testSession(), newSession(t)
		if kind == chunk.Index {
			s, other = sessionFor(kind), testKeys().IndexSession(seal.SessionID{8})
		}
		g := Geometry{K: 3, M: 1}
		const target = 128 << 10
		w, o := NewWriter(testKeys(), s, kind, g, target), NewWriter(testKeys(), other, kind, g, target)
		var blobs []blob
		for i := range 30 {
			b := newBlob(t, rng, s, kind, 500+i)
			if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, b)
			b = newBlob(t, rng, other, kind, 800+i)
			if _, err := o.Add(b.Sealed, b.sealed, nil); err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, b)
		}
		// One that both have.
		if _, err := o.Add(blobs[0].Sealed, blobs[0].sealed, &SessionWrap{ID: s.ID(), Wrap: s.Wrap()}); err != nil {
			t.Fatal(err)
		}
		if w.Absorb(w) || w.Absorb(NewWriter(testKeys(), s, kind, Geometry{K: 3}, 0)) || w.Absorb(NewWriter(testKeys(), testSession(), chunk.Tree, g, 0)) {
			t.Error("absorbs what it must not")
		}
		if !w.Absorb(o) {
			t.Fatal("does not fit")
		}
		if n, _ := o.Len(); n != 0 {
			t.Errorf("%d blobs are left", n)
		}
		if n, _ := w.Len(); n != len(blobs) {
			t.Errorf("%d blobs, want %d", n, len(blobs))
		}
		p, err := w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		wantAll(t, p, blobs)
		if w.Absorb(o) || o.Absorb(w) {
			t.Error("a sealed pack is merged")
		}
		again := newBlob(t, rng, other, kind, 100)
		if _, err := o.Add(again.Sealed, again.sealed, nil); err != nil {
			t.Fatal(err)
		}
		if p, err = o.Seal(); err != nil {
			t.Fatal(err)
		}
		wantAll(t, p, []blob{again})
	}
}

// What does not fit as a whole is left as it is.
func TestAbsorbFull(t *testing.T) {
	t.Parallel()
	rng := seeded(14)
	s := testSession()
	fill := func(n int) (*Writer, []blob) {
		w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: 2}, 64<<10)
		var blobs []blob
		for range n {
			b := newBlob(t, rng, s, chunk.Data, 3000)
			if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, b)
		}
		return w, blobs
	}
	a, inA := fill(30)
	b, inB := fill(15)
	if a.Absorb(b) {
		t.Fatal("45 blobs of 3 kB in 128 kB")
	}
	for _, x := range []struct {
		w     *Writer
		blobs []blob
	}{{a, inA}, {b, inB}} {
		p, err := x.w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		wantAll(t, p, x.blobs)
	}
}

// Buffers go round: packs sealed at the same time never share memory, and what was released may be overwritten.
func TestRelease(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rng := seeded(uint64(20 + i))
			s := testSession()
			for range 5 {
				w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: 2, M: 1}, 1<<20)
				var blobs []blob
				for range 20 {
					b := newBlob(t, rng, s, chunk.Data, 1+rng.IntN(3000))
					if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
						t.Error(err)
						return
					}
					blobs = append(blobs, b)
				}
				p, err := w.Seal()
				if err != nil {
					t.Error(err)
					return
				}
				wantAll(t, p, blobs)
				p.Release()
				if p.Shards != nil {
					t.Error("shards after Release")
				}
				p.Release()
			}
		})
	}
	wg.Wait()
}

func TestBuffers(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 4096, 1 << 20, 1<<20 + 1, 5 << 20, MaxColumn} {
		b := newBuffer(size)
		if len(b) != 0 || !holds(b, size) {
			t.Errorf("buffer for %d: length %d, capacity %d", size, len(b), cap(b))
		}
		freeBuffer(b[:1])
	}
	freeBuffer(nil)
	freeBuffer(make([]byte, 12345)) // not one of ours: left to the garbage collector
}

// BenchmarkWriter fills and seals a pack of 4+2, which hashes 48 MiB and computes 16 MiB of parity for 32 MiB of blobs.
func BenchmarkWriter(b *testing.B) {
	s := testSession()
	sealed := make([]byte, 800<<10)
	id := chunk.ID{1}
	bytes := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: 4, M: 2}, 0)
		for i := 0; w.Fits(len(sealed)); i++ {
			id[1], id[2] = byte(i), byte(i>>8)
			if _, err := w.Add(seal.Sealed{ID: id, Type: chunk.Data, Plain: 1 << 20, Compression: seal.Zstd, Session: s.ID()}, sealed, nil); err != nil {
				b.Fatal(err)
			}
		}
		_, bytes = w.Len()
		p, err := w.Seal()
		if err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
	b.SetBytes(bytes)
}
