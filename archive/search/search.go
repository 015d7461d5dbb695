package search

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cairn/chunk"
	"cairn/snapshot"
)

// maxHeld bounds the matches and subdirectories of one directory that are held at a time: about 80 MB.
const maxHeld = 1 << 18

// Run looks through the trees of snapshots.
func Run(ctx context.Context, t Trees, list []*snapshot.Snapshot, o Options) error {
	return run(ctx, t, list, o, maxHeld)
}

func run(ctx context.Context, t Trees, list []*snapshot.Snapshot, o Options, held int) error {
	if o.Match == nil {
		o.Match = func(string, *snapshot.Node) bool { return true }
	}
	o.Below = path.Clean("/" + o.Below)
	s := &search{t: t, list: list, o: o, held: held}
	roots := map[chunk.ID]*version{}
	for i, one := range list {
		add(roots, dirKey(one.Root()), one.Root(), newSet(len(list), i))
	}
	err := s.dir(ctx, "", 0, slices.Collect(maps.Values(roots)))
	if errors.Is(err, snapshot.SkipAll) {
		return nil
	}
	return err
}

type search struct {
	t    Trees
	list []*snapshot.Snapshot
	o    Options
	held int
}

// version is a directory as some snapshots have it.
type version struct {
	root snapshot.Root
	in   set
}

func add(to map[chunk.ID]*version, key chunk.ID, root snapshot.Root, in set) {
	if v := to[key]; v != nil {
		v.in = v.in.or(in)
		return
	}
	to[key] = &version{snapshot.Root{Content: slices.Clone(root.Content), Depth: root.Depth}, in}
}

// dir looks through all versions of the directory at a path.
func (s *search) dir(ctx context.Context, prefix string, level int, versions []*version) error {
	if level > snapshot.MaxPathDepth || len(prefix) > snapshot.MaxPathBytes {
		return s.lost(ctx, prefix, union(versions), errors.New("the path is too long to be followed"))
	}
	pieces, err := s.pieces(ctx, prefix, versions)
	if err != nil {
		return err
	}
	l := newLevel()
	for i, p := range pieces {
		if i%64 == 0 {
			ahead := make([]chunk.ID, 0, 64)
			for _, p := range pieces[i:min(i+64, len(pieces))] {
				ahead = append(ahead, p.id)
			}
			s.t.Ahead(ctx, ahead)
		}
		nodes, err := s.load(ctx, p.id)
		if err != nil {
			if err := s.lost(ctx, prefix, p.in, err); err != nil {
				return err
			}
			continue
		}
		for n := range nodes {
			s.take(l, prefix, &nodes[n], p.in)
		}
		if l.count >= s.held {
			if err := s.tell(ctx, l, prefix, level); err != nil {
				return err
			}
			l = newLevel()
		}
	}
	return s.tell(ctx, l, prefix, level)
}

// piece is a tree piece with the snapshots in which the directory has it.
type piece struct {
	id chunk.ID
	in set
}

// pieces lists the distinct pieces of all versions. A version of which a list is lost has those before it.
func (s *search) pieces(ctx context.Context, prefix string, versions []*version) ([]*piece, error) {
	var order []*piece
	known := map[chunk.ID]*piece{}
	slices.SortFunc(versions, func(a, b *version) int { return a.in.compare(b.in) }) // so that nothing depends on the order of a map
	for _, v := range versions {
		for id, err := range snapshot.Content(ctx, s.t.LoadTree, v.root.Content, v.root.Depth) {
			if err != nil {
				if err := s.lost(ctx, prefix, v.in, err); err != nil {
					return nil, err
				}
				break
			}
			if p := known[id]; p != nil {
				p.in = p.in.or(v.in)
				continue
			}
			p := &piece{id, v.in}
			known[id] = p
			order = append(order, p)
		}
	}
	return order, nil
}

func (s *search) load(ctx context.Context, id chunk.ID) ([]snapshot.Node, error) {
	plain, err := s.t.LoadTree(ctx, id)
	if err != nil {
		return nil, err
	}
	return snapshot.DecodePiece(plain)
}

// level is what is held of one directory.
type level struct {
	entries map[string]*entry
	count   int
}

// entry is a name with all that it stands for.
type entry struct {
	found []*found
	keys  map[chunk.ID]int      // of found, when there are several
	dirs  map[chunk.ID]*version // distinct directories of the name
}

type found struct {
	node *snapshot.Node
	key  chunk.ID
	in   set
}

func newLevel() *level { return &level{entries: map[string]*entry{}} }

