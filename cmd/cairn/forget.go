package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // --timezone must work in a container that has no zones

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/retention"
)

func forgetCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "forget", Usage: "forget snapshots by rules, or those that are named", ArgsUsage: "[SNAPSHOT…]",
		Description: forgetDescription,
		Flags:       forgetFlags(),
		Action:      func(c *cli.Context) error { return e.runForget(c) },
	})
}

const forgetDescription = `Removes the snapshots that no rule keeps, or those that are named. Their data stays until "cairn prune" (or --prune)
finds that nothing else needs it. Backups, restores and other commands may run meanwhile.

RULES. A snapshot is kept when one rule keeps it; every line of the output says which. The rules are applied to each series by
itself (--group-by: series, host, path, tag, user, source, role, component, several with commas, or none).
  --keep-last 3          the newest 3 snapshots
  --keep-daily 7         the newest snapshot of each of the newest 7 days that have one; so do -minutely, -hourly, -weekly (ISO 8601),
                         -monthly, -quarterly and -yearly. While there are fewer such days, the oldest snapshot stands for them
  --keep-within 30d      all that began in the 30 days before the newest one of the group
  --keep-within-daily 30d   of these, the newest of each day
  --keep-tag release     all that have the tag
A number may be "unlimited". Lengths of time are like 7d, 1y6m, 2w, 36h or 90min (m are months). Days are those of the clock on the
wall where the backup was made, or of --timezone.

WHAT THE RULES LEAVE ALONE
  pinned snapshots (backup --pin, tag --pin) are kept, and keep the place of their day, too
  an expiry (--expire-at of backup and tag) decides alone: kept until then, forgotten afterwards, whatever the rules
    say, unless pinned; the places of the rules are left to others. It has come when the archive holds a backup that began later
  the newest complete snapshot of a series is kept (of those not expired, if there is one), unless --allow-empty
  incomplete snapshots, of a backup that is at work or was interrupted, stay and do not count. With --incomplete those are forgotten that
    ended before a later backup of their series began. Checkpoints go when a later backup of their series is complete
  snapshots from the future, made by a clock that is ahead, are kept and do not count; a warning names them
The clock of the machine that runs forget decides nothing else: one that is wrong makes no snapshot go.

Named snapshots are forgotten whatever the rules would say, incomplete and damaged ones too; a pinned one must be unpinned first.

Examples:
  cairn forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-yearly unlimited --dry-run
  cairn forget --keep-last 1 --keep-within-hourly 2d --keep-within-daily 1m --prune
  cairn forget --series web1:/srv --keep-last 10 --keep-tag release
  cairn forget --keep-last unlimited          (only what has expired)
  cairn forget --incomplete
  cairn forget 4f3a91c2 latest~3`

func forgetFlags() []cli.Flag {
	var flags []cli.Flag
	for _, rule := range retention.Counts() {
		what := "the newest of each of the newest `N` " + retention.Bucket(rule) + "s, or \"unlimited\""
		if rule == "last" {
			what = "the newest `N` snapshots, or \"unlimited\""
		}
		flags = append(flags, &cli.StringFlag{Name: "keep-" + rule, Usage: "keep " + what})
	}
	for _, rule := range retention.Spans() {
		what := "everything within `TIME` before the newest, such as 30d, 1y6m, 36h"
		if each := retention.Bucket(rule); each != "" {
			what = "the newest of each " + each + " within `TIME` before the newest"
		}
		flags = append(flags, &cli.StringFlag{Name: "keep-" + rule, Usage: "keep " + what})
	}
	return append(append(flags,
		&cli.StringSliceFlag{Name: "keep-tag", Usage: "keep everything with `TAG` (repeat for others)"},
		&cli.StringFlag{Name: "group-by", Value: "series", Usage: "apply the rules to each group of equal `KEYS`: series, host, path, tag, user, source, role, component, or none"},
		&cli.StringFlag{Name: "timezone", Usage: "take days and weeks from the clocks of `ZONE` (Europe/Berlin, UTC, local); default: where each backup was made"},
		&cli.BoolFlag{Name: "incomplete", Usage: "forget incomplete snapshots that a later complete one of their series has followed"},
		&cli.BoolFlag{Name: "allow-empty", Usage: "forget the last snapshot of a series, too, if no rule keeps it"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be forgotten and why the rest is kept; change nothing"},
		&cli.BoolFlag{Name: "prune", Usage: "then give the room back, as \"cairn prune\" does with the flags --max-unused, --max-repack and --session-age; with --dry-run, say how much that would be"},
	), append(pruneFlags(), selectFlags()...)...)
}

func (e *env) runForget(c *cli.Context) error {
	p, err := forgetPolicy(c)
	if err != nil {
		return err
	}
	collect, err := pruneOptions(c)
	if err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, damaged, err := a.Snapshots(ctx)
		if err != nil {
			return err
		}
		var f forgetting
		if c.Args().Present() {
			f, err = e.named(c, list, damaged)
		} else {
			p.Arrived = arrivals(ctx, a)
			f, err = e.byPolicy(list, damaged, p)
		}
		if err != nil {
			return err
		}
		if err := e.forget(ctx, c, a, f); err != nil {
			return err
		}
		if c.Bool("prune") {
			if collect.DryRun = c.Bool("dry-run"); collect.DryRun {
				collect.Forget = f.ids()
			}
			if err := e.prune(ctx, a, collect); err != nil {
				return err
			}
		}
		if f.damaged {
			return quietExit(exitDamage)
		}
		return nil
	})
}

