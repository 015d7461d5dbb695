package archive

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

// wrongIndex is an index whose locations somebody changed.
type wrongIndex struct {
	*index.Map
	change func(*pack.Location)
}

func (x *wrongIndex) Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error {
	err := x.Map.Lookup(t, ids, out)
	for i := range out {
		if out[i].Found() && x.change != nil {
			x.change(&out[i])
		}
	}
	return err
}

func TestFetchCoalesces(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(1, 200, 200)
	b.save(b.open(), list...)
	a := b.open()
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.stores[0].Count(fault.Get)
	b.fetchAll(a, list)
	packs := len(b.names("binaries/"))
	if n := b.stores[0].Count(fault.Get) - before; n != packs {
		t.Errorf("%d requests for %d packs", n, packs)
	}
	// Each id once, however often it is asked for.
	got, err := b.fetch(a, append(ids(list), ids(list)...))
	if err != nil || len(got) != len(list) {
		t.Errorf("%d, %v", len(got), err)
	}
	if _, err := b.fetch(a, nil); err != nil {
		t.Error(err)
	}
	sizes := make([]uint32, len(list))
	if err := a.Sizes(t.Context(), chunk.Data, ids(list), sizes); err != nil {
		t.Fatal(err)
	}
	for i, n := range sizes {
		if int(n) != len(list[i]) {
			t.Errorf("size %d, want %d", n, len(list[i]))
		}
	}
	// Load reads windows: neighbours cost one request.
	before = b.stores[0].Count(fault.Get)
	for _, p := range list {
		if got, err := a.Load(t.Context(), chunk.Data, chunk.Sum(p)); err != nil || string(got) != string(p) {
			t.Fatal(err)
		}
	}
	if n := b.stores[0].Count(fault.Get) - before; n != packs {
		t.Errorf("%d requests for %d packs", n, packs)
	}
}

func TestFetchMissing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 20, 2000)
	b.save(b.open(), list...)
	a := b.open()
	missing := []chunk.ID{chunk.Sum([]byte("a")), chunk.Sum([]byte("b"))}
	got, err := b.fetch(a, append(ids(list), missing...))
	var lost *FetchError
	if !errors.As(err, &lost) || len(lost.Missing) != 2 || len(lost.Damaged) != 0 || len(got) != len(list) {
		t.Errorf("%d blobs, %v", len(got), err)
	}
	var one *MissingError
	if !errors.As(err, &one) || one.ID != missing[0] && one.ID != missing[1] || remote.Hint(err) == "" {
		t.Errorf("%v", one)
	}
	if err := a.Sizes(t.Context(), chunk.Data, missing, make([]uint32, 2)); !errors.As(err, &one) || one.ID != missing[0] {
		t.Errorf("sizes: %v", err)
	}
	if _, err := a.Load(t.Context(), chunk.Tree, chunk.Sum(list[0])); !errors.As(err, &one) || one.Type != chunk.Tree {
		t.Errorf("load: %v", err)
	}
	// Missing blobs do not make a listing each.
	before := b.stores[0].Count(fault.List)
	for i := range 50 {
		if _, err := a.Load(t.Context(), chunk.Tree, chunk.Sum([]byte{byte(i)})); err == nil {
			t.Error("found")
		}
	}
	if n := b.stores[0].Count(fault.List) - before; n > 2 {
		t.Errorf("%d listings", n)
	}
}

