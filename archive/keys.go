package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/stripe"
)

const maxSlot = 64 << 10 // docs/format.md §10

func slotName(id seal.SlotID) string { return keyPrefix + id.String() }

// parseSlot reads a slot that must be the one of this name.
func (a *Archive) parseSlot(name string, data []byte) (*seal.Slot, error) {
	s, err := seal.ParseSlot(data)
	switch {
	case err != nil:
		return nil, err
	case slotName(s.ID) != name:
		return nil, errors.New("slot has another id than its name")
	case s.Archive != a.id:
		return nil, fmt.Errorf("slot belongs to archive %.8s", s.Archive)
	}
	return s, nil
}

// Slots returns the key slots of the archive. A slot that is damaged on one member is read from another; one that is
// damaged everywhere is left out with a notice.
func (a *Archive) Slots(ctx context.Context) ([]*seal.Slot, error) {
	names, _, err := a.listCopies(ctx, keyPrefix)
	if err != nil {
		return nil, fmt.Errorf("list key slots: %w", err)
	}
	var slots []*seal.Slot
	for name := range names {
		var slot *seal.Slot
		_, err := a.all.GetVerified(ctx, name, func(data []byte) (err error) {
			slot, err = a.parseSlot(name, data)
			return err
		})
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			a.opts.Notice(fmt.Sprintf("key slot %s is left out: %v", strings.TrimPrefix(name, keyPrefix), err))
			continue
		}
		slots = append(slots, slot)
	}
	if len(slots) == 0 {
		return nil, remote.WithHint(errors.New("the archive has no readable key slot"),
			"with a recovery text from `cairn key export`, `cairn key recover` makes a new slot")
	}
	slices.SortFunc(slots, func(a, b *seal.Slot) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return slots, nil
}

// openKeys opens the keys with the slots of one member, the one whose card came first: one listing, and each slot once. When that
// does not do (the slot was added while the member was away, or its copy is damaged), all members are asked.
func (a *Archive) openKeys(ctx context.Context, creds []seal.Credential) (*seal.Keys, seal.SlotID, error) {
	tried := map[seal.SlotID]bool{} // a wrong password costs a second for each slot
	var quickErr error
	if m := a.quickest(); m != nil {
		if slots := a.slotsOf(ctx, m); len(slots) > 0 {
			keys, slot, err := seal.OpenSlots(slots, creds)
			if err == nil {
				return keys, slot.ID, nil
			}
			quickErr = err
			for _, s := range slots {
				tried[s.ID] = true
			}
		}
	}
	slots, err := a.Slots(ctx)
	if err != nil {
		return nil, seal.SlotID{}, err
	}
	slots = slices.DeleteFunc(slots, func(s *seal.Slot) bool { return tried[s.ID] })
	if len(slots) == 0 {
		return nil, seal.SlotID{}, quickErr
	}
	keys, slot, err := seal.OpenSlots(slots, creds)
	if err != nil {
		return nil, seal.SlotID{}, err
	}
	return keys, slot.ID, nil
}

// quickest returns the member of the current layout whose card was there first, or nil.
func (a *Archive) quickest() remote.Store {
	var best *foundMember
	for i := range a.found {
		if f := &a.found[i]; f.card != nil && f.card.Revision == a.card.Revision && f.card.number() >= 0 && (best == nil || f.took < best.took) {
			best = f
		}
	}
	if best == nil {
		return nil
	}
	return best.Store
}

// slotsOf reads the slots of one member, if it gives all of them in good order.
func (a *Archive) slotsOf(ctx context.Context, m remote.Store) []*seal.Slot {
	var slots []*seal.Slot
	for info, err := range m.List(ctx, keyPrefix) {
		if err != nil {
			return nil
		}
		data, err := remote.ReadAll(ctx, m, info.Name, maxSlot)
		if err != nil {
			return nil
		}
		slot, err := a.parseSlot(info.Name, data)
		if err != nil {
			return nil
		}
		slots = append(slots, slot)
	}
	return slots
}

// AddSlot publishes a slot on every reachable member.
func (a *Archive) AddSlot(ctx context.Context, s *seal.Slot) error {
	if err := a.set.Put(ctx, slotName(s.ID), s.Encode()); err != nil {
		return fmt.Errorf("key slot %s: %w", s.ID, err)
	}
	return nil
}

// RemoveSlot removes a slot from every member that is there. The last slot with the full role is not removed: nobody could ever
// read the archive again. A member that is away keeps its copy, with which the key still opens the archive when it is back: that
// is told in a notice.
func (a *Archive) RemoveSlot(ctx context.Context, id seal.SlotID) error {
	slots, err := a.Slots(ctx)
	if err != nil {
		return err
	}
	full, found := 0, false
	for _, s := range slots {
		if s.ID == id {
			found = true
			continue
		}
		if s.Role == seal.Full {
			full++
		}
	}
	if !found {
		return fmt.Errorf("no key slot %s", id)
	}
	if full == 0 {
		return remote.WithHint(errors.New("this is the last key that can read the archive"), "add another one first with `cairn key add`")
	}
	res, err := a.all.DeleteAll(ctx, slotName(id))
	if errors.Is(err, remote.ErrLocked) {
		err = a.hideSlot(ctx, id, res)
	}
	if err != nil {
		return fmt.Errorf("remove key slot %s: %w", id, err)
	}
	var left []string
	for i, m := range a.all.Members() {
		if !res.Acked[i] {
			left = append(left, m.Label)
		}
	}
	if len(left) > 0 {
		a.opts.Notice(fmt.Sprintf("key slot %s may still be on %s: remove it again when they are back", id, strings.Join(left, ", ")))
	}
	return nil
}

// hideSlot hides a slot on the members where a lock keeps it from being deleted. What is hidden is not locked for longer, but until then
// whoever can read versions can read it.
func (a *Archive) hideSlot(ctx context.Context, id seal.SlotID, res stripe.Result) error {
	for i, m := range a.all.Members() {
		if !errors.Is(res.Errs[i], remote.ErrLocked) {
			continue
		}
		h, ok := remote.As[remote.Hider](m.Store)
		if !ok {
			return res.Errs[i]
		}
		if err := h.Hide(ctx, slotName(id)); err != nil {
			return err
		}
		res.Acked[i] = true
	}
	a.opts.Notice(fmt.Sprintf("key slot %s is hidden, not deleted, because it is under retention: its key opens the archive as of earlier times (--as-of) until somebody "+
		"deletes the versions of %s, which the lock allows when %s have passed", id, slotName(id), a.Retention().text()))
	return nil
}
