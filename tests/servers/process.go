package servers

import (
	"io"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func launch(program string, args, env []string, log io.Writer) (*process, error) {
	p := &process{exec.Command(program, args...), make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		// The signal is sent when the thread that started the process ends, so that thread is kept until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed most of the time
		}
	}()
	return p, <-started
}

// stop sends a signal, and a harder one when that is not enough, and waits for the end.
func (p *process) stop(signal unix.Signal) {
	for _, s := range []unix.Signal{signal, unix.SIGKILL} {
		_ = p.cmd.Process.Signal(s) // it may be gone
		select {
		case <-p.ended:
			return
		case <-time.After(5 * time.Second):
		}
	}
	<-p.ended
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailMax = 16 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if len(l.text) > 2*tailMax {
		l.text = append(l.text[:0], l.text[len(l.text)-tailMax:]...)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-tailMax):])
}
