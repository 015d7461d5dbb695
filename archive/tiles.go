package archive

import (
	"container/list"
	"context"
	"sync"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

const (
	// tileBytes is read of one column by the first Load from a pack: the directories above each other are often that near.
	tileBytes = 512 << 10
	// smallPack is how large the columns of a pack are, all together, when it is read whole at once: one backup of a day leaves so few trees.
	smallPack = 2 << 20
	// cachedTiles bounds what is kept. All columns of the part of a pack that a walk is in take half of it.
	cachedTiles = 16 << 20
	// maxAhead is how many of the trees that a walk will come to are remembered, aheadTiles and aheadBytes how much of them is read at once, so
	// that a walk over hundreds of small packs does not wait for each.
	maxAhead   = 4096
	aheadTiles = 16
	aheadBytes = 8 << 20
)

// tile is the same range of some columns of a pack.
type tile struct {
	pack     pack.ID
	from, to int64
	columns  [][]byte // by number; nil: not read
}

func (t *tile) size() (n int64) {
	for _, c := range t.columns {
		n += int64(cap(c))
	}
	return n
}

// has says whether the blob is in the tile.
func (t *tile) has(w *wanted) bool {
	return w.Column < len(t.columns) && t.columns[w.Column] != nil && int64(w.Offset) >= t.from && w.end() <= t.to
}

// tileCache keeps the parts of tree packs that were read last. Trees that belong together lie near each other, but dealt to all
// columns: so what is read is a range of all columns at once, which grows with each time that the same pack is asked for more. What comes
// out of it is verified like any read, so damage in a tile sends the reader to the other shards.
type tileCache struct {
	mu     sync.Mutex
	packs  map[pack.ID][]*list.Element
	order  list.List // of *tile, the last used first
	held   int64
	misses map[pack.ID]int
	hints  hints
	vain   int // times in a row that the index was read again for a blob, which lay where it had lain
}

// leave drops the hints that lead to a pack: what was there lies elsewhere, or cannot be read.
func (c *tileCache) leave(id pack.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tree, l := range c.hints.places {
		if l.Pack == id {
			delete(c.hints.places, tree)
		}
	}
}

// searched notes whether a blob was found elsewhere.
func (c *tileCache) searched(found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vain++; found {
		c.vain = 0
	}
}

func (c *tileCache) hopeful() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.vain < maxVain
}

// read returns the sealed bytes of a blob, or nil with the error that kept it from reading them.
func (c *tileCache) read(ctx context.Context, a *Archive, w wanted) ([]byte, error) {
	if sealed := c.get(&w); sealed != nil {
		return sealed, nil
	}
	tiles := c.missing(a, w)
	errs := make([]error, len(tiles))
	var wg sync.WaitGroup
	for i := range tiles {
		wg.Go(func() { errs[i] = a.readTile(ctx, &tiles[i]) })
	}
	wg.Wait()
	for i := len(tiles) - 1; i >= 0; i-- { // the wanted one last: it is used last
		c.put(&tiles[i].tile)
		if errs[i] != nil {
			c.leave(tiles[i].pack) // whoever asks for those trees looks them up again
		}
	}
	if errs[0] != nil {
		return nil, errs[0]
	}
	return tiles[0].blob(&w), nil
}

func (t *tile) blob(w *wanted) []byte {
	return t.columns[w.Column][int64(w.Offset)-t.from : w.end()-t.from]
}

func (c *tileCache) get(w *wanted) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.packs[w.Pack] {
		if t := e.Value.(*tile); t.has(w) {
			c.order.MoveToFront(e)
			return t.blob(w)
		}
	}
	return nil
}

// order is a tile that is to be read for a blob.
type tileOrder struct {
	tile
	want wanted
	all  bool // columns; otherwise that of the blob
}

// missing says what is to be read for a blob: its tile, and those of trees that the walk will come to and that lie elsewhere.
func (c *tileCache) missing(a *Archive, w wanted) []tileOrder {
	c.mu.Lock()
	defer c.mu.Unlock()
	tiles := []tileOrder{c.tileFor(a, w)}
	bytes := int64(0)
	for next := range c.hints.all() {
		if len(tiles) > aheadTiles || bytes >= aheadBytes {
			break
		}
		if c.covers(&next) || planned(tiles, &next) {
			continue
		}
		t := c.tileFor(a, next)
		bytes += t.bytes()
		tiles = append(tiles, t)
	}
	return tiles
}

func planned(tiles []tileOrder, w *wanted) bool {
	for i := range tiles {
		t := &tiles[i]
		if t.pack == w.Pack && int64(w.Offset) >= t.from && w.end() <= t.to && (t.all || t.want.Column == w.Column) {
			return true
		}
	}
	return false
}

func (c *tileCache) covers(w *wanted) bool {
	for _, e := range c.packs[w.Pack] {
		if e.Value.(*tile).has(w) {
			return true
		}
	}
	return false
}

func (t *tileOrder) bytes() int64 {
	if t.all {
		return int64(len(t.columns)) * (t.to - t.from)
	}
	return t.to - t.from
}

