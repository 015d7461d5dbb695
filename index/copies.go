package index

import (
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

// find returns the best copy of a blob, with its pack, and Gone where there is none. Where the last copy is live, as most
// are, it costs one read.
func (x *Index) find(txn *badger.Txn, t chunk.Type, id *chunk.ID) (e entry, p packState, s State, err error) {
	e, ok, err := findEntry(txn, t, id)
	if err != nil || !ok {
		return e, p, Gone, err
	}
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
func (x *Index) Copies(t chunk.Type) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		all := scan(x.d, []byte{byte(t)}, func(txn *badger.Txn, key, value []byte) (copies, error) {
			return x.readCopies(txn, t, key, value)
		})
		for b, err := range all {
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

// readCopies completes the last copy, which was found under key, with the others.
func (x *Index) readCopies(txn *badger.Txn, t chunk.Type, key, value []byte) (c copies, err error) {
	c.last, err = parseEntry(value)
	if err != nil || copy(c.id[:], key) != len(c.id) {
		return c, errors.Join(errRecord, err)
	}
	if c.last.more {
		if c.more, err = getCopies(txn, t, &c.id); err != nil {
			return c, err
		}
	}
	return c, c.setStates(x.states.get)
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
		c, err := x.readCopies(txn, t, key, value)
		if err != nil {
			return b, err
		}
		b.ID = c.id
		if e, ok := c.best(); ok {
			b.Location, err = x.locate(txn, e)
		}
		return b, err
	})
}
