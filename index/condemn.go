package index

import (
	"slices"

	"github.com/dgraph-io/badger/v4"

	"cairn/chunk"
	"cairn/pack"
)

func condemnedKey(id pack.ID) []byte { return append([]byte{prefixCondemned}, id[:]...) }

func recordKey(id chunk.ID) []byte { return append([]byte{prefixRecord}, id[:]...) }

// Condemn notes the packs that a gc record condemns, and then that the record is noted. What is condemned stays so until Drop; a
// pack that the index does not know is condemned when it is applied. A repeated call changes nothing.
func (x *Index) Condemn(record chunk.ID, packs []pack.ID) error {
	x.d.write.Lock()
	defer x.d.write.Unlock()
	if done, err := x.Noted(record); err != nil || done {
		return err
	}
	w := batch{d: x.d}
	defer w.discard()
	err := x.condemn(&w, packs)
	if err == nil {
		if err = w.set(recordKey(record), nil); err == nil {
			err = w.flush()
		}
	}
	if err != nil {
		x.states.clear()
	}
	return err
}

func (x *Index) condemn(w *batch, packs []pack.ID) error {
	for list := range slices.Chunk(packs, partNumbers) {
		for _, id := range list {
			if err := w.set(condemnedKey(id), nil); err != nil {
				return err
			}
		}
		var numbers []uint32
		err := x.d.view("condemn", func(txn *badger.Txn) error {
			for _, id := range list {
				n, ok, err := getNumber(txn, append([]byte{prefixPackID}, id[:]...))
				if err != nil {
					return err
				}
				if ok {
					numbers = append(numbers, n)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = x.change(w, numbers, func(p *packRecord) bool {
			was := p.condemned
			p.condemned = true
			return !was
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Noted says whether Condemn was completed for the gc record.
func (x *Index) Noted(record chunk.ID) (bool, error) { return x.has(recordKey(record)) }

// Condemned says whether a gc record condemns the pack, known or not.
func (x *Index) Condemned(id pack.ID) (bool, error) { return x.has(condemnedKey(id)) }

func (x *Index) has(key []byte) (ok bool, err error) {
	err = x.d.view("look up a record", func(txn *badger.Txn) (err error) {
		ok, err = get(txn, key, func([]byte) error { return nil })
		return err
	})
	return ok, err
}