// tileFor decides how much is read around a blob.
func (c *tileCache) tileFor(a *Archive, w wanted) tileOrder {
	k := int64(w.Geometry.K)
	t := tileOrder{want: w, tile: tile{pack: w.Pack, columns: make([][]byte, k)}}
	if k*w.L <= smallPack {
		t.to, t.all = w.L, true
		return t
	}
	if c.misses == nil || len(c.misses) >= maxAhead {
		c.misses = map[pack.ID]int{}
	}
	n := c.misses[w.Pack]
	c.misses[w.Pack]++
	size := min(int64(tileBytes)<<min(max(n-1, 0), 8), max(tileBytes, cachedTiles/2/k))
	t.all = n > 0 || w.Geometry.M > 0 && a.lacks(w.Geometry, w.Pack, w.Column) // calculating it takes those of the others anyway
	t.from = int64(w.Offset) / size * size
	t.from = c.after(&w, t.from)
	t.to = min(w.L, max(w.end(), t.from+size))
	return t
}

// after leaves out what is there of the bytes between from and the blob.
func (c *tileCache) after(w *wanted, from int64) int64 {
	for _, e := range c.packs[w.Pack] {
		if t := e.Value.(*tile); t.columns[w.Column] != nil && t.from <= int64(w.Offset) {
			from = max(from, min(t.to, int64(w.Offset)))
		}
	}
	return from
}

// readTile reads what was ordered. The error is that of the wanted column; others that cannot be read are left out.
func (a *Archive) readTile(ctx context.Context, t *tileOrder) error {
	w := &t.want
	ranges := []stripe.Range{{Shard: w.Column, Off: t.from, N: t.to - t.from}}
	if t.all {
		for c := range w.Geometry.K {
			if c != w.Column {
				ranges = append(ranges, stripe.Range{Shard: c, Off: t.from, N: t.to - t.from})
			}
		}
	}
	data, errs := a.setOf(w.Geometry).ReadMany(ctx, object(w.Pack, w.Kind, w.Geometry, w.L), ranges, nil)
	for i, r := range ranges {
		if errs[i] == nil {
			t.columns[r.Shard] = data[i]
		}
	}
	return errs[0]
}

// put keeps a tile.
func (c *tileCache) put(t *tile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := t.size()
	if size == 0 {
		return
	}
	if c.packs == nil {
		c.packs = map[pack.ID][]*list.Element{}
	}
	c.packs[t.pack] = append(c.packs[t.pack], c.order.PushFront(t))
	c.held += size
	for c.held > cachedTiles && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

func (c *tileCache) drop(e *list.Element) {
	t := c.order.Remove(e).(*tile)
	c.held -= t.size()
	left := c.packs[t.pack][:0]
	for _, o := range c.packs[t.pack] {
		if o != e {
			left = append(left, o)
		}
	}
	if c.packs[t.pack] = left; len(left) == 0 {
		delete(c.packs, t.pack)
	}
}

// hints are the trees that a walk will come to, with their places: the next one last.
type hints struct {
	stack  []wanted
	places map[chunk.ID]pack.Location // of those that were not asked for yet
}

// all yields them, the next one first.
func (h *hints) all() func(yield func(wanted) bool) {
	return func(yield func(wanted) bool) {
		for i := len(h.stack) - 1; i >= 0; i-- {
			if _, ok := h.places[h.stack[i].id]; ok && !yield(h.stack[i]) {
				return
			}
		}
	}
}

func (h *hints) push(list []wanted) {
	if h.places == nil {
		h.places = map[chunk.ID]pack.Location{}
	}
	for i := len(list) - 1; i >= 0; i-- {
		if _, ok := h.places[list[i].id]; !ok {
			h.places[list[i].id] = list[i].Location
			h.stack = append(h.stack, list[i])
		}
	}
	for len(h.stack) > 0 { // those on top that were taken
		if _, ok := h.places[h.stack[len(h.stack)-1].id]; ok {
			break
		}
		h.stack = h.stack[:len(h.stack)-1]
	}
	if over := len(h.stack) - maxAhead; over > maxAhead {
		for i := range over {
			delete(h.places, h.stack[i].id)
		}
		h.stack = append([]wanted(nil), h.stack[over:]...)
	}
}

// take returns the place of a tree that is asked for now.
func (c *tileCache) take(id chunk.ID) (pack.Location, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.hints.places[id]
	delete(c.hints.places, id)
	return l, ok
}

// Ahead tells which trees will be asked for soon, the next one first. It reads nothing: the next Load that has to read reads them as
// well, several packs at once, as far as they lie elsewhere. It is a hint, and does nothing about trees that the index does not know.
func (a *Archive) Ahead(ctx context.Context, ids []chunk.ID) {
	if len(ids) > maxAhead {
		ids = ids[:maxAhead]
	}
	locs, err := a.lookup(ctx, chunk.Tree, ids)
	if err != nil {
		return // Load will say it
	}
	list := make([]wanted, 0, len(ids))
	for i, l := range locs {
		if l.Found() && a.plausible(chunk.Tree, &l) == nil {
			list = append(list, wanted{ids[i], l})
		}
	}
	a.tiles.mu.Lock()
	defer a.tiles.mu.Unlock()
	a.tiles.hints.push(list)
}
