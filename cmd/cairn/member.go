package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

func memberCommand(e *env) *cli.Command {
	return &cli.Command{
		Name: "member", Usage: "look after the members: list, check, replace, add, change the layout or the retention",
		Description: `The commands are "member list", "member check", "member replace", "member add", "member layout" and "member retain";
"cairn member replace --help" explains one.`,
		Subcommands: []*cli.Command{
			command(e, &cli.Command{
				Name: "list", Usage: "show how the members are, and which losses can still be survived",
				Description: `Asks every member a few small things and compares what all of them list: which shards and copies a member
lacks, how fast it answers, how much room a directory has. It needs no key.

Examples:
  cairn member list
  cairn member list --json`,
				Action: func(c *cli.Context) error { return e.runMemberList(c) },
			}),
			command(e, &cli.Command{
				Name: "check", Usage: "find out whether a store is good enough for a member", ArgsUsage: "MEMBER…",
				Description: `Uses a store as an archive does: writes, reads whole objects, ranges and ends, lists, overwrites and
deletes, below "probe/", and removes everything again. It tells whether the store keeps what is deleted, and
whether it can lock objects, which it tries out (some seconds). MEMBER is an address, of a member or of a place
that shall become one, or the number of a member of the archive.

Examples:
  cairn member check /mnt/new
  cairn member check 's3://nas:9000/bucket?insecure=1'
  cairn member check 0 3`,
				Action: func(c *cli.Context) error { return e.runMemberCheck(c) },
			}),
			memberReplaceCommand(e),
			memberAddCommand(e),
			memberLayoutCommand(e),
			memberRetainCommand(e),
		},
	}
}

func (e *env) runMemberList(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	a, err := e.openKeyless(c)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := member.List(c.Context, a)
	if err != nil {
		return err
	}
	if e.json {
		err = e.printMembersJSON(a, r)
	} else {
		err = e.printMembers(a, r)
	}
	if err != nil {
		return err
	}
	if r.Survive < 0 {
		few := &stripe.TooFewError{Need: r.Geometry.K}
		for _, s := range r.Members {
			if s.Number >= 0 && s.State == member.OK {
				few.Have++
			} else if s.Number >= 0 {
				few.Missing, few.Causes = append(few.Missing, s.Label), append(few.Causes, fmt.Errorf("%s: %s", s.Label, s.State))
			}
		}
		return few
	}
	return nil
}

func (e *env) printMembersJSON(a *archive.Archive, r *member.ListReport) error {
	for _, s := range r.Members {
		m := map[string]any{
			"type": "member", "number": s.Number, "id": s.ID, "address": s.URL, "label": s.Label, "state": s.State, "problem": s.Problem,
			"latency_ms": float64(s.Latency.Nanoseconds()) / 1e6, "objects": s.Objects, "bytes": s.Bytes,
			"missing_shards": s.MissingShards, "missing_copies": s.MissingCopies,
		}
		if s.SpaceKnown {
			m["free"], m["total"] = s.Free, s.Total
		}
		if err := e.printJSON(m); err != nil {
			return err
		}
	}
	return e.printJSON(map[string]any{"type": "members", "archive": a.ID().String(), "data": r.Geometry.K, "parity": r.Geometry.M, "layouts": r.Layouts,
		"packs": r.Packs, "degraded_packs": r.Degraded, "packs_with_too_few_shards": r.Weak, "packs_in_former_layouts": r.Former, "survives": r.Survive})
}

func (e *env) printMembers(a *archive.Archive, r *member.ListReport) error {
	e.print("archive %.8s: %s", a.ID(), layoutText(r.Geometry.K, r.Geometry.M, r.Geometry.N()))
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "#\tSTATE\tLATENCY\tOBJECTS\tSIZE\tLACKS\tFREE\tMEMBER")
	for _, s := range r.Members {
		number, free := strconv.Itoa(s.Number), "-"
		if s.Number < 0 {
			number = "former"
		}
		if s.SpaceKnown {
			free = humanize.IBytes(s.Free)
		}
		if s.Store == nil {
			fmt.Fprintf(w, "%s\t%s\t-\t-\t-\t-\t%s\t%s (%s)\n", number, s.State, free, printable(s.Label), printable(s.Problem))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", number, s.State, s.Latency.Round(time.Microsecond), comma(uint64(s.Objects)),
			humanize.IBytes(uint64(s.Bytes)), memberLacks(&s), free, printable(s.Label))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range r.Members {
		if s.Problem != "" && s.Store != nil || s.State == member.BadCard {
			e.print("%s: %s: %s", printable(s.Label), s.State, s.Problem)
		}
	}
	e.print("%s", packsText(r))
	e.print("%s", surviveText(r))
	return nil
}

func memberLacks(s *member.Status) string {
	switch {
	case s.MissingShards > 0 && s.MissingCopies > 0:
		return fmt.Sprintf("%s, %s", plural(uint64(s.MissingShards), "shard", "shards"), plural(uint64(s.MissingCopies), "copy", "copies"))
	case s.MissingShards > 0:
		return plural(uint64(s.MissingShards), "shard", "shards")
	case s.MissingCopies > 0:
		return plural(uint64(s.MissingCopies), "copy", "copies")
	}
	return "nothing"
}

