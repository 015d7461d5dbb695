package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/fault"
)

// TestFalseCards: cards of another archive or of another member. Data is stored, or not; stores are added; then either the archive
// opens without the stores named by bad, and reads all it has, or it does not open, with an error that has all words of says.
func TestFalseCards(t *testing.T) {
	t.Parallel()
	foreign := func(at ...int) func(t *testing.T, b *bench) {
		return func(t *testing.T, b *bench) {
			other := newBench(t, b.k, b.m)
			for _, i := range at {
				b.putCard(i, other.card(i))
			}
		}
	}
	rotten := func(t *testing.T, b *bench) { // one bit of its archive's id
		id := []byte(b.id.String())
		bad := bytes.Clone(id)
		bad[5] = "1032547698badcfe"[strings.IndexByte("0123456789abcdef", bad[5])]
		change(t, b.mem[1], cardName, func(c []byte) []byte { return bytes.Replace(c, id, bad, 1) })
	}
	nobody := func(t *testing.T, b *bench) { // a member id that nobody has
		change(t, b.mem[1], cardName, func(c []byte) []byte {
			c[bytes.Index(c, []byte(`"member": "`))+11] ^= 1
			return c
		})
	}
	as := func(pairs ...int) func(t *testing.T, b *bench) { // the first gets the second's card, and so on
		return func(t *testing.T, b *bench) {
			var cards [][]byte
			for i := range b.mem {
				cards = append(cards, b.card(i))
			}
			for i := 0; i < len(pairs); i += 2 {
				b.putCard(pairs[i], cards[pairs[i+1]])
			}
		}
	}
	extra := func(t *testing.T, b *bench) { // one more address, of another archive
		other := newBench(t, b.k, b.m)
		other.save(other.open(), blobs(3, 20, 5000)...)
		b.mem, b.stores = append(b.mem, other.mem[0]), append(b.stores, other.stores[0])
	}
	replica := func(of int) func(t *testing.T, b *bench) { // one more address, of a copy
		return func(t *testing.T, b *bench) {
			b.more(1)
			for info, err := range b.mem[of].List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				data, err := b.mem[of].Get(t.Context(), info.Name, 0, -1, nil)
				if err == nil {
					err = b.mem[len(b.mem)-1].Put(t.Context(), info.Name, data)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	away := func(hurt func(*testing.T, *bench), gone ...int) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			hurt(t, b)
			for _, i := range gone {
				b.stores[i] = nil
			}
		}
	}
	for _, c := range []struct {
		name    string
		k, m    int
		empty   bool // nothing was stored: no shard tells who is who
		hurt    func(*testing.T, *bench)
		bad     []int
		says    []string
		few     bool // what is left is too little to read
		renewed bool // a repair gives all cards back
	}{
		{name: "one of another archive", k: 2, m: 1, hurt: foreign(1), bad: []int{1}, renewed: true},
		{name: "two of another archive", k: 4, m: 2, hurt: foreign(1, 4), bad: []int{1, 4}, renewed: true},
		{name: "three of another archive", k: 4, m: 2, hurt: foreign(0, 1, 4), says: []string{"store0", "belongs to archive"}},
		{name: "one, and too many are away", k: 2, m: 1, hurt: away(foreign(1), 2), says: []string{"store1", "store0", "belongs to archive"}},
		{name: "one, and one is away", k: 3, m: 2, hurt: away(foreign(1), 2), bad: []int{1}, renewed: true},
		{name: "half are", k: 1, m: 1, hurt: foreign(1), says: []string{"store1", "belongs to archive"}},
		{name: "one too many", k: 2, m: 1, hurt: extra, bad: []int{3}},
		{name: "one too many for no parity", k: 2, m: 0, hurt: extra, bad: []int{2}},
		{name: "one too many for one", k: 1, m: 0, hurt: extra, says: []string{"store1", "belongs to archive"}},
		{name: "a rotten archive id", k: 2, m: 1, hurt: rotten, bad: []int{1}, renewed: true},
		{name: "a rotten archive id, nothing stored", k: 2, m: 1, empty: true, hurt: rotten, bad: []int{1}},
		{name: "a rotten member id", k: 2, m: 1, hurt: nobody, bad: []int{1}, renewed: true},
		{name: "another's card", k: 2, m: 1, hurt: as(1, 2), bad: []int{1}, renewed: true},
		{name: "another's card, which is named later", k: 2, m: 1, hurt: as(2, 0), bad: []int{2}, renewed: true},
		{name: "two have another's", k: 4, m: 2, hurt: as(0, 3, 1, 3), bad: []int{0, 1}, renewed: true},
		{name: "two have others'", k: 4, m: 2, hurt: as(0, 3, 1, 2), bad: []int{0, 1}, renewed: true},
		{name: "all have one's", k: 2, m: 1, hurt: as(0, 2, 1, 2), few: true, bad: []int{0, 1}, renewed: true},
		{name: "nothing stored", k: 4, m: 2, empty: true, hurt: as(0, 3), bad: []int{0, 3}},
		{name: "nothing stored, no member to spare", k: 2, m: 1, empty: true, hurt: as(0, 2), says: []string{"store0", "store2", "same member"}},
		{name: "a replica", k: 2, m: 1, hurt: replica(0), bad: []int{0, 3}},
		{name: "a replica without parity", k: 2, m: 0, hurt: replica(0), says: []string{"store0", "store2", "same member"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.k, c.m)
			list := blobs(1, 20, 5000)
			if c.empty {
				list = nil
			}
			a := b.open()
			if !c.empty {
				b.save(a, list...)
			}
			c.hurt(t, b)
			gone := 0
			for _, s := range b.stores {
				if s == nil {
					gone++
				}
			}
			var said notices
			o := b.options()
			o.Notice = said.add
			for _, keyless := range []bool{true, false} {
				if keyless {
					o.Credentials = nil
				} else {
					o.Credentials = b.options().Credentials
				}
				opened, err := Open(t.Context(), b.members(), o)
				if err != nil {
					for _, word := range c.says {
						if !strings.Contains(err.Error(), word) {
							t.Errorf("%v does not say %q", err, word)
						}
					}
					if len(c.says) == 0 || remote.Hint(err) == "" {
						t.Errorf("does not open: %v; hint %q", err, remote.Hint(err))
					}
					continue
				}
				a = opened
				if len(c.says) > 0 {
					t.Fatalf("it opens, without %v", a.BadCards())
				}
				var bad, want []string
				for _, d := range a.BadCards() {
					bad = append(bad, d.Member)
				}
				for _, i := range c.bad {
					want = append(want, fmt.Sprintf("store%d", i))
				}
				if !slices.Equal(bad, want) {
					t.Errorf("left out are %v, want %v", a.BadCards(), want)
				}
				for _, name := range want {
					if !strings.Contains(said.String(), "member "+name+" is left out") {
						t.Errorf("%s is not told of: %s", name, &said)
					}
				}
			}
			if len(c.bad) == 0 {
				return
			}
			t.Log(&said)
			if !c.few {
				b.fetchAll(a, list)
			}
			renewals, err := a.RenewCards(t.Context(), false)
			if err != nil || len(renewals) != len(c.bad) {
				t.Errorf("renewed: %+v, %v", renewals, err)
			}
			for _, r := range renewals {
				if (r.Err == nil) != c.renewed {
					t.Errorf("renewed: %+v", r)
				}
			}
			if again := b.open(); c.renewed && (len(again.BadCards()) > 0 || len(again.Missing()) != gone) {
				t.Errorf("after the repair: %v, missing %v", again.BadCards(), again.Missing())
			} else if c.renewed {
				b.fetchAll(again, list)
			}
		})
	}
}

