package check

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// data reads shards whole: those of index packs always, the others with ReadData or when they are asked for.
func (c *checker) data(ctx context.Context) error {
	chosen := func(yield func(archive.PackName) bool) {
		for name, p := range c.packs {
			read := name.Index || c.o.Packs[name] || c.o.ReadData && c.o.Subset.Has(name.ID, c.total)
			if read && p.layout != nil && (p.have != 0 || p.broken != p.absent) && !yield(name) {
				return
			}
		}
	}
	for name := range chosen {
		c.o.Progress.TotalPacks.Add(1)
		c.o.Progress.TotalBytes.Add(uint64(c.inv.PackBytes(name)))
	}
	return c.each(ctx, chosen, func(ctx context.Context, name archive.PackName, buf *[]byte) error {
		p := c.packs[name] // each by one goroutine
		damages, err := c.readShards(ctx, name, p, buf)
		if err != nil {
			return err
		}
		c.later(name, damages)
		if !name.Index {
			c.count(func(r *Report) { r.PacksRead++ })
		}
		return nil
	})
}

// each calls do for packs, one more at once than there are cores, so that one reads while the others hash, but not more than shardBytes have room
// for. Each has a buffer for a shard, which is used again: in a sync.Pool they were lost in each collection.
func (c *checker) each(ctx context.Context, names iter.Seq[archive.PackName], do func(context.Context, archive.PackName, *[]byte) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	cores := chunk.Cores()
	group.SetLimit(cores + 1)
	room := semaphore.NewWeighted(int64(max(cores, 2)) * shardBytes)
	var buffers shardBuffers
	for name := range names {
		size := c.largest(name)
		weight := min(size, 2*shardBytes)
		if room.Acquire(groupCtx, weight) != nil {
			break
		}
		group.Go(func() error {
			defer room.Release(weight)
			buf := buffers.take(size)
			defer func() { buffers.put(buf) }()
			if err := do(groupCtx, name, &buf); err != nil {
				return err
			}
			if !c.insist { // a second look is not counted
				c.o.Progress.Packs.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// shardBytes of shards are held for each core: for two cores, two shards of 1+0 to a remote store, or three of 10 or 8 MiB.
const shardBytes = 17 << 20

// largest is the length of the longest shard of a pack that is listed, at most that of the longest there can be.
func (c *checker) largest(name archive.PackName) (size int64) {
	for i := range c.inv.Members() {
		if n, listed := c.inv.Size(name, i); listed {
			size = max(size, n)
		}
	}
	return min(size, pack.ShardSize(pack.MaxColumn))
}

// shardBuffers keeps the buffers of shards.
type shardBuffers struct {
	mu   sync.Mutex
	free [][]byte
}

// take returns a buffer for a shard of size bytes. Where none is large enough, the one that is replaced is given up, and the new one is rounded up, because
// packs differ a little in length.
func (s *shardBuffers) take(size int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.free) - 1
	for i := last; i >= 0; i-- {
		if int64(cap(s.free[i])) >= size {
			s.free[i], s.free[last] = s.free[last], s.free[i]
			break
		}
	}
	var buf []byte
	if last >= 0 {
		buf = s.free[last]
		s.free = s.free[:last]
	}
	if int64(cap(buf)) < size {
		const step = 1 << 20
		buf = make([]byte, 0, (size+step-1)&^(step-1))
	}
	return buf[:0]
}

func (s *shardBuffers) put(buf []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, buf)
}

func (c *checker) count(add func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.report)
}

// readShards reads and proves the shards of a pack one after the other: those that are not known to be bad already.
func (c *checker) readShards(ctx context.Context, name archive.PackName, p *packState, buf *[]byte) ([]Damage, error) {
	var damages []Damage
	for j := range p.layout.Geometry.N() {
		if p.broken&(1<<j) != 0 || c.inv.Unlisted(p.layout.member(name.ID, j)) != nil {
			continue
		}
		more, err := c.readShard(ctx, name, p, j, buf)
		if err != nil {
			return nil, err
		}
		damages = append(damages, more...)
	}
	return damages, nil
}

// readShard reads and proves one shard, and with a key opens the blobs of a data column.
func (c *checker) readShard(ctx context.Context, name archive.PackName, p *packState, j int, buf *[]byte) ([]Damage, error) {
	data, err := c.a.GetShard(ctx, p.layout.Placement, name.ID, name.Kind(), j, (*buf)[:0])
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		if archive.Gone(err) {
			p.broken |= 1 << j
			c.a.Suspect(name.ID, name.Kind(), j)
		}
		if errors.Is(err, remote.ErrNotExist) {
			p.absent |= 1 << j
		}
		return []Damage{c.shardDamage(name, p, j, fmt.Errorf("it cannot be read: %w", err))}, nil
	}
	*buf = data
	c.o.Progress.Bytes.Add(uint64(len(data)))
	c.count(func(r *Report) { r.BytesRead += uint64(len(data)) })
	if h := c.opened(name, p, j, data); h != nil {
		p.kind = h.Kind
		return nil, nil
	}
	h, err := c.a.ProveShard(p.layout.Placement, name.ID, name.Kind(), j, data)
	if h != nil {
		p.kind = h.Kind
	}
	if err != nil {
		c.a.Suspect(name.ID, name.Kind(), j) // `repair --missing` then need not read everything to find it again
		if !archive.PayloadGood(err) {
			p.broken |= 1 << j
		}
		return []Damage{c.shardDamage(name, p, j, err)}, nil
	}
	if c.keyless {
		return nil, nil
	}
	return c.open(name, p, j, h, data), nil
}

// opened returns the header of a shard that is proved by opening it, and nil when what is wrong, if anything, is still to be found.
func (c *checker) opened(name archive.PackName, p *packState, j int, data []byte) *pack.Header {
	if c.keyless {
		return nil
	}
	h := c.a.ProveByOpening(p.layout.Placement, name.ID, name.Kind(), j, data)
	if h == nil || h.VerifySignature(c.a.Keys()) != nil {
		return nil
	}
	return h
}

// open opens every blob of a data column. A shard that proves itself but holds a blob that does not open was written
// wrongly: other shards do not help, the blob is bad.
func (c *checker) open(name archive.PackName, p *packState, j int, h *pack.Header, data []byte) []Damage {
	var damages []Damage
	wrong := func(err error) {
		d := c.shardDamage(name, p, j, err)
		d.Lost = true
		damages = append(damages, d)
	}
	if err := h.VerifySignature(c.a.Keys()); err != nil {
		wrong(err)
	}
	if p.kind == chunk.Index || j >= h.Geometry.K {
		return damages
	}
	err := c.a.OpenColumn(h, j, data[pack.HeaderSize:pack.HeaderSize+h.L], func(e pack.Entry, err error) {
		text := fmt.Sprintf("%s blob %s does not open: %v", h.Kind, e.ID.Short(), err)
		c.setBad(blobKey{h.Kind, e.ID}, badBlob{text, name.ID})
		wrong(errors.New(text))
	})
	if err != nil {
		wrong(err)
	}
	return damages
}

func (c *checker) setBad(key blobKey, b badBlob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad[key] = b
}

// ranges names blocks of 128 KiB in short: " (blocks 3-5, 9)".
func ranges(blocks []int) string {
	if len(blocks) == 0 {
		return ""
	}
	var parts []string
	for from := 0; from < len(blocks); {
		to := from
		for to+1 < len(blocks) && blocks[to+1] == blocks[to]+1 {
			to++
		}
		part := fmt.Sprint(blocks[from])
		if to > from {
			part += fmt.Sprintf("-%d", blocks[to])
		}
		parts = append(parts, part)
		from = to + 1
	}
	word := "block"
	if len(blocks) > 1 {
		word = "blocks"
	}
	return fmt.Sprintf(" (%s %s)", word, strings.Join(parts, ", "))
}
