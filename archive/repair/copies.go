package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
)

// copyReads objects are compared at once: mostly they are small and wait for the members.
const copyReads = 4

// copies compares the copies of key slots, gc records, snapshots and marks on the members of the current layout, and writes
// those that are missing or rotten. What records forget or replace is left as it is: the next prune removes it.
func (r *run) copies(ctx context.Context) error {
	records, err := r.a.Records(ctx)
	if err != nil {
		return err
	}
	folded := map[chunk.ID]bool{}
	for _, one := range records {
		for _, id := range one.Folded {
			folded[id] = true
		}
	}
	for _, prefix := range archive.MirroredPrefixes() {
		names, unlisted, err := r.a.MirroredNames(ctx, prefix)
		if err != nil {
			return err
		}
		for label := range unlisted {
			r.away(label)
		}
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(copyReads)
		for name := range names {
			if groupCtx.Err() != nil {
				break
			}
			if id, ok := archive.ParseRecordName(name); ok && folded[id] || r.forgotten(name) {
				continue
			}
			group.Go(func() error { return r.copiesOf(groupCtx, name) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// forgotten says whether a name is that of a snapshot that a record forgets, or of its mark.
func (r *run) forgotten(name string) bool {
	id, _, ok := archive.ParseSnapshotName(name)
	return ok && r.a.Forgotten(id)
}

// copiesOf compares and heals the copies of one object.
func (r *run) copiesOf(ctx context.Context, name string) error {
	c, err := r.a.ReadCopies(ctx, name, nil)
	if err != nil {
		return err
	}
	r.count(func(p *Report) { p.BytesRead += uint64(c.Sound * len(c.Good)) })
	if on, missing := spread(c); missing > 0 && strings.HasPrefix(name, "keys/") && 2*on < len(c.Members) {
		// It can open the archive all the same, from where it is.
		r.found(Finding{Object: name, Outcome: Left, Problem: fmt.Sprintf("this key slot is on %d of %d members: removed while they were away, or added while the others were; `cairn key remove` removes it for good",
			on, len(c.Members))})
		return nil
	}
	if id, _, ok := archive.ParseSnapshotName(name); ok && c.Sound < len(c.Members) {
		if forgotten, err := r.a.ForgottenLately(ctx, id); err != nil || forgotten { // that is why a copy is missing
			return err
		}
	}
	var written []int
	gone := true
	for i, wrong := range c.Errs {
		missing := errors.Is(wrong, remote.ErrNotExist)
		gone = gone && (missing || c.Away(i))
		if wrong == nil || c.Away(i) || c.Good == nil && missing {
			continue
		}
		f := Finding{Object: name, Member: c.Members[i].Label, Problem: wrong.Error()}
		if missing {
			f.Problem = "the copy is missing"
		}
		switch {
		case c.Good == nil:
			f.Outcome, f.Err = Left, errors.New("no copy is good")
		case r.o.DryRun:
			f.Outcome = Planned
		default:
			if f.Err = write(ctx, c.Members[i].Store, name, c.Good); ctx.Err() != nil {
				return ctx.Err()
			}
			if f.Outcome = Left; f.Err == nil {
				f.Outcome = Healed
				written = append(written, i)
			}
		}
		if f.Err == nil {
			r.count(func(p *Report) { p.Copies++; p.BytesWritten += uint64(len(c.Good)) })
		}
		r.found(f)
	}
	if gone || len(written) == 0 {
		return nil
	}
	return r.removed(ctx, c, written)
}

// spread counts the members that have something under the name of an object, and those that are there and do not.
func spread(c *archive.Copies) (on, missing int) {
	for i, err := range c.Errs {
		switch {
		case errors.Is(err, remote.ErrNotExist):
			missing++
		case !c.Away(i):
			on++
		}
	}
	return on, missing
}

// write stores an object and reads it back.
func write(ctx context.Context, s remote.Store, name string, data []byte) error {
	if err := s.Put(ctx, name, data); err != nil {
		return err
	}
	got, err := remote.ReadAll(ctx, s, name, int64(len(data)))
	if err == nil && !bytes.Equal(got, data) {
		err = errors.New("it reads back differently")
	}
	return err
}

// removed takes back what was written if the object was removed meanwhile from every member that had it: `key remove` or
// `forget` ran beside this.
func (r *run) removed(ctx context.Context, c *archive.Copies, written []int) error {
	for i, err := range c.Errs {
		if err != nil {
			continue
		}
		if _, err := c.Members[i].Store.Stat(ctx, c.Name); !errors.Is(err, remote.ErrNotExist) {
			return ctx.Err()
		}
	}
	if c.Sound == 0 {
		return nil
	}
	for _, i := range written {
		if err := c.Members[i].Store.Delete(ctx, c.Name); err != nil {
			return fmt.Errorf("%s was removed from the other members meanwhile: %w", c.Name, err)
		}
	}
	return nil
}
