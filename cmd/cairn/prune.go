package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/prune"
)

func pruneCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "prune", Usage: "give back the room that forgotten snapshots took",
		Description: pruneDescription,
		Flags:       append(pruneFlags(), &cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be done and gained; write nothing"}),
		Action:      func(c *cli.Context) error { return e.runPrune(c) },
	})
}

func pruneFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "max-unused", Value: "5%", Usage: "how much garbage may stay in packs that are needed: `P%` of what the archive then holds, a size, 0, or \"unlimited\""},
		&cli.StringFlag{Name: "max-repack", Usage: "copy at most `SIZE` out of sparse packs; the worst come first, the rest the next time"},
		&cli.StringFlag{Name: "session-age", Value: "7d", Usage: "take sessions for dead that gave no sign of life for `TIME`, such as 12h or 7d, and delete what they left"},
	}
}

const pruneDescription = `Deletes the data that no snapshot needs any more, after "cairn forget" or left by interrupted backups. Nothing else has to
stop for it: backups, restores, checks and other prunes may run at the same time, on any machine. There is no lock, and no clock
decides what is deleted.

It reads the trees of all snapshots (those that it has not seen before; the others are in the cache), and
  1. deletes packs in which nothing is needed, that no index names, or that a prune left which was stopped
  2. copies what is needed out of the packs with the most garbage, until at most --max-unused is left, and deletes those too
     (unless that would gain nothing, as with a few kilobytes of garbage; with --max-unused 0 it does so all the same)
  3. merges small packs and index packs, when there are several
What it will delete it condemns first, in a record on every member; then it looks for new snapshots once more. So it needs every
member of the archive, and with one missing it ends with exit code 5 before it has changed anything. It needs a full key.

It can be stopped at any moment; the next run finishes what was begun. A pack that an object lock protects stays condemned, and is
deleted by a later run. Packs of backups that are at work are left alone. What incomplete snapshots need is kept until they
are forgotten ("cairn forget --incomplete").

When something that a snapshot needs is missing, nothing is deleted: exit code 4, with a list of files. Heal it ("cairn repair"), or
give up the snapshots that are listed ("cairn forget").

Examples:
  cairn prune --dry-run
  cairn prune
  cairn prune --max-unused 20%         (faster: copies less)
  cairn prune --max-unused unlimited   (fastest: copies nothing, deletes only what is garbage as a whole)
  cairn prune --max-unused 0           (smallest)
  cairn prune --max-repack 50G         (a part each night)`

// pruneOptions reads the flags.
func pruneOptions(c *cli.Context) (prune.Options, error) {
	o := prune.Options{Program: programName()}
	if err := maxUnused(&o, c.String("max-unused")); err != nil {
		return o, usage("--max-unused: %w", err)
	}
	if text := c.String("max-repack"); text != "" {
		n, err := parseSize(text)
		if err != nil || n > 1<<62 {
			return o, usage("--max-repack: %q is not a size such as 500M or 50G", text)
		}
		if o.MaxRepack = int64(n); n == 0 {
			o.MaxUnused = 1 // nothing at all
		}
	}
	age, err := parseAge(c.String("session-age"))
	if err != nil {
		return o, usage("--session-age: %w", err)
	}
	o.SessionAge = age
	return o, o.Validate()
}

// maxUnused reads a percentage, a size, or "unlimited".
func maxUnused(o *prune.Options, text string) error {
	text = strings.TrimSpace(text)
	if text == "unlimited" {
		o.MaxUnused = 1
		return nil
	}
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return fmt.Errorf("%q is no percentage from 0%% to 100%%", text)
		}
		o.MaxUnused = p / 100
		return nil
	}
	n, err := parseSize(text)
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is neither a percentage such as 5%%, nor a size such as 10G, nor \"unlimited\"", text)
	}
	o.MaxUnusedBytes = int64(n)
	return nil
}

