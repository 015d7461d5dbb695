package prune

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

func geometries(t *testing.T, fn func(t *testing.T, b *bench)) {
	for _, g := range [][2]int{{1, 0}, {2, 1}, {4, 2}} {
		t.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(t *testing.T) {
			t.Parallel()
			fn(t, newBench(t, g[0], g[1]))
		})
	}
}

// exact fails unless the members hold what snapshots need, each blob once, and nothing else.
func (b *bench) exact() {
	b.t.Helper()
	if diff := cmp.Diff(b.needed(), b.stored()); diff != "" {
		b.t.Errorf("stored blobs: %s", diff)
	}
}

// TestPrune: what only forgotten snapshots need goes, and everything else stays.
func TestPrune(t *testing.T) {
	t.Parallel()
	geometries(t, func(t *testing.T, b *bench) {
		a := b.open()
		all := files("d", 24)
		first := b.backup(a, all...)
		b.backup(a, all[:12]...)
		third := b.backup(a, append(files("e", 8), all[4:20]...)...)
		b.backup(a, files("e", 5)...)
		b.restore(4)
		b.forget(a, first, third)
		before := b.bytes("binaries/")
		r := b.prune()
		b.exact()
		b.clean()
		b.restore(2)
		if r.Snapshots != 2 || r.Deleted.Packs == 0 || r.Records != 1 || r.Copied == 0 {
			t.Errorf("%+v", r)
		}
		if got := before - b.bytes("binaries/"); got <= 0 || r.Deleted.Bytes <= got {
			t.Errorf("%d bytes were deleted, the members hold %d less", r.Deleted.Bytes, got)
		}
		again := b.prune()
		if again.Deleted.Packs != 0 || again.Records != 0 || again.WrittenBytes != 0 || again.Segments != 0 {
			t.Errorf("pruned again: %+v", again)
		}
		b.restore(2)
	})
}

// TestMerge: many small backups leave few packs, and few index packs.
func TestMerge(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.size = 100
	a := b.open()
	const n = 12
	for i := range n {
		b.backup(a, files("d", i+1)...)
	}
	if got := len(b.objects("index/")); got != n {
		t.Fatalf("%d index packs", got)
	}
	merge := func() *Report {
		r, err := Run(t.Context(), b.open(), Options{Target: 4 * target})
		b.must(err)
		return r
	}
	r := merge()
	if packs, segments := len(b.objects("binaries/")), len(b.objects("index/")); packs > 3 || segments > 2 || r.Segments < n {
		t.Errorf("%d packs and %d index packs are left of %d backups: %+v", packs, segments, n, r)
	}
	b.clean()
	b.restore(n)
	b.exact()
	if r = merge(); r.WrittenBytes != 0 || r.Deleted.Packs != 0 || r.Segments != 0 {
		t.Errorf("merged again: %+v", r)
	}
}

// TestTreeCache: the second collection reads only what is new.
func TestTreeCache(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	b.backup(a, files("d", 24)...)
	r, err := Run(t.Context(), a, Options{Target: target})
	b.must(err)
	if r.Trees != 7 || r.TreesRead != 7 {
		t.Errorf("%d of %d trees read, want 7 of 7", r.TreesRead, r.Trees)
	}
	b.backup(a, append(files("d", 24), "d0/new")...)
	r, err = Run(t.Context(), a, Options{Target: target})
	b.must(err)
	if r.Trees != 9 || r.TreesRead != 2 {
		t.Errorf("%d of %d trees read, want 2 of 9", r.TreesRead, r.Trees)
	}
}

// TestEveryMember: one member that is away, or cannot be listed, stops the collection before it does anything.
func TestEveryMember(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	s := b.backup(a, files("d", 8)...)
	b.forget(a, s)
	before := b.objects("")
	for name, spoil := range map[string]func(c *bench){
		"missing": func(c *bench) { c.mem["/m1"] = nil },
		"unlistable": func(c *bench) {
			c.via = func(name string, s remote.Store) remote.Store {
				g := &gate{before: func(op, prefix string) error {
					if name == "/m1" && op == "list" && prefix == "snapshots/" {
						return errors.New("no permission")
					}
					return nil
				}}
				return g.via(name, s)
			}
		},
	} {
		c := b.clone(t)
		spoil(c)
		_, err := c.tryPrune(t.Context(), Options{})
		var few *stripe.TooFewError
		if !errors.As(err, &few) || !strings.Contains(err.Error(), "/m1") || !strings.Contains(remote.Hint(err), "member replace") {
			t.Errorf("%s: %v (%s)", name, err, remote.Hint(err))
		}
		delete(c.mem, "/m1")
		if got := len(c.objects("")); got > len(before) {
			t.Errorf("%s: %d objects, %d before", name, got, len(before))
		}
	}
}

