package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/hook"
	"cairn/agent/source/paper"
	"cairn/archive/backup"
	"cairn/remote"
)

// ErrInterrupted is the cause of a run's end by its caller, such as by a signal.
var ErrInterrupted = errors.New("interrupted")

// Run runs a job. The report is never nil. The error says why there is no snapshot, or, when Report.Stored, what failed beside it: hooks of
// finally and after. A skipped run is no error.
func Run(ctx context.Context, j *Job, o Options) (*Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	r := &runner{j: j, o: o, hooks: j.Hooks()}
	r.report = &Report{Job: j, Began: o.Now(), Outcome: Done, Paper: r.newPaper()}
	err := r.run(ctx)
	r.report.Ended = o.Now()
	return r.report, err
}

// runner is one run at work.
type runner struct {
	j      *Job
	o      Options
	hooks  source.Hooks
	report *Report

	target  *Target
	note    *Note // nil: nothing was begun
	pending bool  // an earlier run of this source broke off, and its finally hooks failed: it may still be stopped
	stopped time.Time
	derbies map[string][]string // part → databases in its tree
	built   *built
	clean   []func() error
	after   []error // what failed beside the snapshot
}

func (r *runner) run(outer context.Context) error {
	lock, err := r.o.State.Lock(r.j.File.Name)
	var busy *BusyError
	if errors.As(err, &busy) {
		r.skip(busy.Error())
		return nil
	}
	if err != nil {
		return r.failed(outer, err)
	}
	defer lock.Close()
	r.recover(outer, lock)
	ctx, cancel := outer, context.CancelFunc(func() {})
	if r.o.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(outer, r.o.Timeout, fmt.Errorf("the run did not end within %s", r.o.Timeout))
	}
	defer cancel()
	err = r.work(ctx)
	r.tidy()
	var skip *skipError
	switch {
	case errors.As(err, &skip) && len(r.after) == 0:
		r.skip(skip.why)
		return nil
	case err != nil:
		return r.failed(outer, errors.Join(append([]error{err}, r.after...)...))
	}
	return r.done(outer)
}

// skipError ends a run softly.
type skipError struct{ why string }

func (e *skipError) Error() string { return e.why }

func (r *runner) skip(why string) {
	r.report.Outcome, r.report.Why = Skipped, why
}

// work makes the snapshot.
func (r *runner) work(ctx context.Context) error {
	if err := r.guard(ctx); err != nil {
		return err
	}
	target, err := r.o.Open(ctx, r.j)
	if err != nil {
		return err
	}
	r.target = target
	report, err := r.snapshot(ctx)
	if target.Finish != nil {
		warnings, failed := target.Finish(ctx, report, err)
		r.warn(warnings...)
		if err == nil {
			err = failed
		}
	}
	r.report.Backup = report
	return err
}

// guard asks the guards. One that fails the run goes before those that skip it.
func (r *runner) guard(ctx context.Context) error {
	unmet := hook.Guards(ctx, r.j.Guards())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, u := range unmet {
		if !u.Guard.Skip {
			return u
		}
	}
	if len(unmet) > 0 {
		return &skipError{unmet[0].Why}
	}
	return nil
}

// snapshot reads everything and commits. From its first hook of before to its last one of finally the application stands.
func (r *runner) snapshot(ctx context.Context) (*backup.Report, error) {
	r.findDerbies(ctx)
	if err := r.warm(ctx); err != nil {
		return nil, err
	}
	if err := r.before(ctx); err != nil {
		return nil, r.finally(ctx, err)
	}
	parts, err := r.parts(ctx)
	if err != nil {
		return nil, r.finally(ctx, err)
	}
	return backup.RunParts(ctx, r.target.Saver, r.options(), parts, func(_ context.Context, failed error) error {
		_ = r.finally(ctx, failed) // it is returned by RunParts anyway
		return nil
	})
}

