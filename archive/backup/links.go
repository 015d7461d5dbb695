package backup

import (
	"sync"

	"cairn/snapshot"
)

// maxLinks bounds the hard-linked inodes that are remembered: about 500 bytes each with their node, 65 MB. The
// files beyond it are read once for each name, and stored once all the same.
const maxLinks = 1 << 17

// links lets a file with several names be read once. Safe for concurrent use.
type links struct {
	mu    sync.Mutex
	files map[snapshot.LinkID]*link
}

type link struct {
	id      snapshot.LinkID
	seen    uint64         // names met so far
	node    *snapshot.Node // set when the file was read
	clean   bool
	waiting []job
}

// claim says what to do with one name of a file: read it (mine), take node, or neither: it is completed by whoever
// reads the file now. A nil link with mine is a file that is not remembered.
func (t *links) claim(id snapshot.LinkID, nlink uint64, j job) (l *link, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l = t.files[id]
	if l == nil {
		if len(t.files) >= maxLinks {
			return nil, true
		}
		if t.files == nil {
			t.files = map[snapshot.LinkID]*link{}
		}
		l = &link{id: id, seen: 1}
		t.files[id] = l
		return l, true
	}
	if l.seen++; l.node != nil {
		if l.seen >= nlink {
			delete(t.files, id)
		}
		return l, false
	}
	l.waiting = append(l.waiting, j)
	return nil, false
}

// settle records the node of a file and returns the names that waited for it.
func (t *links) settle(l *link, n *snapshot.Node, clean bool, nlink uint64) []job {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := l.waiting
	l.node, l.clean, l.waiting = n, clean, nil
	if l.seen >= nlink {
		delete(t.files, l.id)
	}
	return waiting
}

// pass hands the file to the next name that waits, because the one that was to be read is gone.
func (t *links) pass(l *link) (next job, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(l.waiting) == 0 {
		delete(t.files, l.id)
		return job{}, false
	}
	next = l.waiting[0]
	l.waiting = l.waiting[1:]
	return next, true
}
