// Package proof says whether a snapshot that the run of a source made is what the source file asks for: all required parts are in it, what they
// gave is there in full length, it is young enough for its schedule, and the formats that the file lists are whole.
//
//	snapshot ─ fs.FS ─┬ /.cairn/source.yaml, run.json ─ Read ─┐
//	                  └ paths, streams ───────────────────────┴ Completeness ─ Formats ─ Problems
//
// Invariants
//   - Nothing is taken from the papers that the tree can tell: a part that says that it has a stream counts only if the stream is there with the
//     bytes that were written.
//   - What cannot be looked at is a Problem, never silence. Only a context that ended, and a snapshot without papers (fs.ErrNotExist), are errors.
//   - Age knows no clock but the one that it is given.
//
// Nothing here is kept between calls, and all of it may be used concurrently. Nothing is written, so a crash leaves nothing.
package proof

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"cairn/agent/document"
	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/agent/verify"
)

// Problem is something for which a restore lacks something.
type Problem struct {
	Part     string          `json:"part,omitempty"`
	Path     string          `json:"path,omitempty"` // in the snapshot
	Kind     string          `json:"kind"`
	Severity verify.Severity `json:"severity"`
	Message  string          `json:"message"`
}

// The kinds of problems. Those of formats have kinds of their own.
const (
	KindPapers  = "papers"       // what the run wrote about itself cannot be read
	KindPart    = "missing-part" // a required part is not in the snapshot
	KindFailed  = "failed-part"  // it is, in part only
	KindPath    = "missing-path" // a part says that it gave something, and that is not there
	KindStream  = "stream"       // a dump is shorter than what was written
	KindPartial = "partial"      // the snapshot says itself that something is missing
	KindAge     = "age"          // older than its schedule allows
	KindNone    = "no-snapshot"
)

func (p Problem) String() string {
	where := strings.TrimSpace(p.Part + " " + p.Path)
	if where == "" {
		return p.Message
	}
	return where + ": " + p.Message
}

// Papers are what a run leaves in its snapshot about itself.
type Papers struct {
	Source []byte // the source file, with its profile put in
	Run    *paper.Run
}

// Read takes the papers out of a snapshot. The error is fs.ErrNotExist when no run of a source made it.
func Read(fsys fs.FS) (*Papers, error) {
	run, err := paper.Read(fsys)
	if err != nil {
		return nil, err
	}
	f, err := fsys.Open(strings.TrimPrefix(paper.SourceFile, "/"))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", paper.SourceFile, hide(err))
	}
	data, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", paper.SourceFile, err)
	}
	return &Papers{data, run}, nil
}

// hide keeps half of the papers from looking like none.
func hide(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is missing, though " + paper.RunFile + " is there")
	}
	return err
}

// File reads the source file in the snapshot.
func (p *Papers) File() (*source.File, error) {
	name := p.Run.Source
	if name == "" {
		name = "source"
	}
	f, err := source.Parse(name+".yaml", p.Source, source.ParseOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paper.SourceFile, err)
	}
	return f, nil
}
