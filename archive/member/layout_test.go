package member

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// change is a change of the layout: which members are to be in the new one, by name.
type change struct {
	k, m  int
	names []string
}

// relayout makes a change, by the same steps as the command.
func (b *bench) relayout(ctx context.Context, c change) (*LayoutReport, error) {
	a, err := b.open(b.names...)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	o := LayoutOptions{Data: c.k, Parity: c.m, Reopen: b.openMembers, Rewrite: RewriteOptions{RoundPacks: 3, Dir: b.dir}}
	for _, name := range c.names {
		if m, err := Find(a, name); err == nil {
			o.Members = append(o.Members, m.ID)
		} else {
			o.Members = append(o.Members, "")
			o.New = append(o.New, b.member(name))
		}
	}
	r, d, err := Relayout(ctx, a, o)
	if d != nil {
		b.must(d.Close())
		for _, m := range o.New {
			if !slices.Contains(b.names, m.URL) {
				b.names = append(b.names, m.URL)
			}
		}
	}
	return r, err
}

func names(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("/m%d", i))
	}
	return list
}

// tidy fails unless all packs are in the current layout, each blob in one of them, and at most so many are unnamed.
func (b *bench) tidy(unnamed int) {
	b.t.Helper()
	a := b.mustOpen()
	defer a.Close()
	type blob struct {
		kind chunk.Type
		id   chunk.ID
	}
	type place struct {
		pack   pack.ID
		column int
	}
	places := map[blob]map[place]bool{}
	err := a.ReadSegments(b.t.Context(), func(id pack.ID, columns []pack.Column, err error) error {
		if archive.Unfinished(err) {
			return nil
		}
		if p, err := a.PlacementOf(b.t.Context(), id, chunk.Index); err != nil || p.Geometry != a.Geometry() {
			b.t.Errorf("index pack in layout %v, %v", p.Geometry, err)
		}
		for _, c := range columns {
			if c.Geometry != a.Geometry() {
				b.t.Errorf("%s pack in layout %v", c.Kind, c.Geometry)
			}
			for _, e := range c.Entries {
				k := blob{c.Kind, e.ID}
				if places[k] == nil {
					places[k] = map[place]bool{}
				}
				places[k][place{c.Pack, c.Number}] = true
			}
		}
		return err
	})
	b.must(err)
	for k, list := range places {
		if len(list) > 1 {
			b.t.Errorf("%s blob %s is in %d places", k.kind, k.id.Short(), len(list))
		}
	}
	r, err := check.Run(b.t.Context(), a, check.Options{})
	b.must(err)
	if r.Unreferenced > unnamed {
		b.t.Errorf("%d packs that no index names, want %d at most", r.Unreferenced, unnamed)
	}
}

// TestLayout: growing, shrinking, other geometries.
func TestLayout(t *testing.T) {
	t.Parallel()
	const n = 4
	for _, c := range []struct {
		k, m int
		change
	}{
		{2, 1, change{4, 2, names(6)}},
		{4, 2, change{3, 3, names(6)}},
		{1, 0, change{2, 1, names(3)}},
		{1, 0, change{1, 1, names(2)}},
		{4, 2, change{2, 1, []string{"/m5", "/m0", "/m2"}}},
		{2, 1, change{1, 2, []string{"/m0", "/new", "/m1"}}},
		{2, 1, change{1, 1, []string{"/x", "/y"}}},
		{1, 1, change{1, 0, names(1)}},
	} {
		t.Run(fmt.Sprintf("%d+%d to %d+%d", c.k, c.m, c.change.k, c.change.m), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.k, c.m)
			for i := range n {
				b.backup(b.mustOpen(), byte(i), 3, 5000)
			}
			r, err := b.relayout(t.Context(), c.change)
			b.must(err)
			if r.Packs != 2*n || !r.Done() || r.Unnamed != 0 || r.Needed || r.Shards != 0 || r.Blobs != 7*n {
				t.Errorf("%+v", r)
			}
			b.names = c.names // what is left out is not needed any more
			b.clean()
			b.tidy(0)
			b.survives(c.change.m, n)
			b.backup(b.mustOpen(), 99, 2, 5000)
			b.clean()
			b.survives(c.change.m, n+1)
			again, err := Finish(t.Context(), b.mustOpen(), RewriteOptions{Dir: b.dir})
			b.must(err)
			if again.Packs != 0 || again.Copies != 0 {
				t.Errorf("finished again: %+v", again)
			}
		})
	}
}

// TestLayoutTwice: packs of several former layouts.
func TestLayoutTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	b.backup(b.mustOpen(), 1, 3, 5000)
	for i, c := range []change{{2, 1, names(3)}, {4, 2, names(6)}, {2, 4, names(6)}} {
		_, err := b.relayout(t.Context(), c)
		b.must(err)
		b.backup(b.mustOpen(), byte(2+i), 3, 5000)
		b.clean()
		b.tidy(0)
	}
	b.survives(4, 4)
}

