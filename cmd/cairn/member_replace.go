package main

import (
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
	m, err := e.newMember(c, a, p, to, dry)
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

// newMember opens the place of a new member of an archive, and makes it unless this is a dry run.
func (e *env) newMember(c *cli.Context, a *archive.Archive, p *place, address string, dry bool) (archive.Member, error) {
	if !dry {
		list, err := e.makeMembers(c, p, []string{address}, a.Retention() != nil)
		if err == nil && a.Retention() != nil {
			err = e.survey(c, list, a.Retention())
		}
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
		if old.ID != "" && (m == old.URL || m == old.Label) {
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
