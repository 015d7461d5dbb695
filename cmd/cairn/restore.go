package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/backup"
	"cairn/archive/restore"
	"cairn/remote"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

func restoreCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name:      "restore",
		Usage:     "bring files back",
		ArgsUsage: "SNAPSHOT[:PATH] --to DIR",
		Description: `Restores a snapshot below DIR: what was backed up as /srv/a comes to DIR/srv/a. With :PATH only
that is restored, and a directory's content is put into DIR itself. Every byte is verified on the way. Nothing
outside DIR is ever written.

What is in DIR already is kept: files that are as recorded are left alone, others are listed as conflicts,
unless --in-place brings them to the recorded state, writing only what differs. With --delete it also
removes what the snapshot does not have, at and below the paths that were backed up; never what --exclude
matches or could not be read when the backup was made, nor, without --delete-excluded, what the backup had
left out by its own patterns.

SNAPSHOT is an id or a unique beginning of one, "latest", "latest~2", or "series@2026-11-20T03:00" (the
last one at or before that time). --at TIME takes snapshots made at or before TIME only. A TIME is
2026-11-20, 2026-11-20T03:00 or 2026-11-20T03:00:30, in local time unless Z or +01:00 follows the clock.

Patterns have gitignore syntax and are compared with the paths in the snapshot: "/home/anna/**", "*.conf".
--exclude wins over --include.

Owners are set by number, unless --owner-names is given.

With --salvage a restore goes on when fewer members are there than files need, or none of them has a part: it restores what
the others hold, names every file that is not whole (exit code 4), and keeps what came of it, with zeros where
something is lacking, as NAME.incomplete.

Owners, devices and some attributes need root: what cannot be set is a warning at the end.

Examples:
  cairn restore latest --to /tmp/back
  cairn restore latest:/srv/www --to /srv/www --in-place --delete --dry-run
  cairn restore latest --to /tmp/back --at 2026-11-20 --host web1
  cairn restore 4f3a91c2 --to /mnt --include '/home/anna/**'`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "to", Aliases: []string{"t"}, Usage: "restore below `DIR`"},
			&cli.StringFlag{Name: "at", Usage: "take the last snapshot at or before `TIME`"},
			&cli.StringSliceFlag{Name: "include", Aliases: []string{"i"}, Usage: "restore only what matches `PATTERN`"},
			&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}, Usage: "do not restore what matches `PATTERN`"},
			&cli.StringSliceFlag{Name: "include-file", Usage: "read include patterns from `FILE`"},
			&cli.StringSliceFlag{Name: "exclude-file", Usage: "read exclude patterns from `FILE`"},
			&cli.BoolFlag{Name: "in-place", Usage: "bring existing files to the recorded state, writing only what differs"},
			&cli.BoolFlag{Name: "delete", Usage: "with --in-place: remove what the snapshot does not have"},
			&cli.BoolFlag{Name: "delete-excluded", Usage: "with --delete: also remove what the backup's own exclude rules had left out"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be done and do nothing"},
			&cli.BoolFlag{Name: "sparse", Usage: "make holes of long runs of zeros"},
			&cli.BoolFlag{Name: "verify", Usage: "read back what was written"},
			&cli.BoolFlag{Name: "salvage", Usage: "restore what can be had although too few members are there or parts are lost"},
			&cli.BoolFlag{Name: "no-owner", Usage: "do not set owners"},
			&cli.BoolFlag{Name: "no-xattrs", Usage: "do not set extended attributes and ACLs"},
			&cli.BoolFlag{Name: "owner-names", Usage: "look owners up by name instead of number"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "name each file that is changed"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runRestore(c) },
	})
}

func (e *env) runRestore(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("restore: name one snapshot, got %d arguments", c.NArg())
	}
	if c.String("to") == "" {
		return usage("restore: say where with --to DIR")
	}
	if c.Bool("delete") && !c.Bool("in-place") {
		return usage("restore: --delete needs --in-place")
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		if err := a.Enough(); err != nil && !a.Salvages() {
			return err
		}
		s, path, err := e.selectSnapshot(c, a, c.Args().First())
		if err != nil {
			return err
		}
		return e.restore(c, a, s, path)
	})
}

// selectSnapshot finds the snapshot (and path in it) that a command's argument names.
func (e *env) selectSnapshot(c *cli.Context, a *archive.Archive, spec string) (*snapshot.Snapshot, string, error) {
	list, damaged, err := a.Snapshots(c.Context)
	if err != nil {
		return nil, "", err
	}
	for _, d := range damaged {
		e.warn("%v", d)
	}
	all := len(list)
	list = snapshotFilter(c).Apply(list)
	if at := c.String("at"); at != "" {
		t, err := snapshot.ParseTime(at, e.now())
		if err != nil {
			return nil, "", &exitError{exitUsage, err}
		}
		list = slices.DeleteFunc(list, func(s *snapshot.Snapshot) bool { return s.Start.Time().After(t) })
	}
	if len(list) == 0 && all > 0 {
		return nil, "", hint(errors.New("none of the snapshots is left by --at, --host, --series, --source, --role, --component, --tag and --path"), "`cairn snapshots` lists all "+comma(uint64(all)))
	}
	s, path, err := snapshot.Select(list, spec, e.now())
	if err == nil {
		e.reads(s)
	}
	return s, path, err
}

