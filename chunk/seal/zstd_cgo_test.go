//go:build cgo

package seal

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/DataDog/zstd"

	"cairn/chunk"
)

// Each implementation reads what the other writes, and frames keep to docs/format.md: a stated size, a window within the limit.
func TestCompressorsAgree(t *testing.T) {
	t.Parallel()
	made, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	inGo, err := newGoCompressor()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 63, 255, 256, 257, 4096, 100_000, 128 << 10, 1<<20 + 1, 3<<20 + 5, chunk.MaxPlain} {
		for name, plain := range map[string][]byte{"zero": make([]byte, n), "random": random(n, 1), "text": text(n, 2)} {
			for who, enc := range map[string]compressor{"C": made, "Go": inGo} {
				what := fmt.Sprintf("%d bytes of %s, by %s", n, name, who)
				frame := frameOf(t, enc, plain)
				if len(frame) > frameBound(n) {
					t.Errorf("%s: frame of %d bytes, more than the bound", what, len(frame))
				}
				size, err := frameSize(frame)
				if err != nil || size != uint64(n) {
					t.Errorf("%s: states %d: %v", what, size, err)
				}
				got, err := new(codec).get().inflate(make([]byte, n), frame, n)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s: in Go: %v", what, err)
				}
				got, err = zstd.Decompress(make([]byte, n), frame)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s: in C: %v", what, err)
				}
			}
		}
	}
}

// The frame lies behind what was there, without a move when there is room for it.
func TestCompressorAppends(t *testing.T) {
	t.Parallel()
	enc, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	plain := text(70_000, 1)
	dst := append(make([]byte, 0, 3+frameBound(len(plain))), "abc"...)
	out, err := enc.compress(dst, plain)
	if err != nil || &out[0] != &dst[0] || string(out[:3]) != "abc" {
		t.Errorf("not appended in place: %v", err)
	}
	short, err := enc.compress([]byte("abc"), plain)
	if err != nil || !bytes.Equal(short, out) {
		t.Errorf("appended to a slice without room: %v", err)
	}
}
