package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"cairn/archive"
	"cairn/archive/restore"
	"cairn/snapshot"
)

func dumpCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "dump", Usage: "write a file, or a directory as tar or zip, to standard output", ArgsUsage: "SNAPSHOT:PATH",
		Description: `Writes the content of one file, or a directory as a tar or zip archive, to standard output or --output FILE.

Examples:
  cairn dump latest:/etc/fstab
  cairn dump latest:/srv/www | tar -t
  cairn dump latest:/db.sql | psql mydb
  cairn dump latest:/home/anna --format zip --output anna.zip`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Value: "tar", Usage: "`FORMAT` for directories: tar or zip"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` instead, which must not exist"},
			salvageFlag(),
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runDump(c) },
	})
}

func (e *env) runDump(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("dump: name one SNAPSHOT:PATH, got %d arguments", c.NArg())
	}
	format := c.String("format")
	if format != "tar" && format != "zip" {
		return usage("dump: --format is tar or zip, not %q", format)
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		if err := a.Enough(); err != nil && !a.Salvages() {
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
		w, finish, err := e.dumpTarget(c, n)
		if err != nil {
			return err
		}
		return finish(dumpNode(ctx, a, n, in, format, w))
	})
}

func dumpNode(ctx context.Context, a *archive.Archive, n *snapshot.Node, in, format string, w io.Writer) error {
	var err error
	switch {
	case n.Type == snapshot.File:
		err = restore.DumpFile(ctx, a, n, w)
	case format == "zip":
		err = restore.DumpZip(ctx, a, n, dumpPrefix(n, in), w)
	default:
		err = restore.DumpTar(ctx, a, n, dumpPrefix(n, in), w)
	}
	var left *restore.IncompleteError
	if errors.As(err, &left) {
		return &exitError{exitPartial, err}
	}
	return err
}

// dumpPrefix puts a directory's content below its own name, as tar does, so that unpacking makes one directory.
func dumpPrefix(n *snapshot.Node, in string) string {
	if in == "" || in == "/" {
		return ""
	}
	return path.Base(in)
}

// dumpTarget opens where the dump goes. finish closes it and removes a file that did not become whole.
func (e *env) dumpTarget(c *cli.Context, n *snapshot.Node) (io.Writer, func(error) error, error) {
	name := c.String("output")
	if name == "" {
		if f, ok := e.stdout.(*os.File); ok && n.Type == snapshot.Dir && term.IsTerminal(int(f.Fd())) {
			return nil, nil, usage("dump: a directory is not for a terminal: use a pipe or --output FILE")
		}
		return e.stdout, func(err error) error { return err }, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return f, func(err error) error {
		err = errors.Join(err, f.Sync(), f.Close())
		var partial *exitError
		if err != nil && !errors.As(err, &partial) {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	}, nil
}
