package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// front does what requests ask for, by the commands that people would use. Each runs in a world of its own, within this process: it ends
// with the context, and no sooner, so that a source is started again, and a restore is not broken off by a signal that is for the server.
type front struct {
	*env
	flags   []string // of every command
	dirs    []string // of those about sources: where they are
	format  string
	sources []served
}

// served is a source, and how the command line calls it: by name or by path.
type served struct{ name, arg string }

// note is the file cairn.json of a directory that a backup filled.
type note struct {
	Format   string `json:"format"`
	Source   string `json:"source"`
	Series   string `json:"series"`
	Snapshot string `json:"snapshot"`
	Export   string `json:"export"`
}

const (
	noteFile   = "cairn.json"
	noteFormat = "cairn-export-1"
	maxNote    = 64 << 10
	maxLine    = 64 << 20 // of a command's output: a report may list 10,000 files
)

// chosen are the sources of a request with their directories.
func (f *front) chosen(name, dir string) ([]served, []string) {
	if len(f.sources) == 1 {
		return f.sources, []string{dir}
	}
	var dirs []string
	if i := slices.IndexFunc(f.sources, func(s served) bool { return s.name == name }); i >= 0 {
		return f.sources[i : i+1], []string{dir}
	}
	for _, s := range f.sources {
		dirs = append(dirs, filepath.Join(dir, s.name))
	}
	return f.sources, dirs
}

// Backup runs the sources one after the other. The first that fails ends it; snapshots that were made by then stay.
func (f *front) Backup(ctx context.Context, name, dir string) error {
	sources, dirs := f.chosen(name, dir)
	for i, s := range sources {
		if err := f.backupOne(ctx, s, dirs[i]); err != nil {
			return fmt.Errorf("source %s: %w", s.name, err)
		}
	}
	return nil
}

func (f *front) backupOne(ctx context.Context, s served, dir string) error {
	var run struct{ Series, Snapshot, Outcome, Why string }
	if err := f.do(ctx, "run", &run, "source", "run", s.arg); err != nil {
		switch {
		case run.Why != "":
			return fmt.Errorf("%s: %s", run.Outcome, run.Why)
		case run.Snapshot != "":
			return fmt.Errorf("snapshot %s is %s: %w", run.Snapshot, run.Outcome, err)
		}
		return err
	}
	if run.Snapshot == "" { // nothing had changed
		var last struct{ ID string }
		if err := f.do(ctx, "snapshot", &last, "snapshots", "latest", "--series", run.Series); err != nil {
			return err
		}
		run.Snapshot = last.ID
	}
	if f.format == "none" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	} else if err := f.do(ctx, "", nil, "export", run.Snapshot, "--format", f.format, "--to", dir); err != nil {
		return fmt.Errorf("snapshot %s is made, but not exported: %w", run.Snapshot, err)
	}
	data, err := json.MarshalIndent(note{noteFormat, s.name, run.Series, run.Snapshot, f.format}, "", "  ")
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(dir, noteFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = out.Write(append(data, '\n'))
	return errors.Join(err, out.Close())
}

// Restore brings back what the notes name. Nothing is touched before all have been read.
func (f *front) Restore(ctx context.Context, name, dir string) error {
	sources, dirs := f.chosen(name, dir)
	notes := make([]*note, len(sources))
	for i, s := range sources {
		n, err := readNote(dirs[i])
		if err != nil {
			return hint(err, "name a directory that POST fcr:backup was answered with")
		}
		if n.Source != s.name {
			return fmt.Errorf("%s holds a backup of source %q, not of %s", dirs[i], n.Source, s.name)
		}
		notes[i] = n
	}
	for i, s := range sources {
		if err := f.do(ctx, "", nil, "source", "restore", s.arg, "--from", notes[i].Snapshot, "--yes", "--replace"); err != nil {
			return fmt.Errorf("source %s: %w", s.name, err)
		}
	}
	return nil
}

func readNote(dir string) (*note, error) {
	root, err := os.OpenRoot(dir) // a link that leads out of it is none of a backup's
	if err != nil {
		return nil, err
	}
	defer root.Close() // only read
	in, err := root.Open(noteFile)
	if err != nil {
		return nil, fmt.Errorf("no backup: %w", err)
	}
	defer in.Close() // only read
	data, err := io.ReadAll(io.LimitReader(in, maxNote))
	if err != nil {
		return nil, err
	}
	var n note
	if err := json.Unmarshal(data, &n); err != nil || n.Format != noteFormat || len(n.Snapshot) != 64 || strings.Trim(n.Snapshot, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%s/%s names no snapshot", dir, noteFile)
	}
	return &n, nil
}

// do runs a command and reads the last object of a kind that it prints. Its error is what the command would have ended with.
func (f *front) do(ctx context.Context, kind string, result any, args ...string) error {
	out := &objects{kind: kind, result: result}
	world := &env{stdin: strings.NewReader(""), stdout: out, stderr: f.stderr, getenv: f.getenv, now: f.now, faults: f.faults}
	all := slices.Concat([]string{"cairn"}, args, f.flags, []string{"--json"})
	if args[0] == "source" {
		all = append(all, f.dirs...)
	}
	code := run(ctx, all, world)
	switch {
	case out.failed != "":
		return hint(errors.New(out.failed), out.hint)
	case code != exitOK:
		return fmt.Errorf("cairn %s ended with exit code %d", strings.Join(args[:2], " "), code)
	}
	return out.err
}

// objects reads what a command prints with --json, a line at a time.
type objects struct {
	kind   string
	result any // takes objects of the kind

	failed, hint string // what it said went wrong
	err          error
	line         bytes.Buffer
}

func (o *objects) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if o.line.Len()+len(line) > maxLine {
			return 0, errors.New("a line of output without end")
		}
		o.line.Write(line)
		if line[len(line)-1] == '\n' {
			o.take(o.line.Bytes())
			o.line.Reset()
		}
	}
	return len(p), nil
}

func (o *objects) take(line []byte) {
	var what struct{ Type, Message, Hint string }
	if json.Unmarshal(line, &what) != nil {
		return
	}
	switch {
	case what.Type == "error":
		o.failed, o.hint = what.Message, what.Hint
	case what.Type == o.kind && o.result != nil:
		o.err = json.Unmarshal(line, o.result)
	}
}
