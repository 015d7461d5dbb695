package prune

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/mem"
)

// vault is an archive with a retention of an hour over stores that lock, whose clock the test moves.
type vault struct {
	*bench
	locked map[string]*mem.Versioned
	off    atomic.Int64 // of the stores' clock
	dir    string
	counts map[string]int
	mu     sync.Mutex
	fail   func(name string) error
}

func (v *vault) now() time.Time { return time.Now().Add(time.Duration(v.off.Load())) }

func (v *vault) advance(d time.Duration) { v.off.Add(int64(d)) }

// counted counts the questions about locks, and the locks that are made longer.
type counted struct {
	*mem.Versioned
	v *vault
}

func (c *counted) count(what, name string) error {
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	c.v.counts[what]++
	if c.v.fail != nil {
		return c.v.fail(name)
	}
	return nil
}

func (c *counted) Retention(ctx context.Context, name string) (remote.Retention, error) {
	if err := c.count("asked", name); err != nil {
		return remote.Retention{}, err
	}
	return c.Versioned.Retention(ctx, name)
}

func (c *counted) Retain(ctx context.Context, name string, r remote.Retention) error {
	if err := c.count("extended", name); err != nil {
		return err
	}
	return c.Versioned.Retain(ctx, name, r)
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{bench: &bench{t: t, key: [32]byte{5}, size: 2000}, locked: map[string]*mem.Versioned{}, dir: t.TempDir(), counts: map[string]int{}}
	for i := range 2 {
		name := fmt.Sprintf("/m%d", i)
		v.names = append(v.names, name)
		v.locked[name] = mem.NewVersioned(v.now)
	}
	keep, err := archive.NewRetention(time.Hour, remote.Governance)
	v.must(err)
	_, err = archive.Init(t.Context(), v.members(), archive.InitOptions{Data: 1, Parity: 1, Now: fixed, Retention: keep, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		slot, err := seal.NewKeyFileSlot(k, "one", v.key, fixed)
		return []*seal.Slot{slot}, err
	}})
	v.must(err)
	return v
}

func (v *vault) members() (list []archive.Member) {
	for _, name := range v.names {
		list = append(list, archive.Member{URL: name, Store: &counted{v.locked[name], v}})
	}
	return list
}

func (v *vault) open() *archive.Archive {
	v.t.Helper()
	o := v.options()
	o.Dir = func(seal.ArchiveID) string { return v.dir }
	o.OpenIndex = func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil }
	a, err := archive.Open(v.t.Context(), v.members(), o)
	v.must(err)
	v.t.Cleanup(func() { a.Close() })
	return a
}

// prune prunes by the stores' clock, and returns how many questions about locks and longer locks it took.
func (v *vault) prune() (r *Report, asked, extended int) {
	v.t.Helper()
	g, err := Begin(v.t.Context(), v.open(), Options{Target: target})
	v.must(err)
	defer g.End()
	for c := (Collection{}); !c.Done(); {
		v.must(c.Step(v.t.Context(), g))
	}
	v.must(g.Fold(v.t.Context()))
	clear(v.counts)
	v.must(g.extend(v.t.Context(), v.now))
	return g.Report(), v.counts["asked"], v.counts["extended"]
}

// locks returns when the lock of each object ends, counted from now, by name: the shortest of all members.
func (v *vault) locks() map[string]time.Duration {
	v.t.Helper()
	left := map[string]time.Duration{}
	for _, s := range v.locked {
		for info, err := range s.List(v.t.Context(), "") {
			v.must(err)
			r, err := s.Retention(v.t.Context(), info.Name)
			v.must(err)
			if d, ok := left[info.Name]; !ok || r.Until.Sub(v.now()) < d {
				left[info.Name] = r.Until.Sub(v.now())
			}
		}
	}
	return left
}

