package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// ErrNoArchive means that none of the named members holds an archive.
var ErrNoArchive = errors.New("no archive there")

// Member is one store that was named as a member, in any order. Store is nil when Err says why it could not
// be opened; the archive then does without it as long as it can.
type Member struct {
	URL   string
	Store remote.Store
	Err   error
}

// Options say how to open an archive. The zero value opens it for reading snapshots' names only.
type Options struct {
	// Credentials are tried on the key slots. Without any, only operations that need no key work.
	Credentials []seal.Credential
	// OpenIndex opens the local index on first use; most commands that only look at snapshots never need it.
	OpenIndex func(seal.ArchiveID) (Index, error)
	// Dir returns the local cache directory of this archive for journals and the like; "" for none.
	Dir func(seal.ArchiveID) string
	// Notice is told, in a sentence, what the operator should know but need not act upon. May be nil.
	Notice func(string)
}

// Archive is an open archive. It is safe for concurrent use.
type Archive struct {
	id    seal.ArchiveID
	geom  pack.Geometry
	cards []*Card // by member number; nil when that member is missing
	set   *stripe.Set
	keys  *seal.Keys // nil when opened without a credential
	slot  seal.SlotID
	opts  Options
	dir   string

	indexMu  sync.Mutex
	index    Index
	sessions sessionCache
	windows  windowCache
	healed   healCache
}

