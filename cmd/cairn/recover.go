package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/recover"
	"cairn/archive/restore"
	"cairn/remote"
	"cairn/snapshot"
)

// recoverFlags are those of `cairn repair` that are about an archive of which more is gone than its parity makes good.
func recoverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "index", Usage: "make the index anew from the packs"},
		&cli.BoolFlag{Name: "snapshots", Usage: "find trees that no snapshot leads to, make snapshots of them, and say which files are incomplete"},
		&cli.BoolFlag{Name: "cards", Usage: "make new cards for the places named: heaps of shards that have none"},
		&cli.BoolFlag{Name: "records", Usage: "give up gc records of which no good copy is left: while nothing else uses the archive"},
		&cli.StringFlag{Name: "session-age", Value: "7d", Usage: "with --records: sessions that have not shown themselves for so long are dead"},
		&cli.BoolFlag{Name: "give-up", Usage: "with --index: give up index segments that cannot be read, even if directories of packs cannot be read either"},
		&cli.BoolFlag{Name: "forgotten", Usage: "with --snapshots: make snapshots also of what may have been forgotten and is not pruned yet"},
		&cli.StringSliceFlag{Name: "to", Usage: "with --snapshots: restore what belongs to no snapshot below `DIR`; with --cards: sort all shards into these new members"},
		&cli.StringFlag{Name: "recovery-text", Usage: "with --cards: take the key from the recovery text in `FILE`"},
	}
}

// recoverDescription is about the same.
const recoverDescription = `When more is gone than that (docs/recovery.md tells it at length):

With --index it makes the index anew from all packs. Index segments that cannot be read, for which prune refuses to run,
are given up when everything in the packs is named by others. With fewer members than are needed it fills this machine's
index with what the surviving columns hold, for "restore --salvage" and the next one.

With --records it gives up gc records (what prune condemned and forget forgot) of which no good copy is left. Try
"cairn repair" on every machine that used the archive first: their caches may have a copy. Let no prune run
meanwhile. Forgotten snapshots may show up again: forget them again.

With --snapshots it reads all trees. Those that no snapshot leads to, and that look like the top of a backup, become
snapshots again (series and tag "recovered"); an interrupted backup may show up as one. Where snapshots were
forgotten, nothing tells their trees from lost ones until they are pruned: then they are listed only, unless
--forgotten is given. Other directories that
nothing leads to are told, and restored with --to DIR. Then it says which files of which snapshots are
incomplete, and which bytes of them are lost. Shards that are listed in full length count as good.

With --cards PLACE… it makes new cards for members that all lost theirs, whatever their directories are called
now: the shards tell which member each is. An empty directory takes a lost member's place. When the
shards lie mixed or under other names, --to NEW… sorts them into a new archive, one empty directory for each
member or one for all. The key comes from a slot in these places, or with --recovery-text from what
"cairn key export" printed.`

// recoverExamples are its examples.
const recoverExamples = `  cairn repair --index
  cairn repair --records --dry-run
  cairn repair --snapshots --dry-run
  cairn repair --snapshots --to /tmp/lost+found
  cairn repair --cards /mnt/a /mnt/b /mnt/c --key-file cairn.key
  cairn repair --cards /mnt/heap --to /srv/new --recovery-text recovery.txt`

// runRecover runs what recoverFlags ask for; false when they ask for nothing.
func (e *env) runRecover(c *cli.Context) (bool, error) {
	asked := 0
	var run func(*cli.Context) error
	for name, fn := range map[string]func(*cli.Context) error{"index": e.runRepairIndex, "records": e.runRepairRecords, "snapshots": e.runRepairSnapshots, "cards": e.runRepairCards} {
		if c.Bool(name) {
			asked++
			run = fn
		}
	}
	switch {
	case asked > 1:
		return true, usage("repair: --index, --records, --snapshots and --cards go one at a time")
	case c.IsSet("session-age") && !c.Bool("records"):
		return true, usage("repair: --session-age goes with --records")
	case c.Bool("give-up") && !c.Bool("index"):
		return true, usage("repair: --give-up goes with --index")
	case c.Bool("forgotten") && !c.Bool("snapshots"):
		return true, usage("repair: --forgotten goes with --snapshots")
	case asked == 0 && (c.IsSet("to") || c.IsSet("recovery-text")):
		return true, usage("repair: --to and --recovery-text go with --cards or --snapshots")
	case asked == 0:
		return false, nil
	case c.Bool("index") && c.IsSet("to"), !c.Bool("cards") && c.IsSet("recovery-text"):
		return true, usage("repair: --to goes with --cards or --snapshots, --recovery-text with --cards")
	}
	return true, run(c)
}

