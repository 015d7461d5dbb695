package restore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"cairn/chunk"
	"cairn/snapshot"
)

// IncompleteError says what a dump had to leave out because it was not readable at backup time. All else was written.
type IncompleteError struct {
	Count int
	Paths []string // the first few
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("%d entries were not readable at backup time and are left out; the first: %s", e.Count, strings.Join(e.Paths, ", "))
}

func (e *IncompleteError) add(path string) {
	if e.Count++; len(e.Paths) < maxExamples {
		e.Paths = append(e.Paths, path)
	}
}

// DumpFile writes the content of a file to w, holes as zeros. It reads ahead by about 48 MiB.
func DumpFile(ctx context.Context, src Source, n *snapshot.Node, w io.Writer) error {
	if n.Type != snapshot.File {
		return fmt.Errorf("%s: %w", n.Name, errNotFile)
	}
	if n.Error != "" {
		return fmt.Errorf("%s: %w: %s", n.Name, errBackup, n.Error)
	}
	return stream(ctx, src, &fileSink{w: w}, func(ctx context.Context, s *streamer) error { return s.emit(ctx, n.Name, "", n) })
}

type fileSink struct {
	w io.Writer
	gaps
}

func (f *fileSink) begin(_, _ string, n *snapshot.Node) error { return f.reset(n, f.w) }
func (f *fileSink) finish() error                             { return nil }

// DumpTar writes an entry and all below it as a PAX tar stream, under the name prefix ("" for the content of a directory
// itself). Memory is bounded as for DumpFile. A lost blob ends it with an error, as a tar cannot take back a file that it began;
// sockets cannot be in a tar and are left out. An *IncompleteError at the end means that the stream is whole otherwise.
func DumpTar(ctx context.Context, src Source, n *snapshot.Node, prefix string, w io.Writer) error {
	buf := bufio.NewWriterSize(w, 256<<10)
	return dumpTree(ctx, src, n, prefix, newTarSink(buf))
}

// DumpZip is DumpTar for zip, which holds files, directories, symlinks, modes and times. Further names of hard links
// become copies; devices, fifos and sockets are left out.
func DumpZip(ctx context.Context, src Source, n *snapshot.Node, prefix string, w io.Writer) error {
	buf := bufio.NewWriterSize(w, 256<<10)
	return dumpTree(ctx, src, n, prefix, newZipSink(buf))
}

// dumpTree streams an entry and what is below it. It keeps about 100 bytes for each group of hard links.
func dumpTree(ctx context.Context, src Source, n *snapshot.Node, prefix string, to treeSink) error {
	d := dumper{to: to, first: map[snapshot.LinkID]string{}}
	err := stream(ctx, src, to, func(ctx context.Context, s *streamer) error {
		prefix := strings.Trim(path.Clean("/"+prefix), "/")
		if n.Type != snapshot.Dir && prefix == "" {
			prefix = n.Name
		}
		if prefix != "" {
			if err := d.entry(ctx, s, prefix, n); err != nil || n.Type != snapshot.Dir {
				return err
			}
			prefix += "/"
		}
		load := func(ctx context.Context, id chunk.ID) ([]byte, error) { return src.Load(ctx, chunk.Tree, id) }
		w := snapshot.Walker{Load: load, Ahead: src.Ahead}
		return w.Walk(ctx, n.Content, n.Depth, func(p string, n *snapshot.Node) error {
			if err := snapshot.ValidName(n.Name); err != nil {
				return err
			}
			return d.entry(ctx, s, prefix+p[1:], n)
		})
	})
	if err == nil && d.left.Count > 0 {
		return &d.left
	}
	return err
}

// treeSink is a sink for trees.
type treeSink interface {
	sink
	takes(t snapshot.NodeType) bool
	links() bool // it can say that a file is another name of one before
}

type dumper struct {
	to    treeSink
	first map[snapshot.LinkID]string
	left  IncompleteError
}

func (d *dumper) entry(ctx context.Context, s *streamer, name string, n *snapshot.Node) error {
	if n.Error != "" {
		d.left.add(name)
		if n.Type != snapshot.Dir {
			return nil
		}
	}
	if !d.to.takes(n.Type) {
		return nil
	}
	link := ""
	if n.Link != nil && d.to.links() {
		if link = d.first[*n.Link]; link == "" {
			d.first[*n.Link] = name
		}
	}
	return s.emit(ctx, name, link, n)
}
