package recover

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// TestLostSnapshots: all snapshot objects are gone. Each tree that was the root of one is a snapshot again, with everything in it.
func TestLostSnapshots(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		first := b.source()
		b.write("dir1/sub/new", 5000, 77)
		if err := os.Remove(filepath.Join(b.src, "dir2/sub/file1")); err != nil {
			t.Fatal(err)
		}
		b.backup()
		second := b.source()
		b.removeAll("snapshots")

		before := b.objects()
		r, wrong := b.snapshots(b.open(), Options{DryRun: true})
		if r.Recovered != 2 || len(r.Snapshots) != 2 || len(wrong) > 0 || len(r.Parts) > 0 {
			t.Errorf("dry run: %+v, %v", r, wrong)
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("a dry run writes: %s", diff)
		}
		r, wrong = b.snapshots(b.open(), Options{})
		if r.Recovered != 2 || len(wrong) > 0 || len(r.Parts) > 0 || r.TreesLost > 0 {
			t.Errorf("%+v, %v", r, wrong)
		}
		a := b.open()
		list, damaged, err := a.Snapshots(t.Context())
		if err != nil || len(damaged) > 0 || len(list) != 2 {
			t.Fatalf("%v, %v, %v", ids(list), damaged, err)
		}
		for i, want := range []map[string]string{first, second} {
			s := list[i]
			got, failed := b.restore(a, s.Root())
			if diff := cmp.Diff(keys(want), keys(got)); diff != "" || len(failed) > 0 {
				t.Errorf("snapshot %d: %s, failed %v", i, diff, failed)
			}
			for name := range want {
				if want[name] != got[name] {
					t.Errorf("snapshot %d: %s differs", i, name)
				}
			}
			if s.Incomplete || s.Series != Series || !slices.Equal(s.Tags, []string{Series}) || s.Partial || !s.Pinned || len(s.Paths) > 0 ||
				!strings.Contains(s.Description, b.src) || s.Stats[snapshot.StatFilesTotal] != uint64(len(want)) {
				t.Errorf("snapshot %d: %+v", i, s)
			}
			if age := b.now.Sub(s.Start.Time()).Abs(); age > 60e9 {
				t.Errorf("snapshot %d is of %v", i, s.Start.Time())
			}
		}
		// Once more: nothing is found twice.
		if r, _ := b.snapshots(b.open(), Options{}); r.Recovered != 0 || len(r.Snapshots) != 2 {
			t.Errorf("again: %+v", r)
		}
	})
}

