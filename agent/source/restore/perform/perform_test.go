package perform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/restore"
	"cairn/remote"
)

// app is a source whose hooks write what they do to DIR/log.
func app(name string) string {
	return strings.ReplaceAll(`
source: NAME
parts:
  - {name: dump, command: {file: NAME.sql, run: [echo, dump of NAME], restore: {args: [sh, -c, "cat >>DIR/log"]}}}
  - {name: data, tree: {path: DIR/NAME/data}}
restore:
  roots: [DIR/NAME]
  before: [{name: stop, shell: "echo stop NAME >>DIR/log"}]
  remove: [DIR/NAME/cache]
  empty: [DIR/NAME/queue]
  rewrite: [{files: [data/conf], properties: {port: "2"}}]
  steps:
    - {name: start, shell: "cat DIR/NAME/data/conf >>DIR/log; ls DIR/NAME >>DIR/log; echo start NAME >>DIR/log"}
    - {text: look at NAME}
`, "NAME", name)
}

func (w *world) install(name string) *source.File {
	w.t.Helper()
	w.write(name+"/data/conf", "port=1\n")
	w.write(name+"/data/content", "content")
	w.write(name+"/cache/x", "x")
	w.write(name+"/queue/x", "x")
	return w.parse(app(name))
}

func yes(context.Context, *restore.Plan, source.Step) (bool, error) { return true, nil }

// A18, A20, A21, A29, A31, A32, E19, E20: a set is stopped, wiped, filled, changed and started, stage by stage, in the order that was named.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var plans []*restore.Plan
	files := map[string]*source.File{}
	for _, name := range []string{"primary", "replica"} {
		files[name] = w.install(name)
	}
	for _, name := range []string{"primary", "replica"} {
		s := w.run(files[name])
		w.remove(name + "/data/content")
		w.write(name+"/data/conf", "broken")
		plans = append(plans, w.plan(s, files[name], restore.Options{Rewrite: true}))
	}
	n := &teller{}
	tools := n.tools()
	tools.Consent = yes
	r, err := Execute(t.Context(), plans, tools, nil)
	if err != nil || r.Failed() > 0 || r.StepsDone != 2 || r.StepsLeft != 2 || r.Wiped != 4 || r.Rewritten != 2 || r.Databases != 2 {
		t.Errorf("%+v, %v\n%s", r, err, n.text())
	}
	want := `stop primary
stop replica
dump of primary
dump of replica
port=2
data
queue
start primary
port=2
data
queue
start replica
`
	if diff := cmp.Diff(want, w.read("log")); diff != "" {
		t.Error(diff)
	}
	told := strings.ReplaceAll(n.text(), w.dir, "DIR")
	wantTold := `primary: before: run stop
replica: before: run stop
primary: remove: removed DIR/primary/cache (1 file, 1 B)
primary: remove: emptied DIR/primary/queue (1 file, 1 B)
replica: remove: removed DIR/replica/cache (1 file, 1 B)
replica: remove: emptied DIR/replica/queue (1 file, 1 B)
primary: files: DIR/primary/data: 1 created, 1 updated, 0 deleted, 0 as recorded
replica: files: DIR/replica/data: 1 created, 1 updated, 0 deleted, 0 as recorded
primary: databases: dump: primary.sql is in sh -c cat >>DIR/log
replica: databases: dump: replica.sql is in sh -c cat >>DIR/log
primary: rewrites: rewrote DIR/primary/data/conf
replica: rewrites: rewrote DIR/replica/data/conf
primary: steps: 1. run start
primary: steps: 2. to do: look at primary
replica: steps: 1. run start
replica: steps: 2. to do: look at replica`
	if diff := cmp.Diff(wantTold, told); diff != "" {
		t.Error(diff)
	}
}

// A18: a guard that does not hold stops the whole set before anything is touched; to go on is said aloud.
func TestGuards(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close() //nolint:errcheck // a test
	w := newWorld(t)
	a := w.install("a")
	w.install("b")
	b := w.parse(app("b") + fmt.Sprintf("guards: {restore: [{port_closed: %q}, {pid_file: DIR/pid}]}\n", l.Addr()))
	w.write("pid", fmt.Sprint(os.Getpid()))
	sa, sb := w.run(a), w.run(b)
	for _, force := range []bool{false, true} {
		o := restore.Options{ForceGuards: force}
		n := &teller{}
		_, err := Execute(t.Context(), []*restore.Plan{w.plan(sa, a, o), w.plan(sb, b, o)}, n.tools(), nil)
		var stage *StageError
		switch {
		case !force && (!errors.As(err, &stage) || stage.Stage != Guards || stage.Source != "b" || !strings.Contains(remote.Hint(err), "--force")):
			t.Errorf("%v", err)
		case !force && (w.read("log") != "" || w.read("a/cache/x") == ""):
			t.Errorf("something was touched: %s", w.read("log"))
		case force && (err != nil || strings.Count(n.text(), "warning: b: guards: going on by --force although guard:") != 2):
			t.Errorf("%v\n%s", err, n.text())
		}
	}
}

// A11: files of a database that somebody has open are not replaced.
func TestEmbeddedInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("db/service.properties", "x")
	f := w.parse("source: app\nparts: [{name: db, derby: {path: DIR/db}}]")
	s := w.run(f)
	n := &teller{used: errors.New("it is open")}
	if _, err := Execute(t.Context(), []*restore.Plan{w.plan(s, f, restore.Options{})}, n.tools(), nil); err == nil || !strings.Contains(err.Error(), "it is open") {
		t.Errorf("%v", err)
	}
	n.used = nil
	w.remove("db")
	if _, err := Execute(t.Context(), []*restore.Plan{w.plan(s, f, restore.Options{})}, n.tools(), nil); err != nil || w.read("db/service.properties") != "x" {
		t.Errorf("%v", err)
	}
}

