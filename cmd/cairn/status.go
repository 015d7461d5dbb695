package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/snapshot"
)

func statusCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "status", Usage: "say how the archive is: members, snapshots, what is degraded",
		Description: `Asks every member and reads no pack: which members answer, what they are known to lack, how many key slots and
snapshots there are, and the latest snapshot of each series. Without a key, what the listings give.

"degraded" means that something is on fewer members than it should be: a member is missing, or it was when
something was stored. The next backup or repair that reaches it heals that, so it is exit code 0. Damage that is known
(a card or key slot that cannot be used, shards that this machine found bad) is exit code 4, too few members to
read anything 5. "cairn check" looks at everything.

AGE is that of the newest snapshot of a series which is whole: neither incomplete nor partial. What came to be after it would be lost with
the source. With --max-age an older one is exit code 1, for whatever watches over the machines; --series, --host, --source and so
on choose the series that this is about, and that are listed.

Examples:
  cairn status
  cairn status --source shop --max-age 26h
  cairn status --json | jq .degraded`,
		Flags:  ageFlags(),
		Action: func(c *cli.Context) error { return e.runStatus(c) },
	})
}

// statusOf is all that is told.
type statusOf struct {
	*archive.Status
	a      *archive.Archive
	series []*snapshot.Snapshot // the latest complete one of each; nil without a key that can read
	read   bool
	broken int // snapshots that cannot be read
	late   *lateness
	now    time.Time
}

func (e *env) runStatus(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	a, err := e.openForStatus(c)
	if err != nil {
		return err
	}
	defer a.Close()
	status, err := a.Status(c.Context)
	if err != nil {
		return err
	}
	s := &statusOf{Status: status, a: a, now: e.now()}
	few := s.Reachable() < a.Geometry().K
	if a.Keys() != nil && a.Keys().CanRead() && !few {
		if err := s.latest(c); err != nil {
			return err
		}
	}
	if e.json {
		err = e.printJSON(s.json())
	} else {
		err = e.printStatus(s)
	}
	switch {
	case err != nil:
		return err
	case few:
		return &exitError{exitTooFew, hint(fmt.Errorf("%d of %d members are there, %d are needed to read anything", s.Reachable(), a.Geometry().N(), a.Geometry().K),
			"bring the missing members back or name them in CAIRN_ARCHIVE")}
	case s.late == nil && c.String("max-age") != "":
		return hint(fmt.Errorf("how old snapshots are cannot be told without a key that reads"), "give --key-file, --password-file or the like")
	case s.damaged():
		return &exitError{exitDamage, hint(fmt.Errorf("damage is known"), "`cairn repair` heals what can be healed; `cairn check` looks at everything")}
	}
	if s.late == nil {
		return nil
	}
	return s.late.err(s.now)
}

// openForStatus opens the archive with a key if one is at hand, and without one otherwise: nothing is asked for.
func (e *env) openForStatus(c *cli.Context) (*archive.Archive, error) {
	p, err := e.where(c)
	if err != nil {
		return nil, err
	}
	creds, err := e.givenCredentials(c, p)
	if err != nil {
		return nil, err
	}
	members, err := e.openMembers(c, p, p.members)
	if err != nil {
		return nil, err
	}
	return archive.Open(c.Context, members, e.optionsAt(c, p, creds))
}

// latest finds the newest complete snapshot of each series.
func (s *statusOf) latest(c *cli.Context) error {
	list, damaged, err := s.a.Snapshots(c.Context)
	if err != nil {
		return err
	}
	s.read, s.broken = true, len(damaged)
	list = snapshotFilter(c).Apply(list)
	if s.late, err = lateOf(list, c.String("max-age"), s.now); err != nil {
		return err
	}
	last := map[string]int{}
	for _, snap := range list { // the oldest first
		if snap.Incomplete {
			continue
		}
		i, ok := last[snap.Series]
		if !ok {
			i = len(s.series)
			last[snap.Series] = i
			s.series = append(s.series, nil)
		}
		s.series[i] = snap
	}
	snapshot.SortByTime(s.series)
	return nil
}

func (s *statusOf) damaged() bool {
	return len(s.a.BadCards())+s.BadSlots+s.FoundBad+s.broken > 0
}

// state is a member's state in a word or a few.
func state(m archive.MemberStatus) string {
	switch {
	case m.Store == nil:
		return "missing"
	case !m.Reachable:
		return "does not answer"
	case m.Stale:
		return "stale card"
	}
	return "ok"
}

