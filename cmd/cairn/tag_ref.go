package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/snapshot"
)

func tagPromoteCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "promote", Usage: "verify a snapshot and make a reference stand for it", ArgsUsage: "SNAPSHOT",
		Description: `Makes a reference, a name such as "live", stand for a snapshot: wherever a snapshot is named, the name works from then on, until
another snapshot is promoted to it or "cairn tag demote" takes it away. The snapshot stays what it is, under the same id, and nothing is copied.
No rule of "cairn forget" removes a snapshot for which a reference stands.

The snapshot is verified first. If it was made by the run of a source, all required parts must be in it, and the formats in the source file's list
"verify" must be whole (see "cairn verify"). Without such a list, and with --data, every file of the snapshot is read from the archive and compared with its
hashes. What was verified is kept with the reference. --force promotes a partial snapshot, and one in which damage was found; --no-verify looks at nothing.
An incomplete snapshot cannot be promoted.

When two promote at the same moment, one of them holds, for everybody the same, and the other command ends with an error.

Examples:
  cairn tag promote latest --ref live
  cairn tag promote web1/sophora@2026-11-20T03:00 --ref live --data
  cairn restore live --to /srv/copy`,
		Flags: append([]cli.Flag{
			refFlag(),
			&cli.BoolFlag{Name: "verify", Value: true, Usage: "verify the snapshot first; this is the default"},
			&cli.BoolFlag{Name: "no-verify", Usage: "promote it without looking"},
			&cli.BoolFlag{Name: "data", Usage: "read all data of the snapshot, also if the formats of its source are verified"},
			&cli.BoolFlag{Name: "force", Usage: "promote it although it is partial or something is wrong with it"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "verify, say what would change, and change nothing"},
		}, withoutRef(selectFlags())...),
		Action: func(c *cli.Context) error { return e.runTagPromote(c) },
	})
}

// refFlag names the reference that is changed.
func refFlag() cli.Flag {
	return &cli.StringFlag{Name: "ref", Usage: "the reference is `NAME`: small letters, digits, '-', '_', '.'"}
}

// withoutRef leaves out the flag that chooses by reference, where it has another meaning.
func withoutRef(flags []cli.Flag) []cli.Flag {
	return slices.DeleteFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), "ref") })
}

func tagDemoteCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "demote", Usage: "take a reference away",
		Description: `Takes a reference away: its name stands for no snapshot any more. The snapshot stays until a rule of "cairn forget" removes it.

Example:
  cairn tag demote --ref live`,
		Flags: []cli.Flag{
			refFlag(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would change and change nothing"},
		},
		Action: func(c *cli.Context) error { return e.runTagDemote(c) },
	})
}

func tagListCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "list", Usage: "list references: which snapshot, since when, by whom", ArgsUsage: "[NAME…]",
		Description: `Lists the references with the snapshots for which they stand, and who promoted them when, and after which verification. With
--history what they stood for before is listed, too, as far as it is remembered (the last 32 changes of each).

Examples:
  cairn tag list
  cairn tag list live --history --json`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "history", Usage: "also what the references stood for before"}},
		Action: func(c *cli.Context) error { return e.runTagList(c) },
	})
}

// refName reads the flag --ref.
func refName(c *cli.Context, what string) (string, error) {
	name := c.String("ref")
	if name == "" {
		return "", usage("tag %s: name the reference with --ref NAME", what)
	}
	if err := archive.CheckRefName(name); err != nil {
		return "", usage("tag %s: %w", what, err)
	}
	return name, nil
}

func (e *env) runTagPromote(c *cli.Context) error {
	name, err := refName(c, "promote")
	if err != nil {
		return err
	}
	switch {
	case c.NArg() != 1:
		return usage("tag promote: name one snapshot, got %d arguments", c.NArg())
	case c.Bool("no-verify") && (c.Bool("data") || c.IsSet("verify") && c.Bool("verify")):
		return usage("tag promote: --no-verify excludes --verify and --data")
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, _, err := a.Snapshots(ctx)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Series == name {
				return hint(fmt.Errorf("tag promote: there is a series %q: the reference would be ambiguous", name), "choose another name for the reference")
			}
		}
		filter := snapshotFilter(c)
		filter.Ref = "" // it says what to set, here
		s, path, err := snapshot.Select(filter.Apply(list), c.Args().First(), e.now())
		switch {
		case err != nil:
			return err
		case path != "":
			return usage("tag promote: %s is a path in a snapshot: a reference stands for a whole one", printable(c.Args().First()))
		case s.Incomplete:
			return hint(fmt.Errorf("snapshot %s is incomplete and cannot be promoted", s.ID.Short()), "promote the next complete one of its series")
		case s.Partial && !c.Bool("force"):
			return hint(fmt.Errorf("snapshot %s is partial: something could not be read when it was made", s.ID.Short()), "`cairn snapshots "+s.ID.Short()+" --json` lists it; --force promotes it all the same")
		}
		verified := "not verified"
		if c.Bool("verify") && !c.Bool("no-verify") {
			if verified, err = e.verifyPromotion(ctx, c, a, s); err != nil {
				return err
			}
		}
		return e.promote(ctx, c, a, s, name, verified)
	})
}

// verifyPromotion proves that a snapshot may be promoted, and says in words what was looked at.
func (e *env) verifyPromotion(ctx context.Context, c *cli.Context, a *archive.Archive, s *snapshot.Snapshot) (string, error) {
	verified, err := e.verifySnapshot(ctx, a, s, c.Bool("data"))
	if err == nil || ctx.Err() != nil || a.Stops(ctx, err) || !c.Bool("force") {
		if err != nil && exitCode(ctx, err) == exitDamage {
			err = &exitError{exitDamage, hint(err, "it is not promoted; --force promotes it all the same")}
		}
		return verified, err
	}
	e.warn("%v", err)
	return "forced, although: " + err.Error(), nil
}