// C8: steps run only when somebody agreed to each, and never after a failure.
func TestSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.install("a")
	s := w.run(f)
	n := &teller{}
	r, err := Execute(t.Context(), []*restore.Plan{w.plan(s, f, restore.Options{})}, n.tools(), nil)
	if err != nil || r.StepsDone != 0 || r.StepsLeft != 2 || strings.Contains(w.read("log"), "start") || !strings.Contains(n.text(), "1. to do: start: cat ") {
		t.Errorf("%+v, %v\n%s", r, err, n.text())
	}
	w.remove("log")
	broken := w.parse(strings.ReplaceAll(app("a"), "cat >>DIR/log", "echo no >&2; exit 3"))
	tools := n.tools()
	tools.Consent = yes
	r, err = Execute(t.Context(), []*restore.Plan{w.plan(s, broken, restore.Options{})}, tools, nil)
	var stage *StageError
	if !errors.As(err, &stage) || stage.Stage != Streams || !strings.Contains(err.Error(), "exit status 3: no") || r.StepsDone != 0 || strings.Contains(w.read("log"), "start") {
		t.Errorf("%+v, %v", r, err)
	}
}

// A24, E11: streams reach the databases that the plan names, whole.
func TestDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("shop.sql", "x")
	f := w.parse("source: app\nparts: [{name: db, command: {file: databases.sql, run: [echo, all]}}]")
	s := w.run(f)
	// The same stream as that of a server, which this test does not have.
	now := w.parse("source: app\nparts: [{name: db, command: {file: databases.sql, run: [echo, all], restore: {args: [cat]}}}]")
	p := w.plan(s, now, restore.Options{})
	p.Streams[0].Way, p.Streams[0].Job.Database, p.Streams[0].Job.As = restore.ToDatabase, "shop", "shop2"
	n := &teller{}
	if _, err := Execute(t.Context(), []*restore.Plan{p}, n.tools(), nil); err != nil || n.got["db/databases.sql shop>shop2"] != "all\n" {
		t.Errorf("%v, %v", err, n.got)
	}
	// C8: a server that cannot be reached, or has the database already, is noticed before anything is touched.
	n = &teller{full: errors.New("holds something already")}
	var stage *StageError
	if _, err := Execute(t.Context(), []*restore.Plan{p}, n.tools(), nil); !errors.As(err, &stage) || stage.Stage != Asking || n.got != nil {
		t.Errorf("%v, %v", err, n.got)
	}
	n.full, n.fail = nil, errors.New("no such role")
	if _, err := Execute(t.Context(), []*restore.Plan{p}, n.tools(), nil); err == nil || !strings.Contains(err.Error(), "databases.sql of part db: no such role") {
		t.Errorf("%v", err)
	}
	none := n.tools()
	none.Databases = nil
	if _, err := Execute(t.Context(), []*restore.Plan{p}, none, nil); err == nil {
		t.Error("nobody knows databases, and nobody said so")
	}
}

// A8, A30: what is missing in the snapshot is told, and refused unless somebody says otherwise.
func TestMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("data/x", "x")
	s := w.run(w.parse("source: app\nparts: [{name: data, tree: {path: DIR/data}}, {name: more, optional: true, tree: {path: DIR/more}}]"))
	now := w.parse("source: app\nparts: [{name: data, tree: {path: DIR/data}}, {name: archive, tree: {path: DIR/archive}}, {name: extra, optional: true, tree: {path: DIR/extra}}]")
	p := w.plan(s, now, restore.Options{})
	if diff := cmp.Diff([]string{"part archive: it is not in the snapshot"}, p.Missing); diff != "" {
		t.Error(diff)
	}
	n := &teller{}
	if _, err := Execute(t.Context(), []*restore.Plan{p}, n.tools(), nil); err == nil || !strings.Contains(remote.Hint(err), "--allow-partial") {
		t.Errorf("%v", err)
	}
	p = w.plan(s, now, restore.Options{AllowPartial: true})
	if _, err := Execute(t.Context(), []*restore.Plan{p}, n.tools(), nil); err != nil || !strings.Contains(n.text(), "going on by --allow-partial although part archive") {
		t.Errorf("%v\n%s", err, n.text())
	}
	if p = w.plan(s, now, restore.Options{Parts: []string{"data"}}); len(p.Missing) > 0 {
		t.Errorf("what was not asked for is missing: %v", p.Missing)
	}
}

// A bare machine gets the directories above the application as they were.
func TestDirectoriesAbove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("srv/app/data/x", "x")
	check(t, os.Chmod(filepath.Join(w.dir, "srv/app"), 0o710))
	check(t, os.Chmod(filepath.Join(w.dir, "srv"), 0o751))
	f := w.parse("source: app\nparts: [{name: data, tree: {path: DIR/srv/app/data}}]")
	s := w.run(f)
	w.remove("srv")
	n := &teller{}
	o := restore.Options{PathMap: []restore.Map{{Old: w.dir + "/srv/app", New: w.dir + "/other/place"}}}
	for _, p := range []*restore.Plan{w.plan(s, f, restore.Options{}), w.plan(s, f, o)} {
		if _, err := Execute(t.Context(), []*restore.Plan{p}, n.tools(), nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"srv": 0o751, "srv/app": 0o710, "other": 0o751, "other/place": 0o710} {
		if info, err := os.Stat(filepath.Join(w.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
