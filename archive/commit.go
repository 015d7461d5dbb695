package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/snapshot"
)

// ErrStoreAnew means that something which the snapshot needs was condemned meanwhile and is gone, and that only its source has it: walk again
// with the same Writer, which knows by now what is lacking, and commit again. What was published stays unmarked, and is removed after that.
var ErrStoreAnew = remote.WithHint(errors.New("some of what the snapshot needs was removed by a prune while the backup ran"), "run the backup again")

// maxRounds bounds how often a commit stores anew what a collector condemned. Each round costs a whole run of a collector between two
// requests of ours, so the second is rare.
const maxRounds = 16

// Commit ends a session with a snapshot: everything that it names is stored and published first, and when the snapshot is there, it is
// looked at whether any of that was condemned meanwhile (see Publication). Only when Commit returns without an error may success
// be reported. It fills in s.ID and s.Degraded, the packs of this session that have fewer than n shards.
//
// After ErrStoreAnew the session goes on; after every other error it is over, as far as snapshots go.
func (w *Writer) Commit(ctx context.Context, s *snapshot.Snapshot) (chunk.ID, error) {
	c := &commit{w: w, s: s}
	p := Publication{at: firstName} // NewWriter has read records and index, Save has stored
	for !p.Done() {
		if err := p.Step(ctx, c); err != nil {
			return c.id, err
		}
	}
	w.end()
	w.finished(ctx, c.s.Series, c.id)
	if err := w.journal.close(true); err != nil { // it is empty: the next session removes it
		w.a.opts.Notice(fmt.Sprintf("journal of this session: %v", err))
	}
	return c.id, nil
}

// commit is the Publisher of a writing session.
type commit struct {
	w       *Writer
	s       *snapshot.Snapshot
	id      chunk.ID
	lacking []pack.ID
	rounds  int
}

// Records is part of Index: an index must not be read without the records before it.
func (c *commit) Records(context.Context) (bool, error) { return true, nil }

// Index reads the index only when there are new records: what the session relied on was not condemned when it began, and no record is
// ever taken back. So a backup beside which nobody collects costs one listing.
func (c *commit) Index(ctx context.Context) (bool, error) {
	a := c.w.a
	if err := a.readRecords(ctx); err != nil {
		return false, err
	}
	if err := a.AllRecords(); err != nil {
		return false, err
	}
	if a.recordGeneration() == c.w.generation {
		return true, nil
	}
	return true, a.Refresh(ctx)
}

func (c *commit) Store(ctx context.Context) (bool, error) {
	return true, c.w.storeAnew(ctx, c.lacking)
}

func (c *commit) Name(ctx context.Context) (bool, error) { return true, c.w.Flush(ctx) }

// Publish puts the snapshot on every reachable member.
func (c *commit) Publish(ctx context.Context) (bool, error) {
	w := c.w
	c.s.Degraded = w.degraded()
	plain, err := c.s.Encode()
	if err != nil {
		return false, err
	}
	object, err := w.a.keys.EncodeSnapshot(w.session, plain)
	if err != nil {
		return false, err
	}
	c.id = chunk.Sum(object)
	w.note(c.s.Series, c.id) // before it is there: so it is found after a crash at any moment
	return true, w.a.putSnapshot(ctx, c.id, object, c.s)
}

// Lacks says whether a pack that the session relied on, or made, is condemned.
func (c *commit) Lacks(ctx context.Context) (lacks bool, err error) {
	a := c.w.a
	if a.recordGeneration() == c.w.generation {
		return false, nil
	}
	if c.w.tookOver() {
		return false, ErrStoreAnew
	}
	if a.Forgotten(c.id) { // by somebody who took it for a dead session's
		return false, fmt.Errorf("snapshot %s was forgotten before it was done: %w", c.id.Short(), ErrStoreAnew)
	}
	idx, err := a.Index(ctx)
	if err != nil {
		return false, err
	}
	if c.lacking, err = condemnedIn(idx, c.w.reliance()); err != nil || len(c.lacking) == 0 {
		return false, err
	}
	if c.rounds++; c.rounds > maxRounds {
		return false, fmt.Errorf("collectors condemned what snapshot %s needs %d times: %w", c.id.Short(), maxRounds, ErrStoreAnew)
	}
	return true, nil
}

// Mark publishes the mark.
func (c *commit) Mark(ctx context.Context) (bool, error) {
	return true, c.w.a.markSnapshot(ctx, c.id, c.s)
}

