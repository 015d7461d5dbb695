package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/agent/format/modeshape"
	"cairn/agent/source/proof"
	"cairn/agent/verify"
	"cairn/archive"
	"cairn/archive/view"
)

func inspectCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "inspect", Usage: "show what a tree of a known product consists of", ArgsUsage: "DIR|SNAPSHOT:PATH",
		Description: `Shows what is in a directory of a known format, or in one in a snapshot: of a ModeShape backup (Fedora 4) its files of documents with how
many are in each, gaps in their numbers and ids that come twice; of Seafile's storage the libraries with their heads; of an OCFL root its objects. The format
is guessed when --format does not name it. Contents are not read ("cairn verify" does that), documents, commits and inventories are.

--key prints the documents of a ModeShape backup that have an id, with the file and line where each is. When several have it, the last one is what a
restore brings back, unless it aborts.

Examples:
  cairn inspect latest:/srv/bkup/2026-11-22
  cairn inspect live:/opt/seafile/seafile-data --json
  cairn inspect /srv/bkup/2026-11-22 --key 87a0a8c317f1e7jcr:system/mode:metadata`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`FORMAT` of the tree: modeshape, seafile, ocfl"},
			&cli.StringSliceFlag{Name: "key", Usage: "modeshape: print the documents with the id `KEY` (repeat for others)"},
			&cli.StringSliceFlag{Name: "dump", Usage: "seafile: `FILE` with the SQL dump of seafile_db (repeat for others); in a snapshot a file of the same"},
			salvageFlag(),
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runInspect(c) },
	})
}

func (e *env) runInspect(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("inspect: name one directory, got %d arguments", c.NArg())
	}
	arg := c.Args().First()
	if isDirectory(arg) {
		root, err := os.OpenRoot(arg) // links that lead out of it cannot be followed
		if err != nil {
			return fmt.Errorf("inspect: %w", err)
		}
		defer root.Close() // only read
		t := &inspection{fsys: root.FS(), root: ".", title: arg}
		for _, name := range c.StringSlice("dump") {
			d, err := dumpFile(name)
			if err != nil {
				return err
			}
			t.o.Dumps = append(t.o.Dumps, d)
		}
		return e.inspect(c.Context, c, t)
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		s, name, err := e.selectSnapshot(c, a, arg)
		if err != nil {
			return err
		}
		fsys, err := view.New(ctx, a, s.Root(), "/")
		if err != nil {
			return err
		}
		t := &inspection{fsys: fsys, root: proof.Rel(name), title: s.ID.Short() + ":" + cleanSlash(name)}
		for _, name := range c.StringSlice("dump") {
			d, err := dumpInside(fsys, name)
			if err != nil {
				return err
			}
			t.o.Dumps = append(t.o.Dumps, d)
		}
		return e.inspect(ctx, c, t)
	})
}

// inspection is a tree that is looked at.
type inspection struct {
	fsys  fs.FS
	root  string
	title string // for people
	o     verify.Options
}

func (e *env) inspect(ctx context.Context, c *cli.Context, t *inspection) error {
	format := c.String("format")
	if format == "" {
		var err error
		if format, err = verify.Guess(t.fsys, t.root); err != nil {
			if errors.Is(err, verify.ErrUnknownTree) {
				err = hint(err, "name the directory of the backup itself, or its format with --format")
			}
			return fmt.Errorf("inspect %s: %w", printable(t.title), err)
		}
	}
	known := []string{"modeshape", "seafile", "ocfl"}
	switch {
	case !slices.Contains(known, format):
		return usage("inspect: the format %s is not one of %s: `cairn verify` knows it", format, strings.Join(known, ", "))
	case format != "modeshape" && len(c.StringSlice("key")) > 0:
		return usage("inspect: --key is for the format modeshape")
	case format != "seafile" && len(t.o.Dumps) > 0:
		return usage("inspect: --dump is for the format seafile")
	case len(c.StringSlice("key")) > 0:
		return e.inspectKeys(ctx, c.StringSlice("key"), t)
	}
	return e.inspectTree(ctx, format, t)
}

// inspectKeys prints documents.
func (e *env) inspectKeys(ctx context.Context, keys []string, t *inspection) error {
	seen := map[string]int{}
	err := modeshape.Search(ctx, t.fsys, t.root, keys, func(d modeshape.Document) error {
		seen[d.ID]++
		if e.json {
			return e.printJSON(map[string]any{"type": "document", "key": d.ID, "file": d.File, "line": d.Line, "document": json.RawMessage(d.JSON)})
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, d.JSON, "", "  "); err != nil {
			return err
		}
		e.print("%s, line %d:", printable(d.File), d.Line)
		e.print("%s", tame(pretty.String()))
		return nil
	})
	if err != nil {
		return fmt.Errorf("inspect %s: %w", printable(t.title), err)
	}
	for _, key := range keys {
		if n := seen[key]; n == 0 {
			return &exitError{exitFailed, fmt.Errorf("inspect %s: no document has the key %.200q", printable(t.title), key)}
		} else if n > 1 {
			e.say("note: %s have the key %s: the last one is what a restore brings back, unless it aborts", plural(uint64(n), "document", "documents"), printable(key))
		}
	}
	return nil
}

// tame writes the control characters that JSON lets pass in strings (DEL and those above) as JSON can, too, so that a document cannot send
// escape sequences to the terminal.
func tame(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r >= 0x7f && r <= 0x9f {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// inspectTree lists what there is, what is wrong with it as far as that shows, and the sums.
func (e *env) inspectTree(ctx context.Context, format string, t *inspection) error {
	var failed error
	shown := 0
	t.o.Shallow, t.o.Limit, t.o.Progress = true, 1, new(verify.Progress)
	t.o.Item = func(i verify.Item) {
		if e.json {
			failed = errors.Join(failed, e.printJSON(map[string]any{"type": "item", "kind": i.Kind, "id": i.ID, "name": i.Name, "path": i.Path, "facts": i.Facts}))
			return
		}
		e.print("%s", itemText(i))
	}
	t.o.Found = func(p verify.Problem) {
		if shown++; e.json {
			failed = errors.Join(failed, e.printJSON(map[string]any{"type": "problem", "path": p.Path, "kind": p.Kind, "severity": p.Severity, "message": p.Message, "effect": p.Effect}))
		} else if shown <= maxShown {
			e.print("%s: %s: %s", p.Severity, printable(p.Path), printable(p.Message))
		}
	}
	r, err := verify.Verify(ctx, t.fsys, t.root, format, t.o)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if e.json {
		return e.printJSON(map[string]any{"type": "inspect", "format": r.Format, "root": t.title, "counts": r.Counts, "kinds": r.Kinds, "errors": r.Errors, "warnings": r.Warnings})
	}
	if shown > maxShown {
		e.print("… and %d more (--json lists them)", shown-maxShown)
	}
	e.print("%s", formatText(proof.Format{Path: t.title, Report: r}))
	return nil
}

func itemText(i verify.Item) string {
	text := i.Kind + " " + printable(i.ID)
	if i.Name != "" {
		text += " (" + printable(i.Name) + ")"
	}
	for _, what := range slices.Sorted(maps.Keys(i.Facts)) {
		text += fmt.Sprintf("  %s %v", strings.ReplaceAll(what, "_", " "), i.Facts[what])
	}
	return text
}