// TestTwoThieves: most members are of an archive that this machine does not know, the others of one that it does. Nothing is done.
func TestTwoThieves(t *testing.T) {
	t.Parallel()
	b, theirs := newBench(t, 1, 2), newBench(t, 1, 2)
	dir := t.TempDir()
	o := b.options()
	o.Dir = func(id seal.ArchiveID) string { return filepath.Join(dir, id.String()) }
	members := append(theirs.members()[1:], b.members()[0])
	if a, err := Open(t.Context(), members, o); err != nil || a.ID() != theirs.id {
		t.Errorf("nobody is known, two of three agree: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b.openWith(o)
	if _, err := Open(t.Context(), members, o); err == nil || !strings.Contains(err.Error(), "belongs to archive") {
		t.Errorf("one is known: %v", err)
	}
	if _, err := Open(t.Context(), theirs.members(), o); err != nil { // both are: a user has several archives
		t.Error(err)
	}
	if a, err := Open(t.Context(), members, o); err != nil || a.ID() != theirs.id || len(a.BadCards()) != 1 {
		t.Errorf("both are known: %v", err)
	}
}

func (b *bench) objects(member int) (n int) {
	for _, err := range b.mem[member].List(b.t.Context(), "") {
		if err != nil {
			b.t.Fatal(err)
		}
		n++
	}
	return n
}

// TestFalseCardSurvivesWrites: a backup with a false card among the members leaves its store alone.
func TestFalseCardSurvivesWrites(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 20, 5000)
	b.save(b.open(), list...)
	b.putCard(1, b.card(2))
	before := b.objects(1)
	more := blobs(2, 20, 5000)
	b.save(b.open(), more...)
	if n := b.objects(1); n != before {
		t.Errorf("%d objects became %d", before, n)
	}
	b.fetchAll(b.open(), append(list, more...))
}

// TestClaimsCost: asking for shards costs nothing unless cards are in doubt.
func TestClaimsCost(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.save(b.open(), blobs(1, 20, 5000)...)
	lists := func() (n int) {
		for _, s := range b.stores {
			n -= s.Count(fault.List)
		}
		b.openWith(Options{})
		for _, s := range b.stores {
			n += s.Count(fault.List)
		}
		return n
	}
	if n := lists(); n != 0 {
		t.Errorf("opening lists %d times", n)
	}
	b.putCard(1, b.card(2))
	if n := lists(); n == 0 || n > 4 {
		t.Errorf("opening with a doubt lists %d times", n)
	}
}

// TestForgedRevision: a card that nobody signed names an archive of strangers, of which it is the latest state, and its store gives no key slots.
func TestForgedRevision(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 20, 5000)
	b.save(b.open(), list...)
	c := *b.openWith(Options{}).card
	c.Revision, c.Features = 7, []string{featureLayouts}
	c.Layout.Members = []string{c.Member, strings.Repeat("1", 32), strings.Repeat("2", 32)}
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	b.putCard(0, data)
	for _, name := range b.names(keyPrefix) {
		remove(t, b.mem[0], name)
	}
	a, err := Open(t.Context(), b.members(), b.options())
	if err != nil {
		t.Fatal(err)
	}
	if len(a.BadCards()) != 1 || len(a.Missing()) != 1 || a.card.Revision != 0 {
		t.Errorf("revision %d, bad %v, missing %v", a.card.Revision, a.BadCards(), a.Missing())
	}
	b.fetchAll(a, list)
}
