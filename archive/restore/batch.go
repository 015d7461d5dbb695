package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/snapshot"
)

const (
	// blobBytes is what one blob of a batch takes: 32 for its id in the content, 40 in places, 32 in the list for
	// Fetch, 4 + 1 for size and need, and Fetch's own copy and location of about 200.
	blobBytes = 320
	// entryBytes is what a file, link or directory takes in a batch.
	entryBytes = 1024
	maxBlobs   = 1 << 16 // so many Fetch puts in order at once
	maxEntries = 1 << 14
)

// batch is what is restored together: files with their blobs, links to them, and the directories that are finished once
// those are.
type batch struct {
	maxBlobs, maxEntries int

	parts []*part
	blobs int
	names []*name // hard links
	ends  []*dir  // in the order in which they were left: a directory after those in it
}

func (b *batch) init(memory int64) {
	b.maxBlobs = int(min(max(memory/2/blobBytes, 64), maxBlobs))
	b.maxEntries = int(min(max(memory/4/entryBytes, 16), maxEntries))
}

func (b *batch) full() bool {
	return b.blobs >= b.maxBlobs || len(b.parts)+len(b.names)+len(b.ends) >= b.maxEntries
}

// fileEntry adds a file to the batch; a file of very many blobs goes through several.
func (r *run) fileEntry(ctx context.Context, path string, n *snapshot.Node) error {
	if _, ok := r.chosen(path, n); !ok {
		return nil
	}
	d := r.top()
	if err := r.open(d); err != nil {
		return skipOf(err, nil)
	}
	r.o.Progress.FilesFound.Add(1)
	if r.queueName(d, n) {
		return nil
	}
	return r.addFile(ctx, d, n)
}

func (r *run) addFile(ctx context.Context, d *dir, n *snapshot.Node) error {
	f := &file{dir: d, node: *n, link: r.firstName(d, n)}
	f.node.Content = nil
	var err error
	if f.layout, err = newLayout(n); err != nil {
		r.failFile(f, Damaged, err)
		return nil
	}
	r.o.Progress.BytesFound.Add(f.layout.data)
	if err := r.lookAt(f); err != nil {
		r.failFile(f, kindOf(err), err)
		return nil
	}
	p := &part{f: f}
	if n.Depth == 0 {
		p.ids = n.Content
	} else {
		for id, err := range snapshot.Content(ctx, r.load, n.Content, n.Depth) {
			if err != nil {
				var bad fatal
				if errors.As(err, &bad) {
					return bad.error
				}
				r.failFile(f, Damaged, err)
				return nil
			}
			if p.ids = append(p.ids, id); r.batch.blobs+len(p.ids) >= r.batch.maxBlobs {
				r.batch.add(p)
				if err := r.content(ctx); err != nil {
					return err
				}
				if f.settled() { // it has failed already
					return nil
				}
				p = &part{f: f, start: p.end()}
			}
		}
	}
	f.last = true
	r.batch.add(p)
	return nil
}

func (b *batch) add(p *part) {
	b.parts = append(b.parts, p)
	b.blobs += len(p.ids)
}

// end is where the content after the part begins.
func (p *part) end() uint64 {
	at := p.start
	for _, n := range p.sizes {
		at += uint64(n)
	}
	return at
}

// lookAt sees what has the name of a file now.
func (r *run) lookAt(f *file) error {
	if f.dir.fresh {
		return nil
	}
	at, err := r.dirs.use(f.dir)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.dir)
	f.was, err = statAt(at, f.node.Name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case f.was.typ != snapshot.File && !r.o.InPlace:
		return ErrExists
	}
	f.exists = true
	return nil
}

// flush restores the batch.
func (r *run) flush(ctx context.Context) error {
	for {
		if err := r.content(ctx); err != nil {
			return err
		}
		names := r.batch.names
		r.batch.names = nil
		if err := r.linkAll(ctx, names); err != nil {
			return err
		}
		if len(r.batch.parts)+len(r.batch.names) == 0 { // otherwise links became copies
			break
		}
	}
	for _, d := range r.batch.ends {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.finishDir(d); err != nil {
			return err
		}
	}
	clear(r.batch.ends)
	r.batch.ends = r.batch.ends[:0]
	return nil
}

// content restores the content of the batch's files, and all of those that end in it.
func (r *run) content(ctx context.Context) error {
	if err := r.files(ctx); err != nil {
		return err
	}
	clear(r.batch.parts)
	r.batch.parts, r.batch.blobs = r.batch.parts[:0], 0
	return nil
}

