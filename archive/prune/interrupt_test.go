package prune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/snapshot"
)

// fuse fails every operation from the n-th on: what a kill -9 leaves.
type fuse struct {
	mu   sync.Mutex
	left int // < 0: never
	used int
}

var errBlown = remote.Permanent(errors.New("fuse blown"))

func (f *fuse) burn(string, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used++
	if f.left == 0 {
		return errBlown
	}
	f.left--
	return nil
}

// busyBench is an archive with something of everything to collect: packs that nobody needs, sparse and small ones, packs that no segment
// names, packs that another collector condemned, a forgotten snapshot that is still on a member, more index packs than there have to be.
func busyBench(t *testing.T, k, m int) *bench {
	b := newBench(t, k, m)
	a := b.open()
	all := files("d", 16)
	var gone []*snapshot.Snapshot
	gone = append(gone, b.backup(a, all...))
	b.backup(a, all[:6]...)
	gone = append(gone, b.backup(a, append(files("e", 6), all[4:12]...)...))
	b.backup(a, files("e", 3)...)
	for i := range 6 {
		b.backup(a, files("f", i)...)
	}
	orphans, err := a.NewWriter(t.Context())
	b.must(err)
	_, err = b.fill(t.Context(), orphans, files("o", 3))
	b.must(err)
	b.must(orphans.Flush(t.Context()))
	for _, name := range append(newest(b, "index/", "o0/f0"), b.objects("sessions/")...) {
		for _, s := range b.mem {
			b.must(s.Delete(t.Context(), name))
		}
	}
	object, err := b.mem["/m0"].Get(t.Context(), "snapshots/"+gone[0].ID.String(), 0, -1, nil)
	b.must(err)
	b.forget(a, gone...)
	b.must(b.mem["/m0"].Put(t.Context(), "snapshots/"+gone[0].ID.String(), object))
	return b
}

// newest lists the index pack below a prefix that names a file.
func newest(b *bench, prefix, file string) []string {
	a := b.open()
	var list []string
	for _, name := range b.objects(prefix) {
		id, _, ok := pack.ParseName(name)
		if !ok {
			continue
		}
		columns, err := a.ReadSegment(b.t.Context(), id)
		b.must(err)
		for _, c := range columns {
			for _, e := range c.Entries {
				if e.ID == dataOf(file, b.size) {
					return append(list, name)
				}
			}
		}
	}
	return list
}

// TestInterrupted stops a collection at each operation on the members, and lets another one finish it, on the same machine or on another.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ k, m, step int }{{1, 0, 7}, {2, 1, 41}, {4, 2, 97}} {
		if os.Getenv("CAIRN_SOAK") != "" { // a minute or two on two cores
			c.step = 1
		}
		t.Run(fmt.Sprintf("%d+%d", c.k, c.m), func(t *testing.T) {
			t.Parallel()
			origin := busyBench(t, c.k, c.m)
			ops, half := 0, 0
			for n := 0; ; n += c.step {
				b := origin.clone(t)
				f := &fuse{left: n}
				b.via = (&gate{before: f.burn}).via
				dir := t.TempDir()
				_, err := b.pruneIn(t.Context(), dir, Options{})
				b.via = nil
				if ops = f.used; err == nil && ops <= n {
					break
				}
				b.restore(8)
				o := Options{}
				if half++; half%2 == 0 { // another machine, where nobody knows that the session is dead; a week later
					dir, o.SessionAge = t.TempDir(), 1
				}
				if _, err := b.pruneIn(t.Context(), dir, o); err != nil {
					t.Errorf("stopped before operation %d: the next run: %v", n, err)
				}
				b.exact()
				b.clean()
				b.restore(8)
				if t.Failed() {
					t.Fatalf("stopped before operation %d", n)
				}
			}
			t.Logf("%d operations", ops)
		})
	}
}

// openIn opens the archive on a machine with the given cache directory; "": the usual one.
func (b *bench) openIn(ctx context.Context, dir string) (*archive.Archive, error) {
	o := b.options()
	if dir != "" {
		o.Dir = func(seal.ArchiveID) string { return dir }
	}
	return b.tryOpen(ctx, o)
}

// pruneIn collects on a machine with the given cache directory.
func (b *bench) pruneIn(ctx context.Context, dir string, o Options) (*Report, error) {
	a, err := b.openIn(ctx, dir)
	if err != nil {
		return &Report{}, err
	}
	defer a.Close()
	o.Target = target
	return Run(ctx, a, o)
}

// TestBetween lets others do something before each operation of a collection, once: everything that was reported as done can be
// restored, and no garbage survives the next collection.
func TestBetween(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(b *bench, a *archive.Archive) error{
		"a backup that needs what is garbage": func(b *bench, a *archive.Archive) error {
			_, err := b.tryBackup(b.t.Context(), a, files("d", 16)...)
			return err
		},
		"another collection": func(b *bench, a *archive.Archive) error {
			_, err := b.tryPrune(b.t.Context(), Options{SessionAge: 1})
			return err
		},
		"a snapshot is forgotten": func(b *bench, a *archive.Archive) error {
			list, _, err := a.Snapshots(b.t.Context())
			if err != nil || len(list) == 0 {
				return err
			}
			_, err = a.Forget(b.t.Context(), []chunk.ID{list[0].ID}, archive.Record{Time: fixed})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := busyBench(t, 2, 1)
			step := 43
			if os.Getenv("CAIRN_SOAK") != "" {
				step = 1
			}
			for n := 0; ; n += step {
				b := origin.clone(t)
				other := b.open() // it knows the index as it was before
				if _, err := other.Index(t.Context()); err != nil {
					t.Fatal(err)
				}
				var mu sync.Mutex
				ops, done := 0, false
				b.via = (&gate{before: func(string, string) error {
					mu.Lock()
					defer mu.Unlock()
					if ops++; ops != n+1 {
						return nil
					}
					done = true
					via := b.via
					b.via = nil
					defer func() { b.via = via }()
					return do(b, other)
				}}).via
				_, err := b.tryPrune(t.Context(), Options{})
				b.via = nil
				if err != nil {
					t.Fatalf("before operation %d: %v", n, err)
				}
				if !done {
					break
				}
				a := b.open()
				list, _, err := a.Snapshots(t.Context())
				b.must(err)
				b.restore(len(list))
				for range 2 {
					if _, err := b.tryPrune(t.Context(), Options{SessionAge: 1}); err != nil {
						t.Fatalf("before operation %d: the next run: %v", n, err)
					}
				}
				b.exact()
				b.clean()
				b.restore(len(list))
				if t.Failed() {
					t.Fatalf("before operation %d", n)
				}
			}
		})
	}
}
