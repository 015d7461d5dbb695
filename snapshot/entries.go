package snapshot

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"cairn/chunk"
)

// maxHeld bounds the decoded pieces and lists that a walk keeps for the directories it is in, in
// bytes. Real trees hold some 100 KB a level and never reach it. A hostile tree of 4096 levels with
// full pieces would need 70 GB; beyond the bound the outer levels are released and loaded again.
const maxHeld = 64 << 20

// nodeSize is about what a decoded node takes beside its encoded bytes.
const nodeSize = 280

// holder keeps account of what the open directories of one walk hold, outermost first.
type holder struct {
	load  LoadFunc
	ahead func(context.Context, []chunk.ID) // may be nil
	limit int
	held  int
	inner int // of held: what cannot be released, the content of the open directories
	open  []*entries
}

func newHolder(load LoadFunc) *holder { return &holder{load: load, limit: maxHeld} }

// entries steps over the nodes of one directory in order. The order is checked from piece to piece.
type entries struct {
	h        *holder
	cur      cursor
	ahead    chunk.ID // the next piece, when it was looked at already
	hasAhead bool
	piece    chunk.ID // the piece it stands in
	nodes    []Node   // of the piece; nil when released or before the first
	count    int      // number of nodes of the piece
	pos      int      // of the next node in the piece
	last     string   // last name of that piece
	held     int
	content  int
}

// enter opens the directory inside those that are open. The content is copied, so that it does
// not keep the decoded piece of the directory above alive.
func (h *holder) enter(r Root) (*entries, error) {
	cur, err := newCursor(h.load, slices.Clone(r.Content), r.Depth)
	if err != nil {
		return nil, err
	}
	e := &entries{h: h, cur: cur, content: 32 * len(r.Content)}
	// With content saved by SaveContent this is at most 4096 levels of 32 KiB, 128 MiB.
	if h.inner+e.content > 4*h.limit {
		return nil, fmt.Errorf("directories above each other have more than %d MiB of content", 4*h.limit>>20)
	}
	h.inner += e.content
	h.open = append(h.open, e)
	return e, nil
}

// leave closes the directory, which is among the innermost.
func (e *entries) leave() {
	e.release()
	e.h.inner -= e.content
	if i := slices.Index(e.h.open, e); i >= 0 {
		e.h.open = slices.Delete(e.h.open, i, i+1)
	}
}

func (e *entries) release() {
	e.cur.release()
	e.nodes = nil
	e.account(0)
}

func (e *entries) account(held int) {
	e.h.held += held - e.held
	e.held = held
}

// drained says whether the nodes of the current piece are used up.
func (e *entries) drained() bool { return e.pos >= e.count }

// upcoming returns the id of the piece after the current one.
func (e *entries) upcoming(ctx context.Context) (chunk.ID, bool, error) {
	if !e.hasAhead {
		id, ok, err := e.cur.next(ctx)
		if err != nil || !ok {
			return chunk.ID{}, false, err
		}
		e.ahead, e.hasAhead = id, true
	}
	return e.ahead, true, nil
}

// skip passes over the upcoming piece.
func (e *entries) skip() { e.hasAhead = false }

// node returns the node where it stands, nil at the end. After an error it can be called again and
// goes on behind the piece or list that could not be used.
func (e *entries) node(ctx context.Context) (*Node, error) {
	for e.drained() {
		id, ok, err := e.upcoming(ctx)
		if err != nil || !ok {
			return nil, err
		}
		e.skip()
		e.piece, e.nodes, e.count, e.pos = id, nil, 0, 0
		e.account(0)
		nodes, err := e.fetch(ctx)
		if err != nil {
			return nil, err
		}
		if nodes[0].Name <= e.last {
			e.nodes = nil
			return nil, fmt.Errorf("tree piece %s: %w", id, &NodeError{nodes[0].Name, fmt.Sprintf("comes after %.200q", e.last)})
		}
		e.count = len(nodes)
		e.last = strings.Clone(nodes[len(nodes)-1].Name) // a copy, to let go of the piece
	}
	if e.nodes == nil {
		nodes, err := e.fetch(ctx)
		if err == nil && len(nodes) != e.count {
			err = fmt.Errorf("tree piece %s had %d nodes and now has %d", e.piece, e.count, len(nodes))
		}
		if err != nil {
			e.nodes, e.pos = nil, e.count
			return nil, err
		}
	}
	return &e.nodes[e.pos], nil
}

// advance steps to the next node.
func (e *entries) advance() { e.pos++ }

// fetch loads the current piece.
func (e *entries) fetch(ctx context.Context) ([]Node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	nodes, size, err := loadPiece(ctx, e.h.load, e.piece)
	if err != nil {
		return nil, err
	}
	e.nodes = nodes
	e.account(size + e.cur.held())
	if e.h.ahead != nil {
		e.tellAhead(ctx, nodes)
	}
	for i := 0; e.h.held > e.h.limit && i < len(e.h.open); i++ {
		if o := e.h.open[i]; o != e && o.held > 0 {
			o.release()
		}
	}
	return nodes, nil
}

// tellAhead names the tree blobs that the nodes lead to: the pieces of directories, and the lists of those and of huge files.
func (e *entries) tellAhead(ctx context.Context, nodes []Node) {
	var ids []chunk.ID
	for i := range nodes {
		if n := &nodes[i]; n.Type == Dir || n.Depth > 0 {
			ids = append(ids, n.Content...)
		}
	}
	if len(ids) > 0 {
		e.h.ahead(ctx, ids)
	}
}

// loadPiece also returns about how many bytes the nodes take.
func loadPiece(ctx context.Context, load LoadFunc, id chunk.ID) ([]Node, int, error) {
	plain, err := load(ctx, id)
	if err != nil {
		return nil, 0, fmt.Errorf("load tree piece %s: %w", id, err)
	}
	nodes, err := DecodePiece(plain)
	if err != nil {
		return nil, 0, fmt.Errorf("tree piece %s: %w", id, err)
	}
	size := len(plain) + nodeSize*len(nodes)
	for i := range nodes {
		size += 48*len(nodes[i].Xattrs) + 16*len(nodes[i].Holes)
	}
	return nodes, size, nil
}

// Nodes iterates over the nodes of a directory in the order of their names, which it checks from
// piece to piece. It holds one piece. The first error ends it.
func Nodes(ctx context.Context, load LoadFunc, content []chunk.ID, depth uint8) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		e, err := newHolder(load).enter(Root{content, depth})
		if err != nil {
			yield(nil, err)
			return
		}
		for {
			n, err := e.node(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if n == nil || !yield(n, nil) {
				return
			}
			e.advance()
		}
	}
}
