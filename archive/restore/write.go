package restore

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// put writes a blob to one place. It returns an error only when the run cannot go on.
func (r *run) put(p *part, at *place, plain []byte) error {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done || f.err != nil {
		return nil
	}
	if len(plain) != int(p.sizes[at.blob]) {
		return r.fileFailed(f, Damaged, fmt.Errorf("blob %s has %d bytes, the index says %d: %w", at.id.Short(), len(plain), p.sizes[at.blob], errLength))
	}
	r.o.Progress.current.Store(f)
	err := r.writable(f)
	if err == nil {
		err = r.write(f, at.off, plain)
	}
	if err != nil {
		return r.fileFailed(f, kindOf(err), err)
	}
	r.o.Progress.BytesDone.Add(uint64(len(plain)))
	r.written.Add(uint64(len(plain)))
	if f.pending--; f.pending == 0 && f.last && !r.o.Verify {
		return r.finishFile(f)
	}
	return nil
}

// write puts content bytes into the file, around its holes.
func (r *run) write(f *file, from uint64, plain []byte) error {
	for s := range f.layout.spans(from, uint64(len(plain))) {
		b := plain[:s.n]
		plain = plain[s.n:]
		if !r.o.Sparse {
			if err := writeAt(f.fd, b, s.off); err != nil {
				return err
			}
			continue
		}
		if err := writeSparse(f, b, s.off); err != nil {
			return err
		}
	}
	return nil
}

func writeSparse(f *file, b []byte, off int64) error {
	done := 0
	skip := func(to int) error {
		if f.blank || to == done {
			return nil
		}
		return punch(f.fd, off+int64(done), int64(to-done))
	}
	for from, to := range nonZero(b, off) {
		if err := skip(from); err != nil {
			return err
		}
		if err := writeAt(f.fd, b[from:to], off+int64(from)); err != nil {
			return err
		}
		done = to
	}
	return skip(len(b))
}

// complete ends what fetch did not: files without blobs to write, and files to be read back.
func (r *run) complete(ctx context.Context, p *part) error {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done || f.err != nil {
		return nil
	}
	if !p.fetched {
		return nil
	}
	if r.o.Verify && len(p.ids) > 0 && f.begun && f.lost == nil {
		if err := r.verify(ctx, p); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.fileFailed(f, kindOf(err), err)
		}
	}
	if f.last && f.pending == 0 {
		return r.finishFile(f)
	}
	return nil
}

// finishFile gives a file (locked) whose content is complete its metadata and its name.
func (r *run) finishFile(f *file) error {
	if f.lost != nil {
		r.keepIncomplete(f)
		return nil
	}
	if err := r.finish(f); err != nil {
		return r.fileFailed(f, kindOf(err), err)
	}
	kind := Create
	if f.exists {
		kind = Update
	}
	r.fileDone(f, kind)
	return nil
}

func (r *run) finish(f *file) error {
	if err := r.writable(f); err != nil {
		return err
	}
	if !f.blank {
		for _, h := range f.node.Holes {
			if err := punch(f.fd, int64(h.Offset), int64(h.Length)); err != nil {
				return err
			}
		}
	}
	at, err := r.dirs.use(f.dir)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.dir)
	clean := f.made && !f.dir.inherits
	r.setMeta(handle{fd: f.fd}, at, f.name(), entry{f.dir, f.node.Name}, &f.node, clean)
	if f.temp != "" {
		if err := r.takeName(f.dir, at, f.temp, f.node.Name, f.was); err != nil {
			return err
		}
		f.temp = ""
	}
	r.fds.drop(f)
	return nil
}

// fileDone books a file (locked) that is as recorded.
func (r *run) fileDone(f *file, kind ActionKind) {
	f.done = true
	r.o.Progress.FilesDone.Add(1)
	r.action(Action{Kind: kind, Path: f.path(), Size: f.node.Size})
	r.count(func(rep *Report) { rep.Files++ })
}

// takeName renames a new entry over what was there.
func (r *run) takeName(d *dir, at int, temp, name string, was stat) error {
	if was.typ == snapshot.Dir {
		if err := r.clearWay(d, at, name); err != nil {
			return err
		}
	}
	return unix.Renameat(at, temp, at, name)
}

// failFile lists a file that is not locked and that no error of the system spoilt.
func (r *run) failFile(f *file, kind FailKind, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.spoil(f, kind, err)
}

// fileFailed lists a file (locked), or returns the error when it would meet every further file, too.
func (r *run) fileFailed(f *file, kind FailKind, err error) error {
	if hopeless(err) {
		return fmt.Errorf("%s: %w", f.path(), err)
	}
	r.spoil(f, kind, err)
	return nil
}

func (r *run) spoil(f *file, kind FailKind, err error) {
	if f.done || f.err != nil {
		return
	}
	f.err = err
	if f.link != nil {
		f.link.failed.Store(true)
	}
	r.discard(f)
	r.o.Progress.FilesDone.Add(1)
	r.fail(f.path(), kind, err)
}

// discard removes what this run made of a file (locked): a file that is not complete must not look as if it were.
func (r *run) discard(f *file) {
	if !f.made && f.elem == nil {
		return
	}
	if at, err := r.dirs.use(f.dir); err == nil && f.made {
		if st, err := statAt(at, f.name()); err == nil && r.isOurs(f, st) {
			_ = unix.Unlinkat(at, f.name(), 0) // the file is listed either way
		}
		r.dirs.release(f.dir)
	} else if err == nil {
		r.dirs.release(f.dir)
	}
	r.fds.drop(f)
}

// isOurs says whether st is the inode that we made: somebody may have put something else there.
func (r *run) isOurs(f *file, st stat) bool {
	if f.elem != nil {
		if now, err := statFd(f.fd); err == nil {
			return now.id == st.id
		}
	}
	return f.id == st.id
}

// abandon cleans up after an error that ended the run.
func (r *run) abandon() {
	for _, p := range r.batch.parts {
		p.f.mu.Lock()
		if !p.f.done && p.f.err == nil {
			r.discard(p.f)
		}
		p.f.mu.Unlock()
	}
	for _, d := range append(r.stack, r.batch.ends...) {
		if d.loosened {
			r.tighten(d)
		}
	}
}
