package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"cairn/archive/restore"
	"cairn/remote"
	"cairn/snapshot"
)

// Format is how an export looks.
type Format string

// The formats.
const (
	Tree   Format = "tree"
	Tar    Format = "tar"
	BagIt  Format = "bagit"
	Fedora Format = "fedora"
)

// Formats are all of them.
func Formats() []Format { return []Format{Tree, Tar, BagIt, Fedora} }

// Subject is what is exported: a snapshot, or what it has at a path.
type Subject struct {
	Snapshot *snapshot.Snapshot
	Path     string         // "" or "/": all of it
	Node     *snapshot.Node // at Path
}

// Options say how. The zero value works.
type Options struct {
	Program  string // that writes it, with its version
	Time     time.Time
	PerFile  int // fedora: documents a file; default 100,000, as Fedora has it
	Progress *restore.Progress
}

// Report says what was written.
type Report struct {
	Files, Dirs int64
	Bytes       int64
	Documents   int64    // fedora
	Binaries    int64    // fedora: different contents
	Left        []string // paths of what the format has no place for, the first of them
	LeftCount   int64
}

// maxLeft bounds the list.
const maxLeft = 1000

func (r *Report) leave(path string) {
	if r.LeftCount++; len(r.Left) < maxLeft {
		r.Left = append(r.Left, path)
	}
}

// Directory exports into a directory: any format but tar. With a *restore.IncompleteError the export is whole but for what is named there.
func Directory(ctx context.Context, src restore.Source, s Subject, f Format, dir string, o Options) (*Report, error) {
	if !slices.Contains([]Format{Tree, BagIt, Fedora}, f) {
		return nil, fmt.Errorf("export: the format %q does not make a directory", f)
	}
	if s.Node == nil || s.Snapshot == nil {
		return nil, errors.New("export: nothing is named")
	}
	root, err := fresh(dir)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	defer root.Close() // all files are closed by then
	if o.Progress == nil {
		o.Progress = new(restore.Progress)
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	var r *Report
	switch f {
	case Tree:
		r, err = tree(ctx, src, s, dir, o)
	case BagIt:
		r, err = bag(ctx, src, s, root, o)
	default:
		r, err = fedora(ctx, src, s, root, o)
	}
	if err != nil {
		err = fmt.Errorf("export to %s: %w", dir, err)
	}
	return r, err
}

// fresh makes the directory, or takes it when it is empty.
func fresh(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err == nil && len(entries) > 0 {
		err = remote.WithHint(fmt.Errorf("%s is not empty: %w", dir, fs.ErrExist), "name a directory that is not there yet")
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// tree writes plain files.
func tree(ctx context.Context, src restore.Source, s Subject, dir string, o Options) (*Report, error) {
	report, err := restore.Run(ctx, src, restore.Root{Content: s.Snapshot.Content, Depth: s.Snapshot.Depth},
		restore.Options{Target: dir, Path: s.Path, Roots: s.Snapshot.Paths, Progress: o.Progress})
	r := &Report{Files: int64(report.Files + report.Links), Dirs: int64(report.Dirs), Bytes: int64(report.BytesWritten)}
	if err != nil {
		return r, err
	}
	if report.Failed > 0 {
		first := report.Failures[0]
		return r, fmt.Errorf("%d entries could not be written; the first, %s: %w", report.Failed, first.Path, first.Err)
	}
	for _, w := range report.Warnings {
		if w.Kind == restore.WarnUnreadable {
			return r, &restore.IncompleteError{Count: w.Count, Paths: w.Examples}
		}
	}
	return r, nil
}
