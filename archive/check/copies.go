package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
)

// copies checks what every member of the current layout must have a copy of: card, key slots, gc records, snapshots and their
// marks. Each copy is read from each member.
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
	forgotten := map[chunk.ID]bool{}
	var removed []string
	for name := range names {
		if groupCtx.Err() != nil {
			break
		}
		if c.unwanted(name, forgotten) {
			delete(names, name)
			continue
		}
		group.Go(func() error {
			damages, gone, err := c.copiesOf(groupCtx, name, skip)
			c.mu.Lock()
			defer c.mu.Unlock()
			if gone {
				removed = append(removed, name)
			} else if len(damages) > 0 {
				c.doubts[name] = true
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, name := range removed {
		delete(names, name)
	}
	c.looked = time.Now()
	c.report.Forgotten += len(forgotten)
	return names, ctx.Err()
}

// unwanted says whether a mirrored object is garbage, and notes the snapshots that are: those that were forgotten, and records
// that others replace. They are deleted member by member, or come back with one that was away.
func (c *checker) unwanted(name string, forgotten map[chunk.ID]bool) bool {
	if id, ok := archive.ParseRecordName(name); ok {
		return c.records.folded[id]
	}
	id, _, ok := archive.ParseSnapshotName(name)
	if !ok || !c.a.Forgotten(id) {
		return false
	}
	forgotten[id] = true
	return true
}

// again looks once more, after all else, at the objects of which a copy was missing or bad: they may have been on their way, or just
// being removed. What is removed for good is in a record, which is there before anything is missing; the rest is told of.
func (c *checker) again(ctx context.Context) error {
	if len(c.doubts) == 0 {
		return ctx.Err()
	}
	if err := c.wait(ctx); err != nil {
		return err
	}
	damages := map[string][]Damage{}
	for name := range c.doubts {
		list, _, err := c.copiesOf(ctx, name, func(i int) bool { return c.blindTo[c.a.Set().Members()[i].Label] })
		if err != nil {
			return err
		}
		if len(list) > 0 {
			damages[name] = list
		}
	}
	if len(damages) == 0 {
		return ctx.Err()
	}
	if err := c.readRecords(ctx); err != nil {
		return err
	}
	forgotten := map[chunk.ID]bool{}
	for name, list := range damages {
		if c.unwanted(name, forgotten) {
			continue
		}
		for _, d := range list {
			c.found(d)
		}
	}
	c.report.Forgotten += len(forgotten)
	return ctx.Err()
}

// copiesOf reads each member's copy of one object. It is gone if no member has it any more: it was removed meanwhile.
func (c *checker) copiesOf(ctx context.Context, name string, skip func(int) bool) (damages []Damage, gone bool, err error) {
	copies, err := c.a.ReadCopies(ctx, name, skip)
	if err != nil {
		return nil, false, err
	}
	_, record := archive.ParseRecordName(name)
	gone = true
	for i, err := range copies.Errs {
		// Of a record that is bad everywhere nothing is lost: what it condemned is garbage that the next prune finds again.
		d := Damage{Object: name, Member: copies.Members[i].Label, Lost: copies.Good == nil && !record}
		switch {
		case copies.Away(i):
			continue
		case errors.Is(err, remote.ErrNotExist):
			d.Problem, d.Lacking = "the copy is missing", copies.Good != nil
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
		return nil, true, nil
	}
	return damages, false, nil
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
// before it is removed itself, so the latter is damage; the former is what an interrupted backup leaves, or one that is at work.
func (c *checker) marks(ctx context.Context, names map[string]struct{}) error {
	for name := range names {
		id, mark, ok := archive.ParseSnapshotName(name)
		if !ok {
			continue // a key slot or a record
		}
		_, snapshot := names["snapshots/"+id.String()]
		_, marked := names["snapshots/"+id.String()+".ok"]
		switch {
		case !mark:
			if c.keyless {
				c.report.Snapshots++
			}
			if !marked {
				c.report.Incomplete++
				c.note("snapshots/"+id.String()+".ok", "is not there: the snapshot is incomplete, left by an interrupted backup or made by one at work, unless its mark was lost")
			}
		case !snapshot:
			if err := c.lonely(ctx, name, id); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// lonely tells of a mark without a snapshot, if that is so still: the listing is not of one moment.
func (c *checker) lonely(ctx context.Context, name string, id chunk.ID) error {
	if _, err := c.a.Set().Stat(ctx, name); errors.Is(err, remote.ErrNotExist) {
		return nil
	}
	object := "snapshots/" + id.String()
	if _, err := c.a.Set().Stat(ctx, object); !errors.Is(err, remote.ErrNotExist) {
		return ctx.Err()
	}
	if err := c.readRecords(ctx); err != nil || c.a.Forgotten(id) {
		return err
	}
	c.found(Damage{Object: object, Problem: "the snapshot is gone, only the mark that it was complete is left", Lost: true})
	return nil
}
