package modeshape

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cairn/agent/format"
)

// Document is one document of a backup. Its JSON is valid during the call only.
type Document struct {
	ID   string
	File string // in which it is
	Line int64
	JSON []byte
}

// Search hands out the documents with certain ids: those of the numbered files in their order, then those that changed while the backup
// ran, which a restore puts last; of several with one id the last one counts. What cannot be read is passed over (Look tells it), unless no file can be.
func Search(ctx context.Context, fsys fs.FS, root string, ids []string, found func(Document) error) error {
	var failed error
	files := 0
	for _, dir := range []string{root, path.Join(root, "changes")} {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil {
			if dir == root {
				return err
			}
			continue
		}
		for _, d := range entries { // by name, which is by number
			if documentsName.FindStringSubmatch(d.Name()) == nil || !d.Type().IsRegular() {
				continue
			}
			err := searchFile(ctx, fsys, path.Join(dir, d.Name()), ids, found)
			var unreadable *unreadableError
			switch {
			case err == nil:
				files++
			case errors.As(err, &unreadable):
				failed = errors.Join(failed, err)
			default:
				return err
			}
		}
	}
	if files == 0 {
		return errors.Join(failed, errors.New("there are no documents that can be read"))
	}
	return ctx.Err()
}

// unreadableError is about one file.
type unreadableError struct {
	name string
	err  error
}

func (e *unreadableError) Error() string { return e.name + ": " + e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

func searchFile(ctx context.Context, fsys fs.FS, name string, ids []string, found func(Document) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return &unreadableError{name, err}
	}
	defer f.Close() // only read
	var src io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(bufio.NewReaderSize(f, format.BufferSize))
		if err != nil {
			return &unreadableError{name, err}
		}
		src = z
	}
	lines := newLineReader(src)
	for number := int64(1); ; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := lines.next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errLongLine):
			continue
		case errors.Is(err, errNoNewline):
			return nil // cut off
		case err != nil:
			return &unreadableError{name, err}
		}
		id, _, err := parseDocument(line)
		if err != nil || !slices.Contains(ids, id) {
			continue
		}
		if err := found(Document{id, name, number, line}); err != nil {
			return fmt.Errorf("document %s: %w", format.Clip(id), err)
		}
	}
}
