package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// MemberInfo is one member of the archive, of the current layout or of a former one.
type MemberInfo struct {
	ID     string // as in the cards; it stays when the member's address changes
	Number int    // in the current layout, -1: only in former ones
	Label  string // its address, or what is known of a member that is not there
	URL    string // as it was named; empty when it is not there
	Store  remote.Store
	Err    error // why Store is nil, or what was last wrong with it
	Stale  bool  // its card is older than others': it missed a change of the layout
}

// Members lists the members of all layouts, those of the current one first and in its order.
func (a *Archive) Members() []MemberInfo {
	list := make([]MemberInfo, len(a.ids))
	for i, m := range a.all.Members() {
		list[i] = MemberInfo{ID: a.ids[i], Number: slices.Index(a.card.Layout.Members, a.ids[i]), Label: m.Label, Store: m.Store, Err: m.Err}
		if f := a.used(a.ids[i]); f != nil {
			list[i].URL, list[i].Stale = f.URL, f.card.Revision < a.card.Revision
		}
	}
	return list
}

// used finds the store that was named for a member.
func (a *Archive) used(id string) *foundMember {
	for i := range a.found {
		if f := &a.found[i]; f.card != nil && f.card.Member == id {
			return f
		}
	}
	return nil
}

// assemble puts the archive together: which layouts there are, and which store is which member of them.
// Keys, if they are open already, tell what cards do not; known is which archives this machine has opened before.
func assemble(ctx context.Context, found []foundMember, keys *seal.Keys, known func(archive string) bool, o stripe.Options) (*Archive, error) {
	ref, err := agreed(found, keys, known)
	if err != nil {
		return nil, err
	}
	id, err := ref.archiveID()
	if err != nil {
		return nil, err
	}
	a := &Archive{id: id, geom: ref.geometry(), found: found, card: ref, ids: ref.members(), keys: keys}
	if err := a.settle(ctx); err != nil {
		return nil, err
	}
	stores, labels := make([]remote.Store, len(a.ids)), make([]string, len(a.ids))
	for i, id := range a.ids {
		labels[i] = fmt.Sprintf("member %d (not named)", i)
		if i >= a.geom.N() {
			labels[i] = fmt.Sprintf("former member %.8s (not named)", id)
		}
	}
	var unplaced []foundMember
	for _, f := range found {
		if f.card == nil {
			if !f.replaced {
				unplaced = append(unplaced, f)
			}
			continue
		}
		n := slices.Index(a.ids, f.card.Member)
		stores[n], labels[n] = ref.guard(f.Store, nil), f.URL
	}
	nameMissing(labels, stores, unplaced)
	// One Set of all members, and a choice of it for each layout: what is learned of a member through one layout, that it does
	// not answer, is known to all.
	o.Reconstruct = reconstruct
	a.all = stripe.New(stores, labels, o)
	a.placements = place(ref.layouts(), a.ids, a.all)
	for _, l := range ref.layouts() {
		var m memberMask
		for _, id := range l.Members {
			m.set(slices.Index(a.ids, id))
		}
		a.masks = append(a.masks, m)
	}
	a.set = a.placements[0].Set
	return a, nil
}

// place makes the placements of layouts whose members are the given ones.
func place(layouts []Layout, ids []string, all *stripe.Set) []Placement {
	var list []Placement
	for _, l := range layouts {
		numbers := make([]int, len(l.Members))
		for i, id := range l.Members {
			numbers[i] = slices.Index(ids, id)
		}
		list = append(list, Placement{l.geometry(), all.Select(numbers)})
	}
	return list
}

// agreed returns a card that stands for all, and decides which members are used. A member of another archive was named by
// mistake, or its card is wrong (see ours). Of several revisions the highest holds: a member with an older card missed the
// change, and is used as long as the archive has not put another one into its place. A card that contradicts most of its
// revision is damaged and costs its member only.
func agreed(found []foundMember, keys *seal.Keys, known func(archive string) bool) (*Card, error) {
	for i := range found {
		found[i].card, found[i].replaced = nil, false
	}
	list, err := ours(found, keys, known)
	if err != nil {
		return nil, err
	}
	best, most := newestOf(list)
	ref := best.read
	for _, f := range list {
		if f.read.Revision == ref.Revision && !f.read.agrees(ref) && votes(list, f.read) == most {
			return nil, remote.WithHint(fmt.Errorf("the cards of %s and %s disagree about the layout", f.URL, best.URL),
				"leave one of them out, and put its cairn.json back from a copy")
		}
		f.join(ref)
	}
	return ref, nil
}

