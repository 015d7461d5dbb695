package pack

import "sync"

// buffers keeps the memory of shards for the next pack. It is a list and not a sync.Pool, because the collector empties those right before
// the next pack asks.
var buffers freeList

// idleBytes bounds what lies idle: a third of a pack of 4+2 or 10+4 with large chunks. What is given back beyond that is left to the collector; with
// 64 or 112 MiB a backup to 10+4 members peaked 40 to 50 MB higher and was not faster.
const idleBytes = 32 << 20

const bufferStep = 1 << 20

type freeList struct {
	mu    sync.Mutex
	free  [MaxColumn/bufferStep + 1][][]byte // by size, in steps of 1 MiB of column
	bytes int
}

// bufferClass returns the smallest class whose buffers hold a shard with a column of length size.
func bufferClass(size int) int { return (size + bufferStep - 1) / bufferStep }

// newBuffer returns an empty buffer that holds a shard with a column of length size without growing. Its bytes are of
// any value.
func newBuffer(size int) []byte {
	class := bufferClass(size)
	buffers.mu.Lock()
	defer buffers.mu.Unlock()
	if list := buffers.free[class]; len(list) > 0 {
		b := list[len(list)-1]
		list[len(list)-1] = nil
		buffers.free[class] = list[:len(list)-1]
		buffers.bytes -= cap(b)
		return b[:0]
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
		if int64(cap(b)) != ShardSize(int64(class)*bufferStep) {
			continue
		}
		buffers.mu.Lock()
		defer buffers.mu.Unlock()
		if buffers.bytes+cap(b) <= idleBytes {
			buffers.free[class] = append(buffers.free[class], b)
			buffers.bytes += cap(b)
		}
		return
	}
}
