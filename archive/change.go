package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// Change is a new set of layouts for an archive: the next revision of its cards. Nothing is stored by making one. In this order
// it takes effect without a moment in which something could not be read:
//
//  1. the new members get the mirrored objects (Mirror) and, where they take another one's place, its shards (RepairPack
//     with one of Placements),
//  2. WriteCards: first the new members' cards, then all others'. From the first card on, whoever opens the archive with that
//     member named sees the new layouts; the others' cards are stale until they are written, and used,
//  3. the same as 1 again on the archive opened anew, for what others wrote meanwhile by the old cards.
//
// A crash before 2 leaves shards and copies on stores that no card names; one within 2 leaves stale cards, which
// RenewCards renews. In either case the change can be planned and made again.
type Change struct {
	a        *Archive
	card     Card     // of no particular member
	fresh    []string // ids of members that the archive does not have yet
	replaced string
}

// PlanReplace plans to put a new member into an old one's place, in every layout. The old one is named by its id, its number in the
// current layout, or its address.
func (a *Archive) PlanReplace(old string) (*Change, error) {
	id, err := a.findMember(old)
	if err != nil {
		return nil, err
	}
	c, err := a.plan()
	if err != nil {
		return nil, err
	}
	fresh := seal.NewArchiveID().String() // 16 random bytes, as member ids are
	c.fresh, c.replaced = []string{fresh}, id
	for _, l := range append([]*Layout{&c.card.Layout}, pointers(c.card.Former)...) {
		for i, m := range l.Members {
			if m == id {
				l.Members[i] = fresh
			}
		}
	}
	return c, c.check()
}

