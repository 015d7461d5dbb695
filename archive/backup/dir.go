package backup

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"cairn/chunk"
	"cairn/snapshot"
)

// dir is a directory between being listed and being done.
type dir struct {
	parent *dir
	index  int // of the parent's entry
	path   string
	depth  int
	h      *handle
	node   snapshot.Node // its own, without content; only below a parent

	scope
	mem     *memory
	entries []entry // by name
	subdirs []int
	next    int    // of subdirs, guarded by stack.mu
	failed  string // why the list of entries is not complete

	open atomic.Int64 // entries that are not done, and 1 while it is listed
}

// scope is what of a directory belongs to the backup.
type scope struct {
	plan  *plan  // named paths below it, or nil
	whole bool   // everything in it; else only what leads to a named path
	below int    // length of the named path it belongs to
	dev   uint64 // the named path's file system
}

// entry is one name of a directory. node is set once it is done; nil then means that it is left out.
type entry struct {
	name  string
	st    stat
	old   *known // what the directory's memory says, or nil
	node  *snapshot.Node
	way   bool // taken only for the named paths below it
	clean bool // node may be believed next time if its times are old enough
}

func (d *dir) join(name string) string {
	if d.path == "/" {
		return "/" + name
	}
	return d.path + "/" + name
}

// recorded returns the node that is known of an entry, or nil.
func (e *entry) recorded() *snapshot.Node {
	if e.old == nil {
		return nil
	}
	return &e.old.node
}

// set records the node of an entry that was made anew. If it equals the one in the memory, that one is taken: a
// directory in which nothing differs is recognised by the pointers.
func (e *entry) set(n *snapshot.Node, clean bool) {
	e.node, e.clean = n, clean
	if old := e.recorded(); old != nil && sameNode(old, n) {
		e.node = old
	}
}

// complete records the node of a file that was read.
func (r *run) complete(ctx context.Context, j job, n *snapshot.Node, clean bool) error {
	r.front.set(j.d, j.i, n, clean, nil)
	r.o.Progress.Files.Add(1)
	return r.leave(ctx, j.d)
}

// drop leaves an entry out that vanished.
func (r *run) drop(ctx context.Context, j job, why error) error {
	r.tally.note(j.d.join(j.entry().name), why)
	return r.leave(ctx, j.d)
}

// leave counts an entry of d as done. The last one finishes the directory, and so on upwards.
func (r *run) leave(ctx context.Context, d *dir) error {
	for d.open.Add(-1) == 0 {
		content, depth, err := r.saveDir(ctx, d)
		if err != nil {
			return err
		}
		r.handles.drop(d.h)
		if d.parent == nil {
			r.front.end(d)
			r.root, r.done = snapshot.Root{Content: content, Depth: depth}, true
			return nil
		}
		p := d.parent
		n := d.node
		n.Content, n.Depth = content, depth
		if n.Error == "" {
			n.Error = d.failed
		}
		if old := p.entries[d.index].recorded(); old != nil && !d.whole {
			// Its times do not matter on the way to named paths: /tmp changes all the time without a change in /tmp/mine.
			calm := n
			calm.Mtime, calm.Ctime = old.Mtime, old.Ctime
			if sameNode(old, &calm) {
				n = calm
			}
		}
		r.front.set(p, d.index, &n, n.Error == "", d)
		r.o.Progress.Dirs.Add(1)
		d = p
	}
	return nil
}

// saveDir stores the tree of a directory whose entries are all done.
func (r *run) saveDir(ctx context.Context, d *dir) (content []chunk.ID, depth uint8, err error) {
	same, count := r.settle(d)
	reused := false
	if same && d.mem.whole && d.mem.depth == 0 && d.failed == "" {
		content, depth = d.mem.content, 0
		if reused = len(content) == 0; !reused {
			if reused, err = r.w.Known(chunk.Tree, content); err != nil {
				return nil, 0, err
			}
		}
	}
	if !reused {
		if content, depth, err = snapshot.SaveNodes(ctx, d.done(), r.saveTree); err != nil {
			return nil, 0, err
		}
	}
	if r.ofParts && (d.parent == nil || !d.whole) || !d.whole && r.o.SkipIfUnchanged {
		r.ways.Store(d.path, d.nodes(count))
	}
	if r.o.Cache != nil && !(reused && d.mem.cached && d.mem.settled()) {
		r.remember(d, content, depth)
	}
	return content, depth, nil
}

// settle counts the nodes of a finished directory. same says that they are those of its memory, no more and no less.
func (r *run) settle(d *dir) (same bool, count int) {
	var changes [3]Changes
	var bytes uint64
	same = true
	for i := range d.entries {
		e := &d.entries[i]
		if e.node == nil {
			continue
		}
		count++
		bytes += e.node.Size
		what := isNew
		if old := e.recorded(); old != nil {
			if what = isUnchanged; old != e.node {
				what = isChanged
			}
		}
		same = same && what == isUnchanged
		changes[classIndex(e.node.Type)].add(what)
	}
	r.tally.count(changes, bytes)
	return same && count == d.mem.count, count
}

func classIndex(t snapshot.NodeType) int {
	switch t {
	case snapshot.File:
		return 0
	case snapshot.Dir:
		return 1
	}
	return 2
}

// done iterates over the directory's nodes in order.
func (d *dir) done() iter.Seq[*snapshot.Node] {
	return func(yield func(*snapshot.Node) bool) {
		for i := range d.entries {
			if n := d.entries[i].node; n != nil && !yield(n) {
				return
			}
		}
	}
}

// nodes returns a copy of them.
func (d *dir) nodes(count int) []snapshot.Node {
	nodes := make([]snapshot.Node, 0, count)
	for i := range d.entries {
		if n := d.entries[i].node; n != nil {
			nodes = append(nodes, *n)
		}
	}
	return nodes
}

// remember writes the directory's record. A cache that cannot be written costs time in the next run and nothing now.
func (r *run) remember(d *dir, content []chunk.ID, depth uint8) {
	m := &memory{content: content, depth: depth, whole: d.failed == ""}
	racy, i := doubtOf(r.began, r.o.clock()), 0
	next := func() (*snapshot.Node, bool) {
		for ; i < len(d.entries); i++ {
			if e := &d.entries[i]; e.node != nil {
				i++
				return e.node, e.clean && racy.settled(e.node)
			}
		}
		return nil, false
	}
	if err := storeMemory(r.o.Cache, d.path, r.stamp, m, next); err != nil {
		r.cacheTrouble.Do(func() { r.tally.note(d.path, err) })
	}
}

// errTooDeep keeps to what a reader follows (docs/format.md §10).
var errTooDeep = errors.New("lies deeper than the 4096 levels an archive can hold")
