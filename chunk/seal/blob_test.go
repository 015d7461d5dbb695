package seal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"cairn/chunk"
)

func sealBlob(t testing.TB, s *Session, typ chunk.Type, plain []byte) (Sealed, []byte) {
	t.Helper()
	id := chunk.Sum(plain)
	sealed, c, err := s.Seal(nil, typ, id, plain)
	if err != nil {
		t.Fatal(err)
	}
	return Sealed{ID: id, Type: typ, Compression: c, Plain: uint32(len(plain)), Session: s.ID()}, sealed
}

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(s).Read(b)
	return b
}

// text makes n bytes that compress about as well as source code does.
func text(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("func return if err nil package import the archive of session blob key range string int byte error for := != == { } ( ) [ ] , .")
	var b bytes.Buffer
	for b.Len() < n {
		if r.IntN(20) == 0 {
			fmt.Fprintf(&b, "%x", r.Uint32N(1<<20))
		}
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(" \n"[r.IntN(8)/7])
	}
	return b.Bytes()[:n]
}

func mixed(n int, seed uint64) []byte {
	b := random(n, seed)
	for at := 0; at < n; at += n / 4 {
		copy(b[at:], text(n/8, seed+uint64(at)))
	}
	return b
}

func TestSealOpen(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	for _, n := range []int{1, 2, 31, 64, 255, 256, 257, 1000, 4096, 64 << 10, 64<<10 + 1, 300_000, 1<<20 + 7} {
		for name, plain := range map[string][]byte{"zero": make([]byte, n), "random": random(n, 1), "text": text(n, 2), "mixed": mixed(max(n, 8), 3)} {
			for _, typ := range []chunk.Type{chunk.Data, chunk.Tree} {
				b, sealed := sealBlob(t, s, typ, plain)
				if len(sealed) > len(plain)+Overhead {
					t.Errorf("%s %d: %d bytes sealed", name, n, len(sealed))
				}
				want := None
				if name != "random" && n >= 4096 || name == "zero" && n >= 64 {
					want = Zstd
				}
				if n >= 64 && name != "text" && name != "mixed" || n >= 4096 {
					if b.Compression != want {
						t.Errorf("%s %d: compression %s, want %s", name, n, b.Compression, want)
					}
				}
				kept := bytes.Clone(sealed)
				got, err := s.Open(nil, b, sealed)
				if err != nil {
					t.Fatalf("%s %d: %v", name, n, err)
				}
				if !bytes.Equal(got, plain) || !bytes.Equal(kept, sealed) {
					t.Errorf("%s %d: opened or sealed bytes differ", name, n)
				}
			}
		}
	}
}

