package tests

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/tests/crash"
	"cairn/tests/treecmp"
)

// The tests of this file and of crash_commands_test.go kill the program at each operation on a store that a command makes: before it, after it,
// and of a Put also in the middle. Then nothing that was reported as done may be lost or damaged, the next run of the same
// command must finish the job, and after the next prune nothing may be left over.

// faultyProgram is cairn with what cmd/cairn/faults.go can do to it.
var faultyProgram = built("cmd/cairn", "faults")

// faulty runs cairn with faults.
func (m *machine) faulty(faults url.Values, arguments ...string) result {
	m.t.Helper()
	return finish(m.t, m.with("CAIRN_FAULTS="+faults.Encode()).other(faultyProgram(m.t), arguments...))
}

// done is a snapshot that was reported as done: when it began, which no command changes, and a copy of what it is of. A command that
// changes what is in it leaves either, until it has run to its end.
type done struct{ time, tree, before string }

// mortal is a machine with an archive on which a command is killed.
type mortal struct {
	*machine
	k, m    int
	folders []string // of the members, below dir
	tree    string   // what is backed up
	done    []done
	ruined  []done   // of which something is lost, until the next backup
	torn    bool     // the cache is, and with it what it knew of unfinished business
	more    []string // directories beside the archive that clones have, too
}

// newMortal makes an archive without snapshots, and a small tree.
func newMortal(t testing.TB, k, m int) *mortal {
	t.Helper()
	d := &mortal{machine: newMachine(t), k: k, m: m}
	for i := range len(d.init(k, m)) {
		d.folders = append(d.folders, fmt.Sprintf("member%d", i))
	}
	d.tree = d.write("tree", files{"a/1": string(random("1", 40_000)), "a/2": string(random("2", 3000)), "b/3": "three", "link": "-> a/1", "empty/": ""})
	return d
}

// backUp makes a backup and remembers what of. Between two of them the tree changes.
func (d *mortal) backUp() {
	d.t.Helper()
	if n := len(d.done); n > 0 {
		put(d.t, filepath.Join(d.tree, fmt.Sprint("new ", n)), string(random(fmt.Sprint("new ", n), 20_000)), false)
		put(d.t, filepath.Join(d.tree, "b/3"), fmt.Sprint("changed ", n), false)
	}
	o := d.backup(d.tree)
	d.done = append(d.done, done{time: d.timeOf(o.text("snapshot")), tree: d.keep()})
}

// keep copies the tree, with all times.
func (d *mortal) keep() string {
	d.t.Helper()
	to := d.path(fmt.Sprint("tree then ", len(d.done)))
	if out, err := exec.Command("cp", "-a", d.tree, to).CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	return to
}

func (m *machine) timeOf(id string) string {
	m.t.Helper()
	return m.ok("snapshots", "--json", id).one("snapshot").text("time")
}

// clone is another machine with a copy of archive, cache and key.
func (d *mortal) clone(t testing.TB) *mortal {
	t.Helper()
	c := *d
	c.machine = newMachine(t)
	for _, name := range slices.Concat([]string{"home"}, d.more, d.folders) {
		copyTree(t, d.path(name), c.path(name))
	}
	c.useClone(d.path("key"))
	return &c
}

func (d *mortal) dirs() (list []string) {
	for _, name := range d.folders {
		list = append(list, d.path(name))
	}
	return list
}

func (d *mortal) useClone(key string) { d.use(key, d.dirs()...) }

// alive demands that all that was reported as done is there: exactly one complete snapshot of its time, which gives the tree back. In
// the middle of a command there may be several.
func (d *mortal) alive(middle bool) {
	d.t.Helper()
	list := d.ok("snapshots", "--json").of("snapshot")
	for _, want := range d.done {
		found := 0
		for _, s := range list {
			if s.text("time") != want.time || s["incomplete"] != false {
				continue
			}
			found++
			got := d.restore(s.text("id"), d.tree)
			if middle && want.before != "" && equal(d.t, want.before, got) {
				continue
			}
			same(d.t, want.tree, got)
		}
		if found == 0 || found > 1 && !middle {
			d.t.Errorf("%d snapshots of %s, which was reported as done: %v", found, want.time, list)
		}
	}
}

// equal says whether two trees are.
func equal(t testing.TB, a, b string) bool {
	t.Helper()
	list, err := treecmp.List(a, b, treecmp.Options{IgnoreOwner: os.Geteuid() != 0})
	if err != nil {
		t.Fatal(err)
	}
	return len(list) == 0
}

// victim is a command that is killed.
type victim struct {
	name    string
	prepare func(d *mortal) // makes the archive as it is before the command
	command func(d *mortal) []string
	damaged bool                    // the archive is damaged before the command, and may be so until it has run to its end
	target  func(d *mortal) *mortal // another archive to which the command writes
	env     func(d *mortal) []string
	after   func(d *mortal) // what must be true when the command has run to its end after all
}

