package main

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/replicate"
	"cairn/remote"
	"cairn/snapshot"
)

func replicateCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "replicate", Usage: "keep another archive up to date with all snapshots", ArgsUsage: "--to ARCHIVE",
		Description: `Copies all snapshots that the target does not have, with tags, pins and expiry, as "cairn copy" does. The target is made
with "cairn init", with a layout and keys of its own: who steals the source's keys has no power over it. Commands find a
copy by the source's id of the snapshot, too.

` + targetText + `

What was forgotten in the target only is not copied again, as long as this machine's cache remembers the copy ("cairn copy"
brings it back). What the source forgets stays in the target, unless --delete is given: then the copies whose source is gone are forgotten
there, too, but for those that were pinned in the target. A source without any snapshot takes nothing away. A snapshot whose
tags were changed is a new one, so without --delete its copies with the old tags stay.

With --watch it goes on for ever: after each run it waits for INTERVAL and looks again, so a run that failed, because
members were away, is made up for by the next. A signal ends it: at once while it waits (exit code 0), and within 30 seconds
while it copies (exit code 130); what is stored by then is not sent again.

Examples:
  cairn replicate --to /mnt/replica --to-key-file /etc/cairn/replica.key
  cairn replicate --to replica.yaml --watch 1h
  cairn replicate --to replica.yaml --delete --dry-run`,
		Flags: append(targetFlags(),
			&cli.DurationFlag{Name: "watch", Usage: "repeat it `INTERVAL` after each end, such as 15m or 1h"},
			&cli.BoolFlag{Name: "delete", Usage: "forget in the target what the source has no more"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be done and do nothing"}),
		Action: func(c *cli.Context) error { return e.runReplicate(c) },
	})
}

// minWatch keeps a watch from listing both archives all the time.
const minWatch = time.Second

func (e *env) runReplicate(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	if c.IsSet("watch") && c.Duration("watch") < minWatch {
		return usage("replicate: --watch %s is shorter than %s", c.Duration("watch"), minWatch)
	}
	t, err := e.findTwo(c)
	if err != nil {
		return err
	}
	// Archives are opened anew for each run: members come and go, layouts change.
	run := func(ctx context.Context) error {
		return e.withTwo(ctx, c, t, func(from, to *archive.Archive) error { return e.replicate(ctx, c, from, to) })
	}
	if !c.IsSet("watch") {
		return run(c.Context)
	}
	return replicate.Watch(c.Context, c.Duration("watch"), run, func(err error) error { return e.replicaFailed(c.Context, err) })
}

// replicaFailed tells of a run that failed and lets the watch go on, unless the next one cannot go better.
func (e *env) replicaFailed(ctx context.Context, err error) error {
	switch exitCode(ctx, err) {
	case exitUsage, exitWrongKey:
		return err
	}
	var said *exitError
	if errors.As(err, &said) && said.err == nil {
		return nil // it was told
	}
	if e.json {
		_ = e.printJSON(map[string]any{"type": "error", "message": err.Error(), "hint": remote.Hint(err), "exit": exitCode(ctx, err)})
	}
	e.warn("%v; the next run tries again", err)
	return nil
}

func (e *env) replicate(ctx context.Context, c *cli.Context, from, to *archive.Archive) error {
	dry := c.Bool("dry-run")
	o := replicate.ReplicaOptions{
		Options: replicate.Options{DryRun: dry, Progress: &replicate.Progress{}, Done: func(r replicate.Result) { e.tellCopied(r, dry) }},
		Delete:  c.Bool("delete"), Time: e.now(), Program: programName(),
		Gone: func(s *snapshot.Snapshot, forgotten bool) { e.tellGone(s, forgotten, dry) },
	}
	start := time.Now()
	stop := e.watchCopy("replicate", o.Progress)
	report, err := replicate.Run(ctx, from, to, o)
	stop()
	if report != nil {
		for _, d := range report.Damaged {
			e.warn("source: %v", d)
		}
	}
	if err != nil {
		return err
	}
	more := map[string]any{"forgotten": report.Forgotten, "kept": report.Kept, "damaged": len(report.Damaged), "refs": report.Refs}
	if err := e.sumCopied(ctx, "replicate", to, &report.Report, dry, time.Since(start), more); err != nil {
		return err
	}
	if !e.json && !e.quiet && report.Forgotten > 0 {
		e.print("%s in the target%s, as in the source", plural(uint64(report.Forgotten), "snapshot", "snapshots"), forgottenText(dry))
	}
	if report.Refs > 0 {
		e.say("%s in the target, as in the source", plural(uint64(report.Refs), "reference was changed", "references were changed"))
	}
	if report.Dropped > 0 {
		e.say("%s not copied again: forgotten in the target", plural(uint64(report.Dropped), "snapshot is", "snapshots are"))
	}
	if report.Kept > 0 {
		e.say("%s that the source has no more", plural(uint64(report.Kept), "copy is kept", "copies are kept"))
	}
	if err := copyVerdict(&report.Report); err != nil {
		return err
	}
	return unreadable(len(report.Damaged))
}

func forgottenText(dry bool) string {
	if dry {
		return " to forget"
	}
	return " forgotten"
}

// tellGone names a copy whose source is gone.
func (e *env) tellGone(s *snapshot.Snapshot, forgotten, dry bool) {
	if e.json {
		_ = e.printJSON(map[string]any{"type": "gone", "id": s.ID.String(), "origin": s.Origin.Snapshot.String(), "forgotten": forgotten, "dry_run": dry})
		return
	}
	if forgotten && !e.quiet {
		e.print("%s:%s, its source %s is gone", describe(s), forgottenText(dry), s.Origin.Snapshot.Short())
	}
}
