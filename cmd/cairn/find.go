package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/search"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
	"cairn/snapshot/retention"
)

func findCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "find", Usage: "find files in snapshots", ArgsUsage: "[PATTERN…]",
		Description: `Looks for names in all snapshots, or in those that the flags choose, and says of each version of a file which snapshots hold it. A
version is a content with its mode, owner and time of modification. Patterns have gitignore syntax: "*.conf" matches at any depth, "/etc/*.conf" the
absolute path. Without a pattern everything matches that --type, --min-size, --max-size, --newer and --older leave.

What snapshots have in common is read once. --in DIR looks below a directory only, which is faster.

Examples:
  cairn find '*.conf'
  cairn find --ref live --in /srv/sophora --type file --json
  cairn find --snapshot latest '/home/anna/**/thesis*'
  cairn find --min-size 1G --newer 7d
  cairn find --newest report.odt`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "snapshot", Aliases: []string{"s"}, Usage: "look in `SNAPSHOT` only (repeat for others)"},
			&cli.BoolFlag{Name: "all", Usage: "look in all snapshots; this is the default"},
			&cli.BoolFlag{Name: "newest", Usage: "stop at the newest snapshot that has a match"},
			&cli.StringFlag{Name: "in", Usage: "look below the directory `DIR` only"},
			&cli.StringSliceFlag{Name: "type", Usage: "only what is of `TYPE`: file, dir, symlink, fifo, socket, chardev, blockdev (or f, d, l, p, s, c, b; repeat for others)"},
			&cli.StringFlag{Name: "min-size", Usage: "only files of `SIZE` or more"},
			&cli.StringFlag{Name: "max-size", Usage: "only files of `SIZE` or less"},
			&cli.StringFlag{Name: "newer", Usage: "only what was modified after `TIME`, as in 2026-11-20T03:00, or 7d for the last seven days"},
			&cli.StringFlag{Name: "older", Usage: "only what was modified before `TIME`"},
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show mode, owner, size and time"},
			salvageFlag(),
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runFind(c) },
	})
}

// finding is what `find` looks for.
type finding struct {
	patterns     *pattern.List // nil: every name
	types        []snapshot.NodeType
	least, most  uint64
	sized        bool
	newer, older time.Time
}

func (e *env) newFinding(c *cli.Context) (*finding, error) {
	f := &finding{most: 1<<64 - 1}
	var err error
	if c.NArg() > 0 {
		if f.patterns, err = readPatterns(c.Args().Slice(), nil); err != nil {
			return nil, err
		}
	}
	for _, text := range c.StringSlice("type") {
		t, ok := parseType(text)
		if !ok {
			return nil, usage("find: --type %.40q is not one of file, dir, symlink, fifo, socket, chardev, blockdev", text)
		}
		f.types = append(f.types, t)
	}
	for flag, to := range map[string]*uint64{"min-size": &f.least, "max-size": &f.most} {
		if text := c.String(flag); text != "" {
			if *to, err = parseSize(text); err != nil {
				return nil, &exitError{exitUsage, fmt.Errorf("find: --%s: %w", flag, err)}
			}
			f.sized = true
		}
	}
	for flag, to := range map[string]*time.Time{"newer": &f.newer, "older": &f.older} {
		if text := c.String(flag); text != "" {
			if *to, err = parseAgo(text, e.now()); err != nil {
				return nil, usage("find: --%s: %w", flag, err)
			}
		}
	}
	if c.NArg() == 0 && len(f.types) == 0 && !f.sized && f.newer.IsZero() && f.older.IsZero() && c.String("in") == "" {
		return nil, usage("find: give a pattern, or say what is looked for by --in, --type, --min-size, --max-size, --newer or --older")
	}
	if c.Bool("all") && (len(c.StringSlice("snapshot")) > 0 || c.String("ref") != "") {
		return nil, usage("find: --all excludes --snapshot and --ref")
	}
	return f, nil
}

// parseAgo reads a point in time, or how long ago it was.
func parseAgo(text string, now time.Time) (time.Time, error) {
	if span, err := retention.ParseSpan(text); err == nil {
		return span.Before(now), nil
	}
	at, err := snapshot.ParseTime(text, now)
	if err != nil {
		return at, fmt.Errorf("%.80q is neither a time such as 2026-11-20 or 2026-11-20T03:00 nor a length of time such as 7d or 12h", text)
	}
	return at, nil
}

