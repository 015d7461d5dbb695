// Package secret reads passwords and tokens from where they are: an environment variable, a file, the output of a program, a credential of systemd.
//
// A Secret says where, and may be written down. A Hidden is the value: no way of printing or marshalling it shows it, and nothing in this package
// puts it into an error. Everything is read at the moment of use and bounded in size and time; nothing is kept.
package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cairn/agent/document"
	"cairn/remote"
)

// Secret names where a value is. Exactly one is set.
type Secret struct {
	Env        string   `yaml:"env"`
	File       string   `yaml:"file"`
	Command    []string `yaml:"command"`
	Credential string   `yaml:"credential"` // of systemd: a file in $CREDENTIALS_DIRECTORY
}

const (
	maxSecret     = 64 << 10    // bytes of a value
	secretTimeout = time.Minute // for the command: it may ask a key server, but no person
	maxComplaint  = 200         // bytes of what the command said on stderr that are repeated
)

// Hidden is the value of a secret. Whatever prints it prints stars; Reveal is the one way out.
type Hidden struct{ value []byte }

// Hide makes a Hidden of a value that was got in another way.
func Hide(value string) Hidden { return Hidden{[]byte(value)} }

const stars = "***"

// Reveal returns the value.
func (h Hidden) Reveal() string { return string(h.value) }

// IsZero says whether there is no value.
func (h Hidden) IsZero() bool { return len(h.value) == 0 }

func (h Hidden) String() string               { return stars }
func (h Hidden) GoString() string             { return stars }
func (h Hidden) MarshalText() ([]byte, error) { return []byte(stars), nil }

// Format is what fmt asks, for verbs that would look into the structure, too.
func (h Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, stars) }

// String names where a secret is.
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "environment variable " + s.Env
	case s.File != "":
		return "file " + s.File
	case len(s.Command) > 0:
		return "command " + s.Command[0] // its arguments may be private
	case s.Credential != "":
		return "credential " + s.Credential
	}
	return "no secret"
}

// Value reads a secret. One line end behind it does not belong to it; an empty value and one of several lines are refused.
func (s Secret) Value(ctx context.Context) (Hidden, error) {
	value, err := s.read(ctx)
	if err != nil {
		return Hidden{}, fmt.Errorf("secret from %s: %w", s, err)
	}
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	switch {
	case len(value) == 0:
		err = errors.New("it is empty")
	case len(value) > maxSecret:
		err = fmt.Errorf("it is longer than %d bytes", maxSecret)
	case bytes.ContainsAny(value, "\n\x00"):
		err = errors.New("it has more than one line")
	}
	if err != nil {
		return Hidden{}, fmt.Errorf("secret from %s: %w", s, err)
	}
	return Hidden{value}, nil
}

func (s Secret) read(ctx context.Context) ([]byte, error) {
	switch {
	case s.Env != "":
		value, set := os.LookupEnv(s.Env)
		if !set {
			return nil, errors.New("it is not set")
		}
		return []byte(value), nil
	case s.File != "":
		return readSecretFile(s.File)
	case len(s.Command) > 0:
		return runSecretCommand(ctx, s.Command)
	case s.Credential != "":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, remote.WithHint(errors.New("systemd gave no credentials"), "add LoadCredentialEncrypted="+s.Credential+":/etc/credstore.encrypted/"+s.Credential+" to the unit, or run it with systemd-run")
		}
		return readLimited(filepath.Join(dir, s.Credential)) // systemd sets its mode
	}
	return nil, errors.New("nothing says where it is")
}

// readSecretFile refuses a file that others than its owner and group can read or write: who put it there thinks that it is secret.
func readSecretFile(name string) ([]byte, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode()&0o006 != 0 && reachable(filepath.Dir(name)) {
		return nil, remote.WithHint(fmt.Errorf("everybody on this machine can read or change it (mode %04o)", info.Mode().Perm()), "chmod o-rwx "+name)
	}
	return readLimited(name)
}

// reachable says whether everybody may pass through a directory and those above it.
func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func readLimited(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not hang
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxSecret+3))
}

func runSecretCommand(ctx context.Context, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	// A group of its own, so that what the command started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, complaint := &capped{most: maxSecret + 3}, &capped{most: maxComplaint}
	cmd.Stdout, cmd.Stderr = out, complaint
	err := cmd.Run()
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("it did not end within %s", secretTimeout)
	case err != nil && len(complaint.data) > 0:
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(complaint.data)))
	}
	return out.data, err
}

// capped keeps the begin of what is written to it, and lets the rest pass.
type capped struct {
	data []byte
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	c.data = append(c.data, p[:min(len(p), c.most-len(c.data))]...)
	return len(p), nil
}

// ReadNode takes a secret from a source file: where it is, never what it is.
func (s *Secret) ReadNode(n *document.Node, d *document.Decoder) {
	if n.IsScalar() || n.Kind == document.List {
		d.Problems.Add(n.Place, "a secret is not written in the file, which is kept in each snapshot and read by many: say where it is, "+
			"with {credential: NAME}, {file: PATH}, {env: NAME} or {command: [PROGRAM, …]}")
		s.Env = "-" // it is given, if in the wrong way: that is enough to tell
		return
	}
	d.Struct(n, s)
}
