package archive

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// Load reads one blob, verified. It is meant for trees, which are small and lie near each other in their packs: it
// reads a window of the column and keeps the last few, so that a walk over a snapshot does not cost one request for
// each directory.
func (a *Archive) Load(ctx context.Context, t chunk.Type, id chunk.ID) ([]byte, error) {
	locs, err := a.locate(ctx, t, []chunk.ID{id})
	if err != nil {
		return nil, err
	}
	if absent(locs[0]) {
		return nil, &MissingError{t, id}
	}
	w := wanted{id, locs[0]}
	sealed, err := a.windows.read(ctx, a, w)
	if err != nil && (ctx.Err() != nil || tooFew(err)) {
		return nil, err
	}
	plain, err := a.openBlob(ctx, nil, w, sealed)
	if err != nil {
		return nil, &BlobDamage{t, id, w.Pack, err}
	}
	return plain, nil
}

// LoadTree is Load for trees, as the functions of package snapshot want it.
func (a *Archive) LoadTree(ctx context.Context, id chunk.ID) ([]byte, error) {
	return a.Load(ctx, chunk.Tree, id)
}

const (
	windowBytes = 512 << 10
	maxWindows  = 24 // 12 MiB
)

type windowKey struct {
	pack   pack.ID
	column int
	number int64
}

// windowCache keeps the last windows of sealed bytes. What comes out of it is verified like any read, so damage in a
// window sends the reader to the other shards.
type windowCache struct {
	mu    sync.Mutex
	items map[windowKey]*list.Element
	order list.List // of windowEntry, the last used first
}

type windowEntry struct {
	key  windowKey
	data []byte
}

// read returns the sealed bytes of a blob, or nil with the error that kept it from reading them.
func (c *windowCache) read(ctx context.Context, a *Archive, w wanted) ([]byte, error) {
	number := int64(w.Offset) / windowBytes
	from := number * windowBytes
	end := int64(w.Offset) + int64(w.Stored)
	o := object(w.Pack, w.Kind, w.Geometry, w.L)
	if end > from+windowBytes || end > w.L { // larger than a window: read as it is
		return a.set.Read(ctx, o, w.Column, int64(w.Offset), int64(w.Stored), nil, nil)
	}
	key := windowKey{w.Pack, w.Column, number}
	data := c.get(key)
	if data == nil {
		var err error
		data, err = a.set.Read(ctx, o, w.Column, from, min(windowBytes, w.L-from), nil, nil)
		if err != nil {
			return nil, err
		}
		c.put(key, data)
	}
	return data[int64(w.Offset)-from : end-from], nil
}

func (c *windowCache) get(key windowKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(windowEntry).data
}

func (c *windowCache) put(key windowKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[windowKey]*list.Element{}
	}
	if _, ok := c.items[key]; ok {
		return
	}
	c.items[key] = c.order.PushFront(windowEntry{key, data})
	for len(c.items) > maxWindows {
		last := c.order.Back()
		delete(c.items, last.Value.(windowEntry).key)
		c.order.Remove(last)
	}
}

// sessionCache keeps opened session keys: one archive has few sessions, 100 bytes each.
type sessionCache struct {
	mu   sync.Mutex
	open map[seal.SessionID]*seal.Session
}

func (c *sessionCache) get(id seal.SessionID) *seal.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id]
}

func (c *sessionCache) put(s *seal.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[seal.SessionID]*seal.Session{}
	}
	c.open[s.ID()] = s
}

// healCache keeps the last columns that had to be rebuilt from whole shards: a damaged shard usually holds many of
// the blobs that a restore wants. Two columns take at most 64 MiB, and only when there is damage.
type healCache struct {
	mu   sync.Mutex
	keys [2]windowKey
	data [2][]byte
	errs [2]error
	next int
}

func (c *healCache) column(ctx context.Context, a *Archive, id pack.ID, kind chunk.Type, column int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // one rebuild at a time: each takes k shards of memory
	key := windowKey{id, column, 0}
	for i := range c.keys {
		if c.keys[i] == key && (c.data[i] != nil || c.errs[i] != nil) {
			return c.data[i], c.errs[i]
		}
	}
	var data []byte
	p, err := a.ReadPack(ctx, id, kind)
	if err == nil && column >= p.Header.Geometry.K {
		err = fmt.Errorf("index names column %d of a pack with %d", column, p.Header.Geometry.K)
	}
	if err == nil {
		data = p.Payload(column)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c.keys[c.next], c.data[c.next], c.errs[c.next] = key, data, err
	c.next = (c.next + 1) % len(c.keys)
	return data, err
}

// shardStores gives the members on which the shards of a pack lie, by shard number; nil for those that are missing.
func (a *Archive) shardStores(id pack.ID) []remote.Store {
	members := a.set.Members()
	stores := make([]remote.Store, a.geom.N())
	for j := range stores {
		stores[j] = members[pack.Member(id, j, a.geom.N())].Store
	}
	return stores
}
