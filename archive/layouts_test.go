package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/remote/stripe"
)

// more adds empty stores.
func (b *bench) more(n int) {
	for range n {
		s := mem.New()
		b.mem, b.stores = append(b.mem, s), append(b.stores, fault.New(s))
	}
}

// grow changes the layout to data+parity over the present members and new ones.
func (b *bench) grow(data, parity int) *Change {
	b.t.Helper()
	a := b.open()
	var ids []string
	for _, m := range a.Members() {
		ids = append(ids, m.ID)
	}
	c, err := a.PlanLayout(data, parity, append(ids, make([]string, data+parity-len(ids))...))
	if err != nil {
		b.t.Fatal(err)
	}
	b.enact(a, c)
	return c
}

// enact makes a change: new members are the last stores.
func (b *bench) enact(a *Archive, c *Change) {
	b.t.Helper()
	stores := map[string]remote.Store{}
	for i, id := range c.New() {
		stores[id] = b.stores[len(b.stores)-len(c.New())+i]
	}
	r, err := a.Mirror(b.t.Context(), c.Placements(stores)[0])
	if err != nil || len(r.Errs) > 0 {
		b.t.Fatalf("mirror: %+v, %v", r, err)
	}
	list, err := a.WriteCards(b.t.Context(), c, stores)
	if err != nil || len(list) != len(c.Members()) {
		b.t.Fatalf("cards: %v, %v", list, err)
	}
}

// without opens the archive while some stores are away.
func (b *bench) without(away ...int) *bench {
	c := *b
	c.stores = slices.Clone(b.stores)
	for _, i := range away {
		c.stores[i] = nil
	}
	return &c
}

// TestTwoLayouts: packs of 2+1 and of 3+2 in one archive are written, found, read with members missing, and named
// again when the index is lost.
func TestTwoLayouts(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	old := blobs(1, 40, 5000)
	first := b.save(b.open(), old...)
	b.more(2)
	c := b.grow(3, 2)
	if c.Revision() != 1 || len(c.New()) != 2 || c.Geometry() != (pack.Geometry{K: 3, M: 2, Epoch: 2}) {
		t.Errorf("revision %d, new %v, %+v", c.Revision(), c.New(), c.Geometry())
	}
	b.k, b.m = 3, 2
	a := b.open()
	if a.Geometry() != c.Geometry() || len(a.Placements()) != 2 || len(a.Members()) != 5 || len(a.Missing()) > 0 || len(a.BadCards()) > 0 {
		t.Fatalf("%+v, missing %v", a.Geometry(), a.Missing())
	}
	fresh := blobs(2, 40, 5000)
	second := b.save(a, fresh...)
	b.fetchAll(b.open(), append(slices.Clone(old), fresh...))
	for i, want := range [][][]byte{old, fresh} {
		at := b.locate(a, chunk.Sum(want[0]))
		p, err := a.PlacementOf(t.Context(), at.Pack, chunk.Data)
		if err != nil || p.Geometry != at.Geometry || int(p.Geometry.Epoch) != i+1 {
			t.Errorf("layout %d: %+v, %v", i, p.Geometry, err)
		}
		if r, err := a.RepairPack(t.Context(), p, at.Pack, chunk.Data, RepairOptions{DryRun: true}); err != nil || !r.Whole() {
			t.Errorf("%+v, %v", r, err)
		}
	}
	// Any member may be away for the old packs, any two for the new ones.
	for i := range 5 {
		b.fetchAll(b.without(i).open(), append(slices.Clone(old), fresh...))
		for j := range i {
			a := b.without(i, j).open()
			if i > 2 {
				b.fetchAll(a, append(slices.Clone(old), fresh...))
				continue
			}
			b.fetchSome(a, old, fresh)
		}
	}
	// Both snapshots are on all five.
	for i, s := range b.mem {
		for _, id := range []chunk.ID{first.ID, second.ID} {
			for _, name := range []string{snapshotPrefix + id.String(), snapshotPrefix + id.String() + markSuffix} {
				if _, err := s.Stat(t.Context(), name); err != nil {
					t.Errorf("store %d: %v", i, err)
				}
			}
		}
	}
	// Without segments all is found again by the directories.
	for _, name := range b.names(indexPrefix) {
		for _, s := range b.mem {
			remove(t, s, name)
		}
	}
	a = b.open()
	r, err := a.RebuildIndex(t.Context(), RebuildOptions{})
	if err != nil || len(r.Damaged) > 0 || r.Blobs != 80 {
		t.Errorf("%+v, %v", r, err)
	}
	b.fetchAll(b.open(), append(slices.Clone(old), fresh...))
	b.fetchAll(b.without(0).open(), append(slices.Clone(old), fresh...))
}

