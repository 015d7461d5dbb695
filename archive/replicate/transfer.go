package replicate

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// maxBlobs are looked up and fetched at once: 64 bytes each in two lists, and 300 more of those that are missing (archive.Fetch), which
// is 12 MB in all. With chunks of 1 MiB that is a batch of 32 GiB, with small files of 10 KiB one of 320 MiB.
const maxBlobs = 1 << 15

// session is where blobs go: an *archive.Writer, or a dry run.
type session interface {
	Save(ctx context.Context, t chunk.Type, plain []byte) (archive.Saved, error)
	Known(t chunk.Type, ids []chunk.ID) (bool, error) // are all of them stored? What it says so of is relied on
}

// Progress is counted while the functions of this package run.
type Progress struct {
	Snapshots      atomic.Uint64 // done
	TotalSnapshots atomic.Uint64
	Trees          atomic.Uint64 // tree blobs that were read
	Bytes          atomic.Uint64 // of file data that was carried over, plain
	TotalBytes     atomic.Uint64 // that is expected, by what the backups added
}

// Carried counts what was missing in the target.
type Carried struct {
	Trees, Blobs uint64 // tree blobs, data blobs
	Bytes        uint64 // of the data blobs, plain
	Stored       uint64 // of both, sealed
}

func (c *Carried) add(o Carried) {
	c.Trees += o.Trees
	c.Blobs += o.Blobs
	c.Bytes += o.Bytes
	c.Stored += o.Stored
}

// transfer carries the tree of one snapshot from one archive to another.
//
//	walk ─ tree blobs ─ Save
//	  └─ ids of chunks ─ batch ─ Known? ─ no → Fetch, pack by pack ─ Save
type transfer struct {
	from, to *archive.Archive
	session  session
	dry      bool
	progress *Progress

	ids []chunk.ID // the batch

	mu      sync.Mutex // Fetch calls from several goroutines
	carried Carried
}

// targetError is what went wrong with the target, in the midst of what went wrong with the source.
type targetError struct{ error }

func (e targetError) Unwrap() error { return e.error }

// tree carries what is below root, and is not below base, which the target has.
func (t *transfer) tree(ctx context.Context, base, root snapshot.Root) error {
	var err error
	if len(base.Content) == 0 {
		err = t.walk(ctx, root)
	} else {
		err = snapshot.Diff(ctx, t.load, base, root, func(c snapshot.Change) error { return t.change(ctx, c) })
	}
	if err != nil {
		return err
	}
	return t.settle(ctx, true)
}

// walk carries everything below root.
func (t *transfer) walk(ctx context.Context, root snapshot.Root) error {
	w := t.from.Walker()
	w.Load = t.load
	return w.Walk(ctx, root.Content, root.Depth, func(_ string, n *snapshot.Node) error {
		if n.Type != snapshot.File {
			return nil
		}
		return t.file(ctx, n)
	})
}

// change carries what differs at a path. Directories that both have are gone into by Diff, which loads those pieces of them that are not equal,
// so that these are saved.
func (t *transfer) change(ctx context.Context, c snapshot.Change) error {
	switch {
	case c.B == nil:
		return snapshot.SkipDir
	case c.B.Type == snapshot.File:
		if err := t.file(ctx, c.B); err != nil {
			return err
		}
	case c.B.Type == snapshot.Dir && (c.A == nil || c.A.Type != snapshot.Dir):
		if err := t.walk(ctx, c.B.Root()); err != nil {
			return err
		}
		return snapshot.SkipDir
	}
	if c.Kind == snapshot.TypeChanged {
		return snapshot.SkipDir // what the directory held that was there is not of interest
	}
	return nil
}

// load reads a tree blob and saves it.
func (t *transfer) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	plain, err := t.from.LoadTree(ctx, id)
	if err != nil {
		return nil, err
	}
	t.progress.Trees.Add(1)
	return plain, t.save(ctx, chunk.Tree, plain)
}

