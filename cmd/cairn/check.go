package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/check"
)

func checkCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "check", Usage: "prove that the archive is whole",
		Description: `Reads all small objects and all trees, and compares what the members hold with the index: everything
that a snapshot needs must be there in full length. With --read-data it reads every shard, compares it with
its hashes and opens every blob. Each damage is named by object and member, and by the files and
snapshots that it costs. Damage gives exit code 4, also when the other shards make good for it.

With --shards it scrubs: it needs no key, no password and no index, and reads every shard of every member, parity
included, and all copies. A shard proves itself by its name, so rot, truncation, missing and swapped objects
are all found; a machine that holds nothing but the members can do it. What the damage costs, only a
check with a key tells. "cairn repair" heals what is found.

It may run beside backups, prune and forget. What they leave to be deleted is garbage and no damage, in
whatever state it is: it is counted, and the next "cairn prune" removes it. A snapshot that is incomplete was
never reported as done: what it lacks is a note. When too many members are away to read something, exit
code 5 says so, unless damage is found as well.

Examples:
  cairn check
  cairn check --read-data
  cairn check --shards                     (without any key)
  cairn check --read-data --subset 3/7     (a seventh each night)
  cairn check --shards --subset 10%
  cairn check --read-data --subset 50G`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "read-data", Usage: "read and verify the data itself"},
			&cli.BoolFlag{Name: "shards", Usage: "read and verify all shards and copies, without a key"},
			&cli.StringFlag{Name: "subset", Usage: "with --read-data or --shards: only part `N/M` of the packs (the M parts are all of them), or P% or SIZE, chosen at random"},
		},
		Action: func(c *cli.Context) error { return e.runCheck(c) },
	})
}

func (e *env) runCheck(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	shards := c.Bool("shards")
	o := check.Options{ReadData: c.Bool("read-data"), Progress: &check.Progress{}}
	switch {
	case shards && o.ReadData:
		return usage("check: --read-data reads everything that --shards does, and needs a key; use one of them")
	case c.String("subset") != "" && !shards && !o.ReadData:
		return usage("check: --subset needs --read-data or --shards")
	case c.String("subset") != "":
		var err error
		if o.Subset, err = check.ParseSubset(c.String("subset"), parseSize); err != nil {
			return &exitError{exitUsage, fmt.Errorf("check: %w", err)}
		}
	}
	if shards {
		return e.withoutKey(c, func(ctx context.Context, a *archive.Archive) error {
			return e.checkWith(ctx, a, o, check.Shards, e.tellShards)
		})
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		return e.checkWith(ctx, a, o, check.Run, func(a *archive.Archive, r *check.Report, took time.Duration) error {
			return e.tellCheck(a, r, o.ReadData, took)
		})
	})
}

// checkWith runs a check and tells what it finds.
func (e *env) checkWith(ctx context.Context, a *archive.Archive, o check.Options, run func(context.Context, *archive.Archive, check.Options) (*check.Report, error),
	tell func(*archive.Archive, *check.Report, time.Duration) error) error {
	start := time.Now()
	shown := 0
	stop := e.watch(func() tick {
		p := o.Progress
		t := tick{verb: "check", files: p.Trees.Load(), bytes: p.Bytes.Load(), totalBytes: p.TotalBytes.Load(), totalsKnown: p.TotalBytes.Load() > 0, unit: "trees"}
		if t.files == 0 {
			t.files, t.unit = p.Packs.Load(), "packs"
		}
		return t
	})
	o.Found = func(d check.Damage) {
		if shown++; e.json {
			_ = e.printJSON(damageJSON(d))
		} else if shown <= maxShown && d.Away {
			e.print("out of reach: %s", d)
		} else if shown <= maxShown && d.Lacking {
			e.print("lacking: %s", d)
		} else if shown <= maxShown {
			e.print("damage: %s", d)
		}
	}
	r, err := run(ctx, a, o)
	stop()
	if err != nil {
		return err
	}
	if shown > maxShown && !e.json {
		e.print("… and %d more (--json lists them)", shown-maxShown)
	}
	if err := e.tellNotes(r); err != nil {
		return err
	}
	return tell(a, r, time.Since(start))
}

