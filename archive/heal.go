package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// openBlob opens what was read, and when that does not prove itself (or sealed is nil because it could not be
// read), what the other shards say.
func (a *Archive) openBlob(ctx context.Context, dst []byte, w wanted, sealed []byte) ([]byte, error) {
	session, err := a.session(w.Session)
	if err != nil {
		return nil, err
	}
	if sealed == nil { // it was read together with others; alone it may be there, in a shard that was cut off
		o := object(w.Pack, w.Kind, w.Geometry, w.L)
		sealed, err = a.setOf(w.Geometry).Read(ctx, o, w.Column, int64(w.Offset), int64(w.Stored), nil, nil)
		if err != nil && (ctx.Err() != nil || tooFew(err)) {
			return nil, err
		}
	}
	if sealed != nil {
		plain, err := session.Open(dst, w.sealed(), sealed)
		if err == nil {
			return plain, nil
		}
	}
	return a.heal(ctx, dst, w, session)
}

// heal finds a blob that its shard does not give. First in the same range of k other shards; if that does not open either,
// one of those is bad too, and the shards are read whole: those that do not prove themselves are left out, block
// by block if too few of them do. What is found bad is noted for the next backup or repair (Suspect).
func (a *Archive) heal(ctx context.Context, dst []byte, w wanted, session *seal.Session) ([]byte, error) {
	if column := a.healed.have(w.Pack, w.Column); w.end() <= int64(len(column)) {
		if plain, err := session.Open(dst, w.sealed(), column[w.Offset:w.end()]); err == nil {
			return plain, nil
		}
	}
	if w.Geometry.M > 0 {
		sealed, err := a.readAround(ctx, &w, int64(w.Offset), int64(w.Stored))
		if err == nil {
			if plain, err := session.Open(dst, w.sealed(), sealed); err == nil {
				a.suspectHome(&w)
				return plain, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	column, damage := a.healed.column(ctx, a, &w)
	if w.end() > int64(len(column)) {
		if damage == nil {
			damage = errIndexWrong
		}
		return nil, damage
	}
	plain, err := session.Open(dst, w.sealed(), column[w.Offset:w.end()])
	switch {
	case err == nil:
		return plain, nil
	case damage != nil:
		return nil, damage
	}
	return nil, remote.WithHint(fmt.Errorf("the pack is whole, but does not hold it there: %w", err), remote.Hint(errIndexWrong))
}

// readAround reads a range of the column of a blob from other shards than its own.
func (a *Archive) readAround(ctx context.Context, w *wanted, from, n int64) ([]byte, error) {
	return a.setOf(w.Geometry).Read(ctx, object(w.Pack, w.Kind, w.Geometry, w.L), w.Column, from, n, nil, []int{w.Column})
}

// suspectHome notes the shard of a blob that had to be read around. When its member is not there, the fault was in another.
func (a *Archive) suspectHome(w *wanted) {
	if !a.lacks(w.Geometry, w.Pack, w.Column) {
		a.Suspect(w.Pack, w.Kind, w.Column)
	}
}

// suspectNamed notes a shard that is not there or cut off, as a read found.
func (a *Archive) suspectNamed(name string, shard int) {
	if id, kind, ok := pack.ParseName(name); ok {
		a.Suspect(id, kind, shard)
	}
}

// columnData reads data column c of a pack. With a *PackDamage, and with Salvage when too few members are there, it may return a
// column all the same, of which only parts are right: as much as its good blocks give.
func (a *Archive) columnData(ctx context.Context, at Placement, id pack.ID, kind chunk.Type, c int) ([]byte, error) {
	reads, err := a.readShards(ctx, at, id, kind)
	if err != nil {
		return nil, err
	}
	for j, r := range reads {
		if r.err != nil && !r.away {
			a.Suspect(id, kind, j)
		}
	}
	p, err := a.wholePack(at, id, kind, reads)
	var damage *PackDamage
	switch {
	case err == nil:
		return p.Payload(c), nil
	case errors.As(err, &damage), a.opts.Salvage:
		return salvage(at.Geometry, reads, c), err
	}
	return nil, err
}

// salvage puts column c of a pack together from blocks of 128 KiB (docs/format.md §5: checksums), each from any k shards
// that have it undamaged. A disk rarely damages the same block of two shards. Blocks that no k shards give are as the
// shard itself has them, or zero. It returns nil if no shard has a header.
func salvage(g pack.Geometry, reads []shardRead, c int) []byte {
	var h *pack.Header
	blocks := make([]map[int]bool, len(reads)) // the bad ones
	for j, r := range reads {
		if r.raw == nil || int64(len(r.raw)) != pack.ShardSize(r.header.L) {
			continue
		}
		h = r.header
		payload, sums := r.raw[pack.HeaderSize:][:h.L], r.raw[pack.HeaderSize+h.L:]
		blocks[j] = map[int]bool{}
		for _, i := range pack.CheckBlocks(h, 0, payload, sums) {
			blocks[j][i] = true
		}
	}
	if h == nil {
		return nil
	}
	column := make([]byte, h.L)
	for i := range int(pack.Blocks(h.L)) {
		from := int64(i) * pack.BlockSize
		to := min(from+pack.BlockSize, h.L)
		parts := make([][]byte, len(reads))
		for j, r := range reads {
			if blocks[j] != nil && !blocks[j][i] {
				parts[j] = r.raw[pack.HeaderSize+from : pack.HeaderSize+to]
			}
		}
		switch {
		case parts[c] == nil && pack.Reconstruct(g, parts, []int{c}) == nil, parts[c] != nil:
			copy(column[from:to], parts[c])
		case blocks[c] != nil:
			copy(column[from:to], reads[c].raw[pack.HeaderSize+from:])
		}
	}
	return column
}

// healCache keeps the last columns that had to be rebuilt from whole shards: a damaged shard usually holds many of
// the blobs that a restore wants. Two columns take at most 64 MiB, and only when there is damage.
type healCache struct {
	mu    sync.Mutex
	items [2]healed
	next  int
}

type healed struct {
	pack   pack.ID
	column int
	data   []byte
	err    error
	at     time.Time
}

// damageLasts is how long damage is remembered: not so long that a mount would miss a repair.
const damageLasts = 30 * time.Second

// have returns a column that was rebuilt and is right.
func (c *healCache) have(id pack.ID, column int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.items {
		if h.pack == id && h.column == column && h.err == nil {
			return h.data
		}
	}
	return nil
}

func (c *healCache) column(ctx context.Context, a *Archive, w *wanted) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // one rebuild at a time: each takes k shards of memory
	for _, h := range c.items {
		if h.pack == w.Pack && h.column == w.Column && (h.err == nil || time.Since(h.at) < damageLasts) {
			return h.data, h.err
		}
	}
	at, ok := a.placement(w.Geometry)
	if !ok {
		return nil, errIndexWrong
	}
	data, err := a.columnData(ctx, at, w.Pack, w.Kind, w.Column)
	if err != nil && (tooFew(err) && !a.opts.Salvage || ctx.Err() != nil) {
		return nil, err
	}
	c.items[c.next] = healed{w.Pack, w.Column, data, err, time.Now()}
	c.next = (c.next + 1) % len(c.items)
	return data, err
}
