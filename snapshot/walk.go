package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"cairn/chunk"
)

// A WalkFunc or a DiffFunc returns these to leave out something, as in io/fs.
var (
	// SkipDir on a directory leaves out what is below it, on another node the rest of its directory.
	SkipDir = fs.SkipDir
	// SkipAll ends the walk without an error.
	SkipAll = fs.SkipAll
)

// MaxPathBytes is the longest path that a walk follows: MaxPathDepth elements of 255 bytes.
const MaxPathBytes = 256 * MaxPathDepth

// WalkFunc is called for a node with its path, "/srv/a". It may keep the node.
type WalkFunc func(path string, n *Node) error

// Walker walks over the nodes of a tree.
type Walker struct {
	Load LoadFunc

	// Ahead, when set, is told which tree blobs the walk will load before long, the next one first: for a Load that
	// can get several at once. The walk may end before, or pass some over.
	Ahead func(ctx context.Context, ids []chunk.ID)

	// OnError, when set, is told what could not be loaded or believed in the directory at path. The
	// walk goes on with what comes after it, unless OnError returns an error, which ends it. Without
	// OnError the first such error ends the walk. A context that is done always ends it.
	OnError func(path string, err error) error
}

// Walk calls fn for every node below the root, a directory before its entries and those in the order
// of their names, not for the root itself. It needs a bounded amount of memory for any tree, but a
// hostile tree that names a directory many times over can take any time: the context ends it.
func Walk(ctx context.Context, load LoadFunc, content []chunk.ID, depth uint8, fn WalkFunc) error {
	w := Walker{Load: load}
	return w.Walk(ctx, content, depth, fn)
}

// Walk is like the function Walk.
func (w *Walker) Walk(ctx context.Context, content []chunk.ID, depth uint8, fn WalkFunc) error {
	h := newHolder(w.Load)
	h.ahead = w.Ahead
	err := w.walk(ctx, h, "", 0, Root{content, depth}, fn)
	if errors.Is(err, SkipAll) {
		return nil
	}
	return err
}

// walk walks over the directory at path prefix, which has level elements. An error that is SkipAll
// came from fn.
func (w *Walker) walk(ctx context.Context, h *holder, prefix string, level int, root Root, fn WalkFunc) error {
	type place struct {
		e    *entries
		path int // length of the path of the directory
	}
	path := []byte(prefix)
	var stack []place
	defer func() {
		for _, p := range stack {
			p.e.leave()
		}
	}()
	enter := func(r Root) error {
		var err error
		switch {
		case level+len(stack) >= MaxPathDepth:
			err = fmt.Errorf("path of more than %d elements", MaxPathDepth)
		case len(path) > MaxPathBytes:
			err = fmt.Errorf("path of more than %d bytes", MaxPathBytes)
		default:
			var e *entries
			if e, err = h.enter(r); err == nil {
				stack = append(stack, place{e, len(path)})
				return nil
			}
		}
		return w.report(ctx, string(path), err)
	}
	leave := func() {
		stack[len(stack)-1].e.leave()
		stack = stack[:len(stack)-1]
	}
	if err := enter(root); err != nil {
		return err
	}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		path = path[:top.path]
		n, err := top.e.node(ctx)
		if err != nil {
			if err := w.report(ctx, string(path), err); err != nil {
				return err
			}
			continue
		}
		if n == nil {
			leave()
			continue
		}
		top.e.advance()
		path = append(append(path, '/'), n.Name...)
		switch err := fn(string(path), n); {
		case errors.Is(err, SkipDir) && n.Type == Dir:
			continue
		case errors.Is(err, SkipDir):
			leave()
			continue
		case err != nil:
			return err
		}
		if n.Type == Dir && len(n.Content) > 0 {
			if err := enter(n.Root()); err != nil {
				return err
			}
		}
	}
	return nil
}

// report passes an error about the directory at path on.
func (w *Walker) report(ctx context.Context, path string, err error) error {
	if path == "" {
		path = "/"
	}
	if w.OnError == nil || ctx.Err() != nil {
		return fmt.Errorf("directory %.1000s: %w", path, err)
	}
	return w.OnError(path, err)
}
