package bench

import (
	"fmt"
	"io"
	"math/rand/v2"

	"cairn/chunk"
)

// sampleSize is how much data the steps work on, again and again: some chunks, and more than the caches of a core.
const sampleSize = 8 << 20

// sample is data, cut into chunks as files are.
type sample struct {
	data   []byte
	pieces [][]byte
}

func newSample(data []byte, p chunk.Params) (*sample, error) {
	c, err := chunk.NewCutter(p)
	if err != nil {
		return nil, err
	}
	s := &sample{data: data}
	rest := data
	for n := c.Next(rest); n >= 0; n = c.Next(rest) {
		s.pieces = append(s.pieces, rest[:n])
		rest = rest[n:]
	}
	if len(rest) > 0 {
		s.pieces = append(s.pieces, rest)
	}
	return s, nil
}

// readSample reads the beginning of what a user has.
func readSample(r io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)))
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("it is empty")
	}
	return data, err
}

// randomData is what does not compress: photos, archives, what is encrypted already.
func randomData(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

// text is data that compresses like source code, mail and tables: words that are as unevenly frequent as those of languages, numbers,
// indented lines, and what was there before. zstd makes 29 % of it at 83 MB/s, where it made 38 % of Go's sources at 103 and 21 % of a Linux system's
// files at 140.
func text(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	const letters = "etaoinshrdlucmfwypvbgk"
	words := make([]string, 6000)
	for i := range words {
		w := make([]byte, 2+rng.IntN(9))
		for j := range w {
			w[j] = letters[min(rng.IntN(len(letters)), rng.IntN(len(letters)))]
		}
		words[i] = string(w)
	}
	frequent := rand.NewZipf(rng, 1.15, 4, uint64(len(words)-1))
	const stops = "    ....,,();:=_-/\n\n"
	b := make([]byte, 0, size+256)
	for len(b) < size {
		switch rng.IntN(14) {
		case 0:
			b = fmt.Appendf(b, "%d", rng.IntN(1000))
		case 2: // what was there before, as code and tables have it
			if n := 12 + rng.IntN(90); len(b) > 4*n {
				at := len(b) - n - rng.IntN(min(len(b)-n, 60_000))
				b = append(b, b[at:at+n]...)
			}
		case 1:
			b = append(b, "\n        "[:1+rng.IntN(9)]...)
		default:
			b = append(b, words[frequent.Uint64()]...)
		}
		b = append(b, stops[rng.IntN(len(stops))])
	}
	return b[:size]
}
