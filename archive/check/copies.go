package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/snapshot"
)

// copies checks what every member must have a copy of: card, key slots, snapshots and their marks. Each copy is
// read from each member.
func (c *checker) copies(ctx context.Context) error {
	for _, bad := range c.a.BadCards() {
		c.found(Damage{Object: "cairn.json", Member: bad.Member, Problem: bad.Err.Error()})
	}
	for i, m := range c.a.Set().Members() {
		if m.Store == nil {
			continue
		}
		if err := c.a.VerifyCard(ctx, i); err != nil {
			c.found(Damage{Object: "cairn.json", Member: m.Label, Problem: err.Error()})
		}
	}
	if _, err := c.copiesBelow(ctx, "keys/", c.verifySlot); err != nil {
		return err
	}
	names, err := c.copiesBelow(ctx, "snapshots/", c.verifySnapshotObject)
	if err != nil {
		return err
	}
	return c.marks(ctx, names)
}

// verifier checks a copy. ours is false for names that the format does not know: those are left alone.
type verifier func(name string, data []byte) (ours bool, err error)

// copiesBelow checks all copies of the objects below a prefix and returns on which members each is listed.
func (c *checker) copiesBelow(ctx context.Context, prefix string, verify verifier) (map[string]uint32, error) {
	names := map[string]uint32{}
	errs, err := c.a.Set().ListEach(ctx, prefix, func(member int, info remote.Info) error {
		names[info.Name] |= 1 << member
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	c.listErrors(prefix, errs)
	for name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if ours, _ := verify(name, nil); !ours {
			delete(names, name)
			continue
		}
		c.copiesOf(ctx, name, verify)
	}
	return names, ctx.Err()
}

// copiesOf reads each member's copy of one object.
func (c *checker) copiesOf(ctx context.Context, name string, verify verifier) {
	var damages []Damage
	good, gone := 0, 0
	for i, m := range c.a.Set().Members() {
		if !c.reachable(i) {
			continue
		}
		data, err := remote.ReadAll(ctx, m.Store, name, maxCopy)
		if err == nil {
			_, err = verify(name, data)
		}
		switch {
		case err == nil:
			good++
		case errors.Is(err, remote.ErrNotExist):
			gone++
			damages = append(damages, Damage{Object: name, Member: m.Label, Problem: "the copy is missing"})
		default:
			damages = append(damages, Damage{Object: name, Member: m.Label, Problem: err.Error()})
		}
	}
	if gone == len(damages) && good == 0 || ctx.Err() != nil {
		return // it was removed while this ran
	}
	for _, d := range damages {
		d.Lost = good == 0
		c.found(d)
	}
}

// maxCopy is the largest object that is copied: a snapshot.
const maxCopy = 64 << 20

// listErrors tells of members that could not be listed.
func (c *checker) listErrors(prefix string, errs []error) {
	for i, err := range errs {
		if err != nil && c.reachable(i) {
			c.unlisted |= 1 << i
			c.found(Damage{Object: prefix, Member: c.a.Set().Members()[i].Label, Problem: fmt.Sprintf("cannot be listed, so nothing on this member was checked: %v", err)})
		}
	}
}

func (c *checker) verifySlot(name string, data []byte) (bool, error) {
	if _, err := seal.ParseSlotID(strings.TrimPrefix(name, "keys/")); err != nil {
		return false, nil
	}
	slot, err := seal.ParseSlot(data)
	switch {
	case err != nil:
		return true, err
	case name != "keys/"+slot.ID.String():
		return true, errors.New("it has another id than its name")
	case slot.Archive != c.a.ID():
		return true, fmt.Errorf("it belongs to archive %.8s", slot.Archive)
	}
	return true, nil
}

func (c *checker) verifySnapshotObject(name string, data []byte) (bool, error) {
	id, marked, ok := parseSnapshotName(name)
	if !ok {
		return false, nil
	}
	if marked {
		return true, c.verifyMark(id, data)
	}
	if chunk.Sum(data) != id {
		return true, errors.New("its content does not match its name")
	}
	plain, _, err := c.a.Keys().DecodeSnapshot(data)
	if err == nil {
		_, err = snapshot.DecodeSnapshot(plain)
	}
	return true, err
}

func parseSnapshotName(name string) (id chunk.ID, marked, ok bool) {
	base, marked := strings.CutSuffix(strings.TrimPrefix(name, "snapshots/"), ".ok")
	id, err := chunk.ParseID(base)
	return id, marked, err == nil
}

// verifyMark also looks at the reserved bytes (docs/format.md §9), which readers do not and the signature does not cover.
func (c *checker) verifyMark(id chunk.ID, data []byte) error {
	got, err := c.a.Keys().DecodeMark(data)
	if err != nil {
		return err
	}
	if got != id {
		return errors.New("it marks another snapshot")
	}
	if zero := make([]byte, len(data)); !bytes.Equal(data[10:16], zero[10:16]) || !bytes.Equal(data[224:], zero[224:]) {
		return errors.New("its reserved bytes are not zero")
	}
	return nil
}

// marks looks for snapshots without their mark, and for marks without their snapshot. A snapshot loses its mark
// before it is removed itself, so the latter is damage; the former is what an interrupted backup leaves.
func (c *checker) marks(ctx context.Context, names map[string]uint32) error {
	for name := range names {
		id, marked, _ := parseSnapshotName(name)
		other := "snapshots/" + id.String()
		if !marked {
			other += ".ok"
		}
		if _, ok := names[other]; ok {
			continue
		}
		if !marked {
			c.note(other, "is not there: the snapshot is incomplete, left by an interrupted backup, unless its mark was lost")
			continue
		}
		// The listing is not of one moment.
		if _, err := c.a.Set().Stat(ctx, name); errors.Is(err, remote.ErrNotExist) {
			continue
		}
		c.found(Damage{Object: other, Problem: "the snapshot is gone, only the mark that it was complete is left", Lost: true})
	}
	return ctx.Err()
}
