package chunk

import "github.com/restic/chunker"

// digestShift brings the byte that overflows when a digest is moved up by a byte to the bottom.
const digestShift = polyDegree - 8

// tables hold what is computed from a polynomial, once; all Cutters cloned from one share them and nobody changes them.
//
// The digest of 64 bytes is the polynomial whose coefficients are their bits (the last byte's are the lowest), modulo
// the archive's polynomial. Moving the window by a byte takes two steps, both linear:
//
//	digest·x^8 + in  modulo the polynomial       (mod, indexed by the byte that overflows)
//	           − out·x^(8·64)                    (out, indexed by the byte that leaves)
//
// The second does not depend on the digest, so it stays out of the chain of dependent operations (shift, load, xor: about
// eight cycles a byte) that limits a Rabin chunker; the library's table, which takes the byte away before the move,
// lies in that chain.
type tables struct {
	mod [256]uint64
	out [256]uint64

	kernel kernel
	vectors
}

func newTables(poly uint64) *tables {
	t := new(tables)
	pol := chunker.Pol(poly)
	for b := range 256 {
		high := chunker.Pol(b) << polyDegree
		t.mod[b] = uint64(high.Mod(pol) | high)
	}
	for b := range 256 {
		h := uint64(b)
		for range windowSize {
			h = h<<8 ^ t.mod[byte(h>>digestShift)]
		}
		t.out[b] = h
	}
	t.use(best())
	return t
}

// roll adds bytes to a digest from which none has to leave yet.
func (t *tables) roll(h uint64, in []byte) uint64 {
	for _, b := range in {
		h = (h<<8 | uint64(b)) ^ t.mod[byte(h>>digestShift)]
	}
	return h
}
