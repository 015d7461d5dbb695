package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"cairn/agent/verify"
	"cairn/archive"
	"cairn/archive/export"
	"cairn/archive/restore"
	"cairn/snapshot"
)

func exportCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "export", Usage: "write a snapshot in a format that others read without this program", ArgsUsage: "SNAPSHOT[:PATH]",
		Description: `Writes what a snapshot holds, or a file or directory of it, in one of these formats:

  tree     plain files in a new directory, with all that a restore brings back
  tar      a PAX tar archive, to a file or to standard output (--to -)
  bagit    a bag (RFC 8493) with SHA-256 and SHA-512 manifests: contents and names, no owners, modes and links
  fedora   a directory as Fedora 4 writes its backups: each content once, as binaries/ab/cd/ef/SHA1.bin, and documents_00000n.bin.gz with
           one JSON document a line about each file and directory (docs/fedora.md). It is for programs that read such backups; a
           repository that is to be restored needs its own backup: export that as a tree

A directory must not be there yet, or be empty. --verify reads the export again, with "cairn verify", before it is called done. What a format
has no place for, such as links in a bag, is listed: exit code 3.

Examples:
  cairn export latest --format bagit --to /media/usb/bag
  cairn export latest:/srv/www --format tar --to - | ssh host tar -x -C /srv/www
  cairn export latest --format fedora --to /srv/export --verify
  cairn export latest:/.cairn/streams/fedora --format tree --to /srv/bkup/restore`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`FORMAT`: tree, tar, bagit or fedora"},
			&cli.StringFlag{Name: "to", Aliases: []string{"t"}, Usage: "write to `DIR`; with tar to a file that must not exist, or - for standard output"},
			&cli.BoolFlag{Name: "verify", Usage: "bagit, fedora: verify what was written"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runExport(c) },
	})
}

func (e *env) runExport(c *cli.Context) error {
	format, to := export.Format(c.String("format")), c.String("to")
	switch {
	case c.NArg() != 1:
		return usage("export: name one SNAPSHOT or SNAPSHOT:PATH, got %d arguments", c.NArg())
	case format == "":
		return usage("export: --format is missing: one of %s", exportFormats())
	case !slices.Contains(export.Formats(), format):
		return usage("export: unknown format %q: one of %s", format, exportFormats())
	case to == "":
		return usage("export: say where with --to")
	case to == "-" && format != export.Tar:
		return usage("export: only tar goes to standard output")
	case c.Bool("verify") && verifiedAs(format) == "":
		return usage("export: --verify is for bagit and fedora")
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		if err := a.Enough(); err != nil {
			return err
		}
		s, in, err := e.selectSnapshot(c, a, c.Args().First())
		if err != nil {
			return err
		}
		n, err := snapshot.Find(ctx, a.LoadTree, s.Content, s.Depth, in)
		if err != nil {
			return err
		}
		sub := export.Subject{Snapshot: s, Path: in, Node: n}
		if format == export.Tar {
			return e.exportTar(ctx, a, sub, to)
		}
		return e.exportDir(c, a, sub, format, to)
	})
}

func exportFormats() string {
	var names []string
	for _, f := range export.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// verifiedAs is the format by which `cairn verify` knows an export.
func verifiedAs(f export.Format) string {
	return map[export.Format]string{export.BagIt: "bagit", export.Fedora: "modeshape"}[f]
}

func (e *env) exportTar(ctx context.Context, a *archive.Archive, s export.Subject, to string) error {
	if to == "-" {
		if f, ok := e.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usage("export: a tar archive is not for a terminal: use a pipe or --to FILE")
		}
		return partial(restore.DumpTar(ctx, a, s.Node, "", e.stdout))
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = restore.DumpTar(ctx, a, s.Node, "", f)
	var left *restore.IncompleteError
	if whole := err == nil || errors.As(err, &left); !whole {
		return errors.Join(err, f.Close(), os.Remove(to))
	}
	size, seekErr := f.Seek(0, io.SeekCurrent)
	if closeErr := errors.Join(seekErr, f.Sync(), f.Close()); closeErr != nil {
		return closeErr
	}
	if e.json {
		if err := e.printJSON(map[string]any{"type": "export", "format": "tar", "snapshot": s.Snapshot.ID.String(), "target": to, "bytes_written": size}); err != nil {
			return err
		}
	} else {
		e.say("wrote %s to %s", humanize.IBytes(uint64(size)), printable(to))
	}
	return partial(err)
}

// partial gives what could not be read at backup time its exit code.
func partial(err error) error {
	var left *restore.IncompleteError
	if errors.As(err, &left) {
		return &exitError{exitPartial, err}
	}
	return err
}

func (e *env) exportDir(c *cli.Context, a *archive.Archive, s export.Subject, format export.Format, to string) error {
	p, start := new(restore.Progress), time.Now()
	stop := e.watch(func() tick { return tick{verb: "export", files: p.FilesDone.Load(), bytes: p.BytesDone.Load()} })
	r, err := export.Directory(c.Context, a, s, format, to, export.Options{Program: programName(), Time: e.now(), Progress: p})
	stop()
	var left *restore.IncompleteError
	if err != nil && !errors.As(err, &left) {
		return err
	}
	if told := e.tellExport(s, format, to, r, time.Since(start)); told != nil {
		return told
	}
	if c.Bool("verify") {
		if err := e.verifyExport(c, to, verifiedAs(format)); err != nil {
			return err
		}
	}
	if left != nil {
		return partial(err)
	}
	if r.LeftCount > 0 {
		return &exitError{exitPartial, hint(fmt.Errorf("%s no place in the format %s", plural(uint64(r.LeftCount), "entry has", "entries have"), format), "tree, tar and fedora have a place for everything")}
	}
	return nil
}

func (e *env) tellExport(s export.Subject, format export.Format, to string, r *export.Report, took time.Duration) error {
	if e.json {
		return e.printJSON(map[string]any{"type": "export", "format": format, "snapshot": s.Snapshot.ID.String(), "target": to,
			"files": r.Files, "dirs": r.Dirs, "bytes_written": r.Bytes, "documents": r.Documents, "binaries": r.Binaries,
			"left_out": r.LeftCount, "left": r.Left, "seconds": took.Seconds()})
	}
	for i, path := range r.Left {
		if i == maxShown {
			fmt.Fprintf(e.stderr, "  … and %d more (--json lists them)\n", r.LeftCount-int64(i))
			break
		}
		fmt.Fprintf(e.stderr, "left out: %s\n", printable(path))
	}
	if format == export.Fedora {
		e.say("wrote %s documents and %s binaries", comma(uint64(r.Documents)), comma(uint64(r.Binaries)))
	}
	e.say("exported %s files, %s dirs, %s to %s in %s", comma(uint64(r.Files)), comma(uint64(r.Dirs)), humanize.IBytes(uint64(r.Bytes)), printable(to), took.Round(10*time.Millisecond))
	return nil
}

// verifyExport reads an export as somebody else would.
func (e *env) verifyExport(c *cli.Context, dir, format string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() // only read
	r, err := verify.Verify(c.Context, root.FS(), ".", format, verify.Options{Limit: maxShown})
	if err != nil {
		return err
	}
	if r.Damaged() {
		for _, p := range r.Problems {
			fmt.Fprintf(e.stderr, "%s: %s\n", p.Severity, printable(p.String()))
		}
		return hint(fmt.Errorf("%s in what was written to %s", plural(uint64(r.Errors), "error", "errors"), printable(dir)), "see to the disk it is on, remove it, and export again")
	}
	e.say("verified: %s, no damage found", format)
	return nil
}