// arrivals says when the first member had each snapshot, by its own clock. A member that does not tell is left out: this only helps
// to find snapshots of machines whose clock was ahead, which are then kept.
func arrivals(ctx context.Context, a *archive.Archive) map[chunk.ID]time.Time {
	arrived := map[chunk.ID]time.Time{}
	for _, m := range a.Set().Members() {
		if m.Store == nil {
			continue
		}
		for info, err := range m.Store.List(ctx, "snapshots/") {
			if err != nil {
				break
			}
			id, err := chunk.ParseID(strings.TrimPrefix(info.Name, "snapshots/"))
			if err != nil || info.Modified.IsZero() {
				continue
			}
			if at, known := arrived[id]; !known || info.Modified.Before(at) {
				arrived[id] = info.Modified
			}
		}
	}
	return arrived
}

// forgetPolicy reads the rules from the flags.
func forgetPolicy(c *cli.Context) (retention.Policy, error) {
	p := retention.Policy{
		Only:       snapshotFilter(c),
		Incomplete: c.Bool("incomplete"), AllowEmpty: c.Bool("allow-empty"),
	}
	set := func(rule, value string) error {
		if err := p.Set(rule, value); err != nil {
			return usage("forget: --keep-%s: %w", rule, err)
		}
		return nil
	}
	for _, rule := range append(retention.Counts(), retention.Spans()...) {
		if !c.IsSet("keep-" + rule) {
			continue
		}
		if err := set(rule, c.String("keep-"+rule)); err != nil {
			return p, err
		}
	}
	for _, tag := range c.StringSlice("keep-tag") {
		if err := set("tag", tag); err != nil {
			return p, err
		}
	}
	var err error
	if p.GroupBy, err = retention.ParseGroupBy(c.String("group-by")); err != nil {
		return p, usage("forget: --group-by: %w", err)
	}
	if p.Zone, err = zone(c.String("timezone")); err != nil {
		return p, usage("forget: --timezone: %w", err)
	}
	if err := p.Validate(); err != nil {
		return p, usage("forget: %w", err)
	}
	switch {
	case c.Args().Present() && (p.HasRules() || p.Incomplete):
		return p, usage("forget: name snapshots or give rules, not both")
	case !c.Args().Present() && !p.HasRules() && !p.Incomplete:
		return p, &exitError{exitUsage, hint(errors.New("forget: no rule says what to keep, and no snapshot is named"),
			"begin with `cairn forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run`")}
	}
	return p, nil
}

func zone(name string) (*time.Location, error) {
	switch name {
	case "":
		return nil, nil
	case "local":
		return time.Local, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%.80q is no time zone such as Europe/Berlin, UTC or local", name)
	}
	return loc, nil
}

// forgetting is what a run of forget found.
type forgetting struct {
	plan    retention.Plan
	named   bool // by the user, not by rules
	zone    *time.Location
	extra   []chunk.ID // damaged snapshots that were named
	damaged bool       // some others cannot be read
}

// ids are those of the snapshots that go.
func (f *forgetting) ids() []chunk.ID { return append(f.plan.Forget(), f.extra...) }

