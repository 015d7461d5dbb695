package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/archive/repair"
	"cairn/chunk"
)

func repairCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "repair", Usage: "write again what is missing or rotten",
		Description: `Reads every shard of every member and all copies, and makes what is missing or does not prove itself from what is
left: shards from any k good ones of their pack (block by block where fewer are whole), key slots, snapshots
and marks from a good copy, cards with the key. What was written is read back; the figures come from that.
It can be interrupted and run again, and may run beside backups.

With --missing it does not read good shards: it heals what the listings lack, what has the wrong length, and what
backups, restores and checks noted. That is what a member needs that was away. With --shards it needs no key
and leaves cards alone. What lies on members that are away stays as it is and is told; that is no failure as long as
everything can be read.

` + lostDescription + `

` + recoverDescription + `

Exit code 4 if something is lost (with a key, the files are named), 5 if too few members are there.

Examples:
  cairn repair
  cairn repair --missing               (after a member was away)
  cairn repair --refill                (after empty disks or buckets took the place of lost ones, under the same addresses)
  cairn repair --shards                (on a machine without the key)
  cairn repair --subset 3/7            (a seventh each night)
  cairn repair --dry-run               (what would be written?)
  cairn repair --lost                  (then back up again)
` + recoverExamples,
		ArgsUsage: "[--cards PLACE…]",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "shards", Usage: "work without a key: shards and copies only"},
			&cli.BoolFlag{Name: "missing", Aliases: []string{"quick"}, Usage: "do not read good shards: heal what the listings lack and what was noted as bad"},
			&cli.BoolFlag{Name: "refill", Usage: "first make members that are missing anew in the places that are named for them and empty"},
			&cli.BoolFlag{Name: "lost", Usage: "then give up the packs that are lost all the same, so that the next backup stores their data anew"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "with --lost: do not ask, also if snapshots need what is given up"},
			&cli.BoolFlag{Name: "vanished", Usage: "with --lost and --yes: also if a member lacks most of its shards"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "write nothing, say what would be written"},
			&cli.StringFlag{Name: "subset", Usage: "only part `N/M` of the packs (the M parts are all of them), or P% or SIZE, chosen at random"},
		}, recoverFlags()...),
		Action: func(c *cli.Context) error { return e.runRepair(c) },
	})
}

func (e *env) runRepair(c *cli.Context) error {
	o := repair.Options{Missing: c.Bool("missing"), DryRun: c.Bool("dry-run")}
	if c.Bool("index") || c.Bool("records") || c.Bool("snapshots") || c.Bool("cards") {
		if c.Bool("shards") || o.Missing || c.IsSet("subset") {
			return usage("repair: --index, --records, --snapshots and --cards do not go with --shards, --missing or --subset")
		}
	}
	if err := lostFlags(c); err != nil {
		return err
	}
	if done, err := e.runRecover(c); done {
		return err
	}
	if err := noArgs(c); err != nil {
		return err
	}
	if text := c.String("subset"); text != "" {
		s, err := check.ParseSubset(text, parseSize)
		if err != nil {
			return &exitError{exitUsage, fmt.Errorf("repair: %w", err)}
		}
		o.Choose = s.Has
	}
	if c.Bool("refill") {
		if c.Bool("shards") || o.DryRun {
			return usage("repair: --refill writes cards, which needs a key, and has no dry run (`cairn member replace --dry-run` has)")
		}
		if err := e.refill(c); err != nil {
			return err
		}
		o.Missing = o.Missing || !c.IsSet("subset") // what was filled was read back just now
	}
	run := func(ctx context.Context, a *archive.Archive) (again bool, err error) {
		r, err := e.repairOnce(ctx, a, o)
		if err != nil || r.Reopen {
			return err == nil, err
		}
		return false, e.tellRepair(ctx, a, r)
	}
	if c.Bool("lost") {
		run = e.repairLost(c, o)
	}
	return e.repairPacks(c, run)
}

