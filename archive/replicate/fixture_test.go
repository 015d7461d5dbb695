package replicate

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// bench is an archive over memory.
type bench struct {
	t      testing.TB
	stores []*fault.Store
	mem    []*mem.Store
	key    [32]byte
	keys   *seal.Keys // to derive them each time would be most of a test's time
	dir    string     // cache directory; "": none
	clock  int64
	last   map[string]chunk.ID // by series
	wrap   func(int, remote.Store) remote.Store
}

var now = time.Unix(1_800_000_000, 0)

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, key: [32]byte{byte(k), byte(m)}, last: map[string]chunk.ID{}}
	for range k + m {
		s := mem.New()
		b.mem, b.stores = append(b.mem, s), append(b.stores, fault.New(s))
	}
	_, err := archive.Init(t.Context(), b.members(), archive.InitOptions{Data: k, Parity: m, Now: now, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewKeyFileSlot(k, "one", b.key, now)
		return []*seal.Slot{s}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fork is another archive object over a copy of what the stores hold.
func (b *bench) fork(t testing.TB) *bench {
	t.Helper()
	f := *b
	f.t, f.mem, f.stores = t, nil, nil
	for _, s := range b.mem {
		n := mem.New()
		for info, err := range s.List(context.Background(), "") {
			if err != nil {
				t.Fatal(err)
			}
			data, err := s.Get(context.Background(), info.Name, 0, -1, nil)
			if err == nil {
				err = n.Put(context.Background(), info.Name, data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		f.mem, f.stores = append(f.mem, n), append(f.stores, fault.New(n))
	}
	return &f
}

func (b *bench) members() []archive.Member {
	var list []archive.Member
	for i, s := range b.stores {
		var store remote.Store = s
		if b.wrap != nil {
			store = b.wrap(i, store)
		}
		list = append(list, archive.Member{URL: fmt.Sprintf("store%d", i), Store: store})
	}
	return list
}

func (b *bench) open() *archive.Archive {
	b.t.Helper()
	a, err := b.tryOpen(b.keys)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.keys == nil {
		b.keys = a.Keys()
	}
	return a
}

func (b *bench) tryOpen(keys *seal.Keys) (*archive.Archive, error) {
	o := archive.Options{Credentials: []seal.Credential{{KeyFile: &b.key}}, OpenIndex: func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil }}
	if b.dir != "" {
		o.Dir = func(id seal.ArchiveID) string { return path.Join(b.dir, id.String()) }
	}
	if keys != nil {
		return archive.OpenWithKeys(b.t.Context(), b.members(), keys, o)
	}
	return archive.Open(b.t.Context(), b.members(), o)
}

// fails lets operations go wrong on all stores.
func (b *bench) fails(rules ...fault.Rule) {
	for _, s := range b.stores {
		s.Set(rules...)
	}
}

func (b *bench) count(ops fault.Op) (n int) {
	for _, s := range b.stores {
		n += s.Count(ops)
	}
	return n
}

func (b *bench) read() (n int64) {
	for _, s := range b.stores {
		n += s.Bytes(fault.Get)
	}
	return n
}

// list returns the snapshots of the archive, and fails on damaged ones.
func (b *bench) list() []*snapshot.Snapshot {
	b.t.Helper()
	list, damaged, err := b.open().Snapshots(b.t.Context())
	if err != nil || len(damaged) > 0 {
		b.t.Fatal(err, damaged)
	}
	return list
}

// complete is list without incomplete ones.
func (b *bench) complete() []*snapshot.Snapshot {
	b.t.Helper()
	return slices.DeleteFunc(b.list(), func(s *snapshot.Snapshot) bool { return s.Incomplete })
}

// content reads a snapshot back.
func (b *bench) content(s *snapshot.Snapshot) files {
	b.t.Helper()
	a := b.open()
	got, want := files{}, map[string][]chunk.ID{}
	var ids []chunk.ID
	err := snapshot.Walk(b.t.Context(), a.LoadTree, s.Content, s.Depth, func(path string, n *snapshot.Node) error {
		path = path[1:]
		switch {
		case n.Type == snapshot.Symlink:
			got[path] = "-> " + n.Target
		case n.Type == snapshot.Dir && len(n.Content) == 0:
			got[path+"/"] = ""
		case n.Type == snapshot.File:
			for id, err := range snapshot.Content(b.t.Context(), a.LoadTree, n.Content, n.Depth) {
				if err != nil {
					return err
				}
				want[path], ids = append(want[path], id), append(ids, id)
			}
			got[path] = ""
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	var mu sync.Mutex
	plain := map[chunk.ID]string{}
	err = a.Fetch(b.t.Context(), chunk.Data, ids, func(id chunk.ID, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		plain[id] = string(p)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for path, list := range want {
		for _, id := range list {
			got[path] += plain[id]
		}
	}
	return got
}

// holds fails unless a snapshot has these files.
func (b *bench) holds(s *snapshot.Snapshot, want files) {
	b.t.Helper()
	if d := cmp.Diff(want, b.content(s)); d != "" {
		b.t.Errorf("snapshot %s: %s", s.ID.Short(), d)
	}
}

// clean fails unless a check of all data finds nothing.
func (b *bench) clean() {
	b.t.Helper()
	r, err := check.Run(b.t.Context(), b.open(), check.Options{ReadData: true})
	if err != nil {
		b.t.Fatal(err)
	}
	if r.Damaged > 0 {
		b.t.Errorf("damage: %v", r.Damages)
	}
}

// names lists the objects below a prefix on the first member.
func (b *bench) names(prefix string) (names []string) {
	b.t.Helper()
	for info, err := range b.mem[0].List(context.Background(), prefix) {
		if err != nil {
			b.t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

// copyAll copies all snapshots from b.
func (b *bench) copyAll(to *bench) *Report {
	b.t.Helper()
	r, err := b.tryCopy(to)
	if err != nil {
		b.t.Fatalf("copy: %v", err)
	}
	return r
}

func (b *bench) tryCopy(to *bench) (*Report, error) {
	from, err := b.tryOpen(b.keys)
	if err != nil {
		return nil, err
	}
	target, err := to.tryOpen(to.keys)
	if err != nil {
		return nil, err
	}
	all, err := readable(from.Snapshots(b.t.Context()))
	if err != nil {
		return nil, err
	}
	return Copy(b.t.Context(), from, target, all, all, Options{})
}

// readable makes an error of snapshots that cannot be read.
func readable(list []*snapshot.Snapshot, damaged []*archive.SnapshotError, err error) ([]*snapshot.Snapshot, error) {
	if err == nil && len(damaged) > 0 {
		err = damaged[0]
	}
	return list, err
}

// same fails unless the target has exactly one complete copy of each complete snapshot, with the same tree and files.
func (b *bench) same(to *bench) {
	b.t.Helper()
	copies := map[chunk.ID]*snapshot.Snapshot{}
	for _, s := range to.complete() {
		if s.Origin.IsZero() {
			continue
		}
		if was := copies[s.Origin.Snapshot]; was != nil {
			b.t.Errorf("%s and %s are copies of one snapshot", was.ID.Short(), s.ID.Short())
		}
		copies[s.Origin.Snapshot] = s
	}
	for _, s := range b.complete() {
		c := copies[s.ID]
		if c == nil {
			b.t.Errorf("no copy of %s", s.ID.Short())
			continue
		}
		if !bytes.Equal(joined(c), joined(s)) {
			b.t.Errorf("the copy of %s has another root", s.ID.Short())
		}
		to.holds(c, b.content(s))
	}
}

func joined(s *snapshot.Snapshot) []byte {
	out := []byte{s.Depth}
	for _, id := range s.Content {
		out = append(out, id[:]...)
	}
	return out
}