// TestLayoutInterrupted: B10: a run that dies at any of its operations leaves an archive that can be read and written, and the
// same call, or Finish, brings it to its end, with no blob stored twice.
func TestLayoutInterrupted(t *testing.T) {
	t.Parallel()
	base := newBench(t, 2, 1)
	for i := range 2 {
		base.backup(base.mustOpen(), byte(i), 2, 3000)
	}
	to := change{2, 2, names(4)}
	step := 3 // soaking, each of 350
	if os.Getenv("CAIRN_SOAK") != "" {
		step = 1
	}
	for n := 0; ; n += step {
		b := base.clone(t)
		f := &fuse{left: n}
		b.via = f.via
		_, err := b.relayout(t.Context(), to)
		b.via = nil
		finished := err == nil
		snapshots := 2
		lostCache := n%4 == 3
		if !finished {
			b.names = slices.Clone(base.names)
			for _, way := range [][]string{names(3), names(4)} {
				a, err := b.open(way...)
				if err != nil {
					t.Fatalf("cut at %d: %v", n, err)
				}
				if a.Geometry().N() > len(way) { // the cards are written: the new member must be named
					continue
				}
				b.restore(a, snapshots)
			}
			if n%7 == 0 {
				a, err := b.open(names(4)...)
				b.must(err)
				b.backup(a, 100, 2, 3000)
				snapshots++
			}
			if lostCache {
				b.dir = t.TempDir()
			}
			if _, err := b.relayout(t.Context(), to); err != nil {
				if b.names = names(4); !strings.Contains(err.Error(), "already") {
					t.Fatalf("cut at %d: resumed: %v", n, err)
				}
				_, err = Finish(t.Context(), b.mustOpen(), RewriteOptions{RoundPacks: 3, Dir: b.dir})
				b.must(err)
			}
		}
		b.names = names(4)
		b.clean()
		if lostCache { // then blobs may be stored twice, and packs be left that nothing names
			b.restore(b.mustOpen(), snapshots)
		} else {
			b.tidy(0)
		}
		if n%5 == 0 {
			b.survives(2, snapshots)
		}
		if t.Failed() {
			t.Fatalf("cut at operation %d", n)
		}
		if finished {
			if n < 100 {
				t.Errorf("finished after %d operations", n)
			}
			return
		}
	}
}

// TestLayoutBeside: a machine that opened the archive before the change goes on writing; its packs stay readable and are
// rewritten by the next Finish.
func TestLayoutBeside(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 2, 3000)
	other := b.mustOpen()
	n := 1
	var once sync.Once
	b.via = func(_ string, s remote.Store) remote.Store {
		return &hooks{s, func(object string) {
			if strings.HasPrefix(object, "binaries/") { // the first pack of the new layout
				once.Do(func() {
					n++
					b.backup(other, byte(n), 2, 3000)
				})
			}
		}}
	}
	r, err := b.relayout(t.Context(), change{3, 1, []string{"/m0", "/x", "/m2", "/y"}})
	b.must(err)
	if n != 2 || r.Packs != 4 || !r.Done() {
		t.Errorf("%d backups, %+v", n, r)
	}
	b.via = nil
	b.restore(b.mustOpen(), 2)
	b.backup(other, 3, 2, 3000)
	b.restore(b.mustOpen(), 3)
	r, err = Finish(t.Context(), b.mustOpen(), RewriteOptions{Dir: b.dir})
	b.must(err)
	if r.Packs != 2 || r.Needed || len(r.Leave) != 1 {
		t.Errorf("%+v", r)
	}
	b.names = []string{"/m0", "/x", "/m2", "/y"}
	b.clean()
	b.tidy(0)
	b.survives(1, 3)
}

// TestLayoutDamage: a pack with too few good shards stays where it is and is told of; one with enough moves whole.
func TestLayoutDamage(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 3, 5000)
	b.backup(b.mustOpen(), 2, 3, 5000)
	packs := b.objects("/m0", "binaries/")
	b.flip("/m0", packs[0])
	b.flip("/m1", packs[0])
	b.flip("/m2", packs[1])
	r, err := b.relayout(t.Context(), change{2, 2, names(4)})
	b.must(err)
	if r.Packs != 3 || len(r.Left) != 1 || r.Done() || !r.Needed {
		t.Errorf("%+v", r)
	}
	id, _, _ := pack.ParseName(packs[0])
	if r.Left[id] == nil {
		t.Errorf("another pack was left: %v", r.Left)
	}
	c, err := check.Run(t.Context(), b.mustOpen(), check.Options{ReadData: true})
	b.must(err)
	for _, d := range c.Damages {
		if d.Object != packs[0] && d.Path == "" {
			t.Errorf("%s", d)
		}
	}
	b.flip("/m0", packs[0]) // it is repaired
	r, err = Finish(t.Context(), b.mustOpen(), RewriteOptions{})
	b.must(err)
	if r.Packs != 1 || !r.Done() {
		t.Errorf("%+v", r)
	}
	b.clean()
	b.tidy(0)
	b.survives(2, 2)
}

// TestLayoutMissing: without all members of the new layout nothing is removed.
func TestLayoutMissing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 3, 5000)
	gone := b.mem["/m1"]
	delete(b.mem, "/m1")
	if r, err := b.relayout(t.Context(), change{2, 2, names(4)}); err == nil {
		t.Errorf("%+v", r)
	}
	// A member that is lost for good may be left out of the new layout.
	r, err := b.relayout(t.Context(), change{2, 1, []string{"/m0", "/m2", "/m3"}})
	b.must(err)
	if r.Packs != 2 || !r.Done() {
		t.Errorf("%+v", r)
	}
	b.names = []string{"/m0", "/m2", "/m3"}
	b.clean()
	b.survives(1, 1)
	// When it comes back it has nothing that anybody needs, and harms nobody.
	b.mem["/m1"] = gone
	b.names = append(b.names, "/m1")
	b.restore(b.mustOpen(), 1)
	r, err = Finish(t.Context(), b.mustOpen(), RewriteOptions{})
	b.must(err)
	if r.Packs != 0 || !r.Done() {
		t.Errorf("%+v", r)
	}
}
