package snapshot

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"cairn/chunk"
)

// How directories are cut into pieces. A piece begins at a name whose hash has eleven zero bits, about
// every 2048 nodes (some 240 KB): a small directory is one piece, and adding a file to a large one
// changes the piece that holds its name, or makes two of it. Forced cuts at the upper limits shift
// with an insertion, but only up to the next name that cuts by itself.
const (
	minPiece      = 64
	maxPiece      = 8192
	maxPieceBytes = 1 << 20
	pieceMask     = 1<<11 - 1
)

// SaveTree is SaveNodes of a slice.
func SaveTree(ctx context.Context, nodes []Node, save SaveFunc) (content []chunk.ID, depth uint8, err error) {
	return SaveNodes(ctx, func(yield func(*Node) bool) {
		for i := range nodes {
			if !yield(&nodes[i]) {
				return
			}
		}
	}, save)
}

// SaveNodes stores a directory's nodes, sorted by name, as tree pieces and returns what goes into the
// Content and Depth of its own node. A directory without nodes has no content. Equal nodes give equal
// content whenever and wherever they are saved, and directories that differ in a few nodes share all
// other pieces. A node that cannot be stored gives a *NodeError. The plaintext passed to save is valid
// only until save returns.
func SaveNodes(ctx context.Context, nodes iter.Seq[*Node], save SaveFunc) (content []chunk.ID, depth uint8, err error) {
	var p pieceBuilder
	var pieces []chunk.ID
	flush := func() error {
		plain, err := p.finish()
		if err != nil {
			return err
		}
		id, err := save(ctx, plain)
		if err != nil {
			return fmt.Errorf("save tree piece: %w", err)
		}
		pieces = append(pieces, id)
		p.reset()
		return nil
	}
	for n := range nodes {
		if p.count >= minPiece && (p.count >= maxPiece || BeginsPiece(n.Name)) {
			if err := flush(); err != nil {
				return nil, 0, err
			}
		}
		if err := p.add(n); err != nil {
			return nil, 0, err
		}
		if len(p.buf) > maxPieceBytes && p.count > 1 {
			node := p.takeLast()
			if err := flush(); err != nil {
				return nil, 0, err
			}
			p.putBack(node)
		}
	}
	if p.count > 0 {
		if err := flush(); err != nil {
			return nil, 0, err
		}
	}
	return SaveContent(ctx, pieces, save)
}

// Root is what leads to the nodes of a directory: the Content and Depth of its node or of a snapshot.
type Root struct {
	Content []chunk.ID
	Depth   uint8
}

// Root returns the root of a directory's own tree.
func (n *Node) Root() Root { return Root{n.Content, n.Depth} }

func (r Root) equal(o Root) bool { return r.Depth == o.Depth && slices.Equal(r.Content, o.Content) }

// BeginsPiece says whether SaveTree would begin a piece with this name, in a directory that is large enough: about one name in
// 2048. Readers need it for nothing; who finds pieces without what leads to them can tell which ones are the middle of a directory.
func BeginsPiece(name string) bool { return hashName(name)&pieceMask == 0 }
