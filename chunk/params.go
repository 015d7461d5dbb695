package chunk

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/bits"

	"github.com/restic/chunker"
)

const (
	// windowSize is the number of bytes that decide a cut; it is a constant of the chunker and of the format.
	windowSize = 64
	polyDegree = 53

	minBits = 10
	maxBits = 24

	// maxChunk bounds Params.Max. A chunk must fit a column of a pack (4 to 16 MiB) with its sealing, and every
	// goroutine that cuts or restores holds whole chunks in memory.
	maxChunk = 8 << 20
)

// Params say where files are cut. Two writers deduplicate against each other only if all four are equal.
type Params struct {
	Poly uint64 // irreducible polynomial of degree 53 over GF(2), secret (see the package comment)
	Min  int    // no chunk but a file's last is shorter, in bytes
	Max  int    // no chunk is longer, in bytes
	Bits int    // a permitted position is a cut with probability 2^-Bits: the mean length is about Min + 2^Bits
}

// DefaultParams are restic's boundaries (so that cuts can be compared with it), without a polynomial: mean
// chunk 1.5 MiB, about 700,000 blobs a TiB.
func DefaultParams() Params { return Params{Min: 512 << 10, Max: 8 << 20, Bits: 20} }

// Validate refuses parameters that the cutter cannot work with or that this version of the format excludes. That
// the polynomial is irreducible is not tested here (it takes milliseconds): DerivePoly makes no others.
func (p Params) Validate() error {
	switch {
	case p.Min <= windowSize:
		return fmt.Errorf("chunker: minimal length %d must be above the window of %d bytes", p.Min, windowSize)
	case p.Max < p.Min:
		return fmt.Errorf("chunker: maximal length %d is below the minimal length %d", p.Max, p.Min)
	case p.Max > maxChunk:
		return fmt.Errorf("chunker: maximal length %d is above %d", p.Max, maxChunk)
	case p.Bits < minBits || p.Bits > maxBits:
		return fmt.Errorf("chunker: %d bits, want %d to %d", p.Bits, minBits, maxBits)
	}
	return ValidPoly(p.Poly)
}

// ValidPoly says whether p can be a polynomial of the chunker: degree 53 and not divisible by x. Its value is
// secret and therefore not part of the error.
func ValidPoly(p uint64) error {
	switch {
	case p == 0:
		return errors.New("chunker: no polynomial")
	case bits.Len64(p)-1 != polyDegree:
		return fmt.Errorf("chunker: polynomial of degree %d, want %d", bits.Len64(p)-1, polyDegree)
	case p&1 == 0:
		return errors.New("chunker: polynomial is divisible by x")
	}
	return nil
}

// DerivePoly turns a secret seed into the archive's polynomial. It reads the AES-256-CTR keystream of the seed
// (initial counter block zero) as little-endian 64-bit numbers, keeps bits 0 to 53 of each, sets bits 53 and 0, and
// takes the first irreducible one: about one in 27 is. The result is part of the format; do not change.
func DerivePoly(seed [32]byte) (uint64, error) {
	block, err := aes.NewCipher(seed[:])
	if err != nil {
		return 0, fmt.Errorf("chunker polynomial: %w", err)
	}
	stream := cipher.NewCTR(block, make([]byte, aes.BlockSize))
	p, err := chunker.DerivePolynomial(cipher.StreamReader{S: stream, R: zeros{}})
	if err != nil {
		return 0, fmt.Errorf("chunker polynomial: %w", err)
	}
	return uint64(p), nil
}

// zeros is an endless reader of zero bytes; a stream cipher over it gives its keystream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
