package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
	"cairn/agent/source/proof"
	"cairn/agent/verify"
	"cairn/archive"
	"cairn/archive/view"
	"cairn/snapshot"
	"cairn/snapshot/retention"
)

func sourceVerifyCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "verify", Usage: "prove that there is a good, recent snapshot of a source", ArgsUsage: "[NAME|FILE]",
		Description: `Looks at the newest complete snapshot of each series of a source, of every host that has one, and of each class with a schedule of
its own: is there one, is it young enough, are all required parts in it with the dumps in the length in which they were written, and are the formats
whole that the source file lists under "verify". Dumps that a format compares with (Seafile's heads) are those of the same snapshot.

A snapshot is too old when the run that was due after it by the source's schedule is missing and --grace is over, or when it is older than --max-age:
whatever is newer would be lost in a total crash. Exit code 1 says that a snapshot is missing or too old, 4 that a restore would lack something.

--from SNAPSHOT looks at that one, of whatever age, by the source file that it holds; NAME is not needed then. --quick leaves out the formats, which
take as long as reading them does; --data also reads all other data.

Examples:
  cairn source verify sophora
  cairn source verify sophora --quick --max-age 26h        for a monitoring system
  cairn source verify --from live`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "look at `SNAPSHOT` only, by the source file in it"},
			&cli.BoolFlag{Name: "quick", Usage: "do not read the formats"},
			&cli.BoolFlag{Name: "data", Usage: "read all data of the snapshots"},
			&cli.StringFlag{Name: "max-age", Usage: "a snapshot may be `TIME` old, as in 26h or 2d; default: what the schedule says"},
			&cli.StringFlag{Name: "grace", Value: "2h", Usage: "a run may be `TIME` late, with the time that it takes"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runSourceVerify(c) },
	})
}

// sourceCheck is one call of `source verify`.
type sourceCheck struct {
	f       *source.File // nil: the one in the snapshot
	limit   proof.Limit
	formats bool
	data    bool
	rows    []sourceRow
}

// sourceRow is what became of one series.
type sourceRow struct {
	series string
	s      *snapshot.Snapshot
	due    time.Time
	did    string
	wrong  int  // a restore lacks something
	late   bool // or what is newer would be lost
}

func (e *env) newSourceCheck(c *cli.Context) (*sourceCheck, error) {
	now := e.now()
	v := &sourceCheck{formats: !c.Bool("quick"), data: c.Bool("data")}
	switch {
	case c.Bool("quick") && c.Bool("data"):
		return nil, usage("source verify: --quick and --data exclude each other")
	case c.NArg() == 0 && c.String("from") == "":
		return nil, usage("source verify: name one source, or a snapshot with --from")
	}
	for flag, to := range map[string]*time.Duration{"max-age": &v.limit.Most, "grace": &v.limit.Grace} {
		text := c.String(flag)
		if text == "" {
			continue
		}
		span, err := retention.ParseSpan(text)
		if err != nil {
			return nil, usage("source verify: --%s: %w", flag, err)
		}
		*to = now.Sub(span.Before(now))
	}
	if c.NArg() > 0 {
		f, err := e.oneSource(c)
		if err != nil {
			return nil, err
		}
		v.f = f
	}
	return v, nil
}

func (e *env) runSourceVerify(c *cli.Context) error {
	v, err := e.newSourceCheck(c)
	if err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		if spec := c.String("from"); spec != "" {
			s, path, err := e.selectSnapshot(c, a, spec)
			if err != nil {
				return err
			}
			if path != "" {
				return usage("source verify: %s is a path in a snapshot", printable(spec))
			}
			if v.f != nil && s.Source != v.f.Name {
				return hint(fmt.Errorf("snapshot %s is of source %q, not of %s", s.ID.Short(), s.Source, v.f.Name), "leave the name out, or name another snapshot")
			}
			v.f = nil // what the run was asked for then
			if err := e.verifySeries(ctx, a, v, s, nil); err != nil {
				return err
			}
			return e.tellSourceCheck(v)
		}
		list, damaged, err := e.listSnapshots(c, a)
		if err != nil {
			return err
		}
		if err := e.verifyNewest(ctx, a, v, list); err != nil {
			return err
		}
		if err := e.tellSourceCheck(v); err != nil {
			return err
		}
		if damaged {
			return quietExit(exitDamage)
		}
		return nil
	})
}

