package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// rehash makes the header's own checksum good again.
func rehash(b []byte) {
	sum := sha256.Sum256(b[:4064])
	copy(b[4064:], sum[:])
}

// Offsets are written out here once more, as a reader of docs/format.md §5 would.
func TestHeaderLayout(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 4, M: 2, Epoch: 0x0201}, chunk.Tree, someSizes(20)...)
	b := p.Shards[5]
	h := parse(t, b)
	le := binary.LittleEndian
	if string(b[:8]) != "CAIRNPAK" || le.Uint16(b[8:]) != 1 || b[10] != 2 || b[11] != 4 || b[12] != 2 || b[13] != 17 || le.Uint16(b[14:]) != 0x0201 {
		t.Errorf("head %x", b[:16])
	}
	if a := testKeys().Archive(); !bytes.Equal(b[16:32], a[:]) {
		t.Error("archive id")
	}
	if s := testSession().ID(); !bytes.Equal(b[32:48], s[:]) {
		t.Error("session id")
	}
	L := int64(le.Uint64(b[48:]))
	if L != h.L || L%4096 != 0 || int64(len(b)) != 4096+L+4*((L+131071)/131072)+4096 {
		t.Errorf("L = %d, shard of %d bytes", L, len(b))
	}
	for j, s := range p.Shards {
		if sum := sha256.Sum256(s[4096 : 4096+L]); !bytes.Equal(b[224+32*j:256+32*j], sum[:]) {
			t.Errorf("hash of shard %d", j)
		}
		if !bytes.Equal(s[:2816], b[:2816]) || s[2816] != byte(j) || !bytes.Equal(s[2817:4064], b[2817:4064]) {
			t.Errorf("shard %d differs in more than its number", j)
		}
		if !bytes.Equal(s[:4096], s[len(s)-4096:]) {
			t.Errorf("copy in shard %d", j)
		}
	}
	if id := sha256.Sum256(b[:2816]); id != p.ID || h.ID != p.ID {
		t.Error("pack id")
	}
	w := testSession().Wrap()
	if le.Uint16(b[1248:]) != 1168 || le.Uint16(b[1250:]) != 60 || !bytes.Equal(b[1252:1252+1168], w.HPKE) || !bytes.Equal(b[2656:2716], w.Root) {
		t.Error("wraps")
	}
	sig := seal.Signature{Signer: [32]byte(b[64:96]), Sig: [64]byte(b[2824:2888]), Cert: [64]byte(b[2888:2952])}
	if err := testKeys().Verify("cairn/v1/pack", p.ID[:], sig); err != nil {
		t.Error(err)
	}
	if sum := sha256.Sum256(b[:4064]); !bytes.Equal(sum[:], b[4064:4096]) {
		t.Error("header hash")
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	t.Parallel()
	for _, kind := range []chunk.Type{chunk.Data, chunk.Tree, chunk.Index} {
		p, _ := sealPack(t, Geometry{K: 3, M: 2, Epoch: 9}, kind, someSizes(9)...)
		h := parse(t, p.Shards[4])
		if h.Shard != 4 || h.Kind != kind {
			t.Errorf("shard %d of kind %s", h.Shard, h.Kind)
		}
		again := *h
		again.encodeCore()
		again.encodeSignature()
		var b [HeaderSize]byte
		again.put(b[:], 4)
		if !bytes.Equal(b[:], p.Shards[4][:HeaderSize]) {
			t.Errorf("%s: header is not encoded as it was read", kind)
		}
		if diff := cmp.Diff(h, parse(t, b[:]), cmpopts.IgnoreUnexported(Header{})); diff != "" {
			t.Error(diff)
		}
		if err := h.VerifySignature(testKeys()); err != nil {
			t.Error(err)
		}
		if kind == chunk.Index && (h.Session.Wrap.HPKE != nil || h.Session.Wrap.Root != nil) {
			t.Error("index pack with wraps")
		}
	}
}