func packsText(r *member.ListReport) string {
	text := plural(uint64(r.Packs), "pack", "packs")
	if r.Degraded > 0 {
		text += fmt.Sprintf("; %s with shards missing (`cairn repair` makes them again)", comma(uint64(r.Degraded)))
	}
	if r.Weak > 0 {
		text += fmt.Sprintf("; %s with too few shards, lost or left by an interrupted backup (`cairn check` tells)", comma(uint64(r.Weak)))
	}
	if r.Former > 0 {
		text += fmt.Sprintf("; %s in a former layout (`cairn member layout --resume` rewrites them)", comma(uint64(r.Former)))
	}
	return text
}

func surviveText(r *member.ListReport) string {
	switch {
	case r.Survive < 0:
		return "too few members are there: nothing can be backed up or read"
	case r.Survive == 0 && r.Geometry.M == 0:
		return "no redundancy: with a member, data is lost"
	case r.Survive == 0:
		return "no more member may be lost: repair or replace what is missing"
	case r.Survive == 1:
		return "any 1 more member can be lost without losing data"
	}
	return fmt.Sprintf("any %d more members can be lost without losing data", r.Survive)
}

func (e *env) runMemberCheck(c *cli.Context) error {
	if !c.Args().Present() {
		return usage("member check: name an address, or the number of a member")
	}
	bad := 0
	for _, name := range c.Args().Slice() {
		m, shard, err := e.storeOf(c, name)
		if err != nil {
			return err
		}
		if m.Store == nil {
			return fmt.Errorf("%s: %w", m.URL, m.Err)
		}
		if !e.json {
			e.print("%s", printable(m.URL))
		}
		r := member.Probe(c.Context, m.Store, member.ProbeOptions{ShardSize: shard, Now: e.now, Each: func(f member.Finding) {
			if !e.json {
				e.print("  %-8s%-19s%s", f.Grade, f.Test, f.Text)
			}
		}})
		removeScratch(m.URL)
		if err := c.Context.Err(); err != nil {
			return err
		}
		if err := e.tellProbe(m.URL, r); err != nil {
			return err
		}
		if r.Worst() == member.Bad {
			bad++
		}
	}
	if bad > 0 {
		return quietExit(exitFailed)
	}
	return nil
}

// storeOf opens what is to be tested: a member of the archive by its number, or any address.
func (e *env) storeOf(c *cli.Context, name string) (archive.Member, int, error) {
	p, err := e.where(c)
	if err != nil {
		p = &place{}
	}
	if _, err := strconv.Atoi(name); err == nil {
		a, err := e.openKeyless(c)
		if err != nil {
			return archive.Member{}, 0, err
		}
		m, err := member.Find(a, name)
		if err != nil {
			return archive.Member{}, 0, &exitError{exitUsage, err}
		}
		if m.Store == nil && m.Err == nil {
			m.Err = fmt.Errorf("not there")
		}
		return archive.Member{URL: m.Label, Store: m.Store, Err: m.Err}, int(pack.ShardSize(int64(a.Geometry().DefaultTarget()))), nil
	}
	list, err := e.openMembers(c, p, []string{name})
	if err != nil {
		return archive.Member{}, 0, err
	}
	return list[0], 0, nil
}

// removeScratch removes the empty directories that the test of a directory leaves.
func removeScratch(url string) {
	u, err := remote.ParseURL(url)
	if err != nil || u.Scheme != "file" {
		return
	}
	for _, dir := range []string{"ab/cd/ef", "ab/cd", "ab", ""} {
		_ = os.Remove(filepath.Join(u.Path, member.ScratchPrefix, dir)) // refuses what is not empty
	}
}

func (e *env) tellProbe(url string, r *member.ProbeReport) error {
	if e.json {
		var findings []map[string]any
		for _, f := range r.Findings {
			findings = append(findings, map[string]any{"test": f.Test, "grade": f.Grade, "text": f.Text})
		}
		m := map[string]any{"type": "member_check", "address": url, "verdict": r.Worst(), "findings": findings, "latency_ms": float64(r.Latency.Nanoseconds()) / 1e6,
			"write_bytes_per_second": int64(r.Write), "read_bytes_per_second": int64(r.Read), "left": nonNil(r.Left)}
		if r.ClockKnown {
			m["clock_seconds"] = r.Clock.Seconds()
		}
		return e.printJSON(m)
	}
	for _, name := range r.Left {
		e.warn("%s: the scratch object %s could not be removed", url, name)
	}
	e.print("  %s", map[member.Grade]string{
		member.Good:    "verdict: good: it can be a member",
		member.Note:    "verdict: good: it can be a member",
		member.Warning: "verdict: usable, with the warnings above",
		member.Bad:     "verdict: bad: an archive cannot be kept there",
	}[r.Worst()])
	return nil
}

// reopen opens an archive that is open anew, with other members and the same keys.
func (e *env) reopen(c *cli.Context, a *archive.Archive) func(context.Context, []archive.Member) (*archive.Archive, error) {
	return func(ctx context.Context, members []archive.Member) (*archive.Archive, error) {
		if err := a.Close(); err != nil { // its index is needed by the next one
			return nil, err
		}
		return archive.OpenWithKeys(ctx, members, a.Keys(), e.options(c, nil))
	}
}
