package snapshot

import (
	"context"
	"fmt"
	"iter"

	"cairn/chunk"
)

// How content lists are cut. Content of up to maxInline ids stays in the node. A list ends after an id
// whose low bits are zero, so an insertion changes one list of about 1024 ids (32 KiB) on each level.
const (
	maxInline = 1024
	minList   = 64
	maxList   = 8192
	listMask  = 1<<10 - 1
)

// SaveFunc stores the plaintext of a tree blob and returns its id. It must not keep plain.
type SaveFunc func(ctx context.Context, plain []byte) (chunk.ID, error)

// LoadFunc returns the plaintext of a tree blob, verified against its id. It is not changed and not kept.
type LoadFunc func(ctx context.Context, id chunk.ID) ([]byte, error)

// EncodeList returns the plaintext of a content list of at least one id.
func EncodeList(ids []chunk.ID) ([]byte, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("encode content list: no ids")
	}
	if len(ids) > (chunk.MaxPlain-5)/32 {
		return nil, fmt.Errorf("encode content list: %d ids, more than a blob holds", len(ids))
	}
	return appendIDs(make([]byte, 0, 5+32*len(ids)), ids), nil
}

// DecodeList parses the plaintext of a content list. It accepts exactly what EncodeList writes.
func DecodeList(plain []byte) ([]chunk.ID, error) {
	if len(plain) > chunk.MaxPlain {
		return nil, &FormatError{"content list", 0, fmt.Sprintf("%d bytes, more than a blob holds", len(plain))}
	}
	d := decoder{what: "content list", data: string(plain)}
	ids := d.ids(nil)
	if err := d.end(); err != nil {
		return nil, err
	}
	return ids, nil
}

// SaveContent makes the content of a node from the ids of its blobs: the ids themselves when they are
// few, otherwise the ids of lists, in as many levels as it takes. Equal stretches of two contents
// share their lists. The result may be ids itself.
func SaveContent(ctx context.Context, ids []chunk.ID, save SaveFunc) (content []chunk.ID, depth uint8, err error) {
	for len(ids) > maxInline {
		if depth == MaxDepth {
			return nil, 0, fmt.Errorf("content of %d lists at depth %d, more than a node holds", len(ids), depth)
		}
		if ids, err = saveLists(ctx, ids, save); err != nil {
			return nil, 0, err
		}
		depth++
	}
	return ids, depth, nil
}

func saveLists(ctx context.Context, ids []chunk.ID, save SaveFunc) ([]chunk.ID, error) {
	var lists []chunk.ID
	for len(ids) > 0 {
		n := cutList(ids)
		plain, err := EncodeList(ids[:n])
		if err != nil {
			return nil, err
		}
		id, err := save(ctx, plain)
		if err != nil {
			return nil, fmt.Errorf("save content list: %w", err)
		}
		lists = append(lists, id)
		ids = ids[n:]
	}
	return lists, nil
}

// cutList returns how many of the ids make the next list.
func cutList(ids []chunk.ID) int {
	end := min(len(ids), maxList)
	for n := minList; n < end; n++ {
		if hashID(ids[n-1])&listMask == 0 {
			return n
		}
	}
	return end
}

// Content iterates over the ids of the blobs (or tree pieces) that a content stands for, resolving its
// lists. It holds one list of each level. The first error ends it.
func Content(ctx context.Context, load LoadFunc, content []chunk.ID, depth uint8) iter.Seq2[chunk.ID, error] {
	return func(yield func(chunk.ID, error) bool) {
		c, err := newCursor(load, content, depth)
		if err != nil {
			yield(chunk.ID{}, err)
			return
		}
		for {
			id, ok, err := c.next(ctx)
			if err != nil {
				yield(chunk.ID{}, err)
				return
			}
			if !ok || !yield(id, nil) {
				return
			}
		}
	}
}

// cursor steps over the leaves of a content. Lists that it holds can be released at any time; it
// loads them again when it comes back to them.
type cursor struct {
	load   LoadFunc
	depth  int
	open   int // the deepest level at which it stands
	levels [MaxDepth + 1]cursorLevel
}

type cursorLevel struct {
	ids []chunk.ID // nil above level 0 after release; a list is never empty
	pos int        // of the next id
}

func newCursor(load LoadFunc, content []chunk.ID, depth uint8) (cursor, error) {
	c := cursor{load: load, depth: int(depth)}
	if depth > MaxDepth {
		return c, fmt.Errorf("content list of depth %d, more than %d", depth, MaxDepth)
	}
	c.levels[0].ids = content
	return c, nil
}

// next returns the next leaf. After an error it can be called again and goes on behind the list that
// could not be loaded.
func (c *cursor) next(ctx context.Context) (id chunk.ID, ok bool, err error) {
	if err := c.reload(ctx); err != nil {
		return chunk.ID{}, false, err
	}
	for {
		l := &c.levels[c.open]
		if l.pos == len(l.ids) {
			if c.open == 0 {
				return chunk.ID{}, false, nil
			}
			*l = cursorLevel{}
			c.open--
			continue
		}
		id := l.ids[l.pos]
		l.pos++
		if c.open == c.depth {
			return id, true, nil
		}
		ids, err := c.list(ctx, id)
		if err != nil {
			return chunk.ID{}, false, err
		}
		c.open++
		c.levels[c.open] = cursorLevel{ids: ids}
	}
}

func (c *cursor) list(ctx context.Context, id chunk.ID) ([]chunk.ID, error) {
	plain, err := c.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load content list %s: %w", id, err)
	}
	ids, err := DecodeList(plain)
	if err != nil {
		return nil, fmt.Errorf("content list %s: %w", id, err)
	}
	return ids, nil
}

func (c *cursor) release() {
	for i := 1; i <= c.open; i++ {
		c.levels[i].ids = nil
	}
}

// reload loads the lists that were released.
func (c *cursor) reload(ctx context.Context) error {
	for i := 1; i <= c.open; i++ {
		l := &c.levels[i]
		if l.ids != nil {
			continue
		}
		above := &c.levels[i-1]
		ids, err := c.list(ctx, above.ids[above.pos-1])
		if err == nil && len(ids) < l.pos {
			err = fmt.Errorf("content list %s was %d ids longer before", above.ids[above.pos-1], l.pos-len(ids))
		}
		if err != nil {
			c.open = i - 1
			return err
		}
		l.ids = ids
	}
	return nil
}

// held is about how many bytes release would free.
func (c *cursor) held() int {
	n := 0
	for i := 1; i <= c.open; i++ {
		n += 32 * len(c.levels[i].ids)
	}
	return n
}