// parseAge reads a duration, also in days.
func parseAge(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a length of time such as 90m, 12h or 7d", text)
	if days, ok := strings.CutSuffix(strings.TrimSpace(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 {
			return 0, bad
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || d <= 0 {
		return 0, bad
	}
	return d, nil
}

func (e *env) runPrune(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	o, err := pruneOptions(c)
	if err != nil {
		return err
	}
	o.DryRun = c.Bool("dry-run")
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error { return e.prune(ctx, a, o) })
}

// prune collects the garbage and tells what came of it.
func (e *env) prune(ctx context.Context, a *archive.Archive, o prune.Options) error {
	o.Progress = &prune.Progress{}
	o.Notice = func(text string) { e.say("note: %s", text) }
	start := time.Now()
	stop := e.watch(func() tick { return pruneTick(o.Progress) })
	r, err := prune.Run(ctx, a, o)
	stop()
	var damage *prune.DamageError
	if errors.As(err, &damage) {
		e.tellDamage(damage)
		return &exitError{exitDamage, err}
	}
	if err != nil {
		return err
	}
	e.printPrune(r, o, time.Since(start))
	return e.tellLeft(r)
}

// pruneTick is a moment of a collection. Only copying has an end that is known, and takes long.
func pruneTick(p *prune.Progress) tick {
	phase := prune.Phase(p.Phase.Load())
	t := tick{verb: "prune: " + phase.String()}
	switch phase {
	case prune.Copying:
		t.unit, t.files, t.totalFiles = "packs", p.Packs.Load(), p.TotalPacks.Load()
		t.bytes, t.totalBytes, t.totalsKnown = p.Bytes.Load(), p.TotalBytes.Load(), true
	case prune.Deleting:
		t.unit, t.files, t.totalFiles, t.totalsKnown = "objects", p.Packs.Load(), p.TotalPacks.Load(), true
	default:
		t.unit, t.files = "trees", p.Trees.Load()
		t.current = fmt.Sprintf("%s of %s walked", comma(p.Snapshots.Load()), plural(p.TotalSnapshots.Load(), "snapshot", "snapshots"))
	}
	return t
}

// tellDamage lists what is lost.
func (e *env) tellDamage(d *prune.DamageError) {
	for i, f := range d.Files {
		if e.json {
			_ = e.printJSON(map[string]any{"type": "damage", "snapshot": f.Snapshot.String(), "path": f.Path, "problem": f.Problem})
		} else if i < maxShown {
			e.print("damage: %s", f)
		}
	}
	if n := len(d.Files) - maxShown; n > 0 && !e.json {
		e.print("… and %d more (--json lists them)", n)
	}
	if d.More {
		e.warn("only the first %d files were looked for", len(d.Files))
	}
}

// tellLeft decides about the exit code of a collection that came to its end.
func (e *env) tellLeft(r *prune.Report) error {
	if len(r.Left) == 0 {
		return nil
	}
	for i, l := range r.Left {
		if i == maxShown {
			e.warn("… and %d more", len(r.Left)-maxShown)
			break
		}
		e.warn("%s pack %s stays: %v", l.Kind, l.Pack.Short(), l.Err)
	}
	return &exitError{exitDamage, hint(fmt.Errorf("%s cannot be read to be copied, and %s", plural(uint64(len(r.Left)), "pack", "packs"), stay(len(r.Left))), "run `cairn repair`, and then prune again")}
}

func stay(n int) string {
	if n == 1 {
		return "stays"
	}
	return "stay"
}

func amount(a prune.Amount) string {
	return fmt.Sprintf("%s (%s)", plural(uint64(a.Packs), "pack", "packs"), size(a.Bytes))
}

func size(n int64) string {
	if n < 0 {
		return "-" + humanize.IBytes(uint64(-n))
	}
	return humanize.IBytes(uint64(n))
}

// printPrune tells what was done, or would be.
func (e *env) printPrune(r *prune.Report, o prune.Options, took time.Duration) {
	if e.json {
		_ = e.printJSON(pruneJSON(r, o, took))
		return
	}
	e.print("%s%s: %s of %s are needed (%s, %s of them read)", plural(uint64(r.Snapshots), "snapshot", "snapshots"), incompleteText(r.Incomplete),
		comma(r.Needed), plural(r.Blobs, "blob", "blobs"), plural(uint64(r.Trees), "tree", "trees"), comma(uint64(r.TreesRead)))
	did := func(done, would string) string {
		if o.DryRun {
			return would
		}
		return done
	}
	line := func(a prune.Amount, what string) {
		if a.Packs > 0 {
			e.print("  %-24s %s", amount(a), what)
		}
	}
	line(r.Unneeded, did("that nothing needs any more", "that nothing needs any more: would be deleted"))
	line(r.Orphans, did("that no index names, left by interrupted runs", "that no index names, left by interrupted runs: would be deleted"))
	line(r.Zombies, did("left by a prune that was stopped, or was refused", "left by a prune that was stopped, or was refused: would be deleted"))
	line(r.Repacked, fmt.Sprintf("sparse or small: %s %s %s", plural(r.Copied, "blob", "blobs"), did("copied out,", "would be copied out,"), size(r.CopiedBytes)))
	if r.Busy.Packs > 0 {
		line(r.Busy, fmt.Sprintf("of %s at work: left alone", plural(uint64(r.SessionsAtWork), "session", "sessions")))
	}
	line(r.Locked, "cannot be deleted yet, an object lock holds them: a later prune does")
	e.printLocks(r.Locks)
	if o.DryRun {
		e.print("about %s would be freed; garbage of %s would stay in packs that are needed", size(max(0, r.Estimate)), size(r.Unused))
		return
	}
	if r.Deleted.Packs+r.Segments+r.Forgotten == 0 {
		e.print("nothing to do%s (%s)", unusedText(r), took.Round(10*time.Millisecond))
		return
	}
	if r.Segments > 0 {
		e.print("  %-24s replaced", plural(uint64(r.Segments), "index pack", "index packs"))
	}
	e.print("%s deleted, %s freed%s (%s)", plural(uint64(r.Deleted.Packs), "pack", "packs"), size(max(0, r.Freed())), unusedText(r), took.Round(10*time.Millisecond))
	if r.Bounded {
		e.say("note: more is to be copied than --max-repack allows: run it again")
	}
}

func unusedText(r *prune.Report) string {
	if r.Unused == 0 {
		return ""
	}
	return fmt.Sprintf("; garbage of %s stays in packs that are needed", size(r.Unused))
}

func incompleteText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s incomplete)", comma(uint64(n)))
}

