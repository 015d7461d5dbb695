package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// valueThreshold is above the longest value that is ever written here (part of a split value, 256 KiB), so that nothing
// goes to Badger's value log, whose garbage would have to be collected.
const valueThreshold = 300 << 10

// badgerOptions: keys are hashes and values too short to compress, so blocks are read straight from the memory map, without
// a block cache. Tables of all levels have the same size, because the arenas they are built in are a multiple of it and are
// not given back; 10 million blobs then are some 750 open files (Go raises the limit to what the system allows). L0 is not compacted at each close: that takes 100 ms and more
// after each backup, and saves lookups a tenth of a microsecond.
func badgerOptions(dir string, magic uint16, memTable int64) badger.Options {
	o := badger.DefaultOptions(dir).
		WithLogger(nil).WithMetricsEnabled(false).
		WithDetectConflicts(false).WithNumVersionsToKeep(1).
		WithCompression(options.None).WithBlockCacheSize(0).
		WithChecksumVerificationMode(options.OnBlockRead). // too cheap to measure
		WithMemTableSize(memTable).WithNumMemtables(2).
		WithBaseTableSize(tableSize).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(1 << 20). // nothing is in it, but it is always there
		WithNumCompactors(2).
		WithBloomFalsePositive(0.01).
		WithSyncWrites(false).
		WithCompactL0OnClose(false).
		WithExternalMagic(magic)
	o.TableSizeMultiplier = 1
	return o
}

// openBadger opens or creates the database. Damage is an error, never a panic: Badger opens tables in goroutines of its own,
// where a panic could not be caught. So each table is opened here first. What Badger has afterwards is not counted: it compacts as soon as it
// is open, and one table of six would look like five that are lost. tables is how many there must be, or -1 when that is not known.
func openBadger(o badger.Options, tables int) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("badger panics: %.200v", p)
		}
	}()
	n, err := probe(o)
	if err != nil {
		return nil, err
	}
	if tables >= 0 && n != tables {
		return nil, fmt.Errorf("it had %d tables when it was closed and has %d now", tables, n)
	}
	return badger.Open(o)
}

// probe opens each table that the manifest names and returns their number.
func probe(o badger.Options) (int, error) {
	m, err := manifest(o)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for id := range m.Tables {
		if err := probeTable(table.NewFilename(id, o.Dir)); err != nil {
			return 0, fmt.Errorf("table %d: %w", id, err)
		}
	}
	return len(m.Tables), nil
}

func manifest(o badger.Options) (badger.Manifest, error) {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if err != nil {
		return badger.Manifest{}, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return badger.Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// probeTable checks the table's own index and its last block, at about 50 µs a table.
func probeTable(name string) (err error) {
	mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("its index is damaged")
		}
		err = errors.Join(err, mf.Close(-1))
	}()
	if len(mf.Data) < 16 {
		return fmt.Errorf("it has only %d bytes", len(mf.Data))
	}
	_, err = table.OpenTable(mf, table.Options{BlockSize: 4096, ChkMode: options.OnBlockRead})
	return err
}

// patience is how long a database is waited for whose directory is gone and cannot be made again.
const patience = 5 * time.Second

// closeBadger closes the database even when its directory was removed. Badger tries for ever to write its last buffer
// into a file of that directory, so the directory is made again meanwhile; its name is random, so it is nobody else's.
// Where that cannot be, Badger's goroutines and buffers are abandoned to the end of the process.
func closeBadger(db *badger.DB, dir string) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("badger panics: %.200v", p)
			}
		}()
		done <- db.Close()
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	good := time.Now()
	for {
		err := os.MkdirAll(dir, 0o700)
		if err == nil {
			good = time.Now()
		}
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		if time.Since(good) > patience {
			return fmt.Errorf("close badger: %w", err)
		}
	}
}
