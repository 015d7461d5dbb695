package chunk

import "github.com/restic/chunker"

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
	// fresh is a chunker as it is at the start of a file, live the one at work. Both are plain values (4.3 KiB, the
	// tables are inside), so starting a file is one copy of 0.1 µs; the library's own Reset allocates and takes a
	// global lock.
	fresh, live chunker.BaseChunker
}

// NewCutter returns a Cutter ready for its first file.
func NewCutter(p Params) (*Cutter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	base := chunker.NewBase(chunker.Pol(p.Poly),
		chunker.WithBaseBoundaries(uint(p.Min), uint(p.Max)), chunker.WithBaseAverageBits(p.Bits))
	return &Cutter{fresh: *base, live: *base}, nil
}

// Reset prepares for a new file, whatever the state was. It does not allocate.
func (c *Cutter) Reset() { c.live = c.fresh }

// Next looks for the end of the current chunk in buf, which continues what was given before. It returns how many bytes
// of buf still belong to the current chunk (at least 1), or -1 if all of buf does and the chunk goes on. After a cut
// the rest of buf must be given again: it belongs to the next chunk. It does not allocate and does not keep buf.
func (c *Cutter) Next(buf []byte) int { return c.live.NextSplitPoint(buf) }

// Clone returns an independent Cutter with the same parameters, at the start of a file.
func (c *Cutter) Clone() *Cutter { return &Cutter{fresh: c.fresh, live: c.fresh} }
