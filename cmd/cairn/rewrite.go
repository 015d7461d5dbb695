package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/replicate"
)

func rewriteCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "rewrite", Usage: "take paths out of snapshots", ArgsUsage: "[SNAPSHOT…] --exclude PATTERN",
		Description: `Makes new snapshots without what matches the patterns, out of the named snapshots or all that --host, --series, --tag and
--path choose. Patterns mean what they mean in a backup ("cairn backup --help"): a path that was named to the backup itself is
never taken out; forget such a snapshot instead. A new snapshot keeps times, tags and all else, and remembers the old one as
its original; the patterns join its exclude rules. Snapshots in which nothing matches stay as they are.

The old snapshots stay, unless --forget is given. What was taken out stays in the archive as long as a snapshot needs it,
and until "cairn prune" after that; copies in other archives have it, too. Incomplete snapshots are left as they are:
forget them if they may hold what has to go.

Interrupted, the same command goes on: what it had replaced already is found again.

Examples:
  cairn rewrite --exclude '/home/anna/.ssh/' --dry-run
  cairn rewrite --exclude '*.iso' --exclude-file rules --series web1:/srv --forget
  cairn rewrite latest latest~1 --exclude secrets.txt --forget && cairn prune`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}, Usage: "take out what matches `PATTERN`"},
			&cli.StringSliceFlag{Name: "exclude-file", Usage: "read patterns from `FILE`"},
			&cli.BoolFlag{Name: "forget", Usage: "forget the snapshots that were replaced"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be taken out and change nothing"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runRewrite(c) },
	})
}

func (e *env) runRewrite(c *cli.Context) error {
	patterns, err := readPatterns(c.StringSlice("exclude"), c.StringSlice("exclude-file"))
	if err != nil {
		return err
	}
	if len(patterns.Patterns()) == 0 {
		return usage("rewrite: say what to take out with --exclude or --exclude-file")
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		all, chosen, damaged, err := e.chooseSnapshots(c, a)
		if err != nil {
			return err
		}
		o := replicate.RewriteOptions{
			Excludes: patterns, Forget: c.Bool("forget"), DryRun: c.Bool("dry-run"), Time: e.now(), Program: programName(),
			Progress: &replicate.Progress{}, Done: func(r replicate.Rewritten) { e.tellRewritten(r, c.Bool("dry-run")) },
		}
		start := time.Now()
		stop := e.watchCopy("rewrite", o.Progress)
		report, err := replicate.Rewrite(ctx, a, all, chosen, o)
		stop()
		if err != nil {
			return err
		}
		if err := e.sumRewritten(report, o, time.Since(start)); err != nil {
			return err
		}
		return unreadable(damaged)
	})
}

// tellRewritten says what became of one snapshot.
func (e *env) tellRewritten(r replicate.Rewritten, dry bool) {
	for _, path := range r.Named {
		e.warn("snapshot %s: %s matches and stays: it was named to the backup; `cairn forget` removes such a snapshot", r.Snapshot.ID.Short(), printable(path))
	}
	if e.json {
		m := map[string]any{"type": "rewritten", "snapshot": r.Snapshot.ID.String(), "outcome": r.Outcome.String(), "files": r.Files, "dirs": r.Dirs,
			"others": r.Others, "bytes": r.Bytes, "dry_run": dry}
		if !r.ID.IsZero() {
			m["id"] = r.ID.String()
		}
		if r.Err != nil {
			m["message"] = r.Err.Error()
		}
		_ = e.printJSON(m)
		return
	}
	out := fmt.Sprintf("%s, %s, %s others, %s taken out", plural(r.Files, "file", "files"), plural(r.Dirs, "directory", "directories"), comma(r.Others), humanize.IBytes(r.Bytes))
	switch {
	case r.Outcome == replicate.Broken:
		e.warn("%v", r.Err)
	case r.Outcome == replicate.Skipped:
		e.warn("snapshot %s is incomplete and stays as it is: forget it if it may hold what has to go", r.Snapshot.ID.Short())
	case r.Outcome == replicate.Before && !e.quiet:
		e.print("%s was replaced by %s before", describe(r.Snapshot), r.ID.Short())
	case r.Outcome == replicate.Replaced && dry:
		e.print("%s would be replaced: %s", describe(r.Snapshot), out)
	case r.Outcome == replicate.Replaced && !e.quiet:
		e.print("%s is replaced by %s: %s", describe(r.Snapshot), r.ID.Short(), out)
	}
}

// sumRewritten says what was done in all and what is left to do.
func (e *env) sumRewritten(r *replicate.RewriteReport, o replicate.RewriteOptions, took time.Duration) error {
	if e.json {
		err := e.printJSON(map[string]any{"type": "rewrite", "replaced": r.Replaced, "replaced_before": r.Before, "untouched": r.Untouched, "incomplete": r.Skipped,
			"damaged": r.Broken, "forgotten": r.Forgotten, "dry_run": o.DryRun, "seconds": took.Seconds()})
		if err != nil {
			return err
		}
	} else if !e.quiet {
		e.tellRewrite(r, o)
	}
	if r.Forget != nil {
		for member, err := range r.Forget.Away {
			e.warn("the snapshots that were replaced may still be on %s (%v): they are ignored there, and deleted by the next prune", member, err)
		}
	}
	if r.Broken > 0 {
		return &exitError{exitDamage, hint(fmt.Errorf("%s could not be rewritten: %w", plural(uint64(r.Broken), "snapshot", "snapshots"), r.Err),
			"what is in a directory that cannot be read nobody knows: `cairn repair` may bring it back, or forget the snapshot")}
	}
	return nil
}

func (e *env) tellRewrite(r *replicate.RewriteReport, o replicate.RewriteOptions) {
	begin := ""
	if o.DryRun {
		begin = "dry run: "
	}
	e.print("%s%s replaced, %s untouched", begin, plural(uint64(r.Replaced), "snapshot", "snapshots"), comma(uint64(r.Untouched)))
	switch replaced := r.Replaced + r.Before; {
	case replaced == 0:
	case o.Forget && o.DryRun:
		e.print("%s would be forgotten", plural(uint64(r.Forgotten), "snapshot", "snapshots"))
	case o.Forget:
		e.print("%s forgotten; what was taken out stays in the archive until `cairn prune`", plural(uint64(r.Forgotten), "old snapshot", "old snapshots"))
	case !o.DryRun:
		e.print("the old snapshots still hold what was taken out: run this with --forget, or `cairn forget` them, and then `cairn prune`")
	}
}
