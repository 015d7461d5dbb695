package restore

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

const (
	// blobBytes is what one blob of a batch takes: 32 for its id in the content, 40 in places, 32 in the list for
	// Fetch, 4 + 1 for size and need, and Fetch's own copy and location of about 200.
	blobBytes = 320
	// entryBytes is what a file, link or directory takes in a batch.
	entryBytes = 1024
	maxBlobs   = 1 << 16
	maxEntries = 24 << 10 // two packs that are filled side by side hold some 12,000 files of a source tree
)

// batch is what is restored together: files with their blobs, links to them, and the directories that are finished once
// those are. Where one batch ends and the next begins lies in the middle of packs. So that these are not read twice, parts that need one of
// them are kept for the next batch, with the links to their files and the directories above them.
type batch struct {
	maxBlobs, maxEntries int

	parts []*part
	kept  int // of parts, the first ones: they were kept from the batch before
	blobs int
	names []*name // hard links
	ends  []*dir  // in the order in which they were left: a directory after those in it
	round int     // counts flushes
}

func (b *batch) init(memory int64) {
	b.maxBlobs = int(min(max(memory/2/blobBytes, 64), maxBlobs))
	b.maxEntries = int(min(max(memory/2/entryBytes, 16), maxEntries))
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
				r.failFile(f, lossOf(err), err)
				return nil
			}
			if p.ids = append(p.ids, id); r.batch.blobs+len(p.ids) >= r.batch.maxBlobs {
				r.batch.add(p)
				if err := r.content(ctx, false); err != nil {
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

// flush restores the batch, all of it when it is the last.
func (r *run) flush(ctx context.Context, last bool) error {
	for {
		if err := r.content(ctx, last); err != nil {
			return err
		}
		names := r.batch.takeNames()
		if err := r.linkAll(ctx, names); err != nil {
			return err
		}
		if !last || len(r.batch.parts)+len(r.batch.names) == 0 { // otherwise links became copies
			break
		}
	}
	r.batch.mark()
	waiting := r.batch.ends[:0]
	for _, d := range r.batch.ends {
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.round == r.batch.round {
			waiting = append(waiting, d)
		} else if err := r.finishDir(d); err != nil {
			return err
		}
	}
	clear(r.batch.ends[len(waiting):])
	r.batch.ends = waiting
	return nil
}

// takeNames takes out the links to files that are done.
func (b *batch) takeNames() []*name {
	waiting := map[*linked]bool{}
	for _, p := range b.parts {
		if p.f.link != nil {
			waiting[p.f.link] = true
		}
	}
	var ready, later []*name
	for _, nm := range b.names {
		if waiting[nm.to] {
			later = append(later, nm)
		} else {
			ready = append(ready, nm)
		}
	}
	b.names = later
	return ready
}

// mark gives the directories in which something is still to be made, and all above them, the number of this round.
func (b *batch) mark() {
	b.round++
	up := func(d *dir) {
		for ; d != nil && d.round != b.round; d = d.parent {
			d.round = b.round
		}
	}
	for _, p := range b.parts {
		up(p.f.dir)
	}
	for _, nm := range b.names {
		up(nm.dir)
	}
}