// degraded lists the packs of this session that lack shards.
func (w *Writer) degraded() (list [][32]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.short {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// reliance returns the packs that the session relies on. No Save is running.
func (w *Writer) reliance() map[pack.ID]chunk.Type {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.relies
}

// storeAnew copies, out of condemned packs, all blobs that have no live copy, sealed as they are. Which of them the snapshot needs, nobody
// remembers: a set of ids would take as much memory as the archive has blobs, and such packs are few. A pack that cannot be read any more
// makes it ErrStoreAnew: the session then forgets what it relied on, and a second walk finds out again.
func (w *Writer) storeAnew(ctx context.Context, packs []pack.ID) error {
	stranded, err := w.follow(ctx, packs)
	if err != nil {
		return err
	}
	m := &Mover{w: w, open: map[chunk.Type][]*pack.Writer{}}
	gone := false
	for _, id := range stranded {
		kind := w.reliance()[id]
		err := w.copyLive(ctx, m, id, kind)
		var damage *PackDamage
		switch {
		case errors.As(err, &damage):
			gone = true
		case err != nil:
			return fmt.Errorf("copy what is needed out of condemned pack %s: %w", id.Short(), err)
		}
	}
	// Named at once, also what is copied in vain: a second walk finds it.
	if _, err := m.Publish(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone {
		w.relies = map[pack.ID]chunk.Type{}
		return ErrStoreAnew
	}
	for _, id := range packs {
		delete(w.relies, id)
	}
	return nil
}

// follow finds the condemned packs whose blobs all have live copies, and makes the session rely on those: whoever changes the layout, or
// merges small packs, has copied everything, and the packs need not be read, nor the source if they are gone. It returns the others.
func (w *Writer) follow(ctx context.Context, packs []pack.ID) (stranded []pack.ID, err error) {
	if w.a.emptied.Load() != w.emptied {
		return packs, nil // the index may not remember what it knew of them when this session asked
	}
	idx, err := w.a.Index(ctx)
	if err != nil {
		return nil, err
	}
	stranded, live, err := idx.Moved(packs)
	if err != nil || w.a.emptied.Load() != w.emptied {
		return packs, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, kind := range live {
		w.relies[id] = kind
	}
	return stranded, nil
}

// copyLive copies the blobs of a pack that have no live copy. Where there is one, the session relies on that from now on.
func (w *Writer) copyLive(ctx context.Context, m *Mover, id pack.ID, kind chunk.Type) error {
	shards, err := w.a.ReadPack(ctx, id, kind)
	if err != nil {
		return err
	}
	if err := w.a.verifySignature(shards.Header); err != nil {
		return err
	}
	for n := range shards.Header.Geometry.K {
		column, err := shards.Directory(w.a.keys, n)
		if err != nil {
			return err
		}
		live := make([]pack.ID, len(column.Entries))
		if err := w.a.live(ctx, kind, entryIDs(*column), live); err != nil {
			return err
		}
		for i, e := range column.Entries {
			if live[i] != (pack.ID{}) {
				w.mu.Lock()
				w.relies[live[i]] = kind
				w.mu.Unlock()
				continue
			}
			if err := m.Add(ctx, column, e, shards.Payload(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// putSnapshot puts a snapshot on every reachable member.
func (a *Archive) putSnapshot(ctx context.Context, id chunk.ID, object []byte, s *snapshot.Snapshot) error {
	name := snapshotPrefix + id.String()
	stored, err := a.set.PutAll(ctx, name, object)
	if err != nil {
		return fmt.Errorf("publish snapshot: %w", err)
	}
	s.ID, s.Signer, s.Incomplete = id, a.keys.Signer(), true
	a.listings.missed(name, stored)
	return nil
}

// markSnapshot puts the mark beside it.
func (a *Archive) markSnapshot(ctx context.Context, id chunk.ID, s *snapshot.Snapshot) error {
	name := snapshotPrefix + id.String() + markSuffix
	marked, err := a.set.PutAll(ctx, name, a.keys.EncodeMark(id))
	if err != nil {
		return fmt.Errorf("mark snapshot %s: %w", id.Short(), err)
	}
	s.Incomplete = false
	a.listings.missed(name, marked)
	if n := marked.Count(); n < a.geom.N() {
		a.opts.Notice(fmt.Sprintf("snapshot %s is on %d of %d members", id.Short(), n, a.geom.N()))
	}
	return nil
}