// join uses a member if its card fits to the one that stands for all.
func (f *foundMember) join(ref *Card) {
	switch c := f.read; {
	case c.agrees(ref):
		f.card = c
	case c.Revision == ref.Revision, c.Created != ref.Created, c.Chunker != ref.Chunker:
		f.bad = errors.New("its card disagrees with the others about the layout")
	case slices.Contains(ref.members(), c.Member):
		f.card = c
	default:
		f.replaced = true
	}
}

// VerifyCard reads the card of a member of the current layout again, and compares it with its canonical form, with what the
// archive's other cards say and, if a key is open, with its MAC.
func (a *Archive) VerifyCard(ctx context.Context, member int) error {
	data, err := remote.ReadAll(ctx, a.set.Members()[member].Store, cardName, maxCard)
	if err != nil {
		return err
	}
	return a.verifyCard(a.card.Layout.Members[member], data)
}

// verifyCard says what is wrong with the stored card of a member.
func (a *Archive) verifyCard(id string, data []byte) error {
	c, err := parseCard(data)
	if err != nil {
		return err
	}
	if a.keys != nil {
		if err := c.verify(a.keys); err != nil {
			return err
		}
	}
	switch {
	case c.Archive != a.id.String() || c.Member != id:
		return fmt.Errorf("it is the card of member %.8s of archive %.8s", c.Member, c.Archive)
	case c.Revision < a.card.Revision:
		return remote.WithHint(fmt.Errorf("card is of revision %d, the archive's layouts are of revision %d", c.Revision, a.card.Revision), "`cairn repair` renews it")
	case !c.agrees(a.card):
		return errors.New("card disagrees with the others about the layout")
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
			labels[i], stores[i] = unplaced[0].URL, stripe.Missing(errors.New(unplaced[0].reason()))
			unplaced = unplaced[1:]
		}
	}
}

// Enough fails, with a *stripe.TooFewError, when fewer members are there than a pack needs.
func (a *Archive) Enough() error {
	few := &stripe.TooFewError{Need: a.geom.K}
	for _, m := range a.set.Members() {
		if m.Store != nil {
			few.Have++
			continue
		}
		few.Missing, few.Causes = append(few.Missing, m.Label), append(few.Causes, fmt.Errorf("%s: %w", m.Label, m.Err))
	}
	if few.Have < few.Need {
		return few
	}
	return nil
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
	text := strings.TrimSuffix(f.Err.Error(), ": "+remote.ErrUnavailable.Error())
	if _, cause, ok := strings.Cut(text, cardName+": "); ok { // the address is told beside it
		text = cause
	}
	var refused *net.OpError
	if errors.As(f.Err, &refused) {
		text = "no answer: " + refused.Err.Error()
	}
	return text
}

func noArchive(found []foundMember) error {
	var names []string
	var errs []error
	few := &stripe.TooFewError{Need: 1}
	for _, f := range found {
		names = append(names, f.URL)
		if f.bad == nil && errors.Is(f.Err, remote.ErrUnavailable) {
			few.Missing, few.Causes = append(few.Missing, f.URL), append(few.Causes, remote.WithHint(fmt.Errorf("%s: %s", f.URL, f.reason()), remote.Hint(f.Err)))
		}
		switch {
		case f.bad != nil:
			errs = append(errs, remote.WithHint(fmt.Errorf("member %s: %w", f.URL, f.bad), "put its cairn.json back from a copy"))
		case f.Err != nil && !errors.Is(f.Err, remote.ErrNotExist):
			errs = append(errs, fmt.Errorf("%s: %w", f.URL, f.Err))
		}
	}
	if len(few.Missing) == len(found) && len(found) > 0 {
		return few
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
