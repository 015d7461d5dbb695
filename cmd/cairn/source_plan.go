package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/restore"
	"cairn/agent/source/restore/show"
	"cairn/archive"
	files "cairn/archive/restore"
	"cairn/remote"
	"cairn/snapshot"
)

// safetyTag marks snapshots of what was there before a restore. They are restored only when they are named.
const safetyTag = "safety"

// planText is what plan and restore of sources have in common.
const planText = `Which snapshot: the last complete one of the source at or before --at, of this host unless --host, --role or --component say otherwise;
classes with a schedule of their own come from theirs. --from names one: an id, "latest", a reference, SERIES@TIME. Several sources make
a set: for each the last complete snapshot at or before --at is taken, and the time between them is shown.

Which source file: the one of this machine. Where there is none (a bare machine), --from takes the one that the snapshot keeps; --kept does so in
any case. Whoever can write to the archive wrote that one: what it wants to run before the restore or for databases, and which secrets it uses, is
shown, and needs --trust or an answer on a terminal. --vars NAME=VALUE gives variables another value. Parts are paired by name: what the snapshot has of a part goes to where the
part is now. --path-map OLD=NEW moves directories besides, --to DIR puts everything below another directory and leaves the
application alone: databases are files there then, except those that --db sends to a server.

What is of class never does harm when it comes back, and stays out, by the source file of now and of then, even if the snapshot holds it;
--force-class never:PATH brings it back. What is derived stays out, too, unless --with-derived or --force-class derived:PATH.

Databases: --db NAME=[OTHER][@HOST[:PORT]] restores one under another name, or to another server. What holds something already is refused
without --replace. --part NAME or NAME/DATABASE restores only that.`

// planFlags are those of plan and restore.
func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "restore from the snapshot `SNAP`"},
		&cli.StringFlag{Name: "at", Usage: "take the last complete snapshot at or before `TIME`"},
		&cli.StringFlag{Name: "host", Usage: "take snapshots of host `NAME`"},
		&cli.StringFlag{Name: "role", Usage: "take snapshots of hosts with the role `NAME`"},
		&cli.StringFlag{Name: "component", Usage: "take snapshots of the component `NAME`"},
		&cli.StringFlag{Name: "class", Usage: "restore only what is of `CLASS`"},
		&cli.StringSliceFlag{Name: "part", Usage: "restore only the part `NAME`, or NAME/DATABASE (repeat for others)"},
		&cli.StringSliceFlag{Name: "vars", Usage: "give the source file's variable another value: `NAME=VALUE`"},
		&cli.BoolFlag{Name: "kept", Usage: "use the source file that the snapshot keeps, also where there is one"},
		&cli.StringFlag{Name: "to", Aliases: []string{"t"}, Usage: "put everything below `DIR`"},
		&cli.StringSliceFlag{Name: "path-map", Usage: "what was below OLD comes below NEW: `OLD=NEW`"},
		&cli.StringSliceFlag{Name: "db", Usage: "restore a database elsewhere: `NAME=[OTHER][@HOST[:PORT]]`"},
		&cli.BoolFlag{Name: "replace", Usage: "drop databases that hold something"},
		&cli.StringSliceFlag{Name: "force-class", Usage: "restore what is of class never or derived: `never:PATH`"},
		&cli.BoolFlag{Name: "with-derived", Usage: "restore what is of class derived"},
		&cli.BoolFlag{Name: "rewrite", Usage: "change values in files as the source file says"},
		&cli.BoolFlag{Name: "delete", Usage: "remove what the snapshot does not have from the directories that come back"},
		&cli.BoolFlag{Name: "no-owner", Usage: "do not set owners"},
		&cli.BoolFlag{Name: "no-xattrs", Usage: "do not set extended attributes and ACLs"},
		&cli.BoolFlag{Name: "allow-partial", Usage: "go on although parts are missing in the snapshot"},
		&cli.BoolFlag{Name: "force", Usage: "go on although a guard does not hold"},
		&cli.BoolFlag{Name: "trust", Usage: "run the programs, and use the secrets, that a source file kept in a snapshot names"},
		&cli.BoolFlag{Name: "no-before", Usage: "do not run the hooks of restore: before, where there is nothing to stop"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "name each file that is (or would be) changed"},
	}
}

func sourcePlanCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "plan", Usage: "show what a restore would do", ArgsUsage: "NAME|FILE…",
		Description: `Shows what "cairn source restore" would do, in its order, and touches nothing: guards and whether they hold, hooks, what is removed
and emptied, files, databases, what stays out and why, changes of values as a diff, steps and runbook. --compare looks at each file that is there
and says how many would change.

` + planText + `

The exit code is 1 when something speaks against the restore.

Examples:
  cairn source plan sophora
  cairn source plan --from latest --vars home=/srv/new
  cairn source plan primary replica staging --at 2026-11-20T03:00
  cairn source plan sophora --host old --path-map /srv/old=/srv/new --rewrite`,
		Flags:  append(planFlags(), &cli.BoolFlag{Name: "compare", Usage: "compare with the files that are there"}),
		Action: func(c *cli.Context) error { return e.runSourcePlan(c) },
	})
}

