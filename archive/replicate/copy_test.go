package replicate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote/fault"
	"cairn/snapshot"
)

// someFiles have small and large files, a file of so many chunks that their list is one of lists, and equal ones.
func someFiles() files {
	f := files{"srv/empty": "", "srv/dir/none/": "", "srv/link": "-> dir/a", "srv/large": text("large", 1_200_000), "srv/twin 1": text("twin", 3000), "srv/twin 2": text("twin", 3000)}
	for i := range 40 {
		f[fmt.Sprintf("srv/dir/%d/%d", i%5, i)] = text(fmt.Sprint("small", i), 100*i)
	}
	return f
}

// source makes an archive with a chain of snapshots, and one of another series.
func source(t testing.TB, k, m int) *bench {
	b := newBench(t, k, m)
	f := someFiles()
	b.backup(f, nil)
	f = f.with(files{"srv/dir/1/1": "changed", "srv/new/a": text("new", 5000), "srv/dir/2": "a file now"})
	for i := range 40 {
		if i%5 == 2 {
			delete(f, fmt.Sprintf("srv/dir/2/%d", i))
		}
	}
	b.backup(f, func(s *snapshot.Snapshot) { s.Tags, s.Pinned = []string{"a", "b"}, true })
	b.backup(f.without("srv/large", "srv/new/a"), func(s *snapshot.Snapshot) { s.Expires = snapshot.Time{Sec: 1_900_000_000} })
	b.backup(files{"srv/other": text("other", 2500)}, func(s *snapshot.Snapshot) { s.Series, s.Host = "second", "there" })
	return b
}

func TestCopy(t *testing.T) {
	t.Parallel()
	for _, l := range [][4]int{{1, 0, 4, 2}, {2, 1, 1, 0}, {1, 2, 1, 0}} {
		t.Run(fmt.Sprintf("%d+%d to %d+%d", l[0], l[1], l[2], l[3]), func(t *testing.T) {
			t.Parallel()
			from, to := source(t, l[0], l[1]), newBench(t, l[2], l[3])
			if from.open().Keys().Poly() == to.open().Keys().Poly() {
				t.Fatal("both archives have one polynomial")
			}
			r := from.copyAll(to)
			if r.Copied != 4 || r.There+r.Lost+r.Incomplete+r.Degraded > 0 || r.Blobs == 0 || r.Trees == 0 || r.Bytes < 1_200_000 || r.Stored < r.Bytes {
				t.Errorf("%+v", r)
			}
			from.same(to)
			to.clean()
			chained(t, from.list(), to.list())

			before, reads := to.names(""), from.count(fault.Get)
			r = from.copyAll(to)
			if r.There != 4 || r.Copied > 0 || r.Bytes+r.Stored+r.Blobs+r.Trees > 0 {
				t.Errorf("again: %+v", r)
			}
			if d := cmp.Diff(before, to.names("")); d != "" {
				t.Errorf("again: %s", d)
			}
			// A card for each member, and the snapshots: no cache keeps those here.
			if n := from.count(fault.Get) - reads; n > l[0]+l[1]+4 {
				t.Errorf("again: %d reads of the source", n)
			}
		})
	}
}

// chained compares what copies say of themselves with what the sources say.
func chained(t *testing.T, from, to []*snapshot.Snapshot) {
	t.Helper()
	copies := map[chunk.ID]chunk.ID{}
	for _, c := range to {
		copies[c.Origin.Snapshot] = c.ID
	}
	for i, c := range to {
		s := *from[i]
		if c.Previous != copies[s.Previous] || c.Origin.Snapshot != s.ID || s.Previous.IsZero() != c.Previous.IsZero() {
			t.Errorf("copy %d of %s: previous %s", i, s.ID.Short(), c.Previous.Short())
		}
		s.ID, s.Signer, s.Previous, s.Origin = c.ID, c.Signer, c.Previous, c.Origin
		if d := cmp.Diff(&s, c); d != "" {
			t.Errorf("copy %d: %s", i, d)
		}
	}
}

// TestCopyMissing: E5: of a snapshot that differs little, little is read and stored.
func TestCopyMissing(t *testing.T) {
	t.Parallel()
	from, to := newBench(t, 1, 0), newBench(t, 2, 1)
	f := files{}
	for i := range 3000 {
		f[fmt.Sprintf("srv/%d/%d", i%30, i)] = text(fmt.Sprint(i), 500)
	}
	from.backup(f, nil)
	from.copyAll(to)
	was := from.read()
	from.backup(f.with(files{"srv/7/7": "changed"}), nil)
	r := from.copyAll(to)
	// The root, srv and srv/7 are new.
	if r.Copied != 1 || r.There != 1 || r.Blobs != 1 || r.Bytes != 7 || r.Trees != 3 {
		t.Errorf("%+v", r)
	}
	// Trees are read in ranges of 512 KiB, and all of them have 200 KB.
	if n := from.read() - was; n > 600_000 {
		t.Errorf("%d bytes read", n)
	}
	from.same(to)
	to.clean()
}

// TestCopyDry: a dry run changes nothing and foretells what is missing.
func TestCopyDry(t *testing.T) {
	t.Parallel()
	from, to := source(t, 1, 0), newBench(t, 1, 0)
	a, b := from.open(), to.open()
	before := to.names("")
	dry, err := Copy(t.Context(), a, b, from.list(), from.list(), Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, to.names("")); d != "" {
		t.Errorf("a dry run: %s", d)
	}
	wet := from.copyAll(to)
	if dry.Copied != 4 || dry.Blobs < wet.Blobs || dry.Blobs > wet.Blobs+5 || dry.Bytes < wet.Bytes || dry.Bytes > wet.Bytes+5000 {
		t.Errorf("dry %+v, then %+v", dry, wet)
	}
}

