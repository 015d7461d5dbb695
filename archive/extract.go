package archive

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/pack"
)

// How a column is cut into requests when few of its blobs are copied. To read a gap of 256 KiB along costs a local disk less than
// what it takes to go to another place (0.1 ms of an SSD, a fifth of a seek), and a store about what a request does. More than a few
// ranges of a column, which are asked for at once, would be requests that somebody pays for.
const (
	extractGap    = 256 << 10
	extractRanges = 8
)

// Extractor reads blobs out of packs for who copies them, sealed as they are, and then deletes the packs. It reads a column whole, or its
// directory and what is wanted of it, and opens each blob: what is authenticated is what was sealed under that id. Hashing whole columns,
// which proves no more of the blobs, takes as long for each byte, and most of those are garbage. When something is not as it should
// be, the pack is read as ReadPack does, from any k shards that prove themselves.
//
// It needs a full key. It is safe for concurrent use. Memory: what was read and not released, and as many buffers as fit into
// what NewExtractor was told.
type Extractor struct {
	a     *Archive
	shelf shelf
}

// NewExtractor makes an Extractor for so many packs at a time.
func (a *Archive) NewExtractor(packs int) *Extractor {
	return &Extractor{a: a, shelf: shelf{limit: int64(packs) * int64(a.geom.K) * pack.ShardSize(int64(a.geom.DefaultTarget()))}}
}

// Quarry is a pack out of which blobs are to be read.
type Quarry struct {
	Placement
	ID    pack.ID
	Kind  chunk.Type
	L     int64 // length of a column; 0: not known
	Dense bool  // most of it is wanted: columns are read in one request
}

// shard reads n bytes of a shard.
func (q *Quarry) shard(ctx context.Context, i int, from, n int64, dst []byte) ([]byte, error) {
	return q.Set.GetShard(ctx, object(q.ID, q.Kind, q.Geometry, q.L), i, from, n, dst)
}

// Extract is what was read of a pack: its data columns.
type Extract struct {
	Columns []ExtractColumn
	shelf   *shelf
}

// ExtractColumn is a column of which some blobs are there, and proved.
type ExtractColumn struct {
	*pack.Column
	Chosen  []int  // of its entries
	Payload []byte // as long as the column, so that they lie in their places; all else is of any value
	buf     []byte
}

// Release gives the memory of the payloads to the next pack. Nothing may use them any more.
func (e *Extract) Release() {
	for i := range e.Columns {
		c := &e.Columns[i]
		e.shelf.put(c.buf)
		c.buf, c.Payload = nil, nil
	}
}

// Read reads those blobs of a pack that choose picks from the directories of its columns. Its errors are those of ReadPack and of choose.
func (x *Extractor) Read(ctx context.Context, q Quarry, choose func(*pack.Column) ([]int, error)) (*Extract, error) {
	e := &Extract{Columns: make([]ExtractColumn, q.Geometry.K), shelf: &x.shelf}
	err := x.open(ctx, q, e)
	if err == nil {
		if err := e.choose(choose); err != nil {
			e.Release()
			return nil, err
		}
		err = x.fill(ctx, q, e)
	}
	if err == nil {
		return e, nil
	}
	e.Release()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return x.whole(ctx, q, choose)
}

// open reads the directories of all columns, and with Dense the columns.
func (x *Extractor) open(ctx context.Context, q Quarry, e *Extract) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxRequests)
	for i := range e.Columns {
		c := &e.Columns[i]
		group.Go(func() (err error) {
			if !q.Dense || q.L == 0 {
				c.Column, err = x.a.tailDirectory(ctx, q.Placement, q.ID, i)
				return err
			}
			return x.column(ctx, q, i, c)
		})
	}
	return group.Wait()
}

