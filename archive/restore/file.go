package restore

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/snapshot"
)

// file is a regular file on its way.
type file struct {
	dir    *dir
	node   snapshot.Node // without content
	layout layout
	exists bool // something has its name: was
	was    stat
	link   *linked // further names wait for it

	mu      sync.Mutex
	fd      int // for writing; valid while elem != nil
	elem    *list.Element
	id      identity // of what is written, known when it was closed once
	temp    string   // it is written under this name and renamed at the end
	made    bool     // the inode is ours
	blank   bool     // and what was not written reads as zeros
	differs bool     // of an existing file: content, size or holes
	begun   bool     // it was opened for writing
	pending int      // blobs still to be written
	last    bool     // no blobs come after this batch
	done    bool
	err     error
	lost    error  // Salvage: why the first of the blobs did not come that it lacks
	lacks   uint64 // bytes of those
}

func (f *file) path() string { return join(f.dir.path(), f.node.Name) }

// name is what the inode that is written to is called now.
func (f *file) name() string {
	if f.temp != "" {
		return f.temp
	}
	return f.node.Name
}

// part is what one batch holds of a file.
type part struct {
	f     *file
	start uint64 // content bytes before it
	ids   []chunk.ID
	sizes []uint32
	need  []bool // nil: all; of an existing file: the blobs that differ; of a part that was kept: those still to be fetched

	fetched bool // nothing of it is still to be fetched
}

// fdCache keeps the files used last open for writing. Each file's own lock guards its descriptor; files in use are not
// closed. Safe for concurrent use.
type fdCache struct {
	mu   sync.Mutex
	max  int
	open list.List // of *file, used last at the front
}

// touch notes that f (locked by the caller) was opened or used.
func (c *fdCache) touch(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.elem != nil {
		c.open.MoveToFront(f.elem)
		return
	}
	f.elem = c.open.PushFront(f)
	for e := c.open.Back(); e != nil && c.open.Len() > c.max; {
		prev := e.Prev()
		if old := e.Value.(*file); old != f && old.mu.TryLock() {
			if st, err := statFd(old.fd); err == nil {
				old.id = st.id
			}
			c.remove(old)
			old.mu.Unlock()
		}
		e = prev
	}
}

func (c *fdCache) remove(f *file) {
	closeFd(f.fd)
	c.open.Remove(f.elem)
	f.elem = nil
}

// drop closes f, which the caller has locked.
func (c *fdCache) drop(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.elem != nil {
		c.remove(f)
	}
}

// writable opens f (locked) for writing, as a new file or an existing one.
func (r *run) writable(f *file) error {
	if f.elem != nil {
		r.fds.touch(f)
		return nil
	}
	at, err := r.dirs.use(f.dir)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.dir)
	switch {
	case f.begun:
		err = r.reopen(f, at)
	case !f.exists:
		f.fd, err = createAt(at, f.node.Name)
		f.made, f.blank = err == nil, true
	case f.was.typ != snapshot.File || f.was.links > 1:
		err = r.detach(f, at)
	default:
		f.fd, err = openWriteAt(at, f.node.Name)
		if err == unix.EACCES || err == unix.ETXTBSY || err == unix.EPERM {
			err = r.detach(f, at) // a new inode may take the name where the old one may not be written
		} else if err == nil {
			err = sameFile(f.fd, f.was.id)
		}
	}
	if err != nil {
		return err
	}
	r.fds.touch(f)
	if f.begun {
		return nil
	}
	f.begun = true
	return r.reserve(f)
}

// sameFile closes fd unless it is the inode that was looked at before.
func sameFile(fd int, id identity) error {
	st, err := statFd(fd)
	if err == nil && st.id == id {
		return nil
	}
	closeFd(fd)
	return orElse(err, ErrSwapped)
}

func (r *run) reopen(f *file, at int) error {
	fd, err := openWriteAt(at, f.name())
	if err != nil {
		return err
	}
	if err := sameFile(fd, f.id); err != nil {
		return err
	}
	f.fd = fd
	return nil
}

const (
	// Below this size the pages are written at once anyway.
	allocateFrom = 8 << 20
	// A file of one blob gets its size from the write.
	oneBlob = 1
)

// reserve gives f its size.
func (r *run) reserve(f *file) error {
	size := int64(f.node.Size)
	switch {
	case !f.made:
		if f.was.size == size {
			return nil
		}
	case f.pending <= oneBlob && f.last && len(f.node.Holes) == 0 && !r.o.Sparse && f.temp == "":
		return nil
	case size >= allocateFrom && len(f.node.Holes) == 0 && !r.o.Sparse:
		return allocate(f.fd, size)
	}
	return truncate(f.fd, size)
}

// detach begins a new inode that will take the name of the existing one: that one is no file, has further names (which
// may lie outside of the target), or must not be written. A file's content is copied, because only what
// differs is fetched.
func (r *run) detach(f *file, at int) error {
	temp, fd, err := createTemp(at)
	if err != nil {
		return err
	}
	f.temp, f.fd, f.made = temp, fd, true
	if f.was.typ != snapshot.File {
		f.blank = true
		return nil
	}
	old, err := openReadAt(at, f.node.Name)
	if err == unix.EACCES {
		f.blank = true
		return nil // nor could it be compared: everything is fetched
	}
	if err == nil {
		defer closeFd(old)
		if st, statErr := statFd(old); statErr != nil || st.id != f.was.id {
			err = orElse(statErr, ErrSwapped)
		} else {
			err = copyAll(old, fd, min(st.size, int64(f.node.Size)))
		}
	}
	if err != nil {
		closeFd(fd)
		_ = unix.Unlinkat(at, temp, 0)
		f.temp, f.made = "", false
	}
	return err
}

func tempName() string { return fmt.Sprintf(".cairn-%016x.tmp", rand.Uint64()) }

// createTemp makes a file under a new name.
func createTemp(at int) (string, int, error) {
	for {
		name := tempName()
		fd, err := createAt(at, name)
		if err != unix.EEXIST {
			return name, fd, err
		}
	}
}