// repairPacks repairs cards, copies and shards. When a member got its card back, the archive is opened again with it.
func (e *env) repairPacks(c *cli.Context, run func(context.Context, *archive.Archive) (again bool, err error)) error {
	with := e.withArchive
	if c.Bool("shards") {
		with = e.withoutKey
	}
	reopen := false
	once := func(ctx context.Context, a *archive.Archive) (err error) {
		reopen, err = run(ctx, a)
		return err
	}
	if err := with(c, once); err != nil || !reopen {
		return err
	}
	e.say("note: a member has its card again: the archive is opened with it")
	return with(c, once)
}

// repairOnce runs one repair and prints what it finds and a summary.
func (e *env) repairOnce(ctx context.Context, a *archive.Archive, o repair.Options) (*repair.Report, error) {
	o.Progress = &repair.Progress{}
	start := time.Now()
	stop := e.watch(func() tick {
		p := o.Progress
		return tick{verb: "repair", files: p.Packs.Load(), totalFiles: p.TotalPacks.Load(), bytes: p.Bytes.Load(), totalBytes: p.TotalBytes.Load(),
			totalsKnown: p.TotalPacks.Load() > 0, unit: "packs", current: plural(p.Healed.Load(), "object healed", "objects healed")}
	})
	shown := 0
	o.Found = func(f repair.Finding) {
		if shown++; e.json {
			_ = e.printJSON(findingJSON(f))
		} else if shown <= maxShown {
			e.print("%s", f)
		}
	}
	r, err := repair.Run(ctx, a, o)
	stop()
	if shown > maxShown && !e.json {
		e.print("… and %d more (--json lists them)", shown-maxShown)
	}
	if err != nil && ctx.Err() == nil {
		return r, err
	}
	if !r.Reopen {
		e.printRepair(r, o, time.Since(start))
	}
	return r, err
}

func findingJSON(f repair.Finding) map[string]any {
	m := map[string]any{"type": "finding", "object": f.Object, "problem": f.Problem, "outcome": f.Outcome.String()}
	if f.Member != "" {
		m["member"] = f.Member
	}
	if f.Err != nil {
		m["error"] = f.Err.Error()
	}
	return m
}

// printRepair sums a repair up, also one that was interrupted.
func (e *env) printRepair(r *repair.Report, o repair.Options, took time.Duration) {
	if e.json {
		lost := make([]map[string]any, 0, len(r.Lost))
		for _, l := range r.Lost {
			lost = append(lost, map[string]any{"pack": l.Pack.ID.String(), "kind": l.Kind.String(), "good": l.Good, "need": l.Need})
		}
		_ = e.printJSON(map[string]any{"type": "repair", "dry_run": o.DryRun, "packs": r.Packs, "segments": r.Segments, "packs_read": r.Read,
			"before": r.Before, "after": r.After, "shards_healed": r.Shards, "copies_healed": r.Copies, "cards_healed": r.Cards,
			"bytes_read": r.BytesRead, "bytes_written": r.BytesWritten, "degraded": r.Degraded, "lacking": r.Lacking, "lost": lost, "lost_count": r.LostCount,
			"unsure": r.Unsure, "unfinished": r.Unfinished, "condemned": r.Condemned, "undecided": r.Undecided, "unwritten": r.Unwritten, "members_away": nonNil(r.Away), "seconds": took.Seconds()})
		return
	}
	e.print("%s and %s looked at, %s of them read whole: %s read, %s written", plural(uint64(r.Packs), "pack", "packs"), plural(uint64(r.Segments), "index segment", "index segments"),
		comma(uint64(r.Read)), humanize.IBytes(r.BytesRead), humanize.IBytes(r.BytesWritten))
	e.print("  %-18s %10s %10s", "", "before", "after")
	for lack := range max(len(r.Before), len(r.After)) {
		before, after := at(r.Before, lack), at(r.After, lack)
		if lack > 0 && before+after == 0 {
			continue
		}
		what := "whole"
		if lack > 0 {
			what = "lack " + plural(uint64(lack), "shard", "shards")
		}
		e.print("  %-18s %10s %10s", what, comma(uint64(before)), comma(uint64(after)))
	}
	verb := "healed"
	if o.DryRun {
		verb = "would be written"
	}
	e.print("%s, %s and %s %s (%s)", plural(uint64(r.Shards), "shard", "shards"), plural(uint64(r.Copies), "copy", "copies"), plural(uint64(r.Cards), "card", "cards"), verb, took.Round(10*time.Millisecond))
	if r.Unfinished > 0 {
		e.print("%s with too few shards that no index names: left by who was interrupted, or just being stored; harmless", plural(uint64(r.Unfinished), "pack", "packs"))
	}
	if r.Condemned > 0 {
		e.print("%s for the next prune: condemned, left as they are", plural(uint64(r.Condemned), "pack waits", "packs wait"))
	}
}