// column reads a whole column.
func (x *Extractor) column(ctx context.Context, q Quarry, i int, c *ExtractColumn) error {
	size := pack.ShardSize(q.L)
	c.buf = x.shelf.take(size)
	shard, err := q.shard(ctx, i, 0, size, c.buf)
	if err != nil {
		return err
	}
	if c.Column, _, err = pack.ReadTail(x.a.keys, q.ID, shard); err != nil {
		return err
	}
	if c.Column == nil || c.Number != i || c.L != q.L || c.Geometry != q.Geometry {
		return fmt.Errorf("shard %d of pack %s is another one", i, q.ID.Short())
	}
	c.Payload = shard[pack.HeaderSize:][:q.L]
	return nil
}

func (e *Extract) choose(choose func(*pack.Column) ([]int, error)) (err error) {
	for i := range e.Columns {
		c := &e.Columns[i]
		if c.Chosen, err = choose(c.Column); err != nil {
			return err
		}
	}
	return nil
}

// fill reads what was chosen and is not there yet, and proves it.
func (x *Extractor) fill(ctx context.Context, q Quarry, e *Extract) error {
	reads, readCtx := errgroup.WithContext(ctx)
	reads.SetLimit(maxRequests)
	for i := range e.Columns {
		c := &e.Columns[i]
		if c.Payload != nil || len(c.Chosen) == 0 {
			continue
		}
		c.buf = x.shelf.take(c.L)
		c.Payload = c.buf[:c.L]
		for _, r := range c.ranges() {
			reads.Go(func() error {
				dst := c.Payload[r.from:r.to:r.to]
				b, err := q.shard(readCtx, i, pack.HeaderSize+r.from, r.to-r.from, dst[:0])
				if err == nil && &b[0] != &dst[0] {
					copy(dst, b)
				}
				return err
			})
		}
	}
	if err := reads.Wait(); err != nil {
		return err
	}
	proofs, proofCtx := errgroup.WithContext(ctx)
	proofs.SetLimit(chunk.Cores())
	for i := range e.Columns {
		proofs.Go(func() error { return e.Columns[i].prove(proofCtx, x.a) })
	}
	return proofs.Wait()
}

// extent is a part of a column.
type extent struct{ from, to int64 }

// ranges returns what is to be read for the chosen blobs.
func (c *ExtractColumn) ranges() []extent {
	blobs := make([]extent, len(c.Chosen))
	for i, n := range c.Chosen {
		e := &c.Entries[n]
		blobs[i] = extent{int64(e.Offset), int64(e.Offset) + int64(e.Stored)}
	}
	slices.SortFunc(blobs, func(a, b extent) int { return int(a.from - b.from) })
	gaps := make([]int64, 0, len(blobs))
	for i := range blobs[1:] {
		gaps = append(gaps, blobs[i+1].from-blobs[i].to)
	}
	longest := int64(extractGap)
	if slices.Sort(gaps); len(gaps) >= extractRanges {
		longest = max(longest, gaps[len(gaps)-extractRanges])
	}
	out := blobs[:1]
	for _, b := range blobs[1:] {
		if last := &out[len(out)-1]; b.from-last.to <= longest {
			last.to = max(last.to, b.to)
		} else {
			out = append(out, b)
		}
	}
	return out
}

// prove opens the blobs that were read.
func (c *ExtractColumn) prove(ctx context.Context, a *Archive) error {
	for _, n := range c.Chosen {
		e := c.Entries[n]
		s, err := a.session(c.SessionOf(e))
		if err == nil {
			err = s.Prove(c.Blob(e), c.Payload[e.Offset:][:e.Stored])
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// whole reads a pack of which a shard is missing, or something does not prove itself.
func (x *Extractor) whole(ctx context.Context, q Quarry, choose func(*pack.Column) ([]int, error)) (*Extract, error) {
	shards, err := x.a.ReadPackAt(ctx, q.Placement, q.ID, q.Kind)
	if err != nil {
		return nil, err
	}
	if err := shards.Header.VerifySignature(x.a.keys); err != nil {
		return nil, err
	}
	e := &Extract{Columns: make([]ExtractColumn, q.Geometry.K), shelf: &x.shelf}
	for i := range e.Columns {
		if e.Columns[i].Column, err = shards.Directory(x.a.keys, i); err != nil {
			return nil, err
		}
		e.Columns[i].Payload = shards.Payload(i)
	}
	return e, e.choose(choose)
}
