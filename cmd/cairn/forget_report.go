package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/retention"
)

// tellPlan shows what becomes of each snapshot, and why.
func (e *env) tellPlan(f forgetting, dry bool) error {
	for _, g := range f.plan.Groups {
		if e.json {
			for _, d := range g.Decisions {
				if err := e.printJSON(decisionJSON(d, dry)); err != nil {
					return err
				}
			}
			continue
		}
		if e.quiet || len(g.Decisions) == 0 {
			continue
		}
		if title := groupTitle(g.Fields); title != "" && !f.named {
			e.print("%s", title)
		}
		w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tTIME\tTAGS\tPLAN\tWHY")
		for _, d := range g.Decisions {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Snapshot.ID.Short(), wallTime(d.Snapshot, f.zone), printable(strings.Join(d.Snapshot.Tags, ",")),
				verdict(d), printable(strings.Join(d.Reasons, ", ")))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		e.print("")
	}
	for _, id := range f.extra {
		if e.json {
			if err := e.printJSON(map[string]any{"type": "decision", "id": id.String(), "keep": false, "reasons": []string{"named"}, "damaged": true, "dry_run": dry}); err != nil {
				return err
			}
		} else if !e.quiet {
			e.print("%s  damaged  forget  named", id.Short())
		}
	}
	return nil
}

func verdict(d retention.Decision) string {
	if d.Keep {
		return "keep"
	}
	return "forget"
}

// wallTime shows a snapshot's time by the clock that decided on its day.
func wallTime(s *snapshot.Snapshot, zone *time.Location) string {
	if zone == nil {
		zone = time.FixedZone("", s.ZoneOffset)
	}
	return s.Start.Time().In(zone).Format("2006-01-02 15:04:05 -07:00")
}

func groupTitle(fields []retention.Field) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, string(f.Key)+" "+printable(strings.Join(f.Values, " ")))
	}
	return strings.Join(parts, ", ")
}

func decisionJSON(d retention.Decision, dry bool) map[string]any {
	s := d.Snapshot
	return map[string]any{
		"type": "decision", "id": s.ID.String(), "time": s.Start.Time().UTC().Format(time.RFC3339Nano), "series": s.Series, "host": s.Host,
		"paths": nonNil(s.Paths), "tags": nonNil(s.Tags), "keep": d.Keep, "reasons": d.Reasons, "dry_run": dry,
	}
}

func (e *env) tellForgotten(c *cli.Context, f forgetting, ids []chunk.ID, dry bool) error {
	kept := -len(f.plan.Forget())
	for _, g := range f.plan.Groups {
		kept += len(g.Decisions)
	}
	if e.json {
		names := make([]string, 0, len(ids))
		for _, id := range ids {
			names = append(names, id.String())
		}
		return e.printJSON(map[string]any{"type": "forget", "kept": kept, "forgotten": len(ids), "ids": names, "dry_run": dry})
	}
	if e.quiet {
		return nil
	}
	what := plural(uint64(len(ids)), "snapshot", "snapshots")
	if !f.named {
		what += fmt.Sprintf(", %s kept", comma(uint64(kept)))
	}
	switch {
	case dry:
		e.print("would forget %s", what)
	default:
		e.print("forgot %s", what)
	}
	if len(ids) > 0 && !dry && !c.Bool("prune") {
		e.say("their data stays until `cairn prune`")
	}
	return nil
}
