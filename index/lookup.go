package index

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"cairn/chunk"
	"cairn/pack"
)

// sortFrom is the batch size from which sorting pays. It costs 0.1 µs an id; neighbours then share a block, and what is not
// in memory is read in one direction.
const sortFrom = 32

// Lookup sets out[i] to the place of the best copy of blob ids[i], or to the zero Location where the index knows none: the
// last applied one that is live, or else the last one that is condemned. out must be as long as ids. A blob applied before
// the call is found.
func (x *Index) Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error {
	return x.each(t, ids, len(out), func(txn *badger.Txn, i int) error {
		out[i] = pack.Location{}
		e, _, s, err := x.find(txn, t, &ids[i])
		if err != nil || s == Gone {
			return err
		}
		out[i], err = x.locate(txn, &e)
		return err
	})
}

// Has sets out[i] to whether Lookup finds blob ids[i]. It saves Lookup's look at packs and sessions.
func (x *Index) Has(t chunk.Type, ids []chunk.ID, out []bool) error {
	return x.each(t, ids, len(out), func(txn *badger.Txn, i int) error {
		_, _, s, err := x.find(txn, t, &ids[i])
		out[i] = s != Gone
		return err
	})
}

// Live sets out[i] to a pack that holds blob ids[i], is named and not condemned, or to zero where there is none.
func (x *Index) Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	return x.each(t, ids, len(out), func(txn *badger.Txn, i int) error {
		out[i] = pack.ID{}
		_, p, s, err := x.find(txn, t, &ids[i])
		if s == Live {
			out[i] = p.id
		}
		return err
	})
}

// Number sets out[i] to the number of blob ids[i], also when all its copies are gone, or to 0 where it was never applied.
func (x *Index) Number(t chunk.Type, ids []chunk.ID, out []uint32) error {
	return x.each(t, ids, len(out), func(txn *badger.Txn, i int) error {
		e, _, err := findEntry(txn, t, &ids[i])
		out[i] = e.number
		return err
	})
}

// Numbers returns the largest number that a blob may have. Nearly all up to it are in use.
func (x *Index) Numbers() uint32 { return x.blobs.Load() }

// each calls fn for the place of each id, in an order that suits the database.
func (x *Index) each(t chunk.Type, ids []chunk.ID, out int, fn func(txn *badger.Txn, i int) error) error {
	if err := checkBatch(t, len(ids), out); err != nil {
		return err
	}
	if x.seen.Load() != nil {
		x.seen.Store(nil) // it is filled, and the memory is wanted for other things
	}
	return x.d.view("look up", func(txn *badger.Txn) error {
		return inOrder(ids, func(i int) error { return fn(txn, i) })
	})
}

func checkBatch(t chunk.Type, ids, out int) error {
	if t != chunk.Data && t != chunk.Tree {
		return fmt.Errorf("look up: blobs of %s are not in the index", t)
	}
	if ids != out {
		return fmt.Errorf("look up: room for %d answers to %d questions", out, ids)
	}
	return nil
}

// inOrder calls fn for the place of each id, in about ascending order of the ids where there are many.
func inOrder(ids []chunk.ID, fn func(i int) error) error {
	if len(ids) < sortFrom {
		for i := range ids {
			if err := fn(i); err != nil {
				return err
			}
		}
		return nil
	}
	type place struct {
		prefix uint64 // the first 8 bytes order them well enough
		i      int
	}
	order := make([]place, len(ids))
	for i := range ids {
		order[i] = place{binary.BigEndian.Uint64(ids[i][:8]), i}
	}
	slices.SortFunc(order, func(a, b place) int { return cmp.Compare(a.prefix, b.prefix) })
	for _, p := range order {
		if err := fn(p.i); err != nil {
			return err
		}
	}
	return nil
}

func findEntry(txn *badger.Txn, t chunk.Type, id *chunk.ID) (e entry, ok bool, err error) {
	key := blobKey(t, id)
	ok, err = get(txn, key[:], func(v []byte) (err error) { e, err = parseEntry(v); return err })
	return e, ok, err
}

// locate completes an entry to a Location.
func (x *Index) locate(txn *badger.Txn, e *entry) (pack.Location, error) {
	p, err := x.packByNumber(txn, e.pack)
	if err != nil {
		return pack.Location{}, err
	}
	n := p.session
	if e.foreign > 0 {
		n = e.foreign - 1
	}
	s, err := x.sessionByNumber(txn, n)
	if err != nil {
		return pack.Location{}, err
	}
	return e.location(p, s), nil
}

func (e *entry) location(p *packRecord, s pack.SessionWrap) pack.Location {
	return pack.Location{
		Pack: p.id, Kind: p.kind, Geometry: p.geometry, L: p.length,
		Column: int(e.column), Offset: e.offset, Stored: e.stored, Plain: e.plain, Compression: e.compression,
		Session: s,
	}
}