func (e *env) restoreOptions(c *cli.Context, s *snapshot.Snapshot, path string) (restore.Options, error) {
	o := restore.Options{
		Target: c.String("to"), Path: path, Roots: s.Paths,
		InPlace: c.Bool("in-place"), Delete: c.Bool("delete"), DryRun: c.Bool("dry-run"), Sparse: c.Bool("sparse"),
		Verify: c.Bool("verify"), NoOwner: c.Bool("no-owner"), NoXattrs: c.Bool("no-xattrs"), OwnerNames: c.Bool("owner-names"),
		Salvage:  c.Bool("salvage"),
		Progress: &restore.Progress{},
	}
	for _, r := range s.Errors {
		o.Unread = append(o.Unread, r.Path)
	}
	include, err := readPatterns(c.StringSlice("include"), c.StringSlice("include-file"))
	if err != nil {
		return o, err
	}
	exclude, err := readPatterns(c.StringSlice("exclude"), c.StringSlice("exclude-file"))
	if err != nil {
		return o, err
	}
	if o.Delete && !c.Bool("delete-excluded") {
		if err := keepExcluded(exclude, s); err != nil {
			return o, err
		}
	}
	if len(include.Patterns()) > 0 {
		o.Includes = include
	}
	if len(exclude.Patterns()) > 0 {
		o.Excludes = exclude
	}
	if c.Bool("dry-run") || c.Bool("verbose") {
		o.Action = func(act restore.Action) { e.printAction(act) }
	}
	if o.Salvage { // every file, not the first few
		o.Fail = e.printFailure
	}
	return o, nil
}

