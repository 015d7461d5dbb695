package format

import (
	"crypto/sha256"
	"sync"
)

// Key stands for a name in a set: 96 bits, so that among a hundred million names two share a key by chance once in 10^13 trees.
type Key [12]byte

// NameKey is the key of a name.
func NameKey(parts ...string) Key {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	var sum [sha256.Size]byte
	return Key(h.Sum(sum[:0])[:12])
}

// Set maps keys to tags in bounded memory: open addressing, 16 bytes a slot, three quarters full before it doubles. Safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	slots []slot
	used  int
	limit int // slots
	full  bool
}

type slot struct {
	key Key
	tag uint32
}

// NewSet makes a set that takes at most memory bytes, the moment at which it doubles included.
func NewSet(memory int64) *Set {
	limit := 64
	for int64(limit)*2*16*3/2 <= memory { // old and new slots live side by side for a moment
		limit *= 2
	}
	return &Set{slots: make([]slot, 64), limit: limit}
}

// find returns the place of k, or the free slot where it would go. The zero key marks free slots.
func (s *Set) find(k Key) *slot {
	mask := uint64(len(s.slots) - 1)
	i := uint64(k[0]) | uint64(k[1])<<8 | uint64(k[2])<<16 | uint64(k[3])<<24 | uint64(k[4])<<32
	for ; ; i++ {
		if p := &s.slots[i&mask]; p.key == k || p.key == (Key{}) {
			return p
		}
	}
}

func proper(k Key) Key {
	if k == (Key{}) {
		k[11] = 1
	}
	return k
}

// Add puts k in with a tag. If it is there, old is its tag, which stays. A full set does not take k and says that it is new.
func (s *Set) Add(k Key, tag uint32) (old uint32, there bool) {
	k = proper(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(k)
	if p.key == k {
		return p.tag, true
	}
	if s.used >= len(s.slots)/4*3 {
		if len(s.slots) >= s.limit {
			s.full = true
			return 0, false
		}
		before := s.slots
		s.slots = make([]slot, 2*len(before))
		for _, o := range before {
			if o.key != (Key{}) {
				*s.find(o.key) = o
			}
		}
		p = s.find(k)
	}
	*p = slot{k, tag}
	s.used++
	return 0, false
}

// Mark changes the tag of k, if it is there.
func (s *Set) Mark(k Key, change func(tag uint32) uint32) {
	k = proper(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.find(k); p.key == k {
		p.tag = change(p.tag)
	}
}

// Get returns the tag of k.
func (s *Set) Get(k Key) (tag uint32, there bool) {
	k = proper(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(k)
	return p.tag, p.key == k
}

// Incomplete notes that a set was full, and what is not known for that.
func (r *Run) Incomplete(s *Set, what string) {
	if s.full {
		r.Found(Budget, r.Root, "only the first %d names fit into the memory allowed: %s", s.used, what)
	}
}

// Len is the number of keys.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Full says whether keys were forgotten.
func (s *Set) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}
