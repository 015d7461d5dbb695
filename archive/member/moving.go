package member

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// round moves some packs.
func (r *rewrite) round(ctx context.Context, batch []pack.ID) error {
	return r.session(ctx, func(ctx context.Context) error {
		t := &moving{rewrite: r, batch: batch, chosen: map[pack.ID]struct{}{}}
		for _, id := range batch {
			t.chosen[id] = struct{}{}
		}
		var l Relocation
		for !l.Done() {
			if err := l.Step(ctx, t); err != nil {
				if l.Condemned() {
					return interrupted(err)
				}
				return err
			}
		}
		return nil
	})
}

// interrupted completes an error in a round whose packs are condemned.
func interrupted(err error) error {
	if hint := remote.Hint(err); hint != "" {
		return err
	}
	return remote.WithHint(err, "nothing is lost: `cairn member layout --resume`, or `cairn prune`, finishes what was begun")
}

// moving is the Relocator of some packs. Its methods belong to one goroutine.
type moving struct {
	*rewrite
	batch  []pack.ID
	chosen map[pack.ID]struct{} // the same
	relies map[pack.ID]struct{} // packs that hold the blobs of the batch, for all that this round knows
	anew   bool                 // what was copied first was condemned
	rounds int
}

// maxRounds bounds how often blobs are copied once more. Each time a collector has condemned what this run had just copied.
const maxRounds = 16

// errOvertaken ends a round whose copies are condemned again and again.
var errOvertaken = remote.WithHint(fmt.Errorf("collectors condemned what was copied, %d times", maxRounds),
	"is something pruning with a very short --session-age? `cairn member layout --resume` goes on")

// Records is part of Index: Refresh reads the records first.
func (t *moving) Records(context.Context) (bool, error) { return true, nil }

// Index reads gc records and index.
func (t *moving) Index(ctx context.Context) (bool, error) { return true, t.a.Refresh(ctx) }

