package restore

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/snapshot"
)

// prepare finds out what of a part has to be written, and deals with files that need nothing.
func (r *run) prepare(ctx context.Context, p *part) error {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := Create
	if f.exists {
		kind = Update
	}
	if f.exists && f.was.typ == snapshot.File {
		var err error
		if kind, err = r.inspect(ctx, p); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.fileFailed(f, kindOf(err), err)
		}
	}
	if f.last && (r.o.DryRun || kind == Meta || kind == Unchanged) {
		r.fileDone(f, kind)
	}
	return nil
}

// inspect compares the file that is there with a part of what it should be. After the last part it says what is to be
// done; metadata is set here already when nothing else is.
func (r *run) inspect(ctx context.Context, p *part) (ActionKind, error) {
	f := p.f
	at, err := r.dirs.use(f.dir)
	if err != nil {
		return 0, err
	}
	defer r.dirs.release(f.dir)
	fd, err := r.openToCompare(f, at)
	if err == unix.EACCES && r.o.InPlace {
		f.differs = true
		return Update, nil
	}
	if err != nil {
		return 0, err
	}
	if err := sameFile(fd, f.was.id); err != nil {
		return 0, err
	}
	defer closeFd(fd)
	if err := r.compare(ctx, p, fd); err != nil || !f.last {
		return 0, err
	}
	if !f.differs && !r.metaDiffers(handle{fd: fd}, f.was, &f.node) {
		return Unchanged, nil
	}
	switch {
	case !f.differs && f.was.links == 1:
		if !r.o.DryRun {
			r.setMeta(handle{fd: fd}, at, f.node.Name, entry{f.dir, f.node.Name}, &f.node, false)
		}
		return Meta, nil
	case !r.o.InPlace:
		return 0, ErrExists
	}
	// Also when only metadata differs: the inode has further names, which may lie outside of the target.
	f.differs = true
	return Update, nil
}

// openToCompare opens the existing file. Its owner can read it whatever its mode is; the mode is put back at once.
func (r *run) openToCompare(f *file, at int) (int, error) {
	fd, err := openReadAt(at, f.node.Name)
	if err != unix.EACCES || r.o.DryRun || f.was.links > 1 {
		return fd, err
	}
	h, hErr := openHandleAt(at, f.node.Name)
	if hErr != nil {
		return -1, hErr
	}
	defer closeFd(h)
	if st, err := statFd(h); err != nil || st.id != f.was.id {
		return -1, orElse(err, ErrSwapped)
	}
	if chmodHandle(h, f.was.mode|0o400) != nil {
		return -1, err
	}
	fd, err = openReadAt(at, f.node.Name)
	if back := chmodHandle(h, f.was.mode); back != nil && err == nil {
		closeFd(fd)
		return -1, back
	}
	return fd, err
}

// compare reads the file at the recorded chunk lengths: no chunk has to be cut or fetched.
func (r *run) compare(ctx context.Context, p *part, fd int) error {
	f := p.f
	if f.was.size != int64(f.node.Size) {
		f.differs = true
	}
	if p.start == 0 {
		if err := r.compareHoles(ctx, f, fd); err != nil {
			return err
		}
	}
	if f.differs && !r.o.InPlace {
		return ErrExists
	}
	need, equal, err := r.blobsThatDiffer(ctx, p, fd, r.o.InPlace)
	if err != nil {
		return err
	}
	p.need = need
	for _, n := range need {
		f.differs = f.differs || n
	}
	if f.differs && !r.o.InPlace {
		return ErrExists
	}
	r.unchanged.Add(equal)
	r.o.Progress.BytesDone.Add(equal)
	return nil
}

// blobsThatDiffer returns which blobs of a part are not in the file, and the length of the others.
func (r *run) blobsThatDiffer(ctx context.Context, p *part, fd int, all bool) (differ []bool, equal uint64, err error) {
	longest := uint32(0)
	for _, n := range p.sizes {
		longest = max(longest, n)
	}
	if longest > chunk.MaxPlain {
		return nil, 0, fmt.Errorf("blob of %d bytes: %w", longest, errLength)
	}
	buf := r.buffer(int(longest))
	defer r.buffers.Put(buf)
	differ = make([]bool, len(p.ids))
	off := p.start
	for i, id := range p.ids {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		same, err := holds(fd, &p.f.layout, off, (*buf)[:p.sizes[i]], id)
		if err != nil {
			return nil, 0, err
		}
		if same {
			equal += uint64(p.sizes[i])
		} else if differ[i] = true; !all {
			return differ, equal, nil
		}
		off += uint64(p.sizes[i])
	}
	return differ, equal, nil
}

// holds says whether a blob is in the file at its content offset; buf has the blob's length.
func holds(fd int, l *layout, off uint64, buf []byte, id chunk.ID) (bool, error) {
	done := 0
	for s := range l.spans(off, uint64(len(buf))) {
		n, err := readAt(fd, buf[done:done+int(s.n)], s.off)
		if err != nil {
			return false, err
		}
		if n < int(s.n) {
			return false, nil
		}
		done += n
	}
	return chunk.Sum(buf) == id, nil
}

// zeroSlack is how many bytes of zeros may be stored where the snapshot has holes before the file counts as different:
// file systems with large blocks keep the edges of holes.
const zeroSlack = 64 << 10

// compareHoles looks for data where the snapshot has holes.
func (r *run) compareHoles(ctx context.Context, f *file, fd int) error {
	var buf []byte
	for _, h := range f.node.Holes {
		stored := int64(0)
		end := min(int64(h.Offset+h.Length), f.was.size)
		for off := int64(h.Offset); off < end && !f.differs; {
			if err := ctx.Err(); err != nil {
				return err
			}
			at, err := nextData(fd, off, end)
			if err != nil {
				return err
			}
			if off = at; off >= end {
				break
			}
			if buf == nil {
				buf = make([]byte, len(zeros))
			}
			n, err := readAt(fd, buf[:min(int64(len(buf)), end-off)], off)
			if err != nil {
				return err
			}
			stored += int64(n)
			if n == 0 || string(buf[:n]) != string(zeros[:n]) || stored > zeroSlack && r.o.InPlace {
				f.differs = true
			}
			off += int64(n)
		}
	}
	return nil
}

// verify reads back what was written.
func (r *run) verify(ctx context.Context, p *part) error {
	f := p.f
	at, err := r.dirs.use(f.dir)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.dir)
	if err := r.writable(f); err != nil {
		return err
	}
	made, err := statFd(f.fd)
	if err != nil {
		return err
	}
	fd, err := openReadAt(at, f.name())
	if err != nil {
		return err
	}
	if err := sameFile(fd, made.id); err != nil {
		return err
	}
	defer closeFd(fd)
	forget(fd)
	differ, _, err := r.blobsThatDiffer(ctx, p, fd, false)
	if err != nil {
		return err
	}
	for i, d := range differ {
		if d {
			return fmt.Errorf("blob %s: %w", p.ids[i].Short(), errReadBack)
		}
	}
	return nil
}

// buffer returns n bytes from the pool.
func (r *run) buffer(n int) *[]byte {
	b, _ := r.buffers.Get().(*[]byte)
	if b == nil || cap(*b) < n {
		b = new([]byte)
		*b = make([]byte, max(n, 64<<10))
	}
	*b = (*b)[:cap(*b)]
	return b
}
