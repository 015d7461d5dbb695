package member

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"cairn/archive"
	"cairn/remote"
)

func (b *bench) replace(a *archive.Archive, old, to string) (*ReplaceReport, error) {
	r, c, err := Replace(b.t.Context(), a, old, b.member(to), ReplaceOptions{Reopen: b.openMembers})
	if c != nil {
		b.must(c.Close())
	}
	return r, err
}

func (b *bench) renamed(old, to string) {
	b.names[slices.Index(b.names, old)] = to
}

// TestReplace: whatever the old member still gives, the new one holds all that belongs there.
func TestReplace(t *testing.T) {
	t.Parallel()
	const n = 4
	for _, g := range [][2]int{{2, 1}, {1, 1}, {4, 2}} {
		for _, c := range []struct {
			name    string
			prepare func(b *bench)
			check   func(t *testing.T, r *ReplaceReport)
		}{
			{"gone", func(b *bench) { delete(b.mem, "/m1") }, func(t *testing.T, r *ReplaceReport) {
				if r.Rebuilt != r.Expected || r.OldReads {
					t.Errorf("%+v", r)
				}
			}},
			{"there", func(*bench) {}, func(t *testing.T, r *ReplaceReport) {
				if r.Copied != r.Expected || !r.OldReads {
					t.Errorf("%+v", r)
				}
			}},
			{"rotten", func(b *bench) { b.flipAll("/m1") }, func(t *testing.T, r *ReplaceReport) {
				if r.Rebuilt != r.Expected {
					t.Errorf("%+v", r)
				}
			}},
			{"empty disk in its place", func(b *bench) {
				for _, o := range b.objects("/m1", "") {
					b.must(b.mem["/m1"].Delete(t.Context(), o))
				}
			}, func(t *testing.T, r *ReplaceReport) {
				if r.Rebuilt != r.Expected {
					t.Errorf("%+v", r)
				}
			}},
		} {
			t.Run(fmt.Sprintf("%d+%d %s", g[0], g[1], c.name), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, g[0], g[1])
				for i := range n {
					b.backup(b.mustOpen(), byte(i), 3, 5000)
				}
				c.prepare(b)
				to := "/new"
				if c.name == "empty disk in its place" {
					to = "/m1"
				}
				r, err := b.replace(b.mustOpen(), "1", to)
				b.must(err)
				if r.Expected != 3*n || r.Present != r.Expected || r.Kept != 0 || len(r.Failed) > 0 || r.Weak > 0 {
					t.Errorf("%+v", r)
				}
				c.check(t, r)
				b.renamed("/m1", to)
				b.clean()
				b.survives(g[1], n)
				if _, ok := b.mem["/m1"]; ok && to != "/m1" { // the old one comes back
					a, err := b.open(append(slices.Clone(b.names), "/m1")...)
					b.must(err)
					if list := a.Missing(); len(list) > 0 {
						t.Errorf("missing: %q", list)
					}
					b.restore(a, n)
				}
			})
		}
	}
}

// TestReplaceDryRun counts and writes nothing.
func TestReplaceDryRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 3, 5000)
	r, _, err := Replace(t.Context(), b.mustOpen(), "/m2", b.member("/new"), ReplaceOptions{DryRun: true})
	b.must(err)
	if r.Expected != 3 || r.Bytes == 0 || !r.OldReads || len(b.objects("/new", "")) > 0 {
		t.Errorf("%+v, %q", r, b.objects("/new", ""))
	}
}

// TestReplaceInterrupted: a run that dies at any of its operations leaves an archive that can be read, and the same call finishes it.
func TestReplaceInterrupted(t *testing.T) {
	t.Parallel()
	base := newBench(t, 2, 1)
	for i := range 2 {
		base.backup(base.mustOpen(), byte(i), 2, 3000)
	}
	kept := 0
	for n := 0; ; n++ {
		b := base.clone(t)
		f := &fuse{left: -1}
		b.via = f.via
		a := b.mustOpen()
		f.left, f.used = n, 0
		_, err := b.replace(a, "1", "/new")
		finished := err == nil
		b.via = nil
		if !finished {
			names := b.names
			for _, way := range [][]string{names, append(slices.Clone(names), "/new")} {
				c, err := b.open(way...)
				if err != nil {
					t.Fatalf("cut at %d: %v", n, err)
				}
				b.restore(c, 2)
			}
			r, err := b.replace(b.mustOpen(), "1", "/new")
			if err != nil {
				t.Fatalf("cut at %d: resumed: %v", n, err)
			}
			if r.Present != r.Expected || r.Expected != 6 {
				t.Errorf("cut at %d: %+v", n, r)
			}
			kept += r.Kept
		}
		b.renamed("/m1", "/new")
		b.clean()
		if n%5 == 0 {
			b.survives(1, 2)
		}
		if t.Failed() {
			t.Fatalf("cut at operation %d", n)
		}
		if finished {
			if n < 50 || kept == 0 {
				t.Errorf("finished after %d operations, %d shards kept", n, kept)
			}
			return
		}
	}
}

// TestReplaceBeside: what others write while a member is replaced is on the new one in the end.
func TestReplaceBeside(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 2, 3000)
	other := b.mustOpen() // by the old cards
	n := 1
	var mu sync.Mutex
	b.via = func(name string, s remote.Store) remote.Store {
		if name != "/new" {
			return s
		}
		return &hooks{s, func(object string) {
			mu.Lock()
			defer mu.Unlock()
			// once in the middle, once when all is there and the card is about to be written
			if n < 3 && (object == "cairn.json" || n == 1) {
				n++
				b.backup(other, byte(n), 2, 3000)
			}
		}}
	}
	r, err := b.replace(b.mustOpen(), "/m1", "/new")
	b.must(err)
	if n != 3 || r.Present != 9 || r.Expected != 9 {
		t.Errorf("%d backups, %+v", n, r)
	}
	b.via = nil
	b.renamed("/m1", "/new")
	b.clean()
	b.survives(1, 3)
}

// TestReplaceRefuses what would destroy something.
func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	b, other := newBench(t, 2, 1), newBench(t, 1, 0)
	b.backup(b.mustOpen(), 1, 2, 3000)
	other.backup(other.mustOpen(), 1, 2, 3000)
	b.mem["/other"] = other.mem["/m0"]
	for _, c := range [][2]string{{"1", "/m2"}, {"1", "/other"}, {"7", "/new"}, {"/elsewhere", "/new"}} {
		if r, err := b.replace(b.mustOpen(), c[0], c[1]); err == nil {
			t.Errorf("replace %s %s: %+v", c[0], c[1], r)
		}
	}
	b.must(other.mem["/m0"].Delete(t.Context(), "cairn.json"))
	if _, err := b.replace(b.mustOpen(), "1", "/other"); err == nil {
		t.Error("packs of another archive were overwritten")
	}
	delete(b.mem, "/m1")
	delete(b.mem, "/m2")
	if _, err := b.replace(b.mustOpen(), "/m1", "/new"); err == nil {
		t.Error("which of two missing members is meant was guessed")
	}
}

// TestReplaceTooFew: what cannot be made is told, and the rest is made.
func TestReplaceTooFew(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 2, 3000)
	b.backup(b.mustOpen(), 2, 2, 3000)
	victim := b.objects("/m0", "binaries/")[0]
	b.flip("/m0", victim)
	delete(b.mem, "/m1")
	r, err := b.replace(b.mustOpen(), "1", "/new")
	b.must(err)
	if len(r.Failed) != 1 || r.Present != r.Expected-1 {
		t.Errorf("%+v", r)
	}
}
