package perform

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/fedora"
	"cairn/agent/source/held"
	"cairn/agent/source/paper"
	"cairn/agent/source/restore"
	"cairn/agent/source/run"
	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// world is an archive in memory, and a directory in which applications live: DIR in texts.
type world struct {
	t   *testing.T
	dir string
	a   *archive.Archive
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, key := mem.New(), [32]byte{1, 2, 3}
	members := []archive.Member{{URL: "mem", Store: store}}
	_, err := archive.Init(t.Context(), members, archive.InitOptions{Data: 1, Now: time.Unix(1_800_000_000, 0), Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewKeyFileSlot(k, "test", key, time.Unix(1_800_000_000, 0))
		return []*seal.Slot{s}, err
	}})
	check(t, err)
	a, err := archive.Open(t.Context(), members, archive.Options{
		Credentials: []seal.Credential{{KeyFile: &key}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		Notice:      func(text string) { t.Logf("notice: %s", text) },
	})
	check(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return &world{t: t, dir: t.TempDir(), a: a}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) text(s string) string { return strings.ReplaceAll(s, "DIR", w.dir) }

func (w *world) write(name, text string) {
	w.t.Helper()
	name = filepath.Join(w.dir, name)
	check(w.t, os.MkdirAll(filepath.Dir(name), 0o755))
	check(w.t, os.WriteFile(name, []byte(w.text(text)), 0o644))
}

func (w *world) read(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	check(w.t, err)
	return string(data)
}

func (w *world) remove(names ...string) {
	w.t.Helper()
	for _, name := range names {
		check(w.t, os.RemoveAll(filepath.Join(w.dir, name)))
	}
}

func (w *world) parse(text string) *source.File {
	w.t.Helper()
	f, err := source.Parse("app.yaml", []byte(w.text(text)), source.ParseOptions{})
	check(w.t, err)
	return f
}

// run makes a snapshot of a source.
func (w *world) run(f *source.File) *snapshot.Snapshot {
	w.t.Helper()
	j, err := run.Plan(f, run.Choice{Machine: "here"})
	check(w.t, err)
	r, err := run.Run(w.t.Context(), j, run.Options{
		State: run.NewState(filepath.Join(w.t.TempDir(), "state")), Fedora: takeFedora,
		Open: func(ctx context.Context, j *run.Job) (*run.Target, error) {
			writer, err := w.a.NewWriter(ctx)
			return &run.Target{Saver: writer, Options: backup.Options{Params: w.a.Chunker(), Series: j.Series, Progress: new(backup.Progress)}}, err
		},
	})
	check(w.t, err)
	s, err := w.a.Snapshot(w.t.Context(), r.Backup.ID)
	check(w.t, err)
	return s
}

func takeFedora(ctx context.Context, name string, p *source.Part, damaged bool) (*run.Staged, error) {
	s, err := fedora.Backup(ctx, p.Fedora, fedora.Options{Name: name, Damaged: damaged})
	if err != nil {
		return nil, err
	}
	return &run.Staged{Parts: s.Parts(p.Name, paper.StreamPath(p.Name, "")), Close: s.Close}, nil
}

// plan plans to restore a source from a snapshot.
func (w *world) plan(s *snapshot.Snapshot, now *source.File, o restore.Options) *restore.Plan {
	w.t.Helper()
	origin, err := held.Open(w.t.Context(), w.a, s, "")
	check(w.t, err)
	p, err := restore.New(w.t.Context(), w.a, []*held.Origin{origin}, now, o)
	check(w.t, err)
	return p
}

// teller notes what is told, and what databases get.
type teller struct {
	mu    sync.Mutex
	lines []string
	got   map[string]string // database → stream
	fail  error             // of every database
	full  error             // of servers
	used  error             // of embedded ones
}

func (n *teller) note(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *teller) text() string { return strings.Join(n.lines, "\n") }

func (n *teller) Restore(_ context.Context, j restore.Job, src io.Reader) ([]string, error) {
	data, err := io.ReadAll(src)
	if err == nil {
		err = n.fail
	}
	n.note("database " + j.Part.Name + "/" + j.File)
	if n.got == nil {
		n.got = map[string]string{}
	}
	n.got[j.Part.Name+"/"+j.File+" "+j.Database+">"+j.As] = string(data)
	return nil, err
}

func (n *teller) Ready(context.Context, restore.Job, []string) error { return n.full }

func (n *teller) Stopped(source.Part) ([]string, error) { return nil, n.used }

func (n *teller) tools() Tools {
	return Tools{Databases: n, Tell: func(e Event) {
		line := e.Source + ": " + string(e.Stage) + ": " + e.Text
		if e.Warn {
			line = "warning: " + line
		}
		n.note(line)
	}}
}
