package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cairn/chunk"
	"cairn/snapshot"
)

var (
	errChanged = errors.New("changed while it was read")
	errEndless = errors.New("says that it is empty and has more data than is read of such a file")
	errGone    = errors.New("vanished before it was read")
)

// job is one file to read: entry i of d.
type job struct {
	d *dir
	i int
}

func (j job) entry() *entry { return &j.d.entries[j.i] }

// reader opens and reads files, one after the other.
type reader struct {
	*run
	cutter *chunk.Cutter
}

func (r *run) reader(ctx context.Context) error {
	rd := reader{r, r.cutter.Clone()}
	for {
		select {
		case j, ok := <-r.files:
			if !ok {
				return nil
			}
			if err := rd.store(ctx, j); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// store sees to it that the file is read once, however many names it has.
func (rd *reader) store(ctx context.Context, j job) error {
	var l *link
	if st := &j.entry().st; st.nlink > 1 {
		var mine bool
		l, mine = rd.links.claim(snapshot.LinkID{Device: st.dev, Inode: st.ino}, st.nlink, j)
		if !mine {
			if l == nil {
				return nil
			}
			return rd.alias(ctx, j, l.node, l.clean)
		}
	}
	for {
		gone, err := rd.read(ctx, j, l)
		if err != nil || !gone {
			return err
		}
		lost, more := j, false
		if l != nil {
			j, more = rd.links.pass(l)
		}
		if err := rd.drop(ctx, lost, errGone); err != nil || !more {
			return err
		}
	}
}

// alias completes another name of a file that was read.
func (r *run) alias(ctx context.Context, j job, read *snapshot.Node, clean bool) error {
	n := *read
	n.Name = j.entry().name
	r.o.Progress.Bytes.Add(int64(n.Size))
	return r.complete(ctx, j, &n, clean)
}

// read reads a file and completes it, now or when its last chunk is saved. gone means that there is no such file
// any more, and nothing was done.
func (rd *reader) read(ctx context.Context, j job, l *link) (gone bool, err error) {
	e, path := j.entry(), j.d.join(j.entry().name)
	rd.o.Progress.current.Store(&path)
	fd, st, err := rd.openFile(j.d, e.name, path)
	if err != nil {
		if vanished(err) {
			return true, nil
		}
		n := rd.node(e.name, &e.st)
		n.Size = 0 // of what is stored
		n.Error = rd.tally.fail(path, err)
		return false, rd.finish(ctx, j, l, &n, false)
	}
	defer closeFD(fd)
	n := rd.node(e.name, &st)
	n.Xattrs = rd.xattrs(path, func() ([]snapshot.Xattr, error) { return xattrsOf(fd) })
	var clean bool
	c := newContent(func(ids []chunk.ID) error {
		if err := rd.setContent(ctx, path, &n, ids); err != nil {
			return err
		}
		return rd.finish(ctx, j, l, &n, clean)
	})
	src := &fileSource{extents: extents{fd: fd, size: int64(st.size), sparse: st.sparse()}, fault: rd.faultAt(path)}
	if st.size == 0 {
		src.size, src.sparse = int64(rd.o.Params.Min), false
	}
	if src.size > int64(rd.o.Params.Min) { // of others there is nothing to show before they are done
		c.gaps = func() []snapshot.Range { return src.holes }
		rd.front.read(j, &n, c)
	}
	broken, err := rd.consume(ctx, src, c)
	if err != nil {
		return false, err
	}
	clean = rd.judge(path, &n, src, &st, broken)
	return false, c.close()
}

// openFile opens entry name of d and returns its stat as of now.
func (rd *reader) openFile(d *dir, name, path string) (int, stat, error) {
	if rd.o.fault != nil {
		if err := rd.o.fault("open", path, 0); err != nil {
			return -1, stat{}, err
		}
	}
	at, err := rd.handles.use(d.h)
	if err != nil {
		return -1, stat{}, err
	}
	defer rd.handles.rest(d.h)
	return openFileAt(at, name)
}

func (r *run) faultAt(path string) func(int64) error {
	if r.o.fault == nil {
		return nil
	}
	return func(offset int64) error { return r.o.fault("read", path, offset) }
}

// consume submits the chunks of a file. broken is what ended the reading too early, err what ends the backup.
func (rd *reader) consume(ctx context.Context, src *fileSource, c *content) (broken, err error) {
	if src.size <= int64(rd.o.Params.Min) {
		return rd.consumeSmall(ctx, src, c)
	}
	select {
	case rd.lanes <- struct{}{}:
		defer func() { <-rd.lanes }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	readAhead(src.fd)
	_, broken, err = rd.cutAll(ctx, rd.cutter, src, c)
	return broken, err
}

// consumeSmall reads a file that is one chunk: no cutter, no copy.
func (rd *reader) consumeSmall(ctx context.Context, src *fileSource, c *content) (broken, err error) {
	buf, err := rd.buffers.small(ctx, int(src.size))
	if err != nil {
		return nil, err
	}
	defer buf.release()
	filled := 0
	for filled < int(src.size) && broken == nil {
		var n int
		n, broken = src.Read(buf.data[filled:src.size])
		filled += n
	}
	if broken == io.EOF {
		broken = nil
	}
	rd.o.Progress.BytesRead.Add(int64(filled))
	rd.o.Progress.Bytes.Add(int64(filled))
	if filled == 0 {
		return broken, nil
	}
	return broken, rd.submit(ctx, buf, buf.data[:filled], c)
}

// judge sets what the node says about the whole file, and tells whether it may be believed next time.
func (rd *reader) judge(path string, n *snapshot.Node, src *fileSource, before *stat, broken error) (clean bool) {
	n.Holes = src.holes
	n.Size = uint64(src.size)
	if broken != nil || src.short {
		n.Size = uint64(src.at)
	}
	rd.o.Progress.Bytes.Add(int64(holesIn(n.Holes)))
	if broken != nil {
		n.Error = rd.tally.fail(path, fmt.Errorf("read at offset %d: %w", src.at, broken))
		return false
	}
	if before.size == 0 && n.Size == uint64(src.size) {
		rd.tally.note(path, errEndless)
		return false
	}
	after, err := statFD(src.fd)
	if err != nil {
		n.Error = rd.tally.fail(path, err)
		return false
	}
	if after.size != before.size || after.mtime != before.mtime || after.ctime != before.ctime || src.short && before.size > 0 {
		rd.tally.note(path, errChanged)
		return false
	}
	return true
}

func holesIn(holes []snapshot.Range) (sum uint64) {
	for _, h := range holes {
		sum += h.Length
	}
	return sum
}

// setContent gives a file's node the ids of its chunks.
func (r *run) setContent(ctx context.Context, path string, n *snapshot.Node, ids []chunk.ID) error {
	var err error
	if n.Content, n.Depth, err = snapshot.SaveContent(ctx, ids, r.saveTree); err != nil {
		return err
	}
	if n.Depth > 0 && r.o.Cache != nil && path != "" {
		if err := storeChunks(r.o.Cache, path, r.stamp, ids); err != nil {
			r.cacheTrouble.Do(func() { r.tally.note(path, err) })
		}
	}
	return nil
}

// finish completes a file and all names that waited for it.
func (r *run) finish(ctx context.Context, j job, l *link, n *snapshot.Node, clean bool) error {
	var waiting []job
	if l != nil {
		waiting = r.links.settle(l, n, clean, j.entry().st.nlink)
	}
	if err := r.complete(ctx, j, n, clean); err != nil {
		return err
	}
	for _, w := range waiting {
		if err := r.alias(ctx, w, n, clean); err != nil {
			return err
		}
	}
	return nil
}

// xattrs reads attributes and lists it when that fails: a node without them is still worth having.
func (r *run) xattrs(path string, read func() ([]snapshot.Xattr, error)) []snapshot.Xattr {
	list, err := read()
	if err != nil {
		r.tally.fail(path, fmt.Errorf("read extended attributes: %w", err))
	}
	return list
}
