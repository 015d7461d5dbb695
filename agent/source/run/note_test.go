package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A9: what a run that was killed had stopped is started by the next run of any source, by the hooks of then.
func TestRecover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.source("source: other\nparts: [{name: data, tree: {path: DIR/data}}]\nhooks: {finally: [{name: start, shell: 'echo $CAIRN_SOURCE:$CAIRN_STAGE:$CAIRN_OUTCOME >>DIR/log'}]}")
	if err := os.MkdirAll(w.state.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := w.state.Write(w.plan(other, Choice{}), time.Now(), "cairn"); err != nil {
		t.Fatal(err)
	}
	r, err := w.run("source: app\nparts: [{name: data, tree: {path: DIR/data}}]" + hooks)
	if err != nil || len(r.Recovered) != 1 || r.Recovered[0].Source != "other" || r.Recovered[0].Err != nil || len(r.Warnings) != 1 {
		t.Errorf("%+v %v", r.Recovered, err)
	}
	if diff := cmp.Diff("other:finally:interrupted stop start:done after:done", w.log()); diff != "" {
		t.Error(diff)
	}
	w.idle()
	// One that is at work is not touched, and a hook that fails is tried again.
	failing := w.source("source: other\nparts: [{name: data, tree: {path: DIR/data}}]\nhooks: {finally: [{name: start, shell: 'test -e DIR/may'}]}")
	if _, err := w.state.Write(w.plan(failing, Choice{}), time.Now(), "cairn"); err != nil {
		t.Fatal(err)
	}
	lock, err := w.state.Lock("other")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := Recover(t.Context(), w.options()); err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
	lock.Close()
	for _, good := range []bool{false, true} {
		if good {
			w.write("may", "")
		}
		all, err := Recover(t.Context(), w.options())
		if err != nil || len(all) != 1 || (all[0].Err == nil) != good {
			t.Errorf("%+v %v", all, err)
		}
	}
	w.idle()
}

// A note that cannot be read is told, and keeps nothing else from being done.
func TestRecoverDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("state/running/a.json", "{\"version\":1,")
	w.write("state/running/b.json", `{"version":9,"source":"b"}`)
	w.write("state/running/c.json", `{"version":1,"source":"c","finally":[{"Name":"start","Shell":"echo c >>`+w.dir+`/log"}]}`)
	all, err := Recover(t.Context(), w.options())
	if err != nil || len(all) != 3 || all[0].Err == nil || all[1].Err == nil || all[2].Err != nil || w.log() != "c" {
		t.Errorf("%+v %v", all, err)
	}
}

// A note holds everything that the hooks need, and where secrets are, but none of them.
func TestNoteHoldsNoSecret(t *testing.T) {
	w := newWorld(t)
	t.Setenv("CAIRN_TEST_TOKEN", "very secret value")
	f := w.source(`
source: app
parts: [{name: data, tree: {path: DIR/data}}]
hooks:
  finally:
    - {name: start, run: {args: [start, "--now"], dir: DIR, env: {A: b}, secrets: {TOKEN: {env: CAIRN_TEST_TOKEN}}}, timeout: 3m}
    - {name: call, http: {url: "http://localhost/", token: {env: CAIRN_TEST_TOKEN}, status: [204]}}
`)
	if err := os.MkdirAll(w.state.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := w.state.Write(w.plan(f, Choice{}), time.Now(), "cairn"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(w.state.dir, "app.json"))
	if err != nil || strings.Contains(string(data), "very secret") || !json.Valid(data) {
		t.Errorf("%s %v", data, err)
	}
	note, err := w.state.read("app")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Hooks.Finally, note.Finally); diff != "" {
		t.Error(diff)
	}
}
