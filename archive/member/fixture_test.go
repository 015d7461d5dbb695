package member

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
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

// bench is an archive over memory, whose members are named by their places.
type bench struct {
	t     testing.TB
	names []string // of the members that CAIRN_ARCHIVE would name
	mem   map[string]*mem.Store
	via   func(name string, s remote.Store) remote.Store // what stands between, if anything
	key   [32]byte
	keys  *seal.Keys
	last  chunk.ID
	dir   string // cache directory
	clock int64
}

var fixed = time.Unix(1_800_000_000, 0)

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, key: [32]byte{5}, mem: map[string]*mem.Store{}, dir: t.TempDir()}
	var members []archive.Member
	for i := range k + m {
		name := fmt.Sprintf("/m%d", i)
		b.names = append(b.names, name)
		b.mem[name] = mem.New()
		members = append(members, archive.Member{URL: name, Store: b.mem[name]})
	}
	_, err := archive.Init(t.Context(), members, archive.InitOptions{Data: k, Parity: m, Now: fixed, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		slot, err := seal.NewKeyFileSlot(k, "one", b.key, fixed)
		return []*seal.Slot{slot}, err
	}})
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// clone copies the archive as it stands.
func (b *bench) clone(t testing.TB) *bench {
	c := *b
	c.t, c.names, c.mem, c.dir = t, slices.Clone(b.names), map[string]*mem.Store{}, t.TempDir()
	for name, s := range b.mem {
		c.mem[name] = mem.New()
		for info, err := range s.List(t.Context(), "") {
			b.must(err)
			data, err := s.Get(t.Context(), info.Name, 0, -1, nil)
			b.must(err)
			b.must(c.mem[name].Put(t.Context(), info.Name, data))
		}
	}
	return &c
}

// member opens the place of a member; a new one is empty.
func (b *bench) member(name string) archive.Member {
	s, ok := b.mem[name]
	if !ok {
		s = mem.New()
		b.mem[name] = s
	}
	m := archive.Member{URL: name, Store: s}
	if b.via != nil {
		m.Store = b.via(name, s)
	}
	return m
}

func (b *bench) options() archive.Options {
	return archive.Options{
		Credentials: []seal.Credential{{KeyFile: &b.key}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		Patience:    3 * time.Second, // a busy machine: members that are there must not count as missing
	}
}

// open opens the archive by the given members.
func (b *bench) open(names ...string) (*archive.Archive, error) {
	var members []archive.Member
	for _, name := range names {
		if _, ok := b.mem[name]; !ok {
			members = append(members, archive.Member{URL: name, Err: errors.New("no such host")})
			continue
		}
		members = append(members, b.member(name))
	}
	return b.openMembers(b.t.Context(), members)
}

func (b *bench) openMembers(ctx context.Context, members []archive.Member) (*archive.Archive, error) {
	if b.keys != nil {
		return archive.OpenWithKeys(ctx, members, b.keys, b.options())
	}
	a, err := archive.Open(ctx, members, b.options())
	if err == nil {
		b.keys = a.Keys()
	}
	return a, err
}

func (b *bench) mustOpen() *archive.Archive {
	b.t.Helper()
	a, err := b.open(b.names...)
	b.must(err)
	return a
}

// backup makes a snapshot of n files of two chunks of about size bytes.
func (b *bench) backup(a *archive.Archive, seed byte, n, size int) *snapshot.Snapshot {
	b.t.Helper()
	s, err := b.tryBackup(b.t.Context(), a, seed, n, size)
	b.must(err)
	return s
}

func (b *bench) tryBackup(ctx context.Context, a *archive.Archive, seed byte, n, size int) (*snapshot.Snapshot, error) {
	w, err := a.NewWriter(ctx)
	if err != nil {
		return nil, err
	}
	save := func(t chunk.Type) snapshot.SaveFunc {
		return func(ctx context.Context, plain []byte) (chunk.ID, error) {
			s, err := w.Save(ctx, t, plain)
			return s.ID, err
		}
	}
	var nodes []snapshot.Node
	for i := range n {
		node := snapshot.Node{Name: fmt.Sprintf("f%03d", i), Type: snapshot.File, Size: uint64(2 * size)}
		for j := range 2 {
			plain := make([]byte, size)
			rand.NewChaCha8([32]byte{seed, byte(i), byte(j)}).Read(plain)
			id, err := save(chunk.Data)(ctx, plain)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, id)
		}
		nodes = append(nodes, node)
	}
	b.clock++
	s := &snapshot.Snapshot{Series: "test", Start: snapshot.Time{Sec: fixed.Unix() + b.clock}, Previous: b.last}
	if s.Content, s.Depth, err = snapshot.SaveTree(ctx, nodes, save(chunk.Tree)); err != nil {
		return nil, err
	}
	if _, err := w.Commit(ctx, s); err != nil {
		return nil, errors.Join(err, w.Suspend(ctx))
	}
	b.last = s.ID
	return s, nil
}

