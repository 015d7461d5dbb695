package index

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"cairn/chunk"
)

// Copy is one copy of a blob.
type Copy struct {
	ID            chunk.ID
	Number        uint32 // of the blob
	Pack          uint32 // PackInfo.Number
	Column        uint8
	Stored, Plain uint32
	State         State // of this copy
	Best          bool  // Lookup returns it
}

// maxCopies bounds how many copies of a blob are kept besides the last: 1000 × 28 bytes. The first are forgotten, which costs
// a collector a chance to keep what it need not keep.
const maxCopies = 1000

// sameCopy says whether both are one copy. A blob that is in a column twice, which no writer makes, counts once.
func (e *entry) sameCopy(f *entry) bool { return e.pack == f.pack && e.column == f.column }

// addCopy makes e the last of the copies of a blob, whose last copy was `last` and whose others, in the order in which they were
// applied, are in more. It changes more.
func addCopy(last *entry, more []entry, e entry) (entry, []entry) {
	more = slices.DeleteFunc(more, func(c entry) bool { return c.sameCopy(&e) || c.sameCopy(last) })
	if !last.sameCopy(&e) {
		if len(more) >= maxCopies {
			more = slices.Delete(more, 0, 1)
		}
		last.more = false
		more = append(more, *last)
	}
	e.number, e.more = last.number, len(more) > 0
	return e, more
}

// best returns the place of the best copy of a blob in states: the last that is live, or else the last that is condemned; -1 where all
// are gone. The states are in the order in which the copies were applied.
func best(states []State) int {
	found := -1
	for i, s := range states {
		if s == Live || (s == Condemned && (found < 0 || states[found] == Condemned)) {
			found = i
		}
	}
	return found
}

// find returns the best copy of a blob, with its pack, and Gone where there is none.
func (x *Index) find(txn *badger.Txn, t chunk.Type, id *chunk.ID) (e entry, p packState, s State, err error) {
	e, ok, err := findEntry(txn, t, id)
	if err != nil || !ok {
		return e, p, Gone, err
	}
	return x.bestOf(txn, t, id, e)
}

// bestOf returns the best copy of a blob whose last is e. Most are live, and then nothing is read.
func (x *Index) bestOf(txn *badger.Txn, t chunk.Type, id *chunk.ID, e entry) (_ entry, p packState, s State, err error) {
	if p, err = x.states.get(e.pack); err != nil {
		return e, p, Gone, err
	}
	if s = p.of(e.column); s == Live || !e.more {
		return e, p, s, nil
	}
	more, err := getCopies(txn, t, id)
	if err != nil {
		return e, p, s, err
	}
	for i := len(more) - 1; i >= 0 && s != Live; i-- {
		q, err := x.states.get(more[i].pack)
		if err != nil {
			return e, p, s, err
		}
		if r := q.of(more[i].column); r == Live || (r == Condemned && s == Gone) {
			e, p, s = more[i], q, r
		}
	}
	return e, p, s, nil
}

func copiesKey(t chunk.Type, id *chunk.ID) []byte {
	return append([]byte{prefixCopies, byte(t)}, id[:]...)
}

func getCopies(txn *badger.Txn, t chunk.Type, id *chunk.ID) (list []entry, err error) {
	_, err = get(txn, copiesKey(t, id), func(v []byte) (err error) { list, err = parseCopies(v); return err })
	return list, err
}

// Copies yields all copies of all blobs of a type, also those that are gone, in ascending order of their ids, and those of one
// blob in the order in which they were applied. What is applied meanwhile may or may not be among them; the index may be used
// inside the loop. After an error nothing more is yielded.
//
// Because a collector decides by what is not there, the checksums of the whole database are compared first: a damaged block would
// count as one that holds nothing.
func (x *Index) Copies(t chunk.Type) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		if err := x.Verify(); err != nil {
			yield(Copy{}, err)
			return
		}
		for b, err := range x.copies(t) {
			if err != nil {
				yield(Copy{}, err)
				return
			}
			if !b.yield(yield) {
				return
			}
		}
	}
}

// copies is all copies of a blob, in the order in which they were applied, with their states.
type copies struct {
	id     chunk.ID
	last   entry
	state  State   // of last
	more   []entry // before it; few blobs have any
	states []State // of those, and then of last
}