func (e *env) runSourcePlan(c *cli.Context) error {
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		plans, err := e.plans(ctx, c, a, c.Bool("compare"))
		if err != nil {
			return err
		}
		if err := e.printPlans(plans); err != nil {
			return err
		}
		return refused(plans, "--trust")
	})
}

// refused is what speaks against a set of plans, in few words: they were printed. What the overrides in later allow is asked when it is executed.
func refused(plans []*restore.Plan, later ...string) error {
	for _, p := range plans {
		for _, r := range p.Refusals() {
			if r.Forced || slices.Contains(later, r.Override) {
				continue
			}
			err := fmt.Errorf("source %s: %s", p.Source, r.Text)
			if r.Override != "" {
				return hint(err, r.Override+" goes on all the same")
			}
			return hint(err, "nothing was touched")
		}
	}
	return nil
}

// plans makes the plans of all sources that the arguments name.
func (e *env) plans(ctx context.Context, c *cli.Context, a *archive.Archive, compare bool) ([]*restore.Plan, error) {
	o, err := e.planOptions(c)
	if err != nil {
		return nil, err
	}
	o.Compare = compare
	names := c.Args().Slice()
	switch {
	case len(names) == 0 && c.String("from") == "":
		return nil, usage("source %s: name a source, or say --from latest for the only one there is", c.Command.Name)
	case len(names) > 1 && c.String("from") != "":
		return nil, usage("source %s: --from is for one source; --at chooses for several", c.Command.Name)
	case len(names) == 0:
		names = []string{""}
	}
	list, damaged, err := a.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range damaged {
		e.warn("%v", d)
	}
	var plans []*restore.Plan
	for _, name := range names {
		p, err := e.planOne(ctx, c, a, list, name, o)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// planOne makes the plan of one source.
func (e *env) planOne(ctx context.Context, c *cli.Context, a *archive.Archive, list []*snapshot.Snapshot, name string, o restore.Options) (*restore.Plan, error) {
	vars, err := planVars(c)
	if err != nil {
		return nil, err
	}
	now, err := e.localSource(c, name, vars)
	if err != nil {
		return nil, err
	}
	w, err := e.want(c, name, now)
	if err != nil {
		return nil, err
	}
	chosen, err := e.chosen(c, list, w)
	if errors.Is(err, held.ErrNone) && now == nil && w.Class != "" { // perhaps it has no snapshots of its own
		w.Class = ""
		chosen, err = e.chosen(c, list, w)
	}
	if err != nil {
		return nil, err
	}
	origin, err := held.Open(ctx, a, chosen.Main, w.Class)
	if err != nil {
		return nil, err
	}
	if now == nil && !c.Bool("kept") {
		chosen.Notes = append(chosen.Notes, "the source file is the one that the snapshot keeps")
	}
	file := now
	if file == nil {
		if file, err = origin.Kept(vars); err != nil {
			return nil, sourceError(err)
		}
	}
	if from := c.String("from"); (from == "" || from == "latest") && w.Class == "" {
		for class, rule := range file.Classes {
			if rule.Schedule != "" {
				w.Classes = append(w.Classes, class)
			}
		}
		chosen.More(list, w)
	}
	origins := []*held.Origin{origin}
	e.reads(chosen.Main)
	for _, class := range source.Classes() {
		if s := chosen.ByClass[class]; s != nil {
			e.reads(s)
			more, err := held.Open(ctx, a, s, class)
			if err != nil {
				return nil, err
			}
			origins = append(origins, more)
		}
	}
	o.Kept = now == nil
	p, err := restore.New(ctx, a, origins, file, o)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", file.Name, err)
	}
	p.Notes = append(chosen.Notes, p.Notes...)
	return p, nil
}

// localSource reads the source file of this machine; nil when the one of the snapshot is to be used.
func (e *env) localSource(c *cli.Context, name string, vars map[string]string) (*source.File, error) {
	if name == "" || c.Bool("kept") && !source.IsPath(name) {
		return nil, nil
	}
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return nil, err
	}
	o := parseOptions(dirs)
	o.Vars = vars
	f, err := source.Find(name, dirs, o)
	switch {
	case err == nil:
		return f, nil
	case !errors.Is(err, source.ErrNotExist) || source.IsPath(name):
		return nil, sourceError(err)
	case c.String("from") != "":
		return nil, nil
	}
	return nil, sourceError(hint(err, remote.Hint(err)+"; --from latest takes the source file that the snapshot keeps"))
}

// want says which snapshots are looked for.
func (e *env) want(c *cli.Context, name string, f *source.File) (held.Want, error) {
	w := held.Want{
		Source: name, Class: source.Class(c.String("class")), Own: hostname(),
		Host: c.String("host"), Role: c.String("role"), Component: c.String("component"),
		Hidden: func(tag string) bool { return tag == safetyTag },
	}
	if f != nil {
		w.Source = f.Name
		w.Own = first(f.Labels.Host, w.Own)
		if f.Classes[w.Class].Schedule == "" { // its parts are in the ordinary snapshots
			w.Class = ""
		}
	}
	if at := c.String("at"); at != "" {
		t, err := snapshot.ParseTime(at, e.now())
		if err != nil {
			return w, &exitError{exitUsage, err}
		}
		w.At = t
	}
	return w, nil
}

