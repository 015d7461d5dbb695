package archive

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

// TestSaveConcurrently: many goroutines save the same blobs at the same time, and each blob is stored once.
func TestSaveConcurrently(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		b := newBench(t, g[0], g[1])
		a := b.open()
		w := b.writer(a)
		data, trees := blobs(1, 150, 3000), blobs(2, 100, 300)
		var mu sync.Mutex
		news := map[chunk.ID]int{}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range data {
					kind, plain := chunk.Data, data[(j*(i%2*2+1)+i)%len(data)]
					if j < len(trees) && i%3 == 0 {
						kind, plain = chunk.Tree, trees[j]
					}
					s, err := w.Save(t.Context(), kind, plain)
					if err != nil {
						t.Error(err)
						return
					}
					if s.ID != chunk.Sum(plain) || (s.Stored > 0) != s.New {
						t.Errorf("%+v", s)
					}
					if s.New {
						mu.Lock()
						news[s.ID]++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		for id, n := range news {
			if n != 1 {
				t.Errorf("blob %s was stored %d times", id.Short(), n)
			}
		}
		if known, err := w.Known(chunk.Data, ids(data)); err != nil || !known {
			t.Errorf("known: %v, %v", known, err)
		}
		if known, err := w.Known(chunk.Tree, ids(data)[:1]); err != nil || known {
			t.Errorf("a data blob is known as a tree: %v", err)
		}
		s := newSnapshot()
		id, err := w.Commit(t.Context(), s)
		if err != nil || s.ID != id || len(s.Degraded) > 0 {
			t.Fatalf("%v, %v", s, err)
		}
		if n := len(b.names("binaries/")); n < 7/g[0] || w.Stats().Packs != n+len(b.names("index/")) {
			t.Errorf("%d packs, %+v", n, w.Stats())
		}
		fresh := b.open()
		b.fetchAll(fresh, data)
		for _, p := range trees {
			if got, err := fresh.LoadTree(t.Context(), chunk.Sum(p)); err != nil || string(got) != string(p) {
				t.Errorf("tree: %v", err)
			}
		}
		// Each blob lies in one place, by the directories themselves.
		seen := map[chunk.ID]int{}
		err = fresh.ReadSegments(t.Context(), func(_ pack.ID, cols []pack.Column, err error) error {
			for _, c := range cols {
				for _, e := range c.Entries {
					seen[e.ID]++
				}
			}
			return err
		})
		if err != nil || len(seen) != len(news) {
			t.Errorf("%d blobs in the index, %d new, %v", len(seen), len(news), err)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("blob %s has %d places", id.Short(), n)
			}
		}
		// The next session knows them all.
		w = b.writer(fresh)
		if s, err := w.Save(t.Context(), chunk.Data, data[0]); err != nil || s.New || s.Stored != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		if err := w.Suspend(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := w.Save(t.Context(), chunk.Data, []byte("late")); !errors.Is(err, errEnded) {
			t.Errorf("saved after the end: %v", err)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	w := b.writer(b.open())
	for _, c := range []struct {
		t     chunk.Type
		plain []byte
	}{{chunk.Index, []byte("x")}, {0, []byte("x")}, {chunk.Data, nil}, {chunk.Data, make([]byte, chunk.MaxPlain+1)}} {
		if _, err := w.Save(t.Context(), c.t, c.plain); err == nil {
			t.Errorf("%s blob of %d bytes is saved", c.t, len(c.plain))
		}
	}
	// A blob far above the target takes a pack of its own; the session goes on.
	if _, err := w.Save(t.Context(), chunk.Data, blobs(1, 1, 300_000)[0]); err != nil {
		t.Error(err)
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Error(err)
	}
}

// TestTailsAreMerged: what is left in the open packs becomes one pack.
func TestTailsAreMerged(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.save(b.open(), blobs(1, 12, 500)...)
	if n := len(b.names("binaries/")); n != 1 {
		t.Errorf("%d packs", n)
	}
}

// TestPublishing: segments come after so many blobs and after so much time, and the pending set shrinks.
func TestPublishing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	w := b.writer(b.open())
	w.limits.publishBlobs = 40
	save := func(list [][]byte) {
		for _, p := range list {
			if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	save(blobs(1, 250, 2000))
	if n := len(b.names("index/")); n < 3 {
		t.Errorf("%d segments", n)
	}
	if len(w.pending) > 150 {
		t.Errorf("%d of 250 blobs are pending", len(w.pending))
	}
	w.limits.publishBlobs, w.limits.publishEvery = 1<<20, time.Nanosecond
	before := len(b.names("index/"))
	save(blobs(2, 100, 2000))
	if n := len(b.names("index/")); n <= before {
		t.Error("time does not publish")
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	b.fetchAll(b.open(), append(blobs(1, 250, 2000), blobs(2, 100, 2000)...))
}

// TestUploadError: nothing is reported as done, and Suspend keeps what was stored before.
func TestUploadError(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]fault.Rule{
		"pack":        {Op: fault.Put, Name: "binaries/", Skip: 2},
		"lost ack":    {Op: fault.Put, Name: "binaries/", Skip: 2, Hits: 1, Do: fault.Lose},
		"segment":     {Op: fault.Put, Name: "index/"},
		"snapshot":    {Op: fault.Put, Name: "snapshots/"},
		"mark":        {Op: fault.Put, Name: "*.ok"},
		"unreachable": {Op: fault.Put, Err: remote.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1, 0)
			w := b.writer(b.open())
			b.stores[0].Set(rule)
			var err error
			list := blobs(1, 150, 3000)
			for _, p := range list {
				if _, err = w.Save(t.Context(), chunk.Data, p); err != nil {
					break
				}
			}
			_, commitErr := w.Commit(t.Context(), newSnapshot())
			if commitErr == nil {
				t.Fatal("committed")
			}
			var few *stripe.TooFewError
			if !errors.As(commitErr, &few) {
				t.Errorf("%v is no TooFewError", commitErr)
			}
			b.stores[0].Set()
			if err := w.Suspend(t.Context()); err != nil {
				t.Errorf("suspend: %v", err)
			}
			a := b.open()
			complete, err := a.SnapshotIDs(t.Context())
			for id, marked := range complete {
				if marked {
					t.Errorf("snapshot %s, %v", id.Short(), err)
				}
			}
			if len(complete) > 0 != (name == "mark") {
				t.Errorf("%d snapshots", len(complete))
			}
			b.save(a, list...) // the next run makes it good
			b.fetchAll(b.open(), list)
		})
	}
}

// TestSaveAfterFailure: a blob that one goroutine had claimed and could not store is not taken for stored.
func TestSaveAfterFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	w := b.writer(b.open())
	b.stores[0].Set(fault.Rule{Op: fault.Put, Name: "binaries/", Do: fault.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var err error
	list := blobs(1, 300, 3000)
	last := 0
	for i, p := range list {
		if _, err = w.Save(ctx, chunk.Data, p); err != nil {
			last = i
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("save: %v", err)
	}
	if s, err := w.Save(t.Context(), chunk.Data, list[last]); err == nil {
		t.Errorf("%+v: a blob that was not stored counts as known", s)
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); err == nil {
		t.Error("committed")
	}
	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := w.Suspend(late); err == nil {
		t.Error("suspended with a store that hangs")
	}
}

// TestInterrupted: after a cancelled run no goroutine is left, and what was sealed is used by the next one.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the test fails if a goroutine stays
		b := newBench(t, 2, 1)
		w := b.writer(b.open())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		list := blobs(1, 200, 3000)
		saved := 0
		for i, p := range list {
			if i == 150 {
				cancel()
			}
			if _, err := w.Save(ctx, chunk.Data, p); err == nil {
				saved++
			}
		}
		if _, err := w.Commit(ctx, newSnapshot()); err == nil {
			t.Error("committed with a cancelled context")
		}
		if err := w.Suspend(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.Suspend(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
		a := b.open()
		got, err := b.fetch(a, ids(list[:saved]))
		if err != nil || len(got) != saved || saved < 150 {
			t.Errorf("%d of %d blobs that were saved are there: %v", len(got), saved, err)
		}
	})
}

// TestMemoryIsBounded: however many goroutines save, no more packs are taken out than may be under way.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	w := b.writer(b.open())
	b.stores[0].Set(fault.Rule{Op: fault.Put, Name: "binaries/", Do: fault.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	bytes := 0
	for i := range 32 {
		wg.Go(func() {
			for _, p := range blobs(byte(i), 50, 4000) {
				if _, err := w.Save(ctx, chunk.Data, p); err != nil {
					return
				}
				mu.Lock()
				bytes += len(p)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if most := (openPacks + maxUploads) * 64 << 10; bytes > most {
		t.Errorf("%d bytes were taken, at most %d fit into open packs and uploads", bytes, most)
	}
	late, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	_ = w.Suspend(late)
	if n := runtime.NumGoroutine(); n > 500 {
		t.Errorf("%d goroutines", n)
	}
}

func TestDegraded(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	b.stores[1].Set(fault.Rule{Op: fault.Put})
	list := blobs(1, 80, 3000)
	s := b.save(a, list...)
	packs := append(b.names("binaries/"), b.names("index/")...)
	if len(s.Degraded) != len(packs) {
		t.Errorf("%d packs are degraded, %d were stored", len(s.Degraded), len(packs))
	}
	for _, id := range s.Degraded {
		p := pack.ID(id)
		if !strings.Contains(strings.Join(packs, " "), p.String()) {
			t.Errorf("%s was not stored", p)
		}
	}
	read, damaged, err := b.open().Snapshots(t.Context())
	if err != nil || len(damaged) > 0 || len(read) != 1 || len(read[0].Degraded) != len(packs) {
		t.Errorf("%v, %v, %v", read, damaged, err)
	}
	b.fetchAll(b.open(), list)
	// One more member away: too few.
	b.stores[2].Set(fault.Rule{Op: fault.Put, Err: remote.ErrUnavailable})
	w := b.writer(b.open())
	if _, err := w.Save(t.Context(), chunk.Data, []byte("one more")); err != nil {
		t.Fatal(err)
	}
	var few *stripe.TooFewError
	if _, err := w.Commit(t.Context(), newSnapshot()); !errors.As(err, &few) || few.Need != 2 || few.Have != 1 {
		t.Errorf("%v", err)
	}
	w = b.writer(b.open())
	if _, err := w.Save(t.Context(), chunk.Data, []byte("one more")); err != nil {
		t.Fatal(err)
	}
	if err := w.Suspend(t.Context()); !errors.As(err, &few) {
		t.Errorf("suspended without enough members: %v", err)
	}
}

// TestWriterKeys: E12: a machine with a writer key backs up and deduplicates, and reads nothing back.
func TestWriterKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	full := b.open()
	list := blobs(1, 40, 3000)
	b.save(full, list[:20]...)
	k, err := full.Keys().NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	slot, err := seal.NewKeyFileSlot(k, "writer", [32]byte{9}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := full.AddSlot(t.Context(), slot); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	o.Credentials = []seal.Credential{{KeyFile: &[32]byte{9}}}
	a := b.openWith(o)
	w := b.writer(a)
	if known, err := w.Known(chunk.Data, ids(list[:20])); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := b.save(a, list...)
	if _, err := b.fetch(a, ids(list)); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("fetch: %v", err)
	}
	if _, err := a.Load(t.Context(), chunk.Data, chunk.Sum(list[0])); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("load: %v", err)
	}
	if _, _, err := a.Snapshots(t.Context()); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("snapshots: %v", err)
	}
	if _, err := a.Snapshot(t.Context(), s.ID); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("snapshot: %v", err)
	}
	if _, err := a.Replace(t.Context(), s, newSnapshot()); !errors.Is(err, seal.ErrNoReadKey) {
		t.Errorf("replace: %v", err)
	}
	fresh := b.open()
	b.fetchAll(fresh, list)
	snaps, damaged, err := fresh.Snapshots(t.Context())
	if err != nil || len(damaged) > 0 || len(snaps) != 2 || snaps[1].Signer != k.Signer() {
		t.Errorf("%v, %v, %v", snaps, damaged, err)
	}
	if _, err := a.RebuildIndex(t.Context(), RebuildOptions{}); err != nil {
		t.Errorf("rebuild: %v", err)
	}
}
