package archive

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/remote/stripe"
)

func TestInitAndOpen(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}, {4, 2}} {
		t.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, g[0], g[1])
			members := b.members()
			rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			a, err := Open(t.Context(), members, b.options())
			if err != nil {
				t.Fatal(err)
			}
			if a.ID() != b.id || a.Geometry().K != g[0] || a.Geometry().M != g[1] || len(a.Missing()) > 0 || !a.Keys().CanRead() || a.Slot() == (seal.SlotID{}) {
				t.Errorf("%s, %+v, missing %v", a.ID(), a.Geometry(), a.Missing())
			}
			if err := a.Chunker().Validate(); err != nil {
				t.Error(err)
			}
			for i, m := range a.Set().Members() {
				if want := fmt.Sprintf("store%d", i); m.Label != want { // Init numbers them as they were named
					t.Errorf("member %d is %s", i, m.Label)
				}
			}
			list := blobs(1, 40, 5000)
			b.save(a, list...)
			b.fetchAll(b.open(), list)
			if _, err := Init(t.Context(), b.members(), InitOptions{Data: g[0], Parity: g[1], Slots: b.slots}); err == nil || !strings.Contains(err.Error(), "already holds") {
				t.Errorf("second init: %v", err)
			}
		})
	}
}

func TestOneStoreHoldsAllMembers(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, k: 2, m: 1, key: [32]byte{1}}
	store := mem.New()
	b.stores = []*fault.Store{fault.New(store)}
	if _, err := Init(t.Context(), b.members(), InitOptions{Data: 2, Parity: 1, Slots: b.slots}); err != nil {
		t.Fatal(err)
	}
	a := b.open()
	if len(a.Missing()) > 0 || a.Set().Members()[2].Label != "store0/m02" {
		t.Errorf("%+v", a.Set().Members())
	}
	list := blobs(1, 20, 3000)
	b.save(a, list...)
	remove(t, store, "m01/"+cardName)
	a = b.open()
	if len(a.Missing()) != 1 {
		t.Errorf("missing: %v", a.Missing())
	}
	b.fetchAll(a, list)
	// A member of it that does not answer is missing, not nonexistent.
	b.stores[0].Set(fault.Rule{Op: fault.Get, Name: "m02/" + cardName, Err: remote.ErrUnavailable})
	if a := b.open(); len(a.Missing()) != 2 || !strings.Contains(strings.Join(a.Missing(), " "), "m02") {
		t.Errorf("missing: %v", a.Missing())
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	fresh := func() Member { return Member{URL: "fresh", Store: mem.New()} }
	one := fresh()
	parts := fresh()
	if err := parts.Store.Put(t.Context(), "snapshots/x", nil); err != nil {
		t.Fatal(err)
	}
	writerOnly := func(k *seal.Keys) ([]*seal.Slot, error) {
		w, err := k.NewWriterKeys()
		if err != nil {
			return nil, err
		}
		return b.slots(w)
	}
	for name, c := range map[string]struct {
		members []Member
		o       InitOptions
	}{
		"geometry":       {[]Member{fresh()}, InitOptions{Data: 0, Parity: 1, Slots: b.slots}},
		"too few":        {[]Member{fresh(), fresh()}, InitOptions{Data: 2, Parity: 1, Slots: b.slots}},
		"parts":          {[]Member{parts}, InitOptions{Data: 1, Slots: b.slots}},
		"same twice":     {[]Member{one, one}, InitOptions{Data: 1, Parity: 1, Slots: b.slots}},
		"broken":         {[]Member{{URL: "x", Err: errors.New("no")}}, InitOptions{Data: 1, Slots: b.slots}},
		"no full slot":   {[]Member{one}, InitOptions{Data: 1, Slots: writerOnly}},
		"failing slots":  {[]Member{one}, InitOptions{Data: 1, Slots: func(*seal.Keys) ([]*seal.Slot, error) { return nil, errors.New("no") }}},
		"failing store":  {[]Member{one, {URL: "bad", Store: fault.New(mem.New(), fault.Rule{Op: fault.Put})}}, InitOptions{Data: 1, Parity: 1, Slots: b.slots}},
		"failing second": {[]Member{one, {URL: "bad", Store: fault.New(mem.New(), fault.Rule{Op: fault.Put, Name: cardName})}}, InitOptions{Data: 1, Parity: 1, Slots: b.slots}},
	} {
		if _, err := Init(t.Context(), c.members, c.o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for info := range one.Store.List(t.Context(), "") {
		t.Errorf("a failed init leaves %s", info.Name)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	b, other := newBench(t, 2, 1), newBench(t, 2, 1)
	open := func(members []Member, o Options) error {
		_, err := Open(t.Context(), members, o)
		return err
	}
	mixed := b.members()[:2]
	mixed[1] = Member{URL: "foreign", Store: other.stores[1]}
	if err := open(mixed, b.options()); err == nil || !strings.Contains(err.Error(), "foreign") {
		t.Errorf("foreign member: %v", err)
	}
	twice := b.members()
	twice[2] = Member{URL: "again", Store: b.stores[0]}
	if err := open(twice, b.options()); err == nil || !strings.Contains(err.Error(), "same member") || !strings.Contains(err.Error(), "again") {
		t.Errorf("duplicate: %v", err)
	}
	if err := open([]Member{{URL: "void", Store: mem.New()}}, b.options()); !errors.Is(err, ErrNoArchive) || !strings.Contains(err.Error(), "void") {
		t.Errorf("empty store: %v", err)
	}
	if err := open([]Member{{URL: "gone", Err: errors.New("no such host")}}, b.options()); err == nil || errors.Is(err, ErrNoArchive) {
		t.Errorf("unreachable: %v", err)
	}
	o := b.options()
	o.Credentials = []seal.Credential{{Password: []byte("wrong")}}
	if err := open(b.members(), o); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("wrong password: %v", err)
	}
	o.Credentials = []seal.Credential{{}}
	if err := open(b.members(), o); !errors.Is(err, seal.ErrNoCredential) {
		t.Errorf("empty credential: %v", err)
	}
	a := b.openWith(Options{})
	if _, err := a.NewWriter(t.Context()); !errors.Is(err, ErrNoKey) {
		t.Errorf("writing without a key: %v", err)
	}
	if _, _, err := a.Snapshots(t.Context()); !errors.Is(err, ErrNoKey) {
		t.Errorf("snapshots without a key: %v", err)
	}
	if _, err := a.SnapshotIDs(t.Context()); err != nil {
		t.Error(err)
	}
	if a.Chunker().Min == 0 {
		t.Error("no chunker parameters")
	}
}

// TestMissingMembers: any m may be away, one more is too few, and that is said within no time.
func TestMissingMembers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 30, 4000)
	b.save(b.open(), list...)
	for i := range b.stores {
		c := *b
		c.stores = append([]*fault.Store{}, b.stores...)
		c.stores[i] = nil
		a := c.open()
		if len(a.Missing()) != 1 || !strings.Contains(a.Missing()[0], fmt.Sprintf("store%d", i)) {
			t.Errorf("missing: %v", a.Missing())
		}
		c.fetchAll(a, list)
		c.stores[(i+1)%3] = nil
		a = c.open()
		_, err := a.Index(t.Context())
		if !errors.Is(err, stripe.ErrTooFew) {
			t.Errorf("one member of 2+1: %v", err)
		}
	}
}

