package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/agent/source"
	"cairn/archive/backup"
)

// D1, D8, A1, A5: a class with a schedule of its own has its own runs, series and keep, and does not stop the application; another machine's copy stands for its host.
func TestPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.source(`
source: js7
labels: {host: js7-primary}
keep: {daily: 7}
classes: {log: {schedule: "0 * * * *", keep: {last: 3}}, config: {restore: ask}}
guards: {backup: [{absent: /x}]}
parts:
  - {name: db, class: data, tree: {path: DIR/db}}
  - {name: config, class: config, tree: {path: DIR/config}}
  - {name: logs, class: log, tree: {path: DIR/logs}}
  - {name: state, class: never, tree: {path: DIR/state}}
  - {name: index, class: derived, tree: {path: DIR/index}}
` + hooks)
	for _, c := range []struct {
		Choice
		series, parts string
		keep          source.Keep
		stops         bool
	}{
		{Choice{}, "js7-primary/js7", "db config", source.Keep{Daily: 7}, true},
		{Choice{Class: source.Log}, "js7-primary/js7/log", "logs", source.Keep{Last: 3}, false},
		{Choice{Class: source.Config}, "js7-primary/js7/config", "config", source.Keep{}, false},
		{Choice{Class: source.Data}, "js7-primary/js7/data", "db", source.Keep{}, true},
		{Choice{AsHost: "other"}, "other/js7", "db config", source.Keep{Daily: 7}, true},
	} {
		j := w.plan(f, c.Choice)
		var parts []string
		for _, p := range j.Parts {
			parts = append(parts, p.Name)
		}
		if j.Series != c.series || strings.Join(parts, " ") != c.parts || j.Keep != c.keep || len(j.Parts)+len(j.LeftOut) != 5 {
			t.Errorf("%+v: %+v, parts %s", c.Choice, j, parts)
		}
		if got := len(j.Guards()) + len(j.Hooks().Before) + len(j.Hooks().Finally); (got == 3) != c.stops || len(j.Hooks().After) != 1 {
			t.Errorf("%+v: %d guards and hooks", c.Choice, got)
		}
	}
	for _, class := range []source.Class{source.Never, source.Derived, "transaction"} {
		if j, err := Plan(f, Choice{Class: class}); err == nil {
			t.Errorf("class %s: %+v", class, j)
		}
	}
	f = w.source("source: app\nclasses: {log: {schedule: '@daily'}}\nparts: [{class: log, tree: {path: DIR/logs}}]")
	if _, err := Plan(f, Choice{}); err == nil || !strings.Contains(err.Error(), "--class (log)") {
		t.Error(err)
	}
}

// D2, D9: nothing changed, no snapshot; the run's own report does not count.
func TestSkipIfUnchanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := "source: app\nskip_if_unchanged: true\nparts: [{name: config, class: config, tree: {path: DIR/config}}]" + hooks
	again := func(o *Options) {
		open := o.Open
		o.Open = func(ctx context.Context, j *Job) (*Target, error) {
			target, err := open(ctx, j)
			if n := len(w.store.commits); n > 0 {
				last := w.store.commits[n-1]
				target.Options.Parent = &backup.Parent{Content: last.Content, Depth: last.Depth, Start: last.Start.Time(), Load: w.store.load}
			}
			return target, err
		}
	}
	for i, want := range []Outcome{Done, Unchanged, Done} {
		if i == 2 {
			w.write("config/app.properties", "changed")
		}
		if r, err := w.run(text, again); err != nil || r.Outcome != want || r.Stored() != (want == Done) {
			t.Errorf("run %d: %s %v", i, r.Outcome, err)
		}
	}
	if len(w.store.commits) != 2 || !strings.Contains(w.log(), "after:unchanged") {
		t.Errorf("%d snapshots, %s", len(w.store.commits), w.log())
	}
}

