package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"cairn/archive"
)

// runRepairRecords gives up gc records that cannot be read.
func (e *env) runRepairRecords(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	age, err := parseAge(c.String("session-age"))
	if err != nil {
		return usage("--session-age: %w", err)
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		dry := c.Bool("dry-run")
		r, err := a.GiveUpRecords(ctx, archive.GiveUpRecordsOptions{DryRun: dry, SessionAge: age, Program: programName()})
		if err != nil {
			return err
		}
		if e.json {
			records, packs := make([]string, 0, len(r.Records)), make([]string, 0, len(r.Condemned))
			for _, id := range r.Records {
				records = append(records, id.String())
			}
			for _, id := range r.Condemned {
				packs = append(packs, id.String())
			}
			return e.printJSON(map[string]any{"type": "repair_records", "dry_run": dry, "given_up": records, "condemned": packs})
		}
		if len(r.Records) == 0 {
			e.print("all gc records can be read: nothing to do")
			return nil
		}
		verb := "given up"
		if dry {
			verb = "would be given up"
		}
		for _, id := range r.Records {
			e.print("gc record %s %s", id.Short(), verb)
		}
		if n := len(r.Condemned); n > 0 {
			e.print("%s that the index names and that are not there: condemned for ever", plural(uint64(n), "pack", "packs"))
			e.say("note: if these are lost, and not pruned, bring them back before this runs for good; `cairn check` tells which files that costs")
		}
		e.say("snapshots that were forgotten may show up again: see `cairn snapshots`")
		return nil
	})
}