// copies yields all blobs of a type.
func (x *Index) copies(t chunk.Type) iter.Seq2[copies, error] {
	return scanPages(x.d, []byte{byte(t)}, decodeLast, func(txn *badger.Txn, page []copies) error {
		if err := readMore(txn, t, page); err != nil {
			return err
		}
		for i := range page {
			if err := page[i].setStates(x.states.get); err != nil {
				return err
			}
		}
		return nil
	})
}

func decodeLast(_ *badger.Txn, key, value []byte) (c copies, err error) {
	c.last, err = parseEntry(value)
	if err != nil || copy(c.id[:], key) != len(c.id) {
		return c, errors.Join(errRecord, err)
	}
	return c, nil
}

// walkFrom is how many blobs of a page must have further copies for reading these in one go, at 0.5 µs each, and not one by one, at 3 µs.
const walkFrom = 64

// readMore completes a page of blobs, which are in the order of their ids, with further copies.
func readMore(txn *badger.Txn, t chunk.Type, page []copies) (err error) {
	var with []*copies
	for i := range page {
		if page[i].last.more {
			with = append(with, &page[i])
		}
	}
	if len(with) < walkFrom {
		for _, c := range with {
			if c.more, err = getCopies(txn, t, &c.id); err != nil {
				return err
			}
		}
		return nil
	}
	_, err = walk(txn, []byte{prefixCopies, byte(t)}, copiesKey(t, &with[0].id), func(key, value []byte) (bool, error) {
		for len(with) > 0 && bytes.Compare(with[0].id[:], key) < 0 {
			with = with[1:]
		}
		if len(with) == 0 || !bytes.Equal(with[0].id[:], key) {
			return len(with) > 0, nil
		}
		with[0].more, err = parseCopies(value)
		return true, err
	})
	return err
}

func (c *copies) setStates(get func(pack uint32) (packState, error)) error {
	p, err := get(c.last.pack)
	if err != nil {
		return err
	}
	c.state = p.of(c.last.column)
	if len(c.more) == 0 {
		return nil
	}
	for i := range c.more {
		p, err := get(c.more[i].pack)
		if err != nil {
			return err
		}
		c.states = append(c.states, p.of(c.more[i].column))
	}
	c.states = append(c.states, c.state)
	return nil
}

// best returns the best copy, if there is one that is not gone.
func (c *copies) best() (*entry, bool) {
	if len(c.more) == 0 {
		return &c.last, c.state != Gone
	}
	switch i := best(c.states); i {
	case -1:
		return nil, false
	case len(c.more):
		return &c.last, true
	default:
		return &c.more[i], true
	}
}

func (c *copies) yield(yield func(Copy, error) bool) bool {
	b, ok := c.best()
	for i := range c.more {
		if e := &c.more[i]; !yield(c.copy(e, c.states[i], ok && b == e), nil) {
			return false
		}
	}
	return yield(c.copy(&c.last, c.state, ok && b == &c.last), nil)
}

func (c *copies) copy(e *entry, s State, best bool) Copy {
	return Copy{ID: c.id, Number: c.last.number, Pack: e.pack, Column: e.column, Stored: e.stored, Plain: e.plain, State: s, Best: best}
}

// Blobs yields all blobs of a type that Lookup finds, in ascending order of their ids. See Copies for the rest.
func (x *Index) Blobs(t chunk.Type) iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		for b, err := range x.located(t) {
			if err != nil {
				yield(Blob{}, err)
				return
			}
			if b.Found() && !yield(b, nil) {
				return
			}
		}
	}
}

// located yields the best place of each blob, or a zero one.
func (x *Index) located(t chunk.Type) iter.Seq2[Blob, error] {
	return scan(x.d, []byte{byte(t)}, func(txn *badger.Txn, key, value []byte) (b Blob, err error) {
		if copy(b.ID[:], key) != len(b.ID) {
			return b, errRecord
		}
		e, err := parseEntry(value)
		if err != nil {
			return b, err
		}
		e, _, s, err := x.bestOf(txn, t, &b.ID, e)
		if err == nil && s != Gone {
			b.Location, err = x.locate(txn, &e)
		}
		return b, err
	})
}