func TestHeaderRefuses(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 4, M: 2}, chunk.Data, someSizes(9)...)
	le := binary.LittleEndian
	for name, change := range map[string]func(b []byte){
		"magic":                func(b []byte) { b[0] = 'X' },
		"kind 0":               func(b []byte) { b[10] = 0 },
		"kind 4":               func(b []byte) { b[10] = 4 },
		"kind index with wrap": func(b []byte) { b[10] = 3 },
		"k 0":                  func(b []byte) { b[11] = 0 },
		"k + m 33":             func(b []byte) { b[12] = 29 },
		"block size":           func(b []byte) { b[13] = 16 },
		"L 0":                  func(b []byte) { le.PutUint64(b[48:], 0) },
		"L not aligned":        func(b []byte) { le.PutUint64(b[48:], 4097) },
		"L too large":          func(b []byte) { le.PutUint64(b[48:], 32<<20+4096) },
		"L negative":           func(b []byte) { le.PutUint64(b[48:], 1<<63+4096) },
		"directory of 0":       func(b []byte) { le.PutUint32(b[96+4:], 0) },
		"directory of 28":      func(b []byte) { le.PutUint32(b[96+4:], 28) },
		"directory beyond L":   func(b []byte) { le.PutUint32(b[96:], uint32(le.Uint64(b[48:]))+1) },
		"fifth directory":      func(b []byte) { b[96+4*4] = 1 },
		"last directory":       func(b []byte) { b[223] = 1 },
		"seventh hash":         func(b []byte) { b[224+6*32] = 1 },
		"last hash":            func(b []byte) { b[1247] = 1 },
		"wrap of 0":            func(b []byte) { le.PutUint16(b[1248:], 0) },
		"wrap of 1167":         func(b []byte) { le.PutUint16(b[1248:], 1167) },
		"wrap of 65535":        func(b []byte) { le.PutUint16(b[1248:], 65535) },
		"root wrap of 59":      func(b []byte) { le.PutUint16(b[1250:], 59) },
		"root wrap of 0":       func(b []byte) { le.PutUint16(b[1250:], 0) },
		"root wrap of 65535":   func(b []byte) { le.PutUint16(b[1250:], 65535) },
		"behind the wrap":      func(b []byte) { b[1252+1168] = 1 },
		"behind the root wrap": func(b []byte) { b[2815] = 1 },
		"shard 6":              func(b []byte) { b[2816] = 6 },
		"shard 255":            func(b []byte) { b[2816] = 255 },
	} {
		b := bytes.Clone(p.Shards[0][:HeaderSize])
		change(b)
		rehash(b)
		_, err := ParseHeader(b)
		var c *CorruptError
		if !errors.As(err, &c) {
			t.Errorf("%s: %v", name, err)
		} else if c.Part != InHeader || c.PayloadGood() != true {
			t.Errorf("%s: %+v", name, c)
		}
	}

	b := bytes.Clone(p.Shards[0][:HeaderSize])
	b[8] = 2
	if _, err := ParseHeader(b); !errors.Is(err, seal.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
	for n := range HeaderSize {
		if _, err := ParseHeader(p.Shards[0][:n:n]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for i := range HeaderSize {
		b := bytes.Clone(p.Shards[0][:HeaderSize])
		b[i] ^= 0x10
		if _, err := ParseHeader(b); err == nil {
			t.Fatalf("byte %d changed: accepted", i)
		}
	}
}

// Reserved bytes are zero when written and not looked at when read.
func TestHeaderReserved(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 2, M: 1}, chunk.Data, someSizes(3)...)
	for _, r := range [][2]int{{56, 64}, {2817, 2824}, {2952, 4064}} {
		b := bytes.Clone(p.Shards[1][:HeaderSize])
		if at := nonZero(b, r[0], r[1]); at >= 0 {
			t.Errorf("byte %d is written", at)
		}
		b[r[0]], b[r[1]-1] = 1, 1
		rehash(b)
		h := parse(t, b)
		if inCore := r[0] < coreSize; inCore != (h.ID != p.ID) {
			t.Errorf("reserved bytes from %d: id %s", r[0], h.ID)
		}
	}
}

func TestVerifySignature(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 1}, chunk.Data, 500)
	h := parse(t, p.Shards[0])
	other, err := seal.KeysFromRoot(seal.ArchiveID{9}, [32]byte{4, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.VerifySignature(other); !errors.Is(err, ErrForeign) {
		t.Errorf("another archive: %v", err)
	}
	bad := *h
	bad.Signature.Sig[0] ^= 1
	if err := bad.VerifySignature(testKeys()); !errors.Is(err, seal.ErrSignature) {
		t.Errorf("changed signature: %v", err)
	}

	writer, err := testKeys().NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	s, err := writer.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(writer, s, chunk.Data, Geometry{K: 2, M: 1}, 0)
	b := newBlob(t, seeded(1), s, chunk.Data, 400)
	if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
		t.Fatal(err)
	}
	sealed, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	h = parse(t, sealed.Shards[0])
	if err := h.VerifySignature(testKeys()); err != nil || len(h.Session.Wrap.Root) != 0 {
		t.Errorf("pack of a certified writer: %v, root wrap of %d bytes", err, len(h.Session.Wrap.Root))
	}
	h.Signature.Cert = [64]byte{}
	if h.VerifySignature(testKeys()) == nil {
		t.Error("accepted without its certificate")
	}
}

func FuzzHeader(f *testing.F) {
	p, _ := sealPack(f, Geometry{K: 2, M: 1}, chunk.Data, someSizes(3)...)
	q, _ := sealPack(f, Geometry{K: 1}, chunk.Index, 100)
	bases := [][]byte{p.Shards[0][:HeaderSize], p.Shards[2][:HeaderSize], q.Shards[0][:HeaderSize], make([]byte, 8192)}
	f.Add(uint8(0), uint16(HeaderSize), []byte{}, false)
	f.Add(uint8(1), uint16(HeaderSize), []byte{56, 0, 1}, true)
	f.Add(uint8(2), uint16(HeaderSize), []byte{11, 0, 2, 96, 0, 40, 100, 0, 40}, true)
	f.Add(uint8(0), uint16(100), []byte{10, 0, 1}, false)
	f.Add(uint8(3), uint16(8192), []byte("CAIRNPAK"), true)
	f.Fuzz(func(t *testing.T, base uint8, size uint16, changes []byte, fix bool) {
		b := bases[int(base)%len(bases)]
		b = changed(b[:min(len(b), int(size))], changes)
		if fix && len(b) >= HeaderSize {
			rehash(b)
		}
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		// What is accepted is defined completely: but for reserved bytes it can be made again.
		again := *h
		again.encodeCore()
		again.encodeSignature()
		want := bytes.Clone(b[:HeaderSize])
		clear(want[56:64])
		clear(want[2817:2824])
		clear(want[2952:4064])
		rehash(want)
		got := make([]byte, HeaderSize)
		again.put(got, h.Shard)
		if !bytes.Equal(got, want) {
			t.Errorf("encodes differently from byte %d on", firstDifference(got, want))
		}
	})
}