func TestFetchStops(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(1, 100, 3000)
	b.save(b.open(), list...)
	a := b.open()
	stop := errors.New("stop")
	if err := a.Fetch(t.Context(), chunk.Data, ids(list), func(chunk.ID, []byte) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := a.Fetch(ctx, chunk.Data, ids(list), func(chunk.ID, []byte) error { cancel(); return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := a.Fetch(ctx, chunk.Data, ids(list), func(chunk.ID, []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if _, err := a.Load(ctx, chunk.Data, chunk.Sum(list[0])); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
}

// hurt changes the shard that holds blobs, and says which blobs lie in its pack.
func (b *bench) hurt(a *Archive, l pack.Location, shard int, fn func([]byte) []byte) {
	b.t.Helper()
	change(b.t, b.shard(l.Pack, shard), l.Pack.Name(l.Kind), fn)
}

// inBlob is a place in the shard object in the middle of a blob.
func inBlob(l pack.Location) int64 { return pack.HeaderSize + int64(l.Offset) + int64(l.Stored)/2 }

func TestDamageWithoutParity(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(1, 100, 3000)
	b.save(b.open(), list...)
	a := b.open()
	victim := chunk.Sum(list[17])
	l := b.locate(a, victim)
	b.hurt(a, l, 0, flip(inBlob(l)))
	got, err := b.fetch(a, ids(list))
	var lost *FetchError
	if !errors.As(err, &lost) || len(lost.Damaged) != 1 || lost.Damaged[0].ID != victim || lost.Damaged[0].Pack != l.Pack || len(got) != len(list)-1 {
		t.Errorf("%d blobs, %v", len(got), err)
	}
	var damage *PackDamage
	if !errors.As(err, &damage) || damage.Good != 0 || damage.Need != 1 || len(damage.Bad) != 1 || damage.Bad[0].Member != "store0" {
		t.Errorf("%+v", damage)
	}
	var blob *BlobDamage
	if _, err := a.Load(t.Context(), chunk.Data, victim); !errors.As(err, &blob) || blob.ID != victim {
		t.Errorf("%v", err)
	}
	// Damage around the payload costs nothing, whatever is read whole.
	for _, at := range []int64{0, 100, pack.HeaderSize + l.L, pack.ShardSize(l.L) - 1} {
		b.hurt(a, l, 0, flip(inBlob(l))) // repaired
		b.hurt(a, l, 0, flip(at))
		if p, err := a.ReadPack(t.Context(), l.Pack, l.Kind); err != nil || len(p.Bad) != 1 {
			t.Errorf("byte %d: %v", at, err)
		}
		b.hurt(a, l, 0, flip(at))
		b.hurt(a, l, 0, flip(inBlob(l)))
	}
	// The whole pack is gone.
	remove(t, b.mem[0], l.Pack.Name(l.Kind))
	got, err = b.fetch(b.open(), ids(list))
	if !errors.As(err, &lost) || len(got)+len(lost.Damaged) != len(list) || len(got) == 0 || tooFew(err) {
		t.Errorf("%d blobs, %v", len(got), err)
	}
}

// TestHealing: on 2+1 any damage to one shard is made good, without a word.
func TestHealing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list, others := blobs(1, 60, 1500), blobs(2, 60, 1500)
	b.save(b.open(), list...)
	b.save(b.open(), others...)
	l := b.locate(b.open(), chunk.Sum(list[3]))
	other := b.locate(b.open(), chunk.Sum(others[3]))
	foreign, err := b.shard(other.Pack, l.Column).Get(t.Context(), other.Pack.Name(l.Kind), 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	parity, err := b.shard(l.Pack, 2).Get(t.Context(), l.Pack.Name(l.Kind), 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, fn := range map[string]func([]byte) []byte{
		"flipped": flip(inBlob(l)), "truncated": half, "empty": empty, "header": flip(0), "header copy": flip(pack.ShardSize(l.L) - 1),
		"another pack's": func([]byte) []byte { return foreign }, "another number's": func([]byte) []byte { return parity },
		"longer": func(b []byte) []byte { return append(b, b...) }, "zeros": func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		for shard := range 3 {
			store := b.shard(l.Pack, shard)
			var whole []byte
			change(t, store, l.Pack.Name(l.Kind), func(b []byte) []byte { whole = append(whole, b...); return fn(b) })
			a := b.open()
			b.fetchAll(a, list)
			b.fetchAll(a, list) // a second request
			for _, p := range list[:5] {
				if _, err := a.Load(t.Context(), chunk.Data, chunk.Sum(p)); err != nil {
					t.Errorf("%s shard %d: %v", name, shard, err)
				}
			}
			if p, err := a.ReadPack(t.Context(), l.Pack, l.Kind); err != nil || len(p.Bad) == 0 && shard < 2 {
				t.Errorf("%s shard %d: %v", name, shard, err)
			}
			change(t, store, l.Pack.Name(l.Kind), func([]byte) []byte { return whole })
		}
	}
	store := b.shard(l.Pack, l.Column)
	remove(t, store, l.Pack.Name(l.Kind))
	b.fetchAll(b.open(), list)
	// The parity is needed now, and bad.
	b.hurt(b.open(), l, 2, flip(inBlob(l)))
	_, err = b.fetch(b.open(), ids(list))
	var lost *FetchError
	if !errors.As(err, &lost) || len(lost.Damaged) != 1 || lost.Damaged[0].ID != chunk.Sum(list[3]) {
		t.Errorf("%v", err)
	}
}

// TestSalvage: two of three shards are bad, in different places. No combination of whole shards helps, but one of blocks.
func TestSalvage(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	w := b.writer(a)
	w.limits.target = 1 << 20
	list := blobs(1, 3, 700_000)
	for _, p := range list {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Fatal(err)
	}
	for _, victim := range ids(list) {
		l := b.locate(a, victim)
		first, last := pack.HeaderSize+int64(l.Offset)+10, pack.HeaderSize+int64(l.Offset)+int64(l.Stored)-10
		b.hurt(a, l, l.Column, flip(first))
		b.hurt(a, l, 1-l.Column, flip(last))
		b.fetchAll(b.open(), list)
		b.hurt(a, l, 2, flip(first+1)) // the same block of a second shard: two of three are not enough for it
		_, err := b.fetch(b.open(), ids(list))
		var lost *FetchError
		if !errors.As(err, &lost) || len(lost.Damaged) != 1 || lost.Damaged[0].ID != victim {
			t.Errorf("%v", err)
		}
		b.hurt(a, l, 2, flip(first+1))
		b.hurt(a, l, l.Column, flip(first))
		b.hurt(a, l, 1-l.Column, flip(last))
	}
	b.fetchAll(b.open(), list)
}

// TestMemberDisappears while blobs are read.
func TestMemberDisappears(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 300, 3000)
	b.save(b.open(), list...)
	for _, err := range []error{remote.ErrUnavailable, remote.ErrNotExist, errors.New("permission denied")} {
		a := b.open()
		if err := a.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.stores[0].Set(fault.Rule{Skip: 3, Err: err})
		b.fetchAll(a, list)
		if err != remote.ErrNotExist {
			b.stores[1].Set(fault.Rule{Err: err})
			_, ferr := b.fetch(a, ids(list))
			if !errors.Is(ferr, stripe.ErrTooFew) {
				t.Errorf("two members of 2+1 are gone (%v): %v", err, ferr)
			}
			if _, lerr := a.Load(t.Context(), chunk.Data, chunk.Sum(list[0])); lerr != nil && !errors.Is(lerr, stripe.ErrTooFew) {
				t.Errorf("load: %v", lerr)
			}
			b.stores[1].Set()
		}
		b.stores[0].Set()
	}
}

// TestWrongIndex: a location is a claim. Whatever a damaged cache says ends in an error.
func TestWrongIndex(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		b := newBench(t, g[0], g[1])
		list := blobs(1, 40, 2000)
		b.save(b.open(), list...)
		wrong := &wrongIndex{Map: index.NewMap()}
		o := b.options()
		o.OpenIndex = func(seal.ArchiveID) (Index, error) { return wrong, nil }
		a := b.openWith(o)
		other := b.locate(b.open(), chunk.Sum(list[1]))
		for name, fn := range map[string]func(*pack.Location){
			"offset": func(l *pack.Location) { l.Offset += 7 }, "offset huge": func(l *pack.Location) { l.Offset = math.MaxUint32 },
			"stored": func(l *pack.Location) { l.Stored++ }, "stored huge": func(l *pack.Location) { l.Stored = math.MaxUint32 }, "stored 0": func(l *pack.Location) { l.Stored = 0 },
			"overflow": func(l *pack.Location) { l.Offset, l.Stored = math.MaxUint32-5, 10 }, "plain": func(l *pack.Location) { l.Plain-- },
			"plain huge": func(l *pack.Location) { l.Plain = math.MaxUint32 }, "plain 0": func(l *pack.Location) { l.Plain = 0 },
			"column": func(l *pack.Location) { l.Column++ }, "column negative": func(l *pack.Location) { l.Column = -1 }, "column huge": func(l *pack.Location) { l.Column = 255 },
			"length": func(l *pack.Location) { l.L = math.MaxInt64 }, "length negative": func(l *pack.Location) { l.L = -4096 }, "length longer": func(l *pack.Location) { l.L, l.Offset = pack.MaxColumn, 1<<24 },
			"geometry": func(l *pack.Location) { l.Geometry.K, l.Geometry.M = 31, 1 }, "geometry 0": func(l *pack.Location) { l.Geometry = pack.Geometry{} },
			"kind": func(l *pack.Location) { l.Kind = chunk.Tree }, "kind index": func(l *pack.Location) { l.Kind = chunk.Index },
			"pack": func(l *pack.Location) { l.Pack[9] ^= 1 }, "other": func(l *pack.Location) { l.Offset, l.Stored = other.Offset+1, other.Stored },
			"compression": func(l *pack.Location) { l.Compression ^= 1 }, "session": func(l *pack.Location) { l.Session.ID[0] ^= 1 },
			"wrap": func(l *pack.Location) { l.Session.Wrap = seal.Wrap{HPKE: make([]byte, seal.HPKEWrapSize)} }, "no wrap": func(l *pack.Location) { l.Session.Wrap = seal.Wrap{} },
			"overlap": func(l *pack.Location) {
				if l.Offset%2 == 1 {
					l.Offset, l.Stored = 3, 60_000
				} else {
					l.Offset, l.Stored = 5, 50
				}
			},
		} {
			wrong.change = fn
			got, err := b.fetch(a, ids(list))
			if err == nil && len(got) == len(list) && name != "length longer" {
				t.Errorf("%s: nobody notices", name)
			}
			if tooFew(err) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := a.Load(t.Context(), chunk.Data, chunk.Sum(list[0])); err == nil && name != "length longer" && name != "other" {
				t.Errorf("%s: loaded", name)
			} else if err != nil && name == "offset huge" && !strings.Contains(remote.Hint(err), "index drop") {
				t.Errorf("hint %q", remote.Hint(err))
			}
		}
		wrong.change = nil
		b.fetchAll(a, list)
	}
}

// TestHostileSession: a writer publishes another one's session id with a wrap of its own. That must not keep anybody from
// reading what the other one sealed.
func TestHostileSession(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(1, 3, 2000)
	b.save(b.open(), list...)
	a := b.open()
	l := b.locate(a, chunk.Sum(list[0]))
	evil, err := a.Keys().NewSession()
	if err != nil {
		t.Fatal(err)
	}
	a.sessions.open = map[seal.SessionID][]*seal.Session{l.Session.ID: {evil}}
	b.fetchAll(a, list)
	for range maxSessions + 10 {
		a.sessions.put(evil)
	}
	if a.sessions.n > maxSessions {
		t.Errorf("%d sessions are kept", a.sessions.n)
	}
}
