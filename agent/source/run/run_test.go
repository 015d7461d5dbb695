package run

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/hook"
	"cairn/agent/source/paper"
	"cairn/remote"
)

// A1, A2, A3, A8, A9, A11, A16: one snapshot of trees and dumps, labelled, with the source file and a report of the run in it.
func TestOneSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("data/queue/message", "must not come back")
	w.write("data/cache/x", "can be made again")
	w.write("data/debug.log", "not wanted")
	r, err := w.run(`
source: app
labels: {host: cms1, role: primary, component: server}
tags: [nightly]
parts:` + dumpPart("echo dump; echo said >&2") + `
  - name: data
    tree: {path: DIR/data, exclude: ["*.log"], derived: [/cache], never: [/queue]}
  - {name: config, class: config, tree: {path: DIR/config}}
  - {name: archive, optional: true, tree: {path: DIR/archive}}
  - {name: state, class: never, tree: {path: DIR/state}}
` + hooks)
	if err != nil || r.Outcome != Done || !r.Stored() {
		t.Fatal(r.Outcome, err)
	}
	if diff := cmp.Diff("stop start:done after:done", w.log()); diff != "" {
		t.Error(diff)
	}
	w.idle()
	snap := w.store.commits[0]
	if len(w.store.commits) != 1 || snap.Host != "cms1" || snap.Role != "primary" || snap.Component != "server" || snap.Source != "app" || snap.Series != "cms1/app" ||
		!slices.Equal(snap.Tags, []string{"nightly"}) || snap.Partial {
		t.Errorf("%d snapshots; %+v", len(w.store.commits), snap)
	}
	files := w.store.files(t, snap)
	for name, want := range map[string]string{"/.cairn/streams/db/app.sql": "dump\n", w.dir + "/data/content": "content of the application", w.dir + "/config/app.properties": "a=b"} {
		if files[name] != want {
			t.Errorf("%s holds %q", name, files[name])
		}
	}
	for name := range files {
		if strings.Contains(name, "queue") || strings.Contains(name, "cache") || strings.HasSuffix(name, ".log") || strings.Contains(name, "/state") {
			t.Errorf("%s is in the snapshot", name)
		}
	}
	if _, err := source.Parse("source.yaml", []byte(files[paper.SourceFile]), source.ParseOptions{}); err != nil {
		t.Errorf("the source file cannot be read back: %v", err)
	}
	p := w.store.paper(t, snap)
	var parts []string
	for _, part := range p.Parts {
		state := "there"
		if part.Absent {
			state = "absent"
		}
		parts = append(parts, part.Name+" "+part.Kind+" "+part.Class+" "+state)
		if part.Began.Before(p.Stop.Began) || part.Ended.After(p.Stop.Ended) {
			t.Errorf("part %s was read from %s to %s, and the application stood from %s to %s", part.Name, part.Began, part.Ended, p.Stop.Began, p.Stop.Ended)
		}
	}
	if diff := cmp.Diff([]string{"db command data there", "data tree data there", "config tree config there", "archive tree data absent"}, parts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]paper.Stream{{File: "app.sql", Path: "/.cairn/streams/db/app.sql", Bytes: 5}}, p.Parts[0].Streams); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{w.dir + "/data"}, p.Parts[1].Paths); diff != "" {
		t.Error(diff)
	}
	if len(p.LeftOut) != 1 || p.LeftOut[0].Name != "state" || len(p.Hooks) != 2 || p.Hooks[1].Name != "start" || p.RanOn != "machine" {
		t.Errorf("%+v", p)
	}
}