// TestCopyChosen: some snapshots, then others, in any order.
func TestCopyChosen(t *testing.T) {
	t.Parallel()
	from, to := source(t, 1, 0), newBench(t, 1, 0)
	all := from.list()
	for _, i := range []int{2, 0, 3, 1} {
		var told []Result
		r, err := Copy(t.Context(), from.open(), to.open(), all, all[i:i+1], Options{Done: func(r Result) { told = append(told, r) }})
		if err != nil || r.Copied != 1 || len(told) != 1 || told[0].State != Copied || told[0].Source != all[i] || told[0].ID.IsZero() {
			t.Fatal(i, err, r, told)
		}
	}
	from.same(to)
	to.clean()
	if _, err := Copy(t.Context(), from.open(), from.open(), all, all, Options{}); err == nil || !strings.Contains(err.Error(), "the source and the target") {
		t.Errorf("into itself: %v", err)
	}
}

// TestCopyBack: what was copied from an archive is there, and so is what two got from a third.
func TestCopyBack(t *testing.T) {
	t.Parallel()
	one, two, three := source(t, 1, 0), newBench(t, 1, 0), newBench(t, 1, 0)
	one.copyAll(two)
	one.copyAll(three)
	for _, pair := range [][2]*bench{{two, one}, {two, three}, {three, two}} {
		if r := pair[0].copyAll(pair[1]); r.There != 4 || r.Copied > 0 {
			t.Errorf("%+v", r)
		}
	}
	two.backup(files{"srv/mine": "made here"}, nil)
	if r := two.copyAll(one); r.There != 4 || r.Copied != 1 {
		t.Errorf("%+v", r)
	}
	one.clean()
}

// TestCopyIncomplete: what was never finished is no backup, in neither archive.
func TestCopyIncomplete(t *testing.T) {
	t.Parallel()
	from, to := source(t, 1, 0), newBench(t, 1, 0)
	list := from.list()
	if err := from.mem[0].Delete(t.Context(), "snapshots/"+list[1].ID.String()+".ok"); err != nil {
		t.Fatal(err)
	}
	if r := from.copyAll(to); r.Copied != 3 || r.Incomplete != 1 {
		t.Errorf("%+v", r)
	}
	for _, c := range to.list() {
		if c.Origin.Snapshot == list[0].ID {
			if err := to.mem[0].Delete(t.Context(), "snapshots/"+c.ID.String()+".ok"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := from.copyAll(to); r.Copied != 1 || r.There != 2 || r.Blobs > 0 {
		t.Errorf("with an incomplete copy: %+v", r)
	}
	from.same(to)
}

// TestCopyWriter: a target that can only be written to, with a cache that remembers, and without.
func TestCopyWriter(t *testing.T) {
	t.Parallel()
	from, to := source(t, 1, 0), newBench(t, 2, 1)
	full := to.open().Keys()
	var err error
	if to.keys, err = full.NewWriterKeys(); err != nil {
		t.Fatal(err)
	}
	to.dir = t.TempDir()
	to.fails(fault.Rule{Op: fault.Delete, Do: fault.Fail})
	for i, want := range []Report{{Copied: 4}, {There: 4}} {
		r := from.copyAll(to)
		if r.Copied != want.Copied || r.There != want.There {
			t.Errorf("round %d: %+v", i, r)
		}
	}
	writer := to.keys
	to.keys = full
	from.same(to)
	to.clean()

	to.keys, to.dir = writer, "" // what is not remembered is copied again, which stores no blob
	if r := from.copyAll(to); r.Copied != 4 || r.Blobs+r.Trees > 0 {
		t.Errorf("without a cache: %+v", r)
	}
	if _, err := Run(t.Context(), from.open(), to.open(), ReplicaOptions{Delete: true}); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("--delete with a writer key: %v", err)
	}
	to.keys = full
	to.clean()
}

// TestCopyLost: E25: what is lost in the source costs the snapshots that need it.
func TestCopyLost(t *testing.T) {
	t.Parallel()
	from, to := newBench(t, 1, 0), newBench(t, 1, 0)
	good := from.backup(files{"srv/a": text("a", 5000)}, nil)
	bad := from.backup(files{"srv/a": text("a", 5000), "srv/b": text("b", 5000)}, nil)
	packs := from.names("binaries/")
	again := from.backup(files{"srv/c": "c"}, nil)
	for _, name := range packs { // the data pack of bad is the one that is read for b
		f := from.fork(t)
		if err := f.mem[0].Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		target := to.fork(t)
		r := f.copyAll(target)
		if r.Copied+r.Lost != 3 || r.Lost == 0 {
			t.Errorf("without %s: %+v", name, r)
		}
		var damage *archive.BlobDamage
		if !errors.As(r.Err, &damage) {
			t.Errorf("without %s: %v", name, r.Err)
		}
		for _, c := range target.complete() {
			for _, s := range []*snapshot.Snapshot{good, bad, again} {
				if c.Origin.Snapshot == s.ID {
					target.holds(c, from.content(s))
				}
			}
		}
		target.clean()
	}
}
