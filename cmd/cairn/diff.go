package main

import (
	"context"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/snapshot"
)

func diffCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "diff", Usage: "show what changed between two snapshots", ArgsUsage: "SNAPSHOT[:PATH] SNAPSHOT[:PATH]",
		Description: `Lists what the second snapshot has added (+), removed (-), changed (M), turned into another type (T)
or only touched: mode, owner, time or attributes (U).

Examples:
  cairn diff latest~1 latest
  cairn diff latest~7:/etc latest:/etc --json`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "no-meta", Usage: "leave out what was only touched"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runDiff(c) },
	})
}

func changeMark(k snapshot.ChangeKind) string {
	switch k {
	case snapshot.Added:
		return "+"
	case snapshot.Removed:
		return "-"
	case snapshot.Modified:
		return "M"
	case snapshot.TypeChanged:
		return "T"
	}
	return "U"
}

// diffSums counts what a diff found.
type diffSums struct {
	Added, Removed, Modified, TypeChanged, MetaChanged int
	BytesAdded, BytesRemoved                           uint64
}

func (d *diffSums) add(ch snapshot.Change) {
	switch ch.Kind {
	case snapshot.Added:
		d.Added++
	case snapshot.Removed:
		d.Removed++
	case snapshot.Modified:
		d.Modified++
	case snapshot.TypeChanged:
		d.TypeChanged++
	case snapshot.MetaChanged:
		d.MetaChanged++
		return
	}
	if ch.B != nil {
		d.BytesAdded += ch.B.Size
	}
	if ch.A != nil {
		d.BytesRemoved += ch.A.Size
	}
}

func (e *env) runDiff(c *cli.Context) error {
	if c.NArg() != 2 {
		return usage("diff: name two snapshots, got %d arguments", c.NArg())
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		var roots [2]snapshot.Root
		for i := range roots {
			s, path, err := e.selectSnapshot(c, a, c.Args().Get(i))
			if err != nil {
				return err
			}
			n, err := snapshot.Find(ctx, a.LoadTree, s.Content, s.Depth, path)
			if err != nil {
				return err
			}
			if n.Type != snapshot.Dir {
				return usage("diff: %s is not a directory", printable(path))
			}
			roots[i] = n.Root()
		}
		var sums diffSums
		err := snapshot.Diff(ctx, a.LoadTree, roots[0], roots[1], func(ch snapshot.Change) error {
			if ch.Kind == snapshot.MetaChanged && c.Bool("no-meta") {
				return nil
			}
			sums.add(ch)
			if e.json {
				return e.printJSON(changeJSON(ch))
			}
			e.print("%s  %s", changeMark(ch.Kind), printable(ch.Path))
			return nil
		})
		if err != nil {
			return err
		}
		if e.json {
			return e.printJSON(map[string]any{"type": "diff", "added": sums.Added, "removed": sums.Removed, "modified": sums.Modified,
				"type_changed": sums.TypeChanged, "meta_changed": sums.MetaChanged, "bytes_added": sums.BytesAdded, "bytes_removed": sums.BytesRemoved})
		}
		e.say("%d added, %d removed, %d modified, %d of another type, %d touched; %s more, %s less", sums.Added, sums.Removed, sums.Modified,
			sums.TypeChanged, sums.MetaChanged, humanize.IBytes(sums.BytesAdded), humanize.IBytes(sums.BytesRemoved))
		return nil
	})
}

func changeJSON(ch snapshot.Change) map[string]any {
	m := map[string]any{"type": "change", "path": ch.Path, "change": ch.Kind.String()}
	if ch.A != nil {
		m["old"] = nodeJSON(ch.Path, ch.A)
	}
	if ch.B != nil {
		m["new"] = nodeJSON(ch.Path, ch.B)
	}
	return m
}
