package chunk

import "golang.org/x/sys/cpu"

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
