package check

import (
	"context"
	"errors"
	"fmt"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// snapshots walks the trees of all snapshots, each distinct directory once, and checks that every blob is there. Only
// when something is bad does it walk again, to name the files.
func (c *checker) snapshots(ctx context.Context) error {
	list, damaged, err := c.a.Snapshots(ctx)
	if err != nil {
		return err
	}
	if err := c.a.Refresh(ctx); err != nil { // a snapshot made meanwhile may need newer segments
		return err
	}
	for _, d := range damaged {
		if object := "snapshots/" + d.ID.String(); !c.named[object] {
			c.found(Damage{Object: object, Problem: d.Err.Error(), Lost: true})
		}
	}
	c.chains(list, damaged)
	c.report.Snapshots = len(list)
	w := &walker{c: c, seen: map[treeKey]bool{}}
	for _, s := range list {
		clean, err := w.dir(ctx, s.Content, s.Depth)
		if err != nil {
			return err
		}
		if !clean {
			if err := w.name(ctx, s, "/", s.Content, s.Depth); err != nil {
				return err
			}
		}
		c.o.Progress.Snapshots.Add(1)
	}
	c.report.Trees = len(w.seen)
	return nil
}

// chains notes snapshots whose predecessor is not there, nor one that replaced it.
func (c *checker) chains(list []*snapshot.Snapshot, damaged []*archive.SnapshotError) {
	there := map[chunk.ID]bool{}
	for _, s := range list {
		there[s.ID], there[s.Original] = true, true
	}
	for _, d := range damaged {
		there[d.ID] = true // told of as damage
	}
	told := map[chunk.ID]bool{}
	for _, s := range list {
		if p := s.Previous; !p.IsZero() && !there[p] && !told[p] {
			told[p] = true
			c.note("snapshots/"+p.String(), fmt.Sprintf("is not there: snapshot %s of %s continues it; it was forgotten, or lost", s.ID.Short(), s.Series))
		}
	}
}

// treeKey names the content of a directory: its one id, or the hash of all.
type treeKey struct {
	sum   chunk.ID
	depth uint8
}

// walker remembers which directories were found clean.
type walker struct {
	c    *checker
	seen map[treeKey]bool
}

func keyOf(content []chunk.ID, depth uint8) treeKey {
	if len(content) == 1 {
		return treeKey{content[0], depth}
	}
	all := make([]byte, 0, len(content)*32)
	for _, id := range content {
		all = append(all, id[:]...)
	}
	return treeKey{chunk.Sum(all), depth}
}

// problem says what is wrong with a file or directory.
type problem struct {
	text string
	lost bool
}

// absent is the problem of a blob that the index does not have.
func (c *checker) absent(id chunk.ID) *problem {
	if c.blind {
		return &problem{fmt.Sprintf("blob %s is in no pack that a readable index segment names%s", id.Short(), rebuildable), false}
	}
	return &problem{fmt.Sprintf("blob %s is in no pack", id.Short()), true}
}

// problemOf describes an error of loading a tree.
func (c *checker) problemOf(text string, err error) *problem {
	var m *archive.MissingError
	if errors.As(err, &m) {
		p := c.absent(m.ID)
		return &problem{text + p.text, p.lost}
	}
	return &problem{text + err.Error(), true}
}

// dir says whether a directory and everything below it can be read.
func (w *walker) dir(ctx context.Context, content []chunk.ID, depth uint8) (bool, error) {
	if len(content) == 0 {
		return true, nil
	}
	key := keyOf(content, depth)
	if clean, ok := w.seen[key]; ok {
		return clean, nil
	}
	w.c.o.Progress.Trees.Add(1)
	clean := true
	for n, err := range snapshot.Nodes(ctx, w.load, content, depth) {
		if err != nil {
			if fatal(ctx, err) {
				return false, err
			}
			clean = false
			break
		}
		ok, err := w.node(ctx, n)
		if err != nil {
			return false, err
		}
		clean = clean && ok
	}
	w.seen[key] = clean
	return clean, nil
}

// node checks one entry: a directory by walking it, a file by its blobs.
func (w *walker) node(ctx context.Context, n *snapshot.Node) (bool, error) {
	if n.Type == snapshot.Dir {
		return w.dir(ctx, n.Content, n.Depth)
	}
	p, err := w.file(ctx, n)
	return p == nil, err
}

const hasBatch = 4096

// file says what is wrong with a file's content, or nil.
func (w *walker) file(ctx context.Context, n *snapshot.Node) (*problem, error) {
	var batch [1]chunk.ID
	ids := batch[:0]
	for id, err := range snapshot.Content(ctx, w.load, n.Content, n.Depth) {
		if err != nil {
			if fatal(ctx, err) {
				return nil, err
			}
			return w.c.problemOf("its list of chunks cannot be read: ", err), nil
		}
		if ids = append(ids, id); len(ids) == hasBatch {
			if p, err := w.blobs(ctx, ids); p != nil || err != nil {
				return p, err
			}
			ids = ids[:0]
		}
	}
	return w.blobs(ctx, ids)
}

func (w *walker) blobs(ctx context.Context, ids []chunk.ID) (*problem, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	has := make([]bool, len(ids))
	if err := w.c.a.Has(ctx, chunk.Data, ids, has); err != nil {
		return nil, err
	}
	for i, ok := range has {
		if !ok {
			return w.c.absent(ids[i]), nil
		}
		if text, bad := w.c.bad[blobKey{chunk.Data, ids[i]}]; bad {
			return &problem{text, true}, nil
		}
	}
	return nil, nil
}

// load reads a tree blob, unless it is known to be bad.
func (w *walker) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	if text, bad := w.c.bad[blobKey{chunk.Tree, id}]; bad {
		return nil, errors.New(text)
	}
	return w.c.a.Load(ctx, chunk.Tree, id)
}

// name lists the files of one snapshot that are affected. Clean directories are not entered.
func (w *walker) name(ctx context.Context, s *snapshot.Snapshot, path string, content []chunk.ID, depth uint8) error {
	tell := func(path string, p *problem) {
		w.c.found(Damage{Snapshot: s.ID, Path: path, Problem: p.text, Lost: p.lost})
	}
	for n, err := range snapshot.Nodes(ctx, w.load, content, depth) {
		if err != nil {
			if fatal(ctx, err) {
				return err
			}
			tell(path, w.c.problemOf("the directory cannot be read, nor anything below it: ", err))
			return nil
		}
		below := join(path, n.Name)
		if n.Type == snapshot.Dir {
			if !w.seen[keyOf(n.Content, n.Depth)] && len(n.Content) > 0 {
				if err := w.name(ctx, s, below, n.Content, n.Depth); err != nil {
					return err
				}
			}
			continue
		}
		p, err := w.file(ctx, n)
		if err != nil {
			return err
		}
		if p != nil {
			tell(below, p)
		}
	}
	return nil
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}
