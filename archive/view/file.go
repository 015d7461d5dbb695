package view

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sort"
	"sync"

	"cairn/chunk"
	"cairn/snapshot"
)

// File is an open file. It implements io.Reader, io.Seeker and io.ReaderAt.
type File struct {
	v    *FS
	name string
	node *snapshot.Node
	data []int64 // data[i]: content bytes before hole i; the last: all of them
	at   int64   // of Read

	mu     sync.Mutex
	closed bool
	ids    []chunk.ID // found out at the first read
	ends   []int64    // of the chunks, in the content
	from   int        // first chunk of the window
	window [][]byte
}

var (
	_ fs.File     = (*File)(nil)
	_ io.ReaderAt = (*File)(nil)
	_ io.Seeker   = (*File)(nil)
)

// errLength means that a file's record contradicts itself or its blobs.
var errLength = errors.New("size, holes and content do not fit together")

func newFile(v *FS, name string, n *snapshot.Node) (*File, error) {
	f := &File{v: v, name: name, node: n}
	if n.Size > math.MaxInt64 {
		return nil, fmt.Errorf("size %d: %w", n.Size, errLength)
	}
	end, holes := uint64(0), uint64(0)
	for _, h := range n.Holes {
		if h.Length == 0 || h.Offset < end || h.Offset > n.Size || h.Length > n.Size-h.Offset {
			return nil, fmt.Errorf("hole %d+%d in %d bytes: %w", h.Offset, h.Length, n.Size, errLength)
		}
		f.data = append(f.data, int64(h.Offset-holes))
		end = h.Offset + h.Length
		holes += h.Length
	}
	f.data = append(f.data, int64(n.Size-holes))
	return f, nil
}

// Stat returns what is known of the file.
func (f *File) Stat() (fs.FileInfo, error) { return infoOf(f.name, f.node), nil }

// Close gives the memory back.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.v.fail("close", f.name, fs.ErrClosed)
	}
	f.closed, f.ids, f.ends, f.window = true, nil, nil, nil
	return nil
}

// Read reads on. At the end of a file that the backup did not read whole it fails with ErrUnread instead of io.EOF.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.readAt("read", p, f.at)
	f.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += int64(f.node.Size)
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, f.v.fail("seek", f.name, fs.ErrInvalid)
	}
	f.at = offset
	return offset, nil
}

// ReadAt implements io.ReaderAt. Concurrent calls wait for each other.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.readAt("readat", p, off) }

func (f *File) readAt(op string, p []byte, off int64) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, f.v.fail(op, f.name, fs.ErrClosed)
	}
	if off < 0 {
		return 0, f.v.fail(op, f.name, fs.ErrInvalid)
	}
	size := int64(f.node.Size)
	for n < len(p) && off < size {
		got, err := f.some(p[n:min(int64(len(p)), int64(n)+size-off)], off)
		if err != nil {
			return n, f.v.fail(op, f.name, fmt.Errorf("at offset %d: %w", off, err))
		}
		n += got
		off += int64(got)
	}
	if n == len(p) {
		return n, nil
	}
	if f.node.Error != "" {
		return n, f.v.fail(op, f.name, unread(f.node))
	}
	return n, io.EOF
}

// some reads at least one byte at off, which lies in the file: of one hole, or of one chunk.
func (f *File) some(p []byte, off int64) (int, error) {
	holes := f.node.Holes
	i := sort.Search(len(holes), func(i int) bool { return int64(holes[i].Offset) > off }) // holes that begin at or before off
	at := off
	if i > 0 {
		h := holes[i-1]
		end := int64(h.Offset + h.Length)
		if off < end {
			p = p[:min(int64(len(p)), end-off)]
			clear(p)
			return len(p), nil
		}
		at = f.data[i-1] + off - end
	}
	p = p[:min(int64(len(p)), f.data[i]-at)] // up to the next hole, or the end
	return f.content(p, at)
}

// content reads at least one byte of the content, which has no holes.
func (f *File) content(p []byte, at int64) (int, error) {
	if f.ids == nil {
		if err := f.chunks(); err != nil {
			return 0, err
		}
	}
	i := sort.Search(len(f.ends), func(i int) bool { return f.ends[i] > at })
	if i < f.from || i >= f.from+len(f.window) {
		if err := f.fetch(i); err != nil {
			return 0, err
		}
	}
	return copy(p, f.window[i-f.from][at-f.begin(i):]), nil
}

func (f *File) begin(i int) int64 {
	if i == 0 {
		return 0
	}
	return f.ends[i-1]
}

// chunks finds out where the chunks lie in the content.
func (f *File) chunks() error {
	const batch = 8192
	var ids []chunk.ID
	var ends []int64
	total, all := int64(0), f.data[len(f.data)-1]
	sizes := make([]uint32, batch)
	measure := func() error {
		part := ids[len(ends):]
		if len(part) == 0 {
			return nil
		}
		if err := f.v.src.Sizes(f.v.ctx, chunk.Data, part, sizes[:len(part)]); err != nil {
			return err
		}
		for _, n := range sizes[:len(part)] {
			if total += int64(n); n == 0 || n > chunk.MaxPlain || total > all {
				return errLength
			}
			ends = append(ends, total)
		}
		return nil
	}
	for id, err := range snapshot.Content(f.v.ctx, f.v.load, f.node.Content, f.node.Depth) {
		if err != nil {
			return err
		}
		if ids = append(ids, id); len(ids)-len(ends) == batch {
			if err := measure(); err != nil {
				return err
			}
		}
	}
	if err := measure(); err != nil {
		return err
	}
	if total != all {
		return fmt.Errorf("%d of %d bytes: %w", total, all, errLength)
	}
	f.ids, f.ends = ids, ends
	return nil
}

// fetch makes the window begin at chunk i. A read that goes on where the window ended gets a whole one; another one only the chunk it
// needs, because what comes next is anybody's guess.
func (f *File) fetch(i int) error {
	n := 1
	if i == f.from+len(f.window) {
		for i+n < len(f.ids) && f.ends[i+n]-f.begin(i) <= Window {
			n++
		}
	}
	f.from, f.window = i, nil // if the fetch fails, it is asked for again
	var mu sync.Mutex
	got := make(map[chunk.ID][]byte, n)
	err := f.v.src.Fetch(f.v.ctx, chunk.Data, f.ids[i:i+n], func(id chunk.ID, plain []byte) error {
		kept := append([]byte(nil), plain...)
		mu.Lock()
		defer mu.Unlock()
		got[id] = kept
		return nil
	})
	if err != nil {
		whole := 0 // chunks before the first that is lost
		for whole < n && got[f.ids[i+whole]] != nil {
			whole++
		}
		if whole == 0 || f.v.ctx.Err() != nil {
			return err
		}
		n = whole
	}
	window := make([][]byte, n)
	for j := range window {
		window[j] = got[f.ids[i+j]]
		if int64(len(window[j])) != f.ends[i+j]-f.begin(i+j) {
			return fmt.Errorf("blob %s of %d bytes: %w", f.ids[i+j].Short(), len(window[j]), errLength)
		}
	}
	f.window = window
	return nil
}
