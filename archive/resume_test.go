package archive

import (
	"slices"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// TestLeftovers: what a killed upload left of a pack, on fewer than k members, is removed by the next session, but only if all
// members say what they have and nothing names the pack.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		away  bool // a member, when the next session begins
		named bool // by a segment that another machine published
		kept  bool
	}{
		"nobody knows it":  {},
		"a member is away": {away: true, kept: true},
		"named":            {named: true, kept: true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 2, 1)
			dir := t.TempDir()
			b.kill(b.openWith(b.inDir(dir)), blobs(1, 20, 3000))
			var packs []pack.ID
			for _, name := range b.names(packPrefix) {
				id, _, _ := pack.ParseName(name)
				packs = append(packs, id)
			}
			if c.named { // while they are whole
				if _, err := b.open().RebuildIndex(t.Context(), RebuildOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range packs {
				remove(t, b.shard(id, 1), id.Name(chunk.Data))
				remove(t, b.shard(id, 2), id.Name(chunk.Data))
			}
			next := b
			if c.away {
				next = b.without(1)
			}
			next.writer(next.openWith(b.inDir(dir)))
			left := b.names(packPrefix)
			if c.kept != (len(left) == len(packs)) || !c.kept && len(left) > 0 {
				t.Errorf("of %d packs %d are left: %v", len(packs), len(left), left)
			}
		})
	}
}

// TestSegmentLeftovers: an index pack that was being stored when its session died is removed if too few members have it.
func TestSegmentLeftovers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	dir := t.TempDir()
	w := b.writer(b.openWith(b.inDir(dir)))
	for _, p := range blobs(1, 20, 3000) {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, _, _ := pack.ParseName(b.names(indexPrefix)[0])
	w.journal.segment(id) // as if it had died before its answer came
	w.Kill()
	for _, j := range []int{0, 2} {
		remove(t, b.shard(id, j), id.Name(chunk.Index))
	}
	next := b.writer(b.openWith(b.inDir(dir)))
	if slices.Contains(b.names(indexPrefix), id.Name(chunk.Index)) {
		t.Error("one shard of a segment is left")
	}
	if err := next.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if names := left(t, dir); len(names) > 0 {
		t.Errorf("journals are left: %v", names)
	}
}
