package index

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestBadgerRefusesDamage: Badger itself refuses a table with a wrong checksum. It also has a way to leave such a table out and say so in its log
// only; if a new version took that way, openBadger would have to look.
func TestBadgerRefusesDamage(t *testing.T) {
	t.Parallel()
	o := badgerOptions(t.TempDir(), 1, 4<<20)
	db, err := badger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := db.Update(func(tx *badger.Txn) error { return tx.Set(fmt.Appendf(nil, "key %d", i), []byte("value")) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v %v", tables, err)
	}
	content, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-40] ^= 1 // of the table's own index, whose checksum is at the end
	if err := os.WriteFile(tables[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err := badger.Open(o); err == nil {
		t.Errorf("a damaged table is taken for well: %d tables", len(db.Tables()))
		_ = db.Close()
	}
}