func parseType(text string) (snapshot.NodeType, bool) {
	letters := map[string]snapshot.NodeType{"f": snapshot.File, "d": snapshot.Dir, "l": snapshot.Symlink, "p": snapshot.Fifo, "s": snapshot.Socket,
		"c": snapshot.CharDevice, "b": snapshot.BlockDevice}
	for letter, t := range letters {
		if text == letter || text == typeName(t) {
			return t, true
		}
	}
	return 0, false
}

// match says whether a version is what is looked for.
func (f *finding) match(path string, n *snapshot.Node) bool {
	switch {
	case len(f.types) > 0 && !slices.Contains(f.types, n.Type),
		f.sized && (n.Type != snapshot.File || n.Size < f.least || n.Size > f.most),
		!f.newer.IsZero() && !n.Mtime.Time().After(f.newer),
		!f.older.IsZero() && !n.Mtime.Time().Before(f.older):
		return false
	}
	return f.patterns == nil || f.patterns.Match(path, n.Type == snapshot.Dir)
}

func (e *env) runFind(c *cli.Context) error {
	f, err := e.newFinding(c)
	if err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, _, err := e.listSnapshots(c, a)
		if err != nil {
			return err
		}
		if specs := c.StringSlice("snapshot"); len(specs) > 0 {
			var chosen []*snapshot.Snapshot
			for _, spec := range specs {
				s, path, err := snapshot.Select(list, spec, e.now())
				switch {
				case err != nil:
					return err
				case path != "":
					return hint(usage("find: %s is a path in a snapshot", printable(spec)), "--in DIR looks below a directory only")
				case !slices.Contains(chosen, s):
					chosen = append(chosen, s)
				}
			}
			list = chosen
			snapshot.SortByTime(list)
		}
		parts := [][]*snapshot.Snapshot{list}
		if c.Bool("newest") {
			parts = nil
			for i := range list {
				parts = append(parts, list[len(list)-1-i:len(list)-i])
			}
		}
		total := 0
		for _, part := range parts {
			n, err := e.findIn(ctx, c, a, part, f)
			if err != nil {
				return err
			}
			if total += n; total > 0 {
				break
			}
		}
		if total == 0 {
			return &exitError{exitFailed, errors.New("nothing matches")}
		}
		return nil
	})
}

// findIn looks in some snapshots together, and prints what it finds as it finds it.
func (e *env) findIn(ctx context.Context, c *cli.Context, a *archive.Archive, list []*snapshot.Snapshot, f *finding) (found int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	damaged := false
	err = search.Run(ctx, a, list, search.Options{
		Below: c.String("in"), Match: f.match,
		Found: func(m search.Match) error {
			found++
			return e.printMatch(m, len(list) > 1, c.Bool("long"))
		},
		Lost: func(path string, in []*snapshot.Snapshot, err error) {
			e.warn("%s in %s cannot be read: %v", printable(path), snapshotsText(in), err)
			for _, s := range in { // what is incomplete or gone may lack trees
				damaged = damaged || !s.Incomplete && !forgotten(ctx, a, s)
			}
		},
	})
	if err == nil && damaged {
		err = quietExit(exitDamage)
	}
	return found, err
}

func (e *env) printMatch(m search.Match, several, long bool) error {
	if e.json {
		j := nodeJSON(m.Path, m.Node)
		ids := make([]string, len(m.Snapshots))
		for i, s := range m.Snapshots {
			ids[i] = s.ID.String()
		}
		j["snapshot"], j["snapshots"] = ids[len(ids)-1], ids
		return e.printJSON(j)
	}
	behind := ""
	if several {
		behind = "  [" + snapshotsText(m.Snapshots) + "]"
	}
	return e.printNodeWith(m.Path, m.Node, long, behind)
}

// snapshotsText names the first and the last of some snapshots.
func snapshotsText(list []*snapshot.Snapshot) string {
	name := func(s *snapshot.Snapshot) string {
		return s.ID.Short() + " " + s.Start.Time().Format("2006-01-02 15:04:05")
	}
	if len(list) == 1 {
		return name(list[0])
	}
	return strings.Join([]string{plural(uint64(len(list)), "snapshot", "snapshots") + ",", name(list[0]), "to", name(list[len(list)-1])}, " ")
}
