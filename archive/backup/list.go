package backup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/chunk"
	"cairn/snapshot"
)

// list reads the entries of an opened, pinned directory, completes those that need no reading, queues the files and
// pushes the subdirectories.
func (r *run) list(ctx context.Context, d *dir, recorded *snapshot.Node) error {
	d.open.Store(1)
	if err := r.readEntries(d); err != nil {
		d.failed = r.tally.fail(d.path, err)
	}
	d.mem = r.recall(ctx, d.path, recorded)
	seek := d.mem.seek()
	for i := range d.entries {
		d.entries[i].old = seek.find(d.entries[i].name)
	}
	todo, err := r.decide(ctx, d)
	if err != nil {
		return err
	}
	d.open.Add(int64(len(todo) + len(d.subdirs)))
	r.front.begin(d)
	r.stack.push(d)
	for _, i := range todo {
		select {
		case r.files <- job{d, i}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return r.leave(ctx, d)
}

// readEntries fills d.entries with what belongs to the backup. The error is of the listing; what came before it is kept.
func (r *run) readEntries(d *dir) error {
	var names []dirent
	var fail error
	if d.whole {
		buf, ok := r.dirents.Get().(*[]byte)
		if !ok {
			made := make([]byte, direntBuffer)
			buf = &made
		}
		names, fail = readDir(d.h.fd, *buf)
		r.dirents.Put(buf)
		// Inodes in their order on the disk: a cold ext4 is stated several times faster.
		slices.SortFunc(names, func(a, b dirent) int { return cmp.Compare(a.ino, b.ino) })
	} else {
		for _, name := range d.plan.names() {
			names = append(names, dirent{name: name})
		}
	}
	marked := ""
	if d.whole {
		marked = r.markerIn(d, names)
	}
	d.entries = make([]entry, 0, len(names))
	var bytes, files int64
	for _, name := range names {
		sub := d.plan.child(name.name)
		if marked != "" && name.name != marked && sub == nil {
			continue
		}
		st, err := statAt(d.h.fd, name.name, !d.whole && !sub.root)
		if err != nil {
			if vanished(err) {
				r.tally.note(d.join(name.name), errGone)
				continue
			}
			message := r.tally.fail(d.join(name.name), fmt.Errorf("lstat: %w", err))
			if d.failed == "" {
				d.failed = "an entry could not be read: " + message
			}
			continue
		}
		e := entry{name: name.name, st: st}
		if sub == nil || !sub.root {
			out := marked != "" && name.name != marked || d.whole && r.leftOut(d, &e)
			if out && sub == nil {
				continue
			}
			e.way = out
		}
		d.entries = append(d.entries, e)
		if st.kind != snapshot.Dir {
			files++
			bytes += sizeOf(&st)
		}
	}
	slices.SortFunc(d.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	d.entries = slices.CompactFunc(d.entries, func(a, b entry) bool { return a.name == b.name })
	r.o.Progress.FoundFiles.Add(files)
	r.o.Progress.FoundBytes.Add(bytes)
	return fail
}

func sizeOf(st *stat) int64 {
	if st.kind == snapshot.File {
		return int64(st.size)
	}
	return 0
}

// leftOut applies the rules that look at one entry.
func (r *run) leftOut(d *dir, e *entry) bool {
	if r.o.ExcludeLargerThan > 0 && e.st.kind == snapshot.File && e.st.size > r.o.ExcludeLargerThan {
		return true
	}
	if r.rules.Empty() {
		return false
	}
	return r.rules.Excluded(d.join(e.name), d.below, e.st.kind == snapshot.Dir)
}

// decide completes the entries that need not be opened, and returns the files that must be read.
func (r *run) decide(ctx context.Context, d *dir) (todo []int, err error) {
	var known []int // files that equal a trusted node
	for i := range d.entries {
		e := &d.entries[i]
		trusted := e.old != nil && e.old.trusted && r.sameContent(&e.old.node, &e.st)
		switch e.st.kind {
		case snapshot.Dir:
			d.subdirs = append(d.subdirs, i)
		case snapshot.File:
			if trusted {
				known = append(known, i)
			} else {
				todo = append(todo, i)
			}
		case 0:
			r.tally.fail(d.join(e.name), fmt.Errorf("has a type that the format does not know"))
		default:
			if trusted {
				r.keep(d, e)
			} else {
				r.readSpecial(d, e)
			}
			r.o.Progress.Files.Add(1)
		}
	}
	lost, err := r.verify(ctx, d, known)
	if err != nil {
		return nil, err
	}
	if len(lost) > 0 {
		todo = append(todo, lost...)
		slices.Sort(todo)
	}
	return todo, nil
}

// keep takes an unchanged entry over from the memory.
func (r *run) keep(d *dir, e *entry) {
	e.node = r.update(&e.old.node, &e.st, func() []snapshot.Xattr {
		return r.xattrs(d.join(e.name), func() ([]snapshot.Xattr, error) { return xattrsAt(d.h.fd, e.name) })
	})
	e.clean = true
}

// readSpecial makes the node of a symlink, fifo, socket or device. None of them is opened.
func (r *run) readSpecial(d *dir, e *entry) {
	n := r.node(e.name, &e.st)
	if e.st.kind == snapshot.Symlink {
		target, err := readLink(d.h.fd, e.name, e.st.size)
		if vanished(err) {
			r.tally.note(d.join(e.name), errGone)
			return
		}
		if err != nil {
			n.Error = r.tally.fail(d.join(e.name), fmt.Errorf("read link: %w", err))
		}
		n.Target = target
	}
	n.Xattrs = r.xattrs(d.join(e.name), func() ([]snapshot.Xattr, error) { return xattrsAt(d.h.fd, e.name) })
	e.set(&n, n.Error == "")
}

// knownBatch bounds one question to the index: 65,536 ids are 2 MiB.
const knownBatch = 1 << 16

// verify keeps those of the unchanged files whose content the archive still has, and returns the others. It asks
// once for the whole directory; only if something is missing, file by file.
func (r *run) verify(ctx context.Context, d *dir, files []int) (lost []int, err error) {
	for len(files) > 0 {
		var ids []chunk.ID
		n := 0
		for n < len(files) && len(ids) < knownBatch {
			if old := d.entries[files[n]].recorded(); old.Depth == 0 {
				ids = append(ids, old.Content...)
			}
			n++
		}
		all := len(ids) == 0
		if !all {
			if all, err = r.w.Known(chunk.Data, ids); err != nil {
				return nil, err
			}
		}
		for _, i := range files[:n] {
			e := &d.entries[i]
			old := e.recorded()
			ok := all && old.Depth == 0 || len(old.Content) == 0
			if !ok {
				if ok, err = r.stored(ctx, d, e, old); err != nil {
					return nil, err
				}
			}
			if !ok {
				lost = append(lost, i)
				continue
			}
			r.keep(d, e)
			r.o.Progress.Files.Add(1)
			r.o.Progress.Bytes.Add(int64(e.st.size))
		}
		files = files[n:]
	}
	return lost, nil
}

// stored says whether the archive has all chunks of one file. For a content list the chunks come from the cache or
// from the previous snapshot, and saving the list again proves that they are the right ones.
func (r *run) stored(ctx context.Context, d *dir, e *entry, old *snapshot.Node) (bool, error) {
	if old.Depth == 0 {
		return r.w.Known(chunk.Data, old.Content)
	}
	ids := r.chunksOf(ctx, d.join(e.name), old)
	if len(ids) == 0 {
		return false, nil
	}
	for batch := range slices.Chunk(ids, knownBatch) {
		if ok, err := r.w.Known(chunk.Data, batch); !ok || err != nil {
			return false, err
		}
	}
	content, depth, err := snapshot.SaveContent(ctx, ids, r.saveTree)
	return depth == old.Depth && slices.Equal(content, old.Content), err
}

func (r *run) chunksOf(ctx context.Context, path string, old *snapshot.Node) []chunk.ID {
	if r.o.Cache != nil {
		ids, err := loadChunks(r.o.Cache, path)
		if err != nil {
			r.cacheTrouble.Do(func() { r.tally.note(path, err) })
		}
		if len(ids) > 0 {
			return ids
		}
	}
	if r.o.Parent == nil {
		return nil
	}
	var ids []chunk.ID
	for id, err := range snapshot.Content(ctx, r.o.Parent.Load, old.Content, old.Depth) {
		if err != nil {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}