// salvageFlag is for commands that only look.
func salvageFlag() cli.Flag {
	return &cli.BoolFlag{Name: "salvage", Usage: "go on with fewer members than are needed, with what they hold"}
}

// withSalvage is withArchive that goes on with too few members.
func (e *env) withSalvage(c *cli.Context, fn func(ctx context.Context, a *archive.Archive) error) error {
	e.salvage = true
	return e.withArchive(c, fn)
}

// runRepairIndex makes the index anew.
func (e *env) runRepairIndex(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	return e.withSalvage(c, func(ctx context.Context, a *archive.Archive) error {
		dry := c.Bool("dry-run")
		r, err := recover.Index(ctx, a, archive.RebuildOptions{DryRun: dry, GiveUp: c.Bool("give-up"), Program: programName()})
		if err != nil {
			return err
		}
		e.tellRebuild(&r.RebuildReport, dry)
		if e.json {
			if err := e.printJSON(map[string]any{"type": "repair_index", "dry_run": dry, "local": r.Local, "members": r.Members, "members_needed": r.Need,
				"segments": r.Segments, "segments_in_part": r.Partial, "packs_without_segment": r.Packs, "blobs_found": r.Blobs, "columns_named": r.Published,
				"columns_without_redundancy": r.Weak, "blobs_stored_anew": r.Restored, "segments_given_up": len(r.GivenUp), "segments_unread": len(r.Unread), "damaged": len(r.Damaged) + len(r.Unread)}); err != nil {
				return err
			}
		} else {
			e.printIndex(r, dry)
		}
		switch {
		case r.Local:
			return &exitError{exitDamage, hint(fmt.Errorf("%d of the %d members that are needed are there: only what they hold is known", r.Members, r.Need),
				"`cairn repair --snapshots` tells which files can be had, `cairn restore --salvage` restores them")}
		}
		return e.rebuildError(&r.RebuildReport)
	})
}

// tellRebuild tells what could not be read when the index was made anew, and what became of segments that could not.
func (e *env) tellRebuild(r *archive.RebuildReport, dry bool) {
	list := slices.Clone(r.Damaged)
	for _, s := range r.Unread {
		list = append(list, fmt.Errorf("index segment %s: %w", s.ID.Short(), s.Err))
	}
	for i, d := range list {
		if i == maxShown {
			e.warn("… and %d more", len(list)-i)
			break
		}
		e.warn("%v", d)
	}
	for _, s := range r.GivenUp {
		was := "is given up: what it named is named by others, and the next prune deletes it"
		if dry {
			was = "would be given up: the packs tell what it named"
		}
		e.say("note: index segment %s cannot be read and %s", s.ID.Short(), was)
	}
}

// rebuildError is that of an index that could not be made anew as a whole.
func (e *env) rebuildError(r *archive.RebuildReport) error {
	switch {
	case len(r.Unread) > 0:
		next := remote.Hint(r.WhyUnread)
		if errors.Is(r.WhyUnread, archive.ErrMayName) {
			next = "run `cairn repair`, look for old copies of the members, and then run this again; with --give-up the index segments are given up with what nothing else tells of, and prune works again"
		}
		err := hint(fmt.Errorf("%s cannot be read and cannot be given up: %w", plural(uint64(len(r.Unread)), "index segment", "index segments"), r.WhyUnread), next)
		if archive.Fleeting(r.WhyUnread) {
			return err
		}
		return &exitError{exitDamage, err}
	case len(r.Damaged) > 0:
		return &exitError{exitDamage, hint(errors.New("not everything could be read"), "`cairn repair --snapshots` tells which files that affects")}
	}
	return nil
}

func (e *env) printIndex(r *recover.IndexReport, dry bool) {
	e.print("%s read; %s had none and gave %s", plural(uint64(r.Segments), "segment", "segments"), plural(uint64(r.Packs), "pack", "packs"), plural(uint64(r.Blobs), "blob", "blobs"))
	switch {
	case r.Local && !dry:
		e.print("nothing was written to the members; this machine's index knows what they hold (%s in part)", plural(uint64(r.Partial), "segment was read", "segments were read"))
	case r.Weak > 0 && dry:
		e.print("%s of packs with too few shards would be stored anew, as far as it can be read", plural(uint64(r.Weak), "column", "columns"))
	case r.Weak > 0:
		e.print("%s of packs with too few shards: %s stored anew", plural(uint64(r.Weak), "column", "columns"), plural(uint64(r.Restored), "blob", "blobs"))
	}
}

