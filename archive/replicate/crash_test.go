package replicate

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/snapshot"
)

// stops runs something again and again, on a fork each time, with stores whose operations all fail from the n-th on, until it comes through. Then
// it runs it once more without faults and calls look. Every step-th n is tried, with CAIRN_SOAK all.
func stops(t *testing.T, b *bench, do fault.Action, step int, run func(*bench) error, look func(*bench)) {
	t.Helper()
	if os.Getenv("CAIRN_SOAK") != "" {
		step = 1
	}
	for n := 0; ; n += step {
		f := b.fork(t)
		f.dir = t.TempDir()
		f.fails(fault.Rule{Skip: n, Do: do, Hits: hits(do)})
		err := run(f)
		f.fails()
		if err == nil && n == 0 {
			t.Fatal("it needs no store at all")
		}
		if err != nil {
			if err := run(f); err != nil {
				t.Fatalf("after operation %d failed: %v", n, err)
			}
		}
		look(f)
		if t.Failed() {
			t.Fatalf("after operation %d", n)
		}
		if err == nil && f.count(fault.Any) <= n*len(f.stores) || n > 500 {
			if n < 10 || n > 500 {
				t.Errorf("%d operations were tried", n)
			}
			t.Logf("%d operations", n)
			return
		}
	}
}

// hits: a lost acknowledgement is one, a dead store dead for ever.
func hits(do fault.Action) int {
	if do == fault.Lose {
		return 1
	}
	return 0
}

func smallSource(t *testing.T) *bench {
	b := newBench(t, 1, 0)
	b.backup(files{"srv/a": text("a", 2500), "srv/d/b": text("b", 1500)}, nil)
	b.backup(files{"srv/a": text("a", 2500), "srv/d/b": text("changed", 1500), "srv/d/c": "c"}, nil)
	b.open()
	return b
}

func TestCopyStops(t *testing.T) {
	t.Parallel()
	from := smallSource(t)
	for _, l := range [][3]int{{1, 0, 3}, {2, 1, 7}} {
		for _, do := range []fault.Action{fault.Fail, fault.Lose} {
			t.Run(fmt.Sprintf("%d+%d, %d", l[0], l[1], do), func(t *testing.T) {
				t.Parallel()
				to := newBench(t, l[0], l[1])
				to.open()
				stops(t, to, do, l[2], func(to *bench) error {
					_, err := from.tryCopy(to)
					return err
				}, func(to *bench) {
					from.same(to)
					to.clean()
				})
			})
		}
	}
}

// TestCopyResumes: what an interrupted copy stored is not read or stored again.
func TestCopyResumes(t *testing.T) {
	t.Parallel()
	from, to := smallSource(t), newBench(t, 2, 1)
	to.dir = t.TempDir()
	to.open()
	to.fails(fault.Rule{Op: fault.Put, Name: "snapshots/", Do: fault.Fail})
	if _, err := from.tryCopy(to); err == nil {
		t.Fatal("it came through")
	}
	to.fails()
	packs := to.names("binaries/")
	all := from.list()
	r, err := Copy(t.Context(), from.open(), to.open(), all, all[:1], Options{})
	if err != nil || r.Copied != 1 || r.Blobs+r.Trees > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if d := cmp.Diff(packs, to.names("binaries/")); d != "" {
		t.Error(d)
	}
	from.copyAll(to)
	from.same(to)
	to.clean()
}

// TestCopySourceStops: whatever of the source fails, what is in the target is whole.
func TestCopySourceStops(t *testing.T) {
	t.Parallel()
	from, to := smallSource(t), newBench(t, 1, 0)
	to.open()
	stops(t, from, fault.Fail, 2, func(from *bench) error {
		target := to.fork(t)
		r, err := from.tryCopy(target)
		if err == nil && r.Lost > 0 {
			err = r.Err
		}
		target.clean()
		for _, c := range target.complete() {
			from.fails()
			i := slices.IndexFunc(from.list(), func(s *snapshot.Snapshot) bool { return s.ID == c.Origin.Snapshot })
			target.holds(c, from.content(from.list()[i]))
		}
		return err
	}, func(*bench) {})
}

// hook calls a function before an object of a name is put for the first time.
type hook struct {
	remote.Store
	prefix string
	once   *sync.Once
	do     func()
}

func (h hook) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, h.prefix) {
		h.once.Do(h.do)
	}
	return h.Store.Put(ctx, name, data)
}

// sweep plays a collector that condemns all data and tree packs there are, and deletes them.
func (b *bench) sweep() {
	b.t.Helper()
	plain := *b
	plain.wrap = nil
	packs := plain.packs()
	if err := plain.open().PublishRecord(b.t.Context(), &archive.Record{Packs: packs, Time: time.Unix(1, 0)}, true); err != nil {
		b.t.Error(err)
	}
	for _, s := range b.mem {
		for _, id := range packs {
			if err := s.Delete(context.Background(), id.Name(chunk.Data)); err != nil {
				b.t.Error(err)
			}
		}
	}
}

// packs lists the packs on the first member.
func (b *bench) packs() (packs []pack.ID) {
	b.t.Helper()
	for _, name := range b.names("binaries/") {
		if id, _, ok := pack.ParseName(name); ok {
			packs = append(packs, id)
		}
	}
	if len(packs) == 0 {
		b.t.Error("there are no packs")
	}
	return packs
}

// TestCopyAnew: a collector takes away what the copy relied on, because the copy before was forgotten, while the copy is published.
func TestCopyAnew(t *testing.T) {
	t.Parallel()
	from, to := smallSource(t), newBench(t, 2, 1)
	all := from.list()
	if _, err := Copy(t.Context(), from.open(), to.open(), all, all[:1], Options{}); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	to.wrap = func(_ int, s remote.Store) remote.Store {
		return hook{s, "snapshots/", &once, func() {
			plain := *to
			plain.wrap = nil
			if _, err := plain.open().Forget(t.Context(), []chunk.ID{to.mustList(t)[0].ID}, archive.Record{}); err != nil {
				t.Error(err)
			}
			to.sweep()
		}}
	}
	r, err := Copy(t.Context(), from.open(), to.open(), all, all[1:], Options{})
	if err != nil || r.Copied != 1 {
		t.Fatal(err, r)
	}
	to.wrap = nil
	list := to.list()
	if len(list) != 1 {
		t.Fatalf("%d snapshots are left", len(list))
	}
	to.holds(list[0], from.content(all[1]))
}

// mustList lists what is there beside an archive that is at work.
func (b *bench) mustList(t *testing.T) []*snapshot.Snapshot {
	t.Helper()
	plain := *b
	plain.wrap = nil
	list, _, err := plain.open().Snapshots(t.Context())
	if err != nil || len(list) == 0 {
		t.Error(err, list)
	}
	return list
}
