package chunk

// scanner finds candidates: places where the digest of the 64 bytes in front is zero in its lowest bits. Whether a candidate
// becomes a cut depends on where the chunk began (Min, Max); whether a place is a candidate depends on nothing but these
// 64 bytes. So places can be looked at in any order, several at a time.
type scanner struct {
	t    *tables
	mask uint64
}

// Six lanes, each of laneBytes, are rolled in one loop. One lane alone waits for its table (0.36 GB/s); more keep the load
// ports busy (three 1.0, four 1.2, five 1.4, six 1.5; eight do not fit the registers: 1.4). A block costs 6·64 bytes to
// begin, 3 % of it, and of the block in which a candidate lies a part is looked at twice: 12 KiB in a chunk of 1.5 MiB.
const (
	laneCount  = 6
	laneBytes  = 2 << 10
	blockBytes = laneCount * laneBytes
)

// find returns the first candidate that ends with one of the bytes d[lo:hi], as the index of that byte, or -1. 64
// bytes stand in front of them: lo is at least windowSize.
func (s scanner) find(d []byte, lo, hi int) int {
	// A run of zeros is cut at the first place where it may be: no need for a block of 36 KiB to find that out.
	if at := s.step(d, lo, min(lo+1, hi)); at >= 0 {
		return at
	}
	if s.t.kernel != portable && s.mask >= 1<<filterBits-1 {
		return s.wide(d, lo, hi)
	}
	return s.narrow(d, lo, hi)
}

// narrow is find by the portable kernel.
func (s scanner) narrow(d []byte, lo, hi int) int {
	for hi-lo >= blockBytes/4 { // fewer are cheaper in step
		// The last block ends at hi and repeats some of the one before it.
		from := min(lo, hi-blockBytes)
		if from < windowSize {
			break
		}
		if s.any((*[windowSize + blockBytes]byte)(d[from-windowSize:])) {
			if at := s.step(d, lo, from+blockBytes); at >= 0 {
				return at
			}
		}
		lo = from + blockBytes
	}
	return s.step(d, lo, hi)
}

// step is find, one byte after the other.
func (s scanner) step(d []byte, lo, hi int) int {
	if lo >= hi {
		return -1
	}
	t, mask := s.t, s.mask
	h := t.roll(0, d[lo-windowSize:lo])
	out := d[lo-windowSize : hi-windowSize]
	for i, in := range d[lo:hi] {
		h = (h<<8 | uint64(in)) ^ t.mod[byte(h>>digestShift)] ^ t.out[out[i]]
		if h&mask == 0 {
			return lo + i
		}
	}
	return -1
}

// any says whether one of the bytes of d after the first windowSize ends a candidate. All indices are constants
// below the array's length, so no bound is checked.
func (s scanner) any(d *[windowSize + blockBytes]byte) bool {
	t, mask := s.t, s.mask
	h0 := t.roll(0, d[0*laneBytes:][:windowSize])
	h1 := t.roll(0, d[1*laneBytes:][:windowSize])
	h2 := t.roll(0, d[2*laneBytes:][:windowSize])
	h3 := t.roll(0, d[3*laneBytes:][:windowSize])
	h4 := t.roll(0, d[4*laneBytes:][:windowSize])
	h5 := t.roll(0, d[5*laneBytes:][:windowSize])
	for i := range laneBytes {
		h0 = (h0<<8 | uint64(d[i+windowSize])) ^ t.mod[byte(h0>>digestShift)] ^ t.out[d[i]]
		h1 = (h1<<8 | uint64(d[i+windowSize+laneBytes])) ^ t.mod[byte(h1>>digestShift)] ^ t.out[d[i+laneBytes]]
		h2 = (h2<<8 | uint64(d[i+windowSize+2*laneBytes])) ^ t.mod[byte(h2>>digestShift)] ^ t.out[d[i+2*laneBytes]]
		h3 = (h3<<8 | uint64(d[i+windowSize+3*laneBytes])) ^ t.mod[byte(h3>>digestShift)] ^ t.out[d[i+3*laneBytes]]
		h4 = (h4<<8 | uint64(d[i+windowSize+4*laneBytes])) ^ t.mod[byte(h4>>digestShift)] ^ t.out[d[i+4*laneBytes]]
		h5 = (h5<<8 | uint64(d[i+windowSize+5*laneBytes])) ^ t.mod[byte(h5>>digestShift)] ^ t.out[d[i+5*laneBytes]]
		if h0&mask == 0 || h1&mask == 0 || h2&mask == 0 || h3&mask == 0 || h4&mask == 0 || h5&mask == 0 {
			return true
		}
	}
	return false
}