// An export that writes into a directory is read when its turn has come, and removed only when it is in a snapshot.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		calls++
		if user, password, ok := r.BasicAuth(); r.URL.Path == "/dir" && (!ok || user != "me" || password != "a secret") {
			t.Errorf("%s %s", user, password)
		}
		if r.URL.Path == "/no" {
			http.Error(rw, "the disk is full", 500)
			return
		}
		if r.URL.Path == "/dir" {
			w.write("export/deep/file", "exported")
			return
		}
		_, _ = io.WriteString(rw, "the answer")
	}))
	defer server.Close()
	w.write("secret", "a secret\n")
	if err := os.Mkdir(w.dir+"/export", 0o700); err != nil {
		t.Fatal(err)
	}
	good := strings.ReplaceAll(`
source: app
parts:
  - {name: answer, export: {url: URL/answer, method: GET, file: answer.json}}
  - {name: dir, export: {url: URL/dir, user: me, password: {file: DIR/secret}, path: DIR/export, clean: true}}
`, "URL", server.URL)
	bad := good + strings.ReplaceAll("  - {name: no, export: {url: URL/no, file: x}}\n", "URL", server.URL)
	_, err := w.run(bad)
	if err == nil || !strings.Contains(err.Error(), "500 Internal Server Error: the disk is full") || len(w.store.commits) != 0 {
		t.Error(err)
	}
	if _, err := os.Stat(w.dir + "/export/deep/file"); err != nil {
		t.Error("what is in no snapshot was removed:", err)
	}
	r, err := w.run(good)
	if err != nil || len(r.Warnings) > 0 {
		t.Fatal(err, r.Warnings)
	}
	files := w.store.files(t, w.store.commits[0])
	if files["/.cairn/streams/answer/answer.json"] != "the answer" || files[w.dir+"/export/deep/file"] != "exported" {
		t.Errorf("%v", files)
	}
	for name, text := range files {
		if strings.Contains(text, "a secret") {
			t.Errorf("%s holds the password", name)
		}
	}
	if entries, err := os.ReadDir(w.dir + "/export"); err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
}

// A tree that is a symbolic link is read where it leads to, as well: else the backup would hold a link.
func TestLinkedTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for link, to := range map[string]string{"link": w.dir + "/data", "dangling": w.dir + "/none"} {
		if err := os.Symlink(to, w.dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.run("source: app\nparts: [{name: data, tree: {path: DIR/link}}]"); err != nil {
		t.Fatal(err)
	}
	files := w.store.files(t, w.store.commits[0])
	if files[w.dir+"/link"] != "-> "+w.dir+"/data" || files[w.dir+"/data/content"] == "" {
		t.Errorf("%v", files)
	}
	if _, err := w.run("source: app\nparts: [{name: data, tree: {path: DIR/dangling}}]"); err == nil {
		t.Error("there is nothing, and a snapshot of it")
	}
	r, err := w.run("source: app\nparts: [{name: gone, optional: true, tree: {path: DIR/dangling}}, {name: data, tree: {path: DIR/data}}]")
	if err != nil || r.Outcome != Done {
		t.Error(r.Outcome, err)
	}
}

// holdLock makes a file and locks it as Derby does.
func holdLock(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	return f
}

// A11, B8: a Derby database that is in use makes its part fail; within a tree it is a warning.
func TestDerby(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("repo/db/service.properties", "x")
	w.write("repo/db/seg0/c10.dat", "rows")
	part := "source: app\nparts: [{name: db, derby: {path: DIR/repo/db}}]" + hooks
	tree := "source: app\nparts: [{name: repo, tree: {path: DIR/repo}}]"
	if _, err := w.run(part); err != nil {
		t.Fatal(err)
	}
	lock := holdLock(t, w.dir+"/repo/db/db.lck")
	if r, err := w.run(part); err == nil || r.Stored() || !strings.Contains(err.Error(), "the database is in use") {
		t.Error(err)
	}
	r, err := w.run(tree)
	if err != nil || !slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "part repo: ") && strings.Contains(s, "in use") }) {
		t.Error(r.Warnings, err)
	}
	_ = lock.Close()
	// Left behind, and not locked: a warning. And it is not enough that the database stood still when reading began.
	if r, err = w.run(part); err != nil || len(r.Paper.Parts[0].Warnings) != 1 {
		t.Errorf("%+v %v", r.Paper.Parts, err)
	}
	w.store.saved = func([]byte) {
		w.store.saved = nil
		holdLock(t, w.dir+"/repo/db/db.lck")
	}
	w.write("repo/db/seg0/c20.dat", "more rows")
	if r, err := w.run(part); err == nil || r.Stored() {
		t.Error("a database that was opened while it was read is in a snapshot")
	}
}

