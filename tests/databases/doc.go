// Package databases starts real PostgreSQL and MariaDB servers for tests, each in a directory of its own below the system's temporary one, on
// a free port and a socket with a short path. A test that runs as root runs the server as the user of its package. The servers take no care of
// their data in a power failure, so that they are quick, and end with the test's process, however that ends.
package databases

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// ErrMissing means that the server's package is not installed, so that its tests are to be skipped.
var ErrMissing = errors.New("not installed")

// patience is how long a server may take to answer for the first time, and a writer to come on. Machines that run many tests at once are slow.
const patience = 60 * time.Second

// Server is one that runs.
type Server struct {
	Dir      string // of its data and its socket
	Port     int    // on 127.0.0.1
	User     string // who may do everything
	Password string // needed on the port, and by PostgreSQL also on the socket
	Socket   string // PostgreSQL: directory; MariaDB: file

	cmd   *exec.Cmd
	ended chan struct{}
	log   string
	once  sync.Once
	free  func() // gives the port back
}

// account is whom a server runs as; nil: as ourselves.
func account(name string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, ErrMissing)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// home makes the directory of a server.
func home(prefix string, as *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err == nil && as != nil {
		err = os.Chown(dir, int(as.Uid), int(as.Gid))
	}
	return dir, err
}

// command is a program of the server's package, run as its user in its directory.
func command(dir string, as *syscall.Credential, args ...string) *exec.Cmd {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C.UTF-8"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	return c
}

// setUp runs a program that prepares the data.
func setUp(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, out)
	}
	return nil
}

// launch starts the server and waits until ready says so.
func (s *Server) launch(c *exec.Cmd, ready func() error) error {
	s.log = filepath.Join(s.Dir, "log")
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the server has its own descriptor
	c.Stdout, c.Stderr = log, log
	s.cmd, s.ended = c, make(chan struct{})
	started := make(chan error, 1)
	go func() {
		defer close(s.ended)
		// The signal is sent when the thread that started the server ends, so that thread is kept until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			err = errors.New("it ended")
		default:
			if time.Now().Before(end) {
				continue
			}
		}
		text, _ := os.ReadFile(s.log)
		s.Stop()
		return fmt.Errorf("the server did not start: %w\n%s", err, text)
	}
}

// Stop ends the server at once and removes its data. It may be called again.
func (s *Server) Stop() {
	s.once.Do(func() {
		if s.cmd != nil && s.cmd.Process != nil {
			_ = s.cmd.Process.Signal(syscall.SIGQUIT) // PostgreSQL: at once; MariaDB ends, too
			select {
			case <-s.ended:
			case <-time.After(5 * time.Second):
				_ = s.cmd.Process.Kill()
				<-s.ended
			}
		}
		_ = os.RemoveAll(s.Dir)
		if s.free != nil {
			s.free()
		}
	})
}