// withoutKey opens the archive without any credential and runs fn.
func (e *env) withoutKey(c *cli.Context, fn func(ctx context.Context, a *archive.Archive) error) error {
	p, err := e.where(c)
	if err != nil {
		return err
	}
	a, err := e.openWith(c, p, nil)
	if err != nil {
		return err
	}
	defer a.Close() // no index is open
	return fn(c.Context, a)
}

// tellShards sums a scrub up.
func (e *env) tellShards(a *archive.Archive, r *check.Report, took time.Duration) error {
	if e.json {
		if err := e.printJSON(map[string]any{
			"type": "check", "shards": true, "snapshots": r.Snapshots, "segments": r.Segments, "packs": r.Packs, "packs_read": r.PacksRead,
			"bytes_read": r.BytesRead, "lacking": r.Lacking, "damaged": r.Damaged, "lost": r.Lost, "packs_short": r.Short, "members_missing": nonNil(a.Missing()), "seconds": took.Seconds(),
			"gc_records": r.Records, "condemned_packs": r.Condemned, "condemned_bytes": r.CondemnedBytes, "forgotten": r.Forgotten, "incomplete": r.Incomplete,
		}); err != nil {
			return err
		}
	} else {
		e.print("%s, %s, %s; %s of %s of data read, %s", plural(uint64(r.Snapshots), "snapshot", "snapshots"), plural(uint64(r.Packs), "pack", "packs"),
			plural(uint64(r.Segments), "index segment", "index segments"), comma(uint64(r.PacksRead)), plural(uint64(r.Packs), "pack", "packs"), humanize.IBytes(r.BytesRead))
		if r.Condemned > 0 {
			e.print("%s (%s) condemned by gc records: not looked at (only a key tells whether the records are the archive's)",
				plural(uint64(r.Condemned), "pack is", "packs are"), humanize.IBytes(uint64(r.CondemnedBytes)))
		}
	}
	switch {
	case r.Short > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s; of %s fewer shards are good than are needed", plural(uint64(r.Damaged), "damage", "damages"), plural(uint64(r.Short), "pack", "packs")),
			"`cairn check` with a key tells whether files are lost with them, and which")}
	case r.Lost > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s, %d beyond repair from other copies", plural(uint64(r.Damaged), "damage", "damages"), r.Lost), "`cairn check` with a key tells what that means")}
	case r.Damaged > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s; all packs can still be read from their other shards", plural(uint64(r.Damaged), "damage", "damages")),
			"run `cairn repair`: it writes again what is missing or rotten")}
	}
	if !e.json {
		e.tellLacking(r)
		e.print("no damage found (%s)", took.Round(10*time.Millisecond))
	}
	return nil
}

// tellNotes prints what is no damage and still worth knowing: a snapshot that was never validated, or one whose
// predecessor is gone.
func (e *env) tellNotes(r *check.Report) error {
	for _, n := range r.Notes {
		if !e.json {
			e.print("note: %s", n)
		} else if err := e.printJSON(map[string]any{"type": "note", "message": fmt.Sprint(n)}); err != nil {
			return err
		}
	}
	return nil
}

// tellGarbage says what the next prune removes.
func (e *env) tellGarbage(r *check.Report) {
	if r.Condemned > 0 {
		e.print("%s, %s, for the next prune: condemned, nothing needs them", plural(uint64(r.Condemned), "pack waits", "packs wait"), humanize.IBytes(uint64(r.CondemnedBytes)))
	}
	if r.Unreferenced > 0 && r.Lost == 0 {
		e.print("%s (%s) that no index names: left by who was interrupted, or just being stored; harmless", plural(uint64(r.Unreferenced), "pack", "packs"),
			humanize.IBytes(uint64(r.UnreferencedBytes)))
	}
	if r.Forgotten > 0 {
		e.print("%s still on a member: the next prune deletes them", plural(uint64(r.Forgotten), "forgotten snapshot is", "forgotten snapshots are"))
	}
}

