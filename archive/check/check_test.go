package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

// three makes an archive with three snapshots.
func three(t testing.TB, k, m int) *bench {
	b := newBench(t, k, m)
	b.backup(map[string]byte{"a/1": 1, "a/2": 2, "b/3": 3}, 4000)
	b.backup(map[string]byte{"a/1": 1, "a/2": 4, "b/3": 3}, 4000)
	b.backup(map[string]byte{"a/1": 1, "c/5": 5}, 4000)
	return b
}

func (r *Report) naming(object string) *Damage {
	for i, d := range r.Damages {
		if d.Object == object {
			return &r.Damages[i]
		}
	}
	return nil
}

func (r *Report) paths() []string {
	var list []string
	for _, d := range r.Damages {
		if d.Path != "" {
			list = append(list, d.Snapshot.Short()+":"+d.Path)
		}
	}
	return list
}

func TestClean(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}, {4, 2}} {
		b := three(t, g[0], g[1])
		for _, o := range []Options{{}, {ReadData: true, Progress: &Progress{}}} {
			r := b.check(o)
			if r.Damaged+len(r.Notes)+r.Unreferenced > 0 || r.Snapshots != 3 || r.Segments != 3 || r.Packs != 6 || r.Trees < 5 || r.Blobs < 12 {
				t.Errorf("%d+%d: %+v", g[0], g[1], r)
			}
			if o.ReadData && (r.PacksRead != 6 || r.BytesRead == 0 || o.Progress.Bytes.Load() != o.Progress.TotalBytes.Load() || o.Progress.Packs.Load() != o.Progress.TotalPacks.Load()) {
				t.Errorf("%d+%d: %+v, %d of %d bytes", g[0], g[1], r, o.Progress.Bytes.Load(), o.Progress.TotalBytes.Load())
			}
		}
	}
}

// TestAffected names exactly the files that need a blob, in each snapshot that has them.
func TestAffected(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	one := b.backup(map[string]byte{"a/1": 1, "a/2": 2}, 40_000)
	two := b.backup(map[string]byte{"a/1": 1, "a/3": 3}, 40_000)
	a := b.open()
	id := nodeBlob(t, a, one.Content, "a", "1")
	var at pack.Location
	idx, err := a.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	locs := make([]pack.Location, 1)
	if err := idx.Lookup(chunk.Data, []chunk.ID{id}, locs); err != nil {
		t.Fatal(err)
	}
	at = locs[0]
	name := at.Pack.Name(chunk.Data)
	data := b.read(0, name)
	data[pack.HeaderSize+int(at.Offset)+int(at.Stored)-1] ^= 1
	b.put(0, name, data)
	want := []string{one.ID.Short() + ":/a/1", two.ID.Short() + ":/a/1"}
	r := b.check(Options{ReadData: true})
	if got := r.paths(); strings.Join(got, " ") != strings.Join(want, " ") || r.FilesLost != 2 || r.Damages[0].Member != "store0" {
		t.Errorf("%v, want %v", r.Damages, want)
	}
	// Without reading data nobody can know.
	if r := b.check(Options{}); r.Damaged > 0 {
		t.Errorf("%v", r.Damages)
	}
	// Cut off behind the blob: the length tells, the files are all there.
	data[pack.HeaderSize+int(at.Offset)+int(at.Stored)-1] ^= 1
	b.put(0, name, data[:len(data)-1])
	if r := b.check(Options{}); r.naming(name) == nil || len(r.paths()) > 0 {
		t.Errorf("%v", r.Damages)
	}
}

// nodeBlob returns the first blob of a file in a directory of the root.
func nodeBlob(t *testing.T, a *archive.Archive, content []chunk.ID, dir, file string) chunk.ID {
	t.Helper()
	for _, name := range []string{dir, file} {
		n, err := find(t.Context(), a, content, name)
		if err != nil {
			t.Fatal(err)
		}
		content = n
	}
	return content[0]
}

