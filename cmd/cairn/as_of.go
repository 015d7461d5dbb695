package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/remote"
	"cairn/snapshot"
)

// A view of an earlier time: --as-of TIME, CAIRN_AS_OF=TIME, or @TIME behind the archive's name ("/etc/cairn/archive.yaml@2026-11-20T03:00"). All
// members are then opened as they were, to be read only, with an index of their own in memory.

// readers are the commands that a view is of use to.
var readers = map[string]bool{"snapshots": true, "ls": true, "find": true, "diff": true, "restore": true, "dump": true, "stats": true,
	"status": true, "check": true, "copy": true, "mount": true, "list": true, "plan": true}

// setAsOf finds out whether a command is about an earlier time, and takes @TIME off the archive's name.
func (e *env) setAsOf(c *cli.Context, named []string) ([]string, time.Time, error) {
	texts := []string{}
	if text := value(c, "as-of"); text != "" {
		texts = append(texts, text)
	}
	bare := make([]string, len(named))
	for i, name := range named {
		var text string
		if bare[i], text = e.cutTime(name); text != "" {
			texts = append(texts, text)
		}
	}
	if text := e.getenv("CAIRN_AS_OF"); text != "" && len(texts) == 0 {
		texts = append(texts, text)
	}
	var at time.Time
	for i, text := range texts {
		t, err := snapshot.ParseTime(text, e.now())
		switch {
		case err != nil:
			return nil, at, &exitError{exitUsage, fmt.Errorf("as of: %w", err)}
		case i > 0 && !t.Equal(at):
			return nil, at, usage("the archive as of %s and as of %s at once", texts[0], text)
		}
		at = t
	}
	if !at.IsZero() && !readers[c.Command.Name] {
		return nil, at, &exitError{exitUsage, hint(fmt.Errorf("%s works on the archive as it is now, not as of an earlier time", c.Command.Name),
			"--as-of (CAIRN_AS_OF) is for snapshots, ls, find, diff, restore, dump, stats, status, check, and the source of copy")}
	}
	return bare, at, nil
}

// cutTime takes @TIME off a name. What exists under the whole name is meant as it stands.
func (e *env) cutTime(name string) (bare, text string) {
	i := strings.LastIndexByte(name, '@')
	if i <= 0 {
		return name, ""
	}
	if _, err := snapshot.ParseTime(name[i+1:], e.now()); err != nil {
		return name, ""
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) && !strings.Contains(name, "://") {
		return name, ""
	}
	return name[:i], name[i+1:]
}

// then is a store as a command is to see it.
func (p *place) then(s remote.Store) remote.Store {
	if p.asOf.IsZero() {
		return s
	}
	return remote.AsOf(s, p.asOf)
}