// tellLacking says what becomes of what some members lack.
func (e *env) tellLacking(r *check.Report) {
	if r.Lacking > 0 {
		e.print("%s lacking on a member, though others have it: left by who was interrupted; the next backup, or `cairn repair --missing`, copies it",
			plural(uint64(r.Lacking), "copy is", "copies are"))
	}
}

// maxShown damages are printed one by one; a lost disk makes one for each of its shards.
const maxShown = 200

func damageJSON(d check.Damage) map[string]any {
	m := map[string]any{"type": "damage", "problem": d.Problem, "lost": d.Lost, "away": d.Away, "lacking": d.Lacking}
	if d.Object != "" {
		m["object"] = d.Object
	}
	if d.Member != "" {
		m["member"] = d.Member
	}
	if len(d.Blocks) > 0 {
		m["blocks"] = d.Blocks
	}
	if d.Path != "" {
		m["path"], m["snapshot"] = d.Path, d.Snapshot.String()
	}
	return m
}

func (e *env) tellCheck(a *archive.Archive, r *check.Report, readData bool, took time.Duration) error {
	if e.json {
		if err := e.printJSON(map[string]any{
			"type": "check", "read_data": readData, "snapshots": r.Snapshots, "segments": r.Segments, "packs": r.Packs, "packs_read": r.PacksRead,
			"trees": r.Trees, "blobs": r.Blobs, "bytes_read": r.BytesRead, "unreferenced_packs": r.Unreferenced,
			"unreferenced_bytes": r.UnreferencedBytes, "condemned_packs": r.Condemned, "condemned_bytes": r.CondemnedBytes, "forgotten": r.Forgotten,
			"gc_records": r.Records, "incomplete": r.Incomplete, "blobs_waiting": r.Waiting, "unreachable": r.Unreachable,
			"lacking": r.Lacking, "damaged": r.Damaged, "lost": r.Lost, "files_lost": r.FilesLost, "members_missing": nonNil(a.Missing()), "seconds": took.Seconds(),
		}); err != nil {
			return err
		}
	} else {
		e.print("%s, %s, %s, %s, %s", plural(uint64(r.Snapshots), "snapshot", "snapshots"), plural(uint64(r.Trees), "directory", "directories"),
			plural(uint64(r.Packs), "pack", "packs"), plural(r.Blobs, "blob", "blobs"), plural(uint64(r.Segments), "index segment", "index segments"))
		if readData {
			e.print("%s of %s read: %s", comma(uint64(r.PacksRead)), plural(uint64(r.Packs), "pack", "packs"), humanize.IBytes(r.BytesRead))
		}
		e.tellGarbage(r)
	}
	switch {
	case r.Damaged > 0 && r.FilesLost+r.Lost > 0 && r.Unreferenced > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s, and %s that no index names", plural(uint64(r.Damaged), "damage", "damages"), plural(uint64(r.Unreferenced), "pack", "packs")),
			"`cairn index rebuild` finds what is in them; then check again")}
	case r.Lost > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s, %d beyond repair from the other shards; %s affected", plural(uint64(r.Damaged), "damage", "damages"), r.Lost, plural(uint64(r.FilesLost), "file is", "files are")),
			lostHint)}
	case r.FilesLost > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s; %s affected", plural(uint64(r.Damaged), "damage", "damages"), plural(uint64(r.FilesLost), "file is", "files are")),
			"`cairn index rebuild` may find what they need; then check again")}
	case r.Damaged > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s; everything can still be read from the other shards and copies", plural(uint64(r.Damaged), "damage", "damages")),
			"run `cairn repair`: it writes again what is missing or rotten, before more follows")}
	case r.Unreachable > 0:
		return &exitError{exitTooFew, hint(fmt.Errorf("of %s too many members are away to read it; nothing else is wrong", plural(uint64(r.Unreachable), "object or file", "objects and files")),
			"bring the members back that are missing, then check again")}
	}
	if !e.json {
		e.tellLacking(r)
		e.print("no damage found (%s)", took.Round(10*time.Millisecond))
	}
	return nil
}
