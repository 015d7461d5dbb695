package prune

import (
	"slices"
	"testing"
)

// An incomplete snapshot lacks a tree when it is marked; a complete one with the same root comes while the collection runs, and so does
// the tree. What was walked for the one does not do for the other.
func TestTornTree(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	first := b.backup(b.open(), files("d", 4)...)
	lost := slices.Concat(b.objects("index/"), b.objects("binaries/"), []string{"snapshots/" + first.ID.String(), "snapshots/" + first.ID.String() + ".ok"})
	second := b.backup(b.open(), files("d", 8)...)
	for _, name := range append(lost, "snapshots/"+second.ID.String()+".ok") {
		b.must(b.mem["/m0"].Delete(t.Context(), name))
	}
	client, done := *b, false
	b.via = (&gate{before: func(op, name string) error {
		if op == "list" && name == "binaries/" && !done { // the snapshots were marked just now
			done = true
			third := client.backup(client.open(), files("d", 8)...)
			if !slices.Equal(third.Content, second.Content) {
				t.Error("the snapshots differ in their roots")
			}
		}
		return nil
	}}).via
	b.prune()
	b.via = nil
	if !done {
		t.Fatal("no backup ran beside the collection")
	}
	b.restore(2)
}
