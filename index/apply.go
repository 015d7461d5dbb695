package index

import (
	"bytes"

	"github.com/dgraph-io/badger/v4"

	"cairn/pack"
)

// Apply adds the columns of a segment to the index, and then notes that the segment names them and is applied. With the
// zero segment it adds columns that no published segment names yet; they count as named until Drop. The blobs of columns
// that were applied before are skipped, so a repeated call costs one read for each pack. All copies of a blob are kept,
// the last one applied before the others; a blob that was never seen gets the next number.
//
// A call that is cut short leaves blobs in columns that nobody names, which are not found, and a segment that Segments yields
// and that is not Applied. After ErrNoSpace and ConflictError the index is usable.
func (x *Index) Apply(segment pack.ID, cols []pack.Column) error {
	for i := range cols {
		if err := checkColumn(&cols[i]); err != nil {
			return err
		}
	}
	x.d.write.Lock()
	defer x.d.write.Unlock()
	a := apply{x: x, w: batch{d: x.d}, packs: make(map[pack.ID]uint32), records: make(map[uint32]*packRecord),
		named: make(map[uint32]bool), fresh: make(map[fingerprint]uint32)}
	defer a.w.discard()
	if err := a.plan(segment, cols); err != nil {
		return err
	}
	for _, step := range []func() error{a.writeRecords, a.writeEntries, a.writeNames} {
		err := step()
		if err == nil {
			err = a.w.flush()
		}
		if err != nil {
			x.states.clear() // some of it may be written
			return err
		}
	}
	a.remember()
	return nil
}

// apply is one call of Apply.
type apply struct {
	x *Index
	w batch

	id      pack.ID // of the segment, or zero
	segment segmentRecord
	names   []uint32 // packs that it is known to name

	columns []plannedColumn
	packs   map[pack.ID]uint32
	records map[uint32]*packRecord // as they will be at the end
	named   map[uint32]bool        // which of them change
	news    []pair                 // records of packs and sessions that were not known, written first
	fresh   map[fingerprint]uint32 // numbers of sessions that were not known
	clash   error

	last       pack.SessionWrap // asked for last, if any
	lastNumber uint32
	any        bool
}

type pair struct{ key, value []byte }

type plannedColumn struct {
	c       *pack.Column
	pack    uint32
	foreign []uint32 // number + 1 for each of c.Sessions
}

// plan gives numbers to packs and sessions and leaves out the columns that are in the index.
func (a *apply) plan(segment pack.ID, cols []pack.Column) error {
	err := a.x.d.view("apply", func(txn *badger.Txn) error {
		if err := a.planSegment(txn, segment); err != nil {
			return err
		}
		for i := range cols {
			if err := a.planColumn(txn, &cols[i]); err != nil {
				return err
			}
			if a.clash != nil {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.clash
}

func (a *apply) planColumn(txn *badger.Txn, c *pack.Column) error {
	session, err := a.session(txn, c.Session)
	if err != nil {
		return err
	}
	p := &packRecord{id: c.Pack, kind: c.Kind, geometry: c.Geometry, length: c.L, session: session}
	n, err := a.pack(txn, p)
	if err != nil {
		return err
	}
	known := a.records[n]
	if what := known.conflict(p); what != "" {
		a.clash = &ConflictError{Pack: c.Pack, What: what}
		return nil
	}
	bit := uint32(1) << c.Number
	if known.name(a.segment.number, bit) {
		a.named[n] = true
	}
	if known.columns&bit != 0 {
		return nil
	}
	known.columns |= bit
	known.blobs += uint32(len(c.Entries))
	a.named[n] = true
	planned := plannedColumn{c: c, pack: n}
	for _, s := range c.Sessions {
		f, err := a.session(txn, s)
		if err != nil {
			return err
		}
		planned.foreign = append(planned.foreign, f+1)
	}
	a.columns = append(a.columns, planned)
	return nil
}

// pack returns the number of a pack; afterwards its record is in a.records.
func (a *apply) pack(txn *badger.Txn, p *packRecord) (uint32, error) {
	if n, ok := a.packs[p.id]; ok {
		return n, nil
	}
	key := append([]byte{prefixPackID}, p.id[:]...)
	n, ok := a.x.packNumbers.get(p.id)
	if !ok {
		var err error
		if n, ok, err = getNumber(txn, key); err != nil {
			return 0, err
		}
	}
	if ok {
		known, err := readPack(txn, n)
		if err != nil {
			return 0, err
		}
		a.packs[p.id], a.records[n] = n, known
		return n, nil
	}
	condemned, err := get(txn, condemnedKey(p.id), func([]byte) error { return nil })
	if err != nil {
		return 0, err
	}
	p.condemned = condemned
	n = a.x.nextPack
	a.x.nextPack++
	a.news = append(a.news, pair{numberKey(prefixPack, n), p.encode()}, pair{key, numberValue(n)})
	a.packs[p.id], a.records[n] = n, p
	return n, nil
}

// session returns the number of a session. Most columns of a segment have the session of the one before.
func (a *apply) session(txn *badger.Txn, s pack.SessionWrap) (uint32, error) {
	if a.last.ID == s.ID && bytes.Equal(a.last.Wrap.HPKE, s.Wrap.HPKE) && bytes.Equal(a.last.Wrap.Root, s.Wrap.Root) && a.any {
		return a.lastNumber, nil
	}
	n, err := a.findSession(txn, s)
	if err == nil {
		a.last, a.lastNumber, a.any = s, n, true
	}
	return n, err
}

func (a *apply) findSession(txn *badger.Txn, s pack.SessionWrap) (uint32, error) {
	record := encodeSession(s)
	f := sessionFingerprint(record)
	if n, ok := a.fresh[f]; ok {
		return n, nil
	}
	if n, ok := a.x.sessionNumbers.get(f); ok {
		return n, nil
	}
	key := append([]byte{prefixFingerprint}, f[:]...)
	n, ok, err := getNumber(txn, key)
	if err != nil {
		return 0, err
	}
	if ok {
		a.x.sessionNumbers.set(f, n)
		return n, nil
	}
	n = a.x.nextSession
	a.x.nextSession++
	a.news = append(a.news, pair{numberKey(prefixSession, n), record}, pair{key, numberValue(n)})
	a.fresh[f] = n
	return n, nil
}

// writeRecords writes what entries refer to, before them: an entry never names a number that means nothing, and no number
// is given away twice.
func (a *apply) writeRecords() error {
	for _, p := range a.news {
		if err := a.w.set(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// remember fills the caches with what is in the database now.
func (a *apply) remember() {
	for id, n := range a.packs {
		a.x.packNumbers.set(id, n)
		a.x.packs.set(n, a.records[n])
	}
	a.x.states.set(a.records)
	for f, n := range a.fresh {
		a.x.sessionNumbers.set(f, n)
	}
}
