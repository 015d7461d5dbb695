package recover

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// candidate is a piece that nothing leads to.
type candidate struct {
	id          chunk.ID
	session     uint32
	first, last string   // its first and last name
	names       []string // a few
	entries     int
	plain       bool // all entries are directories, symlinks, or familiar in "/"
	follows     bool // a large directory would be cut before its first name
}

// fewNames of a directory are kept for people to recognise it by.
const fewNames = 8

// standardTops are the usual entries of "/" on Linux, BSD and macOS. They only decide when a session left several trees, one of
// which may be the root.
var standardTops = []string{"Applications", "Library", "System", "Users", "Volumes", "backup", "bin", "boot", "data", "dev", "etc", "export",
	"home", "lib", "lib64", "media", "mnt", "net", "opt", "private", "proc", "root", "run", "sbin", "snap", "srv", "sys", "tmp", "usr", "var"}

// candidates reads the pieces that nothing leads to.
func (f *finder) candidates(ctx context.Context) ([]candidate, error) {
	var list []candidate
	for i := range f.table.trees {
		t := &f.table.trees[i]
		if t.flags&(referenced|unreadable) != 0 || t.flags&garbage != 0 && !f.o.Forgotten {
			continue
		}
		if t.flags&list_ != 0 {
			f.report.ListsAlone++
			continue
		}
		nodes, err := f.nodes(ctx, t.id)
		if err != nil {
			if f.fatal(ctx, err) {
				return nil, err
			}
			f.lost(t.id)
			continue
		}
		list = append(list, newCandidate(t, nodes))
	}
	return list, nil
}

func newCandidate(t *tree, nodes []snapshot.Node) candidate {
	c := candidate{id: t.id, session: t.session, entries: len(nodes), plain: true,
		first: strings.Clone(nodes[0].Name), last: strings.Clone(nodes[len(nodes)-1].Name), follows: snapshot.BeginsPiece(nodes[0].Name)}
	for i := range nodes {
		n := &nodes[i]
		c.plain = c.plain && (n.Type == snapshot.Dir || n.Type == snapshot.Symlink)
		if i < fewNames {
			c.names = append(c.names, strings.Clone(n.Name))
		}
	}
	return c
}

// root is what is taken for the "/" of a backup.
type root struct {
	content []chunk.ID
	names   []string
}

// choose tells roots from parts, session by session: a backup that was finished leaves one directory that nothing leads to, its root,
// because all others are below it. A session that left several was interrupted, or what joined them is lost: then
// only what looks like the top of a file system is taken for a root. So does a session whose only tree it is, as long as trees are lost.
func (f *finder) choose(list []candidate) (roots []root, parts []candidate) {
	bySession := map[uint32][]candidate{}
	for _, c := range list {
		bySession[c.session] = append(bySession[c.session], c)
	}
	sessions := slices.Sorted(maps.Keys(bySession))
	lost := f.report.TreesLost > 0 || f.dangling || there(f.a) < f.a.Geometry().K
	var doubtful []candidate
	for _, s := range sessions {
		left := bySession[s]
		slices.SortFunc(left, func(a, b candidate) int {
			return cmp.Or(strings.Compare(a.first, b.first), strings.Compare(a.last, b.last))
		})
		if lost || !oneDirectory(left) {
			doubtful = append(doubtful, left...)
			continue
		}
		r := root{names: left[0].names}
		for _, c := range left {
			r.content = append(r.content, c.id)
		}
		f.learn(left)
		roots = append(roots, r)
	}
	for _, c := range doubtful {
		if c.plain && !c.follows && f.familiar(c.names) {
			roots = append(roots, root{[]chunk.ID{c.id}, c.names})
		} else {
			parts = append(parts, c)
		}
	}
	return roots, parts
}

// oneDirectory says whether pieces, in the order of their first names, can be those of one directory: they do not overlap, and
// all but the first begin where a large directory is cut. Forced cuts (snapshot.SaveTree) are not recognised, nor is a
// root that shares pieces with that of an earlier session: such pieces are parts.
func oneDirectory(list []candidate) bool {
	for i, c := range list {
		if c.follows != (i > 0) || i > 0 && list[i-1].last >= c.first {
			return false
		}
	}
	return true
}

// learn notes the names in a root for those that are in doubt.
func (f *finder) learn(list []candidate) {
	for _, c := range list {
		for _, n := range c.names {
			f.tops[n] = struct{}{}
		}
	}
}

func (f *finder) familiar(names []string) bool {
	for _, n := range names {
		if _, ok := f.tops[n]; !ok {
			return false
		}
	}
	return true
}

// knowTops notes what is known of the tops of file systems: the usual names, and the paths of snapshots that are there.
func (f *finder) knowTops(list []*snapshot.Snapshot) {
	f.tops = map[string]struct{}{}
	for _, n := range standardTops {
		f.tops[n] = struct{}{}
	}
	for _, s := range list {
		for _, p := range s.Paths {
			top, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
			f.tops[top] = struct{}{}
		}
	}
}

// way describes where a root leads: the path down to the first directory that has not just one entry.
func (f *finder) way(ctx context.Context, r root) (string, error) {
	path, names, content, depth := "", r.names, r.content, uint8(0)
	for len(names) == 1 && len(content) == 1 && depth == 0 && len(path) < maxWay {
		path += "/" + names[0]
		nodes, err := f.nodes(ctx, content[0])
		if err != nil {
			if f.fatal(ctx, err) {
				return "", err
			}
			break
		}
		n := &nodes[0]
		if len(nodes) != 1 || n.Type != snapshot.Dir || len(n.Content) == 0 {
			break
		}
		content, depth = n.Content, n.Depth
		if names, err = f.names(ctx, content[0]); err != nil {
			return "", err
		}
	}
	if path != "" {
		return path, nil
	}
	return "/" + strings.Join(names, ", /"), nil
}

// maxWay bounds what is told of a path.
const maxWay = 200

// names returns a few names of a directory's piece, none if it is lost.
func (f *finder) names(ctx context.Context, piece chunk.ID) ([]string, error) {
	nodes, err := f.nodes(ctx, piece)
	if err != nil {
		if f.fatal(ctx, err) {
			return nil, err
		}
		return nil, nil
	}
	var names []string
	for i := range nodes[:min(fewNames, len(nodes))] {
		names = append(names, nodes[i].Name)
	}
	return names, nil
}

// newSnapshot describes a root as a snapshot. Whose it was is not known. Its time is that of the last change in the tree: the kernel
// sets ctimes and nobody dates them forward, as happens with mtimes. Paths stay empty: what had been named cannot be told from what only
// led there, and restore --delete must not guess.
func (f *finder) newSnapshot(ctx context.Context, r root, sum summary) (*snapshot.Snapshot, error) {
	way, err := f.way(ctx, r)
	if err != nil {
		return nil, err
	}
	at := snapshot.TimeOf(time.Unix(0, min(sum.newest, f.o.Now().UnixNano())))
	return &snapshot.Snapshot{
		Content: r.content, Start: at, End: at, Series: Series, Tags: []string{Series}, Pinned: true, Program: f.o.Program,
		Description: fmt.Sprintf("recovered without its snapshot object; it leads to %s", way),
		Partial:     sum.wrong > 0,
		Stats: map[string]uint64{snapshot.StatFilesTotal: uint64(sum.files), snapshot.StatDirsTotal: uint64(sum.dirs),
			snapshot.StatBytesTotal: sum.bytes},
	}, nil
}

// Series is the series of snapshots that were recovered, and their tag.
const Series = "recovered"
