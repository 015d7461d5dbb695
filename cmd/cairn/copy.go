package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/replicate"
	"cairn/snapshot"
)

func copyCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "copy", Usage: "copy snapshots to another archive", ArgsUsage: "[SNAPSHOT…] --to ARCHIVE",
		Description: `Copies the named snapshots, or all that --host, --series, --tag and --path choose, into another archive, which
may have other members, another layout and other keys. Only what the target does not have is read and sent; everything is
verified on the way. The source is not changed.

` + targetText + `

A copy is a snapshot with an id of its own that names the one it was made of: a repeated copy passes it over, and commands
find it by either id. Files and directories keep their ids. Interrupted, the same command goes on where it was.

Chunks keep the cuts that they have. A new archive cuts in other places, so a backup of the same files made straight to the
target shares no data with the copies; only small files are one chunk in both.

A snapshot of which something is lost in the source is not copied; the others are (exit code 4, or 5 when members are away).
Incomplete snapshots are not copied.

Examples:
  cairn copy --to /mnt/offsite
  cairn copy latest --to s3://s3.eu-central-1.amazonaws.com/offsite --to-key-file /etc/cairn/offsite.key
  cairn copy --series web1:/srv/www --to offsite.yaml --dry-run`,
		Flags: append(append(targetFlags(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be copied and copy nothing"}), selectFlags()...),
		Action: func(c *cli.Context) error { return e.runCopy(c) },
	})
}

func (e *env) runCopy(c *cli.Context) error {
	t, err := e.findTwo(c)
	if err != nil {
		return err
	}
	return e.withTwo(c.Context, c, t, func(from, to *archive.Archive) error {
		all, chosen, damaged, err := e.chooseSnapshots(c, from)
		if err != nil {
			return named("source", err)
		}
		if err := e.copy(c, from, to, all, chosen); err != nil {
			return err
		}
		return unreadable(damaged)
	})
}

// chooseSnapshots lists all snapshots and those that the arguments name or the select flags choose, both the oldest first.
// damaged counts those that cannot be read: without arguments nobody knows whether they are among the chosen.
func (e *env) chooseSnapshots(c *cli.Context, a *archive.Archive) (all, chosen []*snapshot.Snapshot, damaged int, err error) {
	all, bad, err := a.Snapshots(c.Context)
	if err != nil {
		return nil, nil, 0, err
	}
	for _, d := range bad {
		e.warn("%v", d)
	}
	fit := snapshotFilter(c).Apply(all)
	if c.NArg() == 0 {
		return all, fit, len(bad), nil
	}
	named := map[*snapshot.Snapshot]bool{}
	for _, spec := range c.Args().Slice() {
		s, path, err := snapshot.Select(fit, spec, e.now())
		if err != nil {
			return nil, nil, 0, err
		}
		if path != "" {
			return nil, nil, 0, usage("%s: %q names a path; whole snapshots are meant here", c.Command.Name, spec)
		}
		named[s] = true
	}
	for _, s := range all {
		if named[s] {
			chosen = append(chosen, s)
		}
	}
	return all, chosen, 0, nil
}

// unreadable is the exit code of snapshots that were passed over because they cannot be read.
func unreadable(damaged int) error {
	if damaged == 0 {
		return nil
	}
	return &exitError{exitDamage, hint(fmt.Errorf("%s cannot be read", plural(uint64(damaged), "snapshot", "snapshots")), "`cairn check` says more, and `cairn repair` may help")}
}

func (e *env) copy(c *cli.Context, from, to *archive.Archive, all, chosen []*snapshot.Snapshot) error {
	o := replicate.Options{DryRun: c.Bool("dry-run"), Progress: &replicate.Progress{}, Done: func(r replicate.Result) { e.tellCopied(r, c.Bool("dry-run")) }}
	start := time.Now()
	stop := e.watchCopy("copy", o.Progress)
	report, err := replicate.Copy(c.Context, from, to, all, chosen, o)
	stop()
	if err != nil {
		return err
	}
	if err := e.sumCopied(c.Context, "copy", to, report, o.DryRun, time.Since(start), map[string]any{}); err != nil {
		return err
	}
	return copyVerdict(report)
}

// tellCopied says what became of one snapshot.
func (e *env) tellCopied(r replicate.Result, dry bool) {
	if e.json {
		m := map[string]any{"type": "copied", "snapshot": r.Source.ID.String(), "state": r.State.String(), "trees": r.Trees, "blobs": r.Blobs,
			"bytes": r.Bytes, "bytes_stored": r.Stored, "degraded_packs": r.Degraded, "dry_run": dry}
		if !r.ID.IsZero() {
			m["id"] = r.ID.String()
		}
		if r.Err != nil {
			m["message"] = r.Err.Error()
		}
		_ = e.printJSON(m)
		return
	}
	switch {
	case r.State == replicate.Lost:
		e.warn("%v", r.Err)
	case r.State == replicate.Incomplete:
		e.say("%s is incomplete: not copied", describe(r.Source))
	case r.State == replicate.Copied && dry:
		e.print("%s would be copied: %s in %s", describe(r.Source), humanize.IBytes(r.Bytes), plural(r.Blobs, "chunk", "chunks"))
	case r.State == replicate.Copied && !e.quiet:
		e.print("%s is copied as %s: %s in %s", describe(r.Source), r.ID.Short(), humanize.IBytes(r.Bytes), plural(r.Blobs, "chunk", "chunks"))
	}
}

// describe names a snapshot for people.
func describe(s *snapshot.Snapshot) string {
	return s.ID.Short() + " (" + printable(s.Series) + ", " + s.Start.Time().Format("2006-01-02 15:04:05") + ")"
}

// sumCopied says what was done in all, when the target's members that lacked something were brought to the same state, as after a backup.
// more are further fields for JSON.
func (e *env) sumCopied(ctx context.Context, kind string, to *archive.Archive, r *replicate.Report, dry bool, took time.Duration, more map[string]any) error {
	var caught *archive.CatchUpReport
	if !dry {
		caught = to.CatchUp(ctx, nil)
	}
	if e.json {
		m := map[string]any{"type": kind, "copied": r.Copied, "there": r.There, "incomplete": r.Incomplete, "lost": r.Lost, "forgotten_in_target": r.Dropped, "trees": r.Trees, "blobs": r.Blobs,
			"bytes": r.Bytes, "bytes_stored": r.Stored, "degraded": r.Degraded, "dry_run": dry, "seconds": took.Seconds()}
		maps.Copy(m, more)
		if caught != nil {
			catchUpJSON(m, caught)
		}
		return e.printJSON(m)
	}
	if caught != nil {
		e.tellCatchUp(caught)
	}
	if r.Degraded > 0 {
		e.warn("%s in the target, because members were not reached: the next copy or backup that reaches them heals that, and so does `cairn repair`",
			plural(uint64(r.Degraded), "snapshot is degraded", "snapshots are degraded"))
	}
	if e.quiet {
		return nil
	}
	there := ""
	if r.There > 0 {
		there = ", " + comma(uint64(r.There)) + " there already"
	}
	if dry {
		e.print("dry run: %s to copy%s: %s", plural(uint64(r.Copied), "snapshot", "snapshots"), there, humanize.IBytes(r.Bytes))
		return nil
	}
	e.print("%s copied%s: %s read, %s stored, in %s", plural(uint64(r.Copied), "snapshot", "snapshots"), there,
		humanize.IBytes(r.Bytes), humanize.IBytes(r.Stored), took.Round(10*time.Millisecond))
	return nil
}