// fetchSome reads with two of the three old members away: the new packs are whole, the old ones have too few.
func (b *bench) fetchSome(a *Archive, old, fresh [][]byte) {
	b.t.Helper()
	if _, err := a.Index(b.t.Context()); err != nil {
		if !errors.Is(err, stripe.ErrTooFew) {
			b.t.Errorf("index: %v", err)
		}
		return // the segments of the old layout are out of reach, too
	}
	b.fetchAll(a, fresh)
	if _, err := b.fetch(a, ids(old)); err == nil {
		b.t.Error("one member of 2+1 gives old packs")
	}
}

// TestReplaceMember: a new member takes a lost one's place in every layout; its shards are made from the others'.
func TestReplaceMember(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	old := blobs(1, 40, 5000)
	b.save(b.open(), old...)
	b.more(2)
	b.grow(3, 2)
	fresh := blobs(2, 40, 5000)
	b.save(b.open(), fresh...)
	lost := 1
	was := b.mem[lost]
	b.mem[lost], b.stores[lost] = mem.New(), nil
	b.more(1)
	a := b.open()
	for _, name := range []string{"nobody", "-1", "7", ""} {
		if _, err := a.PlanReplace(name); err == nil {
			t.Errorf("replaces %q", name)
		}
	}
	c, err := a.PlanReplace(fmt.Sprint(lost))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.New()) != 1 || c.Revision() != 2 || len(c.Layouts()) != 2 || slices.Contains(c.Members(), c.Replaced()) {
		t.Errorf("%+v", c)
	}
	stores := map[string]remote.Store{c.New()[0]: b.stores[5]}
	healed := 0
	for _, p := range c.Placements(stores) {
		for _, prefix := range []string{packPrefix, indexPrefix} {
			_, err := a.ListPacks(t.Context(), prefix, func(l *PackListing) error {
				at, err := a.PlacementOf(t.Context(), l.Pack, l.Kind)
				if err != nil || at.Geometry != p.Geometry {
					return err
				}
				r, err := a.RepairPack(t.Context(), p, l.Pack, l.Kind, RepairOptions{})
				if err == nil && !r.Whole() {
					err = fmt.Errorf("pack %s: %+v", l.Pack.Short(), r)
				}
				healed += r.Healed()
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if healed == 0 {
		t.Error("no shard was made")
	}
	b.enact(a, c)
	// The old member comes back beside the new one: it is left out. The one with the old card is used, where nobody took its place.
	b.stores[lost] = fault.New(was)
	var said notices
	o := b.options()
	o.Notice = said.add
	a = b.openWith(o)
	if len(a.Missing()) > 0 || !strings.Contains(said.String(), "store1 is left out: another member has taken its place") || len(a.BadCards()) > 0 {
		t.Errorf("missing %v, said %s", a.Missing(), &said)
	}
	b.stores[lost] = nil
	for i := range b.stores {
		b.fetchAll(b.without(i).open(), append(slices.Clone(old), fresh...))
	}
}

// TestStaleCard: a member that was away while the layout changed is used, told of, and renewed.
func TestStaleCard(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 40, 5000)
	b.save(b.open(), list...)
	stale := b.stores[0]
	b.stores[0] = nil
	b.more(1)
	a := b.open()
	members := a.Members()
	c, err := a.PlanLayout(2, 2, []string{members[0].ID, members[1].ID, members[2].ID, ""})
	if err != nil {
		t.Fatal(err)
	}
	stores := map[string]remote.Store{c.New()[0]: b.stores[3]}
	written, err := a.WriteCards(t.Context(), c, stores)
	if err != nil || len(written) != 4 || written[1].Err == nil || written[2].Err != nil {
		t.Errorf("%v, %v", written, err)
	}
	b.stores[0] = stale
	var said notices
	o := b.options()
	o.Notice = said.add
	a = b.openWith(o)
	if !strings.Contains(said.String(), "store0 missed a change") || len(a.Missing()) > 0 || !a.Members()[0].Stale {
		t.Errorf("missing %v, said %s", a.Missing(), &said)
	}
	if err := a.VerifyCard(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "revision") {
		t.Errorf("stale card: %v", err)
	}
	b.fetchAll(a, list)
	if r, err := a.RenewCards(t.Context(), true); err != nil || len(r) != 1 || r[0].Err != nil || r[0].Member != "store0" {
		t.Errorf("dry: %+v, %v", r, err)
	}
	if r, err := a.RenewCards(t.Context(), false); err != nil || len(r) != 1 || r[0].Err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	a = b.open()
	for i := range a.Members() {
		if err := a.VerifyCard(t.Context(), i); err != nil || a.Members()[i].Stale {
			t.Errorf("member %d: %v", i, err)
		}
	}
}

// TestRenewCards: a card that is damaged or gone is written again when the member's shards say which it is.
func TestRenewCards(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 40, 5000)
	b.save(b.open(), list...)
	good, err := b.mem[1].Get(t.Context(), cardName, 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"gone": nil, "cut off": good[:len(good)/2], "forged": bytes.Replace(good, []byte(`"bits": 20`), []byte(`"bits": 21`), 1),
		"other form": append([]byte(" "), good...),
	} {
		if data == nil {
			remove(t, b.mem[1], cardName)
		} else if err := b.mem[1].Put(t.Context(), cardName, data); err != nil {
			t.Fatal(err)
		}
		r, err := b.open().RenewCards(t.Context(), false)
		if err != nil || len(r) != 1 || r[0].Err != nil || r[0].Member != "store1" || r[0].Was == "" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		got, err := b.mem[1].Get(t.Context(), cardName, 0, -1, nil)
		if err != nil || !bytes.Equal(got, good) {
			t.Errorf("%s: %v: %s", name, err, cmp.Diff(string(good), string(got)))
		}
	}
	// An empty store is nobody.
	b.mem[1] = mem.New()
	b.stores[1] = fault.New(b.mem[1])
	if r, err := b.open().RenewCards(t.Context(), false); err != nil || len(r) != 1 || r[0].Err == nil || len(b.names("")) == 0 {
		t.Errorf("an empty store: %+v, %v", r, err)
	}
	if _, err := b.mem[1].Stat(t.Context(), cardName); err == nil {
		t.Error("an empty store got a card")
	}
	if _, err := b.openWith(Options{}).RenewCards(t.Context(), false); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
}

// TestRevisions: of several revisions the highest holds, and one whose MAC is wrong does not.
func TestRevisions(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	before := make([][]byte, 3)
	for i := range before {
		before[i] = b.card(i)
	}
	forge := func(c *Change, id string) []byte {
		data, err := c.Card(id)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Replace(data, []byte(`"revision": 1`), []byte(`"revision": 7`), 1)
	}
	c, err := a.PlanReplace("2")
	if err != nil {
		t.Fatal(err)
	}
	// A forged card of a high revision, which would leave the others out.
	b.putCard(0, forge(c, a.Members()[0].ID))
	o := b.options()
	if a := b.openWith(o); len(a.Missing()) != 1 || len(a.BadCards()) != 1 || a.card.Revision != 0 {
		t.Errorf("missing %v, bad %v", a.Missing(), a.BadCards())
	}
	b.putCard(0, before[0])
	// Two changes of the same revision, made at once: most members decide, a tie nobody.
	other, err := a.PlanLayout(1, 2, []string{a.ids[2], a.ids[1], a.ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	for i, change := range []*Change{c, other, other} {
		data, err := change.Card(a.ids[i])
		if err != nil {
			t.Fatal(err)
		}
		b.putCard(i, data)
	}
	got := b.open()
	if got.Geometry() != other.Geometry() || len(got.BadCards()) != 1 || got.card.Revision != 1 {
		t.Errorf("%+v, bad %v", got.Geometry(), got.BadCards())
	}
	if _, err := Open(t.Context(), b.without(1).members(), o); err == nil || !strings.Contains(err.Error(), "disagree") || remote.Hint(err) == "" {
		t.Errorf("one against one: %v", err)
	}
	// Builds that know one layout only refuse it.
	if !bytes.Contains(b.card(1), []byte(`"layouts"`)) {
		t.Error("the card does not name the feature")
	}
}

func (b *bench) card(i int) []byte {
	b.t.Helper()
	data, err := b.mem[i].Get(b.t.Context(), cardName, 0, -1, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

func (b *bench) putCard(i int, data []byte) {
	b.t.Helper()
	if err := b.mem[i].Put(context.Background(), cardName, data); err != nil {
		b.t.Fatal(err)
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	for name, plan := range map[string]func() (*Change, error){
		"same":     func() (*Change, error) { return a.PlanLayout(2, 1, a.ids) },
		"unknown":  func() (*Change, error) { return a.PlanLayout(2, 1, []string{a.ids[0], a.ids[1], "abc"}) },
		"twice":    func() (*Change, error) { return a.PlanLayout(2, 1, []string{a.ids[0], a.ids[0], ""}) },
		"number":   func() (*Change, error) { return a.PlanLayout(2, 2, a.ids) },
		"no data":  func() (*Change, error) { return a.PlanLayout(0, 3, a.ids) },
		"too many": func() (*Change, error) { return a.PlanLayout(30, 3, make([]string, 33)) },
	} {
		if _, err := plan(); err == nil {
			t.Errorf("%s: planned", name)
		}
	}
	keyless := b.openWith(Options{})
	if _, err := keyless.PlanReplace("0"); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	// A new member that does not take its card stops the change before anybody else has one.
	b.more(1)
	c, err := a.PlanReplace("0")
	if err != nil {
		t.Fatal(err)
	}
	b.stores[3].Set(fault.Rule{Op: fault.Put})
	before := b.card(1)
	if _, err := a.WriteCards(t.Context(), c, map[string]remote.Store{c.New()[0]: b.stores[3]}); err == nil || !bytes.Equal(before, b.card(1)) {
		t.Errorf("a full new member: %v", err)
	}
	if _, err := a.WriteCards(t.Context(), c, map[string]remote.Store{a.ids[0]: b.stores[3]}); err == nil {
		t.Error("an old member is taken for a new one")
	}
}