func TestSealAppends(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	plain := text(5000, 1)
	dst := make([]byte, 3, 20_000)
	copy(dst, "abc")
	out, c, err := s.Seal(dst, chunk.Data, chunk.Sum(plain), plain)
	if err != nil {
		t.Fatal(err)
	}
	if &out[0] != &dst[0] || string(out[:3]) != "abc" {
		t.Error("not appended in place")
	}
	b := Sealed{ID: chunk.Sum(plain), Type: chunk.Data, Compression: c, Plain: 5000, Session: s.ID()}
	into := make([]byte, 10, 5000)
	got, err := s.Open(into, b, out[3:])
	if err != nil {
		t.Fatal(err)
	}
	if &got[0] != &into[0] {
		t.Error("not opened in place")
	}
	if got, err = s.Open(make([]byte, 0, 4999), b, out[3:]); err != nil || cap(got) < 5000 || cap(got) > 5000+decodeRoom {
		t.Errorf("capacity %d, %v", cap(got), err)
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	for _, plain := range [][]byte{nil, make([]byte, chunk.MaxPlain+1)} {
		if _, _, err := s.Seal(nil, chunk.Data, chunk.Sum(plain), plain); err == nil {
			t.Errorf("%d bytes were sealed", len(plain))
		}
	}
	for _, typ := range []chunk.Type{0, 4, 255} {
		if _, _, err := s.Seal(nil, typ, chunk.ID{}, []byte{1}); err == nil {
			t.Errorf("%s was sealed", typ)
		}
	}
}

func TestSealIsRandomised(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	plain := random(100, 1)
	_, a := sealBlob(t, s, chunk.Data, plain)
	_, b := sealBlob(t, s, chunk.Data, plain)
	if bytes.Equal(a, b) || bytes.Equal(a[:nonceSize], b[:nonceSize]) {
		t.Error("sealed twice alike")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	s := newSession(t, k)
	other := newSession(t, k)
	plain := text(3000, 1)
	b, sealed := sealBlob(t, s, chunk.Data, plain)
	raw, rawSealed := sealBlob(t, s, chunk.Data, random(3000, 1))
	if b.Compression != Zstd || raw.Compression != None {
		t.Fatal("not what this test needs")
	}
	with := func(b Sealed, change func(*Sealed)) Sealed { change(&b); return b }
	for _, c := range []struct {
		name   string
		s      *Session
		b      Sealed
		sealed []byte
		want   error
	}{
		{"other type", s, with(b, func(b *Sealed) { b.Type = chunk.Tree }), sealed, ErrNotAuthentic},
		{"other id", s, with(b, func(b *Sealed) { b.ID[0] ^= 1 }), sealed, ErrNotAuthentic},
		{"other session", other, with(b, func(b *Sealed) { b.Session = other.ID() }), sealed, ErrNotAuthentic},
		{"longer", s, with(b, func(b *Sealed) { b.Plain++ }), sealed, ErrNotAuthentic},
		{"shorter", s, with(b, func(b *Sealed) { b.Plain-- }), sealed, ErrNotAuthentic},
		{"empty", s, with(b, func(b *Sealed) { b.Plain = 0 }), sealed, ErrLength},
		{"above the limit", s, with(b, func(b *Sealed) { b.Plain = chunk.MaxPlain + 1 }), sealed, ErrLength},
		{"not compressed after all", s, with(b, func(b *Sealed) { b.Compression = None }), sealed, ErrLength},
		{"compressed after all", s, with(raw, func(b *Sealed) { b.Compression, b.Plain = Zstd, b.Plain+1 }), rawSealed, ErrNotAuthentic},
		{"raw, wrong length", s, with(raw, func(b *Sealed) { b.Plain++ }), rawSealed, ErrLength},
		{"nothing", s, b, nil, ErrLength},
		{"nothing, raw", s, raw, nil, ErrLength},
		{"only overhead", s, b, sealed[:Overhead], ErrLength},
		{"frame as long as the plaintext", s, with(b, func(b *Sealed) { b.Plain = uint32(len(sealed) - Overhead) }), sealed, ErrLength},
		{"of another blob", s, b, rawSealed[:len(sealed)], ErrNotAuthentic},
	} {
		_, err := c.s.Open(nil, c.b, c.sealed)
		var open *OpenError
		if !errors.As(err, &open) || open.ID != c.b.ID || open.Type != c.b.Type || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := c.s.Prove(c.b, c.sealed); !errors.As(err, &open) || open.ID != c.b.ID || !errors.Is(err, c.want) {
			t.Errorf("prove %s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, whole := range []struct {
		b      Sealed
		sealed []byte
	}{{b, sealed}, {raw, rawSealed}} {
		if err := s.Prove(whole.b, whole.sealed); err != nil {
			t.Error(err)
		}
		for _, at := range []int{0, nonceSize, len(whole.sealed) / 2, len(whole.sealed) - 1} {
			bad := bytes.Clone(whole.sealed)
			bad[at] ^= 4
			if err := s.Prove(whole.b, bad); !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("byte %d changed: %v", at, err)
			}
		}
	}
	for name, b := range map[string]Sealed{
		"session": with(b, func(b *Sealed) { b.Session = other.ID() }), "type": with(b, func(b *Sealed) { b.Type = 9 }),
		"index": with(b, func(b *Sealed) { b.Type = chunk.Index }), "compression": with(b, func(b *Sealed) { b.Compression = 2 }),
	} {
		var open *OpenError
		if _, err := s.Open(nil, b, sealed); !errors.As(err, &open) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Prove(b, sealed); !errors.As(err, &open) {
			t.Errorf("prove %s: %v", name, err)
		}
	}
}

// TestOpenHash seals under a name that is not the plaintext's, as only a faulty or malicious writer does.
func TestOpenHash(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	id := chunk.Sum([]byte("something else"))
	for _, plain := range [][]byte{random(500, 1), text(500, 1)} {
		sealed, c, err := s.Seal(nil, chunk.Data, id, plain)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Open(nil, Sealed{ID: id, Type: chunk.Data, Compression: c, Plain: 500, Session: s.ID()}, sealed)
		if !errors.Is(err, ErrHash) {
			t.Errorf("%v, want %v", err, ErrHash)
		}
	}
}

// TestOpenBomb opens well-sealed frames that lie about their size, as only a malicious writer makes them.
func TestOpenBomb(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	d := new(codec).get()
	enc, err := d.encoder()
	if err != nil {
		t.Fatal(err)
	}
	bomb := frameOf(t, enc, make([]byte, 8<<20))
	small := frameOf(t, enc, make([]byte, 900))
	for name, frame := range map[string][]byte{
		"bomb": bomb, "empty": {}, "no frame": random(100, 1), "cut": bomb[:len(bomb)/2],
		"lying": lying(1000, 100_000), "lying low": lying(1000, 999),
		"two frames": append(bytes.Clone(small), small...), "too small": small,
		"small one behind": append(frameOf(t, enc, make([]byte, 1000)), frameOf(t, enc, make([]byte, decodeRoom))...),
		"skippable":        append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, small...),
	} {
		b := Sealed{ID: chunk.Sum(make([]byte, 1000)), Type: chunk.Data, Compression: Zstd, Plain: 1000, Session: s.ID()}
		if name == "two frames" || name == "skippable" {
			b.Plain = 900
		}
		aead, m, err := s.cipher(&b)
		if err != nil {
			t.Fatal(err)
		}
		sealed := sealTo(nil, aead, frame, m.aad[:])
		if _, err := s.Open(nil, b, sealed); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// TestInflateRoom gives the decompressor all the room there is: what it may write to ends a little behind the plaintext.
func TestInflateRoom(t *testing.T) {
	t.Parallel()
	d := new(codec).get()
	enc, err := d.encoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{300, 5000, 127 << 10, 128 << 10, 300_001} {
		plain := text(size, uint64(size))
		frame := frameOf(t, enc, plain)
		for _, room := range []int{0, 1, 15, 16, decodeRoom - 1, decodeRoom, 1000} {
			dst := bytes.Repeat([]byte{0xee}, size+room)
			got, err := d.inflate(dst, frame, size)
			if err != nil || !bytes.Equal(got, plain) || &got[0] != &dst[0] {
				t.Errorf("%d bytes with room for %d: wrong, or not in place: %v", size, room, err)
			}
			if behind := dst[min(len(dst), size+decodeRoom):]; len(bytes.TrimLeft(behind, "\xee")) > 0 {
				t.Errorf("%d bytes with room for %d: written beyond", size, room)
			}
		}
	}
}

// lying is a frame that states one size (256 to 65791) and holds another, as one run of zeros.
func lying(stated, size int) []byte {
	stated -= 256
	block := size<<3 | 1<<1 | 1
	return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x60, byte(stated), byte(stated >> 8), byte(block), byte(block >> 8), byte(block >> 16), 0}
}

func TestSealConcurrently(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20 {
				plain := text(2000+97*i, uint64(g*1000+i))
				if i%2 == 1 {
					plain = random(70_000, uint64(g*1000+i))
				}
				b, sealed := sealBlob(t, s, chunk.Data, plain)
				if got, err := s.Open(nil, b, sealed); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d %d: %v", g, i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSealAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool is random under the race detector")
	}
	s := newSession(t, fixedKeys())
	plain := random(1000, 1)
	id := chunk.Sum(plain)
	dst := make([]byte, 0, MaxSealed(len(plain)))
	if n := testing.AllocsPerRun(200, func() {
		if _, _, err := s.Seal(dst, chunk.Data, id, plain); err != nil {
			t.Error(err)
		}
	}); n > 6 { // two ciphers, sealed and opened again; the pools may lose one
		t.Errorf("%v allocations for a blob", n)
	}
}
