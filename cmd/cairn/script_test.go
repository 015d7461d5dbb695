package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// scriptTB lets a script call what is made for tests.
type scriptTB struct {
	testing.TB // nil: only what is below is called
	ts         *testscript.TestScript
}

func (scriptTB) Helper()                             {}
func (b scriptTB) Fatal(args ...any)                 { b.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (b scriptTB) Fatalf(format string, args ...any) { b.ts.Fatalf(format, args...) }

func makeFixture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || (args[0] == "seafile") != (len(args) == 3) {
		ts.Fatalf("usage: fixture NAME DIR, or fixture seafile DIR DUMP")
	}
	dir := ts.MkAbs(args[1])
	switch args[0] {
	case "sophora":
		fixture.Sophora(scriptTB{ts: ts}, dir)
	case "js7":
		fixture.JS7(scriptTB{ts: ts}, dir)
	case "ocfl":
		fixture.OCFL(scriptTB{ts: ts}, dir, 3)
	case "modeshape":
		fixture.ModeShape(scriptTB{ts: ts}, dir, fixture.ModeShapeOptions{Changes: 2})
	case "seafile":
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), fixture.NewSeafile(scriptTB{ts: ts}, dir).Dump(), 0o600))
	default:
		ts.Fatalf("there is no fixture %s", args[0])
	}
}

// sameTree compares two trees as a restore has to bring them back.
func sameTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sametree DIR DIR")
	}
	if d := cmp.Diff(listTree(ts, args[0]), listTree(ts, args[1])); d != "" {
		ts.Fatalf("%s and %s differ: -first +second\n%s", args[0], args[1], d)
	}
}

// listTree tells each entry below a directory in one line, with the content of files.
func listTree(ts *testscript.TestScript, dir string) []string {
	dir = ts.MkAbs(dir)
	var list []string
	ts.Check(filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %s %d:%d", strings.TrimPrefix(name, dir), info.Mode(), owner.Uid, owner.Gid)
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %s %s", info.ModTime().Format(time.RFC3339Nano), fixture.SHA1(data))
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			if err != nil {
				return err
			}
			line += " -> " + to
		}
		list = append(list, line)
		return nil
	}))
	return list
}
