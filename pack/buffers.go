package pack

import "sync"

// buffers keeps the memory of shards for the next pack, by size in steps of 1 MiB of column. It is a cache: what it loses
// costs an allocation.
var buffers [MaxColumn/bufferStep + 1]sync.Pool // of *[]byte

const bufferStep = 1 << 20

// bufferClass returns the smallest class whose buffers hold a shard with a column of length size.
func bufferClass(size int) int { return (size + bufferStep - 1) / bufferStep }

// newBuffer returns an empty buffer that holds a shard with a column of length size without growing. Its bytes are of
// any value.
func newBuffer(size int) []byte {
	class := bufferClass(size)
	if b, ok := buffers[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, ShardSize(int64(class)*bufferStep))
}

// holds says whether buffer b is large enough for a shard with a column of length size.
func holds(b []byte, size int) bool { return int64(cap(b)) >= ShardSize(int64(roundUp(size))) }

// freeBuffer gives a buffer of newBuffer back.
func freeBuffer(b []byte) {
	if cap(b) == 0 {
		return
	}
	for class := bufferClass(cap(b)); class > 0; class-- {
		if int64(cap(b)) == ShardSize(int64(class)*bufferStep) {
			buffers[class].Put(&b)
			return
		}
	}
}
