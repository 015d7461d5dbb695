package repair

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/snapshot"
	"cairn/tests/damage"
)

// bench is an archive over memory.
type bench struct {
	t      testing.TB
	stores []*fault.Store // nil: a member that is away
	mem    []*mem.Store
	key    [32]byte
	keys   *seal.Keys
	last   chunk.ID
	clock  int64
}

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, key: [32]byte{5}}
	for range k + m {
		b.add()
	}
	_, err := archive.Init(t.Context(), b.members(), archive.InitOptions{Data: k, Parity: m, Now: time.Unix(1_800_000_000, 0), Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		one, err := seal.NewKeyFileSlot(k, "one", b.key, time.Unix(1_800_000_000, 0))
		if err != nil {
			return nil, err
		}
		two, err := seal.NewKeyFileSlot(k, "two", [32]byte{6}, time.Unix(1_800_000_000, 0))
		return []*seal.Slot{one, two}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) add() {
	s := mem.New()
	b.mem, b.stores = append(b.mem, s), append(b.stores, fault.New(s))
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

func (b *bench) all() []remote.Store {
	var list []remote.Store
	for _, s := range b.mem {
		list = append(list, s)
	}
	return list
}

// open opens the archive with a key.
func (b *bench) open() *archive.Archive {
	b.t.Helper()
	o := archive.Options{Credentials: []seal.Credential{{KeyFile: &b.key}, {KeyFile: &[32]byte{6}}},
		OpenIndex: func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil }}
	var a *archive.Archive
	var err error
	if b.keys != nil { // to derive them each time would be most of a test's time
		a, err = archive.OpenWithKeys(b.t.Context(), b.members(), b.keys, o)
	} else if a, err = archive.Open(b.t.Context(), b.members(), o); err == nil {
		b.keys = a.Keys()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// bare opens the archive without a key.
func (b *bench) bare() *archive.Archive {
	b.t.Helper()
	a, err := archive.Open(b.t.Context(), b.members(), archive.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// backup makes n snapshots of a file each, of about size bytes in two chunks.
func (b *bench) backup(n, size int) {
	b.t.Helper()
	for range n {
		b.clock++
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
		file := snapshot.Node{Name: "f", Type: snapshot.File, Size: uint64(2 * (size / 2))}
		for i := range 2 {
			plain := make([]byte, size/2)
			rand.NewChaCha8([32]byte{byte(b.clock), byte(i)}).Read(plain)
			id, err := save(chunk.Data)(b.t.Context(), plain)
			if err != nil {
				b.t.Fatal(err)
			}
			file.Content = append(file.Content, id)
		}
		s := &snapshot.Snapshot{Series: "test", Start: snapshot.Time{Sec: 1_800_000_000 + b.clock}, Previous: b.last}
		if s.Content, s.Depth, err = snapshot.SaveTree(b.t.Context(), []snapshot.Node{file}, save(chunk.Tree)); err != nil {
			b.t.Fatal(err)
		}
		if _, err := w.Commit(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
		b.last = s.ID
	}
}

// repair runs a repair and returns what it found, by outcome: "member object".
func (b *bench) repair(a *archive.Archive, o Options) (*Report, map[Outcome][]string) {
	b.t.Helper()
	found := map[Outcome][]string{}
	o.Found = func(f Finding) {
		found[f.Outcome] = append(found[f.Outcome], strings.TrimPrefix(f.Member, "store")+" "+f.Object)
	}
	r, err := Run(b.t.Context(), a, o)
	if err != nil {
		b.t.Fatalf("repair: %v", err)
	}
	for _, list := range found {
		slices.Sort(list)
	}
	return r, found
}

// clean fails unless a scrub and a check of all data find nothing.
func (b *bench) clean() {
	b.t.Helper()
	for _, run := range []func(context.Context, *archive.Archive, check.Options) (*check.Report, error){check.Shards, check.Run} {
		r, err := run(b.t.Context(), b.open(), check.Options{ReadData: true, Patience: time.Millisecond})
		if err != nil {
			b.t.Fatal(err)
		}
		if r.Damaged > 0 {
			b.t.Errorf("after the repair: %v", r.Damages)
		}
	}
}

func (b *bench) state() damage.State {
	b.t.Helper()
	s, err := damage.Read(b.t.Context(), b.all())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// as fails unless the members hold exactly what they held.
func (b *bench) as(whole damage.State) {
	b.t.Helper()
	if d := whole.Differences(b.state()); len(d) > 0 {
		b.t.Errorf("%d objects are not as they were: %v", len(d), d)
	}
}

func (b *bench) hurt(seed uint64, most int, prefixes ...string) (places []string) {
	b.t.Helper()
	injuries, err := b.state().Hurt(b.t.Context(), rand.New(rand.NewPCG(seed, 2)), b.all(), most, prefixes...)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, i := range injuries {
		places = append(places, i.Place())
	}
	if len(places) == 0 {
		b.t.Fatal("nothing was damaged")
	}
	slices.Sort(places)
	return places
}

// objects lists the objects of a member.
func (b *bench) objects(member int, prefix string) []string {
	b.t.Helper()
	names := slices.Sorted(maps.Keys(b.state()[member]))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
}

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
	err := b.mem[member].Delete(context.Background(), name)
	if data != nil {
		err = b.mem[member].Put(context.Background(), name, data)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
