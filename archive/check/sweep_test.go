package check

import (
	"testing"

	"cairn/archive"
	"cairn/pack"
)

// TestSweep: a sweep finds what the walker would find, and leaves nothing behind when it does.
func TestSweep(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	s := b.backup(map[string]byte{"a/1": 1, "b/2": 2, "c/3": 3}, 4000)
	c := newChecker(b.open(), Options{})
	c.packs = map[archive.PackName]*packState{}
	if _, err := c.run(t.Context(), c.readRecords, c.segments); err != nil {
		t.Fatal(err)
	}
	w := &walker{c: c, seen: map[treeKey]int32{}}
	if whole, err := w.sweep(t.Context(), s.Content, s.Depth); !whole || err != nil || len(w.seen) < 3 {
		t.Fatalf("%v, %v, %d directories", whole, err, len(w.seen))
	}
	known := len(w.seen)
	root := keyOf(s.Content, s.Depth)
	delete(w.seen, root)
	w.seen[treeKey{depth: 7}] = clean
	if whole, err := w.sweep(t.Context(), s.Content, s.Depth); !whole || err != nil || len(w.seen) != known+1 || w.seen[root] != 2 {
		t.Errorf("%v, %v, %d directories", whole, err, len(w.seen))
	}
	var all []blobKey
	for _, name := range b.objects(0, "index/") {
		id, _, _ := pack.ParseName(name)
		columns, err := c.a.ReadSegment(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, column := range columns {
			for _, e := range column.Entries {
				all = append(all, blobKey{column.Kind, e.ID})
			}
		}
	}
	if len(all) < 7 {
		t.Fatalf("%d blobs", len(all))
	}
	for _, key := range all {
		c.bad = map[blobKey]badBlob{key: {text: "rotten"}}
		fresh := &walker{c: c, seen: map[treeKey]int32{{depth: 7}: unclean}}
		if whole, err := fresh.sweep(t.Context(), s.Content, s.Depth); whole || err != nil || len(fresh.seen) != 1 {
			t.Errorf("%s blob %s is bad: %v, %v, %d directories", key.t, key.id.Short(), whole, err, len(fresh.seen))
		}
	}
	c.bad = nil
	b.condemn(b.packs(0)...)
	if err := c.a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if whole, err := (&walker{c: c, seen: map[treeKey]int32{}}).sweep(t.Context(), s.Content, s.Depth); whole || err != nil {
		t.Errorf("all packs are condemned: %v, %v", whole, err)
	}
}
