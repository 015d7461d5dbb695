package archive

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/mem"
)

// protected makes an archive over stores that lock, with a retention.
func protected(t *testing.T, k, m int, keep *Retention) (*bench, []*mem.Versioned) {
	t.Helper()
	b := newBench(t, k, m) // for its key
	b.keys = nil
	var stores []*mem.Versioned
	var members []Member
	for i := range b.stores {
		s := mem.NewVersioned(nil)
		stores = append(stores, s)
		members = append(members, Member{URL: b.members()[i].URL, Store: s})
	}
	id, err := Init(t.Context(), members, InitOptions{Data: k, Parity: m, Now: time.Unix(1_800_000_000, 0), Slots: b.slots, Retention: keep})
	if err != nil {
		t.Fatal(err)
	}
	b.id = id
	return b, stores
}

func openProtected(t *testing.T, b *bench, stores []*mem.Versioned) *Archive {
	t.Helper()
	var members []Member
	for i, s := range stores {
		members = append(members, Member{URL: b.members()[i].URL, Store: s})
	}
	a, err := Open(t.Context(), members, b.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func anHour(t *testing.T) *Retention {
	t.Helper()
	keep, err := NewRetention(time.Hour, remote.Compliance)
	if err != nil {
		t.Fatal(err)
	}
	return keep
}

// TestRetention: whoever opens an archive with a retention locks what he stores, because the cards say so; what comes and goes is not locked,
// and deletions that are refused are no trouble.
func TestRetention(t *testing.T) {
	t.Parallel()
	b, stores := protected(t, 2, 1, anHour(t))
	a := openProtected(t, b, stores)
	if got := a.Retention(); got == nil || got.Period() != time.Hour || got.Mode != remote.Compliance {
		t.Fatalf("retention %v", got)
	}
	saved := b.save(a, blobs(1, 9, 30_000)...)
	kinds := map[string]bool{}
	for i, s := range stores {
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			lock, err := s.Retention(t.Context(), info.Name)
			if err != nil || lock.Until.After(time.Now().Add(59*time.Minute)) != Locked(info.Name) {
				t.Errorf("member %d: %s is locked until %v, %v", i, info.Name, lock.Until, err)
			}
			kind, _, _ := strings.Cut(info.Name, "/")
			kinds[kind] = true
		}
	}
	for _, kind := range []string{"binaries", "index", "snapshots", "keys", CardName} {
		if !kinds[kind] {
			t.Errorf("nothing of %s is there: %v", kind, kinds)
		}
	}
	if missing := a.Missing(); len(missing) > 0 {
		t.Errorf("members lack something: %q", missing)
	}
	report, err := a.Forget(t.Context(), []chunk.ID{saved.ID}, Record{})
	if err != nil || len(report.Away) != 3 {
		t.Errorf("forget: %+v, %v", report, err)
	}
	for label, err := range report.Away {
		if !errors.Is(err, remote.ErrLocked) {
			t.Errorf("forget on %s: %v", label, err)
		}
	}
	if list, _, err := openProtected(t, b, stores).Snapshots(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("what was forgotten and is locked is listed: %v, %v", list, err)
	}
}

// TestRetentionOfSlots: a key that is removed does not open the archive any more, though its slot is locked, and its lock is not made longer because
// nobody lists it.
func TestRetentionOfSlots(t *testing.T) {
	t.Parallel()
	b, stores := protected(t, 1, 1, anHour(t))
	a := openProtected(t, b, stores)
	slot, err := seal.NewKeyFileSlot(a.Keys(), "other", [32]byte{9}, time.Now())
	if err == nil {
		err = a.AddSlot(t.Context(), slot)
	}
	if err == nil {
		err = a.RemoveSlot(t.Context(), slot.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	slots, err := openProtected(t, b, stores).Slots(t.Context())
	if err != nil || len(slots) != 1 || slots[0].ID == slot.ID {
		t.Errorf("slots %v, %v", slots, err)
	}
}

// TestRetentionOfCard: a card that was changed to lock less has a wrong MAC, its features are those it needs, and only a change of the archive
// changes its retention.
func TestRetentionOfCard(t *testing.T) {
	t.Parallel()
	b, stores := protected(t, 1, 0, anHour(t))
	a := openProtected(t, b, stores)
	good := *a.card
	for what, change := range map[string]func(c *Card){
		"shorter":         func(c *Card) { c.Retention = &Retention{remote.Compliance, 1} },
		"weaker":          func(c *Card) { c.Retention = &Retention{remote.Governance, 3600} },
		"none":            func(c *Card) { c.Retention, c.Features = nil, []string{} },
		"without feature": func(c *Card) { c.Features = []string{} },
		"feature alone":   func(c *Card) { c.Retention = nil },
		"a whim":          func(c *Card) { c.Retention = &Retention{"whim", 3600} },
		"for ever":        func(c *Card) { c.Retention = &Retention{remote.Compliance, 1 << 40} },
	} {
		c := good
		change(&c)
		data, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseCard(data)
		if err == nil {
			err = parsed.verify(a.keys)
		}
		if err == nil {
			t.Errorf("a card that was changed (%s) is taken", what)
		}
	}
	if _, err := a.PlanRetention(anHour(t)); err == nil {
		t.Error("a retention that is there already is planned")
	}
	for i, keep := range []*Retention{nil, {remote.Governance, 60}} {
		c, err := openProtected(t, b, stores).PlanRetention(keep)
		if err != nil {
			t.Fatal(err)
		}
		list, err := a.WriteCards(t.Context(), c, nil)
		if err != nil || len(list) != 1 || list[0].Err != nil {
			t.Fatalf("%+v, %v", list, err)
		}
		again := openProtected(t, b, stores)
		if !again.Retention().equal(keep) || again.card.Revision != i+1 {
			t.Errorf("retention %v of revision %d, want %v", again.Retention(), again.card.Revision, keep)
		}
		if err := again.set.Put(t.Context(), "gc/x", nil); err != nil {
			t.Fatal(err)
		}
		if lock, err := stores[0].Retention(t.Context(), "gc/x"); err != nil || (keep != nil) != lock.Until.After(time.Now()) {
			t.Errorf("with %v: %v, %v", keep, lock, err)
		}
	}
}

// TestRetentionNeedsLocks: a member that cannot lock takes nothing, and says what to do.
func TestRetentionNeedsLocks(t *testing.T) {
	t.Parallel()
	b, stores := protected(t, 1, 1, anHour(t))
	members := []Member{{URL: "store0", Store: stores[0]}, {URL: "store1", Store: mem.New()}}
	for info, err := range stores[1].List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := remote.ReadAll(t.Context(), stores[1], info.Name, maxCopy)
		if err != nil {
			t.Fatal(err)
		}
		if err := members[1].Store.Put(t.Context(), info.Name, data); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Open(t.Context(), members, b.options())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	res, err := a.set.PutAll(t.Context(), "gc/x", nil)
	if err != nil || !res.Acked[0] || res.Acked[1] || !errors.Is(res.Errs[1], errors.ErrUnsupported) || !strings.Contains(remote.Hint(res.Errs[1]), "object lock") {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := Init(context.WithoutCancel(t.Context()), []Member{{URL: "plain", Store: mem.New()}}, InitOptions{Data: 1, Slots: b.slots, Retention: anHour(t)}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("init on a store that cannot lock: %v", err)
	}
}
