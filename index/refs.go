package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// refsLimit is how many bytes of references are collected before they are written.
const refsLimit = 256 << 10

// A refs record is what a tree blob refers to, as numbers:
//
//	CRC-32C of number ‖ role ‖ the rest u32 | how many trees uvarint | trees | how many data blobs uvarint | data
//
// Each list is sorted and written as distances, 1 to 2 bytes for blobs that were first seen one after the other. It is split into parts of at
// most partSize. The sum is there because a wrong record would make a collector delete what is needed.

// refs are references that are not written yet.
type refs struct {
	mu      sync.Mutex
	pending map[refsID][]byte
	size    int
}

type refsID struct {
	number uint32
	role   byte
}

// take empties r and returns what was in it.
func (r *refs) take() map[refsID][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.pending
	r.pending, r.size = nil, 0
	return pending
}

// put says whether it is time to write.
func (r *refs) put(id refsID, b []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = make(map[refsID][]byte)
	}
	r.pending[id] = b
	r.size += len(b) + 64
	return r.size >= refsLimit
}

func (r *refs) get(id refsID) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.pending[id]
	return b, ok
}

func (id refsID) key(part int) []byte {
	return binary.BigEndian.AppendUint16(append(numberKey(prefixRefs, id.number), id.role), uint16(part))
}

func (id refsID) sum(rest []byte) uint32 {
	head := append(binary.LittleEndian.AppendUint32(nil, id.number), id.role)
	return crc32.Update(crc32.Checksum(head, castagnoli()), castagnoli(), rest)
}

func (id refsID) encode(trees, data []uint32) []byte {
	b := make([]byte, 4, 4+10+2*(len(trees)+len(data)))
	for _, list := range [][]uint32{trees, data} {
		list = slices.Clone(list)
		slices.Sort(list)
		list = slices.Compact(list)
		b = appendNumbers(binary.AppendUvarint(b, uint64(len(list))), list)
	}
	binary.LittleEndian.PutUint32(b, id.sum(b[4:]))
	return b
}

// parse allocates at most 4 bytes for each byte of b.
func (id refsID) parse(b []byte) (trees, data []uint32, ok bool) {
	if len(b) < 4 || binary.LittleEndian.Uint32(b) != id.sum(b[4:]) {
		return nil, nil, false
	}
	b = b[4:]
	var err error
	for _, list := range []*[]uint32{&trees, &data} {
		if *list, b, err = parseList(b); err != nil {
			return nil, nil, false
		}
	}
	return trees, data, len(b) == 0
}

func parseList(b []byte) (list []uint32, rest []byte, err error) {
	n, b, err := uvarint32(b)
	if err != nil || int64(n) > int64(len(b)) {
		return nil, nil, errRecord
	}
	if n > 0 {
		list = make([]uint32, n)
	}
	last := uint32(0)
	for i := range list {
		var d uint32
		if d, b, err = uvarint32(b); err != nil || last+d < last {
			return nil, nil, errRecord
		}
		last += d
		list[i] = last
	}
	return list, b, nil
}

// PutTreeRefs notes for a tree blob, by number, which trees and which data blobs it refers to. What a blob refers to may depend
// on the role in which it is read. It is a cache: what is put may be lost until Flush, and is gone after Drop.
func (x *Index) PutTreeRefs(number uint32, role byte, trees, data []uint32) error {
	id := refsID{number, role}
	if x.refs.put(id, id.encode(trees, data)) {
		return x.Flush()
	}
	return nil
}

// Flush writes what PutTreeRefs collected.
func (x *Index) Flush() error {
	x.d.write.Lock()
	defer x.d.write.Unlock()
	pending := x.refs.take()
	ids := slices.SortedFunc(maps.Keys(pending), func(a, b refsID) int { return cmp.Compare(a.number, b.number) })
	w := batch{d: x.d}
	defer w.discard()
	for _, id := range ids {
		part := 0
		for b := range slices.Chunk(pending[id], partSize) {
			if err := w.set(id.key(part), b); err != nil {
				return err
			}
			part++
		}
	}
	return w.flush()
}

// TreeRefs returns what PutTreeRefs noted, in ascending order. A record that is damaged counts as none.
func (x *Index) TreeRefs(number uint32, role byte) (trees, data []uint32, ok bool, err error) {
	id := refsID{number, role}
	b, ok := x.refs.get(id)
	if !ok {
		if b, err = x.readRefs(id); err != nil {
			return nil, nil, false, err
		}
	}
	trees, data, ok = id.parse(b)
	return trees, data, ok, nil
}

var errParts = errors.New("a record has too many parts")

func (x *Index) readRefs(id refsID) (b []byte, err error) {
	err = x.d.view("look up a tree", func(txn *badger.Txn) error {
		for part := 0; ; part++ {
			n := 0
			ok, err := get(txn, id.key(part), func(v []byte) error { b, n = append(b, v...), len(v); return nil })
			if err != nil || !ok || n < partSize {
				return err
			}
			if part == 1<<16-1 {
				return errParts
			}
		}
	})
	return b, err
}
