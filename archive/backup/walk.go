package backup

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// stack holds the listed directories that still have subdirectories to enter, the innermost on top: the walk goes
// into depth first, which bounds how many directories are begun and not done.
type stack struct {
	mu     sync.Mutex
	wake   sync.Cond
	dirs   []*dir
	busy   int // walkers that may still push
	closed bool
}

// push adds a listed directory.
func (s *stack) push(d *dir) {
	if len(d.subdirs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs = append(s.dirs, d)
	s.wake.Broadcast()
}

// pop returns the next subdirectory to enter; ok is false when there will be none.
func (s *stack) pop() (j job, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if top := len(s.dirs) - 1; top >= 0 {
			d := s.dirs[top]
			j = job{d, d.subdirs[d.next]}
			if d.next++; d.next == len(d.subdirs) {
				s.dirs[top] = nil
				s.dirs = s.dirs[:top]
			}
			s.busy++
			return j, true
		}
		if s.busy == 0 {
			s.closed = true
			break
		}
		s.wake.Wait()
	}
	s.wake.Broadcast()
	return job{}, false
}

// rest says that the subdirectory from the last pop is listed.
func (s *stack) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 {
		s.wake.Broadcast()
	}
}

// close ends the walk early.
func (s *stack) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.wake.Broadcast()
}

// walker enters directories until there are no more.
func (r *run) walker(ctx context.Context) error {
	for {
		j, ok := r.stack.pop()
		if !ok {
			return context.Cause(ctx)
		}
		err := r.descend(ctx, j)
		r.stack.rest()
		if err != nil {
			return err
		}
	}
}

// start lists the root directory of the file system and puts it on the stack.
func (r *run) start(ctx context.Context, p *plan) error {
	h, st, err := r.handles.enter(nil, "/", !p.root)
	if err != nil {
		return err
	}
	defer r.handles.rest(h)
	d := &dir{path: "/", h: h, scope: scope{plan: p, whole: p.root, dev: st.dev}}
	var recorded *snapshot.Node
	if parent := r.o.Parent; parent != nil {
		recorded = &snapshot.Node{Type: snapshot.Dir, Content: parent.Content, Depth: parent.Depth}
	}
	return r.list(ctx, d, recorded)
}

// below makes the directory of an entry and says what of it belongs to the backup. follow tells a directory on the
// way to a named path, which may be a symlink; bare one that is stored without looking into it.
func (r *run) below(j job) (d *dir, follow, bare bool) {
	p, e := j.d, j.entry()
	d = &dir{parent: p, index: j.i, path: p.join(e.name), depth: p.depth + 1, scope: p.scope}
	d.plan = p.plan.child(e.name)
	d.whole = p.whole && !e.way
	switch {
	case d.plan != nil && d.plan.root:
		d.whole, d.below, d.dev = true, len(d.path), e.st.dev
	case !p.whole:
		follow = true
	case r.foreign(d, e.st.dev):
		d.whole = false
		bare = d.plan == nil
	}
	return d, follow, bare
}

// descend enters and lists one subdirectory, or completes it without content.
func (r *run) descend(ctx context.Context, j job) error {
	e := j.entry()
	d, follow, bare := r.below(j)
	if bare {
		d.node = r.dirNode(d, e, &e.st, nil)
		return r.hollow(ctx, d)
	}
	if d.depth > snapshot.MaxPathDepth {
		return r.unread(ctx, d, e, errTooDeep)
	}
	h, st, err := r.openDir(d, e.name, follow)
	if err != nil {
		if vanished(err) {
			return r.drop(ctx, j, errGone)
		}
		return r.unread(ctx, d, e, err)
	}
	defer r.handles.rest(h)
	d.h = h
	d.node = r.dirNode(d, e, &st, h)
	if r.foreign(d, st.dev) { // mounted just now, or by entering it
		d.whole = false
	}
	return r.list(ctx, d, e.recorded())
}

// foreign says that a directory is a mount point that is not to be crossed.
func (r *run) foreign(d *dir, dev uint64) bool { return r.o.OneFileSystem && d.whole && dev != d.dev }

func (r *run) openDir(d *dir, name string, follow bool) (*handle, stat, error) {
	if r.o.fault != nil {
		if err := r.o.fault("opendir", d.path, 0); err != nil {
			return nil, stat{}, err
		}
	}
	return r.handles.enter(d.parent.h, name, follow)
}

// dirNode makes the node of a directory; h is nil if it is not opened.
func (r *run) dirNode(d *dir, e *entry, st *stat, h *handle) snapshot.Node {
	n := r.node(e.name, st)
	read := func() []snapshot.Xattr {
		return r.xattrs(d.path, func() ([]snapshot.Xattr, error) {
			if h == nil {
				at, err := r.handles.use(d.parent.h)
				if err != nil {
					return nil, err
				}
				defer r.handles.rest(d.parent.h)
				return xattrsAt(at, e.name)
			}
			list, err := xattrsOf(h.fd)
			if errors.Is(err, unix.EBADF) { // opened without the right to list it
				list, err = xattrsAt(h.fd, ".")
			}
			return list, err
		})
	}
	old := e.recorded()
	if old == nil || !e.old.trusted || old.Type != snapshot.Dir || old.Ctime != st.ctime || old.Inode != st.ino {
		n.Xattrs = read()
		return n
	}
	n.Xattrs = old.Xattrs
	if n.User == "" {
		n.User = old.User
	}
	if n.Group == "" {
		n.Group = old.Group
	}
	return n
}

// unread completes a directory that cannot be listed.
func (r *run) unread(ctx context.Context, d *dir, e *entry, err error) error {
	d.node = r.dirNode(d, e, &e.st, nil)
	d.failed = r.tally.fail(d.path, err)
	return r.hollow(ctx, d)
}

// hollow completes a directory without content: unreadable, or a mount point.
func (r *run) hollow(ctx context.Context, d *dir) error {
	n := d.node
	n.Error = d.failed
	r.front.set(d.parent, d.index, &n, n.Error == "", nil)
	r.o.Progress.Dirs.Add(1)
	return r.leave(ctx, d.parent)
}
