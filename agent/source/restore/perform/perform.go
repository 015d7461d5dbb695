// Package perform executes plans of restores.
//
//	guards → before → databases are asked → safety snapshot → remove, empty → files → databases → rewrites → steps
//
// Invariants
//   - Guards of all plans of a set hold, nothing is missing, and everything is at hand, before the first of them is touched; what overrides that is told.
//   - The stages of a set go side by side: all are stopped before one is changed, and steps come when all are back, in the order of the set.
//   - The first failure of a stage ends the work: what comes after it is not begun. After files that did not come back whole no step is run.
//   - A step runs something only when somebody agreed to that step.
//   - A file that is rewritten is replaced by a whole one, below its root, with the owner, mode and attributes that it had.
//
// One Execute for an application at a time. A crash leaves what the stage that it met had done; the same command again goes on from there, because
// files that are right are kept, what is to be removed is gone, and databases come whole or not at all (agent/source/driver). Beside
// that it may leave a file .cairn-….tmp.
package perform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"cairn/agent/process"
	"cairn/agent/source/hook"
	"cairn/agent/source/restore"
	"cairn/agent/source/wipe"
	files "cairn/archive/restore"
	"cairn/remote"
	"cairn/snapshot"
)

// StageError says at which point a restore ended. What comes before it is done, what comes after it is not.
type StageError struct {
	Source string
	Stage  Stage
	Err    error
}

func (e *StageError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Source, e.Stage, e.Err) }

func (e *StageError) Unwrap() error { return e.Err }

// Report says what a restore did.
type Report struct {
	Trees     []*files.Report // of all trees that were begun
	Databases int
	Rewritten int
	Wiped     int
	Safety    []string // snapshots of what was there
	StepsDone int
	StepsLeft int // that a person has to do, or to agree to
	Warnings  int
}

// Failed counts entries that did not come back.
func (r *Report) Failed() (n int) {
	for _, t := range r.Trees {
		n += t.Failed
	}
	return n
}

// executor is one Execute.
type executor struct {
	tools  Tools
	report *Report
	// Progress of the trees, for who looks.
	progress *files.Progress
}

// Execute does what the plans say, stage by stage for all of them. The report is never nil.
func Execute(ctx context.Context, plans []*restore.Plan, t Tools, progress *files.Progress) (*Report, error) {
	e := &executor{tools: t, report: &Report{}, progress: progress}
	for _, p := range plans {
		if err := e.admit(ctx, p); err != nil {
			return e.report, &StageError{p.Source, Guards, err}
		}
	}
	stages := []struct {
		stage Stage
		do    func(context.Context, *restore.Plan) error
	}{
		{Before, e.before}, {Asking, e.ask}, {SafetyNet, e.safety}, {Wiping, e.wipe}, {Files, e.files}, {Streams, e.streams}, {Rewrites, e.rewrite}, {Steps, e.steps},
	}
	for _, s := range stages {
		if n := e.report.Failed(); n > 0 && s.stage == Steps {
			e.report.StepsLeft += countSteps(plans)
			return e.report, nil // told by the reports; nothing is started on what is not whole
		}
		for _, p := range plans {
			if err := s.do(ctx, p); err != nil {
				return e.report, &StageError{p.Source, s.stage, err}
			}
		}
	}
	return e.report, nil
}

func countSteps(plans []*restore.Plan) (n int) {
	for _, p := range plans {
		n += len(p.Steps)
	}
	return n
}

func (e *executor) tell(p *restore.Plan, stage Stage, format string, args ...any) {
	if e.tools.Tell != nil {
		e.tools.Tell(Event{Source: p.Source, Stage: stage, Text: fmt.Sprintf(format, args...)})
	}
}

func (e *executor) warn(p *restore.Plan, stage Stage, format string, args ...any) {
	e.report.Warnings++
	if e.tools.Tell != nil {
		e.tools.Tell(Event{Source: p.Source, Stage: stage, Text: fmt.Sprintf(format, args...), Warn: true})
	}
}

