package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cairn/tests/fixture"
)

// exits runs a command and compares its exit code: testscript knows success and failure only.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		got = -1
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d: %v", got, want, err)
	}
}

func matches(ts *testscript.TestScript, pattern string) string {
	found, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(found) == 0 {
		ts.Fatalf("nothing matches %s", pattern)
	}
	return found[0]
}

// flip inverts a byte in the middle of the first file that matches a pattern.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip GLOB")
	}
	name := matches(ts, args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	data[len(data)/2] ^= 0xff
	ts.Check(os.Chmod(name, 0o600))
	ts.Check(os.WriteFile(name, data, 0o600))
}

// firstOf sets a variable to the first file that matches a pattern.
func firstOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: first VARIABLE GLOB")
	}
	ts.Setenv(args[0], matches(ts, args[1]))
}

// sleep waits, for what goes by the clock.
func sleep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sleep DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

// makeFixture makes a tree of a product; of seafile also the dump of its database.
func makeFixture(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[0] == "seafile" && len(args) != 3 {
		ts.Fatalf("usage: fixture KIND DIR [DUMP]")
	}
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o700))
	switch args[0] {
	case "modeshape":
		fixture.ModeShape(t, dir, fixture.ModeShapeOptions{Changes: 2})
	case "seafile":
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), fixture.NewSeafile(t, dir).Dump(), 0o600))
	case "ocfl":
		fixture.OCFL(t, dir, 3)
	default:
		ts.Fatalf("no fixture %s", args[0])
	}
}
