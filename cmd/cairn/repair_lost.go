package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/prune"
	"cairn/archive/repair"
	"cairn/chunk"
	"cairn/pack"
)

// lostHint is for who learns that blobs are lost beyond parity.
const lostHint = "restore what is listed from another copy or an older snapshot; everything else can be restored. " +
	"After `cairn repair --lost` the next backup stores anew what its source still has"

// lostDescription is a part of that of repair.
const lostDescription = `With --lost it goes on where parity does not help. A pack of which too few shards are good keeps its data from ever
being stored again, because backups trust the index. So it stores anew what can still be read of such packs, and takes
the rest out of the index: the next backup, of any machine whose files still have that data, stores it anew, and all
snapshots that need it are whole again. "cairn check" then names what is still missing. It needs all members and a full
key, and writers may be at work. Files that are affected are listed first, and then it asks, or wants --yes; if a
member lacks most of its shards, it may be the wrong disk, and then it wants --vanished as well.`

// lostFlags refuses what does not go with --lost.
func lostFlags(c *cli.Context) error {
	if !c.Bool("lost") {
		if c.Bool("yes") || c.Bool("vanished") {
			return usage("repair: --yes and --vanished go with --lost")
		}
		return nil
	}
	for _, other := range []string{"shards", "subset", "refill", "index", "records", "snapshots", "cards"} {
		if c.IsSet(other) {
			return usage("repair: --lost does not go with --%s", other)
		}
	}
	return nil
}

// repairLost repairs what can be repaired, and gives up the packs that are lost all the same.
func (e *env) repairLost(c *cli.Context, o repair.Options) func(context.Context, *archive.Archive) (bool, error) {
	return func(ctx context.Context, a *archive.Archive) (again bool, err error) {
		absent, err := prune.Absences(ctx, a) // before anything is written again
		if err != nil {
			return false, err
		}
		r, err := e.repairOnce(ctx, a, o)
		if err != nil || r.Reopen {
			return err == nil, err
		}
		if err := e.giveUpPossible(ctx, a, r); err != nil {
			return false, err
		}
		return false, e.giveUp(ctx, c, a, r, absent)
	}
}

// giveUpPossible says why nothing can be given up.
func (e *env) giveUpPossible(ctx context.Context, a *archive.Archive, r *repair.Report) error {
	switch {
	case len(r.Away) > 0:
		return &exitError{exitTooFew, hint(fmt.Errorf("not there: %s; what seems to be lost may be on them", nonNil(r.Away)), "nothing was given up: bring all members back, or replace them with `cairn member replace`, then run this again")}
	case r.Undecided > 0, r.Unsure:
		return e.tellRepair(ctx, a, r)
	case slices.ContainsFunc(r.Lost, func(l repair.Loss) bool { return l.Pack.Index }):
		return &exitError{exitDamage, hint(errors.New("an index segment is lost; nothing was given up"), "`cairn repair --index` finds again what it named; then run this again")}
	}
	return nil
}

// giveUp gives up the packs that a repair found lost.
func (e *env) giveUp(ctx context.Context, c *cli.Context, a *archive.Archive, r *repair.Report, absent []prune.Absence) error {
	files := 0
	damaged := map[chunk.ID]int{}
	if r.LostCount > 0 {
		found, snapshots, err := e.costOf(ctx, a, r)
		if err != nil {
			return err
		}
		files, damaged = found.FilesLost, snapshots
	}
	o := prune.GiveUpOptions{DryRun: c.Bool("dry-run"), Program: programName(), Progress: &prune.Progress{}, Notice: func(text string) { e.say("note: %s", text) }}
	for _, l := range r.Lost {
		o.Packs = append(o.Packs, l.Pack.ID)
	}
	stop := e.watch(func() tick { return pruneTick(o.Progress) })
	o.Agree = func(_ context.Context, g *prune.GivenUp) error {
		stop()
		e.tellDamaged(g, damaged)
		return e.agreeLost(c, g, len(damaged), absent)
	}
	g, err := prune.GiveUp(ctx, a, o)
	stop()
	if err != nil {
		return err
	}
	if o.DryRun {
		e.tellDamaged(g, damaged)
	}
	if err := e.printGivenUp(g, o.DryRun, damaged, files); err != nil {
		return err
	}
	switch {
	case o.DryRun && len(g.Packs) > 0:
		return quietExit(exitDamage)
	case r.LostCount > len(r.Lost):
		return &exitError{exitDamage, hint(fmt.Errorf("%d more packs are lost", r.LostCount-len(r.Lost)), "run this again")}
	case len(g.Readable) > 0:
		e.warn("%s can be read after all: run `cairn repair`", plural(uint64(len(g.Readable)), "pack", "packs"))
	}
	return nil
}

