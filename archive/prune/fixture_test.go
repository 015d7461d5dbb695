package prune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// bench is an archive over memory.
type bench struct {
	t     testing.TB
	names []string // of the members
	mem   map[string]*mem.Store
	via   func(name string, s remote.Store) remote.Store // what stands between, if anything
	key   [32]byte
	keys  *seal.Keys
	clock int64
	size  int // of a chunk

	patience time.Duration // with members; 0: little
}

var fixed = time.Unix(1_800_000_000, 0)

// target makes packs of a few chunks full ones.
const target = 16 << 10

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, key: [32]byte{5}, mem: map[string]*mem.Store{}, size: 2000}
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
	c.t, c.names, c.mem = t, slices.Clone(b.names), map[string]*mem.Store{}
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

func (b *bench) options() archive.Options {
	return archive.Options{
		Credentials: []seal.Credential{{KeyFile: &b.key}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		Patience:    max(b.patience, 100*time.Millisecond),
	}
}

// open opens the archive with an index of its own.
func (b *bench) open() *archive.Archive {
	b.t.Helper()
	a, err := b.tryOpen(b.t.Context(), b.options())
	b.must(err)
	b.t.Cleanup(func() { a.Close() })
	return a
}

func (b *bench) tryOpen(ctx context.Context, o archive.Options) (*archive.Archive, error) {
	var members []archive.Member
	for _, name := range b.names {
		m := archive.Member{URL: name, Store: b.mem[name]}
		if b.mem[name] == nil {
			m = archive.Member{URL: name, Err: errors.New("no such host")}
		} else if b.via != nil {
			m.Store = b.via(name, m.Store)
		}
		members = append(members, m)
	}
	if b.keys != nil {
		return archive.OpenWithKeys(ctx, members, b.keys, o)
	}
	a, err := archive.Open(ctx, members, o)
	if err == nil {
		b.keys = a.Keys()
	}
	return a, err
}

// backup makes a snapshot of files, "dir/name", each of two chunks that its name decides.
func (b *bench) backup(a *archive.Archive, files ...string) *snapshot.Snapshot {
	b.t.Helper()
	s, err := b.tryBackup(b.t.Context(), a, files...)
	b.must(err)
	return s
}

func (b *bench) tryBackup(ctx context.Context, a *archive.Archive, files ...string) (*snapshot.Snapshot, error) {
	w, err := a.NewWriter(ctx)
	if err != nil {
		return nil, err
	}
	s, err := b.fill(ctx, w, files)
	if err == nil {
		_, err = w.Commit(ctx, s)
	}
	for range 3 {
		if !errors.Is(err, archive.ErrStoreAnew) {
			break
		}
		if s, err = b.fill(ctx, w, files); err == nil {
			_, err = w.Commit(ctx, s)
		}
	}
	if err != nil {
		return nil, errors.Join(err, w.Suspend(ctx))
	}
	return s, nil
}

func saver(w *archive.Writer, t chunk.Type) snapshot.SaveFunc {
	return func(ctx context.Context, plain []byte) (chunk.ID, error) {
		s, err := w.Save(ctx, t, plain)
		return s.ID, err
	}
}

// fill saves files and their directories.
func (b *bench) fill(ctx context.Context, w *archive.Writer, files []string) (*snapshot.Snapshot, error) {
	dirs := map[string][]snapshot.Node{}
	for _, file := range files {
		node := snapshot.Node{Name: path.Base(file), Type: snapshot.File, Size: uint64(2 * b.size)}
		for j := range byte(2) {
			id, err := saver(w, chunk.Data)(ctx, content(file, j, b.size))
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, id)
		}
		dirs[path.Dir(file)] = append(dirs[path.Dir(file)], node)
	}
	var top []snapshot.Node
	for name, nodes := range dirs {
		sortNodes(nodes)
		node := snapshot.Node{Name: name, Type: snapshot.Dir}
		var err error
		if node.Content, node.Depth, err = snapshot.SaveTree(ctx, nodes, saver(w, chunk.Tree)); err != nil {
			return nil, err
		}
		top = append(top, node)
		sortNodes(top)
	}
	b.clock++
	s := &snapshot.Snapshot{Series: "test", Start: snapshot.Time{Sec: fixed.Unix() + b.clock}, Program: "test"}
	var err error
	s.Content, s.Depth, err = snapshot.SaveTree(ctx, top, saver(w, chunk.Tree))
	return s, err
}

func sortNodes(nodes []snapshot.Node) {
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
}

// content is the j-th chunk of a file.
func content(file string, j byte, size int) []byte {
	plain := make([]byte, size)
	rand.NewChaCha8(chunk.Sum(append([]byte(file), j))).Read(plain)
	return plain
}

// files names n files in directories of four.
func files(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s%d/f%d", prefix, i/4, i))
	}
	return list
}

func (b *bench) forget(a *archive.Archive, list ...*snapshot.Snapshot) {
	b.t.Helper()
	for _, s := range list {
		_, err := a.Forget(b.t.Context(), []chunk.ID{s.ID}, archive.Record{Time: fixed, Program: "test"})
		b.must(err)
	}
}

