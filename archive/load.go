package archive

import (
	"bytes"
	"container/list"
	"context"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// Load reads one blob, verified. It is meant for trees, which are small and lie near each other in their packs: it
// reads a window of the column and keeps the last few, so that a walk over a snapshot does not cost one request for
// each directory. It fails with a *MissingError or a *BlobDamage when the blob is lost.
func (a *Archive) Load(ctx context.Context, t chunk.Type, id chunk.ID) ([]byte, error) {
	locs, err := a.locate(ctx, t, []chunk.ID{id}, a.refreshStale)
	if err != nil {
		return nil, err
	}
	plain, damage, err := a.loadAt(ctx, t, id, locs[0])
	if damage == nil {
		return plain, err
	}
	again, err := a.moved(ctx, t, []*BlobDamage{damage}, a.refreshStale)
	if err != nil {
		return nil, err
	}
	if len(again) > 0 {
		if plain, damage, err = a.loadAt(ctx, t, id, again[0].Location); damage == nil {
			return plain, err
		}
	}
	return nil, damage
}

// loadAt reads a blob from one place.
func (a *Archive) loadAt(ctx context.Context, t chunk.Type, id chunk.ID, l pack.Location) ([]byte, *BlobDamage, error) {
	if absent(l) {
		return nil, nil, &MissingError{t, id}
	}
	if err := a.plausible(t, &l); err != nil {
		return nil, &BlobDamage{t, id, l.Pack, err}, nil
	}
	w := wanted{id, l}
	sealed, err := a.windows.read(ctx, a, w)
	if err != nil && (ctx.Err() != nil || tooFew(err)) {
		return nil, nil, err
	}
	plain, err := a.openBlob(ctx, nil, w, sealed)
	if err != nil && !a.Stops(ctx, err) {
		return nil, &BlobDamage{t, id, w.Pack, err}, nil
	}
	return plain, nil, err
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
		return a.setOf(w.Geometry).Read(ctx, o, w.Column, int64(w.Offset), int64(w.Stored), nil, nil)
	}
	key := windowKey{w.Pack, w.Column, number}
	data := c.get(key)
	if data == nil {
		var err error
		data, err = a.setOf(w.Geometry).Read(ctx, o, w.Column, from, min(windowBytes, w.L-from), nil, nil)
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

// sessionCache keeps opened session keys by their wraps, about 3 KB each: one backup makes one session. A session's id
// alone is no key: a hostile writer may publish the id of another one's session with a wrap of his own.
type sessionCache struct {
	mu   sync.Mutex
	open map[seal.SessionID][]*seal.Session
	n    int
}

// maxSessions bounds the cache at 12 MB; opening one anew takes 0.1 ms at most.
const maxSessions = 4096

func (c *sessionCache) get(w pack.SessionWrap) *seal.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.open[w.ID] {
		if have := s.Wrap(); bytes.Equal(have.HPKE, w.Wrap.HPKE) && bytes.Equal(have.Root, w.Wrap.Root) {
			return s
		}
	}
	return nil
}

func (c *sessionCache) put(s *seal.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil || c.n >= maxSessions {
		c.open, c.n = map[seal.SessionID][]*seal.Session{}, 0
	}
	c.open[s.ID()] = append(c.open[s.ID()], s)
	c.n++
}