// chosen finds the snapshot that is named, or the one that fits.
func (e *env) chosen(c *cli.Context, list []*snapshot.Snapshot, w held.Want) (*held.Chosen, error) {
	spec := c.String("from")
	if spec == "" || spec == "latest" {
		return held.Choose(list, w)
	}
	// A reference such as live may stand in the series of several sources; an id may be that of a snapshot of another one.
	s, path, err := e.selectFrom(list, w, spec)
	if err != nil && w.Source != "" {
		any := w
		any.Source = ""
		if other, below, otherErr := e.selectFrom(list, any, spec); otherErr == nil {
			s, path, err = other, below, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if path != "" {
		return nil, usage("source %s: --from names a snapshot; --part chooses what of it", c.Command.Name)
	}
	return &held.Chosen{Source: s.Source, Main: s}, nil
}

func (e *env) selectFrom(list []*snapshot.Snapshot, w held.Want, spec string) (*snapshot.Snapshot, string, error) {
	f := snapshot.Filter{Source: w.Source, Host: w.Host, Role: w.Role, Component: w.Component}
	var fit []*snapshot.Snapshot
	for _, s := range f.Apply(list) {
		if w.At.IsZero() || !s.Start.Time().After(w.At) {
			fit = append(fit, s)
		}
	}
	return snapshot.Select(fit, spec, e.now())
}

func planVars(c *cli.Context) (map[string]string, error) {
	vars := map[string]string{}
	for _, text := range c.StringSlice("vars") {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usage("source %s: --vars %q: want NAME=VALUE", c.Command.Name, text)
		}
		vars[name] = value
	}
	return vars, nil
}

func (e *env) planOptions(c *cli.Context) (o restore.Options, err error) {
	o = restore.Options{
		Parts: c.StringSlice("part"), Class: source.Class(c.String("class")), WithDerived: c.Bool("with-derived"),
		Rewrite: c.Bool("rewrite"), Delete: c.Bool("delete"), Replace: c.Bool("replace"),
		AllowPartial: c.Bool("allow-partial"), ForceGuards: c.Bool("force"), NoBefore: c.Bool("no-before"), ForceFedora: c.Bool("force"), Trust: c.Bool("trust"),
		NoOwner: c.Bool("no-owner"), NoXattrs: c.Bool("no-xattrs"),
	}
	if to := c.String("to"); to != "" {
		if o.To, err = filepath.Abs(to); err != nil {
			return o, err
		}
	}
	bad := func(flag string, err error) (restore.Options, error) {
		return o, usage("source %s: --%s %w", c.Command.Name, flag, err)
	}
	for _, text := range c.StringSlice("path-map") {
		m, err := restore.ParseMap(text)
		if err != nil {
			return bad("path-map", err)
		}
		o.PathMap = append(o.PathMap, m)
	}
	for _, text := range c.StringSlice("db") {
		r, err := restore.ParseRedirect(text)
		if err != nil {
			return bad("db", err)
		}
		o.Redirects = append(o.Redirects, r)
	}
	for _, text := range c.StringSlice("force-class") {
		f, err := restore.ParseForce(text)
		if err != nil {
			return bad("force-class", err)
		}
		o.Force = append(o.Force, f)
	}
	if c.Bool("verbose") {
		o.Action = func(act files.Action) { e.printAction(act) }
	}
	p, err := e.where(c)
	if err != nil {
		return o, err
	}
	o.Protected = append(localMembers(p), e.cacheBase(c))
	return o, nil
}

// localMembers are the directories of the archive that are on this machine, and the file that describes it.
func localMembers(p *place) (dirs []string) {
	for _, m := range append(append([]string(nil), p.members...), p.path, p.file.KeyFile, p.file.PasswordFile) {
		if m = strings.TrimPrefix(m, "file://"); filepath.IsAbs(m) {
			dirs = append(dirs, m)
		}
	}
	return dirs
}

// printPlans prints plans, and the time between the snapshots of a set.
func (e *env) printPlans(plans []*restore.Plan) error {
	oldest, newest := restore.Spread(plans)
	if e.json {
		for _, p := range plans {
			if err := e.printJSON(show.JSON(p)); err != nil {
				return err
			}
		}
		return e.printJSON(map[string]any{"type": "set", "sources": len(plans), "oldest": oldest.Format(time.RFC3339), "newest": newest.Format(time.RFC3339), "spread_seconds": newest.Sub(oldest).Seconds()})
	}
	for i, p := range plans {
		if i > 0 {
			e.print("")
		}
		fmt.Fprint(e.stdout, show.Text(p))
	}
	if len(plans) > 1 || len(plans) == 1 && len(plans[0].Origins) > 1 {
		e.print("\nspread: %s between the oldest snapshot (%s) and the newest (%s)", newest.Sub(oldest).Round(time.Second),
			oldest.Format("2006-01-02 15:04:05"), newest.Format("2006-01-02 15:04:05"))
	}
	return nil
}
