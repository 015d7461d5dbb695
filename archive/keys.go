package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cairn/chunk/seal"
	"cairn/remote"
)

func slotName(id seal.SlotID) string { return "keys/" + id.String() }

// Slots returns the key slots of the archive. A slot that is damaged on one member is read from another; one that is
// damaged everywhere is left out with a notice.
func (a *Archive) Slots(ctx context.Context) ([]*seal.Slot, error) {
	var slots []*seal.Slot
	for info, err := range a.all.List(ctx, "keys/") {
		if err != nil {
			return nil, fmt.Errorf("list key slots: %w", err)
		}
		var slot *seal.Slot
		_, err := a.all.GetVerified(ctx, info.Name, func(data []byte) error {
			s, err := seal.ParseSlot(data)
			if err == nil && slotName(s.ID) != info.Name {
				err = errors.New("slot has another id than its name")
			}
			if err == nil && s.Archive != a.id {
				err = fmt.Errorf("slot belongs to archive %.8s", s.Archive)
			}
			slot = s
			return err
		})
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			a.opts.Notice(fmt.Sprintf("key slot %s is left out: %v", strings.TrimPrefix(info.Name, "keys/"), err))
			continue
		}
		slots = append(slots, slot)
	}
	if len(slots) == 0 {
		return nil, remote.WithHint(errors.New("the archive has no readable key slot"),
			"with a recovery text from `cairn key export`, `cairn key recover` makes a new slot")
	}
	return slots, nil
}

// AddSlot publishes a slot on every reachable member.
func (a *Archive) AddSlot(ctx context.Context, s *seal.Slot) error {
	if err := a.set.Put(ctx, slotName(s.ID), s.Encode()); err != nil {
		return fmt.Errorf("key slot %s: %w", s.ID, err)
	}
	return nil
}

// RemoveSlot removes a slot from every member. The last slot with the full role is not removed: nobody could ever
// read the archive again.
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
	if err := a.all.Delete(ctx, slotName(id)); err != nil {
		return fmt.Errorf("remove key slot %s: %w", id, err)
	}
	return nil
}