func (e *env) byPolicy(list []*snapshot.Snapshot, damaged []*archive.SnapshotError, p retention.Policy) (forgetting, error) {
	for _, d := range damaged {
		e.warn("%v (no rule applies to it; `cairn repair` may help, `cairn forget %s` removes it)", d, d.ID.Short())
	}
	plan, err := retention.Decide(list, p, e.now())
	if err != nil {
		return forgetting{}, err
	}
	for _, s := range plan.Future {
		e.warn("snapshot %s says that it was made at %s, in the future of this machine's clock or of the members': it is kept and does not count",
			s.ID.Short(), s.Start.Time().Format(time.RFC3339))
	}
	return forgetting{plan: *plan, zone: p.Zone, damaged: len(damaged) > 0}, nil
}

// named makes the plan of the snapshots that the arguments name.
func (e *env) named(c *cli.Context, list []*snapshot.Snapshot, damaged []*archive.SnapshotError) (forgetting, error) {
	list = snapshotFilter(c).Apply(list)
	f := forgetting{named: true}
	seen := map[chunk.ID]bool{}
	var group retention.Group
	for _, spec := range c.Args().Slice() {
		s, path, err := snapshot.Select(list, spec, e.now())
		bad, many := damagedNamed(damaged, spec)
		switch {
		case many || bad != nil && err == nil && strings.HasPrefix(s.ID.String(), strings.ToLower(spec)):
			return f, hint(fmt.Errorf("%q is the beginning of more than one id", spec), "give more digits of the id")
		case bad != nil && err != nil:
			if !seen[bad.ID] {
				f.extra = append(f.extra, bad.ID)
			}
			seen[bad.ID] = true
			continue
		case err != nil:
			return f, err
		case path != "":
			return f, hint(usage("forget: %s is a path in a snapshot", printable(spec)), "`cairn rewrite` takes paths out of snapshots")
		case len(s.Refs) > 0:
			return f, hint(fmt.Errorf("the reference %s stands for snapshot %s", s.Refs[0], s.ID.Short()), "promote another one, or `cairn tag demote --ref "+s.Refs[0]+"` first, if you are sure")
		case s.Pinned:
			return f, hint(fmt.Errorf("snapshot %s is pinned", s.ID.Short()), "`cairn tag "+s.ID.Short()+" --unpin` first, if you are sure")
		}
		if !seen[s.ID] {
			group.Decisions = append(group.Decisions, retention.Decision{Snapshot: s, Reasons: []string{"named"}})
		}
		seen[s.ID] = true
	}
	f.plan.Groups = []retention.Group{group}
	return f, nil
}

// damagedNamed finds the damaged snapshot whose id begins with spec.
func damagedNamed(damaged []*archive.SnapshotError, spec string) (found *archive.SnapshotError, many bool) {
	if len(spec) < 4 {
		return nil, false
	}
	for _, d := range damaged {
		if strings.HasPrefix(d.ID.String(), strings.ToLower(spec)) {
			found, many = d, found != nil
		}
	}
	return found, many
}

// forget tells the plan, carries it out and tells that.
func (e *env) forget(ctx context.Context, c *cli.Context, a *archive.Archive, f forgetting) error {
	dry := c.Bool("dry-run")
	if err := e.tellPlan(f, dry); err != nil {
		return err
	}
	ids := f.ids()
	if !dry {
		if err := e.forgetSnapshots(ctx, a, ids); err != nil {
			return err
		}
	}
	return e.tellForgotten(c, f, ids, dry)
}

// forgetSnapshots removes snapshots from the archive. Members that are away lose them when they are back.
func (e *env) forgetSnapshots(ctx context.Context, a *archive.Archive, ids []chunk.ID) error {
	if err := a.AllRefs(); err != nil && len(ids) > 0 {
		return err
	}
	r, err := a.Forget(ctx, ids, archive.Record{Time: e.now(), Program: programName()})
	if err != nil {
		return err
	}
	for old, id := range r.Revived {
		e.say("note: snapshot %s was promoted meanwhile: it stays, as %s", old.Short(), id.Short())
	}
	for _, member := range slices.Sorted(maps.Keys(r.Away)) {
		e.say("note: %s still has them (%v): they are ignored there, and removed when it is back", member, r.Away[member])
	}
	return nil
}