// TestParity: on 2+1 one bad shard of a pack is named and nothing is lost; two bad ones lose what they hold.
func TestParity(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(map[string]byte{"a/1": 1, "a/2": 2, "b/3": 3}, 4000)
	for member := range 3 {
		for _, name := range b.objects(member, "") {
			whole := b.read(member, name)
			for _, m := range mutations(name, whole) {
				if member > 0 && m.name != "flip blob" && m.name != "flip last" && m.name != "delete" {
					continue // the members differ in their shards only
				}
				b.put(member, name, m.data)
				r, err := b.tryCheck(Options{ReadData: true})
				what := fmt.Sprintf("%.24s on %d, %s", name, member, m.name)
				if name == "cairn.json" && m.data == nil && err == nil {
					continue // a missing member
				}
				if err != nil || r.Lost > 0 || len(r.paths()) > 0 {
					t.Errorf("%s: %v, %+v", what, err, r)
					continue
				}
				if d := r.naming(name); d == nil || d.Member != fmt.Sprintf("store%d", member) {
					t.Errorf("%s: %v", what, r.Damages)
				}
			}
			b.put(member, name, whole)
		}
	}
	name := b.objects(0, "binaries/")[0]
	for i := range 2 {
		b.put(i, name, nil)
	}
	if r := b.check(Options{}); r.Lost == 0 || len(r.paths()) == 0 || r.naming(name) == nil {
		t.Errorf("two shards are gone: %v", r.Damages)
	}
}

func TestMemberAway(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	b.stores[1] = nil
	if r := b.check(Options{ReadData: true}); r.Damaged > 0 || r.PacksRead != 6 {
		t.Errorf("a missing member: %v", r.Damages)
	}
	b = three(t, 2, 1)
	b.stores[1].Set(fault.Rule{Op: fault.List})
	r := b.check(Options{ReadData: true})
	if r.Damaged != 1 || r.Lost > 0 || r.Damages[0].Member != "store1" || !strings.Contains(r.Damages[0].Problem, "listed") {
		t.Errorf("a member that cannot be listed: %v", r.Damages)
	}
	// A member that goes away while its shards are read: nothing is known of those, and nothing is lost.
	b.stores[1].Set(fault.Rule{Op: fault.Get, Name: "binaries/", Skip: 1, Err: remote.ErrUnavailable})
	if r := b.check(Options{ReadData: true}); r.Damaged == 0 || r.Lost > 0 {
		t.Errorf("gone in between: %v", r.Damages)
	}
	b.stores[2].Set(fault.Rule{Op: fault.Get, Err: remote.ErrUnavailable})
	if _, err := b.tryCheck(Options{}); err == nil {
		t.Error("checked with one member of 2+1")
	}
}

func TestUnreferenced(t *testing.T) {
	t.Parallel()
	b := three(t, 1, 0)
	name := b.objects(0, "binaries/")[0]
	litter := pack.ID{1, 2, 3}.Name(chunk.Data)
	b.put(0, litter, b.read(0, name))
	for _, foreign := range []string{"binaries/notes.txt", "snapshots/readme", "keys/x", "index/y", "elsewhere/z"} {
		b.put(0, foreign, []byte("x"))
	}
	if r := b.check(Options{ReadData: true}); r.Damaged > 0 || r.Unreferenced != 1 || r.Packs != 6 {
		t.Errorf("%+v", r)
	}
}

