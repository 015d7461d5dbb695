package backup

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"
)

// buffers hands out the memory for file data. A buffer's capacity is a power of two between 4 KiB and 16 MiB;
// the sum of all that are out never exceeds the limit, so get waits.
type buffers struct {
	room  *semaphore.Weighted
	pools [maxClass + 1]sync.Pool
}

const (
	minClass = 12
	maxClass = 24 // chunk.MaxPlain
)

type buffer struct {
	data  []byte // length and capacity 2^class
	class int
}

func newBuffers(limit int64) *buffers {
	return &buffers{room: semaphore.NewWeighted(limit)}
}

// classOf returns the class of a buffer of at least size bytes.
func classOf(size int) int {
	return min(max(bits.Len(uint(max(size, 1)-1)), minClass), maxClass)
}

func (b *buffers) get(ctx context.Context, size int) (*buffer, error) {
	class := classOf(size)
	if err := b.room.Acquire(ctx, 1<<class); err != nil {
		return nil, err
	}
	if buf, ok := b.pools[class].Get().(*buffer); ok {
		return buf, nil
	}
	return &buffer{make([]byte, 1<<class), class}, nil
}

func (b *buffers) put(buf *buffer) {
	b.pools[buf.class].Put(buf)
	b.room.Release(1 << buf.class)
}

// needs is what may be out while nothing can be given back: each reader holds a small file's buffer, or, of those
// that have a large file (as many as lanes), a buffer of Max, the half of it that it grew from, and the next one's.
// With the defaults and 4 readers: 4 × 0.5 + 2 × (8 + 4 + 2) MiB = 30 MiB, so 48 MiB leave 18 for chunks on their way.
func needs(readers, lanes, minSize, maxSize, first int) int64 {
	return int64(readers)<<classOf(minSize) + int64(lanes)*(3<<classOf(maxSize)/2+1<<classOf(first))
}
