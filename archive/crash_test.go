package archive_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote"
	"cairn/remote/mem"
	"cairn/snapshot"
)

var errDead = errors.New("the process is dead")

// gate lets so many operations of all stores pass; then the process is dead. With done, the last one is carried out and its
// answer lost.
type gate struct {
	mu    sync.Mutex
	left  int // < 0: no end
	done  bool
	count int
}

func (g *gate) do(op func() error) error {
	g.mu.Lock()
	g.count++
	last := g.left == 0
	over := last || g.left < -1
	if g.left == 0 {
		g.left = -2
	} else if g.left > 0 {
		g.left--
	}
	g.mu.Unlock()
	if over && !(last && g.done) {
		return errDead
	}
	if err := op(); err != nil {
		return err
	}
	if over {
		return errDead
	}
	return nil
}

// mortal is a store behind the gate.
type mortal struct {
	inner remote.Store
	gate  *gate
}

func (m *mortal) Put(ctx context.Context, name string, data []byte) error {
	return m.gate.do(func() error { return m.inner.Put(ctx, name, data) })
}

func (m *mortal) Get(ctx context.Context, name string, off, n int64, dst []byte) (b []byte, err error) {
	err = m.gate.do(func() error { b, err = m.inner.Get(ctx, name, off, n, dst); return err })
	return b, err
}

func (m *mortal) Stat(ctx context.Context, name string) (i remote.Info, err error) {
	err = m.gate.do(func() error { i, err = m.inner.Stat(ctx, name); return err })
	return i, err
}

func (m *mortal) Delete(ctx context.Context, name string) error {
	return m.gate.do(func() error { return m.inner.Delete(ctx, name) })
}

func (m *mortal) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		if err := m.gate.do(func() error { return nil }); err != nil {
			yield(remote.Info{}, err)
			return
		}
		for info, err := range m.inner.List(ctx, prefix) {
			if !yield(info, err) {
				return
			}
		}
	}
}

// doomed is an archive of 2+1 whose processes die.
type doomed struct {
	t      *testing.T
	stores []*mem.Store
	keys   *seal.Keys
	dir    string
}

var when = time.Unix(1_800_000_000, 0)

func newDoomed(t *testing.T, keys *seal.Keys, from []*mem.Store) *doomed {
	d := &doomed{t: t, keys: keys, dir: t.TempDir()}
	for _, s := range from {
		c := mem.New()
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			data, err := s.Get(t.Context(), info.Name, 0, -1, nil)
			if err == nil {
				err = c.Put(t.Context(), info.Name, data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		d.stores = append(d.stores, c)
	}
	return d
}

func (d *doomed) open(g *gate) (*archive.Archive, error) {
	var members []archive.Member
	for i, s := range d.stores {
		members = append(members, archive.Member{URL: fmt.Sprintf("store%d", i), Store: &mortal{s, g}})
	}
	return archive.OpenWithKeys(d.t.Context(), members, d.keys, archive.Options{
		OpenIndex: func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		Dir:       func(seal.ArchiveID) string { return d.dir },
	})
}

// backup is what the backup command does: the snapshots of the series, two files of several packs, a tree, a snapshot, and what
// was lacking. A process that dies leaves its journal.
func (d *doomed) backup(g *gate) (err error) {
	ctx := d.t.Context()
	a, err := d.open(g)
	if err != nil {
		return err
	}
	defer a.Close()
	w, err := a.NewWriter(ctx)
	if err != nil {
		return err
	}
	w.SetTarget(64 << 10)
	defer func() {
		if err != nil {
			w.Kill()
		}
	}()
	list, _, err := a.Snapshots(ctx)
	if err != nil {
		return err
	}
	save := func(t chunk.Type) snapshot.SaveFunc {
		return func(ctx context.Context, plain []byte) (chunk.ID, error) {
			s, err := w.Save(ctx, t, plain)
			return s.ID, err
		}
	}
	node := snapshot.Node{Name: "a", Type: snapshot.File}
	for i := range 20 {
		plain := make([]byte, 30_000)
		rand.NewChaCha8([32]byte{byte(i)}).Read(plain)
		id, err := save(chunk.Data)(ctx, plain)
		if err != nil {
			return err
		}
		node.Content, node.Size = append(node.Content, id), node.Size+uint64(len(plain))
	}
	s := &snapshot.Snapshot{Series: "test", Start: snapshot.Time{Sec: when.Unix() + int64(len(list))}}
	if s.Content, s.Depth, err = snapshot.SaveTree(ctx, []snapshot.Node{node}, save(chunk.Tree)); err != nil {
		return err
	}
	if _, err := w.Commit(ctx, s); err != nil {
		return err
	}
	if r := a.CatchUp(ctx, list); len(r.Errs) > 0 {
		return errors.Join(r.Errs...)
	}
	return nil
}

// TestCrashAnywhere: E3, E7: a backup dies before or after each single operation on any member. The next one runs to its end, and then
// nothing is damaged, lacking, or left over.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	d := &doomed{t: t}
	var members []archive.Member
	for i := range 3 {
		s := mem.New()
		d.stores = append(d.stores, s)
		members = append(members, archive.Member{URL: fmt.Sprint(i), Store: s})
	}
	_, err := archive.Init(t.Context(), members, archive.InitOptions{Data: 2, Parity: 1, Now: when, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		d.keys = k
		s, err := seal.NewKeyFileSlot(k, "test", [32]byte{1}, when)
		return []*seal.Slot{s}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	clean := &gate{left: -1}
	if err := newDoomed(t, d.keys, d.stores).backup(clean); err != nil {
		t.Fatal(err)
	}
	t.Logf("a whole run takes %d operations", clean.count)
	if clean.count < 35 {
		t.Errorf("only %d operations", clean.count)
	}
	for n := range clean.count {
		for _, done := range []bool{false, true} {
			c := newDoomed(t, d.keys, d.stores)
			err := c.backup(&gate{left: n, done: done})
			if err == nil && n < clean.count*3/4 {
				t.Errorf("operation %d: nobody died", n)
			}
			if err := c.backup(&gate{left: -1}); err != nil {
				t.Errorf("operation %d, done %v: the next backup: %v", n, done, err)
				continue
			}
			c.sound(fmt.Sprintf("operation %d, done %v", n, done))
		}
	}
}

// sound fails unless the archive is whole.
func (d *doomed) sound(what string) {
	d.t.Helper()
	a, err := d.open(&gate{left: -1})
	if err != nil {
		d.t.Fatal(err)
	}
	defer a.Close()
	r, err := check.Run(d.t.Context(), a, check.Options{ReadData: true})
	if err != nil {
		d.t.Fatal(err)
	}
	if r.Damaged > 0 || r.Unreferenced > 0 || r.Snapshots == 0 {
		d.t.Errorf("%s: %d snapshots, %d left over, damages %v", what, r.Snapshots, r.Unreferenced, r.Damages)
	}
	if list := a.Suspects(); len(list) > 0 {
		d.t.Errorf("%s: still suspected: %v", what, list)
	}
}
