package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/prune"
	"cairn/remote"
)

func memberRetainCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "retain", Usage: "change for how long all that is stored is locked against deletion", ArgsUsage: "TIME|off",
		Description: `Locks everything that is stored from now on for TIME, such as 30d, and what is there and needed, too. Every client does so by
itself: the members' cards say it. All members must be S3 buckets with object lock. A longer time takes effect at once; a shorter
one, or "off", for what is stored later: what is locked stays locked.

Examples:
  cairn member retain 30d
  cairn member retain 90d --retain-mode compliance
  cairn member retain off`,
		Flags:  []cli.Flag{retainFlags()[1]},
		Action: func(c *cli.Context) error { return e.runMemberRetain(c) },
	})
}

func (e *env) runMemberRetain(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("member retain: say for how long, such as 30d, or off")
	}
	var keep *archive.Retention
	if text := c.Args().First(); text != "off" {
		var err error
		if keep, err = e.parseRetention(text, c.String("retain-mode")); err != nil {
			return err
		}
	}
	p, err := e.where(c)
	if err != nil {
		return err
	}
	a, err := e.openPlace(c, p)
	if err != nil {
		return err
	}
	defer a.Close()
	if keep != nil {
		if err := e.survey(c, present(a), keep); err != nil {
			return err
		}
	}
	change, err := a.PlanRetention(keep)
	if err != nil {
		return err
	}
	cards, err := a.WriteCards(c.Context, change, nil)
	if err != nil {
		return err
	}
	for _, w := range cards {
		if w.Err != nil {
			e.warn("%s keeps its old card: %v; `cairn repair` renews it", printable(w.Member), w.Err)
		}
	}
	var locks *prune.ExtendReport
	if keep != nil {
		if locks, err = e.lockAll(c, p, a); err != nil {
			return err
		}
	}
	return e.tellRetention(keep, locks)
}

// present lists the members that are there.
func present(a *archive.Archive) (list []archive.Member) {
	for _, m := range a.Members() {
		if m.Store != nil {
			list = append(list, archive.Member{URL: m.Label, Store: m.Store})
		}
	}
	return list
}

// lockAll locks what is in the archive as its new cards say.
func (e *env) lockAll(c *cli.Context, p *place, a *archive.Archive) (*prune.ExtendReport, error) {
	members, err := e.openMembers(c, p, p.members)
	if err != nil {
		return nil, err
	}
	b, err := e.reopen(c, a)(c.Context, members)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return prune.Extend(c.Context, b, prune.ExtendOptions{All: true})
}

func (e *env) tellRetention(keep *archive.Retention, locks *prune.ExtendReport) error {
	if e.json {
		m := map[string]any{"type": "member_retain", "retain_seconds": 0}
		if keep != nil {
			m["retain_seconds"], m["retain_mode"], m["locks_extended"], m["locks_failed"] = keep.Seconds, keep.Mode, locks.Extended, len(locks.Failed)
		}
		return e.printJSON(m)
	}
	if keep == nil {
		e.print("what is stored from now on is not locked; what is locked stays so until its time is over")
		return nil
	}
	e.print("everything stored is locked against deletion: %s; %s of what is there made longer", retentionText(keep), plural(uint64(locks.Extended), "lock", "locks"))
	e.warnLocks(locks)
	if len(locks.Failed) > 0 {
		return hint(fmt.Errorf("not everything is locked: %w", remote.ErrUnavailable), "`cairn prune` tries again")
	}
	return nil
}
