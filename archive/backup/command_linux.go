package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// CommandError means that a command ended with an error, so that its output is not to be trusted.
type CommandError struct {
	Args     []string
	ExitCode int    // -1: it was ended by a signal
	Signal   string // by which
	Stderr   string // the last it said
}

func (e *CommandError) Error() string {
	how := fmt.Sprintf("ended with exit status %d", e.ExitCode)
	if e.Signal != "" {
		how = "was ended by " + e.Signal
	}
	if last := lastLine(e.Stderr); last != "" {
		how += ": " + last
	}
	return fmt.Sprintf("command %s %s", strings.Join(e.Args, " "), how)
}

// Hint names the operator's next step.
func (e *CommandError) Hint() string {
	return "no snapshot was made; run the command by hand and see why it fails"
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// RunCommand backs up the standard output of a command as one file. Only if the command ends with status 0 is a
// snapshot made; else the error is a *CommandError. The command gets no input and a process group of its own, which
// is ended with it, and when ctx is cancelled: first by SIGTERM, after 5 s by SIGKILL. stderr receives its messages
// and may be nil.
func RunCommand(ctx context.Context, w Saver, o Options, name string, args []string, stderr io.Writer) (*Report, error) {
	if len(args) == 0 {
		return nil, errors.New("no command was given")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := &tail{to: stderr}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start command: %w", err)
	}
	waited := false
	wait := func() error {
		waited = true
		err := cmd.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return commandError(args, err, said)
	}
	report, err := RunStream(ctx, w, o, name, out, wait)
	if !waited {
		cancel()
		_ = cmd.Wait() // it was ended because of err
	}
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind, if anything
	}
	return report, err
}

func commandError(args []string, err error, said *tail) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	e := &CommandError{Args: args, ExitCode: exit.ExitCode(), Stderr: said.String()}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal().String()
	}
	return e
}

// tail passes what is written on and keeps the last 4 KiB.
type tail struct {
	to  io.Writer
	mu  sync.Mutex
	end []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if over := len(t.end) - tailSize; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	if t.to != nil {
		_, _ = t.to.Write(p) // a closed terminal must not end the command
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
