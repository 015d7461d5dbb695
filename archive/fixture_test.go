package archive

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// bench is an archive on fault stores over memory.
type bench struct {
	t      testing.TB
	k, m   int
	stores []*fault.Store
	mem    []*mem.Store
	key    [32]byte // of the full slot
	id     seal.ArchiveID
	keys   *seal.Keys // deriving them for each opening would be most of the tests' time
}

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, k: k, m: m}
	for range k + m {
		s := mem.New()
		b.mem = append(b.mem, s)
		b.stores = append(b.stores, fault.New(s))
	}
	rand.NewChaCha8([32]byte{1}).Read(b.key[:])
	id, err := Init(t.Context(), b.members(), InitOptions{Data: k, Parity: m, Now: time.Unix(1_800_000_000, 0), Slots: b.slots})
	if err != nil {
		t.Fatal(err)
	}
	b.id = id
	return b
}

func (b *bench) slots(k *seal.Keys) ([]*seal.Slot, error) {
	s, err := seal.NewKeyFileSlot(k, "test", b.key, time.Unix(1_800_000_000, 0))
	return []*seal.Slot{s}, err
}

func (b *bench) members() []Member {
	var list []Member
	for i, s := range b.stores {
		if s == nil {
			list = append(list, Member{URL: fmt.Sprintf("store%d", i), Err: fmt.Errorf("no such host")})
			continue
		}
		list = append(list, Member{URL: fmt.Sprintf("store%d", i), Store: s})
	}
	return list
}

// notices collects what Notice is told.
type notices struct {
	mu   sync.Mutex
	list []string
}

func (n *notices) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.list, "\n")
}

func (b *bench) options() Options {
	return Options{
		Credentials: []seal.Credential{{KeyFile: &b.key}},
		OpenIndex:   func(seal.ArchiveID) (Index, error) { return index.NewMap(), nil },
		Notice:      func(s string) { b.t.Logf("notice: %s", s) },
	}
}

func (b *bench) open() *Archive { return b.openWith(b.options()) }

func (b *bench) openWith(o Options) *Archive {
	b.t.Helper()
	var a *Archive
	var err error
	if b.keys != nil && len(o.Credentials) > 0 && o.Credentials[0].KeyFile == &b.key {
		a, err = OpenWithKeys(b.t.Context(), b.members(), b.keys, o)
	} else {
		a, err = Open(b.t.Context(), b.members(), o)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if b.keys == nil && a.keys != nil && a.keys.CanRead() {
		b.keys = a.keys
	}
	b.t.Cleanup(func() { a.Close() })
	return a
}

// writer begins a session with columns of at most 64 KiB.
func (b *bench) writer(a *Archive) *Writer {
	b.t.Helper()
	w, err := a.NewWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	w.limits.target = 64 << 10
	return w
}

// blobs makes n different blobs of about size bytes that do not compress.
func blobs(seed byte, n, size int) [][]byte {
	rng := rand.NewChaCha8([32]byte{seed, 7})
	list := make([][]byte, n)
	for i := range list {
		list[i] = make([]byte, size+i%97)
		rng.Read(list[i])
	}
	return list
}

func ids(list [][]byte) []chunk.ID {
	out := make([]chunk.ID, len(list))
	for i, b := range list {
		out[i] = chunk.Sum(b)
	}
	return out
}

// save stores data blobs and commits a snapshot.
func (b *bench) save(a *Archive, list ...[]byte) *snapshot.Snapshot {
	b.t.Helper()
	w := b.writer(a)
	for _, p := range list {
		if _, err := w.Save(b.t.Context(), chunk.Data, p); err != nil {
			b.t.Fatal(err)
		}
	}
	s := newSnapshot()
	if _, err := w.Commit(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

var clock struct {
	sync.Mutex
	now int64
}

func newSnapshot() *snapshot.Snapshot {
	clock.Lock()
	defer clock.Unlock()
	clock.now++
	at := snapshot.Time{Sec: 1_800_000_000 + clock.now}
	return &snapshot.Snapshot{Start: at, End: at, Series: "test", Host: "here", Program: "test"}
}

// fetch reads blobs and returns what came, by id, and Fetch's error. It fails the test on what is wrong or comes twice.
func (b *bench) fetch(a *Archive, want []chunk.ID) (map[chunk.ID]bool, error) {
	b.t.Helper()
	var mu sync.Mutex
	got := map[chunk.ID]bool{}
	err := a.Fetch(b.t.Context(), chunk.Data, want, func(id chunk.ID, plain []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if chunk.Sum(plain) != id {
			b.t.Errorf("blob %s has other content", id.Short())
		}
		if got[id] {
			b.t.Errorf("blob %s came twice", id.Short())
		}
		got[id] = true
		return nil
	})
	return got, err
}

// fetchAll fails unless all blobs come.
func (b *bench) fetchAll(a *Archive, list [][]byte) {
	b.t.Helper()
	got, err := b.fetch(a, ids(list))
	if err != nil {
		b.t.Errorf("fetch: %v", err)
	}
	if len(got) != len(list) {
		b.t.Errorf("%d of %d blobs came", len(got), len(list))
	}
}

// names lists the objects below a prefix on any member.
func (b *bench) names(prefix string) []string {
	seen := map[string]bool{}
	for _, s := range b.mem {
		if s == nil {
			continue
		}
		for info, err := range s.List(context.Background(), prefix) {
			if err != nil {
				b.t.Fatal(err)
			}
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

// locate says where a blob is.
func (b *bench) locate(a *Archive, id chunk.ID) pack.Location {
	b.t.Helper()
	locs, err := a.locate(b.t.Context(), chunk.Data, []chunk.ID{id}, a.Refresh)
	if err != nil || !locs[0].Found() {
		b.t.Fatalf("blob %s: %v", id.Short(), err)
	}
	return locs[0]
}

// shard returns the store that a shard lies on.
func (b *bench) shard(id pack.ID, j int) *mem.Store { return b.mem[b.onMember(id, j)] }

// onMember gives the place in b.mem of the member that holds a shard.
func (b *bench) onMember(id pack.ID, j int) int {
	return pack.Member(id, j, b.k+b.m)
}

func change(t testing.TB, s remote.Store, name string, fn func([]byte) []byte) {
	t.Helper()
	data, err := s.Get(context.Background(), name, 0, -1, nil)
	if err == nil {
		err = s.Put(context.Background(), name, fn(bytes.Clone(data)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(at int64) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x20; return b }
}

func half(b []byte) []byte  { return b[:len(b)/2] }
func empty(b []byte) []byte { return nil }

func remove(t testing.TB, s remote.Store, name string) {
	t.Helper()
	if err := s.Delete(context.Background(), name); err != nil {
		t.Fatal(err)
	}
}

// saveAll saves blobs of data.
func saveAll(t testing.TB, w *Writer, list [][]byte) {
	t.Helper()
	for _, p := range list {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
}