// admit asks the guards again, and says what is overridden.
func (e *executor) admit(ctx context.Context, p *restore.Plan) error {
	p.AskGuards(ctx)
	for _, r := range p.Refusals() {
		if !r.Forced {
			err := errors.New(r.Text)
			if r.Override != "" {
				return remote.WithHint(err, r.Override+" goes on all the same")
			}
			return err
		}
		e.warn(p, Guards, "going on by %s although %s", r.Override, r.Text)
	}
	for _, part := range p.Closed {
		if e.tools.Databases == nil {
			return errors.New("nothing here knows databases")
		}
		warnings, err := e.tools.Databases.Stopped(part)
		for _, w := range warnings {
			e.warn(p, Guards, "%s", w)
		}
		switch {
		case err != nil && p.Options.ForceGuards:
			e.warn(p, Guards, "going on by --force although %v", err)
		case err != nil:
			return err
		}
	}
	return e.equipped(p)
}

// equipped finds out beforehand whether everything is there that the plan needs.
func (e *executor) equipped(p *restore.Plan) error {
	for i := range p.Streams {
		switch s := &p.Streams[i]; {
		case s.Way == restore.ToDatabase && e.tools.Databases == nil:
			return errors.New("nothing here knows databases")
		case s.Way == restore.ToRepository && e.tools.Fedora == nil:
			return errors.New("nothing here knows Fedora")
		}
	}
	return nil
}

func (e *executor) before(ctx context.Context, p *restore.Plan) error {
	for i := range p.Before {
		e.tell(p, Before, "run %s", p.Before[i].Name)
		if _, err := hook.Run(ctx, string(Before), &p.Before[i], hook.Options{Stderr: e.tools.Stderr}); err != nil {
			return remote.WithHint(err, "--no-before leaves these hooks out, where there is nothing to stop")
		}
	}
	return nil
}

// ask finds out whether all databases will be taken, before anything is changed. Hooks of before may have started their servers.
func (e *executor) ask(ctx context.Context, p *restore.Plan) error {
	for i := range p.Streams {
		if s := &p.Streams[i]; s.Way == restore.ToDatabase {
			if err := e.tools.Databases.Ready(ctx, s.Job, s.Databases); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *executor) safety(ctx context.Context, p *restore.Plan) error {
	if e.tools.Safety == nil {
		return nil
	}
	id, err := e.tools.Safety.Save(ctx, p)
	if err != nil {
		return err
	}
	if id == "" {
		e.tell(p, SafetyNet, "nothing is there that would be changed")
		return nil
	}
	e.tell(p, SafetyNet, "what was there is in snapshot %s", id)
	e.report.Safety = append(e.report.Safety, id)
	return nil
}

func (e *executor) wipe(ctx context.Context, p *restore.Plan) error {
	for i := range p.Wipes {
		w := &p.Wipes[i]
		do, verb := wipe.Remove, "removed"
		if w.Empty {
			do, verb = wipe.Empty, "emptied"
		}
		found, err := do(ctx, w.Target)
		if err != nil {
			return err
		}
		if found.Exists {
			e.report.Wiped++
			e.tell(p, Wiping, "%s %s (%s)", verb, w.Path, restore.Amount(uint64(found.Files), found.Bytes))
		}
	}
	return nil
}

func (e *executor) files(ctx context.Context, p *restore.Plan) error {
	for i := range p.Trees {
		t := &p.Trees[i]
		if err := lead(ctx, p, t); err != nil {
			return err
		}
		r, err := p.RestoreTree(ctx, t, false, e.progress)
		if r != nil {
			e.report.Trees = append(e.report.Trees, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.To, err)
		}
		e.tell(p, Files, "%s: %d created, %d updated, %d deleted, %d as recorded", t.To, r.Created, r.Updated+r.MetaOnly, r.Deleted, r.Identical)
		if r.Failed > 0 {
			e.warn(p, Files, "%s: %d entries did not come back", t.To, r.Failed)
		}
	}
	return nil
}

func (e *executor) streams(ctx context.Context, p *restore.Plan) error {
	for i := range p.Streams {
		s := &p.Streams[i]
		if err := e.stream(ctx, p, s); err != nil {
			return fmt.Errorf("%s of part %s: %w", s.File, s.Part.Name, err)
		}
	}
	return nil
}

func (e *executor) stream(ctx context.Context, p *restore.Plan, s *restore.Stream) error {
	switch s.Way {
	case restore.Kept:
		e.report.StepsLeft++
		e.warn(p, Streams, "%s stays in the snapshot: `cairn dump %s:%s` gives it", s.From, s.Origin.Snapshot.ID.Short(), s.From)
		return nil
	case restore.ToFile:
		r, err := copyOut(ctx, p, s, path.Dir(s.To), s.To)
		if r != nil {
			e.report.Trees = append(e.report.Trees, r)
		}
		if err == nil {
			e.tell(p, Streams, "%s is in %s", s.Part.Name, s.To)
		}
		return err
	case restore.ToRepository:
		warnings, err := e.tools.Fedora.Restore(ctx, Repository{
			Name: p.Source + "-" + s.Part.Name, Part: s.Part, Bytes: s.Bytes, Force: p.Options.ForceFedora,
			Fill: func(ctx context.Context, dir string) error { return fill(ctx, p, s, dir) },
		})
		return e.done(p, s, warnings, err)
	}
	f, err := s.Origin.View().Open(strings.TrimPrefix(s.From, "/"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	if s.Way == restore.ToProgram {
		return e.done(p, s, nil, e.feed(ctx, s, f))
	}
	if s.Part.SQLite != nil {
		if err := os.MkdirAll(path.Dir(s.As), 0o755); err != nil {
			return err
		}
	}
	warnings, err := e.tools.Databases.Restore(ctx, s.Job, f)
	return e.done(p, s, warnings, err)
}

func (e *executor) done(p *restore.Plan, s *restore.Stream, warnings []string, err error) error {
	for _, w := range warnings {
		e.warn(p, Streams, "%s: %s", s.Part.Name, w)
	}
	if err == nil {
		e.report.Databases++
		e.tell(p, Streams, "%s: %s is in %s", s.Part.Name, s.File, s.Target())
	}
	return err
}

// feed runs the program that takes a stream back.
func (e *executor) feed(ctx context.Context, s *restore.Stream, in io.Reader) error {
	c := s.Part.Command
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("did not end within %s", c.Timeout))
		defer cancel()
	}
	cmd, err := hook.Command(ctx, c.Restore, os.Environ())
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stderr = in, e.tools.Stderr
	proc, err := process.Start(ctx, cmd)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, proc) // what it says of itself comes by its messages
	return errors.Join(err, proc.Wait())
}

// copyOut restores a stream, or the directory of one, as files.
func copyOut(ctx context.Context, p *restore.Plan, s *restore.Stream, parent, dir string) (*files.Report, error) {
	n, err := s.Origin.View().Node(strings.TrimPrefix(s.From, "/"))
	if err != nil {
		return nil, err
	}
	o := files.Options{Target: parent, Path: s.From, InPlace: true, NoOwner: true}
	if n.Type == snapshot.Dir {
		o.Target = dir
	}
	return files.Run(ctx, p.Archive(), s.Origin.Snapshot.Root(), o)
}

// fill puts what a repository backed up into a directory of its own.
func fill(ctx context.Context, p *restore.Plan, s *restore.Stream, dir string) error {
	r, err := copyOut(ctx, p, s, dir, dir)
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d files did not come out of the archive", r.Failed)
		if len(r.Failures) > 0 {
			err = fmt.Errorf("%w: %s: %w", err, r.Failures[0].Path, r.Failures[0].Err)
		}
	}
	return err
}