// lacks says what a member is known to lack.
func lacks(m archive.MemberStatus) string {
	var parts []string
	if m.LacksCopies > 0 {
		parts = append(parts, plural(uint64(m.LacksCopies), "copy", "copies"))
	}
	if m.LacksShards > 0 {
		parts = append(parts, plural(uint64(m.LacksShards), "shard", "shards"))
	}
	return strings.Join(parts, ", ")
}

func (e *env) printStatus(s *statusOf) error {
	e.print("archive    %s", s.a.ID())
	for i, p := range s.a.Placements() {
		kind := "layout"
		if i > 0 {
			kind = "former"
		}
		e.print("%-9s  %d data + %d parity shards", kind, p.Geometry.K, p.Geometry.M)
	}
	slots := fmt.Sprint(s.Slots)
	if s.BadSlots > 0 {
		slots += fmt.Sprintf(", and %d that cannot be read", s.BadSlots)
	}
	e.print("key slots  %s", slots)
	snapshots := comma(uint64(s.Snapshots))
	if s.Incomplete > 0 {
		snapshots += fmt.Sprintf(", and %s incomplete", comma(uint64(s.Incomplete)))
	}
	if s.broken > 0 {
		snapshots += fmt.Sprintf("; %d cannot be read", s.broken)
	}
	if s.Forgotten > 0 {
		snapshots += fmt.Sprintf("; %s still on a member: `cairn prune` deletes them", plural(uint64(s.Forgotten), "forgotten one is", "forgotten ones are"))
	}
	e.print("snapshots  %s", snapshots)
	if s.Records > 0 {
		e.print("gc records %s", comma(uint64(s.Records)))
	}
	if s.Sessions > 0 {
		e.print("sessions   %s at work, or interrupted in the last days", comma(uint64(s.Sessions)))
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEMBER\tSTATE\tLACKS\tADDRESS")
	for _, m := range s.Members {
		number := fmt.Sprint(m.Number)
		if m.Number < 0 {
			number = "former"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", number, state(m), lacks(m), printable(m.Label))
	}
	if len(s.series) > 0 {
		fmt.Fprintln(w, "LATEST\tTIME\tAGE\tREMARKS\tSERIES")
	}
	for _, snap := range s.series {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", snap.ID.Short(), snap.Start.Time().Format("2006-01-02 15:04:05"), s.late.age(snap.Series, s.now), strings.TrimSpace(remarks(snap, s.now)), printable(snap.Series))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if s.FoundBad > 0 {
		e.print("%s found bad and not yet healed", plural(uint64(s.FoundBad), "shard was", "shards were"))
	}
	if s.Degraded() {
		e.print("degraded: something is on fewer members than it should be; the next backup or `cairn repair` that reaches them heals it")
	}
	return nil
}

func (s *statusOf) json() map[string]any {
	members := []map[string]any{}
	for _, m := range s.Members {
		members = append(members, map[string]any{"id": m.ID, "number": m.Number, "address": m.Label, "reachable": m.Reachable, "stale": m.Stale,
			"lacks_copies": m.LacksCopies, "lacks_shards": m.LacksShards})
	}
	layouts := []map[string]any{}
	for _, p := range s.a.Placements() {
		layouts = append(layouts, map[string]any{"epoch": p.Geometry.Epoch, "data": p.Geometry.K, "parity": p.Geometry.M})
	}
	m := map[string]any{
		"type": "status", "archive": s.a.ID().String(), "layouts": layouts, "members": members,
		"key_slots": s.Slots, "key_slots_damaged": s.BadSlots, "snapshots": s.Snapshots, "incomplete": s.Incomplete, "index_packs": s.IndexPacks,
		"forgotten": s.Forgotten, "gc_records": s.Records, "sessions": s.Sessions,
		"degraded": s.Degraded(), "damaged": s.damaged(), "shards_short": s.Noted, "shards_bad": s.FoundBad, "cards_damaged": len(s.a.BadCards()),
	}
	if s.read {
		latest := []map[string]any{}
		for _, snap := range s.series {
			o := map[string]any{"series": snap.Series, "snapshot": snap.ID.String(),
				"time": snap.Start.Time().UTC().Format(time.RFC3339Nano), "degraded_packs": len(snap.Degraded), "partial": snap.Partial}
			if good := s.late.good[snap.Series]; !good.IsZero() {
				o["age_seconds"] = int64(s.now.Sub(good).Seconds())
			}
			latest = append(latest, o)
		}
		m["series"], m["snapshots_damaged"] = latest, s.broken
		if s.late.asked {
			m["late"] = nonNil(s.late.series)
		}
	}
	return m
}
