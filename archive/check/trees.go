package check

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

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
		if p := s.Previous; !p.IsZero() && !there[p] && !told[p] && !c.a.Forgotten(p) {
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

// What the walker remembers of a directory: that it lacks something, that it does not, or the number of the sweep that found nothing.
const (
	unclean int32 = 0
	clean   int32 = 1
)

// walker remembers which directories were found clean.
type walker struct {
	c       *checker
	number  int32 // of the last sweep
	seen    map[treeKey]int32
	waiting map[blobKey]struct{} // blobs that only condemned packs hold, of the snapshot that is walked
	found   []Damage             // in it
}

// forgetUnclean makes the directories that were not clean be looked at again, and what lies above them.
func (w *walker) forgetUnclean() {
	maps.DeleteFunc(w.seen, func(_ treeKey, how int32) bool { return how == unclean })
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
	away bool
}

// absent is the problem of a blob that the index does not have.
func (c *checker) absent(id chunk.ID) *problem {
	if c.blind {
		return &problem{text: fmt.Sprintf("blob %s is in no pack that a readable index segment names%s", id.Short(), rebuildable)}
	}
	return &problem{text: fmt.Sprintf("blob %s is in no pack", id.Short()), lost: true}
}

// problemOf describes an error of loading a blob.
func (c *checker) problemOf(text string, err error) *problem {
	var m *archive.MissingError
	switch {
	case errors.As(err, &m) && m.Away == nil:
		p := c.absent(m.ID)
		p.text = text + p.text
		return p
	case c.away(err):
		return &problem{text: text + err.Error(), away: true}
	}
	return &problem{text: text + err.Error(), lost: true}
}

// away says whether an error may be gone when members are back that are away.
func (c *checker) away(err error) bool { return errors.Is(err, stripe.ErrTooFew) }

// dir says whether a directory and everything below it can be read.
func (w *walker) dir(ctx context.Context, content []chunk.ID, depth uint8) (bool, error) {
	if len(content) == 0 {
		return true, nil
	}
	key := keyOf(content, depth)
	if how, ok := w.seen[key]; ok {
		return how != unclean, nil
	}
	w.c.o.Progress.Trees.Add(1)
	waiting := len(w.waiting)
	whole := true
	for n, err := range snapshot.Nodes(ctx, w.load, content, depth) {
		if err != nil {
			if w.c.a.Stops(ctx, err) {
				return false, err
			}
			whole = false
			break
		}
		ok, err := w.node(ctx, n)
		if err != nil {
			return false, err
		}
		whole = whole && ok
	}
	whole = whole && len(w.waiting) == waiting // to be looked at again when the index was
	if w.seen[key] = unclean; whole {
		w.seen[key] = clean
	}
	return whole, nil
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
			if w.c.a.Stops(ctx, err) {
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
	live := make([]pack.ID, len(ids))
	if err := w.c.a.Live(ctx, chunk.Data, ids, live); err != nil {
		return nil, err
	}
	for i, id := range ids {
		if live[i] == (pack.ID{}) {
			if p, err := w.condemned(ctx, chunk.Data, id); p != nil || err != nil {
				return p, err
			}
		}
		if b, bad := w.c.bad[blobKey{chunk.Data, id}]; bad {
			return &problem{text: b.text, lost: true}, nil
		}
	}
	return nil, nil
}

// condemned looks for a blob that no pack holds which is wanted. It may be read from one that is condemned: that was to be
// copied out, and can be.
func (w *walker) condemned(ctx context.Context, t chunk.Type, id chunk.ID) (*problem, error) {
	var at [1]pack.Location
	if err := w.c.a.Locate(ctx, t, []chunk.ID{id}, at[:]); err != nil {
		return nil, err
	}
	if !at[0].Found() {
		return w.c.absent(id), nil
	}
	if _, ok := w.waiting[blobKey{t, id}]; ok {
		return nil, nil
	}
	err := w.c.a.Fetch(ctx, t, []chunk.ID{id}, func(chunk.ID, []byte) error { return nil })
	if w.c.a.Stops(ctx, err) {
		return nil, err
	}
	if err != nil {
		return w.c.problemOf("it lies in a condemned pack: ", err), nil
	}
	if w.waiting == nil {
		w.waiting = map[blobKey]struct{}{}
	}
	w.waiting[blobKey{t, id}] = struct{}{}
	return nil, nil
}

// load reads a tree blob, unless it is known to be bad.
func (w *walker) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	if b, bad := w.c.bad[blobKey{chunk.Tree, id}]; bad {
		return nil, errors.New(b.text)
	}
	plain, err := w.c.a.Load(ctx, chunk.Tree, id)
	if err != nil {
		return nil, err
	}
	var live [1]pack.ID
	if err := w.c.a.Live(ctx, chunk.Tree, []chunk.ID{id}, live[:]); err != nil {
		return nil, err
	}
	if live[0] == (pack.ID{}) { // it was read from a condemned pack
		if w.waiting == nil {
			w.waiting = map[blobKey]struct{}{}
		}
		w.waiting[blobKey{chunk.Tree, id}] = struct{}{}
	}
	return plain, nil
}

// name lists the files of one snapshot that are affected. Clean directories are not entered.
func (w *walker) name(ctx context.Context, s *snapshot.Snapshot, path string, content []chunk.ID, depth uint8, found func(Damage) error) error {
	tell := func(path string, p *problem) error {
		return found(Damage{Snapshot: s.ID, Path: path, Problem: p.text, Lost: p.lost, Away: p.away})
	}
	for n, err := range snapshot.Nodes(ctx, w.load, content, depth) {
		if err != nil {
			if w.c.a.Stops(ctx, err) {
				return err
			}
			return tell(path, w.c.problemOf("the directory cannot be read, nor anything below it: ", err))
		}
		below := join(path, n.Name)
		if n.Type == snapshot.Dir {
			if w.seen[keyOf(n.Content, n.Depth)] == unclean && len(n.Content) > 0 {
				if err := w.name(ctx, s, below, n.Content, n.Depth, found); err != nil {
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
			if err := tell(below, p); err != nil {
				return err
			}
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
