package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/pack"
)

func layoutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "data", Usage: "`K` data shards for each pack"},
		&cli.IntFlag{Name: "parity", Usage: "`M` parity shards: how many members may be lost"},
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be read and written"},
		&cli.IntFlag{Name: "round", Usage: "copy `N` packs before their old ones are removed: for so many, both take room (64, or a 64th of all if that is more)"},
	}
}

func memberAddCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "add", Usage: "spread the archive over more members", ArgsUsage: "NEW…",
		Description: `Gives the archive a new layout over all its members and the new ones, and rewrites every pack into it. K + M
is the number of members afterwards. The archive can be read and written meanwhile by everybody who names
the new members too; a machine that does not cannot back up until it does. When it is interrupted, the same
command, or "cairn member layout --resume", goes on. It needs the password or a full key.

Examples:
  cairn member add /mnt/b --data 1 --parity 1                    (one directory becomes two copies)
  cairn member add /mnt/d /mnt/e /mnt/f --data 4 --parity 2      (2+1 becomes 4+2)`,
		Flags:  layoutFlags(),
		Action: func(c *cli.Context) error { return e.runMemberAdd(c) },
	})
}

func memberLayoutCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "layout", Usage: "change how many data and parity shards packs have, and over which members", ArgsUsage: "[MEMBER…]",
		Description: `Gives the archive a new layout and rewrites every pack into it. MEMBERs are those of the new layout: numbers,
addresses or ids of members, and addresses of new ones; without any, the members stay. Those that are left out
can be taken away when the command is done. --resume finishes a change that was interrupted, and rewrites what
machines that had not noticed it stored in the former layout.

Examples:
  cairn member layout --data 3 --parity 3            (six members: 4+2 becomes 3+3)
  cairn member layout --data 2 --parity 1 0 1 3      (only these three are kept)
  cairn member layout --resume`,
		Flags:  append(layoutFlags(), &cli.BoolFlag{Name: "resume", Usage: "finish a change of the layout"}),
		Action: func(c *cli.Context) error { return e.runMemberLayout(c) },
	})
}

func (e *env) runMemberAdd(c *cli.Context) error {
	if !c.Args().Present() {
		return usage("member add: name the new members")
	}
	return e.changeLayout(c, func(a *archive.Archive) (ids, added []string, err error) {
		for _, m := range a.Members() {
			if m.Number >= 0 {
				ids = append(ids, m.ID)
			}
		}
		for range c.Args().Slice() {
			ids = append(ids, "")
		}
		return ids, c.Args().Slice(), nil
	})
}

func (e *env) runMemberLayout(c *cli.Context) error {
	if c.Bool("resume") {
		if c.Args().Present() || c.IsSet("data") || c.IsSet("parity") {
			return usage("member layout: --resume takes no members and no shards")
		}
		return e.resumeLayout(c)
	}
	return e.changeLayout(c, func(a *archive.Archive) (ids, added []string, err error) {
		for _, m := range a.Members() {
			if m.Number >= 0 && !c.Args().Present() {
				ids = append(ids, m.ID)
			}
		}
		for _, name := range c.Args().Slice() {
			m, err := member.Find(a, name)
			switch {
			case err == nil:
				ids = append(ids, m.ID)
			case !strings.ContainsAny(name, "/."): // a number or an id that is not one
				return nil, nil, &exitError{exitUsage, err}
			default:
				ids, added = append(ids, ""), append(added, name)
			}
		}
		return ids, added, nil
	})
}

