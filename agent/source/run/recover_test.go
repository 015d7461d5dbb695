package run

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/hook"
)

// leave makes what a killed run leaves behind: a note, and a hook that is still at work.
func (w *world) leave(f *source.File, shell string) (ended <-chan error) {
	w.Helper()
	if err := os.MkdirAll(w.state.dir, 0o700); err != nil {
		w.Fatal(err)
	}
	if _, err := w.state.Write(w.plan(f, Choice{}), time.Now(), "cairn"); err != nil {
		w.Fatal(err)
	}
	began, end := make(chan struct{}), make(chan error, 1)
	go func() {
		h := &source.Hook{Name: "stop", Shell: strings.ReplaceAll(shell, "DIR", w.dir)}
		_, err := hook.Run(w.Context(), "before", h, hook.Options{Started: func(pid int) {
			w.state.hookStarted(f.Name)(pid)
			close(began)
		}})
		end <- err
	}()
	<-began
	return end
}

// A9: a stop script outlives the run that was killed. The application is started when it has ended: the other way round it would be stopped for good.
func TestRecoverWaitsForHook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.source("source: app\nparts: [{name: data, tree: {path: DIR/data}}]" + hooks)
	ended := w.leave(f, "sleep 0.5; echo stopped >>DIR/log")
	if all, err := Recover(t.Context(), w.options()); err != nil || len(all) != 1 || all[0].Err != nil {
		t.Errorf("%+v %v", all, err)
	}
	if diff := cmp.Diff("stopped start:interrupted", w.log()); diff != "" {
		t.Error(diff)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	w.idle()
}

// One that hangs is ended after the time that a hook of the source has.
func TestRecoverEndsHook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := "source: app\nparts: [{name: data, tree: {path: DIR/data}}]" + hooks
	text = strings.ReplaceAll(text, "{name: st", "{timeout: 300ms, name: st")
	ended := w.leave(w.source(text), "sleep 60; echo stopped >>DIR/log")
	if all, err := Recover(t.Context(), w.options()); err != nil || len(all) != 1 || all[0].Err != nil {
		t.Errorf("%+v %v", all, err)
	}
	if diff := cmp.Diff("start:interrupted", w.log()); diff != "" {
		t.Error(diff)
	}
	if err := <-ended; err == nil {
		t.Error("it was not ended")
	}
}

// A9: a run that skips at its first hook has begun nothing. But if an earlier one stopped the application, and it could not be started again,
// then it is tried once more, and the note goes only when that succeeds.
func TestSkipKeepsOldNote(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := `
source: app
parts: [{name: data, tree: {path: DIR/data}}]
hooks:
  before: [{name: check, shell: "exit 75"}]
  finally: [{name: start, shell: "echo start >>DIR/log; test -e DIR/may"}]
`
	if err := <-w.leave(w.source(text), "true"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.run(text); err == nil {
		t.Error("the application could not be started, and nobody was told")
	}
	if names, err := w.state.names(); err != nil || len(names) != 1 {
		t.Errorf("notes: %q %v", names, err)
	}
	w.write("may", "")
	if r, err := w.run(text); err != nil || r.Outcome != Skipped {
		t.Errorf("%s %v", r.Outcome, err)
	}
	w.idle()
}