// TestDamagedCards changes each byte of one card of three: the member is left out and everything can be read.
func TestDamagedCards(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	list := blobs(1, 10, 3000)
	b.save(b.open(), list...)
	card, err := b.mem[0].Get(t.Context(), cardName, 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		if err := b.mem[0].Put(t.Context(), cardName, data); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at < len(card); at += 11 {
		bad := bytes.Clone(card)
		bad[at] ^= 1
		put(bad)
		var said notices
		o := b.options()
		o.Notice = said.add
		a, err := OpenWithKeys(t.Context(), b.members(), b.keys, o)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if len(a.BadCards()) != 1 {
			if err := a.VerifyCard(t.Context(), 0); err == nil { // harmless to readers, but check names it
				t.Fatalf("byte %d: nobody notices", at)
			}
			continue
		}
		if len(a.Missing()) != 1 || !strings.Contains(said.String(), "store0") {
			t.Fatalf("byte %d: missing %v, said %s", at, a.Missing(), &said)
		}
		if at%100 == 0 {
			b.fetchAll(a, list)
		}
	}
	for _, bad := range [][]byte{nil, card[:len(card)/2], bytes.Repeat([]byte("x"), maxCard+1), append(bytes.Clone(card), '{')} {
		put(bad)
		if a := b.open(); len(a.BadCards()) != 1 {
			t.Errorf("card of %d bytes is accepted", len(bad))
		}
	}
	// All cards changed by somebody without a key: the layout is not to be trusted.
	for _, s := range b.mem {
		if s == b.mem[0] {
			put(card)
		}
		change(t, s, cardName, func(c []byte) []byte { return bytes.Replace(c, []byte(`"bits": 20`), []byte(`"bits": 21`), 1) })
	}
	if _, err := Open(t.Context(), b.members(), b.options()); err == nil || !strings.Contains(err.Error(), "store0") {
		t.Errorf("all cards changed: %v", err)
	}
	// Two that agree outvote one, but not the key; one against one disagree.
	put(card)
	if a, err := Open(t.Context(), b.members(), b.options()); err != nil || len(a.Missing()) != 2 || len(a.BadCards()) != 2 {
		t.Errorf("the wrong two are trusted: %v", err)
	}
	c := *b
	c.stores = []*fault.Store{b.stores[0], b.stores[1]}
	if _, err := Open(t.Context(), c.members(), b.options()); err == nil || !strings.Contains(err.Error(), "disagree") {
		t.Errorf("one against one: %v", err)
	}
}

// TestCardRefuses: B7: a build that is too old for an archive refuses it and says which member and feature it stumbled over.
func TestCardRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	card, err := b.mem[0].Get(t.Context(), cardName, 0, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseCard(card); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"version": {`"cairn": 1`, `"cairn": 2`}, "feature": {`"features": []`, `"features": ["x"]`}, "placement": {`rotate`, `other`},
		"data": {`"data": 1`, `"data": 2`}, "data 0": {`"data": 1`, `"data": 0`}, "negative": {`"parity": 0`, `"parity": -1`},
		"huge": {`"data": 1`, `"data": 9223372036854775807`}, "epoch": {`"epoch": 1`, `"epoch": 65536`}, "min": {`"min": 524288`, `"min": -1`},
		"max": {`"max": 8388608`, `"max": 999999999999`}, "bits": {`"bits": 20`, `"bits": 63`}, "float": {`"bits": 20`, `"bits": 20.5`},
		"archive": {`"archive": "`, `"archive": "0`}, "member": {`"member": "`, `"member": "0`},
	} {
		bad := bytes.Replace(card, []byte(c[0]), []byte(c[1]), 1)
		if bytes.Equal(bad, card) {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := parseCard(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := b.mem[0].Put(t.Context(), cardName, bad); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), b.members(), b.options()); err == nil || !strings.Contains(err.Error(), "store0") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range len(card) - 2 {
		if _, err := parseCard(card[:n]); err == nil {
			t.Fatalf("cut to %d bytes: accepted", n)
		}
	}
}

func FuzzCard(f *testing.F) {
	k, err := seal.NewRoot(seal.NewArchiveID())
	if err != nil {
		f.Fatal(err)
	}
	for _, g := range [][2]int{{1, 0}, {4, 2}} {
		cards, err := newCards(k.Archive(), k, g[0], g[1], nil, (&Card{Chunker: Chunker{524288, 8388608, 20}}).params(k.Poly()), time.Unix(0, 0))
		if err != nil {
			f.Fatal(err)
		}
		changed := *cards[0]
		changed.Revision, changed.Features, changed.Former = 2, []string{featureLayouts}, []Layout{changed.Layout}
		changed.Layout.Epoch = 2
		for _, c := range []*Card{cards[0], &changed} {
			data, err := c.encode()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(`{"cairn":1,"layout":{"data":32,"members":["",""]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCard(data)
		if err != nil {
			return
		}
		g := c.geometry()
		if err := g.Validate(); err != nil || len(c.Layout.Members) != g.N() || g.N() > pack.MaxShards || !slices.Contains(c.members(), c.Member) ||
			len(c.Former) > maxFormer || len(c.members()) > maxMembers {
			t.Errorf("%+v: %v", c, err)
		}
		again, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseCard(again)
		if err != nil || !d.agrees(c) || d.Member != c.Member || !bytes.Equal(c.macLines(), d.macLines()) {
			t.Errorf("reads back as %+v, %v", d, err)
		}
		_ = c.verify(k)
	})
}

func TestReplacedArchiveIsNoticed(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := t.TempDir()
	o := b.options()
	o.Dir = func(seal.ArchiveID) string { return dir }
	for range 2 {
		if _, err := Open(t.Context(), b.members(), o); err != nil {
			t.Fatal(err)
		}
	}
	// Somebody who holds the store makes another archive of the same id, and a slot for the same key.
	forged, err := seal.NewRoot(b.id)
	if err != nil {
		t.Fatal(err)
	}
	cards, err := newCards(b.id, forged, 1, 0, nil, b.openWith(Options{}).Chunker(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	data, err := cards[0].encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range b.names("keys/") {
		remove(t, b.mem[0], name)
	}
	slots, err := b.slots(forged)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{cardName: data, slotName(slots[0].ID): slots[0].Encode()} {
		if err := b.mem[0].Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(t.Context(), b.members(), o)
	if !errors.Is(err, ErrReplaced) || !strings.Contains(remote.Hint(err), dir) {
		t.Errorf("%v, hint %q", err, remote.Hint(err))
	}
	if _, err := OpenWithKeys(t.Context(), b.members(), forged, o); !errors.Is(err, ErrReplaced) || errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("%v", err)
	}
	// On a machine that never saw it, or lost its cache, there is nothing to compare with.
	if err := os.WriteFile(filepath.Join(dir, "root"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), b.members(), o); err != nil {
		t.Error(err)
	}
}

func TestOpenWithKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	keys := b.open().Keys()
	if a, err := OpenWithKeys(t.Context(), b.members(), keys, Options{}); err != nil || a.Keys() != keys {
		t.Error(err)
	}
	wrong, err := seal.NewRoot(b.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWithKeys(t.Context(), b.members(), wrong, Options{}); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("other root key: %v", err)
	}
	foreign, err := seal.NewRoot(seal.NewArchiveID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWithKeys(t.Context(), b.members(), foreign, Options{}); err == nil {
		t.Error("keys of another archive are taken")
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	w, err := a.Keys().NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	writer, err := seal.NewKeyFileSlot(w, "writer", [32]byte{2}, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := seal.NewKeyFileSlot(a.Keys(), "second", [32]byte{3}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.AddSlot(t.Context(), writer); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveSlot(t.Context(), a.Slot()); err == nil {
		t.Error("the last full slot is removed")
	}
	if err := a.AddSlot(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	// A copy that is damaged on one member is read from another; damaged everywhere, the slot is left out.
	name := slotName(second.ID)
	change(t, b.mem[0], name, flip(20))
	change(t, b.mem[1], name, half)
	if slots, err := a.Slots(t.Context()); err != nil || len(slots) != 3 {
		t.Errorf("%d slots, %v", len(slots), err)
	}
	change(t, b.mem[2], name, flip(200))
	if slots, err := a.Slots(t.Context()); err != nil || len(slots) != 2 {
		t.Errorf("%d slots, %v", len(slots), err)
	}
	if err := a.AddSlot(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveSlot(t.Context(), a.Slot()); err != nil {
		t.Error(err)
	}
	if err := a.RemoveSlot(t.Context(), a.Slot()); err == nil {
		t.Error("a slot is removed twice")
	}
	if _, err := Open(t.Context(), b.members(), b.options()); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("with a removed slot's key: %v", err)
	}
}
