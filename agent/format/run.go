package format

import (
	"compress/flate"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Sizes of what is held in memory by a worker.
const (
	BufferSize = 256 << 10
	MaxObject  = 128 << 20 // that is read whole: a Seafile directory of 600 000 names, an inventory
)

// Kind is a sort of problem.
type Kind struct {
	name     string
	severity Severity
	effect   string
}

// Damage is the kind of an error: a restore fails or loses something. The effect says what.
func Damage(name, effect string) Kind { return Kind{name, Error, effect} }

// Doubt is the kind of a warning.
func Doubt(name, effect string) Kind { return Kind{name, Warning, effect} }

// Kinds that all formats share.
var (
	Unreadable = Damage("unreadable", "a restore cannot read it either")
	Irregular  = Doubt("irregular", "it is neither a file nor a directory: it was not followed, and a restore may not expect it")
	Budget     = Doubt("budget", "nothing is known to be wrong: give it more memory and verify again")
	Layout     = Damage("layout", "nothing can be restored from it in this format")
)

// Err is not nil when the call was cancelled.
func (r *Run) Err() error { return r.ctx.Err() }

// Run is one verification.
type Run struct {
	FS      fs.FS
	Root    string // of the tree in FS
	Options Options

	ctx     context.Context // of this call; everything here ends with it
	buffers sync.Pool

	mu     sync.Mutex // guards report
	report *Report
}

// Found notes a problem.
func (r *Run) Found(k Kind, name, format string, args ...any) {
	p := Problem{Path: name, Kind: k.name, Severity: k.severity, Effect: k.effect, Message: fmt.Sprintf(format, args...)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.severity == Error {
		r.report.Errors++
	} else {
		r.report.Warnings++
	}
	r.report.Kinds[k.name]++
	if r.report.Kinds[k.name] <= int64(r.Options.Limit) {
		r.report.Problems = append(r.report.Problems, p)
	}
	if r.Options.Found != nil {
		r.Options.Found(p)
	}
}

// Item tells of one of the things that the tree consists of.
func (r *Run) Item(i Item) {
	if r.Options.Item == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Options.Item(i)
}

// Count adds to what was found.
func (r *Run) Count(what string, n int64) {
	r.mu.Lock()
	r.report.Counts[what] += n
	r.mu.Unlock()
}

// Parallel runs the tasks that feed gives to do, some at once, and returns when all have ended. Tasks must not call do.
func (r *Run) Parallel(feed func(do func(task func()))) error {
	var g errgroup.Group
	g.SetLimit(r.Options.Workers)
	feed(func(task func()) {
		if r.ctx.Err() == nil {
			g.Go(func() error { task(); return nil })
		}
	})
	_ = g.Wait() // tasks note problems instead
	return r.ctx.Err()
}

// List reads a directory. What cannot be read is noted.
func (r *Run) List(dir string) []fs.DirEntry {
	if r.ctx.Err() != nil {
		return nil
	}
	entries, err := fs.ReadDir(r.FS, dir)
	if err != nil {
		r.Found(Unreadable, dir, "%v", Cause(err))
	}
	return entries
}

// Walk calls file for each file below dir.
func (r *Run) Walk(dir string, file func(name string)) {
	for _, d := range r.List(dir) {
		name := path.Join(dir, d.Name())
		switch {
		case d.IsDir():
			r.Walk(name, file)
		case d.Type().IsRegular():
			file(name)
		default:
			r.Found(Irregular, name, "is a %s", describe(d.Type()))
		}
	}
}

// Regular says whether an entry is a file; what is no directory either is noted.
func (r *Run) Regular(dir string, d fs.DirEntry) bool {
	if !d.IsDir() && !d.Type().IsRegular() {
		r.Found(Irregular, path.Join(dir, d.Name()), "is a %s", describe(d.Type()))
	}
	return d.Type().IsRegular()
}

// Article describes what an entry is.
func Article(d fs.DirEntry) string {
	switch {
	case d.IsDir():
		return "a directory"
	case d.Type().IsRegular():
		return "a file"
	}
	return "a " + describe(d.Type())
}

func describe(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func (r *Run) Exists(name string) bool {
	_, err := fs.Stat(r.FS, name)
	return err == nil
}

func (r *Run) IsDir(name string) bool {
	info, err := fs.Stat(r.FS, name)
	return err == nil && info.IsDir()
}

// Open opens a file for reading; what is read counts and ends with the call.
func (r *Run) Open(name string) (io.ReadCloser, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	r.Options.Progress.Files.Add(1)
	return &counted{f, r}, nil
}

type counted struct {
	io.ReadCloser
	r *Run
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.ReadCloser.Read(p)
	c.r.Options.Progress.Bytes.Add(int64(n))
	return n, err
}

// Digest hashes a file and returns the hexadecimal sum and its size.
func (r *Run) Digest(name string, h hash.Hash) (string, int64, error) {
	f, err := r.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() // only read
	buf := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buf)
	n, err := io.CopyBuffer(h, f, *buf)
	if err != nil {
		return "", n, err
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}

// Read reads a small file whole.
func (r *Run) Read(name string, limit int64) ([]byte, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	return ReadLimited(f, limit)
}

var errTooLarge = errors.New("too large to be true")

func ReadLimited(f io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, errTooLarge
	}
	return data, err
}

// Unreadable notes why a file could not be read, unless the call was cancelled.
func (r *Run) Unreadable(name string, err error) {
	if r.ctx.Err() == nil {
		r.Found(Unreadable, name, "%v", Cause(err))
	}
}

// Cause strips the path, which a problem has anyway.
func Cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// IsHex says whether text is n hexadecimal digits, small letters only: the products compare names as they are.
func IsHex(text string, n int) bool {
	return len(text) == n && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}

// IsFlate says whether compressed data is damaged.
func IsFlate(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt)
}

// Clip shortens a text from the tree for a message.
func Clip(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// Place compares the directories of a file with the first three pairs of its name.
func (r *Run) Place(k Kind, top, name, digest string) {
	if want := path.Join(top, digest[:2], digest[2:4], digest[4:6]); path.Dir(name) != want {
		r.Found(k, name, "belongs into %s", want)
	}
}

// HashDirs yields the directories depth levels of two hexadecimal digits below dir; what else there is on the way is given to stray.
func (r *Run) HashDirs(dir string, depth int, stray func(name string, d fs.DirEntry)) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if depth == 0 {
			yield(dir)
			return
		}
		for _, d := range r.List(dir) {
			name := path.Join(dir, d.Name())
			if !d.IsDir() || !IsHex(d.Name(), 2) {
				stray(name, d)
				continue
			}
			for below := range r.HashDirs(name, depth-1, stray) {
				if !yield(below) {
					return
				}
			}
		}
	}
}
