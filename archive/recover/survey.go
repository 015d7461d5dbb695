package recover

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/snapshot"
)

// dir sums up a directory: its pieces and all that they lead to, each distinct piece once.
func (f *finder) dir(ctx context.Context, r snapshot.Root, level int) (sum summary, err error) {
	if level > snapshot.MaxPathDepth {
		return summary{wrong: 1}, nil
	}
	bad := false
	for id, err := range snapshot.Content(ctx, f.a.LoadTree, r.Content, r.Depth) {
		if err != nil {
			if f.fatal(ctx, err) {
				return sum, err
			}
			bad = true
			break
		}
		piece, err := f.piece(ctx, id, level)
		switch {
		case f.fatal(ctx, err):
			return sum, err
		case err != nil:
			bad = true
		default:
			sum.add(piece)
		}
	}
	if bad {
		sum.add(summary{wrong: 1})
	}
	return sum, nil
}

// piece sums up one piece. The error is about the piece itself.
func (f *finder) piece(ctx context.Context, id chunk.ID, level int) (summary, error) {
	i, ok := f.table.find(id)
	if !ok {
		return summary{}, &archive.MissingError{Type: chunk.Tree, ID: id}
	}
	if f.table.trees[i].flags&unreadable != 0 {
		return summary{}, errUnreadable
	}
	if f.table.trees[i].flags&summed != 0 {
		return f.table.sums[i], nil
	}
	nodes, err := f.nodes(ctx, id)
	if err != nil {
		if !f.fatal(ctx, err) {
			f.table.trees[i].flags |= unreadable
		}
		return summary{}, err
	}
	var sum summary
	for j := range nodes {
		s, err := f.node(ctx, &nodes[j], level)
		if err != nil {
			return summary{}, err
		}
		sum.add(s)
	}
	f.table.trees[i].flags |= summed
	f.table.sums[i] = sum
	f.o.Progress.Walked.Add(1)
	return sum, nil
}

var errUnreadable = errors.New("this part of the directory is lost")

func (f *finder) nodes(ctx context.Context, id chunk.ID) ([]snapshot.Node, error) {
	plain, err := f.a.LoadTree(ctx, id)
	if err != nil {
		return nil, err
	}
	nodes, err := snapshot.DecodePiece(plain)
	if err != nil {
		return nil, fmt.Errorf("tree piece %s: %w", id, err)
	}
	return nodes, nil
}

// node sums up one entry of a directory.
func (f *finder) node(ctx context.Context, n *snapshot.Node, level int) (summary, error) {
	sum := summary{newest: nanoseconds(n.Ctime)}
	if n.Ctime.IsZero() {
		sum.newest = nanoseconds(n.Mtime)
	}
	switch n.Type {
	case snapshot.Dir:
		below, err := f.dir(ctx, n.Root(), level+1)
		sum.dirs++
		sum.add(below)
		return sum, err
	case snapshot.File:
		m, err := f.file(ctx, n)
		if err != nil {
			return sum, err
		}
		sum.files, sum.bytes, sum.missing = 1, n.Size, m.missing
		if m.wrong {
			sum.wrong = 1
		}
	}
	return sum, nil
}

// nanoseconds since 1970; times before are 1970, those after 2262 are 2262.
func nanoseconds(t snapshot.Time) int64 {
	const last = math.MaxInt64 / int64(time.Second)
	switch {
	case t.Sec < 0:
		return 0
	case t.Sec >= last:
		return math.MaxInt64
	}
	return t.Sec*int64(time.Second) + int64(t.Nsec)
}

// file finds out what of a file is lost.
func (f *finder) file(ctx context.Context, n *snapshot.Node) (*measure, error) {
	m := newMeasure(n)
	if len(n.Content) == 0 || n.Error != "" { // what could not be read when it was backed up is not lost now
		return m, nil
	}
	ids := f.ids[:0]
	for id, err := range snapshot.Content(ctx, f.a.LoadTree, n.Content, n.Depth) {
		if err != nil {
			if f.fatal(ctx, err) {
				return nil, err
			}
			if err := f.blobs(ctx, m, ids); err != nil {
				return nil, err
			}
			m.unknown() // all that follows
			ids = nil
			break
		}
		if ids = append(ids, id); len(ids) == blobBatch {
			if err := f.blobs(ctx, m, ids); err != nil {
				return nil, err
			}
			ids = ids[:0]
		}
	}
	err := f.blobs(ctx, m, ids)
	m.end()
	return m, err
}

// blobBatch chunks of a file are looked up at once.
const blobBatch = 4096

// blobs measures the next blobs of a file.
func (f *finder) blobs(ctx context.Context, m *measure, ids []chunk.ID) error {
	if len(ids) == 0 {
		return nil
	}
	at, ok := f.at[:len(ids)], f.ok[:len(ids)]
	if err := f.shards.readable(ctx, chunk.Data, ids, at, ok); err != nil {
		return err
	}
	for i := range ids {
		switch {
		case ok[i]:
			m.have(uint64(at[i].Plain))
		case at[i].Found():
			m.lost(uint64(at[i].Plain))
		default:
			m.unknown()
		}
	}
	return nil
}

// scratch is what file needs for each batch, once.
type scratch struct {
	ids []chunk.ID
	at  []pack.Location
	ok  []bool
}

func newScratch() scratch {
	return scratch{make([]chunk.ID, 0, blobBatch), make([]pack.Location, blobBatch), make([]bool, blobBatch)}
}

// fatal tells errors that concern more than one object.
func (f *finder) fatal(ctx context.Context, err error) bool {
	return f.a.Stops(ctx, err) || errors.Is(err, archive.ErrNoKey)
}
