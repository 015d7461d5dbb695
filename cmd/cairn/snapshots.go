package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/snapshot"
)

// selectFlags choose among snapshots.
func selectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "host", Usage: "only snapshots of host `NAME`"},
		&cli.StringFlag{Name: "series", Usage: "only snapshots of the series `NAME`"},
		&cli.StringFlag{Name: "source", Usage: "only snapshots of the source `NAME`"},
		&cli.StringFlag{Name: "role", Usage: "only snapshots of hosts with the role `NAME`"},
		&cli.StringFlag{Name: "component", Usage: "only snapshots of the component `NAME`"},
		&cli.StringFlag{Name: "ref", Usage: "only the snapshot for which the reference `NAME` stands"},
		&cli.StringSliceFlag{Name: "tag", Usage: "only snapshots with `TAG`"},
		&cli.StringSliceFlag{Name: "path", Usage: "only snapshots in which `PATH` was backed up"},
	}
}

func snapshotsCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "snapshots", Usage: "list snapshots", ArgsUsage: "[SNAPSHOT…]",
		Description: `Lists the snapshots of the archive, the oldest first. Remarks in brackets stand behind the paths:
  incomplete  published by a backup that is at work or did not come to its end: it protects what it names, but is no backup
  checkpoint  made by a long backup that is at work or was interrupted: the files that were finished can be restored by its id
  partial     something could not be read; "errors" says how much
  degraded    some packs have fewer shards than the layout wants; "cairn repair" heals that
  ref NAME    the reference NAME stands for it ("cairn tag promote"); no rule of "cairn forget" removes it
  pinned      no rule of "cairn forget" removes it
  expires     "cairn forget" keeps it until then and removes it afterwards
NEW is what a backup added to the archive, compressed.

Examples:
  cairn snapshots
  cairn snapshots --host web1 --tag nightly --json
  cairn snapshots --role primary --component cms
  cairn snapshots --ref live --json
  cairn snapshots latest`,
		Flags:  selectFlags(),
		Action: func(c *cli.Context) error { return e.runSnapshots(c) },
	})
}

// listSnapshots reads the snapshots that the select flags choose, and warns about damaged ones; damaged says whether
// there were any, for the exit code.
func (e *env) listSnapshots(c *cli.Context, a *archive.Archive) (list []*snapshot.Snapshot, damaged bool, err error) {
	list, bad, err := a.Snapshots(c.Context)
	if err != nil {
		return nil, false, err
	}
	for _, d := range bad {
		e.warn("%v", d)
	}
	return snapshotFilter(c).Apply(list), len(bad) > 0, nil
}

// snapshotFilter is what the select flags say.
func snapshotFilter(c *cli.Context) snapshot.Filter {
	return snapshot.Filter{Host: c.String("host"), Series: c.String("series"), Source: c.String("source"), Role: c.String("role"),
		Component: c.String("component"), Ref: c.String("ref"), Tags: c.StringSlice("tag"), Paths: c.StringSlice("path")}
}

func (e *env) runSnapshots(c *cli.Context) error {
	return e.withArchive(c, func(_ context.Context, a *archive.Archive) error {
		list, damaged, err := e.listSnapshots(c, a)
		if err != nil {
			return err
		}
		if c.NArg() > 0 {
			var chosen []*snapshot.Snapshot
			for _, spec := range c.Args().Slice() {
				s, _, err := snapshot.Select(list, spec, e.now())
				if err != nil {
					return err
				}
				chosen = append(chosen, s)
			}
			list = chosen
		}
		if err := e.printSnapshots(list); err != nil {
			return err
		}
		if damaged {
			return quietExit(exitDamage)
		}
		return nil
	})
}

