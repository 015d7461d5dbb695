package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/chunk"
	"cairn/pack"
)

// acquire takes a token for one upload; release gives it back.
func (w *Writer) acquire(ctx context.Context) error {
	select {
	case w.uploads <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Writer) release() { <-w.uploads }

// wait waits until no upload is under way: until all tokens are to be had.
func (w *Writer) wait(ctx context.Context) error {
	n := 0
	defer func() {
		for range n {
			w.release()
		}
	}()
	for ; n < cap(w.uploads); n++ {
		if err := w.acquire(ctx); err != nil {
			return err
		}
	}
	return nil
}

// upload stores a pack in the background, with a token that it gives back. Its caller does not wait for it, Flush does.
func (w *Writer) upload(p *pack.Writer) {
	defer w.release()
	if err := w.store(w.life, p); err != nil {
		w.fail(err)
	}
}

// store seals a pack, puts its shards on the members, and notes it for the next segment.
func (w *Writer) store(ctx context.Context, p *pack.Writer) error {
	// Noted before it is stored: the next session looks whether it came to that. The other way round, a pack that was stored
	// the moment before a kill would be uploaded again.
	columns, err := w.put(ctx, p, w.journal.append)
	if err != nil {
		return err
	}
	w.mu.Lock()
	for _, c := range columns {
		w.ready = append(w.ready, c)
		w.blobs += len(c.Entries)
	}
	due := w.blobs >= w.limits.publishBlobs || time.Since(w.lastPub) > w.limits.publishEvery
	w.mu.Unlock()
	if due {
		return w.publish(ctx)
	}
	return nil
}

// put seals and stores one pack of any kind; announce, if any, is told what it will hold.
func (w *Writer) put(ctx context.Context, p *pack.Writer, announce func([]pack.Column)) ([]pack.Column, error) {
	sealed, err := p.Seal()
	if err != nil {
		return nil, fmt.Errorf("seal pack: %w", err)
	}
	defer sealed.Release()
	if announce != nil {
		announce(sealed.Columns)
	}
	w.show(ctx)
	length := int64(len(sealed.Shards[0])) // all shards are equally long
	result, err := w.a.set.PutShards(ctx, object(sealed.ID, sealed.Kind, w.a.geom, sealed.Columns[0].L), sealed.Shards)
	if err != nil {
		return nil, fmt.Errorf("store pack %s: %w", sealed.ID.Short(), err)
	}
	w.mu.Lock()
	if sealed.Kind != chunk.Index {
		w.relies[sealed.ID] = sealed.Kind
	}
	w.stats.Packs++
	w.stats.BytesStored += length * int64(result.Count())
	w.mu.Unlock()
	for i, ok := range result.Acked {
		if !ok {
			w.lacks(sealed.ID, sealed.Kind, pack.ShardOn(sealed.ID, i, w.a.geom.N()))
		}
	}
	return sealed.Columns, nil
}

// lacks notes a shard that its member did not take, for the snapshot and for the next run.
func (w *Writer) lacks(id pack.ID, kind chunk.Type, shard int) {
	w.a.repairs.add(suspect(id, kind, shard), NotThere)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.short[id] = struct{}{}
}

// Flush closes the open packs, waits until all are stored, and publishes the segments that name them. When ctx ends before,
// what was not begun stays open: Suspend can still store it.
func (w *Writer) Flush(ctx context.Context) error {
	if err := w.failure(); err != nil {
		return err
	}
	for {
		if err := w.acquire(ctx); err != nil {
			return err
		}
		p := w.takeTail()
		if p == nil {
			w.release()
			break
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

// takeTail takes out one open pack that holds something. Small tails become one pack.
func (w *Writer) takeTail() *pack.Writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t, packs := range w.open {
		for len(packs) > 0 {
			p := packs[0]
			packs = packs[1:]
			w.open[t] = packs
			for _, o := range packs {
				if filled(o) > 0 {
					p.Absorb(o) // or not: then it comes next
				}
			}
			if filled(p) > 0 {
				p.Level()
				return p
			}
		}
	}
	return nil
}

// Suspend ends a session without a snapshot: what is sealed is stored and published, so that the next run finds it.
// It is for interrupted runs and gives up when ctx ends; call it with a context of its own. After it no goroutine of the
// session is left. After Commit it does nothing.
func (w *Writer) Suspend(ctx context.Context) error {
	if errors.Is(w.failure(), errEnded) {
		return nil
	}
	stop := context.AfterFunc(ctx, w.cancel) // uploads under way are given up then, too
	defer stop()
	late := context.WithoutCancel(ctx)
	err := w.wait(late)
	w.mu.Lock()
	w.failed = nil // what failed does not keep the rest from being published
	w.mu.Unlock()
	if flushErr := w.Flush(ctx); flushErr != nil {
		err = errors.Join(err, flushErr, w.wait(late), w.publish(ctx))
	}
	w.end()
	w.closeNote(false)
	return errors.Join(err, w.journal.close(err == nil))
}

// end lets nothing more be saved.
func (w *Writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = errEnded
	w.cancel()
}