// signRef says who changes a reference, and when.
func (e *env) signRef(name string) archive.Ref {
	r := archive.Ref{Name: name, Time: e.now(), Program: programName()}
	if u, err := user.Current(); err == nil {
		r.User = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		r.Host = h
	}
	return r
}

func (e *env) promote(ctx context.Context, c *cli.Context, a *archive.Archive, s *snapshot.Snapshot, name, verified string) error {
	r := e.signRef(name)
	r.Verified = verified
	if c.Bool("dry-run") {
		return e.tellPromotion(name, s, &r, false, true)
	}
	holds, changed, err := a.SetRef(ctx, r, s)
	if err != nil {
		return err
	}
	return e.tellPromotion(name, s, holds, changed, false)
}

func (e *env) tellPromotion(name string, s *snapshot.Snapshot, r *archive.Ref, changed, dry bool) error {
	if e.json {
		m := refJSON(r, s)
		m["type"], m["ref"], m["snapshot"], m["changed"], m["dry_run"] = "promote", name, s.ID.String(), changed, dry
		return e.printJSON(m)
	}
	switch {
	case dry:
		e.print("would make %s stand for snapshot %s (%s)", name, s.ID.Short(), printable(r.Verified))
	case !changed:
		e.print("%s stands for snapshot %s already", name, s.ID.Short())
	default:
		e.print("%s stands for snapshot %s of %s now (%s)", name, s.ID.Short(), s.Start.Time().Format("2006-01-02 15:04:05"), printable(r.Verified))
	}
	return nil
}

func (e *env) runTagDemote(c *cli.Context) error {
	name, err := refName(c, "demote")
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return usage("tag demote: a reference is taken away by its name alone: --ref NAME")
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		refs, err := a.Refs(ctx)
		if err != nil {
			return err
		}
		if h := archive.Holding(refs)[name]; h == nil || h.Demotes() {
			return hint(fmt.Errorf("there is no reference %q", name), "`cairn tag list` shows the references")
		}
		if !c.Bool("dry-run") {
			if _, _, err := a.SetRef(ctx, e.signRef(name), nil); err != nil {
				return err
			}
		}
		if e.json {
			return e.printJSON(map[string]any{"type": "demote", "ref": name, "dry_run": c.Bool("dry-run")})
		}
		if c.Bool("dry-run") {
			e.print("would take %s away", name)
		} else {
			e.print("%s stands for no snapshot any more", name)
		}
		return nil
	})
}

func (e *env) runTagList(c *cli.Context) error {
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, _, err := a.Snapshots(ctx)
		if err != nil {
			return err
		}
		refs, err := a.Refs(ctx)
		if err != nil {
			return err
		}
		holds := archive.Holding(refs)
		for _, name := range c.Args().Slice() {
			if h := holds[name]; h == nil || h.Demotes() && !c.Bool("history") {
				return hint(fmt.Errorf("there is no reference %q", name), "`cairn tag list` shows all")
			}
		}
		chosen := func(r *archive.Ref) bool {
			if c.NArg() > 0 && !slices.Contains(c.Args().Slice(), r.Name) {
				return false
			}
			return c.Bool("history") || holds[r.Name] == r && !r.Demotes()
		}
		return errors.Join(e.printRefs(refs, list, chosen), a.AllRefs())
	})
}

func (e *env) printRefs(refs []*archive.Ref, list []*snapshot.Snapshot, chosen func(*archive.Ref) bool) error {
	holds := archive.Holding(refs)
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !e.json {
		fmt.Fprintln(w, "REF\tSNAPSHOT\tTAKEN\tSERIES\tPROMOTED\tBY\tVERIFIED")
	}
	for _, r := range refs {
		if !chosen(r) {
			continue
		}
		s := r.Find(list)
		if e.json {
			m := refJSON(r, s)
			m["type"], m["holds"] = "ref", holds[r.Name] == r
			if err := e.printJSON(m); err != nil {
				return err
			}
			continue
		}
		id, taken, series := "-", "-", "-"
		switch {
		case s != nil:
			id, taken, series = s.ID.Short(), s.Start.Time().Format("2006-01-02 15:04:05"), s.Series
		case !r.Demotes():
			id, taken = r.Snapshot.Short(), "gone"
		}
		name := r.Name
		if holds[r.Name] != r {
			name = "(" + name + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s@%s\t%s\n", name, id, taken, printable(series), r.Time.Format("2006-01-02 15:04:05"), printable(r.User), printable(r.Host), dash(printable(r.Verified)))
	}
	return w.Flush()
}

func refJSON(r *archive.Ref, s *snapshot.Snapshot) map[string]any {
	m := map[string]any{"ref": r.Name, "record": r.ID.String(), "sequence": r.Sequence, "time": r.Time.UTC().Format(time.RFC3339Nano),
		"user": r.User, "host": r.Host, "program": r.Program, "verified": r.Verified, "demoted": r.Demotes()}
	if s != nil {
		m["snapshot"], m["taken"], m["series"] = s.ID.String(), s.Start.Time().UTC().Format(time.RFC3339Nano), s.Series
	} else if !r.Demotes() {
		m["snapshot"], m["gone"] = r.Snapshot.String(), true
	}
	return m
}
