package member

import (
	"context"
	"slices"
	"testing"
	"time"

	"cairn/archive"
	"cairn/remote"
)

// slow answers late.
type slow struct {
	remote.Store
	by time.Duration
}

func (s *slow) Stat(ctx context.Context, name string) (remote.Info, error) {
	time.Sleep(s.by)
	return s.Store.Stat(ctx, name)
}

func (b *bench) list(a *archive.Archive) *ListReport {
	b.t.Helper()
	r, err := List(b.t.Context(), a)
	b.must(err)
	return r
}

// TestList: what each member lacks, and what can still be lost.
func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.backup(b.mustOpen(), 1, 3, 5000)
	b.backup(b.mustOpen(), 2, 3, 5000)
	r := b.list(b.mustOpen())
	if r.Packs != 6 || r.Degraded+r.Weak+r.Former != 0 || r.Survive != 2 || r.Layouts != 1 {
		t.Errorf("whole: %+v", r)
	}
	for i, s := range r.Members {
		// card, slot, two snapshots and marks, six shards
		if s.Number != i || s.State != OK || s.Problem != "" || s.Objects != 12 || s.Bytes == 0 || s.MissingShards+s.MissingCopies > 0 || s.Latency <= 0 {
			t.Errorf("whole: %+v", s)
		}
	}
	shards := b.objects("/m1", "binaries/")
	b.must(b.mem["/m1"].Delete(t.Context(), shards[0]))
	b.must(b.mem["/m1"].Put(t.Context(), shards[1], []byte("short")))
	b.must(b.mem["/m2"].Delete(t.Context(), b.objects("/m2", "snapshots/")[0]))
	delete(b.mem, "/m3")
	b.via = func(name string, s remote.Store) remote.Store {
		if name == "/m4" {
			return &slow{s, 60 * time.Millisecond}
		}
		return s
	}
	r = b.list(b.mustOpen())
	if r.Packs != 6 || r.Degraded != 6 || r.Survive != 0 {
		t.Errorf("damaged: %+v", r)
	}
	for i, want := range []Status{{State: OK}, {State: OK, MissingShards: 2}, {State: OK, MissingCopies: 1}, {State: Missing}, {State: Slow}, {State: OK}} {
		if s := r.Members[i]; s.State != want.State || s.MissingShards != want.MissingShards || s.MissingCopies != want.MissingCopies || (s.Problem == "") != (want.State == OK) {
			t.Errorf("member %d: %+v", i, s)
		}
	}
	delete(b.mem, "/m0")
	if r = b.list(b.mustOpen()); r.Weak != 2 || r.Degraded != 4 || r.Survive != 0 {
		t.Errorf("too little: %+v", r)
	}
	delete(b.mem, "/m1")
	if r = b.list(b.mustOpen()); r.Survive != -1 {
		t.Errorf("less: %+v", r)
	}
}

// TestListCards: a damaged card, a stale one, former members.
func TestListCards(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 3, 5000)
	b.must(b.mem["/m1"].Put(t.Context(), "cairn.json", []byte("{")))
	r := b.list(b.mustOpen())
	if i := slices.IndexFunc(r.Members, func(s Status) bool { return s.State == BadCard }); i != 1 || r.Members[i].Problem == "" {
		t.Errorf("%+v", r.Members)
	}
	b = newBench(t, 2, 1)
	b.backup(b.mustOpen(), 1, 3, 5000)
	card, err := b.mem["/m1"].Get(t.Context(), "cairn.json", 0, -1, nil)
	b.must(err)
	_, err = b.relayout(t.Context(), change{1, 2, []string{"/m0", "/m1", "/new"}})
	b.must(err)
	b.must(b.mem["/m1"].Put(t.Context(), "cairn.json", card))
	r = b.list(b.mustOpen())
	if len(r.Members) != 4 || r.Members[1].State != Stale || r.Members[3].Number != -1 || r.Members[3].State != OK || r.Layouts != 2 || r.Former != 0 || r.Survive != 2 {
		t.Errorf("%+v", r)
	}
	b.names = []string{"/m0", "/m1", "/new"}
	if r = b.list(b.mustOpen()); len(r.Members) != 3 || r.Packs != 3 || r.Survive != 2 {
		t.Errorf("a former member that nothing needs is listed: %+v", r.Members)
	}
}

// TestListFormer: packs of several layouts are counted by their own.
func TestListFormer(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	other := b.mustOpen()
	_, err := b.relayout(t.Context(), change{2, 2, names(4)})
	b.must(err)
	b.backup(b.mustOpen(), 1, 3, 5000)
	b.backup(other, 2, 3, 5000) // by the former layout
	r := b.list(b.mustOpen())
	if r.Packs != 6 || r.Former != 3 || r.Degraded+r.Weak != 0 || r.Survive != 1 {
		t.Errorf("%+v", r)
	}
	for _, name := range b.objects("/m1", "binaries/") {
		b.must(b.mem["/m1"].Delete(t.Context(), name))
	}
	if r = b.list(b.mustOpen()); r.Members[1].MissingShards != 4 || r.Degraded != 4 || r.Survive != 0 {
		t.Errorf("%+v", r)
	}
}
