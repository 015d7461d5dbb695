package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// FoundLayout is what shards tell about a layout of an archive whose cards are all lost.
type FoundLayout struct {
	Geometry pack.Geometry
	Members  []int // by number in the layout: which of the stores it is, -1: none of them
}

// WriteLostCards writes new cards for an archive that has none left to its stores, by what their shards told: the current
// layout comes first. Members get new ids, those that are not there too, so that others can be put into their places. The chunker's
// sizes are the default ones: they matter for recognising what is backed up again, and for nothing else. A store that has a
// card is refused. It needs the keys of the archive, which sign the cards.
func WriteLostCards(ctx context.Context, keys *seal.Keys, stores []Member, layouts []FoundLayout, now time.Time) error {
	c, ids, err := lostCard(keys, len(stores), layouts, now)
	if err != nil {
		return err
	}
	for _, m := range stores {
		if _, err := m.Store.Stat(ctx, cardName); err == nil {
			return fmt.Errorf("%s has a card", m.URL)
		} else if !errors.Is(err, remote.ErrNotExist) {
			return fmt.Errorf("%s: %w", m.URL, err)
		}
	}
	for i, m := range stores {
		c.Member = ids[i]
		if !slices.Contains(c.members(), c.Member) {
			return fmt.Errorf("%s is no member of any layout", m.URL)
		}
		data, err := c.signed(keys)
		if err == nil {
			_, err = parseCard(data)
		}
		if err == nil {
			err = writeCard(ctx, m.Store, data)
		}
		if err != nil {
			return fmt.Errorf("card of %s: %w", m.URL, err)
		}
	}
	return nil
}

// lostCard makes the card, of no particular member, and the ids of the stores.
func lostCard(keys *seal.Keys, stores int, layouts []FoundLayout, now time.Time) (c Card, ids []string, err error) {
	if len(layouts) == 0 {
		return c, nil, errors.New("no layout is known")
	}
	fresh := func() string { return seal.NewArchiveID().String() } // 16 random bytes, as member ids are
	for range stores {
		ids = append(ids, fresh())
	}
	p := chunk.DefaultParams()
	c = Card{Version: cardVersion, Archive: keys.Archive().String(), Chunker: Chunker{Min: p.Min, Max: p.Max, Bits: p.Bits}, Features: []string{},
		Created: now.UTC().Format(time.RFC3339)}
	for i, l := range layouts {
		layout := Layout{Epoch: l.Geometry.Epoch, Data: l.Geometry.K, Parity: l.Geometry.M, Placement: placement}
		for _, m := range l.Members {
			if m < 0 {
				layout.Members = append(layout.Members, fresh())
			} else {
				layout.Members = append(layout.Members, ids[m])
			}
		}
		if i == 0 {
			c.Layout = layout
		} else {
			c.Former = append(c.Former, layout)
		}
	}
	if len(layouts) > 1 {
		c.Revision, c.Features = len(layouts)-1, []string{featureLayouts}
	}
	return c, ids, nil
}

// HasCard says whether a store has an object where a member's card is, readable or not.
func HasCard(ctx context.Context, s remote.Store) (bool, error) {
	_, err := s.Stat(ctx, cardName)
	if errors.Is(err, remote.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