func (r *run) files(ctx context.Context) error {
	if err := r.sizes(ctx); err != nil {
		return err
	}
	if err := r.each(ctx, r.prepare); err != nil || r.o.DryRun {
		return err
	}
	places, ids := r.places()
	if err := r.fetch(ctx, places, ids); err != nil {
		return err
	}
	return r.each(ctx, r.complete)
}

// each calls do for every part that may still become something, several at once.
func (r *run) each(ctx context.Context, do func(context.Context, *part) error) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(r.o.Concurrency)
	for _, p := range r.batch.parts {
		if p.f.settled() {
			continue
		}
		if inner.Err() != nil {
			break
		}
		g.Go(func() error { return do(inner, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (f *file) settled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done || f.err != nil
}

// sizes finds out how long the blobs are, all at once if possible, and whether they make up the files.
func (r *run) sizes(ctx context.Context) error {
	ids := make([]chunk.ID, 0, r.batch.blobs)
	for _, p := range r.batch.parts {
		ids = append(ids, p.ids...)
	}
	sizes := make([]uint32, len(ids))
	var all error
	if len(ids) > 0 {
		all = r.src.Sizes(ctx, chunk.Data, ids, sizes)
	}
	if all != nil && !lost(all) {
		return all
	}
	for _, p := range r.batch.parts {
		p.sizes, sizes = sizes[:len(p.ids):len(p.ids)], sizes[len(p.ids):]
		if p.f.settled() {
			continue
		}
		if all != nil && len(p.ids) > 0 { // one is missing: find out in which files
			if err := r.src.Sizes(ctx, chunk.Data, p.ids, p.sizes); err != nil {
				if !lost(err) {
					return err
				}
				r.failFile(p.f, Damaged, err)
				continue
			}
		}
		if end := p.end(); end > p.f.layout.data || p.f.last && end != p.f.layout.data {
			r.failFile(p.f, Damaged, fmt.Errorf("%d of %d bytes: %w", end, p.f.layout.data, errLength))
		}
	}
	return nil
}

// place is where a blob has to be written.
type place struct {
	id   chunk.ID
	part int32 // in batch.parts
	blob int32 // in its ids
	off  uint64
}

// places lists what has to be fetched, by blob, and the distinct blobs.
func (r *run) places() ([]place, []chunk.ID) {
	var places []place
	for i, p := range r.batch.parts {
		if p.f.settled() {
			continue
		}
		off := p.start
		for j, id := range p.ids {
			if p.need == nil || p.need[j] {
				places = append(places, place{id, int32(i), int32(j), off})
				p.f.pending++
			}
			off += uint64(p.sizes[j])
		}
	}
	slices.SortFunc(places, func(a, b place) int { return bytes.Compare(a.id[:], b.id[:]) })
	ids := make([]chunk.ID, 0, len(places))
	for i := range places {
		if i == 0 || places[i].id != places[i-1].id {
			ids = append(ids, places[i].id)
		}
	}
	return places, ids
}

// fetch gets the blobs and writes each to all its places. Files of which a blob is lost stay pending.
func (r *run) fetch(ctx context.Context, places []place, ids []chunk.ID) error {
	if len(ids) == 0 {
		return nil
	}
	got := make([]bool, len(ids)) // each written by one call only
	err := r.src.Fetch(ctx, chunk.Data, ids, func(id chunk.ID, plain []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, ok := sort.Find(len(ids), func(i int) int { return bytes.Compare(id[:], ids[i][:]) }); ok {
			got[n] = true
		}
		from := sort.Search(len(places), func(i int) bool { return bytes.Compare(places[i].id[:], id[:]) >= 0 })
		for i := from; i < len(places) && places[i].id == id; i++ {
			if err := r.put(r.batch.parts[places[i].part], &places[i], plain); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		err = ctx.Err()
	case lost(err):
		r.loseFiles(places, ids, got, err)
		return ctx.Err()
	}
	return err
}

// loseFiles lists the files that need a blob that did not come.
func (r *run) loseFiles(places []place, ids []chunk.ID, got []bool, cause error) {
	n := 0
	for i := range places {
		for n < len(ids) && ids[n] != places[i].id {
			n++
		}
		if got[n] {
			continue
		}
		f := r.batch.parts[places[i].part].f
		if !f.settled() {
			r.failFile(f, Damaged, fmt.Errorf("blob %s is lost: %w", places[i].id.Short(), reason(cause, places[i].id)))
		}
	}
}
