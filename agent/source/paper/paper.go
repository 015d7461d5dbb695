// Package paper is what a snapshot says about the run of a source that made it: which part became which paths and streams, how long the
// application stood, and what the hooks said. It is the file RunFile of the snapshot.
//
// Invariants
//   - Readers take what they know and leave what they do not: a newer program may have added keys. A Version above this one is refused.
//   - Paths are those of the snapshot: absolute, `restore --to DIR` puts DIR before them.
//   - Nothing in it is secret; messages of programs were masked before.
//
// Values are not changed after they were read or written, and may be shared. Nothing here is bigger than MaxSize.
package paper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// Where the papers of a run lie in its snapshot.
const (
	Dir        = "/.cairn"
	SourceFile = Dir + "/source.yaml" // the source file with its profile put in, variables as they are written
	RunFile    = Dir + "/run.json"    // Run
	StreamsDir = Dir + "/streams"     // PART/FILE
)

// Version is the one that this program writes.
const Version = 1

// MaxSize bounds what is read.
const MaxSize = 32 << 20

// StreamPath is where a stream of a part lies in the snapshot.
func StreamPath(part, file string) string { return path.Join(StreamsDir, part, file) }

// Run is one run of a source.
type Run struct {
	Version int    `json:"version"`
	Program string `json:"program,omitempty"` // that ran, with its version

	Source    string `json:"source"`
	Profile   string `json:"profile,omitempty"`
	Class     string `json:"class,omitempty"` // the run was of this class only
	Host      string `json:"host"`            // for which the snapshot stands
	RanOn     string `json:"ran_on"`          // the machine's own name
	Role      string `json:"role,omitempty"`
	Component string `json:"component,omitempty"`
	Series    string `json:"series"`

	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"` // everything was read and the finally hooks had run

	Warm *Warm   `json:"warm,omitempty"`
	Stop *Window `json:"stop,omitempty"` // from before the first hook of before to the end of the last one of finally

	Parts    []Part   `json:"parts"`
	LeftOut  []Part   `json:"left_out,omitempty"` // of a class that is not backed up, or by a run of its own; only names, kind and class
	Hooks    []Hook   `json:"hooks,omitempty"`    // in the order in which they ran; not those that run when the snapshot is stored
	Warnings []string `json:"warnings,omitempty"`
}

// Window is a time during which the application stood.
type Window struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

// Duration is how long it was.
func (w *Window) Duration() time.Duration {
	if w == nil {
		return 0
	}
	return w.Ended.Sub(w.Began)
}

// Warm says what the pass read for which the application ran on.
type Warm struct {
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended"`
	Files     uint64    `json:"files"`
	BytesRead uint64    `json:"bytes_read"`
}

// Part is one part of the source.
type Part struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"` // as in the source file: tree, postgres…
	Class    string `json:"class"`
	Subject  string `json:"subject,omitempty"`
	Optional bool   `json:"optional,omitempty"`

	Paths   []string `json:"paths,omitempty"`   // trees and files, where they are on the machine and in the snapshot
	Streams []Stream `json:"streams,omitempty"` // in the order in which they can be restored

	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	Files uint64    `json:"files"`
	Bytes uint64    `json:"bytes"`

	Absent bool   `json:"absent,omitempty"` // it is optional and was not there
	Failed string `json:"failed,omitempty"` // why it is missing, as a whole or in part; the snapshot is partial

	Tools    map[string]string `json:"tools,omitempty"` // program → version
	Warnings []string          `json:"warnings,omitempty"`
}

// Stream is what a program gave, kept as a file.
type Stream struct {
	File      string   `json:"file"`                // name within the part; what agent/source/driver restores it by
	Path      string   `json:"path"`                // in the snapshot
	Databases []string `json:"databases,omitempty"` // that are in it
	Bytes     uint64   `json:"bytes"`
	Failed    string   `json:"failed,omitempty"` // why it is not in the snapshot
}

// Hook is what became of a hook.
type Hook struct {
	Stage    string    `json:"stage"` // before, finally…
	Name     string    `json:"name"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Outcome  string    `json:"outcome"`             // done, skipped (it ended with status 75), failed, timeout, not run
	ExitCode int       `json:"exit_code,omitempty"` // -1: ended by a signal, or no program
	Error    string    `json:"error,omitempty"`
	Stderr   string    `json:"stderr,omitempty"` // the last of what it said
}

// Find returns a part by its name.
func (r *Run) Find(name string) (*Part, bool) {
	for i := range r.Parts {
		if r.Parts[i].Name == name {
			return &r.Parts[i], true
		}
	}
	return nil, false
}

// Marshal writes a run as it lies in a snapshot.
func (r *Run) Marshal() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	if len(data) >= MaxSize {
		return nil, fmt.Errorf("what is to be said about the run has %d bytes", len(data))
	}
	return append(data, '\n'), nil
}

// Parse reads what Marshal wrote.
func Parse(data []byte) (*Run, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", RunFile, MaxSize)
	}
	r := new(Run)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", RunFile, err)
	}
	switch {
	case r.Version < 1:
		return nil, fmt.Errorf("%s has no version", RunFile)
	case r.Version > Version:
		return nil, fmt.Errorf("%s is of version %d, and this program knows those up to %d", RunFile, r.Version, Version)
	}
	return r, r.clean()
}

// clean refuses names that lead elsewhere: whoever can write to an archive wrote them.
func (r *Run) clean() error {
	for i := range r.Parts {
		p := &r.Parts[i]
		for _, name := range p.Paths {
			if !path.IsAbs(name) || path.Clean(name) != name {
				return fmt.Errorf("%s: part %q: %q is not a clean absolute path", RunFile, p.Name, name)
			}
		}
		for _, s := range p.Streams {
			if !fs.ValidPath(s.File) || path.Clean(s.Path) != s.Path || !strings.HasPrefix(s.Path, StreamsDir) {
				return fmt.Errorf("%s: part %q: stream %q at %q leads out of the streams of the snapshot", RunFile, p.Name, s.File, s.Path)
			}
		}
	}
	return nil
}

// Read takes the run out of the file system of a snapshot (archive/view), or of a directory into which one was restored. The error is
// fs.ErrNotExist when the snapshot was not made by the run of a source.
func Read(fsys fs.FS) (*Run, error) {
	f, err := fsys.Open(strings.TrimPrefix(RunFile, "/"))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", RunFile, err)
	}
	return Parse(data)
}
