package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/snapshot"
)

const (
	// One window is written while the next is fetched and a third waits: about 3 × 16 MiB in all.
	windowBytes = 16 << 20
	windowSteps = 8192
)

// window is a stretch of a stream whose blobs are fetched together, over the borders of files.
type window struct {
	steps []step
	ids   []chunk.ID
	sizes map[chunk.ID]uint32
	bytes int64
	blobs map[chunk.ID][]byte
}

// step is one thing to write: the beginning of an entry, or one blob of the file that began last.
type step struct {
	path string // of an entry that begins
	link string // path of the file that it is another name of
	node *snapshot.Node
	id   chunk.ID
}

// sink writes a stream.
type sink interface {
	begin(path, link string, n *snapshot.Node) error
	content(b []byte) error // of the file that began last, in order, without its holes
	finish() error
}

// streamer cuts a tree into windows.
type streamer struct {
	src  Source
	next *window
	out  chan<- *window
}

// stream hands what produce emits to the sink, with windows fetched ahead.
func stream(ctx context.Context, src Source, to sink, produce func(ctx context.Context, s *streamer) error) error {
	g, ctx := errgroup.WithContext(ctx)
	windows := make(chan *window, 1)
	g.Go(func() error {
		defer close(windows)
		s := &streamer{src: src, next: &window{}, out: windows}
		if err := produce(ctx, s); err != nil {
			return err
		}
		return s.flush(ctx)
	})
	g.Go(func() error {
		for w := range windows {
			if err := w.write(to); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil { // the stream is not complete
			return err
		}
		return to.finish()
	})
	return g.Wait()
}

func (w *window) write(to sink) error {
	for _, s := range w.steps {
		var err error
		if s.node != nil {
			err = to.begin(s.path, s.link, s.node)
		} else {
			err = to.content(w.blobs[s.id])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// emit adds an entry; a file with all its content, unless it is another name of one before.
func (s *streamer) emit(ctx context.Context, path, link string, n *snapshot.Node) error {
	s.next.steps = append(s.next.steps, step{path: path, link: link, node: n})
	if n.Type != snapshot.File || link != "" {
		return s.flushIfFull(ctx)
	}
	if err := s.file(ctx, n); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return s.flushIfFull(ctx)
}

func (s *streamer) file(ctx context.Context, n *snapshot.Node) error {
	l, err := newLayout(n)
	if err != nil {
		return err
	}
	total := uint64(0)
	var ids []chunk.ID
	add := func() error {
		sizes := make([]uint32, len(ids))
		if err := s.src.Sizes(ctx, chunk.Data, ids, sizes); err != nil {
			return err
		}
		for i, id := range ids {
			total += uint64(sizes[i])
			if err := s.blob(ctx, id, sizes[i]); err != nil {
				return err
			}
		}
		ids = ids[:0]
		return nil
	}
	load := func(ctx context.Context, id chunk.ID) ([]byte, error) { return s.src.Load(ctx, chunk.Tree, id) }
	for id, err := range snapshot.Content(ctx, load, n.Content, n.Depth) {
		if err != nil {
			return err
		}
		if ids = append(ids, id); len(ids) == windowSteps {
			if err := add(); err != nil {
				return err
			}
		}
	}
	if len(ids) > 0 {
		if err := add(); err != nil {
			return err
		}
	}
	if total != l.data {
		return fmt.Errorf("%d of %d bytes: %w", total, l.data, errLength)
	}
	return nil
}

func (s *streamer) blob(ctx context.Context, id chunk.ID, size uint32) error {
	if size > chunk.MaxPlain {
		return fmt.Errorf("blob of %d bytes: %w", size, errLength)
	}
	w := s.next
	if w.sizes == nil {
		w.sizes = map[chunk.ID]uint32{}
	}
	if _, ok := w.sizes[id]; !ok {
		w.sizes[id] = size
		w.ids = append(w.ids, id)
		w.bytes += int64(size)
	}
	w.steps = append(w.steps, step{id: id})
	return s.flushIfFull(ctx)
}

func (s *streamer) flushIfFull(ctx context.Context) error {
	if s.next.bytes < windowBytes && len(s.next.steps) < windowSteps {
		return nil
	}
	return s.flush(ctx)
}

// flush fetches the window and passes it on.
func (s *streamer) flush(ctx context.Context) error {
	w := s.next
	s.next = &window{}
	if err := w.fetch(ctx, s.src); err != nil {
		if !lost(err) {
			return err
		}
		return w.blame(err)
	}
	select {
	case s.out <- w:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *window) fetch(ctx context.Context, src Source) error {
	if len(w.ids) == 0 {
		return ctx.Err()
	}
	type slot struct {
		at   int64
		size uint32
	}
	all := make([]byte, w.bytes)
	slots := make(map[chunk.ID]slot, len(w.ids))
	at := int64(0)
	for _, id := range w.ids {
		slots[id] = slot{at, w.sizes[id]}
		at += int64(w.sizes[id])
	}
	err := src.Fetch(ctx, chunk.Data, w.ids, func(id chunk.ID, plain []byte) error {
		s, ok := slots[id]
		if !ok || len(plain) != int(s.size) {
			return fmt.Errorf("blob %s of %d bytes: %w", id.Short(), len(plain), errLength)
		}
		copy(all[s.at:], plain)
		return nil
	})
	if err == nil {
		err = ctx.Err()
	}
	w.blobs = make(map[chunk.ID][]byte, len(slots))
	for id, s := range slots {
		w.blobs[id] = all[s.at : s.at+int64(s.size)]
	}
	return err
}

// blame names the first file of the window that needs a lost blob.
func (w *window) blame(err error) error {
	path, all := "a file that began before", reasons(err)
	for _, s := range w.steps {
		if s.node != nil {
			path = s.path
			continue
		}
		if why := all[s.id]; why != nil {
			return fmt.Errorf("%s: %w", path, why)
		}
	}
	return err
}

// gaps writes a file's content with zeros where its holes are.
type gaps struct {
	holes []snapshot.Range
	at    uint64
	w     io.Writer
}

func (g *gaps) reset(n *snapshot.Node, w io.Writer) error {
	*g = gaps{holes: n.Holes, w: w}
	return g.fill()
}

// fill writes the holes that begin here.
func (g *gaps) fill() error {
	for len(g.holes) > 0 && g.holes[0].Offset <= g.at {
		left := g.holes[0].Length
		for left > 0 {
			n := min(left, uint64(len(zeros)))
			if _, err := g.w.Write(zeros[:n]); err != nil {
				return err
			}
			left -= n
		}
		g.at += g.holes[0].Length
		g.holes = g.holes[1:]
	}
	return nil
}

func (g *gaps) content(b []byte) error {
	for len(b) > 0 {
		n := uint64(len(b))
		if len(g.holes) > 0 {
			n = min(n, g.holes[0].Offset-g.at)
		}
		if _, err := g.w.Write(b[:n]); err != nil {
			return err
		}
		g.at += n
		b = b[n:]
		if err := g.fill(); err != nil {
			return err
		}
	}
	return nil
}

// errNotFile is for DumpFile.
var errNotFile = errors.New("it is not a regular file")
