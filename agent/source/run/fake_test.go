package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk"
	"cairn/snapshot"
)

// store is an archive in memory.
type store struct {
	mu      sync.Mutex
	blobs   map[chunk.ID][]byte
	commits []*snapshot.Snapshot
	saved   func(plain []byte) // told of each new blob; may be nil
	refuse  error              // of commits
	failed  []error            // what Finish was told
}

func newStore() *store { return &store{blobs: map[chunk.ID][]byte{}} }

func (s *store) Save(_ context.Context, _ chunk.Type, plain []byte) (archive.Saved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := chunk.Sum(plain)
	if _, known := s.blobs[id]; known {
		return archive.Saved{ID: id}, nil
	}
	s.blobs[id] = bytes.Clone(plain)
	if s.saved != nil {
		s.saved(plain)
	}
	return archive.Saved{ID: id, New: true, Stored: len(plain)}, nil
}

func (s *store) Known(_ chunk.Type, ids []chunk.ID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if _, known := s.blobs[id]; !known {
			return false, nil
		}
	}
	return true, nil
}

func (s *store) Commit(_ context.Context, snap *snapshot.Snapshot) (chunk.ID, error) {
	if s.refuse != nil {
		return chunk.ID{}, s.refuse
	}
	plain, err := snap.Encode()
	s.commits = append(s.commits, snap)
	return chunk.Sum(plain), err
}

func (s *store) load(_ context.Context, id chunk.ID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if plain, known := s.blobs[id]; known {
		return plain, nil
	}
	return nil, errors.New("no such blob")
}

// files reads a snapshot back: the content of every file by its name, and links as "-> target".
func (s *store) files(t *testing.T, snap *snapshot.Snapshot) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := snapshot.Walk(t.Context(), s.load, snap.Content, snap.Depth, func(path string, n *snapshot.Node) error {
		name, text := "/"+strings.TrimPrefix(path, "/"), ""
		switch n.Type {
		case snapshot.File:
			for id, err := range snapshot.Content(t.Context(), s.load, n.Content, n.Depth) {
				if err != nil {
					return err
				}
				plain, err := s.load(t.Context(), id)
				if err != nil {
					return err
				}
				text += string(plain)
			}
			found[name] = text
		case snapshot.Symlink:
			found[name] = "-> " + string(n.Target)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// papers reads what the run said about itself.
func (s *store) paper(t *testing.T, snap *snapshot.Snapshot) *paper.Run {
	t.Helper()
	p, err := paper.Parse([]byte(s.files(t, snap)[paper.RunFile]))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is a machine with an application, its source file and an archive.
type world struct {
	*testing.T
	dir   string
	state *State
	store *store
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{t, dir, NewState(filepath.Join(dir, "state")), newStore()}
	w.write("data/content", "content of the application")
	w.write("config/app.properties", "a=b")
	return w
}

func (w *world) write(name, text string) {
	w.Helper()
	name = filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// log is what hooks wrote, in words.
func (w *world) log() string {
	data, err := os.ReadFile(filepath.Join(w.dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.Fatal(err)
	}
	return strings.Join(strings.Fields(string(data)), " ")
}

// source reads a source file, in which DIR stands for the directory of the test.
func (w *world) source(text string) *source.File {
	w.Helper()
	f, err := source.Parse("app.yaml", []byte(strings.ReplaceAll(text, "DIR", w.dir)), source.ParseOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return f
}

func (w *world) options() Options {
	w.Helper()
	poly, err := chunk.DerivePoly([32]byte{1, 2, 3})
	if err != nil {
		w.Fatal(err)
	}
	params := chunk.Params{Poly: poly, Min: 1 << 10, Max: 64 << 10, Bits: 10}
	return Options{State: w.state, Open: func(_ context.Context, j *Job) (*Target, error) {
		return &Target{Saver: w.store, Options: backup.Options{Params: params, Series: j.Series},
			Finish: func(_ context.Context, _ *backup.Report, failed error) ([]string, error) {
				w.store.failed = append(w.store.failed, failed)
				return nil, nil
			}}, nil
	}, Say: w.Logf}
}

func (w *world) plan(f *source.File, c Choice) *Job {
	w.Helper()
	c.Machine = "machine"
	j, err := Plan(f, c)
	if err != nil {
		w.Fatal(err)
	}
	return j
}

// run runs a source file.
func (w *world) run(text string, change ...func(*Options)) (*Report, error) {
	w.Helper()
	o := w.options()
	for _, f := range change {
		f(&o)
	}
	return Run(w.Context(), w.plan(w.source(text), Choice{}), o)
}

// idle says that nothing is noted as at work.
func (w *world) idle() {
	w.Helper()
	if names, err := w.state.names(); err != nil || len(names) > 0 {
		w.Errorf("notes of %v, %v", names, err)
	}
}

// hooks are those of an application that is stopped and started, with a word in the log for each.
const hooks = `
hooks:
  before: [{name: stop, shell: "echo stop >>DIR/log"}]
  finally: [{name: start, shell: "echo start:$CAIRN_OUTCOME >>DIR/log"}]
  after: [{name: tell, shell: "echo after:$CAIRN_OUTCOME >>DIR/log"}]
  on_error: [{name: cry, shell: "echo error:$CAIRN_OUTCOME >>DIR/log; echo $CAIRN_ERROR >DIR/error"}]
`

func dumpPart(shell string) string {
	return fmt.Sprintf("\n  - name: db\n    command: {file: app.sql, run: [sh, -c, %q]}", shell)
}
