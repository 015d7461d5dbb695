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

// InitOptions describe a new archive.
type InitOptions struct {
	Data, Parity int // shards of a pack; members = Data + Parity, or one store that holds them all
	// Slots makes the first key slots; at least one with the full role.
	Slots func(*seal.Keys) ([]*seal.Slot, error)
	Now   time.Time
	// Retention locks everything that is ever stored in the archive, if it is not nil. That all members can is for who calls to find out
	// before: what was locked cannot be taken back when Init fails.
	Retention *Retention
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
	if !slices.ContainsFunc(slots, func(s *seal.Slot) bool { return s.Role == seal.Full }) {
		return id, errors.New("a new archive needs a key slot with the full role: nobody could read it")
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	cards, err := newCards(id, keys, o.Data, o.Parity, o.Retention, chunk.DefaultParams(), o.Now)
	if err != nil {
		return id, err
	}
	for i := range members {
		members[i].Store = cards[0].guard(members[i].Store, nil)
	}
	f := founder{}
	if err := f.write(ctx, members, slots, cards); err != nil {
		return id, errors.Join(err, f.undo(ctx))
	}
	return id, nil
}

// founder writes the first objects of an archive and remembers which, to remove just those when it fails.
type founder struct{ written []written }

type written struct {
	Member
	name string
}

// write puts the slots and then the cards.
func (f *founder) write(ctx context.Context, members []Member, slots []*seal.Slot, cards []*Card) error {
	for _, m := range members {
		for _, s := range slots {
			if err := f.put(ctx, m, slotName(s.ID), s.Encode()); err != nil {
				return err
			}
		}
	}
	for i, m := range members {
		if _, err := m.Store.Stat(ctx, cardName); err == nil {
			return remote.WithHint(fmt.Errorf("%s is the same place as another of the members", m.URL), "name each place once")
		}
		data, err := cards[i].encode()
		if err != nil {
			return err
		}
		if err := f.put(ctx, m, cardName, data); err != nil {
			return err
		}
	}
	return nil
}

func (f *founder) put(ctx context.Context, m Member, name string, data []byte) error {
	f.written = append(f.written, written{m, name}) // before: a failed Put may have stored it
	if err := m.Store.Put(ctx, name, data); err != nil {
		return fmt.Errorf("%s: %w", m.URL, err)
	}
	return nil
}

// undo removes what was written to places that were empty before, so that Init can simply be run again.
func (f *founder) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	var errs []error
	for _, w := range f.written {
		if err := w.Store.Delete(ctx, w.name); err != nil {
			errs = append(errs, fmt.Errorf("%s: clean up %s: %w", w.URL, w.name, err))
		}
	}
	return errors.Join(errs...)
}

// cleanupTime is long for a few deletions and short for somebody who waits for an error.
const cleanupTime = 10 * time.Second

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
			members = append(members, sub(one, i))
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
