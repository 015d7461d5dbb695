package recover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/index"
	"cairn/pack"
	"cairn/remote/stripe"
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

// tops are the directories of made.
var tops = []string{"etc", "home", "opt", "srv", "usr", "var"}

// made makes a snapshot of six directories with five files each, without the way that leads to a real one: of a tree of many levels
// little can be reached when half of it is lost. Files have up to nine chunks, and some have holes.
func (b *bench) made(seed byte) (*snapshot.Snapshot, map[string]string) {
	b.t.Helper()
	a := b.open()
	defer a.Close()
	w, err := a.NewWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	save := func(t chunk.Type) snapshot.SaveFunc {
		return func(ctx context.Context, plain []byte) (chunk.ID, error) {
			s, err := w.Save(ctx, t, plain)
			return s.ID, err
		}
	}
	want := map[string]string{}
	rng := rand.NewChaCha8([32]byte{seed, 9})
	var top []snapshot.Node
	for d, dir := range tops {
		var nodes []snapshot.Node
		for f := range 5 {
			n := snapshot.Node{Name: fmt.Sprintf("file%d", f), Type: snapshot.File, Mode: 0o600}
			var data []byte
			for c := range 1 + (d+1)*f%9 {
				plain := make([]byte, 3000+10*d+f)
				rng.Read(plain)
				id, err := save(chunk.Data)(b.t.Context(), plain)
				if err != nil {
					b.t.Fatal(err)
				}
				n.Content = append(n.Content, id)
				if d%2 == 0 && c%2 == 1 {
					n.Holes = append(n.Holes, snapshot.Range{Offset: uint64(len(data)), Length: 5000})
					data = append(data, make([]byte, 5000)...)
				}
				data = append(data, plain...)
			}
			n.Size = uint64(len(data))
			nodes = append(nodes, n)
			want["/"+dir+"/"+n.Name] = string(data)
		}
		n := snapshot.Node{Name: dir, Type: snapshot.Dir, Mode: 0o700}
		if n.Content, n.Depth, err = snapshot.SaveTree(b.t.Context(), nodes, save(chunk.Tree)); err != nil {
			b.t.Fatal(err)
		}
		top = append(top, n)
	}
	s := &snapshot.Snapshot{Series: "made", Start: snapshot.Time{Sec: int64(seed)}}
	if s.Content, s.Depth, err = snapshot.SaveTree(b.t.Context(), top, save(chunk.Tree)); err != nil {
		b.t.Fatal(err)
	}
	if _, err := w.Commit(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	return s, want
}

// survived chooses the loss of more members than parity makes good that leaves the most data columns.
func (b *bench) survived() (lost []int) {
	b.t.Helper()
	most := -1
	for _, lose := range b.combinations() {
		left := 0
		for i, dir := range b.dirs {
			for name := range b.tree(dir + "/binaries") {
				id, _, ok := pack.ParseName("binaries" + name)
				if !slices.Contains(lose, i) && ok && pack.ShardOn(id, i, b.k+b.m) < b.k {
					left++
				}
			}
		}
		if left > most {
			most, lost = left, lose
		}
	}
	return lost
}

// combinations of more members than parity makes good.
func (b *bench) combinations() [][]int {
	var all [][]int
	for mask := range 1 << (b.k + b.m) {
		var list []int
		for i := range b.k + b.m {
			if mask&(1<<i) != 0 {
				list = append(list, i)
			}
		}
		if len(list) == b.m+1 {
			all = append(all, list)
		}
	}
	return all
}

// TestTooFewMembers: more than m members are gone, any of them. What their columns held is lost, all else is restored; and that
// is told exactly, by a machine that knew the index and by one that knows nothing.
func TestTooFewMembers(t *testing.T) {
	t.Parallel()
	var whole, cut, parts atomic.Int64
	t.Run("lose", func(t *testing.T) { each(t, func(t *testing.T, b *bench) { b.tooFew(&whole, &cut, &parts) }) })
	if whole.Load() == 0 || cut.Load() == 0 || parts.Load() == 0 {
		t.Errorf("%d files whole, %d incomplete, %d in parts: that proves nothing", whole.Load(), cut.Load(), parts.Load())
	}
}

func (b *bench) tooFew(whole, cut, parts *atomic.Int64) {
	t := b.t
	known := index.NewMap()
	b.idx = keep{known}
	var want []map[string]string
	for seed := range 2 {
		_, files := b.made(byte(seed))
		want = append(want, files)
	}
	if _, err := b.open().Index(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.objects()
	for i, lose := range b.combinations() {
		b.lose(lose...)
		b.salvage = false
		b.idx = nil
		if _, err := b.open().Index(t.Context()); !errors.Is(err, stripe.ErrTooFew) {
			t.Errorf("the index without salvage: %v", err)
		}
		b.salvage = true
		knows := i%2 == 0
		b.idx = nil
		if knows {
			b.idx = keep{known}
		}
		a := b.open()
		r, wrong := b.snapshots(a, Options{DryRun: true})
		if len(r.Snapshots) != 2 || r.Recovered != 0 {
			t.Fatalf("%+v", r)
		}
		for _, i := range wrong {
			if knows && !i.Dir && !i.Exact {
				t.Errorf("%+v: the index knows all lengths", i)
			}
			if !i.Dir {
				cut.Add(1)
			}
		}
		for n := range want {
			s := &r.Snapshots[n]
			got, failed := b.restore(a, s.Snapshot.Root())
			b.expect(got, failed, s, wrong, want[n])
			whole.Add(int64(len(got)))
		}
		for _, p := range r.Parts { // what is below a lost root
			got, failed := b.restore(a, p.Root())
			if len(got)+len(failed) != 5 || int(p.Incomplete) != len(failed) {
				t.Errorf("%+v gives %v, %v", p, keys(got), failed)
			}
			for name, data := range got {
				if !slices.ContainsFunc(want, func(w map[string]string) bool {
					return slices.ContainsFunc(tops, func(dir string) bool { return w["/"+dir+name] == data })
				}) {
					t.Errorf("%s came back with content that it never had", name)
				}
			}
			parts.Add(int64(len(got)))
		}
		b.bring(lose...)
	}
	if diff := cmp.Diff(before, b.objects()); diff != "" {
		t.Errorf("something was written: %s", diff)
	}
}

// TestLostData: all members are there, but more shards of the data packs are gone, or cut off, than parity makes good.
func TestLostData(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		_, want := b.made(1)
		for n, damage := range []func(name string) error{
			func(name string) error { return os.Truncate(name, pack.HeaderSize+20_000) },
			os.Remove,
		} {
			for i, dir := range b.dirs {
				for name, data := range b.tree(dir) {
					h, err := pack.ParseHeader([]byte(data)[:min(len(data), pack.HeaderSize)])
					if err != nil || h.Kind != chunk.Data || h.Shard > 0 && h.Shard < b.k { // one data column and all parity
						continue
					}
					if err := damage(dir + name); err != nil {
						t.Fatalf("member %d: %v", i, err)
					}
				}
			}
			a := b.open()
			r, wrong := b.snapshots(a, Options{})
			if len(r.Snapshots) != 1 || r.Recovered != 0 || r.TreesLost > 0 {
				t.Fatalf("%+v", r)
			}
			got, failed := b.restore(a, r.Snapshots[0].Snapshot.Root())
			b.expect(got, failed, &r.Snapshots[0], wrong, want)
			if len(got) == 0 || n > 0 && len(wrong) == 0 {
				t.Errorf("%d files whole, %d incomplete: that proves nothing", len(got), len(wrong))
			}
			for _, i := range wrong {
				if !i.Exact || i.Dir {
					t.Errorf("%+v", i)
				}
			}
		}
	})
}

