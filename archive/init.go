package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// InitOptions describe a new archive.
type InitOptions struct {
	Data, Parity int // shards of a pack; members = Data + Parity, or one store that holds them all
	// Slots makes the first key slots; at least one with the full role.
	Slots func(*seal.Keys) ([]*seal.Slot, error)
	Now   time.Time
}

// Init makes a new archive on empty stores: first the key slots, then the cards, because a card is what makes a
// store a member. It refuses stores that hold an archive, or part of one. One store with Data+Parity > 1 gets all the
// members in folders of its own.
func Init(ctx context.Context, members []Member, o InitOptions) (seal.ArchiveID, error) {
	g := pack.Geometry{K: o.Data, M: o.Parity, Epoch: 1}
	if err := g.Validate(); err != nil {
		return seal.ArchiveID{}, err
	}
	members, err := spread(members, g.N())
	if err != nil {
		return seal.ArchiveID{}, err
	}
	for _, m := range members {
		if err := checkEmpty(ctx, m); err != nil {
			return seal.ArchiveID{}, err
		}
	}
	id := seal.NewArchiveID()
	keys, err := seal.NewRoot(id)
	if err != nil {
		return id, err
	}
	slots, err := o.Slots(keys)
	if err != nil {
		return id, err
	}
	cards, err := newCards(id, keys, o.Data, o.Parity, chunk.DefaultParams(), o.Now)
	if err != nil {
		return id, err
	}
	for _, m := range members {
		for _, s := range slots {
			if err := m.Store.Put(ctx, slotName(s.ID), s.Encode()); err != nil {
				return id, fmt.Errorf("%s: %w", m.URL, err)
			}
		}
	}
	for i, m := range members {
		data, err := cards[i].encode()
		if err == nil {
			err = m.Store.Put(ctx, cardName, data)
		}
		if err != nil {
			return id, fmt.Errorf("%s: %w", m.URL, err)
		}
	}
	return id, nil
}

// spread gives n members: those named, or n folders of the one store named.
func spread(members []Member, n int) ([]Member, error) {
	for _, m := range members {
		if m.Err != nil {
			return nil, fmt.Errorf("%s: %w", m.URL, m.Err)
		}
	}
	if len(members) == 1 && n > 1 {
		one := members[0]
		members = nil
		for i := range n {
			members = append(members, Member{URL: one.URL + "/" + SubName(i), Store: remote.Sub(one.Store, SubName(i))})
		}
	}
	if len(members) != n {
		return nil, remote.WithHint(fmt.Errorf("%d members named, but data + parity = %d", len(members), n),
			"name exactly as many members as shards (--data K --parity M), or one store that shall hold them all")
	}
	return members, nil
}

func checkEmpty(ctx context.Context, m Member) error {
	for _, name := range []string{cardName, SubName(0) + "/" + cardName} {
		if _, err := m.Store.Stat(ctx, name); err == nil {
			return remote.WithHint(fmt.Errorf("%s already holds an archive", m.URL), "name an empty place, or use the archive that is there")
		} else if !errors.Is(err, remote.ErrNotExist) {
			return fmt.Errorf("%s: %w", m.URL, err)
		}
	}
	for _, prefix := range []string{"keys/", "binaries/", "index/", "snapshots/"} {
		for _, err := range m.Store.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("%s: %w", m.URL, err)
			}
			return remote.WithHint(fmt.Errorf("%s holds parts of an archive (%s) without its card", m.URL, prefix),
				"name an empty place; if this is a broken member, give the other members of its archive instead")
		}
	}
	return nil
}
