package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
	sourcerun "cairn/agent/source/run"
	"cairn/archive"
	"cairn/archive/backup"
	"cairn/index"
	"cairn/snapshot"
)

func sourceRunCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "run", Usage: "back up a source: one snapshot of everything, or none", ArgsUsage: "NAME|FILE",
		Description: `Backs up a source. Its guards are asked, the archive is opened, and, with warm: true, its trees are read once while the application
runs. Then the before hooks stop it, all parts are read in the order of the file, and the finally hooks start it again, before the upload is
waited for. The snapshot holds all parts, or there is none: a dump that fails, a required directory that is missing, and it is as if
nothing had been done. After hooks run when the snapshot is stored, on_error hooks when there is none or something is missing.

WHEN IT BREAKS OFF. The finally hooks run after a failure, a time-out, Ctrl-C and SIGTERM, too. If cairn itself is killed, or the machine
stops, the next "cairn source run" of any source, or "cairn source resume", runs them first: they are in a note in the state directory
($STATE_DIRECTORY, or $XDG_STATE_HOME/cairn, or ~/.local/state/cairn). So a finally hook should do no harm when it runs twice.

CLASSES. A class with a schedule of its own is left out and run by itself with --class, in the series HOST/NAME/CLASS. A run of class
config or log alone does not stop the application: guards, before and finally hooks are for those that read data.

Hooks have CAIRN_SOURCE, CAIRN_CLASS, CAIRN_HOST, CAIRN_SERIES and CAIRN_STAGE in their environment; those of finally, after and on_error
CAIRN_OUTCOME (done, unchanged, partial, failed, interrupted, skipped) and CAIRN_ERROR, the last two CAIRN_SNAPSHOT and
CAIRN_STOPPED_SECONDS as well.

The result is one line for the journal. Exit codes: 0 done, or nothing changed · 1 failed · 2 the source file has mistakes · 3 something
is missing in the snapshot (--force) or could not be read · 75 skipped: by a hook or a guard, or because a run of this source is at work ·
130 interrupted · 5 and 6 failed because the archive could not be reached or its key is wrong. After 1 and 130 there is no snapshot, unless the line says so: then only a hook failed.

Examples:
  cairn source run seafile
  cairn source run sophora --class log
  cairn source run sophora-replica --as-host cms1       a copy that stands for the primary
  cairn source run seafile --dry-run
  cairn source run seafile --forget                     and keep only what the file's keep says
  0 2 * * *  cairn source run seafile --quiet           in a crontab`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "class", Usage: "back up the parts of this `CLASS` only: config, data or log"},
			&cli.StringFlag{Name: "as-host", Usage: "make the snapshot for host `NAME`, in its series"},
			&cli.StringSliceFlag{Name: "tag", Usage: "give the snapshot a `TAG` besides those of the file"},
			&cli.BoolFlag{Name: "force", Usage: "make a partial snapshot when a required part fails, with a list of what is missing, and exit with code 3"},
			&cli.BoolFlag{Name: "forget", Usage: "then forget the snapshots of the series that the file's keep does not keep"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up after `DURATION`: 6h, 90m"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be done and whether the guards hold; run nothing"},
		},
		Action: func(c *cli.Context) error { return e.runSourceRun(c) },
	})
}

func (e *env) runSourceRun(c *cli.Context) error {
	f, err := e.oneSource(c)
	if err != nil {
		return err
	}
	j, err := sourcerun.Plan(f, sourcerun.Choice{Class: source.Class(c.String("class")), AsHost: c.String("as-host"), Machine: hostname()})
	if err != nil {
		return &exitError{exitUsage, err}
	}
	keep, err := keepPolicy(j)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if c.Bool("forget") && !keep.HasRules() {
		return usage("source run: --forget: the source file has no keep for series %s", j.Series)
	}
	if c.Bool("dry-run") {
		return e.printJob(c.Context, j)
	}
	state, err := e.runState()
	if err != nil {
		return err
	}
	defer outlivePipes()()
	target := &sourceTarget{env: e, c: c, keep: keep}
	defer target.close()
	report, err := sourcerun.Run(c.Context, j, sourcerun.Options{
		State: state, Open: target.open, Fedora: e.takeFedora,
		Force: c.Bool("force"), Timeout: c.Duration("timeout"), Program: programName(),
		Stderr: e.stderr, Say: e.say, Now: e.now,
	})
	return e.tellRun(report, target, err)
}

// outlivePipes lets this program go on when whoever reads its messages has gone (head, a pager, a lost connection): the answer of the kernel, to
// end it at the next word, would leave an application stopped or half restored. The signal is noted and not ignored, because programs that
// are started inherit what is ignored.
func outlivePipes() (end func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}

