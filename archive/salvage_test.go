package archive

import (
	"errors"
	"slices"
	"testing"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/stripe"
)

// down makes members of a bench refuse everything, or answer again.
func (b *bench) down(away bool, members ...int) {
	for _, i := range members {
		b.stores[i].Set()
		if away {
			b.stores[i].Set(fault.Rule{Err: remote.ErrUnavailable})
		}
	}
}

// TestPackOfFewer: a pack was stored while m members were away, and now another one is. That costs what needs it, not the rest.
func TestPackOfFewer(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	whole, fewer := blobs(1, 200, 2000), blobs(2, 200, 2000)
	b.save(b.open(), whole...)
	b.down(true, 0, 1)
	b.save(b.open(), fewer...)
	b.down(false, 0, 1)
	full := b.open()
	b.fetchAll(full, append(slices.Clone(whole), fewer...))

	idx, err := full.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.down(true, 2)
	lacks := map[chunk.ID]bool{}
	for _, id := range ids(fewer) {
		l := b.locate(full, id)
		lacks[id] = pack.Member(l.Pack, l.Column, 6) <= 2
	}
	// A machine without a cache cannot read the segment either.
	var lost *FetchError
	if got, err := b.fetch(b.open(), append(ids(whole), ids(fewer)...)); !errors.As(err, &lost) || len(got) != len(whole) || !errors.Is(lost.Missing[0], stripe.ErrTooFew) {
		t.Errorf("without a cache: %d blobs, %v", len(got), err)
	}
	a := b.open()
	a.index = idx // as it is in the cache
	got, err := b.fetch(a, append(ids(whole), ids(fewer)...))
	if !errors.As(err, &lost) || len(lost.Missing) > 0 {
		t.Fatalf("%v", err)
	}
	for _, d := range lost.Damaged {
		if !lacks[d.ID] || !d.Unreachable() || a.Stops(t.Context(), d) {
			t.Errorf("%v", d)
		}
	}
	if len(lost.Damaged) == 0 || len(got)+len(lost.Damaged) != len(whole)+len(fewer) {
		t.Errorf("%d blobs came, %d did not", len(got), len(lost.Damaged))
	}
	unreachable := 0
	for _, p := range fewer {
		var blob *BlobDamage
		switch _, err := a.Load(t.Context(), chunk.Data, chunk.Sum(p)); {
		case errors.As(err, &blob) && blob.Unreachable() && lacks[blob.ID]:
			unreachable++
		case err != nil:
			t.Errorf("load: %v", err)
		}
	}
	if unreachable != len(lost.Damaged) {
		t.Errorf("%d could not be loaded, %d not be fetched", unreachable, len(lost.Damaged))
	}
	b.down(true, 3, 4)
	if _, err := b.fetch(a, ids(whole)); errors.As(err, &lost) || !errors.Is(err, stripe.ErrTooFew) || !a.Stops(t.Context(), err) {
		t.Errorf("three of 4+2 are away: %v", err)
	}
}

// TestSalvageMembers: with fewer than k members, what the data columns hold that are left is read.
func TestSalvageMembers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	list := blobs(1, 300, 2000)
	b.save(b.open(), list...)
	o := b.options()
	idx, err := b.open().Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := b.openWith(o)
	a.index, a.opts.Salvage = idx, true // as a machine has it in its cache
	b.down(true, 0, 3, 4)
	there := map[chunk.ID]bool{}
	for _, id := range ids(list) {
		m := pack.Member(b.locate(a, id).Pack, b.locate(a, id).Column, 6)
		there[id] = m != 0 && m != 3 && m != 4
	}
	got, err := b.fetch(a, ids(list))
	var lost *FetchError
	if !errors.As(err, &lost) || len(got)+len(lost.Damaged) != len(list) || len(lost.Damaged) == 0 {
		t.Fatalf("%d blobs, %v", len(got), err)
	}
	for id, is := range there {
		if is != got[id] {
			t.Errorf("blob %s: there %v, fetched %v", id.Short(), is, got[id])
		}
		if _, err := a.Load(t.Context(), chunk.Data, id); (err == nil) != is {
			t.Errorf("blob %s: there %v, loaded %v", id.Short(), is, err)
		}
	}
	for _, d := range lost.Damaged {
		var few *stripe.TooFewError
		if !errors.As(d, &few) || len(few.Missing) != 3 || remote.Hint(d) == "" {
			t.Errorf("it does not say which members would be needed: %v", d)
		}
	}
	// The directories of the columns that are left are read, too.
	l := b.locate(a, lost.Damaged[0].ID)
	for c := range 4 {
		m := pack.Member(l.Pack, c, 6)
		away := m == 0 || m == 3 || m == 4
		if _, err := a.ReadDirectory(t.Context(), l.Pack, c); (err != nil) != away {
			t.Errorf("directory of column %d: %v", c, err)
		}
	}
}

// TestSuspects: a shard that had to be read around is noted, and no other.
func TestSuspects(t *testing.T) {
	t.Parallel()
	for name, fn := range map[string]func(b []byte) []byte{
		"a bit": nil, "zeros": func(b []byte) []byte { return make([]byte, len(b)) }, "half": half,
	} {
		b := newBench(t, 4, 2)
		list := blobs(1, 300, 2000)
		b.save(b.open(), list...)
		a := b.open()
		l := b.locate(a, chunk.Sum(list[5]))
		change := fn
		if change == nil {
			change = flip(inBlob(l))
		}
		b.hurt(a, l, l.Column, change)
		before := b.count(fault.Get)
		b.fetchAll(a, list)
		if n, packs := b.count(fault.Get)-before, len(b.names("binaries/")); n > 4*packs+40 {
			t.Errorf("%s: %d requests for %d packs of 4 columns, of which one is bad", name, n, packs)
		}
		want := Suspect{Pack: l.Pack, Kind: chunk.Data, Shard: l.Column}
		if got := a.Suspects(); len(got) != 1 || got[want] != FoundBad {
			t.Errorf("%s: %v is bad, noted are %v", name, want, got)
		}
		// One that is needed to read around it is bad as well.
		second := 4
		b.hurt(a, l, second, flip(pack.HeaderSize+int64(l.Offset)+1))
		a = b.open()
		b.down(true, b.onMember(l.Pack, 5))
		b.fetchAll(a, append(list[:0:0], list[6:]...))
		for s := range a.Suspects() {
			if s.Pack != l.Pack || s.Shard != l.Column && s.Shard != second {
				t.Errorf("%s: %v is not bad", name, s)
			}
		}
		b.down(false, b.onMember(l.Pack, 5))
	}
}

// count adds up operations on all members.
func (b *bench) count(op fault.Op) (n int) {
	for _, s := range b.stores {
		n += s.Count(op)
	}
	return n
}