// take keeps what matters of a node.
func (s *search) take(l *level, prefix string, n *snapshot.Node, in set) {
	at := prefix + "/" + n.Name
	inside := within(at, s.o.Below)
	descend := n.Type == snapshot.Dir && len(n.Content) > 0 && (inside || within(s.o.Below, at))
	match := inside && at != s.o.Below && s.o.Match(at, n)
	if !match && !descend {
		return
	}
	e := l.entries[n.Name]
	if e == nil {
		e = &entry{}
		l.entries[strings.Clone(n.Name)] = e
	}
	if match {
		l.count += e.match(n, in)
	}
	if descend {
		if e.dirs == nil {
			e.dirs = map[chunk.ID]*version{}
		}
		before := len(e.dirs)
		add(e.dirs, dirKey(n.Root()), n.Root(), in)
		l.count += len(e.dirs) - before
	}
}

// match notes a version and says whether it is a new one.
func (e *entry) match(n *snapshot.Node, in set) int {
	key := nodeKey(n)
	if i, known := e.keys[key]; known {
		e.found[i].in = e.found[i].in.or(in)
		return 0
	}
	if e.keys == nil {
		e.keys = map[chunk.ID]int{}
	}
	e.keys[key] = len(e.found)
	kept := *n // and not the piece with it
	kept.Name = strings.Clone(n.Name)
	kept.Content, kept.Xattrs, kept.Holes = nil, nil, nil
	e.found = append(e.found, &found{&kept, key, in})
	return 1
}

// within says whether a path is a directory or below it.
func within(name, dir string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir) && name[len(dir)] == '/'
}

// tell hands on what was found in a directory, and goes down.
func (s *search) tell(ctx context.Context, l *level, prefix string, depth int) error {
	for _, name := range slices.Sorted(maps.Keys(l.entries)) {
		e := l.entries[name]
		delete(l.entries, name)
		at := prefix + "/" + name
		slices.SortFunc(e.found, func(a, b *found) int { return b.in.compare(a.in) }) // the newest first
		for _, f := range e.found {
			if err := s.o.Found(Match{at, f.node, s.snapshots(f.in)}); err != nil {
				return err
			}
		}
		if len(e.dirs) > 0 {
			if err := s.dir(ctx, at, depth+1, slices.Collect(maps.Values(e.dirs))); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *search) lost(ctx context.Context, name string, in set, err error) error {
	if name == "" {
		name = "/"
	}
	if s.o.Lost == nil || s.t.Stops(ctx, err) {
		return fmt.Errorf("directory %.1000s: %w", name, err)
	}
	s.o.Lost(name, s.snapshots(in), err)
	return nil
}

func (s *search) snapshots(in set) []*snapshot.Snapshot {
	var list []*snapshot.Snapshot
	for i := range s.list {
		if in.has(i) {
			list = append(list, s.list[i])
		}
	}
	return list
}

// set is a set of snapshots by their number. It is never changed, so that many may share one.
type set []uint64

func newSet(size, i int) set {
	in := make(set, (size+63)/64)
	in[i/64] = 1 << (i % 64)
	return in
}

func (a set) has(i int) bool { return a[i/64]&(1<<(i%64)) != 0 }

func (a set) or(b set) set {
	if &a[0] == &b[0] {
		return a
	}
	c := slices.Clone(a)
	for i := range c {
		c[i] |= b[i]
	}
	return c
}

// compare orders sets by the last snapshot that only one of them has.
func (a set) compare(b set) int {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return cmp.Compare(a[i], b[i])
		}
	}
	return 0
}

func union(versions []*version) set {
	in := versions[0].in
	for _, v := range versions[1:] {
		in = in.or(v.in)
	}
	return in
}

func dirKey(r snapshot.Root) chunk.ID {
	return chunk.Sum(appendContent([]byte{'d'}, r.Content, r.Depth))
}

func appendContent(b []byte, content []chunk.ID, depth uint8) []byte {
	b = append(b, depth)
	for _, id := range content {
		b = append(b, id[:]...)
	}
	return b
}

// nodeKey is what makes a version: all that a restore brings back of it, except what lies in a directory.
func nodeKey(n *snapshot.Node) chunk.ID {
	b := []byte{byte(n.Type)}
	for _, v := range []uint64{uint64(n.Mode), uint64(n.UID), uint64(n.GID), uint64(n.Mtime.Sec), uint64(n.Mtime.Nsec), n.Size} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	if n.Type != snapshot.Dir {
		b = appendContent(b, n.Content, n.Depth)
	}
	for _, h := range n.Holes {
		b = binary.LittleEndian.AppendUint64(b, h.Offset)
		b = binary.LittleEndian.AppendUint64(b, h.Length)
	}
	if n.Device != nil {
		b = binary.LittleEndian.AppendUint64(b, uint64(n.Device.Major))
		b = binary.LittleEndian.AppendUint64(b, uint64(n.Device.Minor))
	}
	for _, x := range n.Xattrs {
		b = fmt.Appendf(b, "%q %q ", x.Name, x.Value)
	}
	return chunk.Sum(fmt.Appendf(b, "%q %q", n.Target, n.Error))
}