// runState is where notes and locks of runs are. systemd names a directory of its own.
func (e *env) runState() (*sourcerun.State, error) {
	if dirs := filepath.SplitList(e.getenv("STATE_DIRECTORY")); len(dirs) > 0 && filepath.IsAbs(dirs[0]) {
		return sourcerun.NewState(dirs[0]), nil
	}
	dir, err := e.xdg("XDG_STATE_HOME", ".local/state")
	if err != nil {
		return nil, err
	}
	return sourcerun.NewState(dir), nil
}

// sourceTarget is the archive that a run stores its snapshot in.
type sourceTarget struct {
	*env
	c    *cli.Context
	keep keepRules

	a      *archive.Archive
	w      *archive.Writer
	files  *index.Files
	series []*snapshot.Snapshot
	hide   func() // ends what open began for the time of reading

	caught    *archive.CatchUpReport
	forgotten int
}

func (t *sourceTarget) open(ctx context.Context, j *sourcerun.Job) (*sourcerun.Target, error) {
	p, err := t.where(t.c)
	if err != nil {
		return nil, err
	}
	if p.isDefault && !exists(filepath.Join(p.members[0], "cairn.json")) {
		if err := t.initDefault(t.c, p); err != nil {
			return nil, err
		}
	}
	if t.a, err = t.openPlace(t.c, p); err != nil {
		return nil, err
	}
	if t.w, err = t.a.NewWriter(ctx); err != nil {
		return nil, err
	}
	t.w.ForSeries(j.Series)
	o := backup.Options{
		Params: t.a.Chunker(), MemoryLimit: frugal(t.a), Series: j.Series, Tags: t.c.StringSlice("tag"), User: username(), Program: programName(),
		Progress: new(backup.Progress), Warn: func(path string, err error) { t.warn("%s: %v", printable(path), err) },
	}
	last := t.a.LastOf(j.Series)
	if t.series, err = t.chain(ctx, t.a, &o, last); err != nil {
		return nil, err
	}
	if t.files = t.openFiles(t.c, t.a, j.Series); t.files != nil {
		o.Cache = t.files
	}
	hide, calm := t.watchBackup(ctx, o, last, false), t.overlapWaiting()
	t.hide = func() { hide(); calm() }
	return &sourcerun.Target{Saver: t.w, Options: o, Finish: t.finish}, nil
}

// finish does what belongs to a snapshot that is stored, or keeps what can be kept of one that is not.
func (t *sourceTarget) finish(ctx context.Context, r *backup.Report, failed error) (warnings []string, err error) {
	t.hide()
	if failed != nil {
		return nil, t.suspend(ctx, t.a, t.w)
	}
	if !r.Unchanged {
		if err := t.a.Remember(r.Snapshot, r.Files.Total(), r.Bytes); err != nil {
			warnings = append(warnings, err.Error()+" (the next backup of this series cannot be chained to this one)")
		}
	}
	t.caught = t.a.CatchUp(ctx, t.series)
	if t.c.Bool("forget") && !r.Incomplete {
		t.forgotten, err = t.forgetSeries(ctx)
	}
	return warnings, err
}

func (t *sourceTarget) close() {
	if t.hide != nil {
		t.hide()
	}
	if t.files != nil {
		_ = t.files.Close() // what it has not kept is read again
	}
	if t.a != nil {
		_ = t.a.Close() // a cache that does not close cleanly is rebuilt
	}
}

func sourceResumeCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "resume", Usage: "start again what a run that was killed had stopped",
		Description: `Looks for runs of sources that broke off because cairn was killed or the machine stopped, and runs their finally hooks, as they were in
the source file when the run began. Every "cairn source run" does so, too; this is for the time in between, and for a service at boot.
A run that is at work is left alone. The exit code is 1 when a hook fails: the note then stays, and the next call tries again.

Examples:
  cairn source resume
  cairn source resume --json`,
		Action: func(c *cli.Context) error { return e.runSourceResume(c) },
	})
}

func (e *env) runSourceResume(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	state, err := e.runState()
	if err != nil {
		return err
	}
	defer outlivePipes()()
	all, err := sourcerun.Recover(c.Context, sourcerun.Options{State: state, Stderr: e.stderr, Say: e.say, Now: e.now})
	var errs []error
	for _, r := range all {
		if told := e.printRecovery(r); told != nil {
			return told
		}
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	if len(all) == 0 && err == nil {
		e.say("no run of a source broke off")
	}
	return errors.Join(append(errs, err)...)
}

func (e *env) printRecovery(r sourcerun.Recovery) error {
	if e.json {
		m := map[string]any{"type": "resume", "source": r.Source, "began": r.Began.Format(time.RFC3339), "hooks": hooksJSON(r.Hooks), "done": r.Err == nil}
		if r.Err != nil {
			m["error"] = r.Err.Error()
		}
		return e.printJSON(m)
	}
	if r.Err == nil {
		e.print("%s: the run that began at %s had broken off; %s run", r.Source, r.Began.Format(time.RFC3339), plural(uint64(len(r.Hooks)), "finally hook was", "finally hooks were"))
	} else {
		e.print("%s: a run had broken off, and not all its finally hooks could be run", r.Source)
	}
	return nil
}
