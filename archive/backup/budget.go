package backup

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"cairn/chunk"
)

// buffers hands out the memory for file data, and keeps what comes back for the next. Its lists are its own: each collection empties a sync.Pool,
// and what is then made anew brings the next collection, 127 of them for a file of 2 GiB at GOGC=10, and 2 with these.
//
// A small file has a buffer of its own, whose size is a power of two. A large one is read into slabs as long as the longest chunk, which its
// chunks share: no chunk is moved because it grew, only the one that reaches the end of its slab.
type buffers struct {
	room  *semaphore.Weighted // bytes of small buffers that are out
	limit int64
	slabs chan struct{} // a token for each slab that is out
	size  int           // of a slab
	each  int           // how many slabs one large file may have

	mu   sync.Mutex
	idle int64
	free [maxClass + 1][]*buffer // by class; of the class 0 slabs, which do not count as idle
}

const (
	minClass = 12
	maxClass = 23 // the largest chunk.Params.Min
)

// buffer is memory with users: the reader that fills it, and each chunk in it that is on its way to a saver.
type buffer struct {
	data  []byte
	users atomic.Int32
	class int   // 0 for a slab
	home  *lane // of a slab
	from  *buffers
}

// release is called by each user once.
func (b *buffer) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	f, size, l := b.from, int64(len(b.data)), b.home
	b.home = nil
	f.mu.Lock()
	if l != nil {
		f.free[0] = append(f.free[0], b)
	} else if f.idle+size <= f.limit/2 {
		f.idle += size
		f.free[b.class] = append(f.free[b.class], b)
	}
	f.mu.Unlock()
	if l != nil {
		<-f.slabs
		<-l.taken
		return
	}
	f.room.Release(size)
}

// small returns a buffer of at least size bytes, with one user. It waits while too many are out.
func (b *buffers) small(ctx context.Context, size int) (*buffer, error) {
	class := classOf(size)
	if err := b.room.Acquire(ctx, 1<<class); err != nil {
		return nil, err
	}
	buf := b.kept(class)
	if buf == nil {
		buf = &buffer{data: make([]byte, 1<<class), class: class, from: b}
	}
	buf.users.Store(1)
	return buf, nil
}

func (b *buffers) kept(class int) *buffer {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.free[class]
	if len(list) == 0 {
		return nil
	}
	buf := list[len(list)-1]
	list[len(list)-1] = nil
	b.free[class] = list[:len(list)-1]
	if class > 0 {
		b.idle -= int64(len(buf.data))
	}
	return buf
}

// classOf returns the class of a buffer of at least size bytes.
func classOf(size int) int {
	return min(max(bits.Len(uint(max(size, 1)-1)), minClass), maxClass)
}

// lane is a large file that is being read.
type lane struct {
	b     *buffers
	taken chan struct{} // a token for each of its slabs
}

func (b *buffers) lane() *lane { return &lane{b, make(chan struct{}, b.each)} }

// slab returns a slab with one user. It waits while others are out. The caller may hold one other slab: there is one more than there are lanes, and
// what savers hold comes back, so one of those who wait goes on.
func (l *lane) slab(ctx context.Context) (*buffer, error) {
	select {
	case l.taken <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case l.b.slabs <- struct{}{}:
	case <-ctx.Done():
		<-l.taken
		return nil, context.Cause(ctx)
	}
	s := l.b.kept(0)
	if s == nil {
		s = &buffer{data: make([]byte, l.b.size), from: l.b}
	}
	s.home = l
	s.users.Store(1)
	return s, nil
}

// budget is how Options.MemoryLimit is spent.
type budget struct {
	small int64 // bytes of buffers of small files
	lanes int   // large files read at a time
	spare int   // slabs beside one for each lane: one file alone may have 1 + spare
}

// spend divides limit: a third, or less if that is enough, for small files, and the rest for slabs. Of these there are two for each lane if a saver
// needs less than a slab for two chunks: those that are being filled, and those that are being saved. What the limit has room for beyond that are more
// lanes. At the least there is a buffer for a small file, and two slabs. With 2 cores and the defaults: 5 MiB, 1 lane, 1 spare: 21 of 24 MiB.
func spend(limit int64, p chunk.Params, readers, queue, savers int) budget {
	one := int64(1) << classOf(p.Min)
	small := max(one, min(int64(readers+queue+savers)*one, limit/3))
	slab := int64(p.Max)
	ahead := int64(savers) * 2 * int64(min(p.Min+1<<p.Bits, p.Max))
	total := (limit - small) / slab
	b := budget{small: small, lanes: 1, spare: int(max(1, min((ahead+slab-1)/slab, total-1)))}
	b.lanes = int(max(1, min(int64(readers), total-int64(b.spare))))
	return b
}

func newBuffers(b budget, slab int) *buffers {
	return &buffers{room: semaphore.NewWeighted(b.small), limit: b.small, size: slab, each: 1 + b.spare, slabs: make(chan struct{}, b.lanes+b.spare)}
}
