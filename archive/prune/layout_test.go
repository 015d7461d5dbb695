package prune

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// TestLayoutBeside lets a collection that takes everybody for dead run between the moment in which a change of the layout has named its copies and
// the next in which anybody could know of it, and condemn those copies: of two copies of a blob it may keep either. What it kept is what the
// change deletes.
func TestLayoutBeside(t *testing.T) {
	t.Parallel()
	origin := newBench(t, 1, 0)
	origin.backup(origin.open(), files("d", 3)...)
	origin.relayout(1, 1, "/n0", "/n1")
	bitten := 0
	for range 40 { // which copy the collection keeps depends on the order in which it reads the index
		b := origin.clone(t)
		b.patience = time.Minute // an operation takes as long as what runs before it
		var once sync.Once
		b.via = (&gate{before: func(op, name string) error {
			if op == "put" && strings.HasPrefix(name, "gc/") || op == "delete" && strings.HasPrefix(name, "index/") {
				once.Do(func() {
					beside := *b
					beside.via = nil
					before := len(b.layouts()[0])
					_, err := beside.tryPrune(t.Context(), Options{SessionAge: 1})
					b.must(err)
					if len(beside.layouts()[0]) == before {
						bitten++
					}
				})
			}
			return nil
		}}).via
		a, err := b.tryOpen(t.Context(), b.options())
		b.must(err)
		r, err := member.Finish(t.Context(), a, member.RewriteOptions{})
		b.must(err)
		b.must(a.Close())
		b.via = nil
		if r.Needed || len(r.Left) > 0 {
			t.Errorf("%+v", r)
		}
		b.restore(1)
		b.prune()
		b.finished()
		if t.Failed() || bitten >= 3 {
			break
		}
	}
	if bitten == 0 {
		t.Error("no collection condemned what was copied")
	}
}

// layouts lists the packs in former layouts, and those in the current one.
func (b *bench) layouts() (list [2][]pack.ID) {
	b.t.Helper()
	clear := *b
	clear.via = nil
	a := clear.open()
	_, err := a.ListPacks(b.t.Context(), "binaries/", func(l *archive.PackListing) error {
		p, err := a.PlacementOf(b.t.Context(), l.Pack, 0)
		i := 0
		if p.Geometry == a.Geometry() {
			i = 1
		}
		list[i] = append(list[i], l.Pack)
		return err
	})
	b.must(err)
	return list
}

// finished fails unless everything is in the current layout, nothing is there that nobody needs, and a check finds nothing.
func (b *bench) finished() {
	b.t.Helper()
	if former := b.layouts()[0]; len(former) > 0 {
		b.t.Errorf("%d packs are in former layouts", len(former))
	}
	b.exact()
	b.clean()
}

// layoutBench is an archive with packs of a former layout and of the current one, some of which are condemned, and with garbage in both.
func layoutBench(t *testing.T) *bench {
	b := newBench(t, 1, 1)
	a := b.open()
	gone := b.backup(a, files("d", 8)...)
	b.backup(a, files("d", 6)...)
	b.backup(a, append(files("e", 4), files("d", 2)...)...)
	b.forget(a, gone)
	b.relayout(2, 1, "/n0", "/n1", "/n2")
	b.backup(b.open(), append(files("g", 2), files("e", 5)...)...)
	return b
}

// finishIn brings all packs into the current layout, on a machine with the given cache directory.
func (b *bench) finishIn(ctx context.Context, dir string) (*member.LayoutReport, error) {
	o := b.options()
	o.Dir = func(seal.ArchiveID) string { return dir }
	a, err := b.tryOpen(ctx, o)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return member.Finish(ctx, a, member.RewriteOptions{RoundPacks: 2, Target: target, Dir: dir})
}

// soakStep is the distance between the operations that are tried.
func soakStep(step int) int {
	if os.Getenv("CAIRN_SOAK") != "" {
		return 1
	}
	return step
}

// TestLayoutBetween lets collections and changes of the layout run before each other's operations, once, and stops a change at each of its
// operations, whereupon a collection or another change goes on: nothing is lost, neither refuses because of the other, and nothing is left over.
func TestLayoutBetween(t *testing.T) {
	t.Parallel()
	collect := func(b *bench) error {
		_, err := b.tryPrune(b.t.Context(), Options{SessionAge: 1})
		return err
	}
	change := func(b *bench) error {
		_, err := b.finishIn(b.t.Context(), b.t.TempDir())
		return err
	}
	for _, c := range []struct {
		name     string
		step     int
		do, then func(b *bench) error
		stop     bool
	}{
		{"a collection within a change", 37, change, collect, false},
		{"a change within a collection", 41, collect, change, false},
		{"a change within a change", 43, change, change, false},
		{"a change that stops, then a collection", 39, change, collect, true},
		{"a change that stops, then another", 47, change, change, true},
		{"a collection that stops, then a change", 45, collect, change, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			origin, step := layoutBench(t), soakStep(c.step)
			for n := 0; ; n += step {
				b := origin.clone(t)
				b.patience = time.Minute // an operation takes as long as what runs before it
				var mu sync.Mutex
				ops, done, within := 0, false, *b
				within.via = nil
				b.via = (&gate{before: func(string, string) error {
					mu.Lock()
					defer mu.Unlock()
					if ops++; ops <= n || done && !c.stop {
						return nil
					}
					done = true
					if c.stop {
						return remote.Permanent(errBlown)
					}
					return c.then(&within)
				}}).via
				err := c.do(b)
				b.via, b.patience = nil, 0
				if !done {
					b.must(err)
					t.Logf("%d operations", ops)
					break
				}
				if err != nil && !c.stop {
					t.Errorf("%v", err)
				}
				b.restore(3)
				if c.stop {
					b.must(c.then(b))
					b.restore(3)
				}
				for _, last := range []func(*bench) error{change, collect} {
					if err := last(b); err != nil {
						t.Error(err)
					}
				}
				b.restore(3)
				b.finished()
				if t.Failed() {
					t.Fatalf("before operation %d", n)
				}
			}
		})
	}
}
