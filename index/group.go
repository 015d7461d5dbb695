package index

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"cairn/chunk"
	"cairn/pack"
)

// groupSize is how many entries are sorted and written at a time: 16384 × (44 B + 57 B key and value) = 1.7 MB.
const groupSize = 1 << 14

// writeEntries writes the blobs in groups, each in key order, which Badger takes in fastest.
func (a *apply) writeEntries() error {
	total := 0
	for _, p := range a.columns {
		total += len(p.c.Entries)
	}
	group := make([]blob, 0, min(total, groupSize))
	for _, p := range a.columns {
		for i := range p.c.Entries {
			group = append(group, p.blob(i))
			if len(group) == groupSize {
				if err := a.writeGroup(group); err != nil {
					return err
				}
				group = group[:0]
			}
		}
	}
	return a.writeGroup(group)
}

// blob is an entry with its key.
type blob struct {
	kind chunk.Type
	id   *chunk.ID
	entry
}

func (p *plannedColumn) blob(i int) blob {
	e := &p.c.Entries[i]
	b := blob{p.c.Kind, &e.ID, newEntry(p.pack, p.c.Number, e)}
	if e.Session > 0 {
		b.foreign = p.foreign[e.Session-1]
	}
	return b
}

// newEntry returns the record of e, but for its session.
func newEntry(number uint32, column int, e *pack.Entry) entry {
	return entry{pack: number, column: uint8(column), compression: e.Compression, offset: e.Offset, stored: e.Stored, plain: e.Plain}
}

var errFull = errors.New("the index has no number left for another blob")

// writeGroup writes the blobs of a group. Of each it has to know whether it was seen before.
func (a *apply) writeGroup(list []blob) error {
	// Stable, so that the last of several entries of one blob stays the last.
	slices.SortStableFunc(list, func(a, b blob) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	if uint64(a.x.blobs.Load())+uint64(len(list)) > math.MaxUint32 {
		return errFull
	}
	g := group{x: a.x, buf: make([]byte, 0, len(list)*(33+entrySize+2))}
	err := a.x.d.view("apply", func(txn *badger.Txn) error {
		for i, j := 0, 0; i < len(list); i = j {
			for j = i + 1; j < len(list) && list[j].kind == list[i].kind && *list[j].id == *list[i].id; j++ {
			}
			if err := g.merge(txn, list[i:j]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.write(&a.w)
}

// group is a group of blobs as it will be written.
type group struct {
	x     *Index
	buf   []byte
	pairs []pair
	fresh uint32 // blobs that were not seen before
}

// merge adds the entries of one blob to what is known of it.
func (g *group) merge(txn *badger.Txn, list []blob) error {
	t, id := list[0].kind, list[0].id
	var last entry
	var ok bool
	var err error
	if g.x.seen.Load().add(id) {
		if last, ok, err = findEntry(txn, t, id); err != nil {
			return err
		}
	}
	var more []entry
	if ok && last.more {
		if more, err = getCopies(txn, t, id); err != nil {
			return err
		}
	}
	if !ok {
		g.fresh++
		last = list[0].entry
		last.number = g.x.blobs.Load() + g.fresh
	}
	for i := range list {
		last, more = addCopy(&last, more, list[i].entry)
	}
	// Before the blob, which says that it is there.
	if len(more) > 0 {
		g.pairs = append(g.pairs, pair{copiesKey(t, id), encodeCopies(more)})
	}
	start := len(g.buf)
	g.buf = append(append(g.buf, byte(t)), id[:]...)
	key := len(g.buf)
	g.buf = last.append(g.buf)
	g.pairs = append(g.pairs, pair{g.buf[start:key:key], g.buf[key:len(g.buf):len(g.buf)]})
	return nil
}

// write writes the group behind the largest number that is in it, so that no number is given away twice.
func (g *group) write(w *batch) error {
	if g.fresh > 0 {
		g.x.blobs.Add(g.fresh)
		if err := w.set([]byte{prefixNumbers}, numberValue(g.x.blobs.Load())); err != nil {
			return err
		}
	}
	for _, p := range g.pairs {
		if err := w.set(p.key, p.value); err != nil {
			return err
		}
	}
	return w.flush()
}
