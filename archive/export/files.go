package export

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"time"
)

// writer writes one file after the other below a root.
type writer struct {
	root *os.Root
	made string // the directory that was made last: siblings need no second look
	name string
	file *os.File
	buf  *bufio.Writer
	at   time.Time
}

func newWriter(root *os.Root) *writer {
	return &writer{root: root, buf: bufio.NewWriterSize(nil, 256<<10)}
}

// begin makes a file, with the directories above it.
func (w *writer) begin(name string, at time.Time) error {
	if dir := path.Dir(name); dir != w.made && dir != "." {
		if err := w.root.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		w.made = dir
	}
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	w.name, w.file, w.at = name, f, at
	w.buf.Reset(f)
	return nil
}

func (w *writer) Write(b []byte) (int, error) { return w.buf.Write(b) }

// end closes the file, with its time.
func (w *writer) end() error {
	f := w.file
	w.file = nil
	err := errors.Join(w.buf.Flush(), f.Close())
	if err == nil && !w.at.IsZero() {
		err = w.root.Chtimes(w.name, w.at, w.at)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

// drop closes a file that did not become whole.
func (w *writer) drop() {
	if w.file != nil {
		_ = w.file.Close() // the error that led here counts
		w.file = nil
	}
}

// put writes a small file.
func (w *writer) put(name, text string) error {
	if err := w.begin(name, time.Time{}); err != nil {
		return err
	}
	if _, err := w.buf.WriteString(text); err != nil {
		return err
	}
	return w.end()
}
