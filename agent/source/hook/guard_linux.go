package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cairn/agent/source"
)

const (
	portTimeout = 5 * time.Second
	maxPIDFile  = 4 << 10
)

// Unmet is a guard that does not hold.
type Unmet struct {
	Guard source.Guard
	Why   string
}

func (u *Unmet) Error() string { return "guard: " + u.Why }

// Hint names the operator's next step.
func (u *Unmet) Hint() string {
	g := u.Guard
	switch {
	case g.NotRunning != "" || g.PIDFile != "" || g.LockFile != "":
		return "let that process end, or stop it, and run this again"
	case g.PortClosed != "":
		return "stop what listens there, and run this again"
	case g.PortOpen != "":
		return "start what is to listen there, and run this again"
	}
	return ""
}

// Guards asks all guards and returns those that do not hold. A guard that cannot be asked does not hold.
func Guards(ctx context.Context, guards []source.Guard) (unmet []*Unmet) {
	for _, g := range guards {
		if why := ask(ctx, g); why != "" {
			unmet = append(unmet, &Unmet{g, why})
		}
	}
	return unmet
}

// ask says why a guard does not hold, or nothing.
func ask(ctx context.Context, g source.Guard) string {
	var why string
	var err error
	switch {
	case g.NotRunning != "":
		why, err = running(g.NotRunning)
	case g.PortClosed != "":
		why, err = port(ctx, g.PortClosed, false)
	case g.PortOpen != "":
		why, err = port(ctx, g.PortOpen, true)
	case g.PIDFile != "":
		why, err = pidFile(g.PIDFile)
	case g.LockFile != "":
		why, err = lockFile(g.LockFile)
	case g.Absent != "":
		if _, err = os.Lstat(g.Absent); err == nil {
			return g.Absent + " is there"
		}
		err = unlessGone(err)
	}
	if err != nil {
		return "it cannot be told whether it holds: " + err.Error()
	}
	return why
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// running looks for a process of a name.
func running(name string) (string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if isNamed(pid, name) {
			return fmt.Sprintf("%s is running (process %d)", name, pid), nil
		}
	}
	return "", nil
}

// interpreters run scripts; then the script's name is that of the process.
var interpreters = []string{"sh", "bash", "dash", "ash", "ksh", "zsh", "perl", "python", "ruby", "node", "php"}

// isNamed compares the name that the kernel knows (15 bytes of it), and that of the program or script on the command line.
func isNamed(pid int, name string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if err != nil || open < 0 || end+2 >= len(stat) || stat[end+2] == 'Z' || stat[end+2] == 'X' {
		return false // it has ended
	}
	if len(name) <= 15 && string(stat[open+1:end]) == name {
		return true
	}
	f, err := os.Open(dir + "/cmdline")
	if err != nil {
		return false
	}
	line, err := io.ReadAll(io.LimitReader(f, 64<<10))
	_ = f.Close() // only read
	args := strings.Split(string(line), "\x00")
	if err != nil {
		return false
	}
	program := filepath.Base(args[0])
	if program == name {
		return true
	}
	if !slices.Contains(interpreters, strings.TrimRight(program, "0123456789.")) {
		return false
	}
	for _, arg := range args[1:] {
		if !strings.HasPrefix(arg, "-") {
			return filepath.Base(arg) == name
		}
	}
	return false
}

// port connects. That nobody answers within 5 s counts as closed.
func port(ctx context.Context, text string, open bool) (string, error) {
	host, number, err := source.SplitPort(text)
	if err != nil {
		return "", err
	}
	address := net.JoinHostPort(host, strconv.Itoa(number))
	conn, err := (&net.Dialer{Timeout: portTimeout}).DialContext(ctx, "tcp", address)
	var unknown *net.DNSError
	switch {
	case err == nil:
		_ = conn.Close()
		if !open {
			return "somebody answers at " + address, nil
		}
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, &unknown):
		return "", err
	case open:
		return fmt.Sprintf("nobody answers at %s (%v)", address, err), nil
	}
	return "", nil
}

func pidFile(name string) (string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", unlessGone(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPIDFile))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	word := strings.Fields(string(data) + " -")[0]
	pid, err := strconv.Atoi(word)
	if err != nil || pid <= 0 {
		return "", fmt.Errorf("%s holds no number of a process", name)
	}
	if Alive(pid) {
		return fmt.Sprintf("process %d of %s is running", pid, name), nil
	}
	return "", nil
}

// Alive says whether there is a process of this number that has not ended.
func Alive(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return !bytes.Contains(stat, []byte(") Z "))
}

// lockFile asks for both kinds of lock: those of fcntl (Java, databases) and of flock.
func lockFile(name string) (string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", unlessGone(err)
	}
	defer func() { _ = f.Close() }()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return "", fmt.Errorf("ask for locks on %s: %w", name, err)
	}
	if l.Type != unix.F_UNLCK {
		if l.Pid > 0 {
			return fmt.Sprintf("%s is locked by process %d", name, l.Pid), nil
		}
		return name + " is locked", nil
	}
	// Shared, so that only an exclusive lock is in the way; and given back with the descriptor.
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return name + " is locked", nil
	case err != nil:
		return "", fmt.Errorf("ask for locks on %s: %w", name, err)
	}
	return "", nil
}
