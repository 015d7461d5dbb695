package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/agent/source/hook"
	"cairn/agent/source/paper"
	"cairn/remote"
)

// Recovery says what became of a run that broke off.
type Recovery struct {
	Source string
	Began  time.Time // the run that broke off; zero when its note cannot be read
	Hooks  []paper.Hook
	Err    error // why the note is still there
}

// Recover runs the finally hooks of all runs that broke off, and removes their notes. A note whose hooks fail stays, and is tried again by
// the next run. Options.State is needed, Stderr, Say and Now are used.
func Recover(ctx context.Context, o Options) ([]Recovery, error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	return o.recover(ctx, nil, "")
}

// recover does not ask for the lock of the source that the caller holds.
func (o Options) recover(ctx context.Context, held *Lock, holds string) ([]Recovery, error) {
	names, err := o.State.names()
	if err != nil {
		return nil, fmt.Errorf("look for runs that broke off: %w", err)
	}
	var all []Recovery
	for _, name := range names {
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		done, err := o.recoverOne(ctx, name, held != nil && name == holds)
		var busy *BusyError
		if errors.As(err, &busy) {
			continue // it did not break off
		}
		if done == nil && err == nil {
			continue
		}
		if done == nil {
			done = &Recovery{Source: name}
		}
		done.Err = err
		all = append(all, *done)
	}
	return all, nil
}

func (o Options) recoverOne(ctx context.Context, name string, held bool) (*Recovery, error) {
	if !held {
		lock, err := o.State.Lock(name)
		if err != nil {
			return nil, err
		}
		defer lock.Close()
	}
	note, err := o.State.read(name)
	if err != nil {
		return nil, remote.WithHint(err, "see to it that the application runs, and remove the note")
	}
	if note == nil {
		return nil, nil
	}
	o.Say("the run of %s that began at %s broke off: running its finally hooks", name, note.Began.Format(time.RFC3339))
	done := &Recovery{Source: name, Began: note.Began}
	err = hook.Await(ctx, o.State.hookAtWork(name), cmp.Or(note.Longest, hook.Timeout), func(pid int) {
		o.Say("waiting for a hook of that run to end (process %d)", pid)
	})
	if err != nil {
		return done, remote.WithHint(err, "see to it that the application runs; `cairn source resume` tries again")
	}
	own, cancel := own(ctx, note.Finally)
	defer cancel()
	hooks := note.Finally
	for i := range hooks {
		if hooks[i].Run.Dir == "" {
			hooks[i].Run.Dir = note.Dir
		}
	}
	env := []string{"CAIRN_SOURCE=" + name, "CAIRN_CLASS=" + string(note.Class), "CAIRN_HOST=" + note.Host, "CAIRN_SERIES=" + note.Series,
		"CAIRN_STAGE=finally", "CAIRN_OUTCOME=" + string(Interrupted), "CAIRN_ERROR=the run broke off"}
	done.Hooks, err = hook.All(own, "finally", hooks, true, hook.Options{Env: env, Stderr: o.Stderr, Now: o.Now, Started: o.State.hookStarted(name)}, func(h paper.Hook) {
		o.Say("finally hook %s of %s: %s", h.Name, name, h.Outcome)
	})
	if err != nil {
		return done, remote.WithHint(err, "see to it that the application runs, and remove "+note.file+", or let `cairn source resume` try again")
	}
	return done, note.Remove()
}

// recover does it at the beginning of a run. What fails is only warned of: it must not keep other sources from being backed up, and this one's
// hooks will run again.
func (r *runner) recover(ctx context.Context, lock *Lock) {
	done, err := r.o.recover(ctx, lock, r.j.File.Name)
	r.report.Recovered = done
	for _, d := range done {
		if d.Err != nil {
			r.pending = r.pending || d.Source == r.j.File.Name
			r.warn(fmt.Sprintf("a run of %s broke off, and not all its finally hooks could be run: %v", d.Source, d.Err))
		} else {
			r.warn(fmt.Sprintf("the run of %s that began at %s had broken off: its finally hooks were run", d.Source, d.Began.Format(time.RFC3339)))
		}
	}
	if err != nil {
		r.warn(err.Error())
	}
}