// verifyNewest looks at the newest complete snapshot of each series of the source, and for series that are missing.
func (e *env) verifyNewest(ctx context.Context, a *archive.Archive, v *sourceCheck, list []*snapshot.Snapshot) error {
	newest := map[string]*snapshot.Snapshot{}
	for _, s := range list { // the oldest first
		if s.Source == v.f.Name && !s.Incomplete {
			newest[s.Series] = s
		}
	}
	runs := proof.Runs(v.f)
	seen := map[string]map[string]bool{} // host → class
	for _, series := range slices.Sorted(maps.Keys(newest)) {
		s := newest[series]
		if seen[s.Host] == nil {
			seen[s.Host] = map[string]bool{}
		}
		if err := e.verifySeries(ctx, a, v, s, func(class string) (string, bool) {
			seen[s.Host][class] = true
			schedule, asked := runs[class]
			return schedule, asked
		}); err != nil {
			return err
		}
	}
	if len(newest) == 0 {
		seen[cmp.Or(v.f.Labels.Host, "")] = map[string]bool{}
	}
	for _, host := range slices.Sorted(maps.Keys(seen)) {
		for _, class := range slices.Sorted(maps.Keys(runs)) {
			if !seen[host][class] {
				if err := e.noSnapshot(v, host, class); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (e *env) noSnapshot(v *sourceCheck, host, class string) error {
	row := sourceRow{series: strings.Trim(strings.Join([]string{host, v.f.Name, class}, "/"), "/"), did: "there is none", late: true}
	what := "there is no complete snapshot of source " + v.f.Name
	if class != "" {
		what += ", class " + class
	}
	if host != "" {
		what += ", of host " + host
	}
	v.rows = append(v.rows, row)
	return e.tellProblem(nil, proof.Problem{Kind: proof.KindNone, Severity: verify.Error, Message: what})
}

// verifySeries looks at one snapshot. asked says whether the source asks for runs of a class, and when; nil: the age does not matter.
func (e *env) verifySeries(ctx context.Context, a *archive.Archive, v *sourceCheck, s *snapshot.Snapshot, asked func(class string) (string, bool)) error {
	row := sourceRow{series: s.Series, s: s}
	defer func() { v.rows = append(v.rows, row) }()
	fsys, err := view.New(ctx, a, s.Root(), "/")
	if err != nil {
		return err
	}
	papers, f, err := readPapers(fsys, v.f)
	if err != nil {
		if ctx.Err() != nil || a.Stops(ctx, err) {
			return err
		}
		row.wrong, row.did = 1, "its run is not known"
		if asked != nil { // of which run it is nobody knows
			asked("")
		}
		return e.tellProblem(s, proof.Problem{Kind: proof.KindPapers, Severity: verify.Error, Message: err.Error()})
	}
	if asked != nil {
		if err := e.verifyAge(v, &row, f, papers.Run.Class, asked); err != nil {
			return err
		}
	}
	if row.did, row.wrong, err = e.prove(ctx, fsys, f, papers, s, v.formats); err != nil {
		return err
	}
	if v.data {
		text, err := e.verifyData(ctx, a, s)
		switch {
		case err == nil:
			row.did += "; " + text
		case exitCode(ctx, err) == exitDamage && !a.Stops(ctx, err):
			row.wrong++
		default:
			return err
		}
	}
	return nil
}

// readPapers reads what the run wrote; f is the source file that counts, nil for the one in the snapshot.
func readPapers(fsys fs.FS, f *source.File) (*proof.Papers, *source.File, error) {
	papers, err := proof.Read(fsys)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("the snapshot was not made by `cairn source run`: nothing says which parts are in it")
	}
	if err == nil && f == nil {
		f, err = papers.File()
	}
	return papers, f, err
}

func (e *env) verifyAge(v *sourceCheck, row *sourceRow, f *source.File, class string, asked func(string) (string, bool)) error {
	schedule, wanted := asked(class)
	if !wanted {
		return nil // the source does not make such runs any more
	}
	limit := v.limit
	limit.Schedule = schedule
	due, problem, err := limit.Age(row.s.Start.Time(), e.now())
	if err != nil {
		return err
	}
	row.due = due
	if problem == nil {
		return nil
	}
	if f.SkipIfUnchanged && limit.Most == 0 { // a run that finds nothing new makes no snapshot
		problem.Severity = verify.Warning
		problem.Message += ", unless nothing has changed (skip_if_unchanged)"
	}
	row.late = problem.Severity == verify.Error
	return e.tellProblem(row.s, *problem)
}

// tellSourceCheck sums up.
func (e *env) tellSourceCheck(v *sourceCheck) error {
	wrong, late := 0, 0
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !e.json {
		fmt.Fprintln(w, "SERIES\tSNAPSHOT\tTAKEN\tAGE\tNEXT\tRESULT")
	}
	for _, r := range v.rows {
		wrong += r.wrong
		result := r.did
		if r.late {
			late++
			result = "too old; " + r.did
		}
		if r.s == nil {
			result = r.did
		}
		if r.wrong > 0 {
			result = plural(uint64(r.wrong), "error", "errors") + "; " + result
		}
		if e.json {
			if err := e.printJSON(r.json(e.now())); err != nil {
				return err
			}
			continue
		}
		id, taken, age, due := "-", "-", "-", "-"
		if r.s != nil {
			id, taken, age = r.s.ID.Short(), r.s.Start.Time().Format("2006-01-02 15:04:05"), proof.Span(e.now().Sub(r.s.Start.Time()))
		}
		if !r.due.IsZero() {
			due = r.due.Format("2006-01-02 15:04")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(r.series), id, taken, age, due, printable(result))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case wrong > 0:
		return &exitError{exitDamage, fmt.Errorf("%s: a restore lacks something", plural(uint64(wrong), "error", "errors"))}
	case late > 0:
		return &exitError{exitFailed, fmt.Errorf("%s missing or too old", plural(uint64(late), "snapshot is", "snapshots are"))}
	}
	return nil
}

func (r *sourceRow) json(now time.Time) map[string]any {
	m := map[string]any{"type": "series", "series": r.series, "errors": r.wrong, "late": r.late, "verified": r.did}
	if r.s != nil {
		m["snapshot"], m["time"] = r.s.ID.String(), r.s.Start.Time().UTC().Format(time.RFC3339Nano)
		m["age_seconds"] = now.Sub(r.s.Start.Time()).Seconds()
	}
	if !r.due.IsZero() {
		m["due"] = r.due.UTC().Format(time.RFC3339)
	}
	return m
}