// Copy copies the blobs of all packs of the batch. What the index knows elsewhere is copied as well, because nobody has compared the two; but not
// out of a pack that is condemned already: whoever did that has copied what is needed, and the rest is garbage.
func (t *moving) Copy(ctx context.Context) (bool, error) {
	if t.relies = map[pack.ID]struct{}{}; !t.anew {
		if err := t.rec.copying(t.mover.Session(), t.batch, t.copied != nil); err != nil {
			t.o.Notice(err.Error())
		}
		for _, id := range t.copiedTo {
			t.relies[id] = struct{}{}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	ch := make(chan readAhead)
	group.Go(func() error {
		defer close(ch)
		for _, id := range t.batch {
			p := t.packs[id]
			if _, left := t.report.Left[id]; left || p.bare {
				continue
			}
			shards, err := t.a.ReadPackAt(ctx, p.at, id, p.kind)
			select {
			case ch <- readAhead{id, shards, err}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() error {
		for ahead := range ch { // one pack is read while the one before is copied
			if err := t.copyPack(ctx, ahead); err != nil {
				return err
			}
		}
		return nil
	})
	return true, group.Wait()
}

// readAhead is a pack on its way from the members to the Mover.
type readAhead struct {
	id     pack.ID
	shards *archive.PackShards
	err    error
}

// copyPack copies the blobs of a pack. What is wrong with the pack itself leaves it where it is, unless it is condemned and gone.
func (t *moving) copyPack(ctx context.Context, p readAhead) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	columns, err := t.directories(p)
	if err != nil {
		return t.unreadable(ctx, p.id, err)
	}
	idx, err := t.a.Index(ctx)
	if err != nil {
		return err
	}
	condemned, err := idx.Condemned(p.id)
	if err != nil {
		return err
	}
	for i, c := range columns {
		live := make([]pack.ID, len(c.Entries)) // zero: to be copied
		if condemned {
			if err := t.live(idx, c, live); err != nil {
				return err
			}
		}
		if err := t.copyColumn(ctx, c, live, p.shards.Payload(i)); err != nil {
			return err
		}
	}
	if !t.anew {
		t.o.Progress.Packs.Add(1)
		t.o.Progress.Bytes.Add(uint64(p.shards.Header.L) * uint64(p.shards.Header.Geometry.K))
	}
	return nil
}

// live finds the packs outside of this round that hold the blobs of a column and may be relied on.
func (t *moving) live(idx archive.Index, c *pack.Column, live []pack.ID) error {
	ids := make([]chunk.ID, len(c.Entries))
	for i, e := range c.Entries {
		ids[i] = e.ID
	}
	if err := idx.Live(c.Kind, ids, live); err != nil {
		return err
	}
	for i, id := range live {
		_, left := t.report.Left[id]
		if _, chosen := t.chosen[id]; left || chosen { // damaged, or about to be condemned
			live[i] = pack.ID{}
		}
	}
	return nil
}

func (t *moving) copyColumn(ctx context.Context, c *pack.Column, live []pack.ID, payload []byte) error {
	for i, e := range c.Entries {
		if live[i] != (pack.ID{}) {
			t.relies[live[i]] = struct{}{}
			continue
		}
		if _, done := t.copied[keyOf(c, e)]; done && !t.anew {
			continue
		}
		if err := t.mover.Add(ctx, c, e, payload); err != nil {
			return err
		}
		t.report.Blobs++
		t.report.Bytes += uint64(e.Stored)
	}
	return nil
}

// unreadable decides about a pack that could not be read. A collector that found it condemned, by its own record or ours, may have deleted it: before
// that it looked whether what is needed has another copy.
func (t *moving) unreadable(ctx context.Context, id pack.ID, why error) error {
	if archive.Unfinished(why) {
		if err := t.a.Refresh(ctx); err != nil {
			return err
		}
		if condemned, err := t.a.Condemned(ctx, id); condemned || err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.anew {
		return remote.WithHint(fmt.Errorf("a collector condemned copies of what is in pack %s, which cannot be read any more: %w", id.Short(), why),
			"nothing was removed; run `cairn repair`, then `cairn member layout --resume`")
	}
	t.report.Left[id] = why
	return nil
}

// directories opens all directories of a pack before any blob of it is copied.
func (r *rewrite) directories(p readAhead) ([]*pack.Column, error) {
	if p.err != nil {
		return nil, p.err
	}
	if err := p.shards.Header.VerifySignature(r.a.Keys()); err != nil {
		return nil, err
	}
	var columns []*pack.Column
	for c := range p.shards.Header.Geometry.K {
		column, err := p.shards.Directory(r.a.Keys(), c)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return columns, nil
}

// Name stores the copies on all their members and names them.
func (t *moving) Name(ctx context.Context) (bool, error) {
	short, err := t.mover.Publish(ctx)
	if err != nil {
		return false, err
	}
	if len(short) > 0 {
		return false, remote.WithHint(fmt.Errorf("members did not take all shards of %d new packs: the old ones are kept", len(short)),
			"see `cairn member list`; when all members answer again, run `cairn repair` and then `cairn member layout --resume`")
	}
	for _, id := range t.mover.Made() {
		t.relies[id] = struct{}{}
	}
	return true, nil
}

// Condemn puts the record on all members, also of what others have condemned: theirs may not be on all.
func (t *moving) Condemn(ctx context.Context) (bool, error) {
	r := &archive.Record{Time: time.Now(), Program: t.o.Program}
	for _, id := range t.batch {
		if _, left := t.report.Left[id]; !left {
			r.Packs = append(r.Packs, id)
		}
	}
	if len(r.Packs) == 0 {
		return true, nil
	}
	return true, t.a.PublishRecord(ctx, r, true)
}

// Lacks says whether a pack that this round relies on is condemned. Then all blobs are looked for anew: which of them were meant, nobody remembers.
func (t *moving) Lacks(ctx context.Context) (bool, error) {
	idx, err := t.a.Index(ctx)
	if err != nil {
		return false, err
	}
	for id := range t.relies {
		condemned, err := idx.Condemned(id)
		if err != nil {
			return false, err
		}
		if !condemned {
			continue
		}
		if t.rounds++; t.rounds > maxRounds {
			return false, errOvertaken
		}
		t.anew = true
		return true, nil
	}
	return false, nil
}

// Unname takes the packs out of the index.
func (t *moving) Unname(ctx context.Context) (bool, error) {
	for _, id := range t.batch {
		if _, left := t.report.Left[id]; !left {
			t.moved[id] = struct{}{}
		}
	}
	t.copied, t.copiedTo = nil, nil
	return true, t.unname(ctx)
}

// Delete removes the packs; nothing names them any more.
func (t *moving) Delete(ctx context.Context) (bool, error) { return true, t.removePacks(ctx, t.batch) }
