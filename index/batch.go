package index

import (
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// batch collects writes and commits them in order, as many at a time as Badger takes (some 3000 entries). Each commit is waited for before the next begins: after a failed write Badger would end the process at
// the following one, so there must not be any; after a crash there is a prefix of what was written.
//
// The database's write mutex is held while a batch lives, so that it cannot be closed. Keys and values must not change
// before flush.
type batch struct {
	d   *db
	txn *badger.Txn
}

func (w *batch) set(key, value []byte) error {
	return w.add(func(txn *badger.Txn) error { return txn.Set(key, value) })
}

func (w *batch) remove(key []byte) error {
	return w.add(func(txn *badger.Txn) error { return txn.Delete(key) })
}

func (w *batch) add(fn func(*badger.Txn) error) error {
	if w.d.o.writes != nil {
		if err := w.d.o.writes(); err != nil {
			return err
		}
		return errors.Join(w.try(fn), w.flush())
	}
	err := w.try(fn)
	if !errors.Is(err, badger.ErrTxnTooBig) {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.try(fn)
}

func (w *batch) try(fn func(*badger.Txn) error) error {
	if w.txn == nil {
		if w.d.b == nil {
			return ErrClosed
		}
		if broken := w.d.broken.Load(); broken != nil {
			return broken
		}
		w.txn = w.d.b.NewTransaction(true)
	}
	return fn(w.txn)
}

// flush commits what is pending.
func (w *batch) flush() error {
	if w.txn == nil {
		return nil
	}
	return w.d.use("write", func(*badger.DB) error {
		defer w.discard()
		if w.d.slot.gone() {
			return errGone
		}
		if err := w.d.checkSpace(); err != nil {
			return err
		}
		if err := w.d.markDirty(); err != nil {
			return err
		}
		return w.txn.Commit()
	})
}

// discard forgets what is pending.
func (w *batch) discard() {
	if w.txn != nil {
		w.txn.Discard()
		w.txn = nil
	}
}

// markDirty notes on the disk that the database is being written. It costs one fsync for each time a database is opened
// and written to, and none where it is only read.
func (d *db) markDirty() error {
	st := &d.slot.st
	if st.Dirty {
		return nil
	}
	st.Dirty, st.Boot = true, d.o.boot
	return d.slot.save(true)
}
