package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// filesMagic is in the manifest of a stat cache: 'F' and the format.
const filesMagic = 'F'<<8 | format

const (
	// partSize is the longest value that is kept whole. Longer ones are split, since a Badger transaction takes at most
	// 307 KiB (15 % of its buffer).
	partSize = 256 << 10
	// MaxValue is the longest value that a stat cache keeps.
	MaxValue = 16 << 20
	// MaxKey is the longest key of a stat cache; Badger's own limit is 65000.
	MaxKey = 32 << 10
	// pendingBytes is how much Put collects before it writes.
	pendingBytes = 256 << 10
)

// Keys and values of the stat cache. Cache format: raise `format` when anything here changes.
//
//	'v' key                                → 0 ‖ value                                  up to partSize
//	'v' key                                → 1 ‖ length u32 ‖ CRC-32C of the value u32   longer
//	'w' SHA-256(key)[:16] part(2, from 0)  → 256 KiB of the value, the last part less
const (
	prefixValue = 'v'
	prefixPart  = 'w'
	whole       = 0
	split       = 1
	splitSize   = 9
)

// Files is the stat cache of one series: what the last backup saw below a key, usually a directory. It may lose anything at
// any time, so whoever reads it must be able to do without. All methods may be called at once.
type Files struct {
	d *db

	// Guarded by d.write. Badger writes what it is given in one go faster than piece by piece.
	pending map[string][]byte
	size    int
}

// OpenFiles opens the stat cache in dir (<cache>/<archive id>/files/<hash of series>) or makes an empty one. ErrBusy means
// that another process is backing up the same series; any error means: go without. A cache that is damaged or larger than
// o.Limit is made anew, which o.Notice is told.
func OpenFiles(dir string, o Options) (*Files, error) {
	d := &db{dirs: []string{dir}, magic: filesMagic, o: o.applyDefaults()}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open stat cache: %w", err)
	}
	f := &Files{d: d, pending: make(map[string][]byte)}
	if n := diskUsage(dir); n > d.o.Limit {
		d.o.Notice(fmt.Sprintf("stat cache %s is made anew: it takes %d bytes", dir, n))
		if err := d.drop(func() error { return nil }); err != nil {
			return nil, fmt.Errorf("open stat cache: %w", err)
		}
	}
	return f, nil
}

// RemoveFiles removes the stat cache in dir, also when it is in use.
func RemoveFiles(dir string) error { return os.RemoveAll(dir) }

// Get returns the value put last before the last Flush, as a copy, or false. Values put since may be found or not.
func (f *Files) Get(key []byte) (value []byte, ok bool, err error) {
	err = f.d.view("read", func(txn *badger.Txn) error {
		var head []byte
		ok, err = get(txn, valueKey(key), func(v []byte) error { head = bytes.Clone(v); return nil })
		if err != nil || !ok {
			return err
		}
		value, ok, err = join(txn, key, head)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return value, ok, nil
}

// join completes what lies under the key itself. Parts that are missing or from another Put, as a crash may leave them,
// mean that there is no value.
func join(txn *badger.Txn, key, head []byte) ([]byte, bool, error) {
	if len(head) > 0 && head[0] == whole {
		return head[1:], true, nil
	}
	if len(head) != splitSize || head[0] != split {
		return nil, false, errRecord
	}
	size, sum := binary.LittleEndian.Uint32(head[1:]), binary.LittleEndian.Uint32(head[5:])
	if size > MaxValue {
		return nil, false, errRecord
	}
	value := make([]byte, 0, size)
	for i := 0; len(value) < int(size); i++ {
		before := len(value)
		ok, err := get(txn, partKey(key, i), func(v []byte) error { value = append(value, v...); return nil })
		if err != nil || !ok || len(value) == before {
			return nil, false, err
		}
	}
	if len(value) != int(size) || crc32.Checksum(value, castagnoli()) != sum {
		return nil, false, nil
	}
	return value, true, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func valueKey(key []byte) []byte { return append([]byte{prefixValue}, key...) }

func partKey(key []byte, i int) []byte {
	h := sha256.Sum256(key)
	return binary.BigEndian.AppendUint16(append([]byte{prefixPart}, h[:16]...), uint16(i))
}

// Put keeps a copy of the value under the key and writes it sooner or later, at Flush at the latest. A value longer than
// MaxValue is not kept, and none is found under its key afterwards.
func (f *Files) Put(key, value []byte) error {
	if len(key) > MaxKey {
		return fmt.Errorf("stat cache: key of %d bytes, at most %d", len(key), MaxKey)
	}
	f.d.write.Lock()
	defer f.d.write.Unlock()
	if f.d.b == nil {
		return ErrClosed
	}
	if len(value) > MaxValue {
		value = nil
	} else {
		value = append(make([]byte, 0, len(value)), value...)
	}
	f.size += len(key) + len(value)
	f.pending[string(key)] = value
	if f.size < pendingBytes {
		return nil
	}
	return f.flush()
}

// Flush writes what was put. It does not sync; after a power cut the cache is made anew.
func (f *Files) Flush() error {
	f.d.write.Lock()
	defer f.d.write.Unlock()
	return f.flush()
}

// flush forgets what it could not write: the next backup will miss it, and memory stays bounded.
func (f *Files) flush() error {
	w := batch{d: f.d}
	defer w.discard()
	defer func() {
		clear(f.pending)
		f.size = 0
	}()
	for key, value := range f.pending {
		if err := put(&w, []byte(key), value); err != nil {
			return err
		}
	}
	return w.flush()
}

// put writes one value; nil stands for none.
func put(w *batch, key, value []byte) error {
	switch {
	case value == nil:
		return w.remove(valueKey(key))
	case len(value) <= partSize:
		return w.set(valueKey(key), append([]byte{whole}, value...))
	}
	head := binary.LittleEndian.AppendUint32([]byte{split}, uint32(len(value)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(value, castagnoli()))
	if err := w.set(valueKey(key), head); err != nil {
		return err
	}
	for i := 0; len(value) > 0; i++ {
		n := min(len(value), partSize)
		if err := w.set(partKey(key, i), value[:n]); err != nil {
			return err
		}
		value = value[n:]
	}
	return nil
}

// Close flushes and closes. The cache is closed whatever it returns; a second call does nothing.
func (f *Files) Close() error {
	f.d.write.Lock()
	var err error
	if f.d.b != nil {
		err = f.flush()
	}
	f.d.write.Unlock()
	if closed := f.d.close(); closed != nil {
		return closed
	}
	return err
}
