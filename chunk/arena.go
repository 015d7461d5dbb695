package chunk

import (
	"slices"
	"sync"
)

// Arena lends memory for chunks, plain or sealed, while they are worked on: parts of a few large pieces, each from the first place that has room, so that
// what is used at all is little more than what was out at once. Chunks differ in length by a factor of 16, so lists of
// buffers either come to hold the longest only, or are made anew and collected all the time: 232 collections for a file of 2 GiB at GOGC=10, and 14 with
// this. The zero value is ready. It is safe for concurrent use.
type Arena struct {
	mu     sync.Mutex
	pieces []piece
}

// piece is made when those before it have no room.
type piece struct {
	memory []byte
	lent   []stretch // in their order
}

// stretch is a part of a piece.
type stretch struct{ from, to int }

const (
	// arenaPiece holds any chunk of Params.Max with its overhead.
	arenaPiece = maxChunk + 256<<10
	// arenaPieces are enough for two cores: a chunk of 8 MiB three times (plain, sealed, opened), or two of 4 MiB. For two further cores there is one more.
	arenaPieces = 3
	arenaStep   = 4 << 10
)

// Take returns an empty buffer with room for n bytes, which are of any value. If the arena has no room it is a new one: nobody waits.
func (a *Arena) Take(n int) []byte {
	size := (n + arenaStep - 1) &^ (arenaStep - 1)
	if size <= 0 || size > arenaPiece {
		return make([]byte, 0, max(n, 0))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.pieces {
		if buf := a.pieces[i].take(size); buf != nil {
			return buf
		}
	}
	if len(a.pieces) >= arenaPieces+max(0, Cores()-2)/2 {
		return make([]byte, 0, n)
	}
	a.pieces = append(a.pieces, piece{memory: make([]byte, arenaPiece)})
	return a.pieces[len(a.pieces)-1].take(size)
}

func (p *piece) take(size int) []byte {
	from := 0
	for i := 0; i <= len(p.lent); i++ {
		to := len(p.memory)
		if i < len(p.lent) {
			to = p.lent[i].from
		}
		if to-from >= size {
			p.lent = slices.Insert(p.lent, i, stretch{from, from + size})
			return p.memory[from : from : from+size]
		}
		if i < len(p.lent) {
			from = p.lent[i].to
		}
	}
	return nil
}

// Put gives back what Take returned, of whatever length. Nothing may use it any more.
func (a *Arena) Put(buf []byte) {
	if cap(buf) == 0 {
		return
	}
	first := &buf[:1][0]
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.pieces {
		p := &a.pieces[i]
		for j, s := range p.lent {
			if &p.memory[s.from] == first {
				p.lent = slices.Delete(p.lent, j, j+1)
				return
			}
		}
	}
}