// TestUnfinished: what an interrupted upload of an index segment left is no damage.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	s := b.backup(map[string]byte{"a/1": 1}, 100)
	name := b.objects(0, "index/")[0]
	shard := b.read(0, name)
	b.put(1, name, nil)
	b.put(2, name, nil)
	if r := b.check(Options{ReadData: true}); len(r.paths()) == 0 || r.Lost == 0 { // here it was needed
		t.Errorf("%v", r.Damages)
	}
	b.put(0, name, nil)
	a := b.open()
	if _, err := a.RebuildIndex(t.Context(), archive.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	b.put(0, name, shard)
	if r := b.check(Options{ReadData: true}); r.Damaged > 0 || r.Unreferenced != 1 || r.Snapshots != 1 {
		t.Errorf("%s: %v", s.ID.Short(), r.Damages)
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	one := b.backup(map[string]byte{"a/1": 1}, 100)
	two := b.backup(map[string]byte{"a/1": 2}, 100)
	three := b.backup(map[string]byte{"a/1": 3}, 100)
	// Gone with its mark: only the chain tells.
	b.put(0, "snapshots/"+two.ID.String(), nil)
	b.put(0, "snapshots/"+two.ID.String()+".ok", nil)
	r := b.check(Options{})
	if r.Damaged > 0 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0].String(), two.ID.String()) || !strings.Contains(r.Notes[0].Text, three.ID.Short()) {
		t.Errorf("%v, %v", r.Notes, r.Damages)
	}
	// Replaced is not gone.
	a := b.open()
	next := *one
	next.Tags = []string{"x"}
	if _, err := a.Replace(t.Context(), one, &next); err != nil {
		t.Fatal(err)
	}
	b.last = one.ID
	b.backup(map[string]byte{"a/1": 4}, 100)
	if r := b.check(Options{}); r.Damaged > 0 || len(r.Notes) != 1 {
		t.Errorf("%v, %v", r.Notes, r.Damages)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	b := three(t, 1, 0)
	a, err := archive.Open(t.Context(), b.members(), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), a, Options{}); !errors.Is(err, archive.ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, b.open(), Options{ReadData: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	w, err := b.open().Keys().NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := archive.OpenWithKeys(t.Context(), b.members(), w, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), writer, Options{}); !errors.Is(err, archive.ErrNoKey) && !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("with a writer key: %v", err)
	}
	b.stores[0].Set(fault.Rule{Op: fault.Get, Name: "binaries/", Err: remote.ErrUnavailable})
	if _, err := Run(t.Context(), b.open(), Options{}); !errors.Is(err, stripe.ErrTooFew) {
		t.Errorf("trees cannot be read: %v", err)
	}
}

func TestSubset(t *testing.T) {
	t.Parallel()
	size := func(s string) (uint64, error) {
		if s == "1M" {
			return 1 << 20, nil
		}
		return 0, errors.New("no size")
	}
	for _, bad := range []string{"", "0/5", "6/5", "1/0", "-1/5", "1/x", "1/2/3", "0%", "101%", "NaN%", "-5%", "Inf%", "x%", "2M", "99999999999/99999999999"} {
		if _, err := ParseSubset(bad, size); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	var all []pack.ID
	for i := range 1000 {
		all = append(all, pack.ID(chunk.Sum([]byte{byte(i), byte(i >> 8)})))
	}
	for _, m := range []int{1, 2, 7, 30} {
		seen := map[pack.ID]int{}
		for n := 1; n <= m; n++ {
			s, err := ParseSubset(fmt.Sprintf("%d/%d", n, m), size)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range all {
				if s.Has(id, 1000) {
					seen[id]++
				}
			}
		}
		for _, id := range all {
			if seen[id] != 1 {
				t.Fatalf("pack %s is in %d of %d parts", id.Short(), seen[id], m)
			}
		}
	}
	for text, want := range map[string]int{"100%": 1000, "10%": 100, "1M": 250} {
		s, err := ParseSubset(text, size)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, id := range all {
			if s.Has(id, 4<<20) {
				n++
			}
		}
		if n < want*7/10 || n > want*13/10 {
			t.Errorf("%s chooses %d of 1000", text, n)
		}
	}
	b := three(t, 1, 0)
	read := 0
	for n := range 4 {
		s, err := ParseSubset(fmt.Sprintf("%d/4", n+1), size)
		if err != nil {
			t.Fatal(err)
		}
		read += b.check(Options{ReadData: true, Subset: s}).PacksRead
	}
	if read != 6 {
		t.Errorf("four quarters are %d of 6 packs", read)
	}
}
