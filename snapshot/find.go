package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"cairn/chunk"
)

// ErrNotFound means that a tree has no node of the wanted path, or a list no snapshot that was asked for.
var ErrNotFound = errors.New("not found")

// NotFoundError is the ErrNotFound of a path.
type NotFoundError struct {
	Path    string // what was looked for
	Missing string // the path up to the first element that is not there
	NotDir  bool   // Missing is there, but it is no directory
}

func (e *NotFoundError) Error() string {
	switch {
	case e.NotDir:
		return fmt.Sprintf("%s: %s is not a directory", e.Path, e.Missing)
	case e.Missing == e.Path:
		return fmt.Sprintf("%s: not in the snapshot", e.Path)
	}
	return fmt.Sprintf("%s: %s is not in the snapshot", e.Path, e.Missing)
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// Hint returns the next step.
func (e *NotFoundError) Hint() string {
	if e.NotDir {
		return "name the entry itself, or list its directory with `cairn ls SNAP:" + path.Dir(e.Missing) + "`"
	}
	return "list what is there with `cairn ls SNAP:" + path.Dir(e.Missing) + "`"
}

// Find returns the node of a path in the tree. The path is absolute, as in "/srv/a"; empty elements,
// "." and ".." are resolved by their text, symlinks are not followed. "/" gives a node made up for the
// root, with the name "/". It loads a logarithmic number of the pieces of each directory on the way;
// order is checked only inside of them.
func Find(ctx context.Context, load LoadFunc, content []chunk.ID, depth uint8, name string) (*Node, error) {
	clean := path.Clean("/" + name)
	n := &Node{Name: "/", Type: Dir, Mode: 0o755, Content: content, Depth: depth}
	if clean == "/" {
		return n, nil
	}
	if strings.Count(clean, "/") > MaxPathDepth {
		return nil, fmt.Errorf("path of more than %d elements", MaxPathDepth)
	}
	for at := 1; at <= len(clean); {
		end := len(clean)
		if i := strings.IndexByte(clean[at:], '/'); i >= 0 {
			end = at + i
		}
		if n.Type != Dir {
			return nil, &NotFoundError{Path: clean, Missing: clean[:at-1], NotDir: true}
		}
		next, err := findEntry(ctx, load, n.Content, n.Depth, clean[at:end])
		if err != nil {
			return nil, fmt.Errorf("directory %s: %w", clean[:max(at-1, 1)], err)
		}
		if next == nil {
			return nil, &NotFoundError{Path: clean, Missing: clean[:end]}
		}
		n, at = next, end+1
	}
	return n, nil
}

// findEntry looks for a name in one directory; nil when it is not there.
func findEntry(ctx context.Context, load LoadFunc, content []chunk.ID, depth uint8, name string) (*Node, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("content list of depth %d, more than %d", depth, MaxDepth)
	}
	f := finder{load: load}
	for {
		i, err := f.child(ctx, content, depth, name)
		if err != nil || i < 0 {
			return nil, err
		}
		if depth == 0 {
			if err := f.piece(ctx, content[i]); err != nil {
				return nil, err
			}
			return f.pick(name), nil
		}
		c := cursor{load: load}
		if content, err = c.list(ctx, content[i]); err != nil {
			return nil, err
		}
		depth--
	}
}

// finder keeps the piece it looked at last: the one that is chosen was often the last one compared.
type finder struct {
	load  LoadFunc
	id    chunk.ID
	nodes []Node
}

func (f *finder) piece(ctx context.Context, id chunk.ID) error {
	if f.nodes != nil && f.id == id {
		return nil
	}
	nodes, _, err := loadPiece(ctx, f.load, id)
	if err != nil {
		return err
	}
	f.id, f.nodes = id, nodes
	return nil
}

func (f *finder) pick(name string) *Node {
	i, ok := slices.BinarySearchFunc(f.nodes, name, func(n Node, name string) int { return strings.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return &f.nodes[i]
}

// child returns the number of the list or piece that would hold the name, -1 when it sorts before all.
func (f *finder) child(ctx context.Context, ids []chunk.ID, depth uint8, name string) (int, error) {
	low, high := 0, len(ids) // the first child that begins behind the name is in low … high
	for low < high {
		mid := int(uint(low+high) / 2)
		first, err := f.first(ctx, ids[mid], depth)
		if err != nil {
			return 0, err
		}
		if first <= name {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1, nil
}

// first returns the first name below a list or piece.
func (f *finder) first(ctx context.Context, id chunk.ID, depth uint8) (string, error) {
	for ; depth > 0; depth-- {
		c := cursor{load: f.load}
		ids, err := c.list(ctx, id)
		if err != nil {
			return "", err
		}
		id = ids[0]
	}
	if err := f.piece(ctx, id); err != nil {
		return "", err
	}
	return f.nodes[0].Name, nil
}