// Open reads the members' cards and, when credentials are given, opens the keys. It fails with ErrNoArchive when no
// member has a card, with seal.ErrWrongKey when no credential fits, and with an error that names the member when
// one belongs to another archive or is named twice. Missing members are not an error here (see Missing).
func Open(ctx context.Context, members []Member, o Options) (*Archive, error) {
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	found, err := readCards(ctx, expand(ctx, members))
	if err != nil {
		return nil, err
	}
	a, err := assemble(found)
	if err != nil {
		return nil, err
	}
	a.opts = o
	if o.Dir != nil {
		a.dir = o.Dir(a.id)
	}
	if len(o.Credentials) > 0 {
		if err := a.unlock(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// expand replaces a store that holds several members (m00, m01, …) by those.
func expand(ctx context.Context, members []Member) []Member {
	var out []Member
	for _, m := range members {
		if m.Store == nil {
			out = append(out, m)
			continue
		}
		if _, err := m.Store.Stat(ctx, cardName); err == nil || !errors.Is(err, remote.ErrNotExist) {
			out = append(out, m)
			continue
		}
		subs := subMembers(ctx, m)
		if len(subs) == 0 {
			subs = []Member{m}
		}
		out = append(out, subs...)
	}
	return out
}

func subMembers(ctx context.Context, m Member) []Member {
	var subs []Member
	for i := range pack.MaxShards {
		dir := SubName(i)
		if _, err := m.Store.Stat(ctx, dir+"/"+cardName); err == nil {
			subs = append(subs, Member{URL: m.URL + "/" + dir, Store: remote.Sub(m.Store, dir)})
		}
	}
	return subs
}

// SubName is the folder of the i-th member where one store holds several.
func SubName(i int) string { return fmt.Sprintf("m%02d", i) }

type foundMember struct {
	Member
	card *Card
}

// readCards reads all cards at once: a member that hangs must not hold up the others one by one.
func readCards(ctx context.Context, members []Member) ([]foundMember, error) {
	found := make([]foundMember, len(members))
	fatal := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		found[i].Member = m
		if m.Store == nil {
			continue
		}
		wg.Go(func() {
			data, err := remote.ReadAll(ctx, m.Store, cardName, maxCard)
			if err != nil {
				found[i].Err = err
				return
			}
			if found[i].card, err = parseCard(data); err != nil {
				fatal[i] = fmt.Errorf("member %s: %w", m.URL, err)
			}
		})
	}
	wg.Wait()
	return found, errors.Join(fatal...)
}

// assemble orders the members by their cards and says what does not belong together.
func assemble(found []foundMember) (*Archive, error) {
	first := -1
	for i, f := range found {
		if f.card != nil {
			first = i
			break
		}
	}
	if first < 0 {
		return nil, noArchive(found)
	}
	ref := found[first].card
	id, _ := ref.archiveID()
	a := &Archive{id: id, geom: ref.geometry(), cards: make([]*Card, len(ref.Layout.Members))}
	stores, labels := make([]remote.Store, len(a.cards)), make([]string, len(a.cards))
	for i := range labels {
		labels[i] = fmt.Sprintf("member %d (not named)", i)
	}
	var unplaced []foundMember
	for _, f := range found {
		if f.card == nil {
			unplaced = append(unplaced, f)
			continue
		}
		if f.card.Archive != ref.Archive {
			return nil, remote.WithHint(fmt.Errorf("%s belongs to archive %.8s, but %s belongs to archive %.8s", f.URL, f.card.Archive,
				found[first].URL, ref.Archive), "name the members of one archive only")
		}
		n := f.card.number()
		if n >= len(a.cards) || f.card.Layout.Members[n] != ref.Layout.Members[n] {
			return nil, fmt.Errorf("the cards of %s and %s disagree about the layout", f.URL, found[first].URL)
		}
		if stores[n] != nil {
			return nil, remote.WithHint(fmt.Errorf("%s and %s are the same member (number %d) of the archive", labels[n], f.URL, n),
				"name each member once; a copy of a member cannot stand in for another one")
		}
		a.cards[n], stores[n], labels[n] = f.card, f.Store, f.URL
	}
	nameMissing(labels, stores, unplaced)
	a.set = stripe.New(stores, labels, stripe.Options{Reconstruct: reconstruct})
	return a, nil
}

// nameMissing labels the members that are not there with the addresses that did not answer, as far as they can be told.
func nameMissing(labels []string, stores []remote.Store, unplaced []foundMember) {
	for i := range labels {
		if stores[i] == nil && len(unplaced) > 0 {
			labels[i] = fmt.Sprintf("%s (%s)", unplaced[0].URL, reason(unplaced[0].Err))
			unplaced = unplaced[1:]
		}
	}
}

func reason(err error) string {
	switch {
	case err == nil:
		return "not opened"
	case errors.Is(err, remote.ErrNotExist):
		return "no card there"
	}
	return err.Error()
}

func noArchive(found []foundMember) error {
	var names []string
	var errs []error
	for _, f := range found {
		names = append(names, f.URL)
		if f.Err != nil && !errors.Is(f.Err, remote.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", f.URL, f.Err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return remote.WithHint(fmt.Errorf("%s: %w", strings.Join(names, ", "), ErrNoArchive),
		"make one with `cairn init MEMBER…`, or set CAIRN_ARCHIVE to where it is")
}

func reconstruct(k, m int, columns [][]byte, want []int) error {
	return pack.Reconstruct(pack.Geometry{K: k, M: m}, columns, want)
}

// unlock opens the keys with the credentials and then checks what the cards say.
func (a *Archive) unlock(ctx context.Context) error {
	slots, err := a.Slots(ctx)
	if err != nil {
		return err
	}
	keys, slot, err := seal.OpenSlots(slots, a.opts.Credentials)
	if err != nil {
		return err
	}
	for i, c := range a.cards {
		if c == nil {
			continue
		}
		if err := c.verify(keys); err != nil {
			return remote.WithHint(fmt.Errorf("%s: %w", a.set.Members()[i].Label, err),
				"restore that member's cairn.json from a copy, or leave the member out")
		}
	}
	a.keys, a.slot = keys, slot.ID
	return nil
}

// ID is the archive's identity.
func (a *Archive) ID() seal.ArchiveID { return a.id }

// Geometry is the number of data and parity shards of new packs.
func (a *Archive) Geometry() pack.Geometry { return a.geom }

// Set gives access to the members.
func (a *Archive) Set() *stripe.Set { return a.set }

// Keys are the open keys, or nil.
func (a *Archive) Keys() *seal.Keys { return a.keys }

// Slot is the id of the key slot that opened the archive.
func (a *Archive) Slot() seal.SlotID { return a.slot }

// Missing names the members that are not there.
func (a *Archive) Missing() []string { return a.set.Degraded() }

// Chunker returns the chunking parameters of the archive.
func (a *Archive) Chunker() chunk.Params {
	for _, c := range a.cards {
		if c != nil {
			return c.params(a.keys.Poly())
		}
	}
	panic("archive: open without a card") // Open needs one
}

// Close closes the local index. The members need no closing.
func (a *Archive) Close() error {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	if a.index == nil {
		return nil
	}
	err := a.index.Close()
	a.index = nil
	return err
}