// prune collects on an archive that is opened for it, and leaves no garbage.
func (b *bench) prune() *Report {
	b.t.Helper()
	r, err := b.tryPrune(b.t.Context(), Options{})
	b.must(err)
	return r
}

func (b *bench) tryPrune(ctx context.Context, o Options) (*Report, error) {
	a, err := b.tryOpen(ctx, b.options())
	if err != nil {
		return &Report{}, err
	}
	defer a.Close()
	o.Target = target
	return Run(ctx, a, o)
}

// restore reads all blobs of so many snapshots, by an index that is made anew. Fetch compares them with their ids.
func (b *bench) restore(snapshots int) {
	b.t.Helper()
	a := b.open()
	list, damaged, err := a.Snapshots(b.t.Context())
	b.must(err)
	if len(damaged) > 0 || len(list) != snapshots {
		b.t.Errorf("%d snapshots and %d damaged ones, want %d", len(list), len(damaged), snapshots)
	}
	for _, s := range list {
		b.reads(a, s)
	}
}

// reads reads all blobs of a snapshot.
func (b *bench) reads(a *archive.Archive, s *snapshot.Snapshot) {
	b.t.Helper()
	var ids []chunk.ID
	err := snapshot.Walk(b.t.Context(), a.LoadTree, s.Content, s.Depth, func(_ string, n *snapshot.Node) error {
		if n.Type == snapshot.File {
			ids = append(ids, n.Content...)
		}
		return nil
	})
	b.must(err)
	var mu sync.Mutex
	got := map[chunk.ID]bool{}
	b.must(a.Fetch(b.t.Context(), chunk.Data, ids, func(id chunk.ID, plain []byte) error {
		mu.Lock()
		defer mu.Unlock()
		got[id] = true
		return nil
	}))
	for _, id := range ids {
		if !got[id] {
			b.t.Errorf("blob %s did not come", id.Short())
		}
	}
}

// clean fails unless a full check finds nothing, not even packs that nobody names.
func (b *bench) clean() {
	b.t.Helper()
	r, err := check.Run(b.t.Context(), b.open(), check.Options{ReadData: true})
	b.must(err)
	for _, d := range r.Damages {
		b.t.Errorf("check: %s", d)
	}
	if r.Unreferenced > 0 {
		b.t.Errorf("%d packs that nobody names", r.Unreferenced)
	}
}

// stored lists the blobs that are in packs on the members: how often each is there.
func (b *bench) stored() map[blobKey]int {
	b.t.Helper()
	a := b.open()
	blobs := map[blobKey]int{}
	_, err := a.ListPacks(b.t.Context(), "binaries/", func(l *archive.PackListing) error {
		for c := range a.Geometry().K {
			d, err := a.ReadDirectory(b.t.Context(), l.Pack, c)
			if err != nil {
				return err
			}
			for _, e := range d.Entries {
				blobs[blobKey{d.Kind, e.ID}]++
			}
		}
		return nil
	})
	b.must(err)
	return blobs
}

// needed lists the blobs that snapshots need.
func (b *bench) needed() map[blobKey]int {
	b.t.Helper()
	a := b.open()
	list, _, err := a.Snapshots(b.t.Context())
	b.must(err)
	blobs := map[blobKey]int{}
	for _, s := range list {
		for _, id := range s.Content {
			blobs[blobKey{chunk.Tree, id}] = 1
		}
		b.must(snapshot.Walk(b.t.Context(), a.LoadTree, s.Content, s.Depth, func(_ string, n *snapshot.Node) error {
			kind := chunk.Data
			if n.Type == snapshot.Dir {
				kind = chunk.Tree
			}
			for _, id := range n.Content {
				blobs[blobKey{kind, id}] = 1
			}
			return nil
		}))
	}
	return blobs
}

// objects lists what is on any member.
func (b *bench) objects(prefix string) []string {
	seen := map[string]bool{}
	for _, s := range b.mem {
		if s == nil {
			continue
		}
		for info, err := range s.List(context.Background(), prefix) {
			b.must(err)
			seen[info.Name] = true
		}
	}
	var list []string
	for name := range seen {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// bytes is how much is on all members.
func (b *bench) bytes(prefix string) (n int64) {
	for _, s := range b.mem {
		for info, err := range s.List(context.Background(), prefix) {
			b.must(err)
			n += info.Size
		}
	}
	return n
}

// packOf says where a blob lies.
func (b *bench) packOf(a *archive.Archive, t chunk.Type, id chunk.ID) pack.ID {
	b.t.Helper()
	idx, err := a.Index(b.t.Context())
	b.must(err)
	var at [1]pack.ID
	b.must(idx.Live(t, []chunk.ID{id}, at[:]))
	return at[0]
}

// drop removes a pack from all members.
func (b *bench) drop(id pack.ID, kind chunk.Type) {
	for _, s := range b.mem {
		b.must(s.Delete(context.Background(), id.Name(kind)))
	}
}
