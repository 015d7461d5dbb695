package driver

import (
	"errors"
	"fmt"
	"strings"

	"cairn/agent/process"
	"cairn/remote"
)

// told is a program's failure as somebody wants to read it who was woken by it: which program, which server, and the line in which it says why.
// The arguments are left out: they hide the rest, and are no help to who did not write them. It is still a *process.Error for who asks.
type told struct {
	program, server string
	failed          *process.Error
}

func (t *told) Error() string {
	text := t.program
	if t.server != "" {
		text += " (server " + t.server + ")"
	}
	text += fmt.Sprintf(" ended with exit status %d", t.failed.ExitCode)
	if t.failed.Signal != "" {
		text = strings.TrimSuffix(text, " ended with exit status -1") + " was ended by a signal (" + t.failed.Signal + ")"
	}
	if why := reason(t.failed.Stderr); why != "" {
		text += ": " + why
	}
	return text
}

func (t *told) Unwrap() error { return t.failed }

// reason is the first line that tells of an error. What comes behind it are details, and questions such as whether the server is running.
func reason(said string) string {
	last := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		last = line
		for _, sign := range [...]string{"error", "fatal", "couldn't", "can't"} {
			if strings.Contains(strings.ToLower(line), sign) {
				return line
			}
		}
	}
	return last
}

// explain says what a program failed with, and what may be done.
func (c *client) explain(err error) error {
	var failed *process.Error
	if err == nil || !errors.As(err, &failed) {
		return err
	}
	t := &told{server: c.where, failed: failed}
	if len(failed.Args) > len(c.prefix) {
		t.program = failed.Args[len(c.prefix)]
	}
	if hint := c.advice(failed); hint != "" {
		return remote.WithHint(t, hint)
	}
	return t
}

// advices are what to do when a program says one of some texts. The first that fits is given.
var advices = [...]struct {
	says []string
	hint string
}{
	{[]string{"password"}, "see which user and password the source file names for this server"},
	{[]string{"connection refused", "can't connect", "is the server running", "could not translate host", "unknown server host", "unknown mysql server host", "timeout expired"},
		"see whether the database server runs, and which host and port the source file names"},
	{[]string{"closed the connection", "lost connection", "gone away", "terminating connection", "connection was killed"},
		"the server was stopped or restarted meanwhile, or somebody ended the connection there: its log says more"},
	{[]string{"lock timeout", "lock wait timeout"}, "somebody has locked a table for himself: see what else runs at that time"},
	{[]string{"server version mismatch"}, "install client programs that are not older than the server"},
	{[]string{"permission denied", "access denied", "command denied", "must be superuser"}, "the user has to be allowed to read everything that is dumped, or to make what is restored"},
	{[]string{"unknown database", "does not exist"}, "see which databases the source file names, and which the server has"},
}

func (c *client) advice(failed *process.Error) string {
	said := strings.ToLower(failed.Stderr)
	switch {
	case failed.Signal == "killed":
		return "somebody killed it, or the kernel did because memory was short: `journalctl -k` says so then"
	case strings.Contains(said, "password") && len(c.prefix) > 0 && c.password != "":
		return "the password is in the environment of " + c.prefix[0] + ": let it hand it on (docker exec -e PGPASSWORD, or -e MYSQL_PWD), or let the user in without one there"
	}
	for _, a := range advices {
		for _, text := range a.says {
			if strings.Contains(said, text) {
				return a.hint
			}
		}
	}
	return ""
}
