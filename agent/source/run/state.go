package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cairn/agent/source"
	"cairn/agent/source/hook"
	"cairn/remote"
)

// State is the directory with the notes and locks of runs: for each source NAME.json, NAME.lock, and NAME.hook, the program of a
// hook that was begun last.
type State struct{ dir string }

// hookStarted notes the program of a hook, for the case that this process is killed before it ends. It need not outlive the machine, and
// without it a recovery only does not wait for it.
func (s *State) hookStarted(name string) func(pid int) {
	return func(pid int) { _ = os.WriteFile(s.path(name, ".hook"), []byte(hook.Mark(pid)), 0o600) }
}

// hookAtWork is the mark of the last hook of a run that broke off.
func (s *State) hookAtWork(name string) string {
	f, err := os.Open(s.path(name, ".hook"))
	if err != nil {
		return ""
	}
	data, _ := io.ReadAll(io.LimitReader(f, 200))
	_ = f.Close() // only read
	return string(data)
}

// NewState names the directory; it is made when something is written to it.
func NewState(dir string) *State { return &State{filepath.Join(dir, "running")} }

// BusyError means that a run of the source is at work.
type BusyError struct {
	Source string
	Who    string // what the lock says, may be empty
}

func (e *BusyError) Error() string {
	text := "a run of " + e.Source + " is at work"
	if e.Who != "" {
		text += " (" + e.Who + ")"
	}
	return text
}

// Lock is held while a source is run. Programs that the run starts do not inherit it.
type Lock struct{ f *os.File }

// Lock takes the lock of a source, or returns a *BusyError.
func (s *State) Lock(name string) (*Lock, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, remote.WithHint(fmt.Errorf("directory for notes and locks: %w", err), "name another one with XDG_STATE_HOME or STATE_DIRECTORY")
	}
	f, err := os.OpenFile(s.path(name, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		who, _ := io.ReadAll(io.LimitReader(f, 200)) // only said to people
		return nil, errors.Join(&BusyError{name, string(bytes.TrimSpace(who))}, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	// The file stays when the lock goes: whoever removed it could remove that of somebody who just took it.
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d, since %s\n", os.Getpid(), time.Now().Format(time.RFC3339))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// Close gives the lock back.
//
// A program that is being started has our descriptors until it is executed, so closing alone would not do: the lock would be held for that time.
func (l *Lock) Close() {
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	_ = l.f.Close()
}

func (s *State) path(name, ending string) string { return filepath.Join(s.dir, name+ending) }

const (
	noteVersion = 1
	maxNote     = 4 << 20
)

// Note says what has to be run when the run that wrote it breaks off. It names secrets and holds none.
type Note struct {
	Version int           `json:"version"`
	Source  string        `json:"source"`
	Class   source.Class  `json:"class,omitempty"`
	Host    string        `json:"host"`
	Series  string        `json:"series"`
	Path    string        `json:"path,omitempty"` // of the source file, for people
	PID     int           `json:"pid"`            // for people; the lock says whether it is alive
	Began   time.Time     `json:"began"`
	Program string        `json:"program,omitempty"`
	Dir     string        `json:"dir"` // where the hooks were to run
	Finally []source.Hook `json:"finally"`
	// Longest is how long a hook of before or finally may take: as long may one be at work that the run left behind.
	Longest time.Duration `json:"longest,omitempty"`

	file string
}

// Write makes the note of a job durable. The lock of the source must be held.
func (s *State) Write(j *Job, now time.Time, program string) (*Note, error) {
	n := &Note{Version: noteVersion, Source: j.File.Name, Class: j.Class, Host: j.Host, Series: j.Series, Path: j.File.Path, PID: os.Getpid(), Began: now,
		Program: program, Finally: j.Hooks().Finally, Longest: longest(j.Hooks()), file: s.path(j.File.Name, ".json")}
	var err error
	if n.Dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(n, "", "  ")
	if err == nil && len(data) > maxNote {
		err = fmt.Errorf("the finally hooks take %d bytes", len(data))
	}
	if err != nil {
		return nil, err
	}
	return n, s.durable(n.file, append(data, '\n'))
}

// longest is the longest time that a hook of before or finally may take.
func longest(h source.Hooks) (limit time.Duration) {
	for _, list := range [][]source.Hook{h.Before, h.Finally} {
		for i := range list {
			limit = max(limit, hook.Limit(&list[i]))
		}
	}
	return limit
}

// durable writes a file so that it is there, whole, after a power failure.
func (s *State) durable(name string, data []byte) error {
	f, err := os.CreateTemp(s.dir, ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(s.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Remove removes the note. That this is durable does not matter: finally hooks may run twice.
func (n *Note) Remove() error {
	_ = os.Remove(strings.TrimSuffix(n.file, ".json") + ".hook") // without a note nobody asks for it
	if err := os.Remove(n.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the note of the run: %w", err)
	}
	return nil
}

// read returns the note of a source; nil when there is none.
func (s *State) read(name string) (*Note, error) {
	f, err := os.Open(s.path(name, ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxNote+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	n := &Note{file: f.Name()}
	if err := json.Unmarshal(data, n); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if n.Version != noteVersion || n.Source != name {
		return nil, fmt.Errorf("%s is of version %d for source %q, and this program knows version %d", f.Name(), n.Version, n.Source, noteVersion)
	}
	return n, nil
}

// names are the sources that have notes.
func (s *State) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name, is := strings.CutSuffix(e.Name(), ".json"); is {
			names = append(names, name)
		}
	}
	return names, err
}
