package archive

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// quarry stores 40 blobs in one pack and says how to read it.
func quarry(b *bench, a *Archive) Quarry {
	b.t.Helper()
	w := b.writer(a)
	w.limits.target = 4 << 20
	list := blobs(1, 40, 60_000)
	for _, p := range list {
		if _, err := w.Save(b.t.Context(), chunk.Data, p); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := w.Commit(b.t.Context(), newSnapshot()); err != nil {
		b.t.Fatal(err)
	}
	l := b.locate(a, chunk.Sum(list[0]))
	for _, id := range ids(list) {
		if b.locate(a, id).Pack != l.Pack {
			b.t.Fatal("more than one pack")
		}
	}
	return Quarry{Placement: a.placements[0], ID: l.Pack, Kind: chunk.Data, L: l.L}
}

// some picks the first, a middle one and the last of a column.
func some(c *pack.Column) ([]int, error) {
	n := len(c.Entries)
	return slices.Compact([]int{0, n / 2, n - 1}), nil
}

// TestExtract: the chosen blobs come out as they were stored, whatever is wrong with what was not asked for, and also with what was as long as
// parity makes up for it.
func TestExtract(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		b := newBench(t, g[0], g[1])
		a := b.open()
		q := quarry(b, a)
		shards, err := a.ReadPackAt(t.Context(), q.Placement, q.ID, q.Kind)
		if err != nil {
			t.Fatal(err)
		}
		c, err := shards.Directory(a.keys, 0)
		if err != nil {
			t.Fatal(err)
		}
		chosen, _ := some(c)
		in := func(i int) int64 { return pack.HeaderSize + int64(c.Entries[i].Offset) + int64(c.Entries[i].Stored)/2 }
		for _, h := range []struct {
			name string
			fn   func([]byte) []byte
			ok   bool // without parity, too
		}{
			{"nothing", slices.Clone[[]byte], true},
			{"header", flip(100), true},
			{"another blob", flip(in(1)), true},
			{"a chosen blob", flip(in(chosen[1])), false},
			{"directory", flip(pack.HeaderSize + q.L - 50), false},
			{"copy of the header", flip(pack.ShardSize(q.L) - 100), true},
			{"cut off", half, false},
			{"empty", empty, false},
		} {
			for _, dense := range []bool{false, true} {
				name := fmt.Sprintf("%d+%d, dense %v, %s", g[0], g[1], dense, h.name)
				store := b.shard(q.ID, 0)
				was, err := store.Get(t.Context(), q.ID.Name(q.Kind), 0, -1, nil)
				if err != nil {
					t.Fatal(err)
				}
				change(t, store, q.ID.Name(q.Kind), h.fn)
				q.Dense = dense
				x := a.NewExtractor(2)
				for range 2 { // the second with the buffers of the first
					e, err := x.Read(t.Context(), q, some)
					if err != nil {
						var lost *PackDamage
						if h.ok || g[1] > 0 || !errors.As(err, &lost) {
							t.Errorf("%s: %v", name, err)
						}
						break
					}
					if !h.ok && g[1] == 0 {
						t.Errorf("%s: there was no error", name)
					}
					e.compare(t, name, shards)
					e.Release()
				}
				change(t, store, q.ID.Name(q.Kind), func([]byte) []byte { return was })
			}
		}
	}
}

// compare fails when a chosen blob is not the same in shards.
func (e *Extract) compare(t *testing.T, name string, shards *PackShards) {
	t.Helper()
	for i := range e.Columns {
		c := &e.Columns[i]
		if len(c.Chosen) == 0 || c.Number != i {
			t.Errorf("%s: column %d: %v of %d", name, i, c.Chosen, c.Number)
		}
		for _, n := range c.Chosen {
			at := c.Entries[n]
			if !bytes.Equal(c.Payload[at.Offset:][:at.Stored], shards.Payload(i)[at.Offset:][:at.Stored]) {
				t.Errorf("%s: column %d, blob %d is another one", name, i, n)
			}
		}
	}
}

// TestExtractSwapped: another pack under the name of this one is not taken for it.
func TestExtractSwapped(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	q := quarry(b, a)
	b.save(a, blobs(2, 3, 1000)...)
	other := b.locate(a, chunk.Sum(blobs(2, 3, 1000)[0]))
	object, err := b.mem[0].Get(t.Context(), other.Pack.Name(chunk.Data), 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(t, b.mem[0], q.ID.Name(q.Kind), func([]byte) []byte { return object })
	var lost *PackDamage
	if e, err := a.NewExtractor(1).Read(t.Context(), q, some); !errors.As(err, &lost) {
		t.Errorf("%v, %v", e, err)
	}
}

var errChoose = errors.New("no index")

// TestExtractChoose: an error of the caller's is no reason to read more.
func TestExtractChoose(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	q := quarry(b, a)
	calls := 0
	_, err := a.NewExtractor(1).Read(t.Context(), q, func(*pack.Column) ([]int, error) { calls++; return nil, errChoose })
	if !errors.Is(err, errChoose) || calls != 1 {
		t.Errorf("%v, %d calls", err, calls)
	}
	e, err := a.NewExtractor(1).Read(t.Context(), q, func(*pack.Column) ([]int, error) { return nil, nil })
	if err != nil || e.Columns[0].Payload != nil {
		t.Errorf("nothing is wanted: %v, %v", e, err)
	}
}

// TestExtractRanges: few requests, which cover what is wanted, and long gaps are left out as far as that goes.
func TestExtractRanges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c := ExtractColumn{Column: &pack.Column{}}
		at := uint32(0)
		for i := range 1 + rng.IntN(60) {
			e := pack.Entry{Offset: at, Stored: 1 + rng.Uint32N(700_000)}
			c.Entries = append(c.Entries, e)
			at += e.Stored
			if rng.IntN(3) == 0 || i == 0 {
				c.Chosen = append(c.Chosen, i)
			}
		}
		ranges := c.ranges()
		if len(ranges) > extractRanges {
			t.Errorf("seed %d: %d ranges", seed, len(ranges))
		}
		longest := int64(0)
		for i := range ranges[1:] {
			gap := ranges[i+1].from - ranges[i].to
			if gap <= extractGap {
				t.Errorf("seed %d: a gap of %d bytes is not read along", seed, gap)
			}
			longest = max(longest, gap)
		}
		for j, i := range c.Chosen {
			from, to := int64(c.Entries[i].Offset), int64(c.Entries[i].Offset+c.Entries[i].Stored)
			in := slices.ContainsFunc(ranges, func(r extent) bool { return r.from <= from && to <= r.to })
			if !in {
				t.Errorf("seed %d: blob %d is not read", seed, i)
			}
			if j == 0 || len(ranges) == extractRanges {
				continue
			}
			before := c.Entries[c.Chosen[j-1]]
			end := int64(before.Offset) + int64(before.Stored)
			if along := slices.ContainsFunc(ranges, func(r extent) bool { return r.from < end && from < r.to }); along && from-end > extractGap {
				t.Errorf("seed %d: a gap of %d bytes is read along", seed, from-end)
			}
		}
	}
}
