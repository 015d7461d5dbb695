package index

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"cairn/pack"
)

// What is written of a segment, in this order, so that a call that is cut short leaves nothing that Retire would not find: the
// numbers of its packs; that it is begun; in the records of the packs, that it names them; that it is applied. Retire goes the
// same way back, and so does, before it begins, an Apply that adds packs to a segment.

func segmentKey(id pack.ID) []byte { return append([]byte{prefixSegment}, id[:]...) }

func getSegment(txn *badger.Txn, id pack.ID) (s segmentRecord, ok bool, err error) {
	ok, err = get(txn, segmentKey(id), func(v []byte) (err error) { s, err = parseSegment(v); return err })
	return s, ok, err
}

// getNames returns the numbers of the packs that a segment names, in ascending order, and in how many parts they are written.
func getNames(txn *badger.Txn, segment uint32) (packs []uint32, parts int, err error) {
	for {
		ok, err := get(txn, segmentPartKey(segment, parts), func(v []byte) error {
			list, err := parseNumbers(v)
			packs = append(packs, list...)
			return err
		})
		if err != nil || !ok {
			return packs, parts, err
		}
		parts++
	}
}

// planSegment gives a number to the segment, if it has none.
func (a *apply) planSegment(txn *badger.Txn, id pack.ID) (err error) {
	if a.id = id; id == (pack.ID{}) {
		return nil
	}
	known, ok, err := getSegment(txn, id)
	if err != nil {
		return err
	}
	if ok {
		a.segment = known
		a.names, _, err = getNames(txn, known.number)
		return err
	}
	a.segment.number = a.x.nextSegment
	a.x.nextSegment++
	return nil
}

// writeNames notes which columns and which segment are in the index, after all of their entries.
func (a *apply) writeNames() error {
	changed := slices.Sorted(maps.Keys(a.named))
	if a.id != (pack.ID{}) {
		if err := a.beginSegment(); err != nil {
			return err
		}
	}
	for _, n := range changed {
		if err := a.w.set(numberKey(prefixPack, n), a.records[n].encode()); err != nil {
			return err
		}
	}
	if a.id == (pack.ID{}) || a.segment.applied && len(changed) == 0 {
		return nil
	}
	a.segment.applied = true
	return a.w.set(segmentKey(a.id), a.segment.encode())
}

// beginSegment writes the numbers of the packs, where some are new.
func (a *apply) beginSegment() error {
	packs := append(slices.Collect(maps.Keys(a.records)), a.names...)
	slices.Sort(packs)
	packs = slices.Compact(packs)
	if a.segment.applied && len(packs) == len(a.names) {
		return nil
	}
	// Where a segment is applied bit by bit, as by a salvage, most parts are as they were.
	var was [][]uint32
	if a.segment.applied {
		was = slices.Collect(slices.Chunk(a.names, partNumbers))
		a.segment.applied = false
		if err := a.w.set(segmentKey(a.id), a.segment.encode()); err != nil {
			return err
		}
	}
	// The last part first: numbers only move to later parts, so that each is in one whenever this is cut short.
	parts := slices.Collect(slices.Chunk(packs, partNumbers))
	for i := len(parts) - 1; i >= 0; i-- {
		if i < len(was) && slices.Equal(parts[i], was[i]) {
			continue
		}
		if err := a.w.set(segmentPartKey(a.segment.number, i), appendNumbers(nil, parts[i])); err != nil {
			return err
		}
	}
	if len(parts) == 0 { // so that the number is taken
		if err := a.w.set(segmentPartKey(a.segment.number, 0), nil); err != nil {
			return err
		}
	}
	return a.w.set(segmentKey(a.id), a.segment.encode())
}

// Retire takes back what a segment named that is gone from the archive: copies that no other segment names are not found
// any more, until one does. Of a segment that was not applied there is nothing to take back. A call that is cut short
// leaves a segment that Segments yields and that is not Applied; call it again, or Apply.
func (x *Index) Retire(segment pack.ID) error {
	x.d.write.Lock()
	defer x.d.write.Unlock()
	r := retire{x: x, w: batch{d: x.d}, id: segment}
	defer r.w.discard()
	err := r.run()
	if err != nil {
		x.states.clear()
	}
	return err
}

type retire struct {
	x     *Index
	w     batch
	id    pack.ID
	known segmentRecord
	packs []uint32
	parts int
}

func (r *retire) run() error {
	found := false
	err := r.x.d.view("retire", func(txn *badger.Txn) (err error) {
		r.known, found, err = getSegment(txn, r.id)
		if err == nil && found {
			r.packs, r.parts, err = getNames(txn, r.known.number)
		}
		return err
	})
	if err != nil || !found {
		return err
	}
	r.known.applied = false
	if err := r.w.set(segmentKey(r.id), r.known.encode()); err != nil {
		return err
	}
	for packs := range slices.Chunk(r.packs, partNumbers) {
		if err := r.x.change(&r.w, packs, func(p *packRecord) bool { return p.unname(r.known.number) }); err != nil {
			return err
		}
	}
	for part := range r.parts {
		if err := r.w.remove(segmentPartKey(r.known.number, part)); err != nil {
			return err
		}
	}
	if err := r.w.remove(segmentKey(r.id)); err != nil {
		return err
	}
	return r.w.flush()
}

// change changes the records of packs with fn, which says whether it did. The caller holds the write lock.
func (x *Index) change(w *batch, packs []uint32, fn func(*packRecord) bool) error {
	changed := make(map[uint32]*packRecord)
	err := x.d.view("change packs", func(txn *badger.Txn) error {
		for _, n := range packs {
			p, err := readPack(txn, n)
			if err != nil {
				return err
			}
			if fn(p) {
				changed[n] = p
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(changed)) {
		if err := w.set(numberKey(prefixPack, n), changed[n].encode()); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	x.states.set(changed)
	return nil
}

// Segments yields the ids of all applied segments in ascending order, and of those that Apply or Retire has begun with.
func (x *Index) Segments() iter.Seq2[pack.ID, error] {
	return scan(x.d, []byte{prefixSegment}, func(_ *badger.Txn, key, _ []byte) (id pack.ID, err error) {
		if copy(id[:], key) != len(id) {
			return id, errRecord
		}
		return id, nil
	})
}

// Applied says whether Apply was completed for the segment, and Retire not begun.
func (x *Index) Applied(segment pack.ID) (applied bool, err error) {
	err = x.d.view("look up a segment", func(txn *badger.Txn) error {
		s, ok, err := getSegment(txn, segment)
		applied = ok && s.applied
		return err
	})
	return applied, err
}

// SegmentPacks returns the packs that an applied segment names, in the order of their numbers; none for others.
func (x *Index) SegmentPacks(segment pack.ID) (ids []pack.ID, err error) {
	err = x.d.view("look up a segment", func(txn *badger.Txn) error {
		s, ok, err := getSegment(txn, segment)
		if err != nil || !ok || !s.applied {
			return err
		}
		packs, _, err := getNames(txn, s.number)
		for _, n := range packs {
			p, err := x.states.get(n)
			if err != nil {
				return err
			}
			if p.id == (pack.ID{}) {
				return fmt.Errorf("pack number %d of a segment: %w", n, errRecord)
			}
			ids = append(ids, p.id)
		}
		return err
	})
	return ids, err
}
