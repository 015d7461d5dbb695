package recover

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/index"
	"cairn/snapshot"
)

// lostMembers are one more than the parity makes good.
func (b *bench) lostMembers() []int {
	var list []int
	for i := range b.m + 1 {
		list = append(list, i*(b.k+b.m)/(b.m+1))
	}
	return list
}

// expect compares what Snapshots said of one snapshot with what a restore of it gives.
func (b *bench) expect(got map[string]string, failed []string, s *State, wrong []*Incomplete, want map[string]string) {
	b.t.Helper()
	bad := map[string]*Incomplete{}
	for _, i := range wrong {
		if i.Snapshot == s.Snapshot.ID {
			bad[i.Path] = i
		}
	}
	lost := func(name string) bool { // it, or a directory above it
		for path, i := range bad {
			if path == name || i.Dir && (path == "/" || strings.HasPrefix(name, path+"/")) {
				return true
			}
		}
		return false
	}
	known, missing := uint32(0), uint64(0)
	for name, data := range want {
		have, there := got[name]
		i := bad[name]
		switch {
		case i != nil && !i.Dir:
			known++
			missing += i.Missing
			if there || !slices.Contains(failed, name) {
				b.t.Errorf("%s is said to be incomplete and was restored", name)
			}
			if i.Size != uint64(len(data)) || i.Missing == 0 || i.Missing > i.Size || len(i.Ranges) == 0 || i.Ranges[len(i.Ranges)-1].Offset+i.Ranges[len(i.Ranges)-1].Length > i.Size {
				b.t.Errorf("%+v of %d bytes", i, len(data))
			}
			sum := uint64(0)
			for _, r := range i.Ranges {
				sum += r.Length
			}
			if i.Exact && sum != i.Missing || sum < i.Missing {
				b.t.Errorf("%+v: the ranges have %d bytes", i, sum)
			}
		case there:
			known++
			if have != data {
				b.t.Errorf("%s differs", name)
			}
		case !lost(name):
			b.t.Errorf("%s is not said to be lost and was not restored", name)
		}
	}
	if s.Files != known || s.Missing != missing || int(s.Incomplete) != len(bad) {
		b.t.Errorf("%+v; %d files are known, %d incomplete, %d bytes missing", s, known, len(bad), missing)
	}
}

// TestTooFewMembers: more than m members are gone. What their columns held is lost, all else is restored; and that
// is told exactly, by a machine that knew the index and by one that knows nothing.
func TestTooFewMembers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.idx = keep{index.NewMap()}
		b.backup()
		first := b.source()
		for i := range 8 {
			b.write(fmt.Sprintf("dir%d/later", i), 20_000, byte(100+i))
		}
		b.backup()
		second := b.source()
		b.lose(b.lostMembers()...)
		if _, err := b.open().Index(t.Context()); b.idx == nil && err == nil {
			t.Error("the index can be read without salvage")
		}
		b.salvage = true
		before := b.objects()
		for _, knows := range []bool{true, false} {
			if !knows {
				b.idx = nil
			}
			a := b.open()
			r, wrong := b.snapshots(a, Options{DryRun: true})
			if len(r.Snapshots) != 2 || r.Recovered != 0 {
				t.Fatalf("%+v", r)
			}
			if knows {
				for _, i := range wrong {
					if !i.Dir && !i.Exact {
						t.Errorf("%+v: the index knows all lengths", i)
					}
				}
			}
			for n, want := range []map[string]string{first, second} {
				s := &r.Snapshots[n]
				got, failed := b.restore(a, s.Snapshot.Root())
				b.expect(got, failed, s, wrong, want)
				t.Logf("snapshot %d, index known %v: %d of %d files restored, %d entries incomplete", n, knows, len(got), len(want), s.Incomplete)
			}
			// What is below a lost directory is found as a part.
			for _, p := range r.Parts {
				got, failed := b.restore(a, p.Root())
				if len(got)+len(failed) == 0 && p.Dirs == 0 || int(p.Files) < len(got) {
					t.Errorf("%+v gives %v, %v", p, keys(got), failed)
				}
			}
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("something was written: %s", diff)
		}
	})
}

// keep is an index that outlives the archive that closes it.
type keep struct{ *index.Map }

func (keep) Close() error { return nil }