// changeLayout gives the archive the layout that the flags and choose say.
func (e *env) changeLayout(c *cli.Context, choose func(*archive.Archive) (ids, added []string, err error)) error {
	g := pack.Geometry{K: c.Int("data"), M: c.Int("parity")}
	if !c.IsSet("data") || !c.IsSet("parity") {
		return usage("%s: --data K and --parity M are needed", c.Command.FullName())
	}
	if err := g.Validate(); err != nil {
		return &exitError{exitUsage, err}
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
	ids, added, err := choose(a)
	if err != nil {
		return err
	}
	joined, err := e.joined(c, p, a, added)
	if err != nil {
		return err
	}
	if len(ids) != g.N() && !joined {
		return usage("%d members, but data + parity = %d", len(ids), g.N())
	}
	o := member.LayoutOptions{Data: g.K, Parity: g.M, Members: ids, Reopen: e.reopen(c, a), Rewrite: e.rewriteOptions(c, a)}
	if joined { // what is left to do shows with all members only
		if c.Bool("dry-run") {
			return hint(errors.New("this change is under way"), "`cairn member layout --resume --dry-run` with all members in CAIRN_ARCHIVE tells what is left")
		}
	} else if err := e.estimate(c, a, g, o.Rewrite); err != nil || c.Bool("dry-run") {
		return err
	}
	for _, address := range added {
		m, err := e.newMember(c, a, p, address, false)
		if err != nil {
			return err
		}
		o.New = append(o.New, m)
	}
	start := time.Now()
	stop := e.watch(func() tick { return moveTick("rewrite", o.Rewrite.Progress) })
	r, b, err := member.Relayout(c.Context, a, o)
	stop()
	if b != nil {
		defer b.Close()
		e.tellAddresses(c, p, append(slices.Clone(p.members), missingFrom(added, p.members)...))
	}
	if err != nil {
		return err
	}
	return e.tellLayout(r, time.Since(start))
}

// joined says whether one of the places is a member already: an interrupted command is run again.
func (e *env) joined(c *cli.Context, p *place, a *archive.Archive, added []string) (bool, error) {
	list, err := e.openMembers(c, p, added)
	if err != nil {
		return false, err
	}
	for _, m := range list {
		if yes, err := member.Joined(c.Context, a, m); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

func missingFrom(list, have []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(have, s) })
}

func (e *env) rewriteOptions(c *cli.Context, a *archive.Archive) member.RewriteOptions {
	return member.RewriteOptions{RoundPacks: c.Int("round"), Dir: under(e.cacheBase(c), a.ID()), Program: programName(), Progress: &member.Progress{},
		Notice: func(text string) { e.say("note: %s", text) }}
}

// estimate tells what a change will cost.
func (e *env) estimate(c *cli.Context, a *archive.Archive, g pack.Geometry, o member.RewriteOptions) error {
	s, err := member.EstimateLayout(c.Context, a, g, o)
	if err != nil {
		return err
	}
	if dry := c.Bool("dry-run"); dry || !e.quiet && !e.json {
		return e.tellEstimate(s, g, dry)
	}
	return nil
}

func (e *env) tellEstimate(s *member.Estimate, g pack.Geometry, dry bool) error {
	if e.json {
		return e.printJSON(map[string]any{"type": "member_layout", "dry_run": true, "data": g.K, "parity": g.M, "packs": s.Packs, "bytes_read": s.Read, "bytes_written": s.Write, "extra_room": s.Room})
	}
	will := "are"
	if dry {
		will = "would be"
	}
	e.print("%s %s rewritten into %d+%d: about %s read and %s written; until the old packs of a round are removed, all members together hold up to %s more",
		plural(uint64(s.Packs), "pack", "packs"), will, g.K, g.M, humanize.IBytes(uint64(s.Read)), humanize.IBytes(uint64(s.Write)), humanize.IBytes(uint64(s.Room)))
	return nil
}

func (e *env) resumeLayout(c *cli.Context) error {
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		o := e.rewriteOptions(c, a)
		start := time.Now()
		if c.Bool("dry-run") {
			s, err := member.EstimateLayout(ctx, a, a.Geometry(), o)
			if err != nil {
				return err
			}
			return e.tellEstimate(s, a.Geometry(), true)
		}
		stop := e.watch(func() tick { return moveTick("rewrite", o.Progress) })
		r, err := member.Finish(ctx, a, o)
		stop()
		if err != nil {
			return err
		}
		return e.tellLayout(r, time.Since(start))
	})
}

func (e *env) tellLayout(r *member.LayoutReport, took time.Duration) error {
	var leave []string
	for _, m := range r.Leave {
		leave = append(leave, m.Label)
	}
	if e.json {
		left := map[string]string{}
		for id, err := range r.Left {
			left[id.String()] = err.Error()
		}
		if err := e.printJSON(map[string]any{
			"type": "member_layout", "data": r.Geometry.K, "parity": r.Geometry.M, "epoch": r.Geometry.Epoch, "packs": r.Packs, "blobs": r.Blobs, "bytes": r.Bytes,
			"bytes_written": r.Written, "segments_replaced": r.Segments, "copies": r.Copies, "left": left, "segments_unreadable": len(r.Unreadable),
			"packs_not_named": r.Unnamed, "former_members": nonNil(leave), "former_members_needed": r.Needed, "seconds": took.Seconds(),
		}); err != nil {
			return err
		}
	} else {
		e.print("%s rewritten into %d+%d: %s, %s; %s written (%s)", plural(uint64(r.Packs), "pack", "packs"), r.Geometry.K, r.Geometry.M, plural(r.Blobs, "blob", "blobs"),
			humanize.IBytes(r.Bytes), humanize.IBytes(uint64(r.Written)), took.Round(10*time.Millisecond))
		if r.Unnamed > 0 {
			e.print("%s in a former layout that no index names: just being written, or left by something that was interrupted", plural(uint64(r.Unnamed), "pack", "packs"))
		}
		for _, label := range leave {
			if r.Needed {
				e.print("%s is a former member, and still needed for what is left in a former layout", printable(label))
			} else {
				e.print("%s is not needed any more: take it out of CAIRN_ARCHIVE", printable(label))
			}
		}
	}
	if len(r.Left)+len(r.Unreadable) == 0 {
		return nil
	}
	failed := r.Left
	for id, err := range r.Unreadable {
		failed[id] = err
	}
	return e.failedPacks(failed, "%s stay in a former layout", "`cairn check --read-data` tells what that affects; `cairn repair` and `cairn member layout --resume` try again")
}
