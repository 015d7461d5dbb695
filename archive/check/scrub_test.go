package check

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/tests/damage"
)

// scrub runs Shards on the archive, opened without a key.
func (b *bench) scrub(o Options) *Report {
	b.t.Helper()
	a, err := archive.Open(b.t.Context(), b.members(), archive.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	if o.Patience == 0 {
		o.Patience = time.Millisecond // nobody is at work beside it
	}
	r, err := Shards(b.t.Context(), a, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// places lists what is damaged, as damage.Injury.Place does.
func (r *Report) places() []string {
	var list []string
	for _, d := range r.Damages {
		list = append(list, strings.TrimPrefix(d.Member, "store")+" "+d.Object)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (b *bench) all() []remote.Store {
	var list []remote.Store
	for _, s := range b.mem {
		list = append(list, s)
	}
	return list
}

func TestScrubClean(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {1, 2}, {4, 2}} {
		b := three(t, g[0], g[1])
		p := &Progress{}
		r := b.scrub(Options{Progress: p})
		if r.Damaged+len(r.Notes)+r.Short > 0 || r.Snapshots != 3 || r.Segments != 3 || r.Packs != 6 || r.PacksRead != 6 {
			t.Errorf("%d+%d: %+v", g[0], g[1], r)
		}
		if p.Bytes.Load() != p.TotalBytes.Load() || p.Packs.Load() != p.TotalPacks.Load() || r.BytesRead != p.Bytes.Load() {
			t.Errorf("%d+%d: %d of %d bytes, %d of %d packs", g[0], g[1], p.Bytes.Load(), p.TotalBytes.Load(), p.Packs.Load(), p.TotalPacks.Load())
		}
	}
}

// TestScrubFindsAll: whatever is done to up to m shards or copies of each object, the scrub finds that and nothing else. So
// does a check with a key.
func TestScrubFindsAll(t *testing.T) {
	t.Parallel()
	b := three(t, 4, 2)
	whole, err := damage.Read(t.Context(), b.all())
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(15) {
		injuries, err := whole.Hurt(t.Context(), rand.New(rand.NewPCG(seed, 1)), b.all(), 2, "binaries/", "index/", "keys/", "snapshots/")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, i := range injuries {
			want = append(want, i.Place())
		}
		if slices.Sort(want); len(want) < 15 {
			t.Fatalf("seed %d: only %d injuries", seed, len(want))
		}
		r := b.scrub(Options{})
		if diff := cmp.Diff(want, r.places()); diff != "" || r.Short+r.Lost > 0 {
			t.Errorf("seed %d: %v\n%s", seed, r.Damages, diff)
		}
		if r := b.check(Options{ReadData: true}); cmp.Diff(want, r.places()) != "" || r.Lost > 0 {
			t.Errorf("seed %d: with a key: %v\n%s", seed, r.Damages, cmp.Diff(want, r.places()))
		}
		for i, objects := range whole {
			for name, data := range objects {
				b.put(i, name, data)
			}
		}
	}
	if r := b.scrub(Options{}); r.Damaged > 0 {
		t.Errorf("after all: %v", r.Damages)
	}
}

// TestScrubBlocks names the blocks of 128 KiB that are bad.
func TestScrubBlocks(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(map[string]byte{"a/1": 1, "a/2": 2}, 500_000)
	var name string
	for _, n := range b.objects(0, "binaries/") {
		if len(b.read(0, n)) > 5*pack.BlockSize {
			name = n
		}
	}
	data := b.read(0, name)
	for _, block := range []int{1, 2, 4} {
		data[pack.HeaderSize+block*pack.BlockSize+77] ^= 4
	}
	b.put(0, name, data)
	r := b.scrub(Options{})
	if r.Damaged != 1 || !slices.Equal(r.Damages[0].Blocks, []int{1, 2, 4}) || !strings.Contains(r.Damages[0].Problem, "(blocks 1-2, 4)") {
		t.Errorf("%v", r.Damages)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for want, blocks := range map[string][]int{"": nil, " (block 7)": {7}, " (blocks 0-1)": {0, 1}, " (blocks 0, 2-4, 9)": {0, 2, 3, 4, 9}} {
		if got := ranges(blocks); got != want {
			t.Errorf("%v: %q, want %q", blocks, got, want)
		}
	}
}

// TestScrubShort: too few shards is one damage of the pack, and not a loss, which nobody knows without a key.
func TestScrubShort(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	name := b.objects(0, "binaries/")[0]
	b.put(0, name, nil)
	rotten := b.read(1, name)
	rotten[pack.HeaderSize] ^= 1
	b.put(1, name, rotten)
	r := b.scrub(Options{})
	if r.Short != 1 || r.Lost > 0 || r.Damaged != 2 || !strings.Contains(fmt.Sprint(r.Damages), "1 of its 3 shards are good, and 2 are needed") {
		t.Errorf("%+v", r)
	}
	// A member that is away may have what is lacking.
	b.put(1, name, nil)
	b.stores[1] = nil
	if r := b.scrub(Options{}); r.Short > 0 || r.Damaged != 1 {
		t.Errorf("%+v", r)
	}
}

// TestScrubCards: cards that disagree, are of another member, or not as they are written.
func TestScrubCards(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	card := b.read(0, "cairn.json")
	for what, data := range map[string][]byte{
		"other date":  bytes.Replace(card, []byte(`"created": "20`), []byte(`"created": "21`), 1),
		"blank added": append(bytes.Clone(card), ' '),
		"no card":     []byte("{}"),
	} {
		b.put(0, "cairn.json", data)
		r := b.scrub(Options{})
		if d := r.naming("cairn.json"); d == nil || d.Member != "store0" {
			t.Errorf("%s: %v", what, r.Damages)
		}
	}
}

// TestScrubMark: without a key a mark is held against the other members' copies.
func TestScrubMark(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	var name string
	for _, n := range b.objects(1, "snapshots/") {
		if strings.HasSuffix(n, ".ok") {
			name = n
		}
	}
	mark := b.read(1, name)
	for at := range mark {
		hurt := bytes.Clone(mark)
		hurt[at] ^= 0x20
		b.put(1, name, hurt)
		a, err := archive.Open(t.Context(), b.members(), archive.Options{})
		if err != nil {
			t.Fatal(err)
		}
		copies, err := a.ReadCopies(t.Context(), name, nil)
		if err != nil || copies.Errs[1] == nil || copies.Sound != 2 || !bytes.Equal(copies.Good, mark) {
			t.Fatalf("byte %d: %v, %v", at, copies.Errs, err)
		}
	}
	// One against one: nobody can tell.
	hurt := bytes.Clone(mark)
	hurt[100] ^= 1 // its certificate
	b.put(1, name, hurt)
	b.stores[0] = nil
	if r := b.scrub(Options{}); r.Damaged != 2 || r.Lost != 2 {
		t.Errorf("%v", r.Damages)
	}
}

func TestScrubSubset(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	for _, name := range b.objects(1, "binaries/") {
		data := b.read(1, name)
		data[len(data)/2] ^= 1
		b.put(1, name, data)
	}
	gone := b.objects(2, "binaries/")[0]
	b.put(2, gone, nil)
	read, found := 0, 0
	for n := range 4 {
		s, err := ParseSubset(fmt.Sprintf("%d/4", n+1), nil)
		if err != nil {
			t.Fatal(err)
		}
		r := b.scrub(Options{Subset: s})
		read += r.PacksRead
		// What is missing is seen without reading; with the rotten one it is one too many.
		if d := r.naming(gone); d == nil || d.Member != "store2" && r.Short == 0 {
			t.Errorf("part %d: %v", n, r.Damages)
		}
		for _, d := range r.Damages {
			if d.Member == "store1" {
				found++
			}
		}
	}
	if read != 6 || found != 6 {
		t.Errorf("%d packs were read and %d found in four quarters", read, found)
	}
}

// TestScrubOnItsWay: a pack that is being stored while it is read first is whole in the end.
func TestScrubOnItsWay(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	name := b.objects(0, "binaries/")[0]
	var shards [][]byte
	for i := range 2 {
		shards = append(shards, b.read(i, name))
		b.put(i, name, nil)
	}
	a, err := archive.Open(t.Context(), b.members(), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(a, Options{})
	c.keyless = true
	b.stores[0].Set(fault.Rule{Op: fault.Stat, Name: name, Hits: 1, Err: remote.ErrNotExist})
	b.stores[1].Set(fault.Rule{Op: fault.Stat, Name: name, Hits: 1, Err: remote.ErrNotExist}) // as long as the first look takes
	r, err := c.run(t.Context(), c.copies, c.inventory, func(context.Context) error {
		for i, data := range shards {
			b.put(i, name, data)
		}
		return nil
	}, c.scrub)
	if err != nil || r.Damaged > 0 || r.Packs != 6 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestScrubRemoved: a pack that is removed between the listing and the reading is no damage.
func TestScrubRemoved(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	name := b.objects(0, "binaries/")[0]
	a, err := archive.Open(t.Context(), b.members(), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(a, Options{})
	c.keyless = true
	r, err := c.run(t.Context(), c.copies, c.inventory, func(context.Context) error {
		for i := range b.mem {
			b.put(i, name, nil)
		}
		return nil
	}, c.scrub)
	if err != nil || r.Damaged > 0 || r.Packs != 5 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReplaced: a pack that was copied into others while a check runs is not a loss; the segment that named it is gone too.
func TestReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.backup(map[string]byte{"a/1": 1}, 100)
	segments := b.objects(0, "index/")
	c := newChecker(b.open(), Options{})
	c.packs = map[archive.PackName]*packState{}
	before := b.objects(0, "binaries/")
	r, err := c.run(t.Context(), c.copies, c.segments, func(context.Context) error {
		// The same blobs again, from an archive that does not know that it has them.
		for i := range b.mem {
			for _, name := range segments {
				b.put(i, name, nil)
			}
		}
		b.backup(map[string]byte{"a/1": 1}, 100)
		for i := range b.mem {
			for _, name := range before {
				b.put(i, name, nil)
			}
		}
		return nil
	}, c.listing, c.data, c.settle, c.losses, c.snapshots, c.garbage)
	if err != nil || r.Damaged+r.FilesLost > 0 || r.Packs != 2 || r.Segments != 1 || r.Snapshots != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestScrubMemberAway(t *testing.T) {
	t.Parallel()
	b := three(t, 2, 1)
	b.stores[1] = nil
	if r := b.scrub(Options{}); r.Damaged > 0 || r.PacksRead != 6 {
		t.Errorf("a missing member: %v", r.Damages)
	}
	b = three(t, 2, 1)
	b.stores[1].Set(fault.Rule{Op: fault.List})
	if r := b.scrub(Options{}); r.Damaged != 1 || r.Damages[0].Member != "store1" || !strings.Contains(r.Damages[0].Problem, "listed") {
		t.Errorf("a member that cannot be listed: %v", r.Damages)
	}
}
