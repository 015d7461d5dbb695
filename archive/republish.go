package archive

import (
	"context"
	"errors"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/snapshot"
)

// Replace publishes a changed copy of a snapshot (other tags, say) and then forgets the old one. It needs a key that can
// read. The copy remembers which snapshot it replaces, and stays incomplete if that was.
func (a *Archive) Replace(ctx context.Context, old, changed *snapshot.Snapshot) (chunk.ID, error) {
	changed.Original = old.ID
	if !old.Original.IsZero() {
		changed.Original = old.Original
	}
	id, err := a.republish(ctx, &republication{commit: commit{s: changed}, mark: !old.Incomplete, old: old.ID})
	if err != nil {
		return id, err
	}
	_, err = a.Forget(ctx, []chunk.ID{old.ID}, Record{Time: changed.End.Time(), Program: changed.Program})
	return id, err
}

// PublishSnapshot publishes and marks a snapshot that no writing session made: one that was found again. Everything that it names
// is in the archive already, or is lost. It needs a key that can read.
func (a *Archive) PublishSnapshot(ctx context.Context, s *snapshot.Snapshot) (chunk.ID, error) {
	return a.republish(ctx, &republication{commit: commit{s: s}, mark: true, news: true})
}

// republish publishes a snapshot of what is in the archive, by the same protocol as a backup. The old snapshot alone does not protect
// what both need: a collector's listing, which is not of one moment, may miss the new one, which was published behind it, and
// the old one, which was removed before it came there; and somebody else may forget the old one at any moment.
func (a *Archive) republish(ctx context.Context, c *republication) (chunk.ID, error) {
	if err := a.needReadKey(); err != nil {
		return chunk.ID{}, err
	}
	if _, err := a.Index(ctx); err != nil {
		return chunk.ID{}, err
	}
	w, err := a.newWriter(ctx)
	if err != nil {
		return chunk.ID{}, err
	}
	c.w = w
	var p Publication
	for err == nil && !p.Done() {
		err = p.Step(ctx, c)
	}
	w.end()
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer stop()
	if err != nil {
		w.closeNote(false)
		return c.id, err
	}
	w.finished(late, c.s.Series, c.id)
	return c.id, nil
}

// republication is the Publisher of a snapshot whose blobs all are in the archive.
type republication struct {
	commit
	mark   bool
	old    chunk.ID // the snapshot that it replaces, if any
	before bool     // the index was read before publishing
	news   bool     // there is a reason to look where the blobs are
	walked bool     // that was done
	lost   bool     // and some were nowhere
}

// errForgottenMeanwhile is that of a change to what is not there any more.
var errForgottenMeanwhile = errors.New("the snapshot was forgotten, or changed by somebody else, meanwhile")

// Index reads the index always: what the snapshot relies on is not known yet. What is condemned after this, new records tell. What was condemned
// before is known now, and so it matters whether any of that is still named, and whether a member could not be asked.
func (c *republication) Index(ctx context.Context) (bool, error) {
	a := c.w.a
	if err := errors.Join(a.Refresh(ctx), a.AllRecords()); err != nil {
		return false, err
	}
	c.news = c.news || !a.heardAll()
	if c.before {
		c.news = c.news || a.syncedGeneration() != c.w.generation
		return true, nil
	}
	idx, err := a.Index(ctx)
	if err != nil {
		return false, err
	}
	waits, err := idx.Waits()
	c.before, c.news, c.w.generation = true, c.news || waits, a.syncedGeneration()
	return true, err
}

// Lacks looks for blobs that are in condemned packs only, when there is a reason. What it finds in the snapshot's trees it relies on
// from then on, and the records are read once more: like a backup's, its packs must be known before the records in which they are not.
func (c *republication) Lacks(ctx context.Context) (bool, error) {
	a := c.w.a
	if a.Forgotten(c.old) {
		return false, errForgottenMeanwhile
	}
	if !c.news {
		return false, nil
	}
	idx, err := a.Index(ctx)
	if err != nil {
		return false, err
	}
	fresh := !c.walked
	if fresh {
		if err := c.walk(ctx, idx); err != nil {
			return false, err
		}
		c.walked = true
	} else if c.lost && !a.heardAll() && !a.opts.Salvage { // who salvages knows
		return false, remote.WithHint(errors.New("some of what the snapshot needs was not found"), "run the command again when all members are reachable")
	}
	if c.lacking, err = condemnedIn(idx, c.w.reliance()); err != nil || len(c.lacking) == 0 {
		return fresh, err
	}
	if c.rounds++; c.rounds > maxRounds {
		return false, ErrStoreAnew
	}
	return true, nil
}

func (c *republication) Mark(ctx context.Context) (bool, error) {
	if !c.mark {
		return true, nil
	}
	return c.commit.Mark(ctx)
}

// walk finds all packs that the snapshot's blobs are in. Memory: 48 bytes for each tree.
func (c *republication) walk(ctx context.Context, idx Index) error {
	seen := map[chunk.ID]struct{}{}
	return c.w.a.refs(ctx, seen, c.s.Content, c.s.Depth, true, func(t chunk.Type, ids []chunk.ID) error {
		locs := make([]pack.Location, len(ids))
		if err := idx.Lookup(t, ids, locs); err != nil {
			return err
		}
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		for i := range locs {
			if locs[i].Found() {
				c.w.relies[locs[i].Pack] = t
			} else {
				c.lost = true // before, or the snapshot that is replaced is forgotten by now
			}
		}
		return nil
	})
}

// refs calls fn with all blobs below some content, of a directory or a file. Trees in seen are passed over, and those that are lost.
func (a *Archive) refs(ctx context.Context, seen map[chunk.ID]struct{}, content []chunk.ID, depth uint8, dir bool, fn func(chunk.Type, []chunk.ID) error) error {
	if len(content) == 0 {
		return nil
	}
	if !dir && depth == 0 {
		return fn(chunk.Data, content)
	}
	if err := fn(chunk.Tree, content); err != nil {
		return err
	}
	for _, id := range content {
		if _, ok := seen[id]; ok {
			continue
		}
		seen[id] = struct{}{}
		if err := a.refsOf(ctx, seen, id, depth, dir, fn); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) refsOf(ctx context.Context, seen map[chunk.ID]struct{}, id chunk.ID, depth uint8, dir bool, fn func(chunk.Type, []chunk.ID) error) error {
	plain, err := a.LoadTree(ctx, id)
	if err != nil {
		if a.Stops(ctx, err) {
			return err
		}
		return nil
	}
	if depth > 0 {
		ids, err := snapshot.DecodeList(plain)
		if err != nil {
			return nil // lost as well
		}
		return a.refs(ctx, seen, ids, depth-1, dir, fn)
	}
	nodes, err := snapshot.DecodePiece(plain)
	if err != nil {
		return nil
	}
	for i := range nodes {
		n := &nodes[i]
		if err := a.refs(ctx, seen, n.Content, n.Depth, n.Type == snapshot.Dir, fn); err != nil {
			return err
		}
	}
	return nil
}