// runRepairSnapshots finds lost snapshots and tells what is incomplete.
func (e *env) runRepairSnapshots(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	if len(c.StringSlice("to")) > 1 {
		return usage("repair --snapshots: one --to DIR at most")
	}
	return e.withSalvage(c, func(ctx context.Context, a *archive.Archive) error {
		o := recover.Options{DryRun: c.Bool("dry-run"), Forgotten: c.Bool("forgotten"), Program: programName(), Now: e.now, Progress: &recover.Progress{}}
		stop := e.watch(func() tick {
			return tick{verb: "repair", files: o.Progress.Trees.Load() + o.Progress.Walked.Load(), unit: "trees"}
		})
		shown := 0
		o.Incomplete = func(i *recover.Incomplete) {
			if shown++; e.json {
				_ = e.printJSON(incompleteJSON(i))
			} else if shown <= maxShown {
				e.print("incomplete: %s: %s", snapshotName(i.Snapshot.Short(), i.Snapshot.IsZero()), i)
			}
		}
		r, err := recover.Snapshots(ctx, a, o)
		stop()
		if shown > maxShown && !e.json {
			e.print("… and %d more (--json lists them)", shown-maxShown)
		}
		if err != nil {
			return err
		}
		for _, d := range r.Damaged {
			e.warn("%v", d)
		}
		if err := e.tellStates(r); err != nil {
			return err
		}
		if to := c.StringSlice("to"); len(to) == 1 {
			if err := e.restoreParts(ctx, a, r.Parts, to[0], o.DryRun); err != nil {
				return err
			}
		}
		return e.tellSnapshots(r, o.DryRun, len(c.StringSlice("to")) == 1)
	})
}

func snapshotName(id string, dry bool) string {
	if dry {
		return "a snapshot to be recovered"
	}
	return "snapshot " + id
}

func incompleteJSON(i *recover.Incomplete) map[string]any {
	m := map[string]any{"type": "incomplete", "snapshot": i.Snapshot.String(), "path": i.Path, "dir": i.Dir}
	if i.Dir {
		m["problem"] = i.Err.Error()
		return m
	}
	ranges := make([][2]uint64, 0, len(i.Ranges))
	for _, r := range i.Ranges {
		ranges = append(ranges, [2]uint64{r.Offset, r.Length})
	}
	m["size"], m["missing"], m["lost"], m["exact"] = i.Size, i.Missing, ranges, i.Exact
	return m
}

// tellStates tells of each snapshot what can be had of it, and of the directories that belong to none.
func (e *env) tellStates(r *recover.Report) error {
	for i := range r.Snapshots {
		s := &r.Snapshots[i]
		if e.json {
			if err := e.printJSON(map[string]any{"type": "snapshot", "id": s.Snapshot.ID.String(), "recovered": s.Recovered && !s.Withheld, "withheld": s.Withheld, "series": s.Snapshot.Series,
				"time": s.Snapshot.Start.Time().UTC().Format(time.RFC3339), "description": s.Snapshot.Description, "files": s.Files, "dirs": s.Dirs, "incomplete": s.Incomplete,
				"bytes": s.Bytes, "missing": s.Missing}); err != nil {
				return err
			}
			continue
		}
		e.print("%s", stateLine(s))
	}
	for i := range r.Parts {
		p := &r.Parts[i]
		if e.json {
			if err := e.printJSON(map[string]any{"type": "part", "id": p.ID.String(), "names": p.Names, "entries": p.Entries, "files": p.Files, "dirs": p.Dirs,
				"incomplete": p.Incomplete, "bytes": p.Bytes, "missing": p.Missing}); err != nil {
				return err
			}
		} else if i < maxShown {
			e.print("belongs to no snapshot: directory %s with %s, %s below it, %s", p.ID.Short(), someNames(p.Names, p.Entries), plural(uint64(p.Files), "file", "files"), humanize.IBytes(p.Bytes))
		} else if i == maxShown {
			e.print("… and %d more (--json lists them)", len(r.Parts)-i)
		}
	}
	return nil
}

