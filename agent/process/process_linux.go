// Package process runs other programs in such a way that their end can be relied on.
//
// A Process is a program with a process group of its own. Its output is read from it, its messages are kept (the last 4 KiB) and passed on
// line by line, and Wait says whether what was read may be believed: only if it was read to its end, the input was taken to its end, and
// the exit status is 0.
//
// Invariants
//   - When the context ends, or Wait is called before the output was read to its end, the whole group is sent SIGTERM and after Grace
//     SIGKILL. No process outlives Wait, except one that made itself a group of its own. Run is for those that are to leave one behind.
//   - A source of input that breaks is never shown to the program as an end of its input: the program is ended first, so that it cannot
//     take a half for the whole.
//   - The texts named in Mask appear in no message and no error. Arguments do: a secret must not be among them.
//
// Read and Wait may be called side by side. If this program is killed, the others see their pipes close.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// Grace is how long a program may take to end itself before it is killed.
const Grace = 5 * time.Second

// Command says what is run.
type Command struct {
	Args   []string   // the program and its arguments, without a shell
	Dir    string     // where; empty: here
	Env    []string   // KEY=VALUE; nil: the environment of this program
	Files  []*os.File // become the descriptors 3, 4…; Start closes them here
	Stdin  io.Reader  // nil: nothing
	Stderr io.Writer  // gets the messages; may be nil
	// Started is told the number of the process, which is that of its group; may be nil, and is only for Run.
	Started func(pid int)
	Mask    []string // secrets, which messages may repeat
}

// Error means that a program ended with an error, so that its output is not to be trusted.
type Error struct {
	Args     []string
	ExitCode int    // -1: it was ended by a signal
	Signal   string // by which
	Stderr   string // the last it said
}

func (e *Error) Error() string {
	how := fmt.Sprintf("ended with exit status %d", e.ExitCode)
	if e.Signal != "" {
		how = "was ended by " + e.Signal
	}
	if last := lastLine(e.Stderr); last != "" {
		how += ": " + last
	}
	return fmt.Sprintf("command %s %s", shown(e.Args), how)
}

var (
	errUnread = errors.New("the output was not read to its end")
	errUnfed  = errors.New("ended before it had read all its input")
)

// Process is a running program. Reading from it gives its standard output.
type Process struct {
	cmd    *exec.Cmd
	args   []string
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    io.Reader
	ended  atomic.Bool // out is
	said   *tail
	fed    chan error // nil without input; else one result
}

// Start starts a program. When it succeeds, Wait must be called once.
func Start(ctx context.Context, c Command) (*Process, error) {
	defer closeAll(c.Files)
	if len(c.Args) == 0 {
		return nil, errors.New("no command was given")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p := &Process{args: c.Args, ctx: ctx, cancel: cancel, said: &tail{to: c.Stderr, mask: c.Mask}}
	p.cmd = exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	p.cmd.Dir, p.cmd.Env, p.cmd.ExtraFiles, p.cmd.Stderr = c.Dir, c.Env, c.Files, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) }
	p.cmd.WaitDelay = Grace
	if err := p.start(c.Stdin); err != nil {
		cancel(nil)
		return nil, notStarted(c.Args, err)
	}
	return p, nil
}

func (p *Process) start(stdin io.Reader) error {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = out
	if stdin == nil {
		return p.cmd.Start()
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.fed = make(chan error, 1)
	go p.feed(in, stdin)
	return nil
}

// feed ends with the program, or with a Read of src that was under way then.
func (p *Process) feed(in io.WriteCloser, src io.Reader) {
	r := &noting{r: src}
	_, err := io.CopyBuffer(struct{ io.Writer }{in}, r, make([]byte, 256<<10))
	if r.err != nil {
		p.cancel(r.err)
		// A program that was started by way of another one (docker exec) would see an end of its input when that one is killed. So the pipe
		// is left open as long as possible: Wait closes it.
		p.fed <- r.err
		return
	}
	if err == nil {
		err = in.Close()
	}
	if err != nil {
		err = errUnfed // the exit status says more, if it is not 0
	}
	p.fed <- err
}

// noting keeps the error of a reader apart from those of the writer it is copied to.
type noting struct {
	r   io.Reader
	err error
}

func (n *noting) Read(b []byte) (int, error) {
	c, err := n.r.Read(b)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return c, err
}

// Read reads the standard output.
func (p *Process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err == io.EOF {
		p.ended.Store(true)
	}
	return n, err
}

// Wait waits for the end. It returns nil, an *Error, the cause of the context's end, or what broke the input.
func (p *Process) Wait() error {
	defer p.cancel(nil)
	if !p.ended.Load() {
		p.cancel(errUnread)
	}
	err := p.cmd.Wait()
	p.said.flush()
	if p.ctx.Err() != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // what it left behind, if anything
		return context.Cause(p.ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well and left somebody behind who has its stderr
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return failed(p.args, exit, p.said.String())
	}
	if err == nil && p.fed != nil {
		err = p.whetherFed()
	}
	if errors.Is(err, errUnfed) {
		return fmt.Errorf("command %s %w", shown(p.args), err)
	}
	return err
}

// whetherFed is asked when the program has ended well. Then its pipe is closed, so feed is not in a Write; but it may be in a Read.
func (p *Process) whetherFed() error {
	select {
	case err := <-p.fed:
		return err
	case <-time.After(Grace):
		return errUnfed
	}
}

func failed(args []string, exit *exec.ExitError, said string) error {
	e := &Error{Args: args, ExitCode: exit.ExitCode(), Stderr: said}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal().String()
	}
	return e
}

// Output runs a program and returns its output, which must not be longer than limit bytes.
func Output(ctx context.Context, c Command, limit int64) ([]byte, error) {
	p, err := Start(ctx, c)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	n, readErr := io.Copy(&out, io.LimitReader(p, limit+1))
	if n > limit {
		readErr = fmt.Errorf("command %s said more than %d bytes", shown(c.Args), limit)
	}
	if err := p.Wait(); err != nil && readErr == nil {
		return nil, err
	}
	return out.Bytes(), readErr
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // only read from or inherited
	}
}
