package index

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"path/filepath"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"cairn/chunk"
	"cairn/pack"
)

// PackInfo is what the index knows of a pack as a whole.
type PackInfo struct {
	ID       pack.ID
	Kind     chunk.Type
	Geometry pack.Geometry
	L        int64
	Session  pack.SessionWrap
	Columns  uint32 // bit i: the blobs of column i are in the index, and a segment names them
	Number   uint32 // from 0; Copy.Pack refers to it
	State    State  // Condemned also when nobody names it any more: then Columns is 0
	Segments int    // applied ones that name it
}

// Complete says whether the blobs of all columns are in the index.
func (p *PackInfo) Complete() bool { return p.Columns == 1<<p.Geometry.K-1 }

// Blob is one blob of the index.
type Blob struct {
	ID chunk.ID
	pack.Location
}

// Stats are the sizes of an index.
type Stats struct {
	Data, Tree uint64 // blobs
	Packs      uint64
	Sessions   uint64
	Segments   uint64
	Disk       int64 // bytes on disk; 0 for a Map
}

// Packs yields all packs that the index has seen columns of, also those that are gone, in the order of their numbers. See Blobs for the rest.
func (x *Index) Packs() iter.Seq2[PackInfo, error] {
	return scan(x.d, []byte{prefixPack}, func(txn *badger.Txn, key, value []byte) (PackInfo, error) {
		p, err := parsePack(value)
		if err != nil || len(key) != 4 {
			return PackInfo{}, errors.Join(errRecord, err)
		}
		s, err := x.sessionByNumber(txn, p.session)
		return p.info(binary.BigEndian.Uint32(key), s), err
	})
}

// Stats counts by reading all keys: about 0.3 s for a million blobs.
func (x *Index) Stats() (Stats, error) {
	var s Stats
	for _, c := range []struct {
		prefix byte
		n      *uint64
	}{{byte(chunk.Data), &s.Data}, {byte(chunk.Tree), &s.Tree}, {prefixPack, &s.Packs}, {prefixSession, &s.Sessions}, {prefixSegment, &s.Segments}} {
		for _, err := range scan(x.d, []byte{c.prefix}, decodeNothing) {
			if err != nil {
				return Stats{}, err
			}
			*c.n++
		}
	}
	x.d.mu.RLock()
	defer x.d.mu.RUnlock()
	if x.d.b == nil {
		return Stats{}, ErrClosed
	}
	s.Disk = diskUsage(x.d.slot.dir)
	return s, nil
}

func decodeNothing(*badger.Txn, []byte, []byte) (struct{}, error) { return struct{}{}, nil }

// diskUsage adds up the blocks in use; Badger's files have holes. What vanishes meanwhile is not counted.
func diskUsage(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// pageSize is how many records scan reads at a time. Between pages nothing is held, so that whoever loops slowly keeps
// neither Close nor Badger's compaction waiting.
const pageSize = 4096

// scan yields decode(key without prefix, value) of all keys with the prefix, in key order.
func scan[T any](d *db, prefix []byte, decode func(txn *badger.Txn, key, value []byte) (T, error)) iter.Seq2[T, error] {
	return scanPages(d, prefix, decode, func(*badger.Txn, []T) error { return nil })
}

// scanPages also calls complete for each page, in the transaction in which it was read.
func scanPages[T any](d *db, prefix []byte, decode func(txn *badger.Txn, key, value []byte) (T, error),
	complete func(txn *badger.Txn, page []T) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		page := make([]T, 0, pageSize)
		next := prefix
		for next != nil {
			from := next
			page, next = page[:0], nil
			err := d.view("list", func(txn *badger.Txn) (err error) {
				next, err = walk(txn, prefix, from, func(key, value []byte) (bool, error) {
					if len(page) == pageSize {
						return false, nil
					}
					v, err := decode(txn, key, value)
					page = append(page, v)
					return true, err
				})
				if err != nil {
					return err
				}
				return complete(txn, page)
			})
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, v := range page {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// walk calls fn(key without prefix, value) for all keys with the prefix, beginning at from, until it returns false, and returns the
// key at which it did.
func walk(txn *badger.Txn, prefix, from []byte, fn func(key, value []byte) (bool, error)) (next []byte, err error) {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = prefix
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		key, more := it.Item().Key(), false
		err := it.Item().Value(func(value []byte) (err error) { more, err = fn(key[len(prefix):], value); return err })
		if err != nil || !more {
			return it.Item().KeyCopy(nil), err
		}
	}
	return nil, nil
}
