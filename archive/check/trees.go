package check

import (
	"context"
	"errors"
	"fmt"

	"cairn/chunk"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

// snapshots walks the trees of all snapshots, each distinct directory once, and checks that every blob is there. Only
// when something is bad does it walk again, to name the files.
func (c *checker) snapshots(ctx context.Context) error {
	list, damaged, err := c.a.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, d := range damaged {
		c.found(Damage{Object: "snapshots/" + d.ID.String(), Problem: d.Err.Error(), Lost: true})
	}
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

// treeKey names a directory's content by its first and last id and their number: equal lists have equal keys, and
// the walk looks at each id of a new list anyway.
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
			if ctx.Err() != nil || fatal(err) {
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
	problem, err := w.file(ctx, n)
	return problem == "", err
}

const hasBatch = 4096

// file says what is wrong with a file's content, or "".
func (w *walker) file(ctx context.Context, n *snapshot.Node) (string, error) {
	var batch [1]chunk.ID
	ids := batch[:0]
	for id, err := range snapshot.Content(ctx, w.load, n.Content, n.Depth) {
		if err != nil {
			if ctx.Err() != nil || fatal(err) {
				return "", err
			}
			return fmt.Sprintf("its list of chunks cannot be read: %v", err), nil
		}
		if ids = append(ids, id); len(ids) == hasBatch {
			if problem, err := w.blobs(ids); problem != "" || err != nil {
				return problem, err
			}
			ids = ids[:0]
		}
	}
	return w.blobs(ids)
}

func (w *walker) blobs(ids []chunk.ID) (string, error) {
	if len(ids) == 0 {
		return "", nil
	}
	has := make([]bool, len(ids))
	if err := w.c.index.Has(chunk.Data, ids, has); err != nil {
		return "", err
	}
	for i, ok := range has {
		if !ok {
			return fmt.Sprintf("blob %s is in no pack", ids[i].Short()), nil
		}
		if problem, bad := w.c.bad[blobKey{chunk.Data, ids[i]}]; bad {
			return problem, nil
		}
	}
	return "", nil
}

// load reads a tree blob, unless it is known to be bad.
func (w *walker) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	if problem, bad := w.c.bad[blobKey{chunk.Tree, id}]; bad {
		return nil, errors.New(problem)
	}
	return w.c.a.Load(ctx, chunk.Tree, id)
}

// name lists the files of one snapshot that are affected. Clean directories are not entered.
func (w *walker) name(ctx context.Context, s *snapshot.Snapshot, path string, content []chunk.ID, depth uint8) error {
	for n, err := range snapshot.Nodes(ctx, w.load, content, depth) {
		if err != nil {
			if ctx.Err() != nil || fatal(err) {
				return err
			}
			w.c.found(Damage{Snapshot: s.ID, Path: path, Problem: fmt.Sprintf("the directory cannot be read, nor anything below it: %v", err), Lost: true})
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
		problem, err := w.file(ctx, n)
		if err != nil {
			return err
		}
		if problem != "" {
			w.c.found(Damage{Snapshot: s.ID, Path: below, Problem: problem, Lost: true})
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

// fatal tells errors that concern more than one blob.
func fatal(err error) bool {
	return errors.Is(err, stripe.ErrTooFew)
}