// TestRefuse: nothing is deleted when something that a snapshot needs is not there.
func TestRefuse(t *testing.T) {
	t.Parallel()
	type loss struct {
		name string
		do   func(b *bench, a *archive.Archive, s *snapshot.Snapshot)
		want string
	}
	for _, l := range []loss{
		{"a pack of data", func(b *bench, a *archive.Archive, s *snapshot.Snapshot) {
			b.drop(b.packOf(a, chunk.Data, dataOf("d1/f5", b.size)), chunk.Data)
		}, "/d1/f5"},
		{"a pack of trees", func(b *bench, a *archive.Archive, s *snapshot.Snapshot) {
			b.drop(b.packOf(a, chunk.Tree, s.Content[0]), chunk.Tree)
		}, "/"},
		{"an index pack", func(b *bench, a *archive.Archive, s *snapshot.Snapshot) {
			for _, name := range b.objects("index/") {
				for _, m := range b.mem {
					b.must(m.Delete(t.Context(), name))
				}
			}
		}, "/"},
		{"a snapshot", func(b *bench, a *archive.Archive, s *snapshot.Snapshot) {
			for _, m := range b.mem {
				b.must(m.Put(t.Context(), "snapshots/"+s.ID.String(), []byte("rotten")))
			}
		}, ""},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 2, 1)
			a := b.open()
			s := b.backup(a, files("d", 12)...)
			b.forget(a, b.backup(a, files("z", 8)...))
			l.do(b, a, s)
			before := b.objects("binaries/")
			_, err := b.tryPrune(t.Context(), Options{})
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Next == "" {
				t.Fatalf("%v", err)
			}
			found := l.want == ""
			for _, f := range damage.Files {
				found = found || f.Path == l.want && f.Snapshot == s.ID
			}
			if !found {
				t.Errorf("%v: %v, want %s", err, damage.Files, l.want)
			}
			if diff := cmp.Diff(before, b.objects("binaries/")); diff != "" {
				t.Errorf("packs: %s", diff)
			}
			// Giving the snapshot up helps.
			b.forget(a, s)
			r := b.prune()
			if got := b.objects("binaries/"); len(got) > 0 {
				t.Errorf("%d packs are left: %+v", len(got), r)
			}
		})
	}
}

// dataOf is the id of the first chunk of a file that backup makes.
func dataOf(file string, size int) chunk.ID {
	return chunk.Sum(content(file, 0, size))
}

// TestIncomplete: a snapshot without a mark protects what is there of it, and what is not there is no obstacle.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	b.backup(a, files("d", 8)...)
	s := b.backup(a, files("e", 8)...)
	for _, m := range b.mem {
		b.must(m.Delete(t.Context(), "snapshots/"+s.ID.String()+".ok"))
	}
	r := b.prune()
	if r.Incomplete != 1 || r.Deleted.Packs != 0 {
		t.Errorf("%+v", r)
	}
	b.clean()
	b.drop(b.packOf(a, chunk.Data, dataOf("e1/f5", b.size)), chunk.Data)
	r = b.prune()
	if r.Incomplete != 1 {
		t.Errorf("%+v", r)
	}
	for _, list := range [][]*snapshot.Snapshot{{s}} {
		b.forget(a, list...)
	}
	b.prune()
	b.exact()
	b.clean()
	b.restore(1)
}

// TestParent: what a forgotten snapshot shares with its successor stays.
func TestParent(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	w, err := a.NewWriter(t.Context())
	b.must(err)
	parent := b.backup(a, files("d", 8)...)
	s, err := b.fill(t.Context(), w, files("d", 9))
	b.must(err)
	s.Previous = parent.ID
	b.forget(a, parent)
	b.prune()
	if _, err = w.Commit(t.Context(), s); errors.Is(err, archive.ErrStoreAnew) {
		s, err = b.fill(t.Context(), w, files("d", 9))
		b.must(err)
		_, err = w.Commit(t.Context(), s)
	}
	b.must(err)
	b.prune()
	b.exact()
	b.clean()
	b.restore(1)
}

// TestForgottenReturns: a snapshot that a member brings back which was away when it was forgotten is deleted.
func TestForgottenReturns(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	s := b.backup(a, files("d", 8)...)
	b.backup(a, files("e", 8)...)
	name := "snapshots/" + s.ID.String()
	object, err := b.mem["/m2"].Get(t.Context(), name, 0, -1, nil)
	b.must(err)
	mark, err := b.mem["/m2"].Get(t.Context(), name+".ok", 0, -1, nil)
	b.must(err)
	b.forget(a, s)
	b.prune()
	b.must(b.mem["/m2"].Put(t.Context(), name, object))
	b.must(b.mem["/m2"].Put(t.Context(), name+".ok", mark))
	r := b.prune()
	if r.Forgotten != 1 || len(b.objects("snapshots/")) != 2 {
		t.Errorf("%+v, and %v", r, b.objects("snapshots/"))
	}
	b.restore(1)
}

// TestTwo: two collectors at once, on machines of their own.
func TestTwo(t *testing.T) {
	t.Parallel()
	geometries(t, func(t *testing.T, b *bench) {
		a := b.open()
		all := files("d", 24)
		first := b.backup(a, all...)
		b.backup(a, all[:12]...)
		second := b.backup(a, append(files("e", 12), all[4:20]...)...)
		b.backup(a, files("e", 5)...)
		b.forget(a, first, second)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := b.tryPrune(t.Context(), Options{}); err != nil {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		b.restore(2)
		b.prune()
		b.prune()
		b.exact()
		b.clean()
		b.restore(2)
	})
}
