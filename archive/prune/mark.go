package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// refsRole is the role under which references are noted in the tree cache. Another meaning of what is noted needs another role.
const refsRole = 1

// maxLost bounds the losses that are remembered by id; all are counted.
const maxLost = 1000

// marker finds what snapshots need: it walks their trees, each distinct one once, into a bitmap over the index's numbers. What a tree
// refers to is kept in the index as numbers, so that only trees that are new since the last time are read from the archive.
//
// What incomplete snapshots need may be missing, and come later: their clients are at work. So trees that are torn are walked again by each call
// of mark, and complete snapshots do not rely on what was walked for incomplete ones.
//
// Memory: the bitmaps (12.5 MB for 10^8 blobs), a batch of references (22 MB), 40 bytes for each tree that is to be walked, and 50 for each torn
// one.
type marker struct {
	a     *archive.Archive
	idx   Catalog
	p     *Progress
	fresh func(context.Context) error // reads the index again

	needed  bitmap // by all snapshots
	partial bitmap // of those: by incomplete snapshots only
	sound   bitmap // trees that were walked for complete snapshots
	whole   bool   // the snapshots that are walked are complete

	torn  map[uint32]chunk.ID // trees that could not be read, or refer to what the index does not know
	roots []chunk.ID          // of snapshots, that it does not know

	stack    []tree   // to be walked
	load     []tree   // of those: not in the cache, the next one last
	told     int      // of those: how many the archive was told of
	nameless []uint32 // of those: not in the cache, and known by number only
	waiting  []referral
	batch    int // blobs that these refer to
	again    int // how often the index was read again for blobs that it did not know

	trees, read int
	lost        []loss
	losses      int
}

// tree is a tree blob to be walked. Its id is zero when only its number is known.
type tree struct {
	number uint32
	id     chunk.ID
}

// loss is a blob that a complete snapshot needs and that is not there.
type loss struct {
	kind chunk.Type
	id   chunk.ID
	err  error
}

// mark walks the trees of snapshots, the complete ones first: what only incomplete ones need may be missing.
func (m *marker) mark(ctx context.Context, list []*snapshot.Snapshot) error {
	torn, unknown := m.torn, m.roots
	m.torn, m.roots = map[uint32]chunk.ID{}, nil
	for _, whole := range []bool{true, false} {
		m.whole = whole
		var roots []chunk.ID
		if !whole {
			roots = unknown
			for number, id := range torn {
				m.load = append(m.load, tree{number, id})
			}
		}
		n := uint64(0)
		for _, s := range list {
			if s.Incomplete == whole {
				continue
			}
			n++
			if s.Depth > snapshot.MaxDepth {
				return fmt.Errorf("snapshot %s: content list of depth %d", s.ID.Short(), s.Depth)
			}
			roots = append(roots, s.Content...)
		}
		if err := m.walk(ctx, roots); err != nil {
			return err
		}
		m.p.Snapshots.Add(n)
	}
	return nil
}

// waits says whether something that was missing may have come, so that mark is to be called again.
func (m *marker) waits() bool { return len(m.torn)+len(m.roots) > 0 }

// walk marks trees and everything below them.
func (m *marker) walk(ctx context.Context, roots []chunk.ID) error {
	if err := m.refer(ctx, tree{}, references{trees: roots}); err != nil {
		return err
	}
	for {
		if err := m.expand(ctx); err != nil {
			return err
		}
		switch {
		case len(m.load) > 0:
			m.tell(ctx)
			last := len(m.load) - 1
			t := m.load[last]
			m.load, m.told = m.load[:last], m.told-1
			if err := m.readTree(ctx, t); err != nil {
				return err
			}
		case len(m.waiting) > 0:
			if err := m.settle(ctx); err != nil {
				return err
			}
		case len(m.nameless) > 0:
			if err := m.resolve(ctx); err != nil {
				return err
			}
		default:
			return m.idx.Flush()
		}
	}
}

// expand follows the trees that are in the cache, and puts those that are not on the list of what is to be read.
func (m *marker) expand(ctx context.Context) error {
	from := len(m.load)
	for len(m.stack) > 0 {
		last := len(m.stack) - 1
		t := m.stack[last]
		m.stack = m.stack[:last]
		trees, data, ok, err := m.idx.TreeRefs(t.number, refsRole)
		switch {
		case err != nil:
			return err
		case ok:
			m.counted()
			m.take(trees, nil, data)
		case t.id.IsZero():
			m.nameless = append(m.nameless, t.number)
		default:
			m.load = append(m.load, t)
		}
	}
	if added := m.load[from:]; len(added) > 0 {
		slices.Reverse(added) // the first one is walked first, and they are taken from the end
		m.told = 0
	}
	return ctx.Err()
}

// tellAhead is how many trees the archive is told of at once. It remembers 4096.
const tellAhead = 1024

// tell tells the archive which trees are read next: it reads several packs at once.
func (m *marker) tell(ctx context.Context) {
	if m.told > 0 {
		return
	}
	m.told = min(len(m.load), tellAhead)
	ids := make([]chunk.ID, m.told)
	for i := range ids {
		ids[i] = m.load[len(m.load)-1-i].id
	}
	m.a.Ahead(ctx, ids)
}

func (m *marker) counted() {
	m.trees++
	m.p.Trees.Add(1)
}

// readTree reads one tree from the archive and follows what it refers to.
func (m *marker) readTree(ctx context.Context, t tree) error {
	m.counted()
	m.read++
	refs, err := m.loadTree(ctx, t.id)
	if m.a.Stops(ctx, err) {
		return err
	}
	if err != nil && m.again < maxAgain {
		// Another collector may have copied it elsewhere meanwhile, and deleted the pack where the index says it is.
		m.again++
		if err := m.fresh(ctx); err != nil {
			return err
		}
		if refs, err = m.loadTree(ctx, t.id); m.a.Stops(ctx, err) {
			return err
		}
	}
	if err != nil {
		m.torn[t.number] = t.id
		m.lose(loss{chunk.Tree, t.id, err})
		return nil
	}
	return m.refer(ctx, t, refs)
}