// needed leaves out what is locked and not needed, replaced index packs; and gc records, because the archive locks by the real clock.
func (v *vault) needed(name string) bool {
	return archive.Locked(name) && !strings.HasPrefix(name, "index/") && !strings.HasPrefix(name, "gc/")
}

// TestExtend: what is needed is locked for half of the retention at least after each prune, what nobody needs any more is not, and goes
// when its lock ends. What was asked for once is not asked for by each prune.
func TestExtend(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	a := v.open()
	gone := v.backup(a, files("d", 16)...)
	v.backup(a, files("k", 8)...)
	for name, d := range v.locks() {
		if want := archive.Locked(name); (d > 59*time.Minute) != want {
			t.Errorf("%s is locked for %v after it was stored", name, d)
		}
	}
	if _, asked, _ := v.prune(); asked != 0 {
		t.Errorf("%d locks of what was just stored are looked at", asked)
	}
	v.advance(40 * time.Minute)
	v.forget(v.open(), gone)
	r, asked, extended := v.prune()
	if r.Locked.Packs == 0 || r.Deleted.Packs != 0 || asked == 0 || extended != asked || len(r.Locks.Failed) > 0 {
		t.Errorf("after 40 minutes: %d asked, %d extended, %+v", asked, extended, r)
	}
	condemned, err := v.open().CondemnedPacks(t.Context())
	v.must(err)
	kept := 0
	for name, d := range v.locks() {
		_, hex, _ := remote.ParsePairTree(name)
		id, _ := pack.ParseID(hex)
		_, doomed := condemned[id]
		switch {
		case doomed || strings.Contains(name, gone.ID.String()):
			kept++
			if d > 21*time.Minute {
				t.Errorf("%s is not needed, and locked for %v more", name, d)
			}
		case v.needed(name) && d < 30*time.Minute:
			t.Errorf("%s is needed, and locked for %v only", name, d)
		}
	}
	if kept == 0 {
		t.Error("nothing is held by a lock")
	}
	if _, asked, _ := v.prune(); asked != 0 {
		t.Errorf("once more: %d locks are looked at", asked)
	}
	v.advance(25 * time.Minute) // the first locks are over
	r, asked, _ = v.prune()
	if r.Deleted.Packs == 0 || r.Locked.Packs != 0 || asked > 20 {
		t.Errorf("after 65 minutes: %d asked, %+v", asked, r)
	}
	v.advance(25 * time.Minute) // and soon the longer ones, too
	if _, asked, extended := v.prune(); asked == 0 || extended == 0 {
		t.Errorf("after 90 minutes: %d asked, %d extended", asked, extended)
	}
	for name, d := range v.locks() {
		if v.needed(name) && d < 30*time.Minute {
			t.Errorf("%s is locked for %v only", name, d)
		}
	}
}

// TestExtendFails: a member that refuses is told of, and asked again the next time; an interruption loses nothing.
func TestExtendFails(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.backup(v.open(), files("d", 8)...)
	v.advance(45 * time.Minute)
	v.fail = func(name string) error {
		if strings.HasPrefix(name, "snapshots/") {
			return errors.New("not now")
		}
		return nil
	}
	o := ExtendOptions{Now: v.now}
	r, err := Extend(t.Context(), v.open(), o)
	if err != nil || len(r.Failed) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	v.fail = func(string) error { cancel(); return ctx.Err() }
	if _, err := Extend(ctx, v.open(), o); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	v.fail = nil
	if r, err = Extend(t.Context(), v.open(), o); err != nil || len(r.Failed) != 0 || r.Extended == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for name, d := range v.locks() {
		if archive.Locked(name) && d < 59*time.Minute {
			t.Errorf("%s is locked for %v only", name, d)
		}
	}
	if r, err = Extend(t.Context(), v.open(), ExtendOptions{Now: v.now, All: true}); err != nil || r.Asked == 0 || r.Extended != 0 {
		t.Errorf("all once more: %+v, %v", r, err)
	}
}