func at(list []int, i int) int {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// tellRepair says what is not as it should be after a repair, and decides the exit code by it.
func (e *env) tellRepair(ctx context.Context, a *archive.Archive, r *repair.Report) error {
	if r.Degraded > 0 {
		e.warn("%s %s shards, and can be read from the others:", plural(uint64(r.Degraded), "pack", "packs"), lack(r.Degraded))
		for _, m := range slices.Sorted(maps.Keys(r.Lacking)) {
			fmt.Fprintf(e.stderr, "  %s lacks %s\n", m, plural(uint64(r.Lacking[m]), "shard", "shards"))
		}
	}
	switch {
	case r.LostCount > 0 && r.Unsure:
		return &exitError{exitDamage, hint(fmt.Errorf("of %s too few shards are good: lost, or left by an interrupted upload", plural(uint64(r.LostCount), "pack", "packs")),
			"`cairn repair` with a key, or `cairn index rebuild`, tells which")}
	case r.LostCount > 0:
		return e.tellLost(ctx, a, r)
	case r.Undecided > 0:
		return &exitError{exitTooFew, hint(fmt.Errorf("of %s too many members are away", plural(uint64(r.Undecided), "pack", "packs")), "bring the members back that are missing, then run this again")}
	case r.Unwritten > 0:
		return hint(fmt.Errorf("%s could not be healed", plural(uint64(r.Unwritten), "object", "objects")),
			"the reasons are above: a member that is full, read-only or lost is replaced with `cairn member replace`")
	}
	return nil
}

func lack(n int) string {
	if n == 1 {
		return "lacks"
	}
	return "lack"
}

// tellLost names the files that lost packs cost.
func (e *env) tellLost(ctx context.Context, a *archive.Archive, r *repair.Report) error {
	lost := fmt.Errorf("%s lost: too few shards are good", plural(uint64(r.LostCount), "pack is", "packs are"))
	if !slices.ContainsFunc(r.Lost, func(l repair.Loss) bool { return !l.Pack.Index }) {
		return &exitError{exitDamage, hint(fmt.Errorf("%s lost", plural(uint64(r.LostCount), "index segment is", "index segments are")),
			"`cairn repair --index` finds again what they named")}
	}
	if !a.Keys().CanRead() {
		return &exitError{exitDamage, hint(lost, "`cairn check --read-data` with a key that can read tells which files that costs")}
	}
	found, _, err := e.costOf(ctx, a, r)
	if err != nil {
		return err
	}
	if found.FilesLost == 0 {
		return &exitError{exitDamage, hint(fmt.Errorf("%w; no file of a snapshot needs them", lost), "`cairn repair --lost` takes them out")}
	}
	return &exitError{exitDamage, hint(fmt.Errorf("%w; %s affected", lost, plural(uint64(found.FilesLost), "file is", "files are")),
		lostHint)}
}

// costOf names the files that lost packs cost, and counts them by snapshot.
func (e *env) costOf(ctx context.Context, a *archive.Archive, r *repair.Report) (*check.Report, map[chunk.ID]int, error) {
	snapshots := map[chunk.ID]int{}
	o := check.Options{Packs: map[archive.PackName]bool{}}
	for _, l := range r.Lost {
		o.Packs[l.Pack] = true
	}
	shown := 0
	o.Found = func(d check.Damage) {
		if d.Path == "" {
			return
		}
		snapshots[d.Snapshot]++
		if shown++; e.json {
			_ = e.printJSON(damageJSON(d))
		} else if shown <= maxShown {
			e.print("damage: %s", d)
		}
	}
	found, err := check.Run(ctx, a, o)
	if err == nil && shown > maxShown && !e.json {
		e.print("… and %d more (--json lists them)", shown-maxShown)
	}
	return found, snapshots, err
}
