package archive

import (
	"context"

	"cairn/chunk"
)

// TakeOver says whether the session may take over whatever a complete snapshot of this archive holds, without asking for each blob (Known). It is
// for who walks only what differs from such a snapshot: a copy of the next one, or the same one without some files.
//
// That a snapshot is there does not by itself protect what it holds for another one: a collector's listing, which is not of one moment, may miss the
// new one, which was published behind it, and the old one, which was forgotten before it came there. It does if no collector is between its
// condemnation and its second listing, and none comes there before the new snapshot is published. The first is so when no pack that is
// condemned is named by a segment, because a collector takes its packs out of the index after its second listing only; the second is looked at
// by Commit, which gives ErrStoreAnew when there is any new gc record: then everything is to be asked for.
func (w *Writer) TakeOver(ctx context.Context, snapshot chunk.ID) (bool, error) {
	a := w.a
	idx, err := a.Index(ctx)
	if err != nil {
		return false, err
	}
	waits, err := idx.Waits()
	if err != nil || waits || a.Forgotten(snapshot) || a.recordGeneration() != w.generation {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takesOver = true
	return true, w.failed
}

// tookOver says whether something was taken over without being asked for, once: the next walk asks.
func (w *Writer) tookOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.takesOver
	w.takesOver = false
	return was
}
