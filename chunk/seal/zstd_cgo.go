//go:build cgo

package seal

import (
	"slices"

	"github.com/DataDog/zstd"
)

// level is the C library's. Against the compressor in Go (100 %): level 1 takes 37 % of the time on small source files and 26 % on a tar of
// programs, for 4 and 6 % more bytes; level 2 takes 40 and 28 %, for 1.7 and 1.4 % more; level 3 takes 50 %, for 1.0 and 1.7 % fewer.
const level = 2

// cCompressor compresses with the C library, in memory of its own: about 1 MiB, which a finalizer gives back.
type cCompressor struct{ ctx zstd.Ctx }

func newCompressor() (compressor, error) { return cCompressor{zstd.NewCtx()}, nil }

func (c cCompressor) compress(dst, plain []byte) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, zstd.CompressBound(len(plain)))
	frame, err := c.ctx.CompressLevel(dst[start:], plain, level) // in place, because there is room
	if err != nil {
		return nil, err
	}
	return dst[:start+len(frame)], nil
}
