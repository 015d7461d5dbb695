package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"cairn/agent/format"
	"cairn/agent/format/bagit"
	"cairn/agent/format/contenttree"
	"cairn/agent/format/modeshape"
	"cairn/agent/format/ocfl"
	"cairn/agent/format/seafile"
)

// What the formats share (package format).
type (
	Options  = format.Options
	Report   = format.Report
	Problem  = format.Problem
	Severity = format.Severity
	Dump     = format.Dump
	Progress = format.Progress
)

// How bad a problem is.
const (
	Error   = format.Error   // a restore fails or loses something
	Warning = format.Warning // somebody should look
)

// Formats are the names of the formats.
func Formats() []string { return []string{"modeshape", "content-tree", "seafile", "ocfl", "bagit"} }

// ErrFormat means that there is no format of that name.
var ErrFormat = errors.New("unknown format")

// look finds the verification of a format.
func look(name string) func(*format.Run) error {
	switch name {
	case "modeshape":
		return modeshape.Look
	case "content-tree":
		return contenttree.Look
	case "seafile":
		return seafile.Look
	case "ocfl":
		return ocfl.Look
	case "bagit":
		return bagit.Look
	}
	return nil
}

// Verify reads the tree at root ("." is all of fsys) and reports what is wrong with it. The report of a cancelled call tells what had been
// found by then.
func Verify(ctx context.Context, fsys fs.FS, root, name string, o Options) (*Report, error) {
	known := look(name)
	if known == nil {
		return nil, fmt.Errorf("verify %s: %w %q (%s)", root, ErrFormat, name, strings.Join(Formats(), ", "))
	}
	report, err := format.Verify(ctx, fsys, root, name, o, known)
	if err != nil {
		err = fmt.Errorf("verify %s: %w", root, err)
	}
	return report, err
}
