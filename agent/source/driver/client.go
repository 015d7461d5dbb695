package driver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/remote"
)

// client runs the client programs of one server.
type client struct {
	prefix   []string
	password string
	where    string   // the server, for messages; empty: this machine's socket
	env      []string // of all programs
	stderr   io.Writer
}

// newClient reads the password.
func newClient(ctx context.Context, s source.Server, o Options) (*client, error) {
	c := &client{prefix: s.Client, where: address(s), env: environment(), stderr: o.Stderr}
	if s.Password == nil {
		return c, nil
	}
	value, err := s.Password.Value(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	c.password = value.Reveal()
	if strings.ContainsRune(c.password, 0) {
		return nil, errors.New("the password has a NUL in it")
	}
	return c, nil
}

// address names a server in messages.
func address(s source.Server) string {
	if s.Port != 0 {
		return cmp.Or(s.Host, "localhost") + ":" + strconv.Itoa(s.Port)
	}
	return s.Host
}

// environment is what is left of ours for a client program: it has no business with the archive and its stores.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CAIRN_") || strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "MINIO_")
	})
}

// command is a program with arguments, behind the prefix.
func (c *client) command(args ...string) process.Command {
	return process.Command{Args: slices.Concat(c.prefix, args), Env: c.env, Stderr: c.stderr, Mask: []string{c.password}}
}

// tool is a client program that is there.
type tool struct {
	name    string
	version string // what it says, one line
}

const (
	toolTimeout = time.Minute // for a program to say its version
	askTimeout  = 5 * time.Minute
	askLimit    = 16 << 20 // bytes of an answer
)

// find returns the first of the programs that is there and can say its version. Behind a prefix nothing else tells whether a program exists.
func (c *client) find(ctx context.Context, names ...string) (tool, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	var first error
	for _, name := range names {
		out, err := process.Output(ctx, c.command(name, "--version"), 64<<10)
		if err == nil {
			line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
			return tool{name, line}, nil
		}
		if first == nil || errors.Is(first, exec.ErrNotFound) {
			first = err
		}
	}
	hint := "install the client programs of the database, or name in `client:` how they are started"
	return tool{}, remote.WithHint(fmt.Errorf("find %s: %w", strings.Join(names, " or "), first), hint)
}

// ask runs a program that answers briefly.
func (c *client) ask(ctx context.Context, cmd process.Command) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := process.Output(ctx, cmd, askLimit)
	return strings.TrimSuffix(string(out), "\n"), c.explain(err)
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// random makes a word that nobody can foresee.
func random() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