func pointers(list []Layout) []*Layout {
	out := make([]*Layout, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// PlanLayout plans a new layout for packs to come: members are the ids of members that the archive has, and "" for each new
// one, in the order in which they are to be numbered. The layouts so far become former ones.
func (a *Archive) PlanLayout(data, parity int, members []string) (*Change, error) {
	c, err := a.plan()
	if err != nil {
		return nil, err
	}
	epoch := uint16(0)
	for _, l := range a.card.layouts() {
		epoch = max(epoch, l.Epoch)
	}
	if epoch == math.MaxUint16 {
		return nil, errors.New("the archive's layout was changed 65535 times: copy it into a new archive")
	}
	if len(a.card.Former) == maxFormer {
		return nil, fmt.Errorf("the archive has %d former layouts already: copy it into a new archive", maxFormer)
	}
	l := Layout{Epoch: epoch + 1, Data: data, Parity: parity, Placement: placement}
	for _, m := range members {
		if m == "" {
			m = seal.NewArchiveID().String()
			c.fresh = append(c.fresh, m)
		} else if !slices.Contains(a.ids, m) {
			return nil, fmt.Errorf("the archive has no member %.40q", m)
		}
		l.Members = append(l.Members, m)
	}
	if now := a.card.Layout; data == now.Data && parity == now.Parity && slices.Equal(l.Members, now.Members) {
		return nil, fmt.Errorf("the archive's layout is %d+%d over these members already", data, parity)
	}
	c.card.Former = append([]Layout{c.card.Layout}, c.card.Former...)
	c.card.Layout = l
	return c, c.check()
}

// plan begins a change with a copy of what is.
func (a *Archive) plan() (*Change, error) {
	if a.keys == nil {
		return nil, ErrNoKey
	}
	if a.card.Revision == math.MaxInt32 {
		return nil, errors.New("the archive's layouts were changed too often")
	}
	c := &Change{a: a, card: *a.card}
	c.card.Revision++
	c.card.Features = c.card.features()
	c.card.Layout.Members = slices.Clone(c.card.Layout.Members)
	c.card.Former = slices.Clone(c.card.Former)
	for i := range c.card.Former {
		c.card.Former[i].Members = slices.Clone(c.card.Former[i].Members)
	}
	return c, nil
}

// check refuses a change that would make cards which no reader takes.
func (c *Change) check() error {
	data, err := c.Card(c.card.members()[0])
	if err == nil {
		_, err = parseCard(data)
	}
	if err != nil {
		return fmt.Errorf("change of the layout: %w", err)
	}
	return nil
}

// findMember returns the id of the member that is meant.
func (a *Archive) findMember(name string) (string, error) {
	var ids []string
	for _, m := range a.Members() {
		if name == "" {
			break
		}
		if name == m.ID || name == m.URL || name == m.Label || m.Number >= 0 && name == strconv.Itoa(m.Number) {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 1 {
		return ids[0], nil
	}
	return "", remote.WithHint(fmt.Errorf("no member of the archive is called %q", name), "`cairn member list` shows the members with their numbers and ids")
}

// Revision is that of the new cards.
func (c *Change) Revision() int { return c.card.Revision }

// Geometry is that of new packs.
func (c *Change) Geometry() pack.Geometry { return c.card.geometry() }

// Members lists the ids of all members, those of the current layout first and in its order.
func (c *Change) Members() []string { return c.card.members() }

// Layouts lists the layouts after the change, the current one first.
func (c *Change) Layouts() []Layout { return c.card.layouts() }

// New lists the ids of the members that the archive does not have yet, in the order in which they were asked for.
func (c *Change) New() []string { return slices.Clone(c.fresh) }

// Replaced is the id of the member that gives up its place, or "".
func (c *Change) Replaced() string { return c.replaced }

// Card returns the signed card of one member under the new revision.
func (c *Change) Card(memberID string) ([]byte, error) {
	card := c.card
	if card.Member = memberID; !slices.Contains(card.members(), memberID) {
		return nil, fmt.Errorf("member %.8s is not in the new layouts", memberID)
	}
	return card.signed(c.a.keys)
}

// signed encodes a card with its MAC.
func (c Card) signed(k *seal.Keys) ([]byte, error) {
	c.sign(k)
	data, err := c.encode()
	if err == nil && len(data) > maxCard {
		err = fmt.Errorf("card of %d bytes is longer than %d: the archive had too many layouts", len(data), maxCard)
	}
	return data, err
}

// Placements returns the layouts as they will be, the current one first, over the archive's members and the given stores
// of new ones (by id). They do not share with the archive what is learned of members.
func (c *Change) Placements(stores map[string]remote.Store) []Placement {
	known := map[string]MemberInfo{}
	for _, m := range c.a.Members() {
		known[m.ID] = m
	}
	ids := c.Members()
	all, labels := make([]remote.Store, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		all[i], labels[i] = known[id].Store, known[id].Label
		if s := stores[id]; s != nil {
			all[i] = s
		}
		all[i] = c.card.guard(all[i], nil)
		if labels[i] == "" {
			labels[i] = fmt.Sprintf("new member %.8s", id)
		}
	}
	return place(c.card.layouts(), ids, stripe.New(all, labels, stripe.Options{Reconstruct: reconstruct}))
}

// CardWrite is what became of writing one member's card.
type CardWrite struct {
	ID, Member string
	New        bool // it was no member before
	Err        error
}

// WriteCards makes a change: it writes the card of each new member to its store, and when all of them have theirs, those of
// the archive's other members. What was written is read back. It is an error when a new member's card cannot be
// written, and then no other was touched. Members that do not answer keep their old card, which is stale then, and
// are told of in the list. The open archive stays as it is: open it anew. It may be called again with the same change.
func (a *Archive) WriteCards(ctx context.Context, c *Change, stores map[string]remote.Store) ([]CardWrite, error) {
	for _, id := range slices.Sorted(maps.Keys(stores)) {
		if !slices.Contains(c.fresh, id) {
			return nil, fmt.Errorf("member %.8s is not new in this change", id)
		}
	}
	var list []CardWrite
	for _, id := range c.fresh {
		w := CardWrite{ID: id, Member: fmt.Sprintf("new member %.8s", id), New: true}
		w.Err = c.write(ctx, id, stores[id])
		if list = append(list, w); w.Err != nil {
			return list, fmt.Errorf("card of %s: %w", w.Member, w.Err)
		}
	}
	for _, m := range a.Members() {
		if !slices.Contains(c.Members(), m.ID) {
			continue // replaced
		}
		w := CardWrite{ID: m.ID, Member: m.Label}
		if m.Store == nil {
			w.Err = fmt.Errorf("not there: %w", m.Err)
		} else {
			w.Err = c.write(ctx, m.ID, m.Store)
		}
		if ctx.Err() != nil {
			return list, ctx.Err()
		}
		list = append(list, w)
	}
	return list, nil
}

func (c *Change) write(ctx context.Context, id string, s remote.Store) error {
	data, err := c.Card(id)
	if err != nil {
		return err
	}
	if s == nil {
		return errNotOpened
	}
	return writeCard(ctx, c.card.guard(s, nil), data)
}
