package driver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
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
	env      []string // of all programs
	stderr   io.Writer
}

// newClient reads the password.
func newClient(ctx context.Context, s source.Server, o Options) (*client, error) {
	c := &client{prefix: s.Client, env: environment(), stderr: o.Stderr}
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

// explain adds what may help when a program behind a prefix was refused.
func (c *client) explain(err error) error {
	var failed *process.Error
	if err == nil || !errors.As(err, &failed) {
		return err
	}
	said := strings.ToLower(failed.Stderr)
	if !strings.Contains(said, "password") {
		return err
	}
	if len(c.prefix) > 0 && c.password != "" {
		return remote.WithHint(err, "the password is in the environment of "+c.prefix[0]+
			": let it hand it on (docker exec -e PGPASSWORD, or -e MYSQL_PWD), or let the user in without one there")
	}
	return remote.WithHint(err, "see which user and password the source file names for this server")
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
