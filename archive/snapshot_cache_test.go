package archive

import (
	"os"
	"path/filepath"
	"testing"

	"cairn/remote/fault"
)

// TestSnapshotCache: snapshots that were read once are not read again, unless the cache is damaged, and those that are gone from
// the archive are not listed.
func TestSnapshotCache(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := t.TempDir()
	for i := range 3 {
		b.save(b.openWith(b.inDir(dir)), blobs(byte(i), 2, 500)...)
	}
	gets := func() int {
		t.Helper()
		a := b.openWith(b.inDir(dir))
		before := b.stores[0].Count(fault.Get)
		list, damaged, err := a.Snapshots(t.Context())
		if err != nil || len(damaged) > 0 || len(list) != len(b.names(snapshotPrefix))/2 {
			t.Errorf("%d snapshots, %v, %v", len(list), damaged, err)
		}
		return b.stores[0].Count(fault.Get) - before
	}
	if n := gets(); n != 3 {
		t.Errorf("first: %d reads", n)
	}
	if n := gets(); n != 0 {
		t.Errorf("second: %d reads", n)
	}
	cached, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
	if err != nil || len(cached) != 3 {
		t.Fatalf("%v, %v", cached, err)
	}
	if err := os.WriteFile(cached[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := gets(); n != 1 {
		t.Errorf("damaged: %d reads", n)
	}
	gone := filepath.Base(cached[1])
	remove(t, b.mem[0], snapshotPrefix+gone+markSuffix)
	remove(t, b.mem[0], snapshotPrefix+gone)
	if n := gets(); n != 0 {
		t.Errorf("one gone: %d reads", n)
	}
	if _, err := os.Stat(cached[1]); err == nil {
		t.Error("what is gone from the archive stays in the cache")
	}
}
