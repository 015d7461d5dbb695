package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

const (
	// openPacks is how many data packs are filled at once: a blob goes to a random column of a random one, so that
	// stored lengths do not tell chunk lengths apart (DESIGN §3, ENGINE §7).
	openPacks = 2
	// maxUploads bounds the packs on their way. With k=1: 2 open data packs + 1 tree pack + 2 uploads of 16 MiB each
	// make 80 MiB at the most.
	maxUploads = 2
	// A segment is published after so many blobs or so much time: what an interrupted first backup can lose when its
	// journal is lost too. 65,536 entries are 2.7 MB of segment and about 4 MB of pending set.
	publishBlobs = 1 << 16
	publishEvery = 2 * time.Minute
)

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// Writer is one writing session. Save may be called concurrently; Commit or Suspend ends the session.
type Writer struct {
	a       *Archive
	idx     Index
	session *seal.Session
	journal *journal

	mu      sync.Mutex
	open    map[chunk.Type][]*pack.Writer
	pending map[blobKey]struct{} // blobs of this session that no published segment names yet
	ready   []pack.Column        // of packs that are stored but in no segment yet
	blobs   int                  // in ready
	failed  error                // the first upload that failed; nothing is stored after it
	short   map[pack.ID]struct{} // packs stored with fewer than n shards
	lastPub time.Time
	stats   WriterStats

	publishing sync.Mutex
	slots      chan struct{}
	uploads    sync.WaitGroup
}

// WriterStats counts what a session has put on the members.
type WriterStats struct {
	Packs       int
	BytesStored int64 // of all shards, with headers and directories
}

// NewWriter begins a writing session. It first publishes what an interrupted session left in the journal, so that
// what had reached the archive is found and not uploaded again.
func (a *Archive) NewWriter(ctx context.Context) (*Writer, error) {
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	session, err := a.keys.NewSession()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		a: a, idx: idx, session: session, lastPub: time.Now(),
		open:    map[chunk.Type][]*pack.Writer{},
		pending: map[blobKey]struct{}{}, short: map[pack.ID]struct{}{},
		slots: make(chan struct{}, maxUploads),
	}
	if err := w.resume(ctx); err != nil {
		return nil, err
	}
	if w.journal, err = newJournal(a.dir, session.ID()); err != nil {
		a.opts.Notice(fmt.Sprintf("no journal (%v): if this run is interrupted, up to %s of uploads are repeated", err, publishEvery))
	}
	return w, nil
}

// Save stores a blob unless the archive has it. When it returns without an error the blob is stored or on its way;
// Commit waits for it. plain may be used again at once.
func (w *Writer) Save(ctx context.Context, t chunk.Type, plain []byte) (Saved, error) {
	key := blobKey{t, chunk.Sum(plain)}
	saved := Saved{ID: key.id}
	known, err := w.claim(key)
	if known || err != nil {
		return saved, err
	}
	sealed, compression, err := w.session.Seal(nil, t, key.id, plain)
	if err != nil {
		return saved, err
	}
	b := seal.Sealed{ID: key.id, Type: t, Compression: compression, Plain: uint32(len(plain)), Session: w.session.ID()}
	if err := w.add(ctx, b, sealed); err != nil {
		return saved, err
	}
	saved.New, saved.Stored = true, len(sealed)
	return saved, nil
}

// claim says whether the blob is known, and if not, makes it this caller's to store.
func (w *Writer) claim(key blobKey) (known bool, err error) {
	w.mu.Lock()
	if w.failed != nil {
		defer w.mu.Unlock()
		return false, w.failed
	}
	if _, ok := w.pending[key]; ok {
		w.mu.Unlock()
		return true, nil
	}
	w.pending[key] = struct{}{}
	w.mu.Unlock()
	var has [1]bool
	err = w.idx.Has(key.t, []chunk.ID{key.id}, has[:])
	if has[0] || err != nil {
		w.mu.Lock()
		delete(w.pending, key)
		w.mu.Unlock()
	}
	return has[0], err
}

// Known says whether all these blobs are stored, or on their way in this session.
func (w *Writer) Known(t chunk.Type, ids []chunk.ID) (bool, error) {
	has := make([]bool, len(ids))
	if err := w.idx.Has(t, ids, has); err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, ok := range has {
		if _, on := w.pending[blobKey{t, ids[i]}]; !ok && !on {
			return false, nil
		}
	}
	return true, nil
}

