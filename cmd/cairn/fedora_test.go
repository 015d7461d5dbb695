package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/tests/fixture"
)

// bench is an archive with one source: a repository that backs itself up.
type fedoraBench struct {
	t    *testing.T
	home string
	vars map[string]string
}

func newFedoraBench(t *testing.T, f *fixture.Fedora, extra string) *fedoraBench {
	t.Helper()
	home := t.TempDir()
	b := &fedoraBench{t, home, map[string]string{"HOME": home, "CAIRN_ARCHIVE": home + "/archive", "CAIRN_SOURCES": home + "/sources", "CAIRN_CACHE_DIR": home + "/cache",
		"CAIRN_KEY_FILE": home + "/key", "STATE_DIRECTORY": home + "/state"}}
	fixture.Write(t, home+"/sources/repo.yaml", fmt.Appendf(nil, "source: repo\nparts:\n  - name: fedora\n    fedora:\n      url: %s\n      staging: %s/staging\n%s", f.URL, home, extra))
	if err := os.Mkdir(home+"/staging", 0o755); err != nil {
		t.Fatal(err)
	}
	b.cairn(0, "init", "--new-key-file", home+"/key", home+"/archive")
	return b
}

// cairn runs a command in this process and returns what it printed to both.
func (b *fedoraBench) cairn(want int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	return b.within(ctx, want, args...)
}

func (b *fedoraBench) within(ctx context.Context, want int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	var out, said bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &said, now: time.Now, getenv: func(k string) string { return b.vars[k] }}
	if got := run(ctx, append([]string{"cairn"}, args...), e); got != want {
		b.t.Fatalf("cairn %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, &out, &said)
	}
	return out.String(), said.String()
}

// snapshots is how many there are, and that nothing is left in the staging directory.
func (b *fedoraBench) snapshots(want int) {
	b.t.Helper()
	out, _ := b.cairn(0, "snapshots", "--json")
	if got := strings.Count(out, "\n"); got != want {
		b.t.Errorf("%d snapshots, want %d", got, want)
	}
	entries, err := os.ReadDir(b.home + "/staging")
	if err != nil || len(entries) > 0 {
		b.t.Errorf("left in the staging directory: %v, %v", entries, err)
	}
}

// C1, C2, C5, C7, C8, C9, C13: a repository is backed up by asking it, documents that did not change are not stored twice, and it comes back by asking
// it, after somebody agreed.
func TestFedoraThereAndBack(t *testing.T) {
	t.Parallel()
	f := (&fixture.Fedora{Relational: true, Content: fixture.ModeShapeOptions{Documents: 400, PerFile: 150, Changes: 2, Double: true}}).Start(t)
	b := newFedoraBench(t, f, "")
	b.cairn(0, "source", "run", "repo")
	b.snapshots(1)
	out, _ := b.cairn(0, "ls", "latest:/.cairn/streams/fedora")
	for _, name := range []string{"documents_000003.bin", "binaries", "changes"} {
		if !strings.Contains(out, name+"\n") && !strings.Contains(out, name+"/") {
			t.Errorf("the snapshot lacks %s:\n%s", name, out)
		}
	}
	if strings.Contains(out, ".gz") {
		t.Errorf("compressed documents were kept:\n%s", out)
	}
	out, _ = b.cairn(0, "source", "run", "repo", "--json")
	var second struct {
		BytesNew int64 `json:"bytes_new"`
	}
	if err := json.Unmarshal([]byte(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]), &second); err != nil {
		t.Fatal(err)
	}
	if second.BytesNew > 20_000 { // the run's own papers
		t.Errorf("the second run stored %d bytes anew", second.BytesNew)
	}
	b.snapshots(2)

	posts := len(f.Posts())
	b.cairn(1, "source", "restore", "repo")
	b.cairn(0, "source", "restore", "repo", "--dry-run")
	if got := f.Posts(); len(got) != posts {
		t.Errorf("posted without consent: %q", got[posts:])
	}
	b.cairn(0, "source", "restore", "repo", "--yes")
	if docs, bins := f.Has(); docs != 400 || bins != 4 {
		t.Errorf("the repository has %d documents and %d binaries", docs, bins)
	}
	if got := f.Document("87a0a8c317f1e700000001"); !strings.Contains(got, "changed meanwhile") {
		t.Errorf("changes were not put last: %s", got)
	}
	b.snapshots(2)

	// Without this program's restore: what is exported is a directory that Fedora and the verification read.
	b.cairn(0, "export", "latest:/.cairn/streams/fedora", "--format", "tree", "--to", b.home+"/plain")
	b.cairn(0, "verify", "--format", "modeshape", b.home+"/plain")
}

// C11, C12: from a backup that is damaged there is no snapshot, and the exit code says so; forced, there is a partial one.
func TestFedoraDamagedIsNoSnapshot(t *testing.T) {
	t.Parallel()
	damaged := fixture.ModeShapeDefects()[2]
	f := (&fixture.Fedora{Hurt: damaged.Apply}).Start(t)
	b := newFedoraBench(t, f, "")
	_, said := b.cairn(1, "source", "run", "repo")
	if !strings.Contains(said, "the backup is damaged") || !strings.Contains(said, "documents_000002.bin.gz") || !strings.Contains(said, "hint: ") {
		t.Errorf("%s: it said %q", damaged.Name, said)
	}
	b.snapshots(0)
	b.cairn(3, "source", "run", "repo", "--force")
	b.snapshots(1)
	posts := len(f.Posts())
	_, said = b.cairn(1, "source", "restore", "repo", "--from", "latest", "--yes", "--allow-partial")
	if got := f.Posts(); len(got) != posts {
		t.Errorf("a damaged backup was posted: %q (%s)", got, said)
	}
	b.snapshots(1)
}

// C6: Ctrl-C ends a run that waits for the repository; there is no snapshot, and nothing is left.
func TestFedoraInterrupted(t *testing.T) {
	t.Parallel()
	f := (&fixture.Fedora{Wait: make(chan struct{}), Arrived: make(chan struct{}, 1)}).Start(t)
	b := newFedoraBench(t, f, "")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.Arrived; cancel() }()
	b.within(ctx, 130, "source", "run", "repo")
	cancel()
	close(f.Wait)
	b.snapshots(0)
}

// C2, C17: when the repository refuses, its own words are told.
func TestFedoraRefuses(t *testing.T) {
	t.Parallel()
	f := (&fixture.Fedora{}).Start(t)
	b := newFedoraBench(t, f, "")
	b.cairn(0, "source", "run", "repo")
	f.SetProblems("BatchUpdateException: 87a0a8c317f1e7jcr:system/mode:metadata")
	_, said := b.cairn(1, "source", "restore", "repo", "--yes")
	if !strings.Contains(said, "87a0a8c317f1e7jcr:system/mode:metadata") || !strings.Contains(said, "may be empty or half filled") {
		t.Errorf("it said %q", said)
	}
	_, said = b.cairn(1, "source", "run", "repo")
	if !strings.Contains(said, "status 500: BatchUpdateException") {
		t.Errorf("it said %q", said)
	}
	b.snapshots(1)
	if _, err := os.Stat(filepath.Join(b.home, "cache", "fedora", "repo-fedora")); err != nil {
		t.Error(err)
	}
}
