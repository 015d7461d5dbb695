package archive

import (
	"slices"
	"sync"
)

// shelf keeps the memory of columns that were opened for those that are read next. What it keeps and has given out stays
// within limit, except for buffers above that.
type shelf struct {
	mu     sync.Mutex
	limit  int64
	common int64 // a buffer is at least as long while limit allows it, and then fits any stretch but a few
	held   int64 // bytes kept and given out
	free   [][]byte
}

// newShelf makes the shelf of a pipeline with a budget of so many bytes. Stretches of near members differ in length up to nearStretch: with buffers of their
// length, restoring a file of 2 GiB made 990 MiB of them, and 190 with common ones and room for three more.
func (a *Archive) newShelf(budget int64) *shelf {
	if !a.near() {
		return &shelf{limit: budget}
	}
	return &shelf{limit: budget + 3*nearStretch, common: nearStretch + shelfStep}
}

// take returns an empty buffer with room for n bytes.
func (s *shelf) take(n int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := -1
	for i, b := range s.free {
		if int64(cap(b)) >= n && (best < 0 || cap(b) < cap(s.free[best])) {
			best = i
		}
	}
	if best >= 0 && int64(cap(s.free[best])) <= max(s.common, 2*n+shelfStep) {
		b := s.free[best]
		s.free = slices.Delete(s.free, best, best+1)
		return b[:0]
	}
	size := (n + shelfStep - 1) / shelfStep * shelfStep
	if size < s.common && s.held+s.common <= s.limit {
		size = s.common
	}
	for s.held+size > s.limit && len(s.free) > 0 {
		last := len(s.free) - 1
		s.held -= int64(cap(s.free[last]))
		s.free[last] = nil
		s.free = s.free[:last]
	}
	s.held += size
	return make([]byte, 0, size)
}

// shelfStep rounds buffers up, so that columns of about one length share them.
const shelfStep = 64 << 10

// put takes back a buffer that take gave out.
func (s *shelf) put(b []byte) {
	if cap(b) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, b)
}
