package chunk

import (
	"runtime"
	"slices"
	"sync"
)

// Arena lends memory for chunks, plain or sealed, while they are worked on: parts of one buffer, each from the lowest place that is free, so that what is
// used at all is little more than what was out at once. Chunks differ in length by a factor of 16, so lists of
// buffers either come to hold the longest only, or are made anew and collected all the time: 232 collections for a file of 2 GiB at GOGC=10, and 30 with
// this. The zero value is ready. It is safe for concurrent use.
type Arena struct {
	mu     sync.Mutex
	memory []byte
	lent   []stretch // in their order
}

// stretch is a part of the memory.
type stretch struct{ from, to int }

const (
	// arenaSize is for two cores: a chunk of 8 MiB three times (plain, sealed, opened), or two of 2.7 MiB. For each further core arenaCore is added, for a
	// chunk of mean length.
	arenaSize = 25 << 20
	arenaCore = 5 << 20
	arenaStep = 4 << 10
)

// Take returns an empty buffer with room for n bytes, which are of any value. If the arena has no room it is a new one: nobody waits.
func (a *Arena) Take(n int) []byte {
	size := (n + arenaStep - 1) &^ (arenaStep - 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.memory == nil {
		a.memory = make([]byte, arenaSize+max(0, runtime.GOMAXPROCS(0)-2)*arenaCore)
	}
	from := 0
	for i := 0; i <= len(a.lent); i++ {
		to := len(a.memory)
		if i < len(a.lent) {
			to = a.lent[i].from
		}
		if to-from >= size {
			a.lent = slices.Insert(a.lent, i, stretch{from, from + size})
			return a.memory[from : from : from+size]
		}
		if i < len(a.lent) {
			from = a.lent[i].to
		}
	}
	return make([]byte, 0, n)
}

// Put gives back what Take returned, of whatever length. Nothing may use it any more.
func (a *Arena) Put(buf []byte) {
	if cap(buf) == 0 {
		return
	}
	first := &buf[:1][0]
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range a.lent {
		if &a.memory[s.from] == first {
			a.lent = slices.Delete(a.lent, i, i+1)
			return
		}
	}
}