// warm reads the trees while the application runs.
func (r *runner) warm(ctx context.Context) error {
	if !r.j.File.Warm || r.j.Apart {
		return nil
	}
	parts := r.trees()
	if len(parts) == 0 {
		return nil
	}
	r.o.Say("warm pass: reading what is there while the application runs")
	o := r.options()
	o.Progress, o.Warn = new(backup.Progress), nil
	began := r.o.Now()
	report, err := backup.Warm(ctx, r.target.Saver, o, parts)
	if err != nil {
		return fmt.Errorf("warm pass: %w", err)
	}
	r.report.Warm = report
	r.report.Paper.Warm = &paper.Warm{Began: began, Ended: r.o.Now(), Files: report.Files.Total(), BytesRead: report.BytesRead}
	return nil
}

// before writes the note and runs the hooks. An error means that finally has to run, if there is still a note.
func (r *runner) before(ctx context.Context) error {
	if len(r.hooks.Before)+len(r.hooks.Finally) == 0 {
		return nil
	}
	note, err := r.o.State.Write(r.j, r.o.Now(), r.o.Program)
	if err != nil {
		return fmt.Errorf("note for the case of a crash: %w", err)
	}
	r.note = note
	if len(r.hooks.Before) == 0 {
		return nil
	}
	r.stopped = r.o.Now()
	err = r.stage(ctx, "before", r.hooks.Before, false, nil)
	if !errors.Is(err, hook.ErrSkip) {
		return err
	}
	if first := r.report.Hooks[0]; first.Outcome == hook.Skipped && !r.pending {
		r.stopped = time.Time{}
		if dropped := r.dropNote(); dropped != nil { // nothing was begun, so nothing is to be ended
			return dropped
		}
	}
	return &skipError{err.Error()}
}

// finally starts again what was stopped. It returns why there is no snapshot: what it got. What its own hooks fail with is kept apart,
// because what was read is good.
func (r *runner) finally(ctx context.Context, failed error) error {
	if r.note == nil {
		return failed
	}
	own, cancel := own(ctx, r.hooks.Finally)
	defer cancel()
	env := []string{"CAIRN_OUTCOME=" + string(Done)}
	if failed != nil {
		env = []string{"CAIRN_OUTCOME=" + string(r.outcome(ctx, failed)), "CAIRN_ERROR=" + short(failed)}
	}
	if err := r.stage(own, "finally", r.hooks.Finally, true, env); err != nil {
		r.after = append(r.after, remote.WithHint(err, "see to it that the application runs; `cairn source resume` runs the finally hooks again"))
	}
	if !r.stopped.IsZero() {
		r.report.Paper.Stop = &paper.Window{Began: r.stopped, Ended: r.o.Now()}
		r.o.Say("the application stood for %s", r.report.Paper.Stop.Duration().Round(10*time.Millisecond))
	}
	if len(r.after) > 0 {
		return failed // the note stays: the application may be stopped, and the next run or resume tries again
	}
	if err := r.dropNote(); err != nil {
		r.after = append(r.after, err)
	}
	return failed
}

func (r *runner) dropNote() error {
	note := r.note
	r.note = nil
	return note.Remove()
}

