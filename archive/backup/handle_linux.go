package backup

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// maxOpenDirs bounds the directory descriptors that are kept open while nobody uses them. A deeper tree is
// walked with the innermost open; an outer one is opened again, from its parent, when the walk comes back.
const maxOpenDirs = 128

// handle is a directory that can be reached: by its descriptor, or from its parent.
type handle struct {
	parent   *handle
	name     string
	follow   bool // a directory on the way to a named path, which may be a symlink
	dev, ino uint64

	// guarded by handles.mu
	fd   int // -1: closed
	refs int // who may still need it
	pins int // who is using fd now
	idle *list.Element
}

// handles owns all directory descriptors of a run.
type handles struct {
	mu   sync.Mutex
	idle list.List // of *handle: open and not pinned, least recently used first
	open int
}

// enter opens the directory name of parent (nil: the file system's root) and returns it with one
// reference, pinned. The parent must be referenced by the caller.
func (t *handles) enter(parent *handle, name string, way bool) (*handle, stat, error) {
	h := &handle{parent: parent, name: name, follow: way, fd: -1, refs: 1, pins: 1}
	fd, err := t.openFrom(h)
	if err != nil {
		return nil, stat{}, err
	}
	st, err := statFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, stat{}, err
	}
	h.fd, h.dev, h.ino = fd, st.dev, st.ino
	t.mu.Lock()
	defer t.mu.Unlock()
	if parent != nil {
		parent.refs++
	}
	t.open++
	t.trim()
	return h, st, nil
}

func (t *handles) openFrom(h *handle) (int, error) {
	at := unix.AT_FDCWD
	if h.parent != nil {
		fd, err := t.use(h.parent)
		if err != nil {
			return -1, err
		}
		defer t.rest(h.parent)
		at = fd
	}
	if h.follow {
		return openWayAt(at, h.name)
	}
	return openDirAt(at, h.name, false)
}

// use pins the handle and returns its descriptor, valid until rest.
func (t *handles) use(h *handle) (int, error) {
	t.mu.Lock()
	h.pins++
	if h.idle != nil {
		t.idle.Remove(h.idle)
		h.idle = nil
	}
	fd := h.fd
	t.mu.Unlock()
	if fd >= 0 {
		return fd, nil
	}
	return t.reopen(h)
}

// reopen opens a pinned handle from its parent and proves by its inode that it is the same directory.
func (t *handles) reopen(h *handle) (int, error) {
	fd, err := t.openFrom(h)
	if err == nil {
		var st stat
		if st, err = statFD(fd); err == nil && (st.dev != h.dev || st.ino != h.ino) {
			err = errReplaced
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		t.rest(h)
		return -1, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.fd >= 0 { // another goroutine was faster
		unix.Close(fd)
		return h.fd, nil
	}
	h.fd = fd
	t.open++
	t.trim()
	return fd, nil
}

// rest gives back what use or enter pinned.
func (t *handles) rest(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h.pins--
	if h.pins == 0 && h.fd >= 0 {
		h.idle = t.idle.PushBack(h)
		t.trim()
	}
}

// drop takes a reference away; the last one closes, and drops the parent.
func (t *handles) drop(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; h != nil; h = h.parent {
		if h.refs--; h.refs > 0 {
			return
		}
		t.shut(h)
	}
}

// trim closes idle descriptors above the bound.
func (t *handles) trim() {
	for t.open > maxOpenDirs && t.idle.Len() > 0 {
		t.shut(t.idle.Front().Value.(*handle))
	}
}

func (t *handles) shut(h *handle) {
	if h.idle != nil {
		t.idle.Remove(h.idle)
		h.idle = nil
	}
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
		t.open--
	}
}

// closeAll ends a run, also a broken-off one: nobody uses a descriptor any more.
func (t *handles) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.idle.Len() > 0 {
		t.shut(t.idle.Front().Value.(*handle))
	}
}
