package recover

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
)

// tree is what is kept of one tree blob: 48 bytes.
type tree struct {
	id      chunk.ID
	session uint32 // number of the session that sealed it
	pack    uint32 // number of its pack
	at      uint32 // column << 25 | offset: columns have at most 2^25 bytes, and there are at most 2^5
	flags   uint8
}

const (
	referenced uint8 = 1 << iota // another tree or a snapshot leads to it
	list_                        // it is a list of pieces or chunks, not a piece
	unreadable
	summed  // its summary is known
	garbage // only condemned packs hold it
)

// summary is what is known of everything that a piece leads to: 40 bytes.
type summary struct {
	newest             int64  // latest ctime in Unix nanoseconds, or mtime where no ctime was recorded
	bytes, missing     uint64 // of files: sizes, and what is lost of those
	files, dirs, wrong uint32 // wrong: files and directories that are incomplete
}

// add sums up; counts stop at their limits instead of beginning again (a hostile tree may name a directory many times over).
func (s *summary) add(o summary) {
	s.newest = max(s.newest, o.newest)
	for _, p := range [][2]*uint64{{&s.bytes, &o.bytes}, {&s.missing, &o.missing}} {
		if *p[0] += *p[1]; *p[0] < *p[1] {
			*p[0] = ^uint64(0)
		}
	}
	for _, p := range [][2]*uint32{{&s.files, &o.files}, {&s.dirs, &o.dirs}, {&s.wrong, &o.wrong}} {
		if *p[0] += *p[1]; *p[0] < *p[1] {
			*p[0] = ^uint32(0)
		}
	}
}

// table is all tree blobs that the index knows, in the order of their ids.
type table struct {
	trees []tree
	sums  []summary // beside trees, once they are walked
}

// lister is an index that can tell what is in it.
type lister interface {
	Blobs(chunk.Type) iter.Seq2[index.Blob, error]
}

var errNoList = errors.New("this local index cannot tell what is in it")

// newTable reads the names and places of all trees from the local index.
func newTable(ctx context.Context, a *archive.Archive) (*table, error) {
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	if u, ok := idx.(interface{ Unwrap() archive.Index }); ok {
		idx = u.Unwrap()
	}
	l, ok := idx.(lister)
	if !ok {
		return nil, errNoList
	}
	t := &table{}
	condemned := map[pack.ID]bool{}
	sessions, packs := map[seal.SessionID]uint32{}, map[pack.ID]uint32{}
	for b, err := range l.Blobs(chunk.Tree) {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		is, ok := condemned[b.Pack] // of a blob the index tells the best copy
		if !ok {
			if is, err = a.Condemned(ctx, b.Pack); err != nil {
				return nil, err
			}
			condemned[b.Pack] = is
		}
		flags := uint8(0)
		if is {
			flags = garbage
		}
		t.trees = append(t.trees, tree{
			id: b.ID, session: number(sessions, b.Session.ID), pack: number(packs, b.Pack),
			at: uint32(b.Column)<<25 | b.Offset&(1<<25-1), flags: flags,
		})
	}
	if !slices.IsSortedFunc(t.trees, compareTrees) {
		slices.SortFunc(t.trees, compareTrees)
	}
	return t, nil
}

func compareTrees(a, b tree) int { return bytes.Compare(a.id[:], b.id[:]) }

// number gives each key a number.
func number[K comparable](numbers map[K]uint32, key K) uint32 {
	n, ok := numbers[key]
	if !ok {
		n = uint32(len(numbers))
		numbers[key] = n
	}
	return n
}

// find returns the place of a tree in the table.
func (t *table) find(id chunk.ID) (int, bool) {
	return slices.BinarySearchFunc(t.trees, id, func(t tree, id chunk.ID) int { return bytes.Compare(t.id[:], id[:]) })
}

// mark sets a flag of a tree, if the table has it.
func (t *table) mark(id chunk.ID, flag uint8) bool {
	i, ok := t.find(id)
	if ok {
		t.trees[i].flags |= flag
	}
	return ok
}

// byPlace returns the places in the table in the order in which the trees lie in their packs.
func (t *table) byPlace() []int32 {
	order := make([]int32, len(t.trees))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		a, b := &t.trees[i], &t.trees[j]
		return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.at, b.at))
	})
	return order
}