func pruneJSON(r *prune.Report, o prune.Options, took time.Duration) map[string]any {
	packs := func(a prune.Amount) map[string]any { return map[string]any{"packs": a.Packs, "bytes": a.Bytes} }
	left := make([]map[string]any, 0, len(r.Left))
	for _, l := range r.Left {
		left = append(left, map[string]any{"pack": l.Pack.String(), "kind": l.Kind.String(), "error": l.Err.Error()})
	}
	m := map[string]any{"type": "prune", "dry_run": o.DryRun, "seconds": took.Seconds(),
		"snapshots": r.Snapshots, "incomplete": r.Incomplete, "trees": r.Trees, "trees_read": r.TreesRead, "blobs": r.Blobs, "blobs_needed": r.Needed,
		"before": packs(r.Total), "index_before": packs(r.Index), "unneeded": packs(r.Unneeded), "orphans": packs(r.Orphans), "left_by_others": packs(r.Zombies),
		"repacked": packs(r.Repacked), "blobs_copied": r.Copied, "bytes_copied": r.CopiedBytes, "busy": packs(r.Busy), "sessions_at_work": r.SessionsAtWork,
		"bytes_unused": r.Unused, "bounded": r.Bounded, "left": left}
	if o.DryRun {
		m["bytes_freed_estimate"] = r.Estimate
		return m
	}
	m["deleted"], m["locked"], m["locked_segments"], m["records"] = packs(r.Deleted), packs(r.Locked), r.LockedSegments, r.Records
	m["records_folded"] = r.Folded
	if r.Locks != nil {
		failed := map[string]string{}
		for label, err := range r.Locks.Failed {
			failed[label] = err.Error()
		}
		m["locks_extended"], m["locks_failed"] = r.Locks.Extended, failed
	}
	m["segments_replaced"], m["snapshots_deleted"], m["bytes_written"], m["bytes_freed"] = r.Segments, r.Forgotten, r.WrittenBytes, r.Freed()
	return m
}