// own is a context that does not end with the run: hooks have their own time, each.
func own(ctx context.Context, hooks []source.Hook) (context.Context, context.CancelFunc) {
	limit := time.Minute
	for i := range hooks {
		limit += hook.Limit(&hooks[i]) + 10*time.Second
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// stage runs the hooks of one stage.
func (r *runner) stage(ctx context.Context, stage string, hooks []source.Hook, always bool, env []string) error {
	if len(hooks) == 0 {
		return nil
	}
	env = append([]string{"CAIRN_SOURCE=" + r.j.File.Name, "CAIRN_CLASS=" + string(r.j.Class), "CAIRN_HOST=" + r.j.Host,
		"CAIRN_SERIES=" + r.j.Series, "CAIRN_STAGE=" + stage}, env...)
	done, err := hook.All(ctx, stage, hooks, always, r.hookOptions(env), func(h paper.Hook) {
		r.o.Say("%s hook %s: %s (%s)", stage, h.Name, h.Outcome, h.Ended.Sub(h.Began).Round(10*time.Millisecond))
	})
	r.report.Hooks = append(r.report.Hooks, done...)
	return err
}

// outcome of an error.
func (r *runner) outcome(ctx context.Context, err error) Outcome {
	var skip *skipError
	switch {
	case errors.As(err, &skip):
		return Skipped
	case errors.Is(ctx.Err(), context.Canceled): // and not by a time-out
		return Interrupted
	}
	return Failed
}

// failed ends a run without a snapshot.
func (r *runner) failed(ctx context.Context, err error) error {
	r.report.Outcome = r.outcome(ctx, err)
	if r.report.Outcome == Skipped { // and a hook of finally failed
		r.report.Outcome = Failed
	}
	if r.report.Outcome == Interrupted {
		err = fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return errors.Join(err, r.last(ctx, "on_error", r.hooks.OnError, err))
}

// done ends a run with a snapshot, or one that needs none.
func (r *runner) done(ctx context.Context) error {
	b := r.report.Backup
	stage, hooks := "after", r.hooks.After
	err := errors.Join(r.after...)
	switch {
	case err != nil:
		r.report.Outcome = Failed
		stage, hooks = "on_error", r.hooks.OnError
	case b.Unchanged:
		r.report.Outcome = Unchanged
	case b.Snapshot.Partial || b.Incomplete:
		r.report.Outcome = Partial
		stage, hooks = "on_error", r.hooks.OnError
	}
	told := err
	if r.report.Outcome == Partial {
		told = errors.New("the snapshot is partial: " + r.damage())
	}
	if last := r.last(ctx, stage, hooks, told); last != nil {
		err = errors.Join(err, last)
		if stage == "after" {
			r.report.Outcome = Failed
			_ = r.last(ctx, "on_error", r.hooks.OnError, last) // what fails there is in the report
		}
	}
	return err
}

// damage is the first thing that the snapshot lacks.
func (r *runner) damage() string {
	for _, e := range r.report.Backup.Errors {
		return e.Message
	}
	return "something could not be read"
}

// last runs the hooks of the end. They run to their end, too.
func (r *runner) last(ctx context.Context, stage string, hooks []source.Hook, err error) error {
	own, cancel := own(ctx, hooks)
	defer cancel()
	env := []string{"CAIRN_OUTCOME=" + string(r.report.Outcome), "CAIRN_STOPPED_SECONDS=" + fmt.Sprintf("%.3f", r.report.Paper.Stop.Duration().Seconds())}
	if r.report.Stored() {
		env = append(env, "CAIRN_SNAPSHOT="+r.report.Backup.ID.String())
	}
	if err != nil {
		env = append(env, "CAIRN_ERROR="+short(err))
	}
	return r.stage(own, stage, hooks, true, env)
}

// hookOptions has it noted which program is at work as long as there is a note.
func (r *runner) hookOptions(env []string) hook.Options {
	o := hook.Options{Env: env, Stderr: r.o.Stderr, Now: r.o.Now}
	if r.note != nil {
		o.Started = r.o.State.hookStarted(r.j.File.Name)
	}
	return o
}

// short makes an error a value of the environment.
func short(err error) string {
	s := strings.Join(strings.FieldsFunc(err.Error(), func(c rune) bool { return c < ' ' }), "; ")
	return s[:min(len(s), 4096)]
}

func (r *runner) warn(texts ...string) {
	r.report.Warnings = append(r.report.Warnings, texts...)
}

// tidy removes what was made for the run.
func (r *runner) tidy() {
	for _, clean := range r.clean {
		if err := clean(); err != nil {
			r.warn("clean up: " + err.Error())
		}
	}
}
