package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// foundMember is a member that was named, with what its card says.
type foundMember struct {
	Member
	card *Card
	bad  error // why there is a card that cannot be used
	told bool
}

// expand replaces a store that holds several members (m00, m01, …) by those. All are asked at once: a member that hangs
// must not hold up the others one by one.
func expand(ctx context.Context, members []Member) []Member {
	lists := make([][]Member, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		lists[i] = []Member{m}
		if m.Store == nil {
			continue
		}
		wg.Go(func() {
			if _, err := m.Store.Stat(ctx, cardName); !errors.Is(err, remote.ErrNotExist) {
				return
			}
			if subs := subMembers(ctx, m); len(subs) > 0 {
				lists[i] = subs
			}
		})
	}
	wg.Wait()
	var out []Member
	for _, list := range lists {
		out = append(out, list...)
	}
	return out
}

// subMembers finds the members below one store. One that does not answer is a missing member, if others do.
func subMembers(ctx context.Context, m Member) []Member {
	errs := make([]error, pack.MaxShards)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = m.Store.Stat(ctx, SubName(i)+"/"+cardName) })
	}
	wg.Wait()
	var subs []Member
	for i, err := range errs {
		switch {
		case err == nil:
			subs = append(subs, sub(m, i))
		case !errors.Is(err, remote.ErrNotExist):
			subs = append(subs, Member{URL: m.URL + "/" + SubName(i), Err: err})
		}
	}
	return subs
}

// sub is the i-th member below one store.
func sub(m Member, i int) Member {
	return Member{URL: m.URL + "/" + SubName(i), Store: remote.Sub(m.Store, SubName(i))}
}

// SubName is the folder of the i-th member where one store holds several.
func SubName(i int) string { return fmt.Sprintf("m%02d", i) }

// readCards reads all cards at once.
func readCards(ctx context.Context, members []Member) []foundMember {
	found := make([]foundMember, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		f := &found[i]
		f.Member = m
		if m.Store == nil {
			continue
		}
		wg.Go(func() {
			data, err := remote.ReadAll(ctx, m.Store, cardName, maxCard)
			var large *remote.TooLargeError
			switch {
			case errors.As(err, &large):
				f.bad = err
			case err != nil:
				f.Err = err
			default:
				f.card, f.bad = parseCard(data)
			}
		})
	}
	wg.Wait()
	return found
}

// assemble orders the members by their cards and says what does not belong together.
func assemble(found []foundMember) (*Archive, error) {
	ref, err := agreed(found)
	if err != nil {
		return nil, err
	}
	id, err := ref.archiveID()
	if err != nil {
		return nil, err
	}
	a := &Archive{id: id, geom: ref.geometry(), found: found, cards: make([]*Card, len(ref.Layout.Members))}
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
		n := f.card.number()
		if stores[n] != nil {
			return nil, remote.WithHint(fmt.Errorf("%s and %s are the same member (number %d) of the archive", labels[n], f.URL, n),
				"name each member once; a copy of a member cannot stand in for another one")
		}
		a.cards[n], stores[n], labels[n] = f.card, f.Store, f.URL
	}
	nameMissing(labels, stores, unplaced)
	a.set = stripe.New(stores, labels, stripe.Options{Reconstruct: reconstruct})
	a.placements = []Placement{{a.geom, a.set}}
	return a, nil
}

// agreed returns a card that stands for all. A member of another archive was named by mistake and is an error; a card
// that contradicts most of the others is damaged, or older than they are, and costs its member only.
func agreed(found []foundMember) (*Card, error) {
	var first *foundMember
	votes := make([]int, len(found))
	best := 0
	for i := range found {
		f := &found[i]
		if f.card == nil {
			continue
		}
		if first == nil {
			first = f
		}
		if f.card.Archive != first.card.Archive {
			return nil, remote.WithHint(fmt.Errorf("%s belongs to archive %.8s, but %s belongs to archive %.8s", f.URL, f.card.Archive,
				first.URL, first.card.Archive), "name the members of one archive only")
		}
		for j := range found {
			if found[j].card != nil && found[j].card.agrees(f.card) {
				votes[i]++
			}
		}
		if votes[i] > votes[best] {
			best = i
		}
	}
	if first == nil {
		return nil, noArchive(found)
	}
	ref := found[best]
	for i := range found {
		f := &found[i]
		if f.card == nil || f.card.agrees(ref.card) {
			continue
		}
		if votes[i] == votes[best] {
			return nil, remote.WithHint(fmt.Errorf("the cards of %s and %s disagree about the layout", f.URL, ref.URL),
				"leave one of them out, and put its cairn.json back from a copy")
		}
		f.card, f.bad = nil, fmt.Errorf("its card disagrees with the others about the layout")
	}
	return ref.card, nil
}

// VerifyCard reads a member's card again and compares it with the archive, its canonical form and, if a key is open, its MAC.
func (a *Archive) VerifyCard(ctx context.Context, member int) error {
	data, err := remote.ReadAll(ctx, a.set.Members()[member].Store, cardName, maxCard)
	if err != nil {
		return err
	}
	c, err := parseCard(data)
	if err != nil {
		return err
	}
	if a.keys != nil {
		if err := c.verify(a.keys); err != nil {
			return err
		}
	}
	if c.number() != member || c.Archive != a.id.String() {
		return fmt.Errorf("it is the card of member %d of archive %.8s", c.number(), c.Archive)
	}
	if have := a.cards[member]; have != nil && !c.agrees(have) {
		return errors.New("it disagrees with the other cards about the layout")
	}
	if canonical, err := c.encode(); err != nil || !bytes.Equal(canonical, data) {
		return errors.New("card is not in its canonical form")
	}
	return nil
}

// nameMissing labels the members that are not there with the addresses that did not answer, as far as they can be told.
func nameMissing(labels []string, stores []remote.Store, unplaced []foundMember) {
	for i := range labels {
		if stores[i] == nil && len(unplaced) > 0 {
			labels[i] = fmt.Sprintf("%s (%s)", unplaced[0].URL, unplaced[0].reason())
			unplaced = unplaced[1:]
		}
	}
}

func (f *foundMember) reason() string {
	switch {
	case f.bad != nil:
		return "card cannot be used"
	case f.Err == nil:
		return "not opened"
	case errors.Is(f.Err, remote.ErrNotExist):
		return "no card there"
	}
	return f.Err.Error()
}

func noArchive(found []foundMember) error {
	var names []string
	var errs []error
	for _, f := range found {
		names = append(names, f.URL)
		switch {
		case f.bad != nil:
			errs = append(errs, remote.WithHint(fmt.Errorf("member %s: %w", f.URL, f.bad), "put its cairn.json back from a copy"))
		case f.Err != nil && !errors.Is(f.Err, remote.ErrNotExist):
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
