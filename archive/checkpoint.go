package archive

import (
	"context"
	"fmt"

	"cairn/chunk"
	"cairn/pack"
	"cairn/snapshot"
)

// Checkpoint publishes, without a mark, a snapshot of what a long session has stored so far, in place of its last one. What it names
// must have been saved before. Collectors keep it however long the session sleeps, and whoever looks finds the files that are
// finished. It may be called while others save; only one at a time, and not beside Commit.
//
// An error ends nothing: the session goes on without the checkpoint.
func (w *Writer) Checkpoint(ctx context.Context, s *snapshot.Snapshot) error {
	if err := w.storeOpen(ctx); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	s.Checkpoint, s.Partial = true, true
	w.mu.Lock()
	before := append([]chunk.ID(nil), w.shown.mine...)
	w.mu.Unlock()
	c := &commit{w: w, s: s}
	if _, err := c.Publish(ctx); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if w.a.dropUnmarked(ctx, before) {
		w.mu.Lock()
		w.shown.mine = w.shown.mine[len(before):]
		w.mu.Unlock()
		w.note(s.Series)
	}
	return nil
}

// storeOpen stores and names all that was saved before it was called, while others go on saving.
func (w *Writer) storeOpen(ctx context.Context) error {
	w.mu.Lock()
	if err := w.failed; err != nil {
		w.mu.Unlock()
		return err
	}
	var packs []*pack.Writer
	for t, open := range w.open {
		for _, p := range open {
			if filled(p) > 0 {
				p.Level()
				packs = append(packs, p)
			}
		}
		delete(w.open, t)
	}
	w.mu.Unlock()
	for i, p := range packs {
		if err := w.acquire(ctx); err != nil {
			w.mu.Lock()
			for _, p := range packs[i:] { // a commit or Suspend can still store them
				t := p.Kind()
				w.open[t] = append(w.open[t], p)
			}
			w.mu.Unlock()
			return err
		}
		go w.upload(p)
	}
	if err := w.wait(ctx); err != nil {
		return err
	}
	if err := w.failure(); err != nil {
		return err
	}
	return w.publish(ctx)
}