// add puts a sealed blob into an open pack and hands packs that are full to the uploads.
func (w *Writer) add(ctx context.Context, b seal.Sealed, sealed []byte) error {
	for {
		full, err := w.place(b, sealed)
		if err != nil || full == nil {
			return err
		}
		if err := w.upload(ctx, full); err != nil {
			return err
		}
	}
}

// place adds the blob to an open pack with room. Without one it takes the fullest out and returns it: the caller
// uploads it and tries again. The lock is held for one copy of the blob, at most 8 MiB or about 1 ms.
func (w *Writer) place(b seal.Sealed, sealed []byte) (full *pack.Writer, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want := 1
	if b.Type == chunk.Data {
		want = openPacks
	}
	packs := w.open[b.Type]
	for len(packs) < want {
		packs = append(packs, pack.NewWriter(w.a.keys, w.session, b.Type, w.a.geom, 0))
	}
	w.open[b.Type] = packs
	var room []*pack.Writer
	fullest := 0
	for i, p := range packs {
		if p.Fits(len(sealed)) {
			room = append(room, p)
		}
		if filled(p) > filled(packs[fullest]) {
			fullest = i
		}
	}
	if len(room) == 0 {
		full = packs[fullest]
		w.open[b.Type] = append(packs[:fullest:fullest], packs[fullest+1:]...)
		return full, nil
	}
	_, err = pick(room).Add(b, sealed, nil)
	return nil, err
}

func filled(p *pack.Writer) int64 { _, n := p.Len(); return n }

// upload encodes and stores a pack in the background; it blocks while maxUploads are under way.
func (w *Writer) upload(ctx context.Context, p *pack.Writer) error {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.uploads.Go(func() {
		defer func() { <-w.slots }()
		if err := w.store(ctx, p); err != nil {
			w.fail(err)
		}
	})
	return nil
}

// store seals a pack, puts its shards on the members, and notes it for the next segment.
func (w *Writer) store(ctx context.Context, p *pack.Writer) error {
	columns, err := w.put(ctx, p)
	if err != nil {
		return err
	}
	w.journal.append(columns)
	w.mu.Lock()
	for _, c := range columns {
		w.ready = append(w.ready, c)
		w.blobs += len(c.Entries)
	}
	due := w.blobs >= publishBlobs || time.Since(w.lastPub) > publishEvery
	w.mu.Unlock()
	if due {
		return w.publish(ctx)
	}
	return nil
}

// put seals and stores one pack of any kind.
func (w *Writer) put(ctx context.Context, p *pack.Writer) ([]pack.Column, error) {
	sealed, err := p.Seal()
	if err != nil {
		return nil, fmt.Errorf("seal pack: %w", err)
	}
	defer sealed.Release()
	length := int64(len(sealed.Shards[0])) // all shards are equally long
	result, err := w.a.set.PutShards(ctx, object(sealed.ID, sealed.Kind, w.a.geom, sealed.Columns[0].L), sealed.Shards)
	if err != nil {
		return nil, fmt.Errorf("store pack %s: %w", sealed.ID.Short(), err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Packs++
	for _, ok := range result.Acked {
		if ok {
			w.stats.BytesStored += length
		} else {
			w.short[sealed.ID] = struct{}{}
		}
	}
	return sealed.Columns, nil
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

// Stats tells what was put on the members so far.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Flush closes the open packs, waits until all are stored, and publishes the segments that name them.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	var tails []*pack.Writer
	for _, packs := range w.open {
		for i := 1; i < len(packs); i++ { // small tails become one pack
			if packs[0].Absorb(packs[i]) {
				packs[i] = nil
			}
		}
		for _, p := range packs {
			if p != nil && filled(p) > 0 {
				tails = append(tails, p)
			}
		}
	}
	clear(w.open)
	w.mu.Unlock()
	for _, p := range tails {
		if err := w.upload(ctx, p); err != nil {
			w.uploads.Wait()
			return err
		}
	}
	w.uploads.Wait()
	w.mu.Lock()
	err := w.failed
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.publish(ctx)
}

// Suspend ends a session without a snapshot: what is sealed is stored and published, so that the next run finds it.
// It is for interrupted runs and gives up when ctx ends; call it with a context of its own.
func (w *Writer) Suspend(ctx context.Context) error {
	w.mu.Lock()
	failed := w.failed
	w.mu.Unlock()
	if failed != nil {
		w.uploads.Wait()
		w.mu.Lock()
		w.failed = nil // a cancelled upload must not keep the others from being published
		w.mu.Unlock()
		return errors.Join(w.publish(ctx), w.journal.close(false))
	}
	err := w.Flush(ctx)
	return errors.Join(err, w.journal.close(err == nil))
}
