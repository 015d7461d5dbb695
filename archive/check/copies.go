package check

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/remote"
)

// copies checks what every member of the current layout must have a copy of: card, key slots, snapshots and their marks.
// Each copy is read from each member.
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
	for _, prefix := range archive.MirroredPrefixes() {
		names, err := c.copiesBelow(ctx, prefix)
		if err != nil {
			return err
		}
		if err := c.marks(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// copyReads objects are read at once: mostly they are small and wait for the members.
const copyReads = 4

// copiesBelow checks all copies of the objects below a prefix and returns their names.
func (c *checker) copiesBelow(ctx context.Context, prefix string) (map[string]struct{}, error) {
	names, unlisted, err := c.a.MirroredNames(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for label, err := range unlisted {
		c.cannotList(prefix, label, err)
	}
	members := c.a.Set().Members()
	skip := func(i int) bool { return unlisted[members[i].Label] != nil }
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(copyReads)
	var mu sync.Mutex
	for name := range names {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			gone, err := c.copiesOf(groupCtx, name, skip)
			if gone {
				mu.Lock()
				defer mu.Unlock()
				delete(names, name)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return names, ctx.Err()
}

// copiesOf reads each member's copy of one object. It is gone if no member has it any more: it was removed meanwhile.
func (c *checker) copiesOf(ctx context.Context, name string, skip func(int) bool) (gone bool, err error) {
	copies, err := c.a.ReadCopies(ctx, name, skip)
	if err != nil {
		return false, err
	}
	var damages []Damage
	gone = true
	for i, err := range copies.Errs {
		d := Damage{Object: name, Member: copies.Members[i].Label, Lost: copies.Good == nil}
		switch {
		case copies.Away(i):
			continue
		case errors.Is(err, remote.ErrNotExist):
			d.Problem = "the copy is missing"
		case err != nil:
			d.Problem = err.Error()
			gone = false
		default:
			gone = false
			continue
		}
		damages = append(damages, d)
	}
	if gone {
		return true, nil
	}
	for _, d := range damages {
		c.found(d)
	}
	return false, nil
}

// cannotList tells of a member that could not be listed, once.
func (c *checker) cannotList(prefix, member string, err error) {
	if c.blindTo[member] {
		return
	}
	c.blindTo[member] = true
	c.found(Damage{Object: prefix, Member: member, Problem: fmt.Sprintf("cannot be listed, so nothing on this member was checked: %v", err)})
}

// marks looks for snapshots without their mark, and for marks without their snapshot. A snapshot loses its mark
// before it is removed itself, so the latter is damage; the former is what an interrupted backup leaves.
func (c *checker) marks(ctx context.Context, names map[string]struct{}) error {
	for name := range names {
		id, marked, ok := archive.ParseSnapshotName(name)
		if !ok {
			continue // a key slot
		}
		other := "snapshots/" + id.String()
		if !marked {
			other += ".ok"
		}
		if _, ok := names[other]; ok {
			if !marked && c.keyless {
				c.report.Snapshots++
			}
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