func (m *marker) loadTree(ctx context.Context, id chunk.ID) (references, error) {
	plain, err := m.a.LoadTree(ctx, id)
	if err != nil {
		return references{}, err
	}
	return referencesOf(plain)
}

// referAlone marks what a tree refers to, and notes that in the cache if all of it is known. A tree without a number stands for the roots of
// snapshots.
func (m *marker) referAlone(ctx context.Context, t tree, refs references) error {
	treeIDs := append(slices.Clip(refs.trees), refs.either...)
	dataIDs := append(slices.Clip(refs.data), refs.either...)
	var trees, data []uint32
	for {
		var err error
		if trees, err = m.numbers(chunk.Tree, treeIDs); err != nil {
			return err
		}
		if data, err = m.numbers(chunk.Data, dataIDs); err != nil {
			return err
		}
		if m.complete(refs, trees, data) {
			break
		}
		if m.again >= maxAgain {
			m.incomplete(t, refs, trees, treeIDs, data)
			return nil
		}
		// A segment that is replaced while the index is listed may be missed, and the one in its place as well.
		m.again++
		if err := m.fresh(ctx); err != nil {
			return err
		}
	}
	return m.follow(t, trees, treeIDs, data)
}

// follow notes in the cache what a tree refers to, and marks it.
func (m *marker) follow(t tree, trees []uint32, treeIDs []chunk.ID, data []uint32) error {
	if t.number != 0 {
		if err := m.idx.PutTreeRefs(t.number, refsRole, known(trees), known(data)); err != nil {
			return err
		}
	}
	m.take(trees, treeIDs, data)
	return nil
}

// maxAgain bounds how often the index is read again because it does not know a blob, or not where it is.
const maxAgain = 8

func (m *marker) numbers(t chunk.Type, ids []chunk.ID) ([]uint32, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out := make([]uint32, len(ids))
	return out, m.idx.Number(t, ids, out)
}

// complete says whether everything that is referred to has a number. trees and data begin with those of refs.trees and refs.data, and
// end with those of refs.either.
func (m *marker) complete(refs references, trees, data []uint32) bool {
	t, d := len(refs.trees), len(refs.data)
	if slices.Contains(trees[:t], 0) || slices.Contains(data[:d], 0) {
		return false
	}
	for i := range refs.either {
		if trees[t+i] == 0 && data[d+i] == 0 {
			return false
		}
	}
	return true
}

// incomplete marks what is there of something of which a part is not.
func (m *marker) incomplete(t tree, refs references, trees []uint32, treeIDs []chunk.ID, data []uint32) {
	if t.number != 0 {
		m.torn[t.number] = t.id
	}
	for i, id := range refs.trees {
		if trees[i] == 0 {
			if t.number == 0 {
				m.roots = append(m.roots, id)
			}
			m.lose(loss{chunk.Tree, id, errUnknown})
		}
	}
	for i, id := range refs.data {
		if data[i] == 0 {
			m.lose(loss{chunk.Data, id, errUnknown})
		}
	}
	for i, id := range refs.either {
		if trees[len(refs.trees)+i] == 0 && data[len(refs.data)+i] == 0 {
			m.lose(loss{chunk.Data, id, errUnknown})
		}
	}
	m.take(trees, treeIDs, data)
}

var errUnknown = errors.New("no index segment names it")

func known(numbers []uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(numbers), func(n uint32) bool { return n == 0 })
}

// take marks numbers, and puts trees that were not marked on the stack, the first one on top. ids are those of the trees, if they are
// known.
func (m *marker) take(trees []uint32, ids []chunk.ID, data []uint32) {
	for _, n := range data {
		if n != 0 {
			m.add(n)
		}
	}
	for i := len(trees) - 1; i >= 0; i-- {
		if n := trees[i]; n != 0 && m.addTree(n) {
			t := tree{number: n}
			if ids != nil {
				t.id = ids[i]
			}
			m.stack = append(m.stack, t)
		}
	}
}

// add marks a blob and says whether it is new.
func (m *marker) add(n uint32) bool {
	fresh := m.needed.add(n)
	switch {
	case m.whole:
		m.partial.remove(n)
	case fresh:
		m.partial.add(n)
	}
	return fresh
}

// addTree marks a tree and says whether it is to be walked.
func (m *marker) addTree(n uint32) bool {
	fresh := m.add(n)
	if m.whole {
		return m.sound.add(n)
	}
	return fresh
}

// resolve finds the ids of trees that are known by number only: an earlier collection noted who refers to them, and did not come to read them.
// They are few, and trees are few among blobs, so all are looked through.
func (m *marker) resolve(ctx context.Context) error {
	var wanted bitmap
	for _, n := range m.nameless {
		wanted.add(n)
	}
	m.nameless = nil
	for c, err := range m.idx.Copies(chunk.Tree) {
		if err != nil {
			return err
		}
		if wanted.remove(c.Number) {
			m.load = append(m.load, tree{c.Number, c.ID})
		}
		if wanted.len() == 0 {
			break
		}
	}
	if wanted.len() > 0 {
		return fmt.Errorf("the local index lacks %d trees that it has numbers of: %w", wanted.len(), errIndex)
	}
	return ctx.Err()
}

func (m *marker) lose(l loss) {
	if !m.whole {
		return
	}
	if m.losses++; len(m.lost) < maxLost {
		m.lost = append(m.lost, l)
	}
}
