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
)

// copies checks what every member must have a copy of: card, key slots, snapshots and their marks. Each copy is
// read from each member.
func (c *checker) copies(ctx context.Context) error {
	members := c.a.Set().Members()
	for i, m := range members {
		if m.Store == nil {
			continue
		}
		if err := c.a.VerifyCard(ctx, i); err != nil {
			c.found(Damage{Object: "cairn.json", Member: m.Label, Problem: err.Error()})
		}
	}
	for _, kind := range []struct {
		prefix string
		verify func(name string, data []byte) error
	}{{"keys/", c.verifySlot}, {"snapshots/", c.verifySnapshotObject}} {
		if err := c.copiesBelow(ctx, kind.prefix, kind.verify); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) copiesBelow(ctx context.Context, prefix string, verify func(string, []byte) error) error {
	members := c.a.Set().Members()
	names := map[string]uint32{}
	errs, err := c.a.Set().ListEach(ctx, prefix, func(member int, info remote.Info) error {
		names[info.Name] |= 1 << member
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	for name, on := range names {
		good := 0
		var damages []Damage
		for i, m := range members {
			if m.Store == nil || (len(errs) > i && errs[i] != nil) {
				continue
			}
			problem := ""
			if on&(1<<i) == 0 {
				problem = "the copy is missing"
			} else if err := readCopy(ctx, m.Store, name, verify); err != nil {
				problem = err.Error()
			}
			if problem == "" {
				good++
				continue
			}
			damages = append(damages, Damage{Object: name, Member: m.Label, Problem: problem})
		}
		for _, d := range damages {
			d.Lost = good == 0
			c.found(d)
		}
	}
	return ctx.Err()
}

const maxCopy = 64 << 20

func readCopy(ctx context.Context, s remote.Store, name string, verify func(string, []byte) error) error {
	data, err := remote.ReadAll(ctx, s, name, maxCopy)
	if err != nil {
		return err
	}
	return verify(name, data)
}

func (c *checker) verifySlot(name string, data []byte) error {
	slot, err := seal.ParseSlot(data)
	if err != nil {
		return err
	}
	if name != "keys/"+slot.ID.String() {
		return errors.New("it has another id than its name")
	}
	if slot.Archive != c.a.ID() {
		return fmt.Errorf("it belongs to archive %.8s", slot.Archive)
	}
	if !bytes.Equal(slot.Encode(), data) {
		return errors.New("it is not in its canonical form")
	}
	return nil
}

func (c *checker) verifySnapshotObject(name string, data []byte) error {
	base, marked := strings.CutSuffix(strings.TrimPrefix(name, "snapshots/"), ".ok")
	id, err := chunk.ParseID(base)
	if err != nil {
		return nil // not ours
	}
	if marked {
		got, err := c.a.Keys().DecodeMark(data)
		if err == nil && got != id {
			err = errors.New("it marks another snapshot")
		}
		return err
	}
	if chunk.Sum(data) != id {
		return errors.New("its content does not match its name")
	}
	_, _, err = c.a.Keys().DecodeSnapshot(data)
	return err
}