func (e *executor) rewrite(_ context.Context, p *restore.Plan) error {
	if !p.Options.Rewrite {
		return nil
	}
	for i := range p.Rewrites {
		w := &p.Rewrites[i]
		changed, err := apply(w)
		if err != nil {
			return err
		}
		if changed {
			e.report.Rewritten++
			e.tell(p, Rewrites, "rewrote %s", w.Path)
		}
	}
	return nil
}

// steps runs what may be run, in order, and ends at the first that failed or that a person has to do first.
func (e *executor) steps(ctx context.Context, p *restore.Plan) error {
	for i, s := range p.Steps {
		if s.Text != "" {
			e.report.StepsLeft++
			e.tell(p, Steps, "%d. to do: %s", i+1, strings.TrimSpace(s.Text))
			continue
		}
		yes := false
		if e.tools.Consent != nil {
			var err error
			if yes, err = e.tools.Consent(ctx, p, s); err != nil {
				return err
			}
		}
		if !yes {
			e.report.StepsLeft++
			e.tell(p, Steps, "%d. to do: %s: %s", i+1, s.Name, restore.HookText(&s.Hook))
			continue
		}
		e.tell(p, Steps, "%d. run %s", i+1, s.Name)
		if _, err := hook.Run(ctx, "step", &p.Steps[i].Hook, hook.Options{Stderr: e.tools.Stderr}); err != nil {
			return err
		}
		e.report.StepsDone++
	}
	return nil
}