// tellDamaged lists the snapshots that need what is lost, and the members that lack it.
func (e *env) tellDamaged(g *prune.GivenUp, damaged map[chunk.ID]int) {
	if e.json {
		return // in the summary
	}
	for _, id := range sortedSnapshots(damaged) {
		e.print("snapshot %s needs what is lost: %s affected", id.Short(), plural(uint64(damaged[id]), "file or directory is", "files and directories are"))
	}
	for _, m := range sortedKeys(g.Missing, g.Bad) {
		e.print("%s: of %s lost, %s missing and %d bad", m, plural(uint64(len(g.Packs)), "pack that is", "packs that are"), plural(uint64(g.Missing[m]), "shard is", "shards are"), g.Bad[m])
	}
}

func sortedSnapshots(list map[chunk.ID]int) []chunk.ID {
	return slices.SortedFunc(maps.Keys(list), func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
}

func sortedKeys(a, b map[string]int) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

var errNotGivenUp = errors.New("nothing was given up: nobody agreed")

// agreeLost asks before blobs are given up that snapshots need, and when a member looks like the wrong one.
func (e *env) agreeLost(c *cli.Context, g *prune.GivenUp, snapshots int, absent []prune.Absence) error {
	for _, m := range absent {
		e.warn("%s lacks the shards of %d of %s: is it the right disk or bucket, and is it mounted?", m.Member, m.Missing, plural(uint64(m.Expected), "pack", "packs"))
	}
	sure := c.Bool("yes")
	next := "--yes agrees without a question"
	if len(absent) > 0 {
		sure, next = sure && c.Bool("vanished"), "if what is missing there will not come back: --yes --vanished; `cairn repair` makes again what can be made"
	}
	if sure || snapshots == 0 && len(absent) == 0 {
		return nil
	}
	yes, err := e.ask(fmt.Sprintf("Give up %s, which %s? ", plural(uint64(len(g.Packs)), "lost pack", "lost packs"), plural(uint64(snapshots), "snapshot needs", "snapshots need")))
	if err == nil && !yes {
		err = &exitError{exitDamage, hint(errNotGivenUp, next)}
	}
	return err
}

// printGivenUp sums it up.
func (e *env) printGivenUp(g *prune.GivenUp, dry bool, damaged map[chunk.ID]int, files int) error {
	if e.json {
		packs := make([]map[string]any, 0, len(g.Packs))
		for _, p := range g.Packs {
			packs = append(packs, map[string]any{"pack": p.Pack.String(), "kind": p.Kind.String(), "good": p.Good, "need": p.Need})
		}
		snapshots := make([]map[string]any, 0, len(damaged))
		for _, id := range sortedSnapshots(damaged) {
			snapshots = append(snapshots, map[string]any{"snapshot": id.String(), "paths": damaged[id]})
		}
		came := make([]string, 0, len(g.Came))
		for _, id := range g.Came {
			came = append(came, id.String())
		}
		return e.printJSON(map[string]any{"type": "repair_lost", "dry_run": dry, "packs": packs, "resumed": len(g.Packs) - g.Fresh, "readable": ids(g.Readable), "missing": g.Missing, "bad": g.Bad,
			"blobs_stranded": g.Stranded, "blobs_rescued": g.Rescued, "bytes_rescued": g.RescuedBytes, "blobs_given_up": g.GaveUp(), "bytes_written": g.WrittenBytes,
			"snapshots": snapshots, "files": files, "came_meanwhile": came, "records": g.Records, "segments_replaced": g.Segments, "deleted": g.Deleted.Packs, "locked": g.Locked.Packs})
	}
	if len(g.Packs) == 0 {
		e.print("no pack is lost: nothing to give up")
		return nil
	}
	did := "given up"
	if dry {
		did = "would be given up"
	}
	e.print("%s %s: %s nowhere else, %d of them could be read and %s stored anew", plural(uint64(len(g.Packs)), "lost pack", "lost packs"), did,
		plural(g.Stranded, "blob is", "blobs are"), g.Rescued, map[bool]string{false: "are", true: "would be"}[dry])
	if g.Locked.Packs > 0 {
		e.print("%s what is left of them until a later prune", plural(uint64(g.Locked.Packs), "object lock holds", "object locks hold"))
	}
	if g.GaveUp() > 0 && !dry {
		e.say("now back up again on every machine that had these files: what their sources still have is stored anew; then `cairn check` names what is missing for good")
	}
	return nil
}

func ids(list []pack.ID) []string {
	texts := make([]string, 0, len(list))
	for _, id := range list {
		texts = append(texts, id.String())
	}
	return texts
}
