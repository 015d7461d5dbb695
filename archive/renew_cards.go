package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// writeCard stores a card and reads it back.
func writeCard(ctx context.Context, s remote.Store, data []byte) error {
	if err := s.Put(ctx, cardName, data); err != nil {
		return err
	}
	got, err := remote.ReadAll(ctx, s, cardName, maxCard)
	if err == nil && !bytes.Equal(got, data) {
		err = errors.New("it reads back differently")
	}
	return err
}

// CardRenewal is one card that RenewCards wrote, or could not write.
type CardRenewal struct {
	ID     string // of the member; "" when nothing tells which one it is
	Member string
	Was    string // what was wrong
	Err    error  // why it is still so
}

// RenewCards writes the cards of the members that are there when they are stale, damaged or missing. With dry it only says
// which. Which member a store without a usable card is, its shards tell: each says its number, and so its place. The open
// archive does not use such a member before it is opened anew.
func (a *Archive) RenewCards(ctx context.Context, dry bool) ([]CardRenewal, error) {
	if a.keys == nil {
		return nil, ErrNoKey
	}
	renewals := make([]*CardRenewal, len(a.found))
	var wg sync.WaitGroup
	for i := range a.found {
		f := &a.found[i]
		if f.Store == nil || f.replaced {
			continue
		}
		wg.Go(func() { renewals[i] = a.diagnose(ctx, f) })
	}
	wg.Wait()
	a.refuseTwins(renewals)
	for i, r := range renewals {
		if r != nil && r.Err == nil && !dry {
			wg.Go(func() { r.Err = a.renew(ctx, a.card.guard(a.found[i].Store, nil), r.ID) })
		}
	}
	wg.Wait()
	var list []CardRenewal
	for _, r := range renewals {
		if r != nil {
			list = append(list, *r)
		}
	}
	return list, ctx.Err()
}

// diagnose says what is wrong with a member's card and which member it is, or nil.
func (a *Archive) diagnose(ctx context.Context, f *foundMember) *CardRenewal {
	r := &CardRenewal{Member: f.URL}
	if f.card != nil {
		r.ID = f.card.Member
		wrong := a.verifyCard(r.ID, f.raw)
		if wrong == nil {
			return nil
		}
		r.Was = wrong.Error()
		return r
	}
	r.Was = f.reason()
	if f.bad != nil {
		r.Was = f.bad.Error()
	}
	if r.ID, r.Err = a.identify(ctx, f.Store); r.Err != nil {
		return r
	}
	if other := a.used(r.ID); other != nil {
		r.Err = fmt.Errorf("it holds shards of member %.8s, which is %s", r.ID, other.URL)
	}
	return r
}

// refuseTwins leaves alone stores whose shards are the same member's: one of them is a copy, and no card makes two of it.
func (a *Archive) refuseTwins(list []*CardRenewal) {
	first := map[string]*CardRenewal{}
	for _, r := range list {
		if r == nil || r.ID == "" || r.Err != nil {
			continue
		}
		other := first[r.ID]
		if other == nil {
			first[r.ID] = r
			continue
		}
		twins := remote.WithHint(fmt.Errorf("%s and %s both hold shards of member %.8s", other.Member, r.Member, r.ID), "name one of them only")
		r.Err, other.Err = twins, twins
	}
}

// renew writes a member's card.
func (a *Archive) renew(ctx context.Context, s remote.Store, id string) error {
	card := *a.card
	card.Member = id
	data, err := card.signed(a.keys)
	if err != nil {
		return err
	}
	return writeCard(ctx, s, data)
}

// identifyBy is how many shards are asked which member they lie on. One would do, if nobody ever copied one by hand.
const identifyBy = 5

// identify finds out which member a store is, by its shards.
func (a *Archive) identify(ctx context.Context, s remote.Store) (string, error) {
	votes := map[string]int{}
	asked, others := 0, 0
	for _, prefix := range []string{"index/", "binaries/"} {
		for info, err := range s.List(ctx, prefix) {
			if err != nil {
				return "", err
			}
			id, kind, ok := pack.ParseName(info.Name)
			if !ok {
				continue
			}
			if asked++; asked > identifyBy {
				break
			}
			switch member, foreign := a.memberBy(ctx, s, id, kind); {
			case foreign:
				others++
			case member != "":
				votes[member]++
			}
		}
	}
	if len(votes) == 0 {
		return "", remote.WithHint(errors.New("it holds no shard that tells which member of the archive it is"), "put it into the place of a lost member with `cairn member replace`")
	}
	best, total := "", others
	for id, n := range votes {
		if total += n; best == "" || n > votes[best] {
			best = id
		}
	}
	if 2*votes[best] <= total {
		if others > 0 {
			return "", errors.New("it holds shards of another archive")
		}
		return "", fmt.Errorf("it holds shards of %d members", len(votes))
	}
	return best, nil
}

// memberBy reads a shard's header: its number says on which member it lies. It is "" where that cannot be told.
func (a *Archive) memberBy(ctx context.Context, s remote.Store, id pack.ID, kind chunk.Type) (member string, foreign bool) {
	r := a.readHeader(ctx, stripe.Member{Store: s}, id, kind)
	h := r.header
	if h == nil || a.verifySignature(h) != nil {
		return "", r.foreign
	}
	layouts := a.card.layouts()
	i := slices.IndexFunc(layouts, func(l Layout) bool { return l.geometry() == h.Geometry })
	if i < 0 || h.Shard >= h.Geometry.N() {
		return "", false
	}
	return layouts[i].Members[pack.Member(id, h.Shard, h.Geometry.N())], false
}
