package check

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// listing compares what the members have with what the index names: each shard on its member, in its full length.
func (c *checker) listing(ctx context.Context) error {
	unknown := map[pack.ID]struct{}{}
	for _, prefix := range []string{"binaries/", "index/"} {
		errs, err := c.a.Set().ListEach(ctx, prefix, func(member int, info remote.Info) error {
			c.listed(member, info, unknown)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		for i, err := range errs {
			if err != nil && c.reachable(i) {
				c.found(Damage{Object: prefix, Member: c.a.Set().Members()[i].Label, Problem: fmt.Sprintf("cannot be listed: %v", err)})
			}
		}
	}
	c.report.Unreferenced = len(unknown)
	c.report.Packs = len(c.packs)
	n := c.a.Geometry().N()
	for id, p := range c.packs {
		for j := range n {
			if p.have&(1<<j) != 0 || !c.reachable(pack.Member(id, j, n)) {
				continue
			}
			if p.broken&(1<<j) == 0 { // a wrong length has been told already
				p.broken |= 1 << j
				c.found(Damage{Object: id.Name(p.kind), Member: c.a.MemberOf(id, j), Problem: fmt.Sprintf("shard %d of a %s pack is missing", j, p.kind), Lost: c.lost(p)})
			}
		}
	}
	return nil
}

func (c *checker) listed(member int, info remote.Info, unknown map[pack.ID]struct{}) {
	id, kind, ok := pack.ParseName(info.Name)
	if !ok {
		return
	}
	p := c.packs[id]
	if p == nil {
		if kind == chunk.Index { // segments that could be read have been told of; their length tells L
			c.listedSegment(id, member, info)
			return
		}
		unknown[id] = struct{}{}
		return
	}
	j := pack.ShardOn(id, member, c.a.Geometry().N())
	if want := pack.ShardSize(p.length); info.Size != want {
		p.broken |= 1 << j
		c.found(Damage{Object: info.Name, Member: c.a.MemberOf(id, j), Problem: fmt.Sprintf("shard %d has %d bytes instead of %d", j, info.Size, want), Lost: c.lost(p)})
		return
	}
	p.have |= 1 << j
}

// listedSegment notes an index pack; all its shards are read in data, with or without ReadData, because they are few.
func (c *checker) listedSegment(id pack.ID, member int, info remote.Info) {
	p := &packState{kind: chunk.Index, length: lengthOf(info.Size)}
	c.packs[id] = p
	c.listed(member, info, nil)
}

// lengthOf is the inverse of pack.ShardSize, or 0 for a size that no shard has.
func lengthOf(size int64) int64 {
	for length := (size - 2*pack.HeaderSize) &^ (pack.Align - 1); length > 0; length -= pack.Align {
		if s := pack.ShardSize(length); s == size {
			return length
		} else if s < size {
			break
		}
	}
	return 0
}

// lost says whether a pack has too few shards left to rebuild what its broken ones held.
func (c *checker) lost(p *packState) bool {
	n := c.a.Geometry().N()
	broken := 0
	for j := range n {
		if p.broken&(1<<j) != 0 {
			broken++
		}
	}
	return n-broken < c.a.Geometry().K
}

// data reads shards whole: those of index packs always, the others with ReadData.
func (c *checker) data(ctx context.Context) error {
	var chosen []pack.ID
	for id, p := range c.packs {
		if p.kind == chunk.Index || (c.o.ReadData && c.o.Subset.has(id, c.total)) {
			chosen = append(chosen, id)
			c.o.Progress.TotalBytes.Add(uint64(pack.ShardSize(p.length)) * uint64(c.a.Geometry().N()))
		}
	}
	c.o.Progress.TotalPacks.Store(uint64(len(chosen)))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1) // one reads while the others hash: shards of up to 16 MiB each
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	for _, id := range chosen {
		group.Go(func() error {
			buf := buffers.Get().(*[]byte)
			defer buffers.Put(buf)
			for j := range c.a.Geometry().N() {
				if err := c.readShard(ctx, id, j, buf); err != nil {
					return err
				}
			}
			c.o.Progress.Packs.Add(1)
			c.mu.Lock()
			c.report.PacksRead++
			c.mu.Unlock()
			return nil
		})
	}
	return group.Wait()
}

// readShard reads and proves one shard, and opens the blobs of a data column.
func (c *checker) readShard(ctx context.Context, id pack.ID, j int, buf *[]byte) error {
	p := c.state(id)
	if p.broken&(1<<j) != 0 || !c.reachable(pack.Member(id, j, c.a.Geometry().N())) {
		return ctx.Err()
	}
	data, err := c.a.GetShard(ctx, id, p.kind, j, (*buf)[:0])
	if err == nil {
		*buf = data
		c.o.Progress.Bytes.Add(uint64(len(data)))
		c.mu.Lock()
		c.report.BytesRead += uint64(len(data))
		c.mu.Unlock()
		err = c.prove(id, p.kind, j, data)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	c.mu.Lock()
	c.packs[id].broken |= 1 << j
	isLost := c.lost(c.packs[id])
	c.mu.Unlock()
	c.found(Damage{Object: id.Name(p.kind), Member: c.a.MemberOf(id, j), Problem: fmt.Sprintf("shard %d of a %s pack: %v", j, p.kind, err), Lost: isLost})
	return nil
}

func (c *checker) state(id pack.ID) packState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.packs[id]
}

// prove compares a shard with its name and, for data columns, opens every blob in it. A shard that proves itself but
// holds a blob that does not open was written wrongly: other shards do not help, the blob is bad.
func (c *checker) prove(id pack.ID, kind chunk.Type, j int, data []byte) error {
	h, err := pack.CheckShard(id, data)
	if err != nil {
		return err
	}
	if h.Shard != j {
		return fmt.Errorf("it is shard %d", h.Shard)
	}
	if err := h.VerifySignature(c.a.Keys()); err != nil {
		return err
	}
	if kind == chunk.Index || j >= h.Geometry.K {
		return nil
	}
	return c.a.OpenColumn(h, j, data[pack.HeaderSize:pack.HeaderSize+h.L], func(e pack.Entry, err error) {
		c.mu.Lock()
		c.bad[blobKey{h.Kind, e.ID}] = fmt.Sprintf("blob %s does not open: %v", e.ID.Short(), err)
		c.mu.Unlock()
		c.found(Damage{Object: id.Name(kind), Problem: fmt.Sprintf("%s blob %s does not open: %v", h.Kind, e.ID.Short(), err), Lost: true})
	})
}

// losses finds the blobs of packs that have too few good shards: those whose own column is broken.
func (c *checker) losses(ctx context.Context) error {
	lost := map[pack.ID]uint32{}
	for id, p := range c.packs {
		if p.kind != chunk.Index && p.broken != 0 && c.lost(p) {
			lost[id] = p.broken
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return c.a.ReadSegments(ctx, func(_ pack.ID, columns []pack.Column, err error) error {
		if err != nil {
			return nil // told of in segments
		}
		for _, col := range columns {
			if lost[col.Pack]&(1<<col.Number) == 0 {
				continue
			}
			for _, e := range col.Entries {
				c.bad[blobKey{col.Kind, e.ID}] = fmt.Sprintf("shard %d of pack %s is lost", col.Number, col.Pack.Short())
			}
		}
		return nil
	})
}
