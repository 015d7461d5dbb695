package export

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"
	"unicode/utf8"

	"cairn/archive/restore"
	"cairn/snapshot"
)

// bagger writes a bag: data/ with the payload, its manifests, and at last the tag files.
type bagger struct {
	w      *writer
	report *Report
	sums   [2]hash.Hash
	lists  [2]*manifest
	path   string
	done   *restore.Progress
	finish func(*bagger) error
}

// manifest is a list of digests that grows beside the payload.
type manifest struct {
	name string
	file *os.File
	buf  *bufio.Writer
	sum  [2]hash.Hash // of the list itself, for the tag manifests
}

var algorithms = [2]string{"sha256", "sha512"}

func newSums() [2]hash.Hash { return [2]hash.Hash{sha256.New(), sha512.New()} }

func bag(ctx context.Context, src restore.Source, s Subject, root *os.Root, o Options) (r *Report, err error) {
	b := &bagger{w: newWriter(root), report: &Report{}, sums: newSums(), done: o.Progress}
	b.finish = func(b *bagger) error { return b.tags(s, o) }
	defer b.w.drop()
	for i, a := range algorithms {
		if b.lists[i], err = newManifest(root, "manifest-"+a+".txt"); err != nil {
			return b.report, err
		}
		defer b.lists[i].drop()
	}
	if err := root.Mkdir("data", 0o777); err != nil {
		return b.report, err
	}
	return b.report, restore.Dump(ctx, src, s.Node, "", b)
}

func (b *bagger) Takes(snapshot.NodeType) bool { return true }

func (b *bagger) Begin(path string, n *snapshot.Node) error {
	if err := b.end(); err != nil {
		return err
	}
	switch {
	case n.Type == snapshot.Dir:
		b.report.Dirs++ // an empty one is not in a bag
		return nil
	case n.Type != snapshot.File, !utf8.ValidString(path):
		b.report.leave(path)
		return nil
	}
	b.path = "data/" + path
	for _, s := range b.sums {
		s.Reset()
	}
	return b.w.begin(b.path, n.Mtime.Time())
}

func (b *bagger) Content(p []byte) error {
	if b.path == "" { // it was left out
		return nil
	}
	for _, s := range b.sums {
		_, _ = s.Write(p) // hashes do not fail
	}
	b.report.Bytes += int64(len(p))
	b.done.BytesDone.Add(uint64(len(p)))
	_, err := b.w.Write(p)
	return err
}

// end closes the file that is being written.
func (b *bagger) end() error {
	if b.path == "" {
		return nil
	}
	if err := b.w.end(); err != nil {
		return err
	}
	for i, l := range b.lists {
		if err := l.add(b.sums[i], b.path); err != nil {
			return err
		}
	}
	b.path = ""
	b.report.Files++
	b.done.FilesDone.Add(1)
	return nil
}

func (b *bagger) Finish() error {
	if err := b.end(); err != nil {
		return err
	}
	return b.finish(b)
}

// tags writes everything but the payload. bagit.txt comes last: without it this is no bag.
func (b *bagger) tags(s Subject, o Options) error {
	type tag struct{ name, text string }
	texts := []tag{{"bag-info.txt", bagInfo(s, o, b.report)}, {"bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"}}
	for _, l := range b.lists {
		if err := l.close(); err != nil {
			return err
		}
	}
	for i, a := range algorithms {
		var list strings.Builder
		for _, t := range texts {
			h := newSums()[i]
			_, _ = h.Write([]byte(t.text)) // never fails
			fmt.Fprintf(&list, "%s  %s\n", hex.EncodeToString(h.Sum(nil)), t.name)
		}
		for _, l := range b.lists {
			fmt.Fprintf(&list, "%s  %s\n", hex.EncodeToString(l.sum[i].Sum(nil)), l.name)
		}
		if err := b.w.put("tagmanifest-"+a+".txt", list.String()); err != nil {
			return err
		}
	}
	for _, t := range texts {
		if err := b.w.put(t.name, t.text); err != nil {
			return err
		}
	}
	return nil
}

// bagInfo describes the bag (RFC 8493 §2.2.2). A value is one line.
func bagInfo(s Subject, o Options, r *Report) string {
	var text strings.Builder
	line := func(label, value string) {
		if value = strings.Join(strings.FieldsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }), " "); value != "" {
			fmt.Fprintf(&text, "%s: %s\n", label, value)
		}
	}
	line("Bagging-Date", o.Time.Format("2006-01-02"))
	line("Bag-Software-Agent", o.Program)
	line("External-Identifier", s.Snapshot.ID.String())
	line("External-Description", s.Snapshot.Description)
	line("Internal-Sender-Identifier", s.Snapshot.Series)
	line("Internal-Sender-Description", fmt.Sprintf("snapshot of %s at %s, path %s", s.Snapshot.Host, s.Snapshot.Start.Time().UTC().Format("2006-01-02T15:04:05Z"), "/"+strings.Trim(s.Path, "/")))
	line("Payload-Oxum", fmt.Sprintf("%d.%d", r.Bytes, r.Files))
	return text.String()
}

func newManifest(root *os.Root, name string) (*manifest, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &manifest{name: name, file: f, buf: bufio.NewWriter(f), sum: newSums()}, nil
}

// encode writes a path as manifests have it: line ends, and the sign that encodes them.
var encode = strings.NewReplacer("%", "%25", "\n", "%0A", "\r", "%0D")

func (m *manifest) add(h hash.Hash, path string) error {
	line := hex.EncodeToString(h.Sum(nil)) + "  " + encode.Replace(path) + "\n"
	for _, s := range m.sum {
		_, _ = s.Write([]byte(line)) // never fails
	}
	_, err := m.buf.WriteString(line)
	return err
}

func (m *manifest) close() error {
	f := m.file
	m.file = nil
	if err := errors.Join(m.buf.Flush(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

func (m *manifest) drop() {
	if m.file != nil {
		_ = m.file.Close() // the error that led here counts
	}
}
