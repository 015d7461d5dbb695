package process

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// linger is how long Run waits for the end of the messages when the program has ended.
const linger = time.Second

// Ran is what is known of a program that Run ran.
type Ran struct {
	Said string // the last of its output and messages
	// Left says that it ended and left somebody behind who holds its output, such as a service that it started.
	Left bool
}

// Run runs a program for what it does and not for what it says: its output counts as messages. Other than Start's, a program that ends well may
// leave others behind, who live on; what they say from then on is dropped. They get no broken pipe when this program ends.
// c.Stdin and c.Files are not used.
func Run(ctx context.Context, c Command) (Ran, error) {
	if len(c.Args) == 0 {
		return Ran{}, errors.New("no command was given")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return Ran{}, err
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = Grace
	err = cmd.Start()
	_ = w.Close() // the program has it
	if err != nil {
		_ = r.Close()
		return Ran{}, notStarted(c.Args, err)
	}
	if c.Started != nil {
		c.Started(cmd.Process.Pid)
	}
	said := &tail{to: c.Stderr, mask: c.Mask}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		_, _ = io.Copy(said, r) // an error is the end of it, too
	}()
	err = cmd.Wait()
	if err != nil && ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind, if anything
	}
	left := release(r, heard)
	said.flush()
	return Ran{said.String(), left}, explain(ctx, c.Args, err, said.String())
}

// release ends the reading of messages. If somebody holds the other end, a process without a part in anything drains it from now on: a service
// whose messages go nowhere goes on, and one whose pipe breaks may not.
func release(r *os.File, heard <-chan struct{}) (left bool) {
	select {
	case <-heard:
		_ = r.Close()
		return false
	case <-time.After(linger):
	}
	_ = r.SetReadDeadline(time.Now())
	<-heard
	drain := exec.Command("cat")
	drain.Stdin, drain.Dir, drain.SysProcAttr = r, "/", &syscall.SysProcAttr{Setsid: true}
	if drain.Start() == nil {
		_ = r.Close()
		_ = drain.Process.Release()
	}
	return true
}

// explain says why a program is no success.
func explain(ctx context.Context, args []string, err error, said string) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		return failed(args, exit, said)
	}
	return err
}
