package treecmp

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

const (
	holeMin = 64 << 10 // shorter holes of A may be filled in B
	page    = 4 << 10  // file systems tell holes at this granularity or a coarser one
	piece   = 1 << 20  // bytes compared at a time
)

// extent is a stretch of a file, [from, to).
type extent struct{ from, to int64 }

// files compares the content and the holes of two open files. What is a hole in both is not read: a sparse
// file of 5 GiB costs no more than its data.
func (c *comparison) files(path string, a, b int) {
	dataA, err := extents(a)
	if err != nil {
		c.unreadable(path, "A", err)
		return
	}
	dataB, err := extents(b)
	if err != nil {
		c.unreadable(path, "B", err)
		return
	}
	c.holes(path, a, dataA, dataB)
	for _, e := range union(dataA, dataB) {
		for at := e.from; at < e.to; at += piece {
			n := min(piece, e.to-at)
			x, errA := readAt(a, c.bufA[:n], at)
			y, errB := readAt(b, c.bufB[:n], at)
			if err := errors.Join(errA, errB); err != nil {
				c.unreadable(path, "content", err)
				return
			}
			if !bytes.Equal(x, y) {
				i := firstDifference(x, y)
				c.differ(path, "content", fmt.Sprintf("byte %d: %s", at+int64(i), byteAt(x, i)), byteAt(y, i))
				return
			}
		}
	}
}

func firstDifference(x, y []byte) int {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i
		}
	}
	return min(len(x), len(y))
}

func byteAt(b []byte, i int) string {
	if i >= len(b) {
		return "end of file"
	}
	return fmt.Sprintf("%#02x", b[i])
}

// readAt reads what there is of buf at an offset; less only at the end of the file.
func readAt(fd int, buf []byte, at int64) ([]byte, error) {
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], at+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return buf[:n], nil
}

// extents are a file's stretches of data, widened to whole pages (the last one to the file's end).
func extents(fd int) ([]extent, error) {
	var list []extent
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	for at := int64(0); at < st.Size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if errors.Is(err, unix.EINVAL) { // a file system that knows no holes
			return []extent{{0, st.Size}}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("seek data: %w", err)
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("seek hole: %w", err)
		}
		e := extent{from / page * page, min((to+page-1)/page*page, st.Size)}
		if n := len(list); n > 0 && e.from <= list[n-1].to {
			list[n-1].to = e.to
		} else {
			list = append(list, e)
		}
		at = to
	}
	_, err := unix.Seek(fd, 0, io.SeekStart)
	return list, err
}

// holes demands that every hole of A of at least holeMin is one of B.
func (c *comparison) holes(path string, a int, dataA, dataB []extent) {
	var st unix.Stat_t
	if unix.Fstat(a, &st) != nil {
		return // it was just opened and read
	}
	at := int64(0)
	for _, e := range append(dataA, extent{st.Size, st.Size}) {
		if e.from-at >= holeMin {
			for _, d := range dataB {
				if d.from < e.from && d.to > at {
					c.differ(path, "hole", fmt.Sprintf("[%d, %d)", at, e.from), fmt.Sprintf("data [%d, %d)", d.from, d.to))
					return
				}
			}
		}
		at = e.to
	}
}

// union merges two ascending lists of extents.
func union(x, y []extent) []extent {
	var list []extent
	for len(x) > 0 || len(y) > 0 {
		var e extent
		if len(y) == 0 || len(x) > 0 && x[0].from <= y[0].from {
			e, x = x[0], x[1:]
		} else {
			e, y = y[0], y[1:]
		}
		if n := len(list); n > 0 && e.from <= list[n-1].to {
			list[n-1].to = max(list[n-1].to, e.to)
		} else {
			list = append(list, e)
		}
	}
	return list
}
