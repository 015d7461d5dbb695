package replicate

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

// purge makes the tree of one snapshot without what matches.
type purge struct {
	r     *rewriter
	s     *snapshot.Snapshot
	rules pattern.Bound
	paths map[string]bool // that were named to the backup
	ways  map[string]bool // directories on the way to them
	save  snapshot.SaveFunc
	count bool // what is removed

	removed Removed
	named   []string
}

func (r *rewriter) purge(s *snapshot.Snapshot, save snapshot.SaveFunc) *purge {
	p := &purge{r: r, s: s, rules: r.o.Excludes.Bind(s.Paths), paths: map[string]bool{}, ways: map[string]bool{}, save: save}
	for _, path := range s.Paths {
		p.paths[path] = true
		for i := 1; i < len(path); i++ {
			if path[i] == '/' {
				p.ways[path[:i]] = true
			}
		}
	}
	return p
}

// scope is what holds in a directory, as in the backup.
type scope struct {
	below  int  // length of the named path it belongs to
	inside bool // it belongs to one
	bare   bool // it is excluded, and kept only for named paths below it
}

// step says whether an entry of a directory is kept, and what holds in it.
func (p *purge) step(in scope, path string, isDir bool) (out scope, keep bool) {
	switch {
	case p.paths[path]: // never excluded: whoever wants that gone forgets the snapshot
		if p.rules.Excluded(path, in.below, isDir) && !slices.Contains(p.named, path) {
			p.named = append(p.named, path)
		}
		return scope{below: len(path), inside: true}, true
	case in.bare:
		return in, p.ways[path]
	case (in.inside || !p.ways[path]) && p.rules.Excluded(path, in.below, isDir):
		in.bare = true
		return in, p.ways[path]
	}
	return in, true
}

// root makes the new tree.
func (p *purge) root(ctx context.Context) (snapshot.Root, error) {
	root, _, err := p.dir(ctx, scope{inside: p.paths["/"]}, "", 0, p.s.Root())
	return root, err
}

// edit is what becomes of an entry that does not stay as it is.
type edit struct {
	gone bool
	root snapshot.Root // of a directory in which something has changed
}

// dir makes the new tree of a directory. It holds one piece of it and the edits, and all entries only if there are any.
func (p *purge) dir(ctx context.Context, in scope, path string, level int, root snapshot.Root) (snapshot.Root, bool, error) {
	key := p.key(in, path, root)
	if len(root.Content) == 0 || p.r.same.has(key) {
		return root, false, nil
	}
	if level >= snapshot.MaxPathDepth || len(path) > snapshot.MaxPathBytes {
		return root, false, fmt.Errorf("directory %.1000s: path of more than %d elements or %d bytes", path, snapshot.MaxPathDepth, snapshot.MaxPathBytes)
	}
	edits, err := p.edits(ctx, in, path, level, root)
	if err != nil {
		return root, false, err
	}
	if len(edits) == 0 {
		p.r.same.add(key)
		return root, false, nil
	}
	var nodes []snapshot.Node
	for n, err := range snapshot.Nodes(ctx, p.load, root.Content, root.Depth) {
		if err != nil {
			return root, false, fmt.Errorf("directory %.1000s/: %w", path, err)
		}
		e, changed := edits[n.Name]
		if e.gone {
			continue
		}
		node := *n
		if changed {
			node.Content, node.Depth = e.root.Content, e.root.Depth
		}
		nodes = append(nodes, node)
	}
	content, depth, err := snapshot.SaveTree(ctx, nodes, p.save)
	return snapshot.Root{Content: content, Depth: depth}, true, err
}

// edits finds the entries of a directory that do not stay as they are.
func (p *purge) edits(ctx context.Context, in scope, path string, level int, root snapshot.Root) (map[string]edit, error) {
	var edits map[string]edit
	note := func(name string, e edit) {
		if edits == nil {
			edits = map[string]edit{}
		}
		edits[strings.Clone(name)] = e
	}
	for n, err := range snapshot.Nodes(ctx, p.load, root.Content, root.Depth) {
		if err != nil {
			return nil, fmt.Errorf("directory %.1000s/: %w", path, err)
		}
		at := path + "/" + n.Name
		out, keep := p.step(in, at, n.Type == snapshot.Dir)
		if !keep {
			if err := p.remove(ctx, n); err != nil {
				return nil, err
			}
			note(n.Name, edit{gone: true})
			continue
		}
		if n.Type != snapshot.Dir {
			continue
		}
		below, changed, err := p.dir(ctx, out, at, level+1, n.Root())
		if err != nil {
			return nil, err
		}
		if changed {
			note(n.Name, edit{root: below})
		}
	}
	return edits, nil
}

// remove counts what goes with an entry. What of it cannot be read is not counted.
func (p *purge) remove(ctx context.Context, n *snapshot.Node) error {
	if !p.count {
		return nil
	}
	p.removed.name(n)
	if n.Type != snapshot.Dir {
		return nil
	}
	w := p.r.a.Walker()
	w.OnError = func(_ string, err error) error {
		if p.r.a.Stops(ctx, err) {
			return err
		}
		return nil
	}
	return w.Walk(ctx, n.Content, n.Depth, func(_ string, n *snapshot.Node) error {
		p.removed.name(n)
		return nil
	})
}

func (r *Removed) name(n *snapshot.Node) {
	switch n.Type {
	case snapshot.File:
		r.Files++
		r.Bytes += n.Size
	case snapshot.Dir:
		r.Dirs++
	default:
		r.Others++
	}
}

func (p *purge) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	p.r.o.Progress.Trees.Add(1)
	return p.r.a.LoadTree(ctx, id)
}

// excluded says whether something that could not be read lies at or below what is taken out. Nobody knows any more whether it was a
// directory.
func (p *purge) excluded(path string) bool {
	in := scope{inside: p.paths["/"]}
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		keep := true
		if in, keep = p.step(in, path[:i], true); !keep {
			return true
		}
	}
	return false
}

// maxSame bounds the memory of sameTrees at about 70 MB.
const maxSame = 1 << 20

// sameTrees remembers directories in which nothing matches, so that what snapshots share is looked through once. It forgets all when it is full.
type sameTrees struct{ seen map[chunk.ID]struct{} }

func (t *sameTrees) has(key chunk.ID) bool { _, ok := t.seen[key]; return ok }

func (t *sameTrees) add(key chunk.ID) {
	if t.seen == nil || len(t.seen) >= maxSame {
		t.seen = map[chunk.ID]struct{}{}
	}
	t.seen[key] = struct{}{}
}

// key names a directory with all that decides what matches in it: its path and the paths that were named.
func (p *purge) key(in scope, path string, root snapshot.Root) chunk.ID {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%q %q %v %d ", p.s.Paths, path, in, root.Depth)
	for _, id := range root.Content {
		b.Write(id[:])
	}
	return chunk.Sum(b.Bytes())
}
