package seal

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"cairn/chunk"
)

const (
	// maxFrame bounds what any frame may decompress to: the largest is a snapshot.
	maxFrame = maxSnapshot

	// Chunks above sampleFrom are sampled first: sampleCount pieces of sampleSize bytes, evenly spread.
	sampleFrom  = 64 << 10
	sampleCount = 8
	sampleSize  = 4 << 10

	// A frame is kept if it saves at least 1/minSaving. A sample may promise half of that.
	minSaving = 32

	// decodeRoom is what the decompressor wants to have behind a plaintext, or it copies the matches of the last block byte by byte: 705 instead
	// of 572 MB/s for small source files, most of which are one block, and 1090 instead of 1045 for chunks of programs.
	decodeRoom = 32
)

// codec compresses and decompresses. It lends one coder to each concurrent user and keeps idle ones, as many as there are cores and one more:
// a sync.Pool would lose them, and a compressor's MiB of C memory with each, in every collection. Scratch memory of large blobs is lent by the arena.
type codec struct {
	arena chunk.Arena

	mu   sync.Mutex
	idle []*coder
}

// ownScratch is the largest scratch that a coder keeps.
const ownScratch = 256 << 10

// compressor makes zstd frames. There are two: the C library's where the program is built with cgo (zstd_cgo.go), and one in Go
// (zstd_go.go). What either wrote is opened by the decompressor in Go, so that with cgo no C code sees bytes of strangers, and what
// is sealed is checked by an implementation that did not make it.
type compressor interface {
	// compress appends one frame of plain to dst. The frame header states the content size, which inflate checks before it
	// decompresses. It has no checksum: the AEAD and the blob's hash see more.
	compress(dst, plain []byte) ([]byte, error)
}

// coder is what one goroutine needs while it seals or opens. Compressor and decompressor are made when first used:
// a restore never pays for the compressor's memory.
type coder struct {
	enc compressor
	dec *zstd.Decoder

	opened   []byte // scratch for a body
	inflated []byte // scratch for a plaintext

	arena *chunk.Arena
	lent  [][]byte // by the arena, until the coder is given back
}

// Arena lends the memory that Seal and Open take for large blobs. Who calls them takes the same for what goes in and comes out.
func (k *Keys) Arena() *chunk.Arena { return &k.codec.arena }

func (c *codec) get() *coder {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return &coder{arena: &c.arena}
	}
	d := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	return d
}

func (c *codec) put(d *coder) {
	for i, buf := range d.lent {
		d.lent[i] = nil
		d.arena.Put(buf)
	}
	d.lent = d.lent[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) <= chunk.Cores() {
		c.idle = append(c.idle, d)
	}
}

func (d *coder) encoder() (compressor, error) {
	if d.enc != nil {
		return d.enc, nil
	}
	enc, err := newCompressor()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	d.enc = enc
	return enc, nil
}

func (d *coder) decoder() (*zstd.Decoder, error) {
	if d.dec != nil {
		return d.dec, nil
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	d.dec = dec
	return dec, nil
}

// deflate appends a frame of plain to dst if that is worth it; otherwise it says None and dst is as it was.
func (d *coder) deflate(dst, plain []byte) ([]byte, Compression, error) {
	enc, err := d.encoder()
	if err != nil {
		return nil, None, err
	}
	if len(plain) > sampleFrom {
		if ok, err := d.promising(enc, plain); err != nil || !ok {
			return dst, None, err
		}
	}
	out, err := enc.compress(dst, plain)
	if err != nil {
		return nil, None, fmt.Errorf("zstd: %w", err)
	}
	if len(out)-len(dst) > len(plain)-max(1, len(plain)/minSaving) {
		return dst, None, nil
	}
	return out, Zstd, nil
}

// promising looks at a sample of plain. Where bytes are unevenly spread (text, programs, tables) compression will pay, and
// counting them costs 20 µs. Where they are even, only trying tells whether there are repetitions; on random bytes, which is what
// compressed and encrypted files look like, the compressor gives up fast: together 30 µs for a chunk of 1.5 MiB instead of the 500
// that compressing all of it in vain would take.
func (d *coder) promising(enc compressor, plain []byte) (bool, error) {
	sample := d.scratch(&d.opened, sampleCount*sampleSize)[:0]
	step := (len(plain) - sampleSize) / (sampleCount - 1)
	for i := range sampleCount {
		sample = append(sample, plain[i*step:i*step+sampleSize]...)
	}
	if uneven(sample) {
		return true, nil
	}
	frame, err := enc.compress(d.scratch(&d.inflated, frameBound(len(sample)))[:0], sample)
	if err != nil {
		return false, fmt.Errorf("zstd: %w", err)
	}
	return len(frame) <= len(sample)-len(sample)/(2*minSaving), nil
}

// uneven says whether two bytes picked at random are equal more than twice as often as in random data (a collision
// entropy below 7 bits).
func uneven(sample []byte) bool {
	var count [256]uint64
	for _, b := range sample {
		count[b]++
	}
	var pairs uint64
	for _, n := range count {
		pairs += n * n
	}
	return pairs > 2*uint64(len(sample))*uint64(len(sample))/256
}

// inflate decompresses one frame into dst[:0], whose capacity must be at least size, the expected length; with decodeRoom more it is
// faster, and those bytes are then of any value. The frame must be a plain one that states just this size, and nothing may follow it.
func (d *coder) inflate(dst, frame []byte, size int) ([]byte, error) {
	stated, err := frameSize(frame)
	if err != nil {
		return nil, err
	}
	if stated != uint64(size) {
		return nil, fmt.Errorf("%w: zstd frame of %d bytes, want %d", ErrLength, stated, size)
	}
	dec, err := d.decoder()
	if err != nil {
		return nil, err
	}
	plain, err := dec.DecodeAll(frame, dst[:0:min(cap(dst), size+decodeRoom)])
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	if len(plain) != size {
		return nil, fmt.Errorf("%w: zstd gave %d bytes, want %d", ErrLength, len(plain), size)
	}
	return plain, nil
}

// frameSize returns the content size that a frame's header states. It refuses frames that state none.
func frameSize(frame []byte) (uint64, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return 0, fmt.Errorf("zstd: %w", err)
	}
	if h.Skippable || !h.HasFCS {
		return 0, fmt.Errorf("%w: zstd frame does not state its size", ErrLength)
	}
	return h.FrameContentSize, nil
}

// scratch returns n bytes, until the coder is given back: of *buf, which grows, if they are few.
func (d *coder) scratch(buf *[]byte, n int) []byte {
	if n > ownScratch {
		lent := d.arena.Take(n)
		d.lent = append(d.lent, lent)
		return lent[:n]
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	return (*buf)[:n]
}

// frameBound is at least what either compressor needs room for. The C library asks for 1/256 more than the plaintext, and 64 bytes for what is
// short; a frame that did not compress has a header and 3 bytes for each block of 128 KiB.
func frameBound(n int) int { return n + n>>8 + 96 }