func (t *transfer) save(ctx context.Context, kind chunk.Type, plain []byte) error {
	saved, err := t.session.Save(ctx, kind, plain)
	if err != nil {
		return targetError{err}
	}
	if !saved.New {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.carried.Stored += uint64(saved.Stored)
	if kind == chunk.Tree {
		t.carried.Trees++
		return nil
	}
	t.carried.Blobs++
	t.carried.Bytes += uint64(len(plain))
	return nil
}

// file puts the chunks of a file into the batch.
func (t *transfer) file(ctx context.Context, n *snapshot.Node) error {
	if n.Depth == 0 {
		t.ids = append(t.ids, n.Content...)
		return t.settleFull(ctx)
	}
	for id, err := range snapshot.Content(ctx, t.load, n.Content, n.Depth) {
		if err != nil {
			return err
		}
		t.ids = append(t.ids, id)
		if err := t.settleFull(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *transfer) settleFull(ctx context.Context) error {
	if len(t.ids) < maxBlobs {
		return nil
	}
	return t.settle(ctx, false)
}

// settle carries over what of the batch the target does not have. Unless it is the last batch, packs that hold much of what came in last
// are left for the next one, so that each is read once.
func (t *transfer) settle(ctx context.Context, last bool) error {
	green := t.green(last)
	slices.SortFunc(t.ids, compareIDs)
	missing, err := t.missing(ctx, slices.Compact(t.ids))
	if err != nil {
		return err
	}
	t.ids = t.ids[:0]
	if t.dry {
		return t.count(ctx, missing)
	}
	unripe, err := t.fetch(ctx, missing, green)
	if err == nil && len(unripe) > maxBlobs/2 {
		unripe, err = t.fetch(ctx, unripe, nil)
	}
	t.ids = append(t.ids, unripe...)
	return err
}

func compareIDs(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) }

// green tells the last quarter of the batch.
func (t *transfer) green(last bool) func(chunk.ID) bool {
	if last {
		return nil
	}
	tail := t.ids[len(t.ids)-len(t.ids)/4:]
	set := make(map[chunk.ID]struct{}, len(tail))
	for _, id := range tail {
		set[id] = struct{}{}
	}
	return func(id chunk.ID) bool {
		_, ok := set[id]
		return ok
	}
}

func (t *transfer) fetch(ctx context.Context, ids []chunk.ID, green func(chunk.ID) bool) (unripe []chunk.ID, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return t.from.FetchRipe(ctx, chunk.Data, ids, green, func(_ chunk.ID, plain []byte) error {
		t.progress.Bytes.Add(uint64(len(plain)))
		return t.save(ctx, chunk.Data, plain)
	})
}

// count is fetch in a dry run.
func (t *transfer) count(ctx context.Context, ids []chunk.ID) error {
	sizes := make([]uint32, len(ids))
	if err := t.from.Sizes(ctx, chunk.Data, ids, sizes); err != nil {
		return err
	}
	t.carried.Blobs += uint64(len(ids))
	for _, n := range sizes {
		t.carried.Bytes += uint64(n)
		t.progress.Bytes.Add(uint64(n))
	}
	return nil
}

// missing returns those of the ids that the target does not have, and declares the others to the session. It costs one lookup for each
// id when all are there, and three when none is.
func (t *transfer) missing(ctx context.Context, ids []chunk.ID) ([]chunk.ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if all, err := t.session.Known(chunk.Data, ids); err != nil || all {
		return nil, asTarget(err)
	}
	has := make([]bool, len(ids))
	if err := t.to.Has(ctx, chunk.Data, ids, has); err != nil {
		return nil, asTarget(err)
	}
	var there, missing []chunk.ID
	for i, ok := range has {
		if ok {
			there = append(there, ids[i])
		} else {
			missing = append(missing, ids[i])
		}
	}
	if len(there) > 0 {
		if all, err := t.session.Known(chunk.Data, there); err != nil {
			return nil, asTarget(err)
		} else if !all { // some are condemned
			missing = ids
		}
	}
	return t.unknown(missing)
}

// unknown asks for one id after the other: some are on their way in this session, which only the session knows.
func (t *transfer) unknown(ids []chunk.ID) ([]chunk.ID, error) {
	var missing []chunk.ID
	for i := range ids {
		known, err := t.session.Known(chunk.Data, ids[i:i+1])
		if err != nil {
			return nil, asTarget(err)
		}
		if !known {
			missing = append(missing, ids[i])
		}
	}
	return missing, nil
}

func asTarget(err error) error {
	if err == nil {
		return nil
	}
	return targetError{err}
}

// lost says whether an error means that something of a snapshot is lost in the source, while others may be whole.
func lost(ctx context.Context, from *archive.Archive, err error) bool {
	var (
		target  targetError
		fetch   *archive.FetchError
		damage  *archive.BlobDamage
		missing *archive.MissingError
		format  *snapshot.FormatError
		node    *snapshot.NodeError
	)
	if ctx.Err() != nil || errors.As(err, &target) || from.Stops(ctx, err) {
		return false
	}
	return errors.As(err, &fetch) || errors.As(err, &damage) || errors.As(err, &missing) || errors.As(err, &format) || errors.As(err, &node)
}
