package backup

import (
	"context"
	"sync"

	"cairn/chunk"
	"cairn/snapshot"
)

// content collects the ids of one file's chunks, which are saved in any order.
type content struct {
	mu     sync.Mutex
	ids    []chunk.ID // 32 bytes a chunk: 22 MB for a file of 1 TB
	open   int        // chunks on their way, and 1 until the reader is through
	finish func(ids []chunk.ID) error

	// For checkpoints: how many of the first ids are set, and of how many bytes.
	prefix int
	bytes  uint64
	ahead  map[int]int             // sizes of chunks behind a gap in the prefix; at most as many as are on their way
	gaps   func() []snapshot.Range // the reader's: holes that it has met; nil for what has none
	holes  []snapshot.Range        // of them, those before the last chunk that was handed over; never changed, only made longer
}

func newContent(finish func(ids []chunk.ID) error) *content {
	return &content{open: 1, finish: finish}
}

// place reserves the next place in the order.
func (c *content) place() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, chunk.ID{})
	c.open++
	if c.gaps != nil {
		c.holes = c.gaps()
	}
	return len(c.ids) - 1
}

func (c *content) set(i int, id chunk.ID, size int) error {
	c.mu.Lock()
	c.ids[i] = id
	c.advance(i, size)
	c.mu.Unlock()
	return c.close()
}

// advance counts chunk i as saved, and the prefix as far as it goes by now.
func (c *content) advance(i, size int) {
	if i > c.prefix {
		if c.ahead == nil {
			c.ahead = map[int]int{}
		}
		c.ahead[i] = size
		return
	}
	for ok := true; ok; size, ok = c.ahead[c.prefix] {
		delete(c.ahead, c.prefix)
		c.prefix++
		c.bytes += uint64(size)
	}
}

// soFar returns the chunks from the first to the last before one that is on its way, the holes between them, and where that ends
// in the file. What is returned does not change any more.
func (c *content) soFar() (ids []chunk.ID, holes []snapshot.Range, size uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size = c.bytes
	n := 0
	for n < len(c.holes) && c.holes[n].Offset < size {
		size += c.holes[n].Length
		n++
	}
	return c.ids[:c.prefix:c.prefix], c.holes[:n:n], size
}

// close is called once by the reader and once for each chunk; the last call finishes.
func (c *content) close() error {
	c.mu.Lock()
	c.open--
	last := c.open == 0
	c.mu.Unlock()
	if last {
		return c.finish(c.ids)
	}
	return nil
}

// pending is one chunk on its way to a saver, who gives it back.
type pending struct {
	plain []byte
	in    *buffer
	to    *content
	index int
}

// submit hands a chunk over that lies in a buffer. The chunk becomes a user of the buffer; the caller stays one.
func (r *run) submit(ctx context.Context, in *buffer, plain []byte, to *content) error {
	in.users.Add(1)
	select {
	case r.chunks <- pending{plain, in, to, to.place()}:
		return nil
	case <-ctx.Done():
		in.release()
		return context.Cause(ctx)
	}
}

// saver saves chunks until there are no more. An error ends the backup.
func (r *run) saver(ctx context.Context) error {
	for {
		select {
		case p, ok := <-r.chunks:
			if !ok {
				return nil
			}
			saved, err := r.w.Save(ctx, chunk.Data, p.plain)
			p.in.release()
			if err != nil {
				return err
			}
			if saved.New {
				r.tally.dataBlobs.Add(1)
				r.o.Progress.BytesNew.Add(int64(len(p.plain)))
				r.o.Progress.BytesStored.Add(int64(saved.Stored))
			}
			if err := p.to.set(p.index, saved.ID, len(p.plain)); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// saveTree is the snapshot.SaveFunc of the run.
func (r *run) saveTree(ctx context.Context, plain []byte) (chunk.ID, error) {
	saved, err := r.w.Save(ctx, chunk.Tree, plain)
	if err != nil {
		return chunk.ID{}, err
	}
	if saved.New {
		r.tally.treeBlobs.Add(1)
		r.tally.treeStored.Add(uint64(saved.Stored))
		r.o.Progress.BytesStored.Add(int64(saved.Stored))
	}
	return saved.ID, nil
}
