package format

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cairn/chunk"
)

// Severity says how bad a problem is.
type Severity string

const (
	Error   Severity = "error"   // a restore fails or loses something
	Warning Severity = "warning" // somebody should look
)

// Problem is one thing that is wrong.
type Problem struct {
	Path     string   `json:"path"` // below the top of the fs.FS
	Kind     string   `json:"kind"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Effect   string   `json:"effect"` // what it means for a restore
}

func (p Problem) String() string { return p.Path + ": " + p.Message }

// Report tells what was looked at and what is wrong with it.
type Report struct {
	Format   string           `json:"format"`
	Root     string           `json:"root"`
	Problems []Problem        `json:"problems"` // by path; at most Options.Limit of each kind
	Errors   int64            `json:"errors"`   // all of them
	Warnings int64            `json:"warnings"`
	Kinds    map[string]int64 `json:"kinds"`  // problems of each kind, all of them
	Counts   map[string]int64 `json:"counts"` // what was found: documents, binaries, blocks, objects …
	Bytes    int64            `json:"bytes"`  // read
}

// Damaged says whether a restore from the tree loses something.
func (r *Report) Damaged() bool { return r.Errors > 0 }

// Dump is an SQL dump that belongs to a tree.
type Dump struct {
	Name    string
	ModTime time.Time // when it was finished; zero: unknown
	Open    func() (io.ReadCloser, error)
}

// Item is one of the things that a tree consists of: a library, an object, a file of documents.
type Item struct {
	Kind  string         `json:"kind"`
	ID    string         `json:"id"`
	Name  string         `json:"name,omitempty"`
	Path  string         `json:"path"`
	Facts map[string]any `json:"facts,omitempty"`
}

// Progress may be read while Verify runs.
type Progress struct{ Files, Bytes atomic.Int64 }

// Options: the zero value works.
type Options struct {
	Workers  int           // that read and hash at once; default chunk.Cores
	Memory   int64         // for sets of names, in bytes; default 512 MiB
	Limit    int           // problems of one kind that are listed, the others are counted; default 1000
	Dumps    []Dump        // seafile: dumps with the heads; default: the *.sql below .cairn/streams
	Found    func(Problem) // called for each problem, as it is found; nil: nobody asks
	Progress *Progress

	Item    func(Item) // called for each thing that is found, one call at a time; nil: nobody asks
	Shallow bool       // do not read contents: what there is is listed, and little of it proved
}

func (o Options) applyDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = chunk.Cores()
	}
	if o.Memory <= 0 {
		o.Memory = 512 << 20
	}
	if o.Limit <= 0 {
		o.Limit = 1000
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	return o
}

// Verify lets look verify the tree at root and returns what was found. The report of a cancelled call tells what had been found by then.
func Verify(ctx context.Context, fsys fs.FS, root, name string, o Options, look func(*Run) error) (*Report, error) {
	info, err := fs.Stat(fsys, root)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return nil, err
	}
	o = o.applyDefaults()
	r := &Run{ctx: ctx, FS: fsys, Root: root, Options: o,
		report:  &Report{Format: name, Root: root, Problems: []Problem{}, Kinds: map[string]int64{}, Counts: map[string]int64{}},
		buffers: sync.Pool{New: func() any { b := make([]byte, BufferSize); return &b }}}
	err = look(r)
	r.report.Bytes = o.Progress.Bytes.Load()
	slices.SortFunc(r.report.Problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Message, b.Message))
	})
	return r.report, err
}
