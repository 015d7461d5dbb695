package index

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// db is a Badger database that may be lost at any time without harm: it locks a slot, opens or remakes what is in it,
// and turns whatever Badger does wrong into errors. Readers run at once; there is one writer at a time.
type db struct {
	dirs  []string // the slots that may be taken, best first
	magic uint16   // in Badger's manifest: kind and version of the content
	o     Options

	write sync.Mutex   // held by the writer; before mu
	mu    sync.RWMutex // held shared while Badger is in use, exclusively to close or replace it
	b     *badger.DB   // nil when closed
	slot  *slot
	num   int // place of slot in dirs

	broken atomic.Pointer[BrokenError]
}

// open takes the first free slot and opens the database in it.
func (d *db) open() error {
	err := error(ErrBusy)
	for i, dir := range d.dirs {
		d.slot, err = lockSlot(dir)
		if err == nil {
			d.num = i
			break
		}
		if !errors.Is(err, ErrBusy) {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := d.openSlot(); err != nil {
		return errors.Join(err, d.slot.release())
	}
	return nil
}

// openSlot opens the database of the locked slot. What cannot be trusted or does not open is set aside and replaced by an
// empty one; it is kept until the slot is opened the next time.
func (d *db) openSlot() error {
	if err := d.checkSpace(); err != nil {
		return err
	}
	st := &d.slot.st
	if why := st.distrust(d.o.boot); why != "" {
		if st.DB != "" {
			d.o.Notice(fmt.Sprintf("local cache %s is made anew: %s", d.slot.dir, why))
		}
		*st = state{Format: format}
	}
	if err := d.slot.tidy(); err != nil {
		return err
	}
	if st.DB != "" {
		err := d.start()
		if err == nil {
			return nil
		}
		d.o.Notice(fmt.Sprintf("local cache %s is made anew: %v", d.slot.dir, err))
		if err := d.setAside(); err != nil {
			return err
		}
	}
	*st = state{Format: format, DB: "db-" + rand.Text()[:8]}
	return d.start()
}

func (d *db) start() error {
	st := &d.slot.st
	tables := -1
	if st.Unclean == 0 && !st.Dirty {
		tables = st.Tables
	}
	st.Unclean++
	st.Opening = true
	if err := d.slot.save(false); err != nil {
		return err
	}
	b, err := openBadger(d.options(), tables)
	if err != nil {
		return err
	}
	st.Opening = false
	if err := d.slot.save(false); err != nil {
		return errors.Join(err, closeBadger(b, d.slot.database()))
	}
	d.b = b
	d.broken.Store(nil)
	return nil
}

func (d *db) options() badger.Options {
	return badgerOptions(d.slot.database(), d.magic, d.o.MemTable)
}

func (d *db) setAside() error {
	aside := filepath.Join(d.slot.dir, "damaged")
	return errors.Join(os.RemoveAll(aside), os.Rename(d.slot.database(), aside))
}

// checkSpace returns ErrNoSpace, with numbers, when the file system is nearly full. One fstatfs takes 1 µs.
func (d *db) checkSpace() error {
	free, err := d.slot.free()
	if err != nil {
		return err
	}
	if free < d.o.Reserve {
		return fmt.Errorf("cache %s: %w: %d bytes free, %d wanted", d.slot.dir, ErrNoSpace, free, d.o.Reserve)
	}
	return nil
}

// fail remembers that the database is broken. The first reason counts.
func (d *db) fail(op string, err error) error {
	d.broken.CompareAndSwap(nil, &BrokenError{Dir: d.slot.dir, Op: op, Err: err})
	return d.broken.Load()
}

// use calls fn while the database is open. Panics of Badger, and faults on the memory map, which a disk error or somebody
// who cuts off a file causes, become errors. fn's errors other than those of this package mean that the database is broken.
func (d *db) use(op string, fn func(b *badger.DB) error) (err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.b == nil {
		return ErrClosed
	}
	if broken := d.broken.Load(); broken != nil {
		return broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = d.fail(op, fmt.Errorf("badger panics: %.200v", p))
		}
	}()
	err = fn(d.b)
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	return d.fail(op, err)
}

// view calls fn with one read transaction.
func (d *db) view(op string, fn func(txn *badger.Txn) error) error {
	return d.use(op, func(b *badger.DB) error {
		txn := b.NewTransaction(false)
		defer txn.Discard()
		return fn(txn)
	})
}

// close closes the database and gives up the slot; a second call does nothing. A broken database is removed.
func (d *db) close() error {
	d.write.Lock()
	defer d.write.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.b == nil {
		return nil
	}
	return d.shut(d.broken.Load() == nil)
}

// shut closes Badger, keeps or removes its files, and gives up the slot.
func (d *db) shut(keep bool) error {
	gone := d.slot.gone()
	dir := d.slot.database()
	err := closeBadger(d.b, dir)
	d.b = nil
	if err == nil && gone {
		err = errGone
	}
	if err != nil || !keep {
		err = errors.Join(err, os.RemoveAll(dir))
		d.slot.st = state{Format: format}
	} else {
		err = d.settle()
	}
	if gone {
		// closeBadger may have made directories that somebody wanted away; those in use by others are not empty.
		_ = os.Remove(d.slot.dir)
		_ = os.Remove(filepath.Dir(d.slot.dir))
	} else {
		err = errors.Join(err, d.slot.save(false))
	}
	err = errors.Join(err, d.slot.release())
	if err != nil {
		return fmt.Errorf("close local cache %s: %w", d.slot.dir, err)
	}
	return nil
}

// settle notes that the database was closed cleanly. Badger has synced its files by then.
func (d *db) settle() error {
	m, err := manifest(d.options())
	if err != nil {
		return err
	}
	d.slot.st = state{Format: format, DB: d.slot.st.DB, Tables: len(m.Tables)}
	return nil
}

// drop replaces the database by an empty one and then calls reset, before anybody can read it. It is also the way out of
// BrokenError. If the slot was removed, the next free one is taken.
func (d *db) drop(reset func() error) error {
	d.write.Lock()
	defer d.write.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.b == nil {
		return ErrClosed
	}
	for range 3 {
		// In what state it was is of no interest any more; if it cannot be removed, it is still there below.
		_ = d.shut(false)
		if err := d.open(); err != nil {
			return err
		}
		// Nothing is in buffers just after opening an empty database, so tables tell whether it is one. It is none
		// when the old slot is gone and the next one was filled by another process.
		if len(d.b.Tables()) == 0 {
			return reset()
		}
	}
	return errors.Join(fmt.Errorf("local cache %s cannot be emptied", d.slot.dir), d.shut(false))
}