// A2, A8, A9, D7: whatever fails, the application is started again, there is no snapshot, and somebody hears of it.
func TestFinallyAlways(t *testing.T) {
	t.Parallel()
	tree := "\n  - {name: data, tree: {path: DIR/data}}"
	interrupt := func(w *world, o *Options) context.Context {
		ctx, cancel := context.WithCancel(w.Context())
		w.Cleanup(cancel)
		go func() {
			for w.Context().Err() == nil && !strings.Contains(w.log(), "dumping") {
				time.Sleep(5 * time.Millisecond)
			}
			cancel()
		}()
		return ctx
	}
	for name, c := range map[string]struct {
		parts, want, why string
		outcome          Outcome
		change           func(w *world, o *Options) context.Context
	}{
		"dump fails":       {dumpPart("echo half; exit 3") + tree, "stop start:failed error:failed", "part db: command sh -c echo half; exit 3 ended with exit status 3", Failed, nil},
		"dump is killed":   {dumpPart("echo half; kill -9 $$") + tree, "stop start:failed error:failed", "ended by killed", Failed, nil},
		"no program":       {"\n  - {name: db, command: {file: a, run: [/no/such]}}", "stop start:failed error:failed", "part db", Failed, nil},
		"directory is not": {tree + "\n  - {name: more, tree: {path: DIR/none}}", "stop start:failed error:failed", "part more", Failed, nil},
		"database is not":  {tree + "\n  - {name: lite, sqlite: {path: DIR/none.db}}", "stop start:failed error:failed", "part lite", Failed, nil},
		"server is not":    {tree + "\n  - {name: pg, postgres: {host: DIR, port: 1, databases: [a]}}", "stop start:failed error:failed", "part pg", Failed, nil},
		"commit fails": {tree, "stop start:done error:failed", "the archive says no", Failed, func(w *world, o *Options) context.Context {
			w.store.refuse = errors.New("the archive says no")
			return w.Context()
		}},
		"interrupted": {dumpPart("echo dumping >>DIR/log; exec sleep 100"), "stop dumping start:interrupted error:interrupted", "interrupted", Interrupted, interrupt},
		"time is over": {dumpPart("echo dumping >>DIR/log; exec sleep 100"), "stop dumping start:failed error:failed", "did not end within 1s", Failed, func(w *world, o *Options) context.Context {
			o.Timeout = time.Second
			return w.Context()
		}},
		"part's time is over": {"\n  - {name: db, command: {file: a, timeout: 300ms, run: [sleep, '100']}}", "stop start:failed error:failed", "did not end within 300ms", Failed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o, ctx := w.options(), w.Context()
			if c.change != nil {
				ctx = c.change(w, &o)
			}
			r, err := Run(ctx, w.plan(w.source("source: app\nparts:"+c.parts+hooks), Choice{}), o)
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(c.why, "DIR", w.dir)) || r.Outcome != c.outcome || r.Stored() || len(w.store.commits) > 0 {
				t.Errorf("%s, %v", r.Outcome, err)
			}
			if diff := cmp.Diff(c.want, w.log()); diff != "" {
				t.Error(diff)
			}
			if told, err := os.ReadFile(w.dir + "/error"); err != nil || len(told) < 5 {
				t.Errorf("the hook was told %q, %v", told, err)
			}
			if len(w.store.failed) != 1 || w.store.failed[0] == nil {
				t.Errorf("the archive was told %v", w.store.failed)
			}
			w.idle()
		})
	}
}

// The archive is opened before anything is stopped.
func TestArchiveIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, err := w.run("source: app\nparts: [{name: data, tree: {path: DIR/data}}]"+hooks, func(o *Options) {
		o.Open = func(context.Context, *Job) (*Target, error) { return nil, errors.New("nobody answers") }
	})
	if err == nil || r.Outcome != Failed || w.log() != "error:failed" {
		t.Errorf("%s %v, %q", r.Outcome, err, w.log())
	}
}

// An interruption while the application is being stopped: the hook is ended, and finally runs.
func TestInterruptedStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for w.Context().Err() == nil && !strings.Contains(w.log(), "stopping") {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	f := w.source(strings.Replace("source: app\nparts: [{name: data, tree: {path: DIR/data}}]"+hooks, "echo stop >>", "echo stopping >>DIR/log; sleep 60; echo stopped >>", 1))
	r, err := Run(ctx, w.plan(f, Choice{}), w.options())
	if !errors.Is(err, ErrInterrupted) || r.Outcome != Interrupted || len(w.store.commits) > 0 {
		t.Errorf("%s %v", r.Outcome, err)
	}
	if diff := cmp.Diff("stopping start:interrupted error:interrupted", w.log()); diff != "" {
		t.Error(diff)
	}
	w.idle()
}

// A hook with status 75 ends the run softly. What had begun before it is ended; if nothing had begun, nothing is started that may be meant to stand.
func TestSoftSkip(t *testing.T) {
	t.Parallel()
	const rest = "\nparts: [{name: data, tree: {path: DIR/data}}]"
	finally := "\n  finally: [{name: start, shell: 'echo start:$CAIRN_OUTCOME >>DIR/log'}]\n  on_error: [{name: cry, shell: 'echo error >>DIR/log'}]"
	for name, c := range map[string]struct{ before, want string }{
		"first":  {"[{name: check, shell: 'echo check >>DIR/log; echo not the primary >&2; exit 75'}, {name: stop, shell: 'echo stop >>DIR/log'}]", "check"},
		"second": {"[{name: stop, shell: 'echo stop >>DIR/log'}, {name: check, shell: 'echo not the primary; exit 75'}]", "stop start:skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r, err := w.run("source: app\nhooks:\n  before: " + c.before + finally + rest)
			if err != nil || r.Outcome != Skipped || !strings.Contains(r.Why, "not the primary") || len(w.store.commits) > 0 {
				t.Errorf("%s %q %v", r.Outcome, r.Why, err)
			}
			if diff := cmp.Diff(c.want, w.log()); diff != "" {
				t.Error(diff)
			}
			w.idle()
		})
	}
}

func TestGuards(t *testing.T) {
	t.Parallel()
	for skip, want := range map[string]Outcome{"false": Failed, "true": Skipped} {
		w := newWorld(t)
		r, err := w.run("source: app\nguards: {backup: [{absent: DIR/data, skip: " + skip + "}]}\nparts: [{name: data, tree: {path: DIR/data}}]" + hooks)
		var unmet *hook.Unmet
		if r.Outcome != want || errors.As(err, &unmet) != (want == Failed) || strings.Contains(w.log(), "stop") {
			t.Errorf("%s: %s %v %q", skip, r.Outcome, err, w.log())
		}
	}
}

