package check

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// listing compares what the members have with what the index names: each shard on its member, in its full length.
func (c *checker) listing(ctx context.Context) error {
	unknown := map[pack.ID]struct{}{}
	short := map[pack.ID][]Damage{}
	for _, prefix := range []string{"binaries/", "index/"} {
		errs, err := c.a.Set().ListEach(ctx, prefix, func(member int, info remote.Info) error {
			c.listed(member, info, unknown, short)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		c.listErrors(prefix, errs)
	}
	c.report.Unreferenced += len(unknown)
	n := c.a.Geometry().N()
	for id, p := range c.packs {
		if p.kind != chunk.Index {
			c.report.Packs++
		}
		damages := short[id]
		for j := range n {
			if (p.have|p.broken)&(1<<j) != 0 || !c.reachable(pack.Member(id, j, n)) || !c.missing(ctx, id, p, j) {
				continue
			}
			p.broken |= 1 << j
			damages = append(damages, c.shardDamage(id, p.kind, j, errors.New("it is missing")))
		}
		c.tell(p, damages)
	}
	return ctx.Err()
}

// askTwice is how many shards of one member are asked for before its listing is believed: a lost disk lacks all.
const askTwice = 32

// missing asks for a shard that was not listed: it may have been on its way.
func (c *checker) missing(ctx context.Context, id pack.ID, p *packState, j int) bool {
	i := pack.Member(id, j, c.a.Geometry().N())
	if c.missed[i] < askTwice {
		if _, err := c.a.Set().Members()[i].Store.Stat(ctx, id.Name(p.kind)); !errors.Is(err, remote.ErrNotExist) {
			return false
		}
	}
	c.missed[i]++
	return true
}

func (c *checker) shardDamage(id pack.ID, kind chunk.Type, j int, err error) Damage {
	return Damage{Object: id.Name(kind), Member: c.a.Placements()[0].MemberOf(id, j), Problem: fmt.Sprintf("shard %d of a %s pack: %v", j, kind, err)}
}

// tell reports what is wrong with a pack, when all of it is known.
func (c *checker) tell(p *packState, damages []Damage) {
	for _, d := range damages {
		// What an index pack says, the directories say too.
		d.Lost = d.Lost || p.kind != chunk.Index && p.lost(c.a.Geometry())
		c.found(d)
	}
}

func (c *checker) listed(member int, info remote.Info, unknown map[pack.ID]struct{}, short map[pack.ID][]Damage) {
	id, kind, ok := pack.ParseName(info.Name)
	if !ok {
		return
	}
	p := c.packs[id]
	if p == nil {
		if kind != chunk.Index { // a segment that was published just now
			unknown[id] = struct{}{}
		}
		return
	}
	j := pack.ShardOn(id, member, c.a.Geometry().N())
	if want := pack.ShardSize(p.length); p.kind != chunk.Index && info.Size != want {
		p.broken |= 1 << j
		short[id] = append(short[id], c.shardDamage(id, p.kind, j, fmt.Errorf("it has %d bytes instead of %d", info.Size, want)))
		return
	}
	if p.kind == chunk.Index {
		c.o.Progress.TotalBytes.Add(uint64(info.Size))
	}
	p.have |= 1 << j
}

// data reads shards whole: those of index packs always, the others with ReadData.
func (c *checker) data(ctx context.Context) error {
	var chosen []pack.ID
	for id, p := range c.packs {
		if p.kind == chunk.Index {
			chosen = append(chosen, id)
		} else if c.o.ReadData && c.o.Subset.has(id, c.total) {
			chosen = append(chosen, id)
			c.o.Progress.TotalBytes.Add(uint64(pack.ShardSize(p.length)) * uint64(c.a.Geometry().N()))
		}
	}
	c.o.Progress.TotalPacks.Store(uint64(len(chosen)))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1) // one reads while the others hash: shards of up to 16 MiB each
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	for _, id := range chosen {
		if ctx.Err() != nil {
			break
		}
		p := c.packs[id] // each by one goroutine
		group.Go(func() error {
			buf := buffers.Get().(*[]byte)
			defer buffers.Put(buf)
			var damages []Damage
			for j := range c.a.Geometry().N() {
				more, err := c.readShard(ctx, id, p, j, buf)
				if err != nil {
					return err
				}
				damages = append(damages, more...)
			}
			c.tell(p, damages)
			c.o.Progress.Packs.Add(1)
			if p.kind != chunk.Index {
				c.mu.Lock()
				c.report.PacksRead++
				c.mu.Unlock()
			}
			return nil
		})
	}
	return group.Wait()
}

// readShard reads and proves one shard, and opens the blobs of a data column.
func (c *checker) readShard(ctx context.Context, id pack.ID, p *packState, j int, buf *[]byte) ([]Damage, error) {
	if p.broken&(1<<j) != 0 || !c.reachable(pack.Member(id, j, c.a.Geometry().N())) {
		return nil, ctx.Err()
	}
	data, err := c.a.GetShard(ctx, c.a.Placements()[0], id, p.kind, j, (*buf)[:0])
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		if archive.Gone(err) {
			p.broken |= 1 << j
		}
		return []Damage{c.shardDamage(id, p.kind, j, fmt.Errorf("it cannot be read: %w", err))}, nil
	}
	*buf = data
	c.o.Progress.Bytes.Add(uint64(len(data)))
	c.mu.Lock()
	c.report.BytesRead += uint64(len(data))
	c.mu.Unlock()
	h, err := c.a.ProveShard(c.a.Placements()[0], id, p.kind, j, data)
	if err != nil {
		if !archive.PayloadGood(err) {
			p.broken |= 1 << j
		}
		return []Damage{c.shardDamage(id, p.kind, j, err)}, nil
	}
	return c.open(id, p, j, h, data), nil
}

// open opens every blob of a data column. A shard that proves itself but holds a blob that does not open was written
// wrongly: other shards do not help, the blob is bad.
func (c *checker) open(id pack.ID, p *packState, j int, h *pack.Header, data []byte) []Damage {
	var damages []Damage
	wrong := func(err error) {
		d := c.shardDamage(id, p.kind, j, err)
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
		c.setBad(blobKey{h.Kind, e.ID}, text)
		wrong(errors.New(text))
	})
	if err != nil {
		wrong(err)
	}
	return damages
}

func (c *checker) setBad(key blobKey, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad[key] = text
}

// losses finds the blobs that packs with too few good shards do not give any more: each blob of their broken columns is
// tried, for often a part of a shard is bad and the rest can be read.
func (c *checker) losses(ctx context.Context) error {
	lost := map[pack.ID]uint32{}
	for id, p := range c.packs {
		if p.kind != chunk.Index && p.lost(c.a.Geometry()) {
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
			if err := c.try(ctx, &col); err != nil {
				return err
			}
		}
		return nil
	})
}

// try reads all blobs of a column and notes those that are lost.
func (c *checker) try(ctx context.Context, col *pack.Column) error {
	ids := make([]chunk.ID, len(col.Entries))
	for i, e := range col.Entries {
		ids[i] = e.ID
	}
	err := c.a.Fetch(ctx, col.Kind, ids, func(chunk.ID, []byte) error { return nil })
	var lost *archive.FetchError
	if !errors.As(err, &lost) {
		return err
	}
	for _, d := range lost.Damaged {
		c.setBad(blobKey{d.Type, d.ID}, fmt.Sprintf("blob %s is lost with shard %d of %s", d.ID.Short(), col.Number, col.Pack.Name(col.Kind)))
	}
	return nil
}
