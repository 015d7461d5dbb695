package chunk

import "golang.org/x/sys/cpu"

// How a vector kernel works. It keeps a digest as seven bytes, and the bytes of one kind of all lanes in one register: a
// plane. What it keeps is a polynomial below x^56 that is congruent to the digest; so a move by a byte is a renaming of
// planes (each takes the place of the one above it, the byte that comes in takes the lowest), and what overflows
// is the top plane, T. T·x^56 and out·x^(8·64), modulo the polynomial, are added to all planes:
//
//	plane i = plane i-1 + overflow_i(T) + out_i(out)        plane -1 is the byte that comes in
//
// The functions are linear maps of bytes: one GF2P8AFFINEQB each, or two PSHUFB, one for each half of the byte. For 64
// positions that makes 14 instructions that count, 16 with the test: the two lowest bytes of the digest are planes 0
// and 1 plus excess(T), for the three highest bits of T are not reduced yet. What is smallest of all that was tested is kept
// for each lane, and zero if there is a candidate.
//
// Lanes lie far apart in the file and a register wants the same byte of all of them, so rows of eight or 16 bytes are transposed
// into a ring that holds the last 128 bytes of each lane: the byte that leaves is half a ring away.

// vectors are the tables of the vector kernels; a Cutter has those of one at most.
type vectors struct {
	affine *affineTables
	nibble *nibbleTables
}

// best returns the fastest kernel of this machine.
func best() kernel {
	x := cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VBMI && x.HasAVX512GFNI:
		return avx512
	case x.HasAVX2:
		return avx2
	}
	return portable
}

// use makes k the kernel of t.
func (t *tables) use(k kernel) {
	t.kernel, t.vectors = k, vectors{}
	switch k {
	case avx512:
		t.affine = newAffineTables(t)
	case avx2:
		t.nibble = newNibbleTables(t)
	}
}

// lanes returns a bit for each lane that may hold candidates. A block is the lanes, one after the other, and 64
// bytes in front of them.
func (s scanner) lanes(block []byte, lane int) uint64 {
	if s.t.kernel == avx512 {
		return lanesAVX512(s.t.affine, &block[0], lane, windowSize+lane)
	}
	return lanesAVX2(s.t.nibble, &block[0], lane, windowSize+lane)
}

// overflow is b·x^56.
func (t *tables) overflow(b byte) uint64 {
	h := t.reduce(b) << 3 // mod takes what lies above x^53; three bits still do
	return h&(1<<polyDegree-1) ^ t.reduce(byte(h>>polyDegree))
}

// excess is what the top plane adds to a digest below x^53.
func (t *tables) excess(top byte) uint64 { return t.reduce(top >> 5) }

// reduce is b·x^53.
func (t *tables) reduce(b byte) uint64 { return t.mod[b] & (1<<polyDegree - 1) }

// plane is byte i of a digest.
func plane(h uint64, i int) byte { return byte(h >> (8 * i)) }

// matrixOf writes a linear function of bytes as GF2P8AFFINEQB reads it: row i, for bit i of the result, is byte 7-i.
func matrixOf(f func(byte) byte) uint64 {
	var m uint64
	for from := range 8 {
		column := f(1 << from)
		for to := range 8 {
			m |= uint64(column>>to&1) << (8*(7-to) + from)
		}
	}
	return m
}

// affineTables: lanes_avx512_amd64.s knows the offsets.
type affineTables struct {
	overflow [7]uint64 // matrices, one for each plane
	out      [7]uint64
	excess   [2]uint64
	spread   [64]byte // four rows of 16 bytes to 16 columns of four
	gather   [64]byte // the way back, for what is found
}

func newAffineTables(t *tables) *affineTables {
	a := new(affineTables)
	for i := range a.overflow {
		a.overflow[i] = matrixOf(func(b byte) byte { return plane(t.overflow(b), i) })
		a.out[i] = matrixOf(func(b byte) byte { return plane(t.out[b], i) })
	}
	for i := range a.excess {
		a.excess[i] = matrixOf(func(b byte) byte { return plane(t.excess(b), i) })
	}
	for i := range 64 {
		a.spread[i] = byte(i%4*16 + i/4)
		a.gather[i] = byte(i%16*4 + i/16)
	}
	return a
}

// nibbleTables: lanes_avx2_amd64.s knows the offsets. A linear function of a byte is the sum of one of its low and
// one of its high four bits, and these are tables of 16 bytes.
type nibbleTables struct {
	overflow [7][2][16]byte
	out      [7][2][16]byte
	excess   [2][16]byte // the top plane's low bits are no excess
	low      [16]byte    // 0x0f
	zip      [16]byte    // two rows of eight bytes to eight columns of two
	gather   [16]byte    // the way back, for what is found
}

func newNibbleTables(t *tables) *nibbleTables {
	n := new(nibbleTables)
	for b := range 16 {
		low, high := byte(b), byte(b)<<4
		for i := range n.overflow {
			n.overflow[i][0][b], n.overflow[i][1][b] = plane(t.overflow(low), i), plane(t.overflow(high), i)
			n.out[i][0][b], n.out[i][1][b] = plane(t.out[low], i), plane(t.out[high], i)
		}
		for i := range n.excess {
			n.excess[i][b] = plane(t.excess(high), i)
		}
		n.low[b] = 0x0f
		n.zip[b] = byte(b%2*8 + b/2)
		n.gather[b] = byte(b%8*2 + b/8)
	}
	return n
}

// Both take lanes of n-64 bytes that begin stride bytes apart, the first one 64 bytes behind d; n is a multiple of 16. In
// each lane the window is filled with the 64 bytes in front of it. Memory is read up to d + (lanes-1)·stride + n.

//go:noescape
func lanesAVX512(t *affineTables, d *byte, stride, n int) uint64

//go:noescape
func lanesAVX2(t *nibbleTables, d *byte, stride, n int) uint64
