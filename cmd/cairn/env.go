package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"cairn/remote/limit"
	"cairn/snapshot"
)

// env is what a command sees of the world, so that tests can give it another one.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	terminal       bool // stderr is a terminal: progress may redraw its line

	triedDefault string // the default key file, when nothing else was given to open the archive with

	quiet    bool
	json     bool
	progress time.Duration // how often long work says how far it is; 0: as it fits the output
	printing sync.Mutex    // results and progress are whole lines

	up, down   *limit.Rate    // shared by all members; nil: no limits
	tasks      sync.WaitGroup // what runs beside a command and ends with it
	pollLimits time.Duration  // how often the archive file is looked at; 0: limitsEvery
	collecting *collecting    // nil in tests, and where the environment says GOGC
	overlap    bool           // see overlapWaiting; not in tests, nor where the environment says GOMAXPROCS
	salvage    bool           // go on with fewer members than are needed
	faults     faults         // nothing, but in the program that tests build with -tags faults

	reading []*snapshot.Snapshot // what the command reads from (see meanwhile)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// say writes a line for people to stderr; with --json or --quiet it is not wanted.
func (e *env) say(format string, args ...any) {
	if !e.quiet && !e.json {
		fmt.Fprintf(e.stderr, format+"\n", args...)
	}
}

// warn writes a warning to stderr, always: warnings are not noise.
func (e *env) warn(format string, args ...any) {
	fmt.Fprintf(e.stderr, "warning: "+format+"\n", args...)
}

// print writes a line of the command's result to stdout.
func (e *env) print(format string, args ...any) { fmt.Fprintf(e.stdout, format+"\n", args...) }

// printJSON writes one value as one line of JSON to stdout.
func (e *env) printJSON(v any) error {
	e.printing.Lock()
	defer e.printing.Unlock()
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// The three places of the XDG base directory specification that cairn uses.

func (e *env) dataDir() (string, error)   { return e.xdg("XDG_DATA_HOME", ".local/share") }
func (e *env) configDir() (string, error) { return e.xdg("XDG_CONFIG_HOME", ".config") }
func (e *env) cacheDir() (string, error) {
	if dir := e.getenv("CAIRN_CACHE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	return e.xdg("XDG_CACHE_HOME", ".cache")
}

func (e *env) xdg(variable, below string) (string, error) {
	if dir := e.getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cairn"), nil
	}
	home := e.getenv("HOME")
	if home == "" {
		return "", hint(errors.New("neither HOME nor "+variable+" is set"), "set HOME, or name places with CAIRN_ARCHIVE and CAIRN_CACHE_DIR")
	}
	return filepath.Join(home, below, "cairn"), nil
}
