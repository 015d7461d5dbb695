package check

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// bench is an archive over memory.
type bench struct {
	t      testing.TB
	k, m   int
	stores []*fault.Store
	mem    []*mem.Store
	key    [32]byte
	keys   *seal.Keys // to derive them for each of a thousand openings would be most of the test's time
	last   chunk.ID
	clock  int64
}

var fixed = time.Unix(1_800_000_000, 0)

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, k: k, m: m, key: [32]byte{5}}
	for range k + m {
		s := mem.New()
		b.mem, b.stores = append(b.mem, s), append(b.stores, fault.New(s))
	}
	_, err := archive.Init(t.Context(), b.members(), archive.InitOptions{Data: k, Parity: m, Now: fixed, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		one, err := seal.NewKeyFileSlot(k, "one", b.key, fixed)
		if err != nil {
			return nil, err
		}
		two, err := seal.NewKeyFileSlot(k, "two", [32]byte{6}, fixed)
		return []*seal.Slot{one, two}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) members() []archive.Member {
	var list []archive.Member
	for i, s := range b.stores {
		m := archive.Member{URL: fmt.Sprintf("store%d", i)}
		if s != nil {
			m.Store = s
		}
		list = append(list, m)
	}
	return list
}

func (b *bench) tryOpen() (*archive.Archive, error) {
	o := archive.Options{
		Credentials: []seal.Credential{{KeyFile: &b.key}, {KeyFile: &[32]byte{6}}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
	}
	if b.keys != nil {
		return archive.OpenWithKeys(b.t.Context(), b.members(), b.keys, o)
	}
	a, err := archive.Open(b.t.Context(), b.members(), o)
	if err == nil {
		b.keys = a.Keys()
	}
	return a, err
}

func (b *bench) open() *archive.Archive {
	b.t.Helper()
	a, err := b.tryOpen()
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// backup makes a snapshot of files, path → seed of the content. Files take about size bytes in two chunks.
func (b *bench) backup(files map[string]byte, size int) *snapshot.Snapshot {
	b.t.Helper()
	a := b.open()
	w, err := a.NewWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	save := func(t chunk.Type) snapshot.SaveFunc {
		return func(ctx context.Context, plain []byte) (chunk.ID, error) {
			s, err := w.Save(ctx, t, plain)
			return s.ID, err
		}
	}
	dirs := map[string][]snapshot.Node{}
	for path, seed := range files {
		n := snapshot.Node{Name: path[len(path)-1:], Type: snapshot.File, Size: uint64(2 * size)}
		for i := range 2 {
			plain := make([]byte, size)
			rand.NewChaCha8([32]byte{seed, byte(i)}).Read(plain)
			id, err := save(chunk.Data)(b.t.Context(), plain)
			if err != nil {
				b.t.Fatal(err)
			}
			n.Content = append(n.Content, id)
		}
		dirs[path[:1]] = append(dirs[path[:1]], n)
	}
	var top []snapshot.Node
	for name, nodes := range dirs {
		slices.SortFunc(nodes, func(a, b snapshot.Node) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
		n := snapshot.Node{Name: name, Type: snapshot.Dir}
		if n.Content, n.Depth, err = snapshot.SaveTree(b.t.Context(), nodes, save(chunk.Tree)); err != nil {
			b.t.Fatal(err)
		}
		top = append(top, n)
	}
	slices.SortFunc(top, func(a, b snapshot.Node) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	b.clock++
	s := &snapshot.Snapshot{Series: "test", Start: snapshot.Time{Sec: fixed.Unix() + b.clock}, Previous: b.last}
	if s.Content, s.Depth, err = snapshot.SaveTree(b.t.Context(), top, save(chunk.Tree)); err != nil {
		b.t.Fatal(err)
	}
	if _, err := w.Commit(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	b.last = s.ID
	return s
}

// check runs a check and fails on its error.
func (b *bench) check(o Options) *Report {
	b.t.Helper()
	r, err := b.tryCheck(o)
	if err != nil {
		b.t.Fatalf("check: %v", err)
	}
	return r
}

func (b *bench) tryCheck(o Options) (*Report, error) {
	a, err := b.tryOpen()
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if o.Patience == 0 {
		o.Patience = time.Millisecond // nobody is at work beside it
	}
	var mu sync.Mutex
	found := 0
	o.Found = func(Damage) { mu.Lock(); found++; mu.Unlock() }
	r, err := Run(b.t.Context(), a, o)
	if err == nil && (found != r.Damaged+r.Lacking+r.Unreachable || found != len(r.Damages)) {
		b.t.Errorf("%d damages told, %d counted, %d listed", found, r.Damaged, len(r.Damages))
	}
	return r, err
}

// objects lists the objects of a member.
func (b *bench) objects(member int, prefix string) []string {
	var names []string
	for info, err := range b.mem[member].List(context.Background(), prefix) {
		if err != nil {
			b.t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

// read returns an object's bytes.
func (b *bench) read(member int, name string) []byte {
	b.t.Helper()
	data, err := b.mem[member].Get(context.Background(), name, 0, -1, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// put replaces an object; nil removes it.
func (b *bench) put(member int, name string, data []byte) {
	b.t.Helper()
	var err error
	if data == nil {
		err = b.mem[member].Delete(context.Background(), name)
	} else {
		err = b.mem[member].Put(context.Background(), name, data)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// mutation is a way to damage an object.
type mutation struct {
	name    string
	data    []byte // nil: deleted
	payload bool   // the payload of a shard is hit, in the middle of its first blob
}

// mutations of an object of n bytes.
func mutations(name string, data []byte) []mutation {
	flip := func(at int) []byte {
		b := bytes.Clone(data)
		b[at] ^= 0x10
		return b
	}
	list := []mutation{
		{"flip first", flip(0), false}, {"flip last", flip(len(data) - 1), false}, {"flip middle", flip(len(data) / 2), false},
		{"truncate", data[:len(data)-1], false}, {"half", data[:len(data)/2], false}, {"empty", []byte{}, false}, {"longer", append(bytes.Clone(data), 0), false}, {"delete", nil, false},
	}
	if _, _, ok := pack.ParseName(name); ok {
		list = append(list, mutation{"flip blob", flip(pack.HeaderSize + 40), true}, mutation{"flip reserved", flip(3000), false},
			mutation{"flip checksums", flip(len(data) - pack.HeaderSize - 2), false}, mutation{"flip directory", flip(len(data) - pack.HeaderSize - 50), false})
	}
	return list
}

// find returns the content of a node of a directory.
func find(ctx context.Context, a *archive.Archive, content []chunk.ID, name string) ([]chunk.ID, error) {
	for n, err := range snapshot.Nodes(ctx, a.LoadTree, content, 0) {
		if err != nil {
			return nil, err
		}
		if n.Name == name {
			return n.Content, nil
		}
	}
	return nil, fmt.Errorf("no node %s", name)
}