// TestSnapshotsOfTooFew: snapshot objects and too many members are gone. A root that survives is a snapshot again, marked as partial
// when something of it is lost; without one, what was below it is found as parts.
func TestSnapshotsOfTooFew(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		_, want := b.made(1)
		b.removeAll("snapshots")
		b.salvage = true
		var rooted []int
		for _, lose := range b.combinations() {
			b.lose(lose...)
			a := b.open()
			r, wrong := b.snapshots(a, Options{DryRun: true})
			for i := range r.Snapshots {
				got, failed := b.restore(a, r.Snapshots[i].Snapshot.Root())
				b.expect(got, failed, &r.Snapshots[i], wrong, want)
				rooted = lose
			}
			b.bring(lose...)
		}
		if rooted == nil {
			t.Skip("in this run the root is in no column that survives the loss of its pack")
		}
		b.lose(rooted...)
		a := b.open()
		r, wrong := b.snapshots(a, Options{})
		if r.Recovered != 1 || len(r.Snapshots) != 1 {
			t.Fatalf("%+v", r)
		}
		list, _, err := a.Snapshots(t.Context())
		if err != nil || len(list) != 1 || list[0].ID != r.Snapshots[0].Snapshot.ID {
			t.Fatalf("%v, %v", ids(list), err)
		}
		if s := list[0]; !s.Partial || len(s.Errors) != len(wrong) || s.Incomplete || len(wrong) == 0 {
			t.Errorf("%+v, %v", s, wrong)
		}
		if again, _ := b.snapshots(b.open(), Options{}); again.Recovered != 0 || len(again.Snapshots) != 1 {
			t.Errorf("again: %+v", again)
		}
		b.bring(rooted...)
		b.salvage = false
		a = b.open()
		got, failed := b.restore(a, list[0].Root())
		if diff := cmp.Diff(want, got); diff != "" || len(failed) > 0 {
			t.Errorf("with all members the snapshot does not give everything: failed %v", failed)
		}
	})
}