// A Fedora repository's backup is made when its turn has come, and removed however the run ends.
func TestFedoraPart(t *testing.T) {
	t.Parallel()
	text := `
source: repo
parts:
  - {name: db, command: {file: a.sql, run: [sh, -c, "echo db >>DIR/log; echo dump"]}}
  - {name: fedora, fedora: {url: "http://localhost:1/rest", staging: DIR/staging}}
  - {name: last, command: {file: b.sql, run: [sh, -c, "echo last >>DIR/log; exit EXIT"]}}
`
	for exit, stored := range map[string]bool{"0": true, "1": false} {
		w := newWorld(t)
		closed := 0
		r, err := w.run(strings.ReplaceAll(text, "EXIT", exit), func(o *Options) {
			o.Fedora = func(_ context.Context, name string, p *source.Part, damaged bool) (*Staged, error) {
				if name != "repo-fedora" || damaged {
					t.Error(name, damaged)
				}
				w.write("staging/run/binaries/ab/x.bin", "binary")
				if err := os.WriteFile(w.dir+"/log", []byte(w.log()+" fedora\n"), 0o600); err != nil {
					t.Error(err)
				}
				return &Staged{Parts: []backup.Part{
					{Name: p.Name, File: "/.cairn/streams/fedora/documents_000001.bin", Open: func(context.Context) (io.Reader, func() error, error) {
						return strings.NewReader("{}\n"), nil, nil
					}},
					{Name: p.Name, Paths: []string{w.dir + "/staging/run/binaries"}, As: "/.cairn/streams/fedora/binaries"},
				}, Warnings: []string{"slow"}, Close: func() error { closed++; return os.RemoveAll(w.dir + "/staging/run") }}, nil
			}
		})
		if (err == nil) != stored || r.Stored() != stored || closed != 1 || w.log() != "db fedora last" {
			t.Errorf("%v, closed %d times, %s", err, closed, w.log())
		}
		if !stored {
			continue
		}
		files := w.store.files(t, w.store.commits[0])
		if files["/.cairn/streams/fedora/binaries/ab/x.bin"] != "binary" || files["/.cairn/streams/fedora/documents_000001.bin"] != "{}\n" {
			t.Errorf("%v", files)
		}
		p, _ := w.store.paper(t, w.store.commits[0]).Find("fedora")
		if diff := cmp.Diff([]string{"/.cairn/streams/fedora/binaries"}, p.Paths); diff != "" || len(p.Streams) != 1 || p.Streams[0].File != "documents_000001.bin" || p.Warnings[0] != "slow" || p.Absent {
			t.Errorf("%s %+v", diff, p)
		}
	}
}

// A14, A15: a list of contexts becomes parts, each with its absolute paths.
func TestContexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"one", "two"} {
		w.write(name+"/docbase/index.html", name)
		w.write(name+"/conf/local.xml", name)
	}
	_, err := w.run(`
source: staging
vars: {contexts: [{name: one, home: DIR/one}, {name: two, home: DIR/two}]}
parts:
  - {name: "docbase ${item.name}", each: contexts, tree: {path: "${item.home}/docbase"}}
  - {name: "conf ${item.name}", each: contexts, class: config, tree: {path: "${item.home}/conf"}}
`)
	if err != nil {
		t.Fatal(err)
	}
	files := w.store.files(t, w.store.commits[0])
	for _, name := range []string{"one", "two"} {
		for _, file := range []string{"docbase/index.html", "conf/local.xml"} {
			if full := filepath.Join(w.dir, name, file); files[full] != name {
				t.Errorf("%s: %q", full, files[full])
			}
		}
	}
	if n := len(w.store.paper(t, w.store.commits[0]).Parts); n != 4 {
		t.Errorf("%d parts", n)
	}
}

func TestOutcomeOfErrors(t *testing.T) {
	t.Parallel()
	r := &runner{}
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	ended, stop := context.WithCancel(t.Context())
	stop()
	for want, ctx := range map[Outcome]context.Context{Failed: over, Interrupted: ended} {
		if got := r.outcome(ctx, errors.New("x")); got != want {
			t.Error(fmt.Sprint(got), want)
		}
	}
}

// A11: a database's file is a stream of its part, made by its own program; a database that is optional may be absent.
func TestSQLitePart(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("sqlite3 is not installed")
	}
	w := newWorld(t)
	if out, err := exec.Command("sqlite3", w.dir+"/app.db", "CREATE TABLE t(x); INSERT INTO t VALUES(7)").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	_, err := w.run("source: app\nparts:\n  - {name: db, sqlite: {path: DIR/app.db, method: dump}}\n  - {name: none, optional: true, sqlite: {path: DIR/none.db}}")
	if err != nil {
		t.Fatal(err)
	}
	p := w.store.paper(t, w.store.commits[0])
	if db := p.Parts[0]; len(db.Streams) != 1 || db.Streams[0].Databases[0] != "app.db" || db.Tools["sqlite3"] == "" || db.Streams[0].Bytes == 0 {
		t.Errorf("%+v", db)
	} else if text := w.store.files(t, w.store.commits[0])[db.Streams[0].Path]; !strings.Contains(text, "VALUES(7)") {
		t.Errorf("%q", text)
	}
	if none := p.Parts[1]; !none.Absent || none.Failed != "" {
		t.Errorf("%+v", none)
	}
}
