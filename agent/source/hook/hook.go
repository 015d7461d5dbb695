package hook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/agent/source/paper"
)

// Timeout is that of a hook that names none.
const Timeout = 10 * time.Minute

// SoftSkip is the exit status with which a hook says that there is nothing to do now.
const SoftSkip = 75

// ErrSkip means that a hook ended with SoftSkip.
var ErrSkip = fmt.Errorf("ended with exit status %d: skipped", SoftSkip)

// TimeoutError means that a hook did not end within its time.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string { return fmt.Sprintf("did not end within %s", e.After) }

// Error says which hook failed, and why.
type Error struct {
	Stage, Name string
	Err         error
}

func (e *Error) Error() string { return e.Stage + " hook " + e.Name + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Options are what hooks get from their caller. The zero value works.
type Options struct {
	Env    []string         // KEY=VALUE, added to the environment of programs
	Stderr io.Writer        // gets what programs say, line by line and masked; may be nil
	Now    func() time.Time // for what is noted; nil: time.Now
	Client *http.Client     // nil: one for each request
	// Started is told of each program that began; may be nil.
	Started func(pid int)
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// Outcomes of a hook, as paper.Hook notes them.
const (
	Done     = "done"
	Skipped  = "skipped"
	Failed   = "failed"
	TimedOut = "timeout"
	NotRun   = "not run"
)

// Run runs one hook. stage is said in what is noted and in the error, which is an *Error (ErrSkip, *TimeoutError, *process.Error… within).
func Run(ctx context.Context, stage string, h *source.Hook, o Options) (paper.Hook, error) {
	done := paper.Hook{Stage: stage, Name: h.Name, Began: o.now(), Outcome: Done}
	limit := Limit(h)
	sub, cancel := context.WithTimeoutCause(ctx, limit, &TimeoutError{limit})
	defer cancel()
	var err error
	if h.HTTP != nil {
		done.Stderr, err = request(sub, h.HTTP, o)
	} else {
		done.Stderr, err = program(sub, h, o)
	}
	done.Ended = o.now()
	if err == nil {
		return done, nil
	}
	var failed *process.Error
	var late *TimeoutError
	done.Outcome, done.ExitCode = Failed, -1
	switch {
	case errors.As(err, &late):
		done.Outcome = TimedOut
	case errors.As(err, &failed):
		done.ExitCode = failed.ExitCode
		if failed.ExitCode == SoftSkip {
			done.Outcome, err = Skipped, skip(failed)
		}
	}
	done.Error = err.Error()
	return done, &Error{stage, h.Name, err}
}

// skip adds the reason that the program gave, if it gave one.
func skip(e *process.Error) error {
	lines := strings.Split(strings.TrimSpace(e.Stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return fmt.Errorf("%w: %s", ErrSkip, last)
	}
	return ErrSkip
}

// Limit is how long a hook may take.
func Limit(h *source.Hook) time.Duration {
	if h.Timeout == 0 && h.HTTP != nil {
		return cmp.Or(h.HTTP.Timeout, Timeout)
	}
	return cmp.Or(h.Timeout, Timeout)
}

// All runs hooks one after the other. With always a failure is noted, and the next one run all the same; otherwise it ends them, and the rest
// is noted as not run. each (may be nil) is called after each that was run.
func All(ctx context.Context, stage string, hooks []source.Hook, always bool, o Options, each func(paper.Hook)) ([]paper.Hook, error) {
	var all []paper.Hook
	var errs []error
	for i := range hooks {
		if len(errs) > 0 && !always {
			all = append(all, paper.Hook{Stage: stage, Name: hooks[i].Name, Began: o.now(), Ended: o.now(), Outcome: NotRun})
			continue
		}
		done, err := Run(ctx, stage, &hooks[i], o)
		if err != nil {
			errs = append(errs, err)
		}
		if all = append(all, done); each != nil {
			each(done)
		}
	}
	return all, errors.Join(errs...)
}

// program runs a program or a line of the shell.
func program(ctx context.Context, h *source.Hook, o Options) (string, error) {
	r := h.Run
	if h.Shell != "" {
		r.Args = []string{"/bin/sh", "-c", h.Shell}
	}
	c, err := Command(ctx, r, os.Environ())
	if err != nil {
		return "", err
	}
	c.Env = append(c.Env, o.Env...)
	c.Stderr, c.Started = o.Stderr, o.Started
	ran, err := process.Run(ctx, c)
	var failed *process.Error
	if errors.As(err, &failed) && h.Shell != "" {
		failed.Args = []string{h.Shell} // as it was written
	}
	return ran.Said, err
}

// Command makes a command of what a source file says: its secrets are in the environment. environment is what the program gets besides.
func Command(ctx context.Context, r source.Run, environment []string) (process.Command, error) {
	c := process.Command{Args: r.Args, Dir: r.Dir, Env: slices.Clone(environment)}
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		c.Env = append(c.Env, name+"="+r.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Secrets)) {
		value, err := r.Secrets[name].Value(ctx)
		if err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
		c.Env = append(c.Env, name+"="+value.Reveal())
		c.Mask = append(c.Mask, value.Reveal())
	}
	return c, nil
}
