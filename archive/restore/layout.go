package restore

import (
	"fmt"
	"iter"
	"math"
	"sort"

	"cairn/snapshot"
)

// layout maps a file's content, which has no holes, to places in the file, which has.
type layout struct {
	holes []snapshot.Range
	start []uint64 // start[i]: content bytes before hole i
	size  uint64   // of the file
	data  uint64   // of the content
}

// newLayout checks the recorded holes and size; they come from an archive and may be anything.
func newLayout(n *snapshot.Node) (layout, error) {
	if n.Size > math.MaxInt64 {
		return layout{}, fmt.Errorf("size %d: %w", n.Size, errLength)
	}
	l := layout{holes: n.Holes, size: n.Size, data: n.Size}
	if len(n.Holes) > 0 {
		l.start = make([]uint64, len(n.Holes))
	}
	end, holes := uint64(0), uint64(0)
	for i, h := range n.Holes {
		if h.Length == 0 || h.Offset < end || h.Offset > n.Size || h.Length > n.Size-h.Offset {
			return layout{}, fmt.Errorf("hole %d+%d in %d bytes: %w", h.Offset, h.Length, n.Size, errLength)
		}
		l.start[i] = h.Offset - holes
		end = h.Offset + h.Length
		holes += h.Length
	}
	l.data -= holes
	return l, nil
}

// span is where a stretch of content lies in the file.
type span struct{ off, n int64 }

// spans yields the places of content bytes [from, from+n).
func (l *layout) spans(from, n uint64) iter.Seq[span] {
	return func(yield func(span) bool) {
		i := sort.Search(len(l.start), func(i int) bool { return l.start[i] > from })
		for n > 0 {
			off, run := from, n
			if i > 0 {
				h := l.holes[i-1]
				off = h.Offset + h.Length + (from - l.start[i-1])
			}
			if i < len(l.start) {
				run = min(n, l.start[i]-from)
			}
			if run > 0 && !yield(span{int64(off), int64(run)}) {
				return
			}
			from, n = from+run, n-run
			i++
		}
	}
}

const (
	blockSize  = 4096
	minZeroRun = 64 << 10 // shorter holes cost more in extents than they save
)

// zeros is what holes read as; it is never written to.
var zeros [64 << 10]byte

// nonZero yields the stretches of b that have to be written when long runs of zeros become holes: b goes to offset off,
// runs are counted in whole blocks of the file.
func nonZero(b []byte, off int64) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		from := 0
		for at := int((blockSize - off%blockSize) % blockSize); at < len(b); {
			run := zeroBlocks(b[at:])
			if run < minZeroRun {
				at += max(run, blockSize)
				continue
			}
			if at > from && !yield(from, at) {
				return
			}
			at += run
			from = at
		}
		if from < len(b) {
			yield(from, len(b))
		}
	}
}

// zeroBlocks returns how many bytes at the beginning of b are blocks of zeros.
func zeroBlocks(b []byte) int {
	n := 0
	for len(b)-n >= blockSize && [blockSize]byte(b[n:n+blockSize]) == [blockSize]byte(zeros[:blockSize]) {
		n += blockSize
	}
	return n
}
