package backup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/remote"
	"cairn/snapshot"
)

// branch is a directory that leads to parts, or what a part put there. Only these are in memory: a writer's key could not load trees again.
type branch struct {
	node     snapshot.Node
	children map[string]*branch // nil: what the part has is node, with all that is below
	part     *Part              // the first that has something here
	made     bool               // it is not of the file system
}

func newBranch() *branch { return &branch{children: map[string]*branch{}, made: true} }

// graft adds what a run found. twice is how many directories on the way were there already.
func (b *branch) graft(r *run, p *Part) (twice uint64, err error) { return b.graftAt(r, p, "/") }

func (b *branch) graftAt(r *run, p *Part, dir string) (twice uint64, err error) {
	nodes, _ := r.way(dir)
	for _, n := range nodes {
		full := strings.TrimSuffix(dir, "/") + "/" + n.Name
		_, way := r.way(full)
		old := b.children[n.Name]
		switch {
		case old == nil:
			old = &branch{node: n, part: p}
			b.children[n.Name] = old
			if !way {
				continue
			}
			old.children = map[string]*branch{}
		case !way || old.children == nil:
			return 0, conflict(full, old.part, p)
		default:
			if twice++; old.made {
				old.node, old.made = n, false
			} else if old.node.Error == "" {
				old.node = n // its times are of now
			}
		}
		more, err := old.graftAt(r, p, full)
		if err != nil {
			return 0, err
		}
		twice += more
	}
	return twice, nil
}

func conflict(full string, a, b *Part) error {
	err := fmt.Errorf("parts %s and %s both have %s", a.Name, b.Name, full)
	if full == Reserved || reserved(full) {
		return remote.WithHint(err, Reserved+" is where a snapshot has its streams: exclude it from the part that is a tree, or move it away")
	}
	return err
}

// plant adds a virtual file, or a tree that lies elsewhere. fresh is how many directories were made for it.
func (b *branch) plant(r *run, full string, n snapshot.Node, p *Part) (fresh int, err error) {
	elems := strings.Split(full[1:], "/")
	for i, name := range elems[:len(elems)-1] {
		next := b.children[name]
		if next == nil {
			next = newBranch()
			next.node, next.part = r.virtual(name, snapshot.Dir, 0o755), p
			if b.children[name] = next; i == 0 && "/"+name == Reserved {
				next.node.Mode = 0o700
			}
			fresh++
		}
		if next.children == nil {
			return 0, conflict("/"+strings.Join(elems[:i+1], "/"), next.part, p)
		}
		b = next
	}
	if old := b.children[n.Name]; old != nil {
		return 0, conflict(full, old.part, p)
	}
	b.children[n.Name] = &branch{node: n, part: p, made: p.As == ""}
	return fresh, nil
}

// names are those of the entries in order.
func (b *branch) names() []string { return slices.Sorted(maps.Keys(b.children)) }

// save stores the directories that lead to parts, the deepest first.
func (g *group) save(ctx context.Context, b *branch) (snapshot.Root, error) {
	nodes := make([]snapshot.Node, 0, len(b.children))
	for _, name := range b.names() {
		c := b.children[name]
		if c.children != nil {
			root, err := g.save(ctx, c)
			if err != nil {
				return root, err
			}
			c.node.Content, c.node.Depth = root.Content, root.Depth
		}
		nodes = append(nodes, c.node)
	}
	content, depth, err := snapshot.SaveTree(ctx, nodes, g.saveTree)
	return snapshot.Root{Content: content, Depth: depth}, err
}

// same says that the parts are what they were in the parent snapshot. Directories on the way are compared by what they lead to, streams by
// their bytes, and papers not at all.
func (g *group) same(ctx context.Context) bool {
	p := g.o.Parent
	return p != nil && g.sameBranch(ctx, g.tree, snapshot.Root{Content: p.Content, Depth: p.Depth}, "/")
}

func (g *group) sameBranch(ctx context.Context, b *branch, before snapshot.Root, dir string) bool {
	names := b.names()
	for old, err := range snapshot.Nodes(ctx, g.o.Parent.Load, before.Content, before.Depth) {
		if err != nil {
			return false
		}
		if g.isPaper(dir + old.Name) {
			continue
		}
		for len(names) > 0 && g.isPaper(dir+names[0]) {
			names = names[1:]
		}
		if len(names) == 0 || names[0] != old.Name || !g.sameEntry(ctx, b.children[names[0]], old, dir) {
			return false
		}
		names = names[1:]
	}
	for len(names) > 0 && g.isPaper(dir+names[0]) {
		names = names[1:]
	}
	return len(names) == 0
}

func (g *group) sameEntry(ctx context.Context, b *branch, old *snapshot.Node, dir string) bool {
	n := &b.node
	switch {
	case b.children == nil && b.made:
		return old.Type == snapshot.File && old.Size == n.Size && old.Depth == n.Depth && slices.Equal(old.Content, n.Content)
	case b.children == nil:
		return sameNode(old, n)
	}
	return old.Type == snapshot.Dir && old.Mode == n.Mode && old.UID == n.UID && old.GID == n.GID &&
		g.sameBranch(ctx, b, old.Root(), dir+n.Name+"/")
}

func (g *group) isPaper(full string) bool {
	for i := range g.parts {
		if g.parts[i].Paper != nil && g.names[i][0] == full {
			return true
		}
	}
	return false
}
