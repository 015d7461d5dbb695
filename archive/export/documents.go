package export

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// perFile is how many documents Fedora puts into a file.
const perFile = 100_000

// unfinished is behind the names of files until the export is whole.
const unfinished = ".part"

// document is a line of a file of documents, in the shape that ModeShape gives it.
type document struct {
	Metadata struct {
		ID          string `json:"id"`
		ContentType string `json:"contentType"`
	} `json:"metadata"`
	Content any `json:"content"`
}

// documents writes the numbered files.
type documents struct {
	root  *os.Root
	each  int
	files int // that were begun
	lines int // in the last one
	total int64
	file  *os.File
	buf   *bufio.Writer
	zip   *gzip.Writer
	line  bytes.Buffer
	enc   *json.Encoder
}

func newDocuments(root *os.Root, each int) *documents {
	if each <= 0 {
		each = perFile
	}
	d := &documents{root: root, each: each}
	d.enc = json.NewEncoder(&d.line)
	d.enc.SetEscapeHTML(false)
	return d
}

func documentsFile(n int) string { return fmt.Sprintf("documents_%06d.bin.gz", n) }

// add writes one document.
func (d *documents) add(id string, content any) error {
	doc := document{Content: content}
	doc.Metadata.ID, doc.Metadata.ContentType = id, "application/json"
	d.line.Reset()
	if err := d.enc.Encode(&doc); err != nil { // ends the line, too
		return fmt.Errorf("document %s: %w", id, err)
	}
	if d.file == nil || d.lines == d.each {
		if err := d.next(); err != nil {
			return err
		}
	}
	d.lines++
	d.total++
	_, err := d.zip.Write(d.line.Bytes())
	return err
}

func (d *documents) next() error {
	if err := d.close(); err != nil {
		return err
	}
	d.files++
	f, err := d.root.OpenFile(documentsFile(d.files)+unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	d.file, d.lines = f, 0
	d.buf = bufio.NewWriterSize(f, 256<<10)
	d.zip = gzip.NewWriter(d.buf)
	return nil
}

func (d *documents) close() error {
	if d.file == nil {
		return nil
	}
	f := d.file
	d.file = nil
	return errors.Join(d.zip.Close(), d.buf.Flush(), f.Close())
}

// finish gives the files their names, the first one last: until then there is a gap, or nothing at all, for whoever reads them.
func (d *documents) finish() error {
	if err := d.close(); err != nil {
		return err
	}
	for n := d.files; n > 0; n-- {
		if err := d.root.Rename(documentsFile(n)+unfinished, documentsFile(n)); err != nil {
			return err
		}
	}
	return nil
}

func (d *documents) drop() {
	if d.file != nil {
		_ = d.file.Close() // the error that led here counts
		d.file = nil
	}
}
