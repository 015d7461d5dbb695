package pack

import (
	"maps"
	"math/rand/v2"
)

// layout decides which column a blob goes to. It knows lengths only, no bytes.
//
// A blob goes to a random column of those where it fits below the limit, which is the target or the longest column
// if that is longer: of two columns drawn at random, the fuller one. That keeps the column unpredictable (with k=4
// the draw has 1.75 of 2 bits), so that a pack's public lengths say nothing of the lengths of chunks, and it wastes less than
// balancing: a column that is left emptier can still take a large blob when the others are nearly full.
//
// Padding as a share of all bytes (TestPaddingWaste; chunks of 512 KiB to 8 MiB, 1.5 MiB on average):
//
//	                              one pack open      two packs open
//	                              k=1  k=4  k=8      k=1  k=4  k=8
//	chunks compressed by half     0.0  2.5  5.4      0.0  1.0  2.5 %
//	chunks that do not compress   0.0  6.0  10.5     0.0  2.4  6.5 %
//	blobs of 3 KiB                0.0  0.0  0.0      0.0  0.0  0.0 %
//
// With one pack open and k=4, a uniform draw wastes 3.3 and 7.9 %, the emptier of two 4.2 and 9.1 %. So a caller should keep
// two packs open, give each blob to a random one in which it fits, and seal the fullest when it fits in none.
type layout struct {
	target int
	spans  []span
}

// span is what one column holds.
type span struct {
	used         int // bytes of blobs
	entries      int
	foreign      bool             // some blobs are of other sessions
	numbers      map[string]uint8 // of those sessions, by sessionKey
	sessionBytes int              // what they take in the directory
}

// size returns the length of the column: blobs and sealed directory.
func (s *span) size() int {
	return s.used + directorySize(s.entries, s.foreign, len(s.numbers), s.sessionBytes) + sealing
}

// guest is the session of a blob that was copied from another pack, with what placing it needs.
type guest struct {
	SessionWrap
	key   string // sessionKey
	bytes int    // what it takes in a directory
}

func newGuest(s SessionWrap) *guest {
	return &guest{SessionWrap: s, key: string(sessionKey(nil, s)), bytes: sessionSize(s)}
}

// sizeWith returns the size after another blob of n bytes; g is nil for blobs of the pack's own session. It returns
// false if a table of the directory is full.
func (s *span) sizeWith(n int, g *guest) (int, bool) {
	sessions, sessionBytes := len(s.numbers), s.sessionBytes
	if g != nil && s.numbers[g.key] == 0 {
		sessions++
		sessionBytes += g.bytes
	}
	size := s.used + n + directorySize(s.entries+1, s.foreign || g != nil, sessions, sessionBytes) + sealing
	return size, sessions <= MaxSessions && s.entries < MaxEntries
}

// add records another blob and returns its session's number.
func (s *span) add(n int, g *guest) (number uint8) {
	s.used += n
	s.entries++
	if g == nil {
		return 0
	}
	s.foreign = true
	if number = s.numbers[g.key]; number == 0 {
		if s.numbers == nil {
			s.numbers = map[string]uint8{}
		}
		number = uint8(len(s.numbers) + 1)
		s.numbers[g.key] = number
		s.sessionBytes += g.bytes
	}
	return number
}

// limit returns how long a column may grow for free: filling up to the longest column only replaces padding.
func (l *layout) limit() int {
	longest := 0
	for i := range l.spans {
		if s := &l.spans[i]; s.entries > 0 {
			longest = max(longest, s.size())
		}
	}
	return max(l.target, roundUp(longest))
}

// columns is a list of column numbers; a value, so that placing a blob allocates nothing.
type columns struct {
	n  int
	at [MaxShards]uint8
}

// fitting returns the columns that have room for a blob. A blob that is too large for any column of target length
// may make the pack longer: up to twice the target, which bounds the memory of a pack, or up to MaxColumn in a pack
// that is still empty.
func (l *layout) fitting(n int, g *guest) columns {
	fit := l.below(l.limit(), n, g)
	if fit.n > 0 {
		return fit
	}
	if alone, _ := new(span).sizeWith(n, g); alone <= l.target {
		return fit
	}
	if l.empty() {
		return l.below(MaxColumn, n, g)
	}
	return l.below(min(MaxColumn, 2*l.target), n, g)
}

func (l *layout) below(limit, n int, g *guest) (fit columns) {
	for i := range l.spans {
		if size, ok := l.spans[i].sizeWith(n, g); ok && size <= limit {
			fit.at[fit.n] = uint8(i)
			fit.n++
		}
	}
	return fit
}

func (l *layout) empty() bool {
	for i := range l.spans {
		if l.spans[i].entries > 0 {
			return false
		}
	}
	return true
}

// choose draws a column for a blob, or returns false if the pack is full.
func (l *layout) choose(rng *rand.Rand, n int, g *guest) (column int, ok bool) {
	fit := l.fitting(n, g)
	if fit.n == 0 {
		return 0, false
	}
	a, b := fit.at[rng.IntN(fit.n)], fit.at[rng.IntN(fit.n)]
	if l.spans[b].used > l.spans[a].used {
		a = b
	}
	return int(a), true
}

// clone returns an independent copy, to try things on.
func (l *layout) clone() layout {
	c := layout{target: l.target, spans: make([]span, len(l.spans))}
	for i, s := range l.spans {
		s.numbers = maps.Clone(s.numbers)
		c.spans[i] = s
	}
	return c
}
