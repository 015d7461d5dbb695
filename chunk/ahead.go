package chunk

import (
	"bytes"
	"sort"
)

// A Scanner finds the candidates of pieces of a file ahead of the cutting, so that several goroutines can work on one large file.
// What it finds does not depend on where the chunks begin, and where they are cut not on the pieces or on who found what:
//
//	each piece, by any goroutine, in any order:  s.Scan(piece, from, found)
//	the pieces in their order, by one:           c.NextOf(buf, found) instead of c.Next(buf)
//
// It pays where one core's cutting is the limit. It looks at all bytes, while a Cutter skips the first Min of each chunk
// (a third, with the defaults). A Scanner is a value and safe for concurrent use.
type Scanner struct{ s scanner }

// Scanner returns the scanner that belongs to c.
func (c *Cutter) Scanner() Scanner { return Scanner{c.s} }

// Candidates are what Scan found in one piece, in at most 16 KiB. The zero value is ready to be filled, and may be filled again.
type Candidates struct {
	size       int // of what Scan was given
	begin, end int // of what was searched
	runs       []run
}

// run is a sequence of candidates without gaps: bytes begin to end-1 each end one. Zeros would otherwise be a candidate a byte.
type run struct{ begin, end int }

// maxRuns bounds what is remembered of a piece that is full of candidates, as periodic data can be. A piece of 64 MiB
// has 64 by chance. NextOf looks for the rest by itself.
const maxRuns = 1024

// Scan finds the candidates among the bytes d[from:]. In front of them d should have the 64 bytes that precede in
// the file; where it has fewer, NextOf looks for the first candidates by itself.
func (s Scanner) Scan(d []byte, from int, found *Candidates) {
	at := min(max(from, windowSize), len(d))
	*found = Candidates{size: len(d), begin: at, runs: found.runs[:0]}
	for at < len(d) && len(found.runs) < maxRuns {
		i := s.s.find(d, at, len(d))
		if i < 0 {
			at = len(d)
			break
		}
		at = s.s.runEnd(d, i)
		found.runs = append(found.runs, run{i, at})
	}
	found.end = at
}

// runEnd returns where the run of candidates ends that the byte at begins.
func (s scanner) runEnd(d []byte, at int) int {
	const stretch = 1 << 10
	end := at + 1
	window := d[end-windowSize : end]
	if bytes.Equal(window[1:], window[:windowSize-1]) {
		// One value over and over: the digest stays what it is. 0.4 GB/s would not do for zeros.
		for len(d)-end >= stretch && bytes.Equal(d[end:end+stretch], d[end-1:end-1+stretch]) {
			end += stretch
		}
		for end < len(d) && d[end] == d[end-1] {
			end++
		}
		return end
	}
	h := s.t.roll(0, window)
	for ; end < len(d); end++ {
		h = (h<<8 | uint64(d[end])) ^ s.t.mod[byte(h>>digestShift)] ^ s.t.out[d[end-windowSize]]
		if h&s.mask != 0 {
			break
		}
	}
	return end
}

// first returns the first candidate among the bytes lo to hi-1, or -1.
func (f *Candidates) first(lo, hi int) int {
	i := sort.Search(len(f.runs), func(i int) bool { return f.runs[i].end > lo })
	if i == len(f.runs) {
		return -1
	}
	if at := max(f.runs[i].begin, lo); at < hi {
		return at
	}
	return -1
}

// NextOf is Next for a buffer whose candidates are known. buf must be all that is left of what Scan was given.
func (c *Cutter) NextOf(buf []byte, found *Candidates) int {
	return c.next(buf, func(lo, hi int) int {
		offset := found.size - len(buf)
		begin := min(max(found.begin-offset, lo), hi)
		end := min(max(found.end-offset, begin), hi)
		if at := c.find(buf, lo, begin); at >= 0 {
			return at
		}
		if at := found.first(begin+offset, end+offset); at >= 0 {
			return at - offset
		}
		return c.find(buf, end, hi)
	})
}
