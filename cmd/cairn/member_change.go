package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/pack"
	"cairn/remote/stripe"
)

func memberReplaceCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "replace", Usage: "put a new member into the place of one that is lost, or is to go", ArgsUsage: "OLD NEW",
		Description: `Rebuilds on NEW, an empty directory or bucket, everything that belongs on OLD: shards are copied from OLD
where it has them undamaged, and made from the other members otherwise. OLD is a number, an address or an
id ("cairn member list"); it may be gone. NEW may be OLD's address, if an empty disk is mounted there now.
Backups may run meanwhile. When it is interrupted, the same command goes on where it was.

Examples:
  cairn member replace 2 /mnt/new
  cairn member replace /mnt/c 's3://s3.example.com/backup-c'
  cairn member replace 2 /mnt/new --dry-run     (what it would cost)`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be copied and rebuilt"}},
		Action: func(c *cli.Context) error { return e.runMemberReplace(c) },
	})
}

func layoutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "data", Usage: "`K` data shards for each pack"},
		&cli.IntFlag{Name: "parity", Usage: "`M` parity shards: how many members may be lost"},
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be read and written"},
		&cli.IntFlag{Name: "round", Value: 64, Usage: "copy `N` packs before their old ones are removed: for so many, both take room"},
	}
}

func memberAddCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "add", Usage: "spread the archive over more members", ArgsUsage: "NEW…",
		Description: `Gives the archive a new layout over all its members and the new ones, and rewrites every pack into it. K + M
is the number of members afterwards. The archive can be read and written meanwhile by everybody who names
the new members too; a machine that does not cannot back up until it does. When it is interrupted, the same
command, or "cairn member layout --resume", goes on.

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

func (e *env) runMemberReplace(c *cli.Context) error {
	if c.NArg() != 2 {
		return usage("member replace: name the old member and the address of the new one")
	}
	old, to := c.Args().Get(0), c.Args().Get(1)
	p, err := e.where(c)
	if err != nil {
		return err
	}
	a, err := e.openPlace(c, p)
	if err != nil {
		return err
	}
	defer a.Close()
	dry := c.Bool("dry-run")
	m, err := e.newMember(c, p, to, dry)
	if err != nil {
		return err
	}
	progress := &member.Progress{}
	start := time.Now()
	stop := e.watch(func() tick { return moveTick("replace", progress) })
	r, b, err := member.Replace(c.Context, a, old, m, member.ReplaceOptions{
		DryRun: dry, Progress: progress, Reopen: e.reopen(c, a), Notice: func(text string) { e.say("note: %s", text) },
	})
	stop()
	if b != nil {
		defer b.Close()
	}
	if err != nil {
		return err
	}
	if dry {
		return e.tellReplacePlan(r, m)
	}
	return e.tellReplace(c, p, r, m, time.Since(start))
}

func moveTick(verb string, p *member.Progress) tick {
	return tick{verb: verb, files: p.Packs.Load(), totalFiles: p.TotalPacks.Load(), bytes: p.Bytes.Load(), totalBytes: p.TotalBytes.Load(),
		totalsKnown: p.TotalBytes.Load() > 0, unit: "packs"}
}

// newMember opens the place of a new member, and makes it unless this is a dry run.
func (e *env) newMember(c *cli.Context, p *place, address string, dry bool) (archive.Member, error) {
	if !dry {
		list, err := e.makeMembers(c, p, []string{address})
		if err != nil {
			return archive.Member{}, err
		}
		return list[0], nil
	}
	list, err := e.openMembers(c, p, []string{address})
	if err != nil {
		return archive.Member{}, err
	}
	if list[0].Store == nil { // it would be made
		list[0].Store, list[0].Err = emptyStore{}, nil
	}
	return list[0], nil
}

func (e *env) tellReplacePlan(r *member.ReplaceReport, m archive.Member) error {
	if e.json {
		return e.printJSON(map[string]any{"type": "member_replace", "dry_run": true, "old": r.Old.Label, "old_reads": r.OldReads, "new": m.URL, "shards": r.Expected,
			"bytes": r.Bytes, "packs_with_too_few_shards": r.Weak})
	}
	source := "they are made from the other members, which reads several times as much"
	if r.OldReads {
		source = "they are copied from the old member where it has them undamaged"
	}
	e.print("%s, %s, would be written to %s; %s", plural(uint64(r.Expected), "shard", "shards"), humanize.IBytes(uint64(r.Bytes)), m.URL, source)
	return nil
}

func (e *env) tellReplace(c *cli.Context, p *place, r *member.ReplaceReport, m archive.Member, took time.Duration) error {
	var missed []string
	for _, w := range r.Cards {
		if w.Err != nil {
			missed = append(missed, w.Member)
		}
	}
	list := replaceAddress(p.members, r.Old, m.URL)
	if e.json {
		failed := map[string]string{}
		for id, err := range r.Failed {
			failed[id.String()] = err.Error()
		}
		if err := e.printJSON(map[string]any{
			"type": "member_replace", "old": r.Old.Label, "new": m.URL, "id": r.ID, "shards_expected": r.Expected, "shards_present": r.Present,
			"kept": r.Kept, "copied": r.Copied, "rebuilt": r.Rebuilt, "bytes": r.Bytes, "copies": r.Copies, "failed": failed,
			"packs_with_too_few_shards": r.Weak, "cards_not_written": nonNil(missed), "members": list, "seconds": took.Seconds(),
		}); err != nil {
			return err
		}
	} else {
		e.print("%d of %d shards (%s) are on %s and were read back: %d copied from the old member, %d rebuilt from the others, %d there already; %s",
			r.Present, r.Expected, humanize.IBytes(uint64(r.Bytes)), m.URL, r.Copied, r.Rebuilt, r.Kept, plural(uint64(r.Copies), "copy written", "copies written"))
		if r.Weak > 0 {
			e.print("%s with too few shards: lost, or left by an interrupted backup (`cairn check` tells)", plural(uint64(r.Weak), "pack", "packs"))
		}
		for _, label := range missed {
			e.warn("the card of %s could not be written; `cairn repair` renews it when it is back", label)
		}
		e.tellAddresses(c, p, list)
	}
	if len(r.Failed) == 0 {
		return nil
	}
	return e.failedPacks(r.Failed, "the new member lacks the shards of %s", "`cairn repair` tries again when more members are there")
}

// failedPacks is the error of what could not be done for some packs.
func (e *env) failedPacks(failed map[pack.ID]error, format, next string) error {
	code := exitDamage
	var first error
	for _, err := range failed {
		var few *stripe.TooFewError
		if errors.As(err, &few) {
			code = exitTooFew
		}
		if first == nil || err.Error() < first.Error() {
			first = err
		}
	}
	text := fmt.Sprintf(format, plural(uint64(len(failed)), "pack", "packs"))
	return &exitError{code, hint(fmt.Errorf("%s; the first: %w", text, first), next)}
}

// replaceAddress is the list of members with a new one in an old one's place.
func replaceAddress(members []string, old archive.MemberInfo, to string) []string {
	list := slices.Clone(members)
	for i, m := range list {
		if old.ID != "" && (m == old.URL || strings.HasPrefix(old.Label, m+" (")) {
			list[i] = to
			return list
		}
	}
	if !slices.Contains(list, to) {
		list = append(list, to)
	}
	return list
}

// tellAddresses tells how the archive is to be named from now on.
func (e *env) tellAddresses(c *cli.Context, p *place, list []string) {
	if slices.Equal(list, p.members) {
		return
	}
	switch {
	case p.path != "":
		e.print("name its members like this in %s, here and on all other machines:", p.path)
		e.print("  members:")
		for _, m := range list {
			e.print("    - %s", m)
		}
	default:
		e.print("from now on, here and on all other machines:")
		e.print("  CAIRN_ARCHIVE='%s'", strings.Join(list, " "))
	}
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
	if len(ids) != g.N() {
		return usage("%d members, but data + parity = %d", len(ids), g.N())
	}
	o := member.LayoutOptions{Data: g.K, Parity: g.M, Members: ids, Reopen: e.reopen(c, a), Rewrite: e.rewriteOptions(c, a)}
	estimate, err := member.EstimateLayout(c.Context, a, g, o.Rewrite)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") || !e.quiet && !e.json {
		if err := e.tellEstimate(estimate, g, c.Bool("dry-run")); err != nil || c.Bool("dry-run") {
			return err
		}
	}
	for _, address := range added {
		m, err := e.newMember(c, p, address, false)
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

func missingFrom(list, have []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(have, s) })
}

func (e *env) rewriteOptions(c *cli.Context, a *archive.Archive) member.RewriteOptions {
	return member.RewriteOptions{RoundPacks: c.Int("round"), Dir: under(e.cacheBase(c), a.ID()), Progress: &member.Progress{},
		Notice: func(text string) { e.say("note: %s", text) }}
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