// A12: the trees are read while the application runs; it stands only for the second pass, and for how long is in the report. The hooks and the export of this
// application take their time on a clock of the test.
func TestStopWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("data/big", strings.Repeat("a large file. ", 100_000))
	var clock atomic.Int64
	began := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	now := func() time.Time { return began.Add(time.Duration(clock.Load())) }
	takes := map[string]time.Duration{"/stop": 3 * time.Second, "/export": 20 * time.Second, "/start": 7 * time.Second}
	var stored atomic.Int64
	atStop := int64(-1)
	w.store.saved = func(plain []byte) { stored.Add(int64(len(plain))) }
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stop" {
			atStop = stored.Load()
		}
		clock.Add(int64(takes[r.URL.Path]))
	}))
	defer server.Close()
	text := strings.ReplaceAll(`
source: app
warm: true
parts:
  - {name: export, export: {url: URL/export, file: list.txt}}
  - {name: data, tree: {path: DIR/data}}
hooks:
  before: [{name: stop, http: {url: URL/stop}}]
  finally: [{name: start, http: {url: URL/start}}]
`, "URL", server.URL)
	r, err := w.run(text, func(o *Options) { o.Now = now })
	if err != nil {
		t.Fatal(err)
	}
	p := w.store.paper(t, w.store.commits[0])
	if got := p.Stop.Duration(); got != 30*time.Second {
		t.Errorf("it stood for %s", got)
	}
	if p.Warm == nil || p.Warm.BytesRead < 1_400_000 || atStop < 4096 {
		t.Errorf("%+v; %d bytes were stored when the application was stopped", p.Warm, atStop)
	}
	if r.Warm.BytesNew == 0 || r.Backup.BytesNew >= r.Warm.BytesNew && r.Warm.BytesNew > 20_000 {
		t.Errorf("the warm pass stored %d bytes, the other %d", r.Warm.BytesNew, r.Backup.BytesNew)
	}
}

// E25: with force there is a snapshot of the rest, marked, with a list of the damage, and the outcome says so.
func TestForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := "source: app\nparts:" + dumpPart("echo half; exit 3") + "\n  - {name: pg, postgres: {host: DIR, port: 1, databases: all}}\n  - {name: data, tree: {path: DIR/data}}" + hooks
	r, err := w.run(text, func(o *Options) { o.Force = true })
	if err != nil || r.Outcome != Partial || len(w.store.commits) != 1 {
		t.Fatal(r.Outcome, err)
	}
	snap := w.store.commits[0]
	if !snap.Partial || len(snap.Errors) != 2 || !strings.Contains(snap.Errors[0].Message, "exit status 3") {
		t.Errorf("%+v", snap.Errors)
	}
	files := w.store.files(t, snap)
	if _, there := files["/.cairn/streams/db/app.sql"]; there || files[w.dir+"/data/content"] == "" {
		t.Errorf("%v", files)
	}
	p := w.store.paper(t, snap)
	for _, name := range []string{"db", "pg"} {
		if part, ok := p.Find(name); !ok || part.Failed == "" || part.Streams[0].Failed == "" {
			t.Errorf("%+v", part)
		}
	}
	if diff := cmp.Diff("stop start:done error:partial", w.log()); diff != "" {
		t.Error(diff)
	}
}

// A finally hook that fails is a failure, and the snapshot is good all the same; the hooks behind it run, and the note stays: the application
// may be stopped.
func TestFinallyFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := strings.Replace("source: app\nparts: [{name: data, tree: {path: DIR/data}}]"+hooks, "finally: [", "finally: [{name: bad, shell: 'exit 1'}, ", 1)
	r, err := w.run(text)
	var failed *hook.Error
	if !errors.As(err, &failed) || failed.Name != "bad" || r.Outcome != Failed || !r.Stored() || len(w.store.commits) != 1 {
		t.Errorf("%s %v", r.Outcome, err)
	}
	if diff := cmp.Diff("stop start:done error:failed", w.log()); diff != "" {
		t.Error(diff)
	}
	if all, err := Recover(t.Context(), w.options()); err != nil || len(all) != 1 || !errors.As(all[0].Err, &failed) || !strings.Contains(remote.Hint(all[0].Err), "source resume") {
		t.Errorf("%+v %v", all, err)
	}
}

// A source of which a run is at work is left alone, softly.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lock, err := w.state.Lock("app")
	if err != nil {
		t.Fatal(err)
	}
	text := "source: app\nparts: [{name: data, tree: {path: DIR/data}}]" + hooks
	r, err := w.run(text)
	if err != nil || r.Outcome != Skipped || !strings.Contains(r.Why, "a run of app is at work (process ") || w.log() != "" {
		t.Errorf("%s %q %v %q", r.Outcome, r.Why, err, w.log())
	}
	lock.Close()
	if r, err = w.run(text); err != nil || r.Outcome != Done {
		t.Errorf("%s %v", r.Outcome, err)
	}
}