func (e *env) printSnapshots(list []*snapshot.Snapshot) error {
	if e.json {
		for _, s := range list {
			if err := e.printJSON(snapshotJSON(s)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	labels := labelsOf(list)
	head := ""
	for _, l := range labels {
		head += l.head + "\t"
	}
	fmt.Fprintln(w, "ID\tTIME\tHOST\t"+head+"FILES\tSIZE\tNEW\tTAGS\tPATHS")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\t%s\t%s\t%s\t%s%s\n", s.ID.Short(), s.Start.Time().Format("2006-01-02 15:04:05"), printable(s.Host), labelCells(labels, s),
			humanize.Comma(int64(s.Stats[snapshot.StatFilesTotal])), humanize.IBytes(s.Stats[snapshot.StatBytesTotal]),
			humanize.IBytes(s.Stats[snapshot.StatBytesStored]), printable(strings.Join(s.Tags, ",")), printable(strings.Join(s.Paths, " ")), remarks(s, e.now()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	e.say("%s", plural(uint64(len(list)), "snapshot", "snapshots"))
	return nil
}

// label is a column that most archives do not need.
type label struct {
	head string
	of   func(*snapshot.Snapshot) string
}

// labelsOf returns the columns in which some snapshot has something.
func labelsOf(list []*snapshot.Snapshot) []label {
	all := []label{
		{"SOURCE", func(s *snapshot.Snapshot) string { return s.Source }},
		{"ROLE", func(s *snapshot.Snapshot) string { return s.Role }},
		{"COMPONENT", func(s *snapshot.Snapshot) string { return s.Component }},
	}
	return slices.DeleteFunc(all, func(l label) bool {
		return !slices.ContainsFunc(list, func(s *snapshot.Snapshot) bool { return l.of(s) != "" })
	})
}

func labelCells(labels []label, s *snapshot.Snapshot) string {
	var cells strings.Builder
	for _, l := range labels {
		cells.WriteString(printable(l.of(s)) + "\t")
	}
	return cells.String()
}

// remarks are what a person should notice about a snapshot.
func remarks(s *snapshot.Snapshot, now time.Time) string {
	var r []string
	switch {
	case s.Checkpoint: // it is incomplete and partial, too
		r = append(r, "checkpoint")
	case s.Incomplete:
		r = append(r, "incomplete")
	}
	if s.Partial && !s.Checkpoint {
		r = append(r, "partial")
	}
	if n := s.Stats[snapshot.StatErrors]; n > 0 {
		r = append(r, plural(n, "error", "errors"))
	}
	if len(s.Degraded) > 0 {
		r = append(r, "degraded")
	}
	for _, name := range s.Refs {
		r = append(r, "ref "+name)
	}
	if s.Pinned {
		r = append(r, "pinned")
	}
	if at := s.Expires.Time(); !s.Expires.IsZero() {
		what := "expires "
		if !at.After(now) {
			what = "expired "
		}
		r = append(r, what+at.Format("2006-01-02 15:04"))
	}
	if len(r) == 0 {
		return ""
	}
	return "  [" + strings.Join(r, ", ") + "]"
}

func snapshotJSON(s *snapshot.Snapshot) map[string]any {
	m := map[string]any{
		"type": "snapshot", "id": s.ID.String(), "time": s.Start.Time().UTC().Format(time.RFC3339Nano), "end": s.End.Time().UTC().Format(time.RFC3339Nano),
		"series": s.Series, "host": s.Host, "user": s.User, "paths": nonNil(s.Paths), "tags": nonNil(s.Tags), "stats": s.Stats,
		"incomplete": s.Incomplete, "partial": s.Partial, "degraded_packs": len(s.Degraded), "errors": errorList(s.Errors), "program": s.Program,
		"description": s.Description, "excludes": nonNil(s.Excludes),
	}
	for key, text := range map[string]string{"source": s.Source, "role": s.Role, "component": s.Component} {
		if text != "" {
			m[key] = text
		}
	}
	m["checkpoint"], m["pinned"] = s.Checkpoint, s.Pinned
	if len(s.Refs) > 0 {
		m["refs"] = s.Refs
	}
	if !s.Expires.IsZero() {
		m["expires"] = s.Expires.Time().UTC().Format(time.RFC3339Nano)
	}
	if !s.Previous.IsZero() {
		m["previous"] = s.Previous.String()
	}
	if !s.Original.IsZero() {
		m["original"] = s.Original.String()
	}
	if !s.Origin.IsZero() {
		m["origin"] = map[string]string{"archive": hex.EncodeToString(s.Origin.Archive[:]), "snapshot": s.Origin.Snapshot.String()}
	}
	return m
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