// TestIndexOfTooFew: what is salvaged stays on this machine, and is forgotten when the members are back.
func TestIndexOfTooFew(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		b.lose(b.lostMembers()...)
		before := b.objects()
		b.salvage = true
		b.idx = keep{index.NewMap()}
		r, err := Index(t.Context(), b.open(), true)
		if err != nil || !r.Local || r.Packs == 0 || r.Published == 0 {
			t.Fatalf("dry run: %+v, %v", r, err)
		}
		dry := r.Blobs
		if n := count(t, b.idx.(keep).Map); n != 0 {
			t.Errorf("a dry run applies %d blobs", n)
		}
		r, err = Index(t.Context(), b.open(), false)
		if err != nil || !r.Local || r.Blobs != dry || len(r.Damaged) > 0 || r.Members != b.k-1 {
			t.Fatalf("%+v, %v", r, err)
		}
		salvaged := count(t, b.idx.(keep).Map)
		if salvaged < dry {
			t.Errorf("%d blobs were found, the index has %d", r.Blobs, salvaged)
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("something was written: %s", diff)
		}
		// The next salvage uses it as it is; a backup after the members came back must not.
		a := b.open()
		if _, err := a.Index(t.Context()); err != nil || count(t, b.idx.(keep).Map) != salvaged {
			t.Errorf("%d of %d blobs, %v", count(t, b.idx.(keep).Map), salvaged, err)
		}
		b.bring(b.lostMembers()...)
		b.salvage = false
		a = b.open()
		if _, err := a.Index(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := index.NewMap()
		b.idx = keep{fresh}
		if _, err := b.open().Index(t.Context()); err != nil || count(t, fresh) <= salvaged-1 {
			t.Errorf("%d blobs, %d were salvaged, %v", count(t, fresh), salvaged, err)
		}
		b.whole()
	})
}

func count(t *testing.T, m *index.Map) int {
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return int(s.Data + s.Tree)
}

// TestIndexLost: all index packs are gone, or more of their shards than parity makes good.
func TestIndexLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		b.removeAll("index")
		r, err := Index(t.Context(), b.open(), true)
		if err != nil || r.Local || r.Packs == 0 || r.Published == 0 || len(b.objects()) != len(b.objects()) {
			t.Fatalf("dry run: %+v, %v", r, err)
		}
		if _, err := os.Stat(b.dirs[0] + "/index"); err == nil {
			t.Error("a dry run writes")
		}
		if r, err = Index(t.Context(), b.open(), false); err != nil || r.Local || r.Published == 0 || r.Weak > 0 || len(r.Damaged) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		b.whole()
		if r, err = Index(t.Context(), b.open(), false); err != nil || r.Packs > 0 || r.Segments == 0 {
			t.Errorf("again: %+v, %v", r, err)
		}
		// With m members away it goes as well.
		b.removeAll("index")
		b.lose(b.lostMembers()[1:]...)
		if r, err = Index(t.Context(), b.open(), false); err != nil || r.Local || r.Published == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		b.bring(b.lostMembers()[1:]...)
		b.whole()
		b.removeAll("index", b.lostMembers()...)
		if r, err = Index(t.Context(), b.open(), false); err != nil || r.Published == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		b.whole()
	})
}

// TestSnapshotsOfTooFew: snapshot objects and too many members are gone. A root that survives is a snapshot again, marked as partial;
// without one, what is below it is found as parts.
func TestSnapshotsOfTooFew(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		want := b.source()
		b.removeAll("snapshots")
		b.lose(b.lostMembers()...)
		b.salvage = true
		a := b.open()
		r, wrong := b.snapshots(a, Options{})
		files := map[string]bool{} // by content
		roots := []snapshot.Root{}
		for i := range r.Snapshots {
			s := &r.Snapshots[i]
			if !s.Recovered || s.Incomplete > 0 != s.Snapshot.Partial || s.Incomplete > 0 != (len(s.Snapshot.Errors) > 0) {
				t.Errorf("%+v", s)
			}
			got, failed := b.restore(a, s.Snapshot.Root())
			b.expect(got, failed, s, wrong, want)
			roots = append(roots, s.Snapshot.Root())
		}
		for _, p := range r.Parts {
			roots = append(roots, p.Root())
		}
		for _, root := range roots {
			got, _ := b.restore(a, root)
			for _, data := range got {
				files[data] = true
			}
		}
		for data := range files {
			if !slices.Contains(values(want), data) {
				t.Error("something came back that never was")
			}
		}
		t.Logf("%d snapshots, %d parts, %d of %d files", len(r.Snapshots), len(r.Parts), len(files), len(want))
		if len(roots) == 0 {
			t.Error("nothing at all was found")
		}
	})
}

func values(m map[string]string) []string {
	var list []string
	for _, v := range m {
		list = append(list, v)
	}
	return list
}
