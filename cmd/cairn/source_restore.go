package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
	"cairn/agent/source/driver"
	"cairn/agent/source/fedora"
	"cairn/agent/source/restore"
	"cairn/agent/source/restore/perform"
	"cairn/archive"
	files "cairn/archive/restore"
	"cairn/remote"
)

func sourceRestoreCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "restore", Usage: "bring whole applications back", ArgsUsage: "NAME|FILE…",
		Description: `Brings sources back: guards → hooks of restore: before → a snapshot of what is there (--safety) → what is to be removed and emptied →
files → databases → changes of values (--rewrite) → steps. It prints the plan first and asks on a terminal; elsewhere it needs --yes.
--dry-run prints everything, compared with what is there, and does nothing. Nothing is touched before all guards hold (--force goes on
without) and nothing is missing in the snapshots (--allow-partial).

Existing files are brought to the recorded state, writing only what differs; other files in the same directories stay, unless --delete is given.
Steps that run something need a consent of their own: --steps, or an answer for each on a terminal; others are told. They are not run when
something did not come back.

` + planText + `

After a failure the same command goes on where it ended; databases that came back already need --replace, or --part for the others.

Examples:
  cairn source restore sophora --safety
  cairn source restore --from latest --vars home=/srv/new --yes
  cairn source restore primary replica staging --at 2026-11-20T03:00
  cairn source restore shop --part db --db shop=shop_copy
  cairn source restore shop --to /tmp/look --yes
  cairn source restore js7 --force-class never:/var/js7/state/history --part state`,
		Flags: append(planFlags(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "print what would be done and do nothing"},
			&cli.BoolFlag{Name: "safety", Usage: "first make a snapshot of what is there"},
			&cli.BoolFlag{Name: "steps", Usage: "run the steps, too"},
			&cli.StringFlag{Name: "temp-dir", Usage: "make temporary files in `DIR`"}),
		Action: func(c *cli.Context) error { return e.runSourceRestore(c) },
	})
}

func (e *env) runSourceRestore(c *cli.Context) error {
	defer outlivePipes()()
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		if err := a.Enough(); err != nil {
			return err
		}
		dry := c.Bool("dry-run")
		plans, err := e.plans(ctx, c, a, dry)
		if err != nil {
			return err
		}
		if err := e.printPlans(plans); err != nil {
			return err
		}
		if dry {
			if err := refused(plans, "--trust"); err != nil {
				return err
			}
			e.say("dry run: nothing was touched")
			return nil
		}
		if err := e.trust(plans); err != nil {
			return err
		}
		if err := refused(plans); err != nil {
			return err
		}
		if err := e.consent(c, "restore as planned? "); err != nil {
			return err
		}
		return e.execute(ctx, c, a, plans)
	})
}

// trust asks a terminal about what a source file out of a snapshot wants to run and to read.
func (e *env) trust(plans []*restore.Plan) error {
	for _, p := range plans {
		if p.Options.Trust || len(p.Foreign()) == 0 {
			continue
		}
		yes, err := e.ask(p.Source + ": allow what the source file in the snapshot wants, see above? ")
		if err != nil {
			return err
		}
		p.Options.Trust = yes
	}
	return nil
}

// errNoConsent means that nobody said yes.
var errNoConsent = errors.New("nothing was touched: nobody agreed to the plan")

// consent asks before anything is touched.
func (e *env) consent(c *cli.Context, question string) error {
	if c.Bool("yes") {
		return nil
	}
	yes, err := e.ask(question)
	if err == nil && !yes {
		err = hint(errNoConsent, "--yes agrees without a question")
	}
	return err
}

