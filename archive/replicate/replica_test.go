package replicate

import (
	"context"
	"errors"
	"testing"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote/fault"
	"cairn/snapshot"
)

// replicate brings to up to date with from.
func (b *bench) replicate(to *bench, o ReplicaOptions) (*ReplicaReport, error) {
	b.t.Helper()
	from, err := b.tryOpen(b.keys)
	if err != nil {
		return nil, err
	}
	target, err := to.tryOpen(to.keys)
	if err != nil {
		return nil, err
	}
	return Run(b.t.Context(), from, target, o)
}

func (b *bench) forget(ids ...chunk.ID) {
	b.t.Helper()
	for _, id := range ids {
		if err := b.open().RemoveSnapshot(b.t.Context(), id); err != nil {
			b.t.Fatal(err)
		}
	}
}

// change replaces a snapshot by one with other fields.
func (b *bench) change(s *snapshot.Snapshot, fn func(*snapshot.Snapshot)) *snapshot.Snapshot {
	b.t.Helper()
	next := *s
	fn(&next)
	id, err := b.open().Replace(b.t.Context(), s, &next)
	if err != nil {
		b.t.Fatal(err)
	}
	next.ID = id
	return &next
}

// TestReplica: E1, E8, E18: the whole history, and what was forgotten in the source as far as that is wanted.
func TestReplica(t *testing.T) {
	t.Parallel()
	from, to := source(t, 2, 1), newBench(t, 1, 1)
	to.backup(files{"srv/own": "made in the target"}, func(s *snapshot.Snapshot) { s.Series, s.Start.Sec = "own", 1_700_000_000 })
	want := func(what string, o ReplicaOptions, copied, there, forgotten, kept int) {
		t.Helper()
		r, err := from.replicate(to, o)
		if err != nil || r.Copied != copied || r.There != there || r.Forgotten != forgotten || r.Kept != kept {
			t.Fatalf("%s: %v, %+v", what, err, r)
		}
	}
	want("first", ReplicaOptions{Delete: true}, 4, 0, 0, 0)
	from.same(to)
	chained(t, from.list(), to.list()[1:])

	// Other tags make another snapshot, which costs nothing but its object.
	list := from.list()
	tagged := from.change(list[0], func(s *snapshot.Snapshot) { s.Tags = []string{"tagged"} })
	from.forget(list[1].ID, list[3].ID)
	want("dry", ReplicaOptions{Delete: true, Options: Options{DryRun: true}}, 1, 1, 3, 0)
	want("append only", ReplicaOptions{}, 1, 1, 0, 3)
	if n := len(to.list()); n != 6 {
		t.Errorf("%d snapshots in the target", n)
	}
	// One of them is pinned in the target.
	for _, c := range to.list() {
		if c.Origin.Snapshot == list[3].ID {
			to.change(c, func(s *snapshot.Snapshot) { s.Pinned = true })
		}
	}
	want("delete", ReplicaOptions{Delete: true}, 0, 2, 2, 1)
	want("delete again", ReplicaOptions{Delete: true}, 0, 2, 0, 1)
	from.same(to)
	for _, c := range to.list() {
		if c.Origin.Snapshot == tagged.ID && (len(c.Tags) != 1 || c.Tags[0] != "tagged" || !c.Original.IsZero()) {
			t.Errorf("tags %q, original %s", c.Tags, c.Original.Short())
		}
	}
	to.clean()

	// What was forgotten in the target is not copied again by whom remembers that.
	to.dir = t.TempDir()
	from.backup(files{"srv/late": "late"}, nil)
	want("remembered", ReplicaOptions{}, 1, 2, 0, 1)
	late := to.list()[len(to.list())-1]
	if _, err := to.open().Forget(t.Context(), []chunk.ID{late.ID}, archive.Record{}); err != nil {
		t.Fatal(err)
	}
	want("forgotten in the target", ReplicaOptions{}, 0, 2, 0, 1)
	if r := from.copyAll(to); r.Copied != 1 {
		t.Errorf("copied on purpose: %+v", r)
	}
	from.same(to)
	to.dir = ""

	// A source without snapshots takes nothing away.
	for _, s := range from.list() {
		from.forget(s.ID)
	}
	if r, err := from.replicate(to, ReplicaOptions{Delete: true}); !errors.Is(err, errEmpty) || r.Forgotten > 0 {
		t.Errorf("emptied source: %v, %+v", err, r)
	}
	want("emptied source", ReplicaOptions{}, 0, 0, 0, 4)
}

// TestReplicaStops: a replica whose store fails at any moment is right after the next run.
func TestReplicaStops(t *testing.T) {
	t.Parallel()
	from, to := smallSource(t), newBench(t, 1, 0)
	to.open()
	if _, err := from.replicate(to, ReplicaOptions{}); err != nil {
		t.Fatal(err)
	}
	first := from.list()[0]
	from.backup(files{"srv/d/c": "c"}, nil)
	from.forget(first.ID)
	stops(t, to, fault.Fail, 4, func(to *bench) error {
		_, err := from.replicate(to, ReplicaOptions{Delete: true})
		return err
	}, func(to *bench) {
		from.same(to)
		if n := len(to.complete()); n != 2 {
			t.Errorf("%d snapshots", n)
		}
		to.clean()
	})
}

// TestWatch: E6: it goes on after failures, ends when told to, and in good order when its context does.
func TestWatch(t *testing.T) {
	t.Parallel()
	boom, enough := errors.New("boom"), errors.New("enough")
	runs, failures := 0, 0
	err := Watch(t.Context(), time.Millisecond, func(context.Context) error {
		if runs++; runs%2 == 0 {
			return boom
		}
		return nil
	}, func(err error) error {
		if failures++; failures == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || runs != 6 || failures != 3 {
		t.Errorf("%v after %d runs and %d failures", err, runs, failures)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Watch(ctx, time.Hour, func(context.Context) error {
		time.AfterFunc(10*time.Millisecond, cancel)
		return nil
	}, nil)
	if err != nil {
		t.Errorf("ended while it waits: %v", err)
	}
	err = Watch(ctx, time.Hour, func(ctx context.Context) error { return ctx.Err() }, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended while it runs: %v", err)
	}
}
