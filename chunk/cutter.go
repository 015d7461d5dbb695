package chunk

// Cutter finds the cuts of files. It is stateful and belongs to one goroutine at a time.
//
//	c.Reset()
//	for each buffer of the file, in order:
//		for n := c.Next(buf); n >= 0; n = c.Next(buf) {
//			buf[:n] ends the current chunk; buf = buf[n:] begins the next one
//		}
//		all of buf belongs to the current chunk
//	at the end of the file what was collected since the last cut is its last chunk
//
// A file of at most Min bytes is one chunk; callers that know the size can spare themselves the Cutter.
type Cutter struct {
	s        scanner
	min, max int

	length int // of the current chunk so far
	// tail are the last bytes of the current chunk, so that a window can begin in one buffer and end in the next. It is kept
	// from Min-64 on; before that it is whatever it was, for the first window that counts begins there.
	tail [windowSize]byte
}

// NewCutter returns a Cutter ready for its first file.
func NewCutter(p Params) (*Cutter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &Cutter{s: scanner{newTables(p.Poly), 1<<p.Bits - 1}, min: p.Min, max: p.Max}, nil
}

// Reset prepares for a new file, whatever the state was.
func (c *Cutter) Reset() { c.length = 0 }

// Clone returns an independent Cutter with the same parameters, at the start of a file. The tables, 4 KiB, are shared.
func (c *Cutter) Clone() *Cutter { return &Cutter{s: c.s, min: c.min, max: c.max} }

// Next looks for the end of the current chunk in buf, which continues what was given before. It returns how many bytes
// of buf still belong to the current chunk (at least 1), or -1 if all of buf does and the chunk goes on. After a cut
// the rest of buf must be given again: it belongs to the next chunk. It does not allocate and does not keep buf.
func (c *Cutter) Next(buf []byte) int {
	lo := max(c.min-1-c.length, 0)      // the first byte that may end the chunk
	hi := min(c.max-c.length, len(buf)) // behind the last one
	if lo < hi {
		if at := c.find(buf, lo, hi); at >= 0 {
			c.length = 0
			return at + 1
		}
	}
	if c.length+hi == c.max {
		c.length = 0
		return hi
	}
	c.keep(buf)
	return -1
}

// find is scanner.find for windows that may begin in the tail.
func (c *Cutter) find(buf []byte, lo, hi int) int {
	if lo >= hi {
		return -1
	}
	if lo < windowSize {
		var seam [2 * windowSize]byte
		copy(seam[:], c.tail[:])
		copy(seam[windowSize:], buf)
		if at := c.s.step(seam[:], windowSize+lo, windowSize+min(hi, windowSize)); at >= 0 {
			return at - windowSize
		}
		lo = windowSize
	}
	return c.s.find(buf, lo, hi)
}

// keep counts buf as a part of the current chunk.
func (c *Cutter) keep(buf []byte) {
	c.length += len(buf)
	if c.length <= c.min-windowSize {
		return
	}
	if len(buf) < windowSize {
		copy(c.tail[:], c.tail[len(buf):])
	}
	copy(c.tail[max(windowSize-len(buf), 0):], buf[max(len(buf)-windowSize, 0):])
}
