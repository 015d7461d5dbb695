package modeshape

import (
	"bufio"
	"bytes"
	"cairn/agent/format"
	"compress/gzip"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// MaxLine bounds a document; ModeShape splits the children of a node long before.
const MaxLine = 64 << 20

// Tags of an id: where it was seen last, and 31 bits of its content's checksum.
const tagChanges = 1 << 31

// file reads one file of documents, one a line, and returns how many there are.
func (m *modeshape) file(name string, changes bool) int64 {
	f, err := m.Open(name)
	if err != nil {
		m.Unreadable(name, err)
		return 0
	}
	defer f.Close() // only read
	var src io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(bufio.NewReaderSize(f, format.BufferSize))
		if err != nil {
			m.broken(name, 0, err)
			return 0
		}
		src = z
	}
	var documents, number int64
	lines := newLineReader(src)
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		number++
		switch {
		case errors.Is(err, errLongLine):
			m.Found(kindBadDocument, name, "line %d is longer than %d MiB and was not looked at", number, MaxLine>>20)
		case errors.Is(err, errNoNewline):
			m.Found(kindTruncated, name, "line %d does not end: the file was cut off", number)
		case err != nil:
			m.broken(name, number-1, err)
			m.counted(documents, changes)
			return documents
		default:
			if m.document(name, number, line, changes) {
				documents++
			}
		}
	}
	m.counted(documents, changes)
	return documents
}

func (m *modeshape) counted(documents int64, changes bool) {
	if changes {
		m.Count("changed_documents", documents)
	} else {
		m.Count("documents", documents)
	}
}

// broken notes that a file cannot be read to its end.
func (m *modeshape) broken(name string, lines int64, err error) {
	switch {
	case m.Err() != nil:
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		m.Found(kindTruncated, name, "the compressed data ends too early, after %d documents", lines)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), format.IsFlate(err):
		m.Found(kindTruncated, name, "the compressed data is damaged (%v), after %d documents", err, lines)
	default:
		m.Unreadable(name, err)
	}
}

// document looks at one line and says whether it is a document.
func (m *modeshape) document(file string, number int64, line []byte, changes bool) bool {
	id, content, err := parseDocument(line)
	if err != nil {
		m.Found(kindBadDocument, file, "line %d: %v", number, err)
		return false
	}
	tag := crc32.ChecksumIEEE(content) &^ tagChanges
	if changes {
		tag |= tagChanges
	}
	k := format.NameKey(id)
	if old, there := m.ids.Add(k, tag); there {
		m.again(file, number, id, old, tag)
		m.ids.Mark(k, func(uint32) uint32 { return tag })
	}
	for sha1 := range references(line) {
		m.refer(file, number, id, sha1)
	}
	return true
}

// again notes an id that has been seen before.
func (m *modeshape) again(file string, number int64, id string, old, tag uint32) {
	same := "with another content"
	if old&^tagChanges == tag&^tagChanges {
		same = "with the same content"
	}
	switch {
	case tag&tagChanges != 0 && old&tagChanges == 0:
		m.Count("changes_overriding", 1) // what they are for
	case old&^tagChanges == tag&^tagChanges && isMetadata(id):
		m.Found(kindDoubleMetadata, file, "line %d: the repository's metadata %q is there twice, %s", number, id, same)
	default:
		m.Found(kindDuplicate, file, "line %d: %q is there twice, %s", number, format.Clip(id), same)
	}
}

// isMetadata says whether a document is the repository's metadata, which ModeShape writes in two phases of a backup.
func isMetadata(id string) bool {
	return id == "repository:info" || strings.HasSuffix(id, "jcr:system/mode:metadata")
}

// refer looks whether a binary is there, once for each.
func (m *modeshape) refer(file string, number int64, id, sha1 string) {
	if _, there := m.refs.Add(format.NameKey(sha1), 0); there {
		return
	}
	m.Count("referenced_binaries", 1)
	if !m.binaries {
		m.last.CompareAndSwap(nil, &sha1)
		return
	}
	name := path.Join(m.Root, "binaries", sha1[:2], sha1[2:4], sha1[4:6], sha1+".bin")
	if !m.Exists(name) {
		m.Found(kindMissingBinary, name, "is missing; line %d of %s refers to it (document %q)", number, file, format.Clip(id))
	}
}

var (
	errLongLine  = errors.New("line too long")
	errNoNewline = errors.New("no newline at the end")
)

// lineReader cuts lines of bounded length out of a stream.
type lineReader struct {
	src  *bufio.Reader
	line []byte
}

func newLineReader(src io.Reader) *lineReader {
	return &lineReader{src: bufio.NewReaderSize(src, format.BufferSize)}
}

// next returns a line without its newline, valid until the next call. A line that is too long is passed over and told by errLongLine. At the
// end there is io.EOF, or errNoNewline first.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	long := false
	for {
		part, err := l.src.ReadSlice('\n')
		if long = long || len(l.line)+len(part) > MaxLine; !long {
			l.line = append(l.line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && (len(l.line) > 0 || long):
			return nil, errNoNewline
		case err != nil:
			return nil, err
		case long:
			return nil, errLongLine
		}
		return l.line[:len(l.line)-1], nil
	}
}

// DocumentID returns the id of a document, given its line without the end.
func DocumentID(line []byte) (string, error) {
	id, _, err := parseDocument(line)
	return id, err
}

// parseDocument takes a line of a ModeShape backup apart.
func parseDocument(line []byte) (id string, content []byte, err error) {
	var d struct {
		Metadata struct {
			ID string `json:"id"`
		} `json:"metadata"`
		Content json.RawMessage `json:"content"`
	}
	if !utf8.Valid(line) {
		return "", nil, errors.New("not JSON: not UTF-8")
	}
	if err := json.Unmarshal(line, &d); err != nil {
		return "", nil, errors.New("not JSON: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	switch {
	case d.Metadata.ID == "":
		return "", nil, errors.New("metadata.id is missing")
	case len(d.Content) == 0 || d.Content[0] != '{':
		return "", nil, errors.New("content is missing")
	}
	return d.Metadata.ID, d.Content, nil
}

// references yields the binaries that a document refers to: {"$sha1":"<40 hex>","$len":…} in the place of a value (DocumentTranslator.valueToDocument;
// SHA1_FIELD and LENGTH_FIELD of DocumentConstants). Values that a connector keeps elsewhere have $externalBinaryId instead, and the documents
// <sha1>-ref, which count references, the key sha1 without the dollar: neither must be there. Within a string the quotes would be escaped, so the bytes
// can be looked for as they are.
func references(line []byte) func(yield func(sha1 string) bool) {
	return func(yield func(string) bool) {
		for rest := line; ; {
			_, after, there := bytes.Cut(rest, []byte(`"$sha1"`))
			if !there {
				return
			}
			rest = after
			value, there := bytes.CutPrefix(bytes.TrimLeft(after, " \t"), []byte(":"))
			value = bytes.TrimLeft(value, " \t")
			if !there || len(value) < 42 || value[0] != '"' || value[41] != '"' {
				continue
			}
			if sha1 := strings.ToLower(string(value[1:41])); format.IsHex(sha1, 40) && !yield(sha1) {
				return
			}
		}
	}
}
