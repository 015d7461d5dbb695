package chunk

import "math/bits"

// kernel names the way in which stretches without candidates, which are nearly all, are recognised. All give the same
// candidates.
type kernel uint8

const (
	portable kernel = iota
	avx2            // 32 lanes
	avx512          // 64 lanes; with GFNI and VBMI
)

// A vector kernel rolls 32 or 64 lanes at once. It says only which lanes may hold candidates, after the lowest 16 bits of the
// digest; step then looks for them. With fewer bits in Params most blocks would hold some, and narrow is faster.
const filterBits = 16

// Longer lanes spend less on their first 64 bytes, shorter ones less on what lies behind a cut. The longest are such that a
// block has 34 or 36 KiB, and that 64 lanes do not begin in the same few sets of the first cache: an odd number of lines.
const (
	laneStep   = 16 // lanes are a multiple of it
	laneAVX512 = 576
	laneAVX2   = 1088
	leastWide  = 256 // bytes; fewer are cheaper in step
)

// wide is find by a vector kernel.
func (s scanner) wide(d []byte, lo, hi int) int {
	count, longest := 32, laneAVX2
	if s.t.kernel == avx512 {
		count, longest = 64, laneAVX512
	}
	for hi-lo >= leastWide {
		lane := min(longest, (hi-lo+count*laneStep-1)/(count*laneStep)*laneStep)
		// The last block ends at hi and repeats some of the one before it.
		from := min(lo, hi-count*lane)
		if from < windowSize {
			break
		}
		block := d[from-windowSize : from+count*lane]
		for hits := s.lanes(block, lane); hits != 0; hits &= hits - 1 {
			begin := from + bits.TrailingZeros64(hits)*lane
			// Sixteen bits pass by chance once in two blocks: shorter lanes narrow it down, 0.5 µs instead of 1.6.
			if at := s.wide(d, max(begin, lo), begin+lane); at >= 0 {
				return at
			}
		}
		lo = from + count*lane
	}
	return s.step(d, lo, hi)
}
