package pack

// The arithmetic of docs/format.md §5 written down plainly, to test the fast one against (coder.selfTest). Never used on
// columns: it is a thousand times slower.

// gfPoly is x⁸+x⁴+x³+x²+1. Wire format, do not change.
const gfPoly = 0x11D

// gfMul multiplies in GF(2⁸).
func gfMul(a, b byte) byte {
	var product uint16
	for x := uint16(a); b != 0; b >>= 1 {
		if b&1 != 0 {
			product ^= x
		}
		if x <<= 1; x&0x100 != 0 {
			x ^= gfPoly
		}
	}
	return byte(product)
}

// gfPow returns a to the n-th power; the 0th power of 0 is 1.
func gfPow(a byte, n int) byte {
	p := byte(1)
	for range n {
		p = gfMul(p, a)
	}
	return p
}

// gfInverse returns 1/a for a ≠ 0: the group has 255 elements.
func gfInverse(a byte) byte { return gfPow(a, 254) }

// codingMatrix returns M = V · T⁻¹ with V[r][c] = r^c and T the top k rows of V. Row j says what shard j is made of.
func codingMatrix(g Geometry) [][]byte {
	v := make([][]byte, g.N())
	for r := range v {
		v[r] = make([]byte, g.K)
		for c := range v[r] {
			v[r][c] = gfPow(byte(r), c)
		}
	}
	// The column operations that make T the identity make M of V. No pivot is ever 0, since every leading square of T is a
	// Vandermonde matrix of distinct points.
	for i := range g.K {
		scaleColumn(v, i, gfInverse(v[i][i]))
		for c := range g.K {
			if c != i && v[i][c] != 0 {
				addColumn(v, c, i, v[i][c])
			}
		}
	}
	return v
}

func scaleColumn(v [][]byte, c int, by byte) {
	for _, row := range v {
		row[c] = gfMul(row[c], by)
	}
}

// addColumn adds column from times by to column to.
func addColumn(v [][]byte, to, from int, by byte) {
	for _, row := range v {
		row[to] ^= gfMul(row[from], by)
	}
}