// restore reads all files of all snapshots and fails unless there are so many snapshots. What Fetch gives it has compared
// with its id.
func (b *bench) restore(a *archive.Archive, snapshots int) {
	b.t.Helper()
	list, damaged, err := a.Snapshots(b.t.Context())
	b.must(err)
	if len(damaged) > 0 || len(list) != snapshots {
		b.t.Errorf("%d snapshots and %d damaged, want %d", len(list), len(damaged), snapshots)
	}
	for _, s := range list {
		if s.Incomplete {
			b.t.Errorf("snapshot %s has no mark", s.ID.Short())
		}
		var ids []chunk.ID
		for n, err := range snapshot.Nodes(b.t.Context(), a.LoadTree, s.Content, s.Depth) {
			b.must(err)
			ids = append(ids, n.Content...)
		}
		var mu sync.Mutex
		got := map[chunk.ID]bool{}
		err := a.Fetch(b.t.Context(), chunk.Data, ids, func(id chunk.ID, plain []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if got[id] = true; chunk.Sum(plain) != id {
				b.t.Errorf("blob %s has other content", id.Short())
			}
			return nil
		})
		b.must(err)
		for _, id := range ids {
			if !got[id] {
				b.t.Errorf("blob %s did not come", id.Short())
			}
		}
	}
}

// clean fails unless a full check finds nothing.
func (b *bench) clean() {
	b.t.Helper()
	a := b.mustOpen()
	defer a.Close()
	r, err := check.Run(b.t.Context(), a, check.Options{ReadData: true})
	b.must(err)
	for _, d := range r.Damages {
		b.t.Errorf("check: %s", d)
	}
}

// survives fails unless all snapshots can be read without any m of the members.
func (b *bench) survives(m, snapshots int) {
	b.t.Helper()
	for _, gone := range choose(len(b.names), m) {
		var names []string
		for i, name := range b.names {
			if !slices.Contains(gone, i) {
				names = append(names, name)
			}
		}
		a, err := b.open(names...)
		b.must(err)
		b.restore(a, snapshots)
		b.must(a.Close())
	}
}

// choose lists all ways to take m of n.
func choose(n, m int) [][]int {
	if m == 0 {
		return [][]int{nil}
	}
	var list [][]int
	for i := m - 1; i < n; i++ {
		for _, rest := range choose(i, m-1) {
			list = append(list, append(slices.Clone(rest), i))
		}
	}
	return list
}

// objects lists what is on a member.
func (b *bench) objects(name, prefix string) []string {
	var list []string
	for info, err := range b.mem[name].List(context.Background(), prefix) {
		b.must(err)
		list = append(list, info.Name)
	}
	slices.Sort(list)
	return list
}

// flipAll damages every shard on a member.
func (b *bench) flipAll(name string) {
	b.t.Helper()
	for _, prefix := range []string{"binaries/", "index/"} {
		for _, o := range b.objects(name, prefix) {
			b.flip(name, o)
		}
	}
}

func (b *bench) flip(name, object string) {
	b.t.Helper()
	data, err := b.mem[name].Get(b.t.Context(), object, 0, -1, nil)
	b.must(err)
	data[len(data)/2] ^= 0x40
	b.must(b.mem[name].Put(b.t.Context(), object, data))
}

// fuse fails every operation on all stores behind it from the n-th on: what a kill -9 leaves. Writes are let through or not as
// a whole.
type fuse struct {
	mu   sync.Mutex
	left int // < 0: never
	used int
}

var errBlown = errors.New("fuse blown")

func (f *fuse) burn() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used++
	if f.left == 0 {
		return remote.Permanent(errBlown)
	}
	f.left--
	return nil
}

func (f *fuse) via(_ string, s remote.Store) remote.Store { return &fused{f, s} }

type fused struct {
	f *fuse
	s remote.Store
}

func (s *fused) Put(ctx context.Context, name string, data []byte) error {
	if err := s.f.burn(); err != nil {
		return err
	}
	return s.s.Put(ctx, name, data)
}

func (s *fused) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if err := s.f.burn(); err != nil {
		return nil, err
	}
	return s.s.Get(ctx, name, off, n, dst)
}

func (s *fused) Stat(ctx context.Context, name string) (remote.Info, error) {
	if err := s.f.burn(); err != nil {
		return remote.Info{}, err
	}
	return s.s.Stat(ctx, name)
}

func (s *fused) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	if err := s.f.burn(); err != nil {
		return func(yield func(remote.Info, error) bool) { yield(remote.Info{}, err) }
	}
	return s.s.List(ctx, prefix)
}

func (s *fused) Delete(ctx context.Context, name string) error {
	if err := s.f.burn(); err != nil {
		return err
	}
	return s.s.Delete(ctx, name)
}

// hooks call a function before an operation on a store.
type hooks struct {
	remote.Store
	put func(name string)
}

func (h *hooks) Put(ctx context.Context, name string, data []byte) error {
	h.put(name)
	return h.Store.Put(ctx, name, data)
}