// ask puts a question to a terminal. Without one the answer is no.
func (e *env) ask(question string) (bool, error) {
	in, ok := e.stdin.(*os.File)
	if !ok || !isTerminal(in) {
		return false, nil
	}
	fmt.Fprintf(e.stderr, "%s[yes/no] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "yes" || answer == "y", nil
}

// execute does what was agreed to.
func (e *env) execute(ctx context.Context, c *cli.Context, a *archive.Archive, plans []*restore.Plan) error {
	progress := new(files.Progress)
	t := perform.Tools{
		Databases: databases{driver.Options{TempDir: c.String("temp-dir"), Stderr: e.stderr}},
		Fedora:    repositories{},
		Stderr:    e.stderr,
		Tell:      func(v perform.Event) { e.printEvent(v) },
		Consent: func(_ context.Context, p *restore.Plan, s source.Step) (bool, error) {
			if c.Bool("steps") {
				return true, nil
			}
			return e.ask(fmt.Sprintf("%s: run step %s? ", p.Source, s.Name))
		},
	}
	if c.Bool("safety") {
		t.Safety = &safetyNet{e, c, a}
	}
	stop := e.watch(func() tick {
		return tick{verb: "restore", files: progress.FilesDone.Load(), bytes: progress.BytesDone.Load(), current: progress.Current()}
	})
	r, err := perform.Execute(ctx, plans, t, progress)
	stop()
	return e.tellExecuted(plans, r, err)
}

func (e *env) printEvent(v perform.Event) {
	switch {
	case e.json:
		_ = e.printJSON(map[string]any{"type": "event", "source": v.Source, "stage": v.Stage, "message": v.Text, "warning": v.Warn})
	case v.Warn:
		e.warn("%s: %s: %s", v.Source, v.Stage, printable(v.Text))
	case !e.quiet:
		e.print("%s: %s: %s", v.Source, v.Stage, printable(v.Text))
	}
}

func (e *env) tellExecuted(plans []*restore.Plan, r *perform.Report, err error) error {
	sum := files.Report{}
	for _, t := range r.Trees {
		sum.Failed += t.Failed
		sum.Damaged += t.Damaged
		sum.Conflicts += t.Conflicts
		sum.Unreachable += t.Unreachable
		sum.Failures = append(sum.Failures, t.Failures...)
		for _, w := range t.Warnings {
			if sum.Warnings = append(sum.Warnings, w); w.Kind != files.WarnUnreadable {
				e.warn("%s: %s, for example %s", w.Kind, plural(uint64(w.Count), "time", "times"), printable(strings.Join(w.Examples[:min(1, len(w.Examples))], "")))
			}
		}
	}
	for i, f := range sum.Failures {
		if i == 20 && !e.json {
			fmt.Fprintf(e.stderr, "  … and %d more\n", sum.Failed-i)
			break
		}
		e.printFailure(f)
	}
	if e.json {
		names := make([]string, 0, len(plans))
		for _, p := range plans {
			names = append(names, p.Source)
		}
		if printed := e.printJSON(map[string]any{"type": "source-restore", "sources": names, "databases": r.Databases, "rewritten": r.Rewritten, "wiped": r.Wiped,
			"safety": nonNil(r.Safety), "steps_done": r.StepsDone, "steps_left": r.StepsLeft, "failed": sum.Failed, "warnings": r.Warnings, "ok": err == nil && sum.Failed == 0}); err == nil {
			err = printed
		}
	}
	var stage *perform.StageError
	switch {
	case errors.As(err, &stage) && stage.Stage == perform.Asking:
		return hint(err, first(remote.Hint(err), "no file and no database was touched"))
	case errors.As(err, &stage) && stage.Stage == perform.Guards:
		return hint(err, first(remote.Hint(err), "nothing was touched"))
	case errors.As(err, &stage):
		return hint(err, first(remote.Hint(err), fmt.Sprintf("what comes before %q is done, nothing after it is; the same command goes on from there", stage.Stage)))
	case err != nil:
		return err
	}
	if err := restoreVerdict(&sum, false); err != nil {
		return err
	}
	if r.StepsLeft > 0 {
		e.say("restored; %s left to do, see above", plural(uint64(r.StepsLeft), "step is", "steps are"))
	} else {
		e.say("restored")
	}
	return nil
}

// databases lets plans speak to databases.
type databases struct{ o driver.Options }

func (d databases) Restore(ctx context.Context, j restore.Job, src io.Reader) ([]string, error) {
	r, err := driver.Restore(ctx, driver.Job{Part: j.Part, File: j.File, Database: j.Database, As: j.As, Replace: j.Replace}, src, d.o)
	if err != nil {
		return nil, advised(err)
	}
	return r.Warnings, nil
}

func (d databases) Ready(ctx context.Context, j restore.Job, names []string) error {
	return advised(driver.Ready(ctx, driver.Job{Part: j.Part, File: j.File, Database: j.Database, As: j.As, Replace: j.Replace}, names, d.o))
}

// advised names the flags for what can be done.
func advised(err error) error {
	if errors.Is(err, driver.ErrNotEmpty) {
		return hint(err, "--replace drops what is there, --db NAME=OTHER restores it beside it, --part leaves databases out that came back already")
	}
	return err
}

func (d databases) Stopped(p source.Part) ([]string, error) { return driver.Stopped(p) }

// repositories lets plans speak to Fedora. Somebody agreed to the plan, which says what it replaces.
type repositories struct{}

func (repositories) Restore(ctx context.Context, r perform.Repository) ([]string, error) {
	done, err := fedora.Restore(ctx, r.Part.Fedora, fedora.RestoreOptions{Name: r.Name, Fill: r.Fill, Size: int64(min(r.Bytes, 1<<62)), Consent: true, Force: r.Force})
	if done == nil {
		return nil, err
	}
	return done.Warnings, err
}
