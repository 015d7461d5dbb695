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

Examples:
  cairn check
  cairn check --read-data
  cairn check --read-data --subset 3/7     (a seventh each night)
  cairn check --read-data --subset 10%
  cairn check --read-data --subset 50G`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "read-data", Usage: "read and verify the data itself"},
			&cli.StringFlag{Name: "subset", Usage: "with --read-data: only part `N/M` of the packs (the M parts are all of them), or P% or SIZE, chosen at random"},
		},
		Action: func(c *cli.Context) error { return e.runCheck(c) },
	})
}

func (e *env) runCheck(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	o := check.Options{ReadData: c.Bool("read-data"), Progress: &check.Progress{}}
	if text := c.String("subset"); text != "" {
		if !o.ReadData {
			return usage("check: --subset needs --read-data")
		}
		var err error
		if o.Subset, err = check.ParseSubset(text, parseSize); err != nil {
			return &exitError{exitUsage, fmt.Errorf("check: %w", err)}
		}
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		start := time.Now()
		shown := 0
		stop := e.watch(func() tick {
			p := o.Progress
			return tick{verb: "check", files: p.Trees.Load(), bytes: p.Bytes.Load(), totalBytes: p.TotalBytes.Load(), totalsKnown: p.TotalBytes.Load() > 0, unit: "trees"}
		})
		o.Found = func(d check.Damage) {
			if shown++; e.json {
				_ = e.printJSON(damageJSON(d))
			} else if shown <= maxShown {
				e.print("damage: %s", d)
			}
		}
		r, err := check.Run(ctx, a, o)
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
		return e.tellCheck(a, r, o.ReadData, time.Since(start))
	})
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

// maxShown damages are printed one by one; a lost disk makes one for each of its shards.
const maxShown = 200

func damageJSON(d check.Damage) map[string]any {
	m := map[string]any{"type": "damage", "problem": d.Problem, "lost": d.Lost}
	if d.Object != "" {
		m["object"] = d.Object
	}
	if d.Member != "" {
		m["member"] = d.Member
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
			"damaged": r.Damaged, "lost": r.Lost, "files_lost": r.FilesLost, "members_missing": nonNil(a.Missing()), "seconds": took.Seconds(),
		}); err != nil {
			return err
		}
	} else {
		e.print("%s, %s, %s, %s, %s", plural(uint64(r.Snapshots), "snapshot", "snapshots"), plural(uint64(r.Trees), "directory", "directories"),
			plural(uint64(r.Packs), "pack", "packs"), plural(r.Blobs, "blob", "blobs"), plural(uint64(r.Segments), "index segment", "index segments"))
		if readData {
			e.print("%s of %s read: %s", comma(uint64(r.PacksRead)), plural(uint64(r.Packs), "pack", "packs"), humanize.IBytes(r.BytesRead))
		}
		if r.Unreferenced > 0 && r.Lost == 0 {
			e.print("%s that no index names: left by interrupted backups, harmless", plural(uint64(r.Unreferenced), "pack", "packs"))
		}
	}
	switch {
	case r.Damaged > 0 && r.FilesLost+r.Lost > 0 && r.Unreferenced > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s, and %s that no index names", plural(uint64(r.Damaged), "damage", "damages"), plural(uint64(r.Unreferenced), "pack", "packs")),
			"`cairn index rebuild` finds what is in them; then check again")}
	case r.Lost > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s, %d beyond repair from the other shards; %s affected", plural(uint64(r.Damaged), "damage", "damages"), r.Lost, plural(uint64(r.FilesLost), "file is", "files are")),
			"restore what is listed from another copy or an older snapshot; everything else can be restored")}
	case r.FilesLost > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s; %s affected", plural(uint64(r.Damaged), "damage", "damages"), plural(uint64(r.FilesLost), "file is", "files are")),
			"`cairn index rebuild` may find what they need; then check again")}
	case r.Damaged > 0:
		return &exitError{exitDamage, hint(fmt.Errorf("%s; everything can still be read from the other shards and copies", plural(uint64(r.Damaged), "damage", "damages")),
			"replace the disk or object that is bad before another one follows")}
	}
	if !e.json {
		e.print("no damage found (%s)", took.Round(10*time.Millisecond))
	}
	return nil
}
