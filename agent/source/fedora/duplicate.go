package fedora

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"cairn/agent/format/modeshape"
)

// maxIDs bounds what withoutDuplicates remembers: 24 to 40 bytes each.
const maxIDs = 32 << 20

// key is an id of a document. Half of a hash is enough to tell 32 million of them apart.
type key [16]byte

func keyOf(id string) (k key) {
	sum := sha256.Sum256([]byte(id))
	copy(k[:], sum[:])
	return k
}

// withoutDuplicates rewrites the files of documents in which there is one that comes again later, and says how many were taken out. ModeShape writes
// the repository's metadata twice, and a restore into a relational store aborts on that after it emptied the repository; other stores keep the
// later document, and so it is here. Files of changes stand for themselves: they are meant to come again.
func withoutDuplicates(ctx context.Context, root *os.Root) (int64, error) {
	files, err := documentFiles(root)
	if err != nil {
		return 0, err
	}
	seen, again := map[key]int{}, map[key]int{} // how often so far; of those that are there twice, how often in all
	for _, name := range files {
		err := eachDocument(ctx, root, name, func(line []byte, id string) error {
			if id == "" {
				return nil
			}
			k := keyOf(id)
			if seen[k]++; seen[k] > 1 {
				again[k] = seen[k]
			}
			if len(seen) > maxIDs {
				return fmt.Errorf("more than %d documents", maxIDs)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errBroken) {
			return 0, err
		}
	}
	clear(seen)
	var out int64
	for _, name := range files {
		n, err := rewriteFile(ctx, root, name, func(id string) bool {
			k := keyOf(id)
			all, twice := again[k]
			if !twice {
				return true
			}
			seen[k]++
			return seen[k] == all
		})
		if out += n; err != nil {
			return out, err
		}
	}
	return out, nil
}

func documentFiles(root *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries { // in the order of their numbers
		packed := strings.HasSuffix(e.Name(), ".gz")
		if e.Type().IsRegular() && modeshape.IsDocuments(e.Name()) && (packed || !exists(root, e.Name()+".gz")) {
			files = append(files, e.Name())
		}
	}
	return files, nil
}

// eachDocument calls fn for each line that is a document, with its end. Others have an empty id: they are left as they are, and the verification has
// told of them.
func eachDocument(ctx context.Context, root *os.Root, name string, fn func(line []byte, id string) error) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	src := io.Reader(&bounded{ctx, f})
	if strings.HasSuffix(name, ".gz") {
		if src, err = gzip.NewReader(bufio.NewReaderSize(src, 256<<10)); err != nil {
			return errBroken
		}
	}
	in := bufio.NewReaderSize(src, 256<<10)
	for {
		line, err := readLine(in)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(line) > 0 {
			id, bad := modeshape.DocumentID(bytes.TrimSuffix(line, []byte("\n")))
			if bad != nil {
				id = ""
			}
			if err := fn(line, id); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errLongLine):
			return fmt.Errorf("%s: %w", name, err)
		case err != nil:
			return errBroken
		}
	}
}

// errBroken means that a file cannot be read to its end; the verification has told of it.
var errBroken = errors.New("cannot be read to its end")

var errLongLine = fmt.Errorf("a line is longer than %d MiB", modeshape.MaxLine>>20)

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > modeshape.MaxLine {
			return nil, errLongLine
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// rewriteFile leaves out the documents that keep does not want. A file in which all stay is not touched. The other one comes back without
// compression.
func rewriteFile(ctx context.Context, root *os.Root, name string, keep func(id string) bool) (int64, error) {
	plain := strings.TrimSuffix(name, ".gz")
	const temporary = "rewritten.tmp" // a restore does not look at it
	out, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	w, left := bufio.NewWriterSize(out, 256<<10), int64(0)
	err = eachDocument(ctx, root, name, func(line []byte, id string) error {
		if id != "" && !keep(id) {
			left++
			return nil
		}
		_, err := w.Write(line)
		return err
	})
	if flushed := errors.Join(w.Flush(), out.Close()); flushed != nil {
		err = flushed
	}
	if errors.Is(err, errBroken) { // it stays as it is: what is left of it must not look whole
		err, left = nil, 0
	}
	if err != nil || left == 0 {
		return 0, errors.Join(err, root.Remove(temporary))
	}
	if err := root.Rename(temporary, plain); err != nil {
		return 0, err
	}
	if plain != name {
		err = root.Remove(name)
	}
	return left, err
}