// keepExcluded keeps --delete from removing what was never backed up on purpose: the snapshot's exclude patterns are
// added to this restore's. Rules that cannot be told from a path alone make it refuse.
func keepExcluded(exclude *pattern.List, s *snapshot.Snapshot) error {
	for _, rule := range s.Excludes {
		if backup.IsOptionRule(rule) {
			return hint(fmt.Errorf("the snapshot was made with the rule %q: --delete would remove what that rule left out", rule),
				"look at it with --dry-run --delete-excluded, or leave out --delete")
		}
		if err := exclude.Add(rule, false); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) printAction(act restore.Action) {
	if act.Kind == restore.Unchanged {
		return
	}
	if e.json {
		_ = e.printJSON(map[string]any{"type": "action", "action": act.Kind.String(), "path": act.Path, "dir": act.Dir, "size": act.Size})
		return
	}
	e.print("%-9s %s", act.Kind, printable(act.Path))
}

func (e *env) printFailure(f restore.Failure) {
	if e.json {
		_ = e.printJSON(map[string]any{"type": "failure", "kind": f.Kind.String(), "path": f.Path, "message": f.Err.Error()})
		return
	}
	fmt.Fprintf(e.stderr, "%s: %s: %v\n", f.Kind, printable(f.Path), f.Err)
}

func (e *env) restore(c *cli.Context, a *archive.Archive, s *snapshot.Snapshot, path string) error {
	o, err := e.restoreOptions(c, s, path)
	if err != nil {
		return err
	}
	e.say("restoring snapshot %s of %s (%s)", s.ID.Short(), s.Series, s.Start.Time().Format("2006-01-02 15:04:05"))
	start := time.Now()
	stop := e.watch(func() tick {
		p := o.Progress
		t := tick{verb: "restore", files: p.FilesDone.Load(), bytes: p.BytesDone.Load(), current: p.Current()}
		if path == "" || path == "/" {
			t.totalFiles, t.totalBytes, t.totalsKnown = s.Stats[snapshot.StatFilesTotal]+s.Stats[snapshot.StatOther], s.Stats[snapshot.StatBytesTotal], true
		}
		return t
	})
	if e.collecting != nil && a.Geometry().N() <= manyMembers {
		// What a restore keeps is small files on their way, which cost a lot to mark: at 10 % 68,000 of them took 7.1 s of processor time, at 25 % 5.9
		// and at 50 % 5.6, and 126, 136 and 156 MB.
		e.collecting.percent.Store(30)
	}
	report, err := restore.Run(c.Context, a, restore.Root{Content: s.Content, Depth: s.Depth}, o)
	stop()
	if err != nil {
		return err
	}
	return e.tellRestore(c, s, report, time.Since(start))
}

func (e *env) tellRestore(c *cli.Context, s *snapshot.Snapshot, r *restore.Report, took time.Duration) error {
	for _, w := range r.Warnings {
		e.warn("%s: %s, for example", w.Kind, plural(uint64(w.Count), "time", "times"))
		for _, x := range w.Examples {
			fmt.Fprintf(e.stderr, "  %s\n", printable(x))
		}
	}
	for i, f := range r.Failures {
		if c.Bool("salvage") {
			break // told already
		}
		if i == 20 && !e.json {
			fmt.Fprintf(e.stderr, "  … and %d more (--json lists them)\n", r.Failed-i)
			break
		}
		fmt.Fprintf(e.stderr, "%s: %s: %v\n", f.Kind, printable(f.Path), f.Err)
	}
	switch {
	case e.json:
		if err := e.printJSON(restoreJSON(c, s, r, took)); err != nil {
			return err
		}
	case c.Bool("dry-run"):
		e.print("dry run: %d to create, %d to update, %d to touch up, %d to delete, %d as recorded", r.Created, r.Updated, r.MetaOnly, r.Deleted, r.Identical)
	case e.quiet:
	default:
		e.print("restored %s files, %s dirs, %s others: %s written, %s found right, in %s", comma(uint64(r.Files+r.Links)), comma(uint64(r.Dirs)), comma(uint64(r.Others)),
			humanize.IBytes(r.BytesWritten), humanize.IBytes(r.BytesUnchanged), took.Round(10*time.Millisecond))
		if r.Deleted > 0 {
			e.print("deleted %s", plural(uint64(r.Deleted), "entry", "entries"))
		}
	}
	return restoreVerdict(r, c.Bool("salvage"))
}

// restoreVerdict turns what failed into the exit code: damage of the archive weighs more than members that are away, and those
// more than what is in the way here. Who salvages has given those members up.
func restoreVerdict(r *restore.Report, salvage bool) error {
	if salvage && r.Damaged+r.Unreachable > 0 {
		return &exitError{exitDamage, hint(fmt.Errorf("%s could not be restored whole", plural(uint64(r.Damaged+r.Unreachable), "entry", "entries")),
			"everything else is restored, and what could be had of files is in NAME.incomplete; `cairn repair --snapshots --to DIR` finds what is below directories that are lost")}
	}
	switch {
	case r.Damaged > 0:
		next := "everything else is restored; `cairn check --read-data` tells which snapshots are affected, an older one may have these files"
		for _, f := range r.Failures {
			var missing *archive.MissingError
			if errors.As(f.Err, &missing) { // it may be the index that is damaged, not the data
				next = missing.Hint()
			}
		}
		return &exitError{exitDamage, hint(fmt.Errorf("%s could not be restored because the archive is damaged", plural(uint64(r.Damaged), "entry", "entries")), next)}
	case r.Unreachable > 0:
		return unreachable(r)
	case r.Failed > 0:
		err := fmt.Errorf("%s could not be restored", plural(uint64(r.Failed), "entry", "entries"))
		if r.Conflicts > 0 {
			return &exitError{exitPartial, hint(err, "something else is in the way: restore into an empty directory, or use --in-place (and --delete where a directory has to go)")}
		}
		return &exitError{exitPartial, hint(err, "see the list above")}
	}
	for _, w := range r.Warnings {
		if w.Kind == restore.WarnUnreadable { // the backup was not whole, so this is not either
			return quietExit(exitPartial)
		}
	}
	return nil
}

// unreachable names the members that would be needed for what could not be restored.
func unreachable(r *restore.Report) error {
	err := fmt.Errorf("%s could not be restored because members are away", plural(uint64(r.Unreachable), "entry", "entries"))
	for _, f := range r.Failures {
		if f.Kind == restore.Unreachable {
			return &exitError{exitTooFew, hint(err, "everything else is restored; "+remote.Hint(f.Err))}
		}
	}
	return &exitError{exitTooFew, hint(err, "everything else is restored; bring the missing members back and run it again with --in-place")}
}

func restoreJSON(c *cli.Context, s *snapshot.Snapshot, r *restore.Report, took time.Duration) map[string]any {
	failures := make([]map[string]string, 0, len(r.Failures))
	for _, f := range r.Failures {
		failures = append(failures, map[string]string{"path": f.Path, "kind": f.Kind.String(), "message": f.Err.Error()})
	}
	warnings := map[string]int{}
	for _, w := range r.Warnings {
		warnings[string(w.Kind)] = w.Count
	}
	return map[string]any{
		"type": "restore", "snapshot": s.ID.String(), "target": c.String("to"), "dry_run": c.Bool("dry-run"),
		"files": r.Files, "dirs": r.Dirs, "links": r.Links, "others": r.Others,
		"created": r.Created, "updated": r.Updated, "touched": r.MetaOnly, "unchanged": r.Identical, "deleted": r.Deleted,
		"bytes_written": r.BytesWritten, "bytes_unchanged": r.BytesUnchanged,
		"failed": r.Failed, "failures": failures, "warnings": warnings, "seconds": took.Seconds(),
	}
}
