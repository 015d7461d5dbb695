package seal

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxFrame bounds what any frame may decompress to: the largest is a snapshot.
	maxFrame = maxSnapshot

	// windowSize is how far back the compressor looks. It bounds the memory of each sealing goroutine.
	windowSize = 1 << 20

	// Chunks above sampleFrom are sampled first: sampleCount pieces of sampleSize bytes, evenly spread.
	sampleFrom  = 64 << 10
	sampleCount = 8
	sampleSize  = 4 << 10

	// A frame is kept if it saves at least 1/minSaving. A sample may promise half of that.
	minSaving = 32
)

// codec compresses and decompresses. It lends one coder to each concurrent user and keeps idle ones until the garbage
// collector wants them.
type codec struct{ coders sync.Pool }

// coder is what one goroutine needs while it seals or opens. Compressor and decompressor are made when first used:
// a restore never pays for the compressor's 4 MiB.
type coder struct {
	enc *zstd.Encoder
	dec *zstd.Decoder

	opened   []byte // scratch for a body
	inflated []byte // scratch for a plaintext
}

func (c *codec) get() *coder {
	if d, ok := c.coders.Get().(*coder); ok {
		return d
	}
	return new(coder)
}

func (c *codec) put(d *coder) { c.coders.Put(d) }

func (d *coder) encoder() (*zstd.Encoder, error) {
	if d.enc != nil {
		return d.enc, nil
	}
	// Single segment: the frame header always states the content size, which inflate checks before it decompresses.
	// No checksum: the AEAD and the blob's hash see more. Literals are entropy-coded even where nothing repeats, which this
	// level leaves out by default: a file of 9,000 numbers, one a line, was stored as it is instead of by 60 % smaller.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(windowSize),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
		zstd.WithAllLitEntropyCompression(true))
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
	if len(plain) > sampleFrom && !d.promising(enc, plain) {
		return dst, None, nil
	}
	out := enc.EncodeAll(plain, dst)
	if len(out)-len(dst) > len(plain)-max(1, len(plain)/minSaving) {
		return dst, None, nil
	}
	return out, Zstd, nil
}

// promising looks at a sample of plain. Where bytes are unevenly spread (text, programs, tables) compression will pay, and
// counting them costs 20 µs. Where they are even, only trying tells whether there are repetitions; on random bytes, which is what
// compressed and encrypted files look like, the compressor gives up fast: together 30 µs for a chunk of 1.5 MiB instead of the 500
// that compressing all of it in vain would take.
func (d *coder) promising(enc *zstd.Encoder, plain []byte) bool {
	sample := d.scratch(&d.opened, sampleCount*sampleSize)[:0]
	step := (len(plain) - sampleSize) / (sampleCount - 1)
	for i := range sampleCount {
		sample = append(sample, plain[i*step:i*step+sampleSize]...)
	}
	if uneven(sample) {
		return true
	}
	frame := enc.EncodeAll(sample, d.scratch(&d.inflated, frameBound(len(sample)))[:0])
	return len(frame) <= len(sample)-len(sample)/(2*minSaving)
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

// inflate decompresses one frame into dst[:0], whose capacity must be at least size, the expected length. The frame
// must be a plain one that states just this size, and nothing may follow it.
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
	plain, err := dec.DecodeAll(frame, dst[:0:size])
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

// scratch returns n bytes of *buf, which it replaces if it is too small.
func (d *coder) scratch(buf *[]byte, n int) []byte {
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	return (*buf)[:n]
}

// frameBound is more than the longest frame of n bytes: a header, and 3 bytes for each block of 128 KiB that does not compress.
func frameBound(n int) int { return n + 3*(n>>17+1) + 32 }
