package backup

import (
	"context"
	"errors"
	"io"

	"cairn/agent/process"
	"cairn/remote"
)

// CommandError means that a command ended with an error, so that its output is not to be trusted.
type CommandError = process.Error

// RunCommand backs up the standard output of a command as one file. Only if the command ends with status 0 is a
// snapshot made; else the error is a *CommandError. The command gets no input and a process group of its own, which
// is ended with it, and when ctx is cancelled: first by SIGTERM, after process.Grace by SIGKILL. stderr receives its
// messages and may be nil.
func RunCommand(ctx context.Context, w Saver, o Options, name string, args []string, stderr io.Writer) (*Report, error) {
	p, err := process.Start(ctx, process.Command{Args: args, Stderr: stderr})
	if err != nil {
		return nil, err
	}
	waited := false
	report, err := RunStream(ctx, w, o, name, p, func() error { waited = true; return p.Wait() })
	if !waited {
		_ = p.Wait() // this ends it, because of err
	}
	var failed *CommandError
	if errors.As(err, &failed) {
		err = remote.WithHint(err, "no snapshot was made; run the command by hand and see why it fails")
	}
	return report, err
}