// TestSomeSnapshotsLost: only what no snapshot leads to is recovered.
func TestSomeSnapshotsLost(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.fill()
	kept := b.backup()
	b.write("more", 3000, 1)
	lost := b.backup()
	b.write("more", 3000, 2)
	b.backup()
	b.removeAll("snapshots/" + lost.ID.String())
	b.removeAll("snapshots/" + lost.ID.String() + ".ok")
	r, _ := b.snapshots(b.open(), Options{})
	if r.Recovered != 1 || len(r.Snapshots) != 3 || r.Snapshots[0].Snapshot.ID != kept.ID {
		t.Fatalf("%+v", r)
	}
	if s := r.Snapshots[2]; !s.Recovered || !slices.Equal(s.Snapshot.Content, lost.Content) || s.Incomplete > 0 || s.Files != 32 {
		t.Errorf("%+v", s)
	}
	// A damaged object is as good as none.
	name := filepath.Join("snapshots", kept.ID.String())
	for _, dir := range b.dirs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("rotten"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r, _ = b.snapshots(b.open(), Options{}); r.Recovered != 1 || len(r.Damaged) != 1 || !slices.Equal(r.Snapshots[2].Snapshot.Content, kept.Content) {
		t.Errorf("%+v", r)
	}
}

// TestForgotten: what may have been forgotten does not come back unasked; what is condemned is not named again.
func TestForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.fill()
	old := b.backup()
	b.write("more", 3000, 1)
	second := b.backup()
	if _, err := b.open().Forget(t.Context(), []chunk.ID{old.ID}, archive.Record{Program: "test"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, wrong := b.snapshots(b.open(), Options{})
		if r.Recovered != 0 || r.Withheld != 1 || len(r.Snapshots) != 2 || !r.Snapshots[1].Withheld || !slices.Equal(r.Snapshots[1].Snapshot.Content, old.Content) || len(wrong) > 0 {
			t.Errorf("%+v, %v", r, wrong)
		}
	}
	// Condemned packs are garbage: what only they hold is not found, and an index that is made anew does not name them.
	a := b.open()
	condemned := archive.Record{Snapshots: []chunk.ID{second.ID}, Program: "test"}
	for id, err := range a.Packs(t.Context(), "binaries/") {
		if err != nil {
			t.Fatal(err)
		}
		condemned.Packs = append(condemned.Packs, id)
	}
	if err := a.PublishRecord(t.Context(), &condemned, true); err != nil {
		t.Fatal(err)
	}
	b.backup() // stores all anew
	b.removeAll("index")
	found, err := Index(t.Context(), b.open(), archive.RebuildOptions{})
	if err != nil || len(found.Damaged) > 0 || found.Packs != 2 {
		t.Errorf("%+v, %v", found, err)
	}
	r, wrong := b.snapshots(b.open(), Options{})
	if r.Recovered+r.Withheld != 0 || len(r.Snapshots) != 1 || r.TreesLost > 0 || len(wrong) > 0 {
		t.Errorf("%+v, %v", r, wrong)
	}
}

// TestInterrupted: a backup that was cut off leaves directories without a root. They are parts, and can be restored.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.fill()
	b.backup()
	a := b.open()
	w, err := a.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := w.Save(t.Context(), chunk.Data, []byte("half a backup"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"one", "two"} {
		nodes := []snapshot.Node{{Name: dir, Type: snapshot.File, Size: 13, Content: []chunk.ID{data.ID}}}
		_, _, err := snapshot.SaveTree(t.Context(), nodes, func(ctx context.Context, plain []byte) (chunk.ID, error) {
			s, err := w.Save(ctx, chunk.Tree, plain)
			return s.ID, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	a = b.open()
	r, _ := b.snapshots(a, Options{})
	if r.Recovered != 0 || len(r.Parts) != 2 {
		t.Fatalf("%+v", r)
	}
	for _, p := range r.Parts {
		files, failed := b.restore(a, p.Root())
		if len(files) != 1 || files["/"+p.Names[0]] != "half a backup" || len(failed) > 0 || p.Files != 1 || p.Bytes != 13 || p.Incomplete != 0 {
			t.Errorf("%+v: %v, %v", p, files, failed)
		}
	}
}

// TestLargeRoot: a root of several pieces is put together again.
func TestLargeRoot(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	w, err := a.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var nodes []snapshot.Node
	for i := range 30_000 {
		nodes = append(nodes, snapshot.Node{Name: filepath.Base(chunk.Sum([]byte{byte(i), byte(i >> 8)}).String()), Type: snapshot.Fifo, Ctime: snapshot.Time{Sec: int64(i)}})
	}
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	s := &snapshot.Snapshot{Series: "large"}
	s.Content, s.Depth, err = snapshot.SaveTree(t.Context(), nodes, func(ctx context.Context, plain []byte) (chunk.ID, error) {
		saved, err := w.Save(ctx, chunk.Tree, plain)
		return saved.ID, err
	})
	if err != nil || len(s.Content) < 5 {
		t.Fatalf("%d pieces, %v", len(s.Content), err)
	}
	if _, err := w.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b.removeAll("snapshots")
	r, _ := b.snapshots(b.open(), Options{})
	if r.Recovered != 1 || !slices.Equal(r.Snapshots[0].Snapshot.Content, s.Content) || r.Snapshots[0].Snapshot.Start.Sec != 29_999 {
		t.Errorf("%+v", r)
	}
}

// TestNeedsKeys: nothing is done without a key that can read.
func TestNeedsKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a, err := archive.Open(t.Context(), b.members(), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Snapshots(t.Context(), a, Options{}); err == nil {
		t.Error("no key, no error")
	}
	if _, err := Index(t.Context(), a, archive.RebuildOptions{}); err == nil {
		t.Error("no key, no error")
	}
}

func keys(m map[string]string) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