// by is who runs the command.
func (v victim) by(d *mortal) *machine {
	if v.env == nil {
		return d.machine
	}
	return d.with(v.env(d)...)
}

// kill is a place at which the program dies.
type kill struct {
	at   int
	when string
}

func (k kill) String() string { return fmt.Sprintf("%s %d", k.when, k.at) }

// kills are the places to try for a command of these writes: all of them in a long test, else some, far apart, beginning with a random
// one, so that in time all are tried.
func kills(writes []string, some int) (list []kill) {
	for i, op := range writes {
		list = append(list, kill{i + 1, "before"}, kill{i + 1, "after"})
		if strings.HasPrefix(op, "put ") {
			list = append(list, kill{i + 1, "half"})
		}
	}
	if soaking() || len(list) <= some {
		return list
	}
	var chosen []kill
	each := len(list) / some
	for i := rand.N(each); i < len(list) && len(chosen) < some; i += each {
		chosen = append(chosen, list[i])
	}
	return chosen
}

// dies runs the command on copies of the machine, once to its end and then killed at each place.
func (v victim) dies(t *testing.T, k, m, some int) {
	base := newMortal(t, k, m)
	v.prepare(base)
	whole := base.clone(t)
	log := whole.path("log")
	if r := v.by(whole).faulty(url.Values{"log": {log}, "ops": {"write"}}, v.command(whole)...); r.code != 0 {
		t.Fatal(r)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	writes := strings.Split(strings.TrimSpace(string(text)), "\n")
	v.finished(whole)
	places := kills(writes, some)
	t.Logf("%s on %d+%d: %d writes, killed at %v", v.name, k, m, len(writes), places)
	for _, place := range places {
		t.Run(place.String(), func(t *testing.T) {
			t.Parallel()
			v.dieAt(base.clone(t), place)
		})
	}
}

// dieAt kills the command, looks at what is left, and lets the command run again.
func (v victim) dieAt(d *mortal, place kill) {
	r := v.by(d).faulty(url.Values{"do": {"kill"}, "at": {fmt.Sprint(place.at)}, "when": {place.when}, "ops": {"write"}}, v.command(d)...)
	if r.code != 0 && r.code != -1 { // 0: it had fewer writes this time
		d.t.Errorf("a command that is killed: %v", r)
	}
	if rand.N(4) == 0 {
		d.tear(rand.New(rand.NewPCG(rand.Uint64(), 0))) // the whole machine went down
		d.torn = true
	}
	if !v.damaged {
		d.check()
	}
	d.alive(true)
	if v.target != nil {
		v.target(d).check()
	}
	if r := v.by(d).run(v.command(d)...); r.code != 0 {
		d.t.Errorf("the next run after a kill (%v): %v", place, r)
	}
	d.ok("repair", "--missing") // as the next backup does: what reached some members only is copied to the others
	if v.target != nil {
		v.target(d).ok("repair", "--missing")
	}
	v.finished(d)
	d.removeAll()
}

// finished demands that the job is done, nothing is damaged, and nothing is left over after a prune.
func (v victim) finished(d *mortal) {
	d.t.Helper()
	if v.after != nil {
		v.after(d)
	}
	d.prune()
	d.whole()
	d.clean()
	if v.target != nil {
		t := v.target(d)
		t.prune()
		t.whole()
		t.clean()
	}
}

// whole demands that everything is there and nothing is damaged or lacking. But a key slot that a kill left on fewer than half of the members
// is not copied: it may be one that was removed while they were away. `key list` shows it, and somebody has to remove it.
func (d *mortal) whole() {
	d.t.Helper()
	for _, o := range d.ok("check", "--read-data", "--json").lines() {
		if o["lacking"] == true && !strings.HasPrefix(o.text("object"), "keys/") || o.number("damaged") > 0 {
			d.t.Errorf("something is lacking: %v", o)
		}
	}
	d.alive(false)
}

// age makes temporary files two days older, so that they are litter for certain.
func (d *mortal) age() {
	d.t.Helper()
	then := time.Now().Add(-48 * time.Hour)
	for _, dir := range d.dirs() {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(e.Name(), ".tmp-") {
				err = os.Chtimes(name, then, then)
			}
			return err
		})
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

// prune prunes, as if nobody were at work any more.
func (d *mortal) prune() {
	d.t.Helper()
	d.age()
	d.ok("prune", "--session-age", "1ms")
}

// clean demands that nothing is left over. Temporary files go when their folder is listed: some by prune, others by backup and check.
func (d *mortal) clean() {
	d.t.Helper()
	s, err := crash.Look(d.t.Context(), d.dirs(), d.keyFile())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range append(s.Orphans, s.Sessions...) {
		d.t.Errorf("left over: %s", o)
	}
}

// keyFile is the key that the machine uses.
func (m *machine) keyFile() string {
	for i := len(m.env) - 1; i >= 0; i-- {
		if name, ok := strings.CutPrefix(m.env[i], "CAIRN_KEY_FILE="); ok {
			return name
		}
	}
	m.t.Fatal("no key file")
	return ""
}
