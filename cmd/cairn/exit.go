package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/stripe"
)

// Exit codes that scripts may rely on (README.md).
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 3 // finished, but something could not be read
	exitDamage      = 4
	exitTooFew      = 5 // members reachable
	exitWrongKey    = 6
	exitSkipped     = 75
	exitInterrupted = 130
)

// exitError carries an exit code. With a nil err it says nothing: the command has told all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// quietExit ends the command with a code; everything has been said.
func quietExit(code int) error { return &exitError{code: code} }

// usage is a mistake in the command line.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// hint adds the operator's next step to an error.
func hint(err error, text string) error { return remote.WithHint(err, text) }

// exit prints what is left to say and returns the exit code.
func (e *env) exit(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitCode(ctx, err)
	var ee *exitError
	if errors.As(err, &ee) && ee.err == nil {
		return code
	}
	message, next := err.Error(), e.hintFor(code, err)
	if code == exitInterrupted {
		message, next = "interrupted", ""
	}
	if e.json {
		_ = e.printJSON(map[string]any{"type": "error", "message": message, "hint": next, "exit": code})
	}
	fmt.Fprintf(e.stderr, "cairn: %s\n", strings.TrimSpace(message))
	if next != "" {
		fmt.Fprintf(e.stderr, "hint: %s\n", next)
	}
	return code
}

// exitCode is the one place that turns an error into an exit code.
func exitCode(ctx context.Context, err error) int {
	var (
		ee      *exitError
		few     *stripe.TooFewError
		coder   cli.ExitCoder
		blob    *archive.BlobDamage
		packErr *archive.PackDamage
		missing *archive.MissingError
		record  *archive.RecordDamage
	)
	switch {
	case errors.As(err, &ee):
		return ee.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &few):
		return exitTooFew
	case errors.Is(err, seal.ErrWrongKey), errors.Is(err, seal.ErrNoCredential), errors.Is(err, seal.ErrNoReadKey), errors.Is(err, archive.ErrNoKey):
		return exitWrongKey
	case errors.As(err, &blob), errors.As(err, &packErr), errors.As(err, &missing), errors.As(err, &record):
		return exitDamage
	case errors.As(err, &coder):
		return exitUsage // only the library's own help makes these: a topic that does not exist
	}
	return exitFailed
}

// hintFor finds the hint that came with the error, or one that fits its kind.
func (e *env) hintFor(code int, err error) string {
	if h := remote.Hint(err); h != "" {
		return h
	}
	switch {
	case code == exitUsage:
		return "`cairn help` lists the commands, `cairn help COMMAND` explains one"
	case errors.Is(err, seal.ErrNoCredential), errors.Is(err, archive.ErrNoKey):
		return "set CAIRN_PASSWORD, CAIRN_PASSWORD_FILE, CAIRN_PASSWORD_COMMAND or CAIRN_KEY_FILE"
	case code == exitWrongKey && e.triedDefault != "":
		return "no password or key file was given and " + e.triedDefault + " does not fit: set CAIRN_PASSWORD (or _FILE, _COMMAND) or CAIRN_KEY_FILE"
	case code == exitWrongKey:
		return "check the password or key file; `cairn key list` shows the slots that there are"
	case code == exitTooFew:
		return "bring the missing members back or name them in CAIRN_ARCHIVE, then run the command again"
	}
	return ""
}
