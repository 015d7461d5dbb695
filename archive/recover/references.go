package recover

import (
	"context"
	"errors"
	"sync"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// readBatch trees are asked for at once: neighbours in their packs, so they come in few reads.
const readBatch = 1 << 14

// references reads all trees once and marks those that another leads to.
func (f *finder) references(ctx context.Context) error {
	order := f.table.byPlace()
	ids := make([]chunk.ID, 0, readBatch)
	for from := 0; from < len(order); from += readBatch {
		ids = ids[:0]
		for _, i := range order[from:min(from+readBatch, len(order))] {
			ids = append(ids, f.table.trees[i].id)
		}
		err := f.a.Fetch(ctx, chunk.Tree, ids, f.refer)
		var lost *archive.FetchError
		if err != nil && !errors.As(err, &lost) {
			return err
		}
		if lost != nil {
			for _, d := range lost.Damaged {
				f.lost(d.ID)
			}
			for _, m := range lost.Missing { // they were in the index, and are not any more: they were pruned
				f.table.mark(m.ID, unreadable)
			}
		}
		f.o.Progress.Trees.Add(uint64(len(ids)))
	}
	return nil
}

// lost notes a tree that is in the index and cannot be read.
func (f *finder) lost(id chunk.ID) {
	f.report.TreesLost++
	f.table.mark(id, unreadable)
}

// refer marks what one tree leads to. It is called by several goroutines.
func (f *finder) refer(id chunk.ID, plain []byte) error {
	nodes, err := snapshot.DecodePiece(plain)
	if err != nil {
		ids, listErr := snapshot.DecodeList(plain)
		f.mu.Lock()
		defer f.mu.Unlock()
		if listErr != nil { // sealed by somebody with a key, and neither: nothing can be done with it
			f.lost(id)
			return nil
		}
		f.table.mark(id, list_)
		f.markAll(ids) // of chunks or of trees: only trees are in the table
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range nodes {
		if n := &nodes[i]; n.Type == snapshot.Dir || n.Depth > 0 {
			f.dangling = !f.markAll(n.Content) || f.dangling
		}
	}
	return nil
}

// markAll notes that something leads to these trees, and says whether the index knows all of them.
func (f *finder) markAll(ids []chunk.ID) bool {
	all := true
	for _, id := range ids {
		all = f.table.mark(id, referenced) && all
	}
	return all
}

// finder is one call of Snapshots.
type finder struct {
	a      *archive.Archive
	o      Options
	table  *table
	shards *listing
	report *Report
	scratch

	withhold bool                // roots may be those of forgotten snapshots
	mu       sync.Mutex          // of table, report and dangling while trees are read
	dangling bool                // something leads to a tree that the index does not know
	tops     map[string]struct{} // names that are known to stand in "/"
}
