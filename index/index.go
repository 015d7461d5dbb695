package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"cairn/chunk"
	"cairn/pack"
)

const (
	// packCache bounds the pack records kept in memory: 2 × 32768 × (64 B record + 40 B map) = 7 MB, and as many numbers
	// by id, 3.5 MB. A million packs (10 TB) in memory would take 150 MB.
	packCache = 1 << 15
	// sessionCache: 2 × 512 × 1.4 KiB = 1.4 MB.
	sessionCache = 512
)

// indexMagic is in the manifest of an index: 'I' and the format.
const indexMagic = 'I'<<8 | format

// Index is the index of one archive in a local Badger. All methods may be called at once.
type Index struct {
	d *db

	packs          *cache[uint32, *packRecord] // their columns field may be out of date
	packNumbers    *cache[pack.ID, uint32]
	sessions       *cache[uint32, pack.SessionWrap]
	sessionNumbers *cache[fingerprint, uint32]

	states *states
	refs   refs
	seen   atomic.Pointer[seen] // from when the index was empty until something is looked up, else nil

	// The next numbers to give away; guarded by d.write. Numbers may be skipped.
	nextPack, nextSession, nextSegment uint32
	blobs                              atomic.Uint32 // the last number of a blob that was given away; changed under d.write
}

// Open opens the index below dir, or makes an empty one: the first of dir-0, dir-1, … dir-15 that no other process holds.
// A database that is damaged, of another format or was being written when the machine went down is set aside and made
// anew, which o.Notice is told. ErrBusy and ErrNoSpace mean: use a Map instead.
func Open(dir string, o Options) (*Index, error) {
	d := &db{magic: indexMagic, o: o.applyDefaults()}
	for i := range slots {
		d.dirs = append(d.dirs, slotDir(dir, i))
	}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x := &Index{
		d:              d,
		packs:          newCache[uint32, *packRecord](packCache),
		packNumbers:    newCache[pack.ID, uint32](packCache),
		sessions:       newCache[uint32, pack.SessionWrap](sessionCache),
		sessionNumbers: newCache[fingerprint, uint32](sessionCache),
		states:         &states{d: d},
	}
	if err := x.number(); err != nil {
		// It opened and cannot be read: the last chance to make it anew without bothering the caller.
		d.o.Notice(fmt.Sprintf("index is made anew: %v", err))
		if err := x.Drop(); err != nil {
			return nil, errors.Join(fmt.Errorf("open index: %w", err), d.close())
		}
	}
	return x, nil
}

func slotDir(dir string, i int) string { return fmt.Sprintf("%s-%d", dir, i) }

// Remove removes all slots of the index below dir, also those in use: processes that have them open get a BrokenError
// sooner or later.
func Remove(dir string) error {
	var errs []error
	for i := range slots {
		errs = append(errs, os.RemoveAll(slotDir(dir, i)))
	}
	return errors.Join(errs...)
}

// number finds the next free numbers.
func (x *Index) number() error {
	return x.d.view("read its end", func(txn *badger.Txn) error {
		x.nextPack = nextNumber(txn, prefixPack)
		x.nextSession = nextNumber(txn, prefixSession)
		x.nextSegment = max(1, nextNumber(txn, prefixSegmentPacks))
		n, _, err := getNumber(txn, []byte{prefixNumbers})
		x.blobs.Store(n)
		if n == 0 {
			x.seen.Store(new(seen))
		}
		return err
	})
}

// nextNumber returns one more than the largest number under prefix.
func nextNumber(txn *badger.Txn, prefix byte) uint32 {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues, o.Reverse = false, true
	it := txn.NewIterator(o)
	defer it.Close()
	it.Seek(append(numberKey(prefix, 1<<32-1), 0xff, 0xff, 0xff))
	if !it.ValidForPrefix([]byte{prefix}) {
		return 0
	}
	n, err := keyNumber(it.Item().Key()[1:])
	if err != nil {
		return 0
	}
	return n + 1
}

// keyNumber reads the number at the beginning of a key without its prefix.
func keyNumber(key []byte) (uint32, error) {
	if len(key) < 4 {
		return 0, errRecord
	}
	return binary.BigEndian.Uint32(key), nil
}

// Slot says which slot the index got; 0 for the only process of a machine.
func (x *Index) Slot() int {
	x.d.mu.RLock()
	defer x.d.mu.RUnlock()
	return x.d.num
}

// Close writes out what is buffered and gives up the slot. A second call does nothing.
func (x *Index) Close() error { return x.d.close() }

// Drop empties the index: it then knows no segment and no gc record, and numbers begin anew. It also mends an index that returned a BrokenError.
func (x *Index) Drop() error {
	return x.d.drop(func() error {
		x.packs.clear()
		x.packNumbers.clear()
		x.sessions.clear()
		x.sessionNumbers.clear()
		x.states.drop()
		x.refs.take()
		x.nextPack, x.nextSession, x.nextSegment = 0, 0, 1
		x.blobs.Store(0)
		x.seen.Store(new(seen))
		return nil
	})
}

// Verify reads the whole database and checks Badger's checksums, about 1 s for 10 million blobs. Lookup takes a damaged
// block for one that does not hold the blob; Verify tells the difference.
func (x *Index) Verify() error {
	return x.d.use("verify", func(b *badger.DB) error { return b.VerifyChecksum() })
}

// blobKey is the key of a blob.
func blobKey(t chunk.Type, id *chunk.ID) [33]byte {
	var k [33]byte
	k[0] = byte(t)
	copy(k[1:], id[:])
	return k
}

// get reads one value with fn. Missing is not an error.
func get(txn *badger.Txn, key []byte, fn func(value []byte) error) (bool, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, item.Value(fn)
}

func getNumber(txn *badger.Txn, key []byte) (n uint32, ok bool, err error) {
	ok, err = get(txn, key, func(v []byte) error { n, err = parseNumber(v); return err })
	return n, ok, err
}

// packByNumber finds the record of a pack that an entry names; it must be there.
func (x *Index) packByNumber(txn *badger.Txn, n uint32) (*packRecord, error) {
	if p, ok := x.packs.get(n); ok {
		return p, nil
	}
	p, err := readPack(txn, n)
	if err != nil {
		return nil, err
	}
	x.packs.set(n, p)
	return p, nil
}

// readPack reads a record from the database, where it is never out of date.
func readPack(txn *badger.Txn, n uint32) (*packRecord, error) {
	var p packRecord
	ok, err := get(txn, numberKey(prefixPack, n), func(v []byte) (err error) { p, err = parsePack(v); return err })
	if err == nil && !ok {
		err = errRecord
	}
	return &p, err
}

func (x *Index) sessionByNumber(txn *badger.Txn, n uint32) (pack.SessionWrap, error) {
	if s, ok := x.sessions.get(n); ok {
		return s, nil
	}
	var s pack.SessionWrap
	ok, err := get(txn, numberKey(prefixSession, n), func(v []byte) (err error) { s, err = parseSession(v); return err })
	if err == nil && !ok {
		err = errRecord
	}
	if err != nil {
		return s, err
	}
	x.sessions.set(n, s)
	return s, nil
}
