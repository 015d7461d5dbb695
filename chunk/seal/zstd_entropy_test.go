package seal

import (
	"fmt"
	"testing"

	"cairn/chunk"
)

// Text in which nothing repeats for long still has skewed letters.
func TestSealCompressesSkewedText(t *testing.T) {
	t.Parallel()
	k, err := NewRoot(NewArchiveID())
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for i := range 9000 {
		text = fmt.Appendf(text, "%d\n", i)
	}
	sealed, c, err := s.Seal(nil, chunk.Data, chunk.Sum(text), text)
	if err != nil || c != Zstd || len(sealed) > len(text)*6/10 {
		t.Errorf("%d bytes became %d (%d): %v", len(text), len(sealed), c, err)
	}
}

func frameOf(t testing.TB, enc compressor, plain []byte) []byte {
	t.Helper()
	frame, err := enc.compress(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}