func stateLine(s *recover.State) string {
	what := "complete  "
	switch {
	case s.Withheld:
		what = "found     "
	case s.Incomplete > 0 && s.Recovered:
		what = "recovered in part"
	case s.Recovered:
		what = "recovered "
	case s.Incomplete > 0:
		what = "incomplete"
	}
	id := s.Snapshot.ID.Short()
	if s.Snapshot.ID.IsZero() {
		id = "--------"
	}
	line := fmt.Sprintf("%s %s %s %s: %s, %s", what, id, s.Snapshot.Start.Time().Format("2006-01-02 15:04:05"), s.Snapshot.Series,
		plural(uint64(s.Files), "file", "files"), humanize.IBytes(s.Bytes))
	if s.Incomplete > 0 {
		line += fmt.Sprintf("; %s incomplete, %s lost of known files", plural(uint64(s.Incomplete), "file or directory", "files and directories"), humanize.IBytes(s.Missing))
	}
	if s.Recovered {
		line += "\n    " + printable(s.Snapshot.Description)
	}
	return line
}

func someNames(names []string, entries int) string {
	text := ""
	for i, n := range names {
		if i == 3 {
			break
		}
		if i > 0 {
			text += ", "
		}
		text += printable(n)
	}
	if entries > 3 {
		text += fmt.Sprintf(" and %d more", entries-3)
	}
	return text
}

// restoreParts restores each directory that belongs to no snapshot into a directory of its own.
func (e *env) restoreParts(ctx context.Context, a *archive.Archive, parts []recover.Part, to string, dry bool) error {
	for i := range parts {
		p := &parts[i]
		dir := filepath.Join(to, p.ID.String()[:16])
		if dry {
			e.say("would restore directory %s to %s", p.ID.Short(), dir)
			continue
		}
		r, err := restore.Run(ctx, a, snapshot.Root(p.Root()), restore.Options{Target: dir, Salvage: true})
		if err != nil {
			return err
		}
		for n, f := range r.Failures {
			if n == 20 {
				fmt.Fprintf(e.stderr, "  … and %d more\n", r.Failed-n)
				break
			}
			if path := printable(filepath.Join(dir, f.Path)); f.Kind == restore.Damaged || f.Kind == restore.Unreachable {
				fmt.Fprintf(e.stderr, "not whole: %s\n", path)
			} else {
				fmt.Fprintf(e.stderr, "%s: %s: %v\n", f.Kind, path, f.Err)
			}
		}
		e.say("restored %s to %s", plural(uint64(r.Files+r.Links), "file", "files"), dir)
	}
	return nil
}

// tellSnapshots sums up and decides the exit code.
func (e *env) tellSnapshots(r *recover.Report, dry, restored bool) error {
	incomplete := 0
	for i := range r.Snapshots {
		if r.Snapshots[i].Incomplete > 0 && !r.Snapshots[i].Withheld {
			incomplete++
		}
	}
	if e.json {
		if err := e.printJSON(map[string]any{"type": "repair_snapshots", "dry_run": dry, "trees": r.Trees, "trees_lost": r.TreesLost, "lists_without_owner": r.ListsAlone,
			"recovered": r.Recovered, "withheld": r.Withheld, "snapshots": len(r.Snapshots), "incomplete": incomplete, "parts": len(r.Parts), "damaged_objects": len(r.Damaged)}); err != nil {
			return err
		}
	} else {
		verb := "recovered"
		if dry {
			verb = "to be recovered"
		}
		e.print("%s read: %s %s; %s in all, %d of them incomplete; %s to no snapshot", plural(uint64(r.Trees), "tree", "trees"), plural(uint64(r.Recovered), "snapshot", "snapshots"), verb,
			plural(uint64(len(r.Snapshots)), "snapshot", "snapshots"), incomplete, plural(uint64(len(r.Parts)), "directory belongs", "directories belong"))
	}
	if r.Withheld > 0 {
		e.say("%s found that may have been forgotten, and not pruned yet: with --forgotten they become snapshots again", plural(uint64(r.Withheld), "tree was", "trees were"))
	}
	if len(r.Parts) > 0 && !restored {
		e.say("`cairn repair --snapshots --to DIR` restores the directories that belong to no snapshot")
	}
	if incomplete > 0 {
		return &exitError{exitDamage, hint(fmt.Errorf("%s incomplete", plural(uint64(incomplete), "snapshot is", "snapshots are")),
			"`cairn restore --salvage` restores everything but what is listed above")}
	}
	return nil
}
