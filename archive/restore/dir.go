package restore

import (
	"container/list"
	"fmt"
	"sync"

	"cairn/snapshot"
)

// dir is one directory of the target.
type dir struct {
	parent *dir
	name   string         // in parent; "" for the target
	at     string         // of the target: its path in the snapshot
	length int            // of the path below the target
	node   *snapshot.Node // metadata to set at the end; nil: leave it as it was

	selected  bool // by Includes, itself or with a directory above
	state     dirState
	fresh     bool     // made by this run: nothing is in it but what we put there
	inherits  bool     // new entries may get ACLs from it
	bare      bool     // it has no entries in the snapshot
	deletable bool     // at or below a backed-up path and wholly recorded
	was       stat     // when it was there before
	loosened  bool     // its mode was widened to work in it
	existing  []string // with Delete: the names that were there and are still to be met in the snapshot
	extras    []string // of them, what the snapshot does not have
	round     int      // of the batch, when something in it was still to be made

	// guarded by dirs.mu
	id    identity
	fd    int
	users int
	elem  *list.Element
}

type dirState uint8

const (
	dirWaiting dirState = iota // not looked at yet (with Includes it may never be needed)
	dirOpen
	dirAbsent // dry run: it would be made
	dirFailed
)

// path returns where the directory is in the snapshot.
func (d *dir) path() string {
	if d.parent == nil {
		return d.at
	}
	return join(d.parent.path(), d.name)
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

// dirs keeps the descriptors of the directories used last and reopens others from their parents, so that trees of any
// width and depth take a bounded number. A path is never resolved by the kernel: no link is followed and PATH_MAX
// does not matter. Safe for concurrent use.
type dirs struct {
	mu   sync.Mutex
	max  int
	open list.List // of *dir, used last at the front
}

// add gives the cache a directory that was just opened.
func (c *dirs) add(d *dir, fd int, id identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.id = id
	c.insert(d, fd)
}

func (c *dirs) insert(d *dir, fd int) {
	d.fd = fd
	d.elem = c.open.PushFront(d)
	for e := c.open.Back(); e != nil && c.open.Len() > c.max; {
		prev := e.Prev()
		if old := e.Value.(*dir); old.users == 0 && old != d && old.parent != nil {
			c.remove(old)
		}
		e = prev
	}
}

func (c *dirs) remove(d *dir) {
	closeFd(d.fd)
	c.open.Remove(d.elem)
	d.elem = nil
}

// use returns a descriptor that stays open until release.
func (c *dirs) use(d *dir) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.reopen(d); err != nil {
		return -1, err
	}
	c.open.MoveToFront(d.elem)
	d.users++
	return d.fd, nil
}

func (c *dirs) reopen(d *dir) error {
	if d.elem != nil {
		return nil
	}
	if d.parent == nil || d.id == (identity{}) {
		return fmt.Errorf("%s is not open", d.path())
	}
	if err := c.reopen(d.parent); err != nil {
		return err
	}
	fd, err := openDirAt(d.parent.fd, d.name)
	if err != nil {
		return fmt.Errorf("reopen directory: %w", err)
	}
	if st, err := statFd(fd); err != nil || st.id != d.id {
		closeFd(fd)
		return fmt.Errorf("reopen directory: %w", orElse(err, ErrSwapped))
	}
	d.parent.users++
	c.insert(d, fd)
	d.parent.users--
	return nil
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func (c *dirs) release(d *dir) {
	c.mu.Lock()
	d.users--
	c.mu.Unlock()
}

// drop closes a directory that is finished; it can still be reopened.
func (c *dirs) drop(d *dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.elem != nil && d.users == 0 && d.parent != nil {
		c.remove(d)
	}
}

func (c *dirs) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open.Len() > 0 {
		c.remove(c.open.Front().Value.(*dir))
	}
}
