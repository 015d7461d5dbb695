package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cairn/tests/crash"
	"cairn/tests/treecmp"
)

// TestSoakCrowd: E21, E22: many machines back up to one archive of 2+1 directories, forget, prune and check it all at once, for CAIRN_SOAK (ten
// minutes and more) or, without that, for some seconds. Each has a cache of its own, two have a clock that is a year off,
// and most commands are killed now and then, at a random operation. Nothing may be refused or fail because of another one, and no
// check may find damage. In the end every snapshot that was reported as done and not forgotten is restored and compared with what the tree
// was, and the last prune leaves nothing behind.
func TestSoakCrowd(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	length, writers := 15*time.Second, 4
	if soaking() {
		var err error
		if length, err = time.ParseDuration(os.Getenv("CAIRN_SOAK")); err != nil {
			t.Fatal(err)
		}
		writers = 8
	}
	c := newCrowd(t, seed)
	t.Logf("seed %d, %v", seed, length)
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	c.stop = stop
	for i := range writers {
		w := c.writer(fmt.Sprint("writer", i), map[int]string{1: "8760h", 2: "-8760h"}[i])
		c.goes(func() { w.work(ctx) })
	}
	c.goes(func() { c.sleeper(ctx, min(length/2, patience/2)) })
	for i := range 2 {
		c.goes(func() {
			c.loop(ctx, c.actor(fmt.Sprint("forgetter", i), []string{"", "8760h"}[i]), 60, "forget", "--keep-last", fmt.Sprint(keepLast))
		})
	}
	polite, rude := []string{"prune"}, []string{"prune", "--session-age", "1ms"}
	c.goes(func() { c.loop(ctx, c.actor("pruner0", ""), 150, polite...) })
	c.goes(func() { c.loop(ctx, c.actor("pruner1", ""), 150, rude...) })
	c.goes(func() { c.checker(ctx) })
	c.wait.Wait()
	c.end(rude)
}

// keepLast is the policy of the forgetters.
const keepLast = 4

// crowd is an archive and who uses it.
type crowd struct {
	t    *testing.T
	home *mortal
	seed uint64
	stop func() // ends the soak, when something went wrong
	wait sync.WaitGroup

	mu      sync.Mutex
	writers []*writer

	runs, killed atomic.Int64
}

func newCrowd(t *testing.T, seed uint64) *crowd {
	t.Helper()
	return &crowd{t: t, home: newMortal(t, 2, 1), seed: seed}
}

func (c *crowd) goes(f func()) { c.wait.Go(f) }

func (c *crowd) fail(format string, arguments ...any) {
	c.t.Errorf(format, arguments...)
	c.stop()
}

// actor is a machine with a cache of its own, which runs one command after the other.
type actor struct {
	c     *crowd
	name  string
	m     *machine
	rnd   *rand.Rand
	clock string
}

func (c *crowd) actor(name, clock string) *actor {
	var n uint64
	for _, b := range []byte(name) {
		n = n*256 + uint64(b)
	}
	m := *c.home.machine
	m.dir = c.home.path(name)
	m.env = nil
	a := &actor{c: c, name: name, rnd: rand.New(rand.NewPCG(c.seed, n)), clock: clock}
	a.m = m.with("HOME=" + m.path("home"))
	a.m.use(c.home.path("key"), c.home.dirs()...)
	if err := os.MkdirAll(m.path("home"), 0o755); err != nil {
		c.fail("%v", err)
	}
	return a
}

// run runs a command, and kills it at one of so many operations now and then; 0: never. Any other end than a good one is a failure.
func (a *actor) run(operations int, arguments ...string) (r result, killed bool) {
	faults := url.Values{}
	if a.clock != "" {
		faults.Set("clock", a.clock)
	}
	if operations > 0 && a.rnd.IntN(3) == 0 {
		faults.Set("do", "kill")
		faults.Set("at", fmt.Sprint(1+a.rnd.IntN(operations)))
		faults.Set("when", []string{"before", "half", "after"}[a.rnd.IntN(3)])
	}
	r, err := a.start(faults, nil, arguments...)
	killed = faults.Has("do") && r.code == -1
	a.c.runs.Add(1)
	if killed {
		a.c.killed.Add(1)
	}
	switch {
	case err != nil:
		a.c.fail("%s: %v", a.name, err)
	case r.code != 0 && !killed:
		a.c.fail("%s: %v", a.name, r)
	}
	return r, killed
}

// start runs a command to its end; begun, if any, sees the running process.
func (a *actor) start(faults url.Values, begun func(*os.Process), arguments ...string) (result, error) {
	cmd := a.m.with("CAIRN_FAULTS="+faults.Encode()).other(faultyProgram(a.c.t), arguments...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Start()
	if err != nil {
		return result{}, err
	}
	if begun != nil {
		begun(cmd.Process)
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	return result{a.c.t, "cairn " + strings.Join(arguments, " "), stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(start)}, err
}

// loop runs a command again and again.
func (c *crowd) loop(ctx context.Context, a *actor, operations int, arguments ...string) {
	for ctx.Err() == nil {
		a.run(operations, arguments...)
		time.Sleep(time.Duration(a.rnd.IntN(300)) * time.Millisecond)
	}
}

func (c *crowd) checker(ctx context.Context) {
	a := c.actor("checker", "")
	for i := 0; ctx.Err() == nil; i++ {
		a.run(0, [][]string{{"check"}, {"check", "--read-data"}}[i%2]...)
	}
}

// writer is an actor that makes backups.
type writer struct {
	*actor
	now  *crop
	laid *crop
	done []reported
}

// reported is a backup that was reported as done, and what of.
type reported struct {
	id      string
	of      *crop
	attempt int
}

func (c *crowd) writer(name, clock string) *writer {
	w := &writer{actor: c.actor(name, clock), now: &crop{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writers = append(c.writers, w)
	return w
}

func (w *writer) tree() string { return w.m.path("tree") }

func (w *writer) work(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if !w.change() {
			return
		}
		r, killed := w.run(70, "backup", "--json", w.tree())
		w.note(r, killed, attempt)
		if !killed && attempt%5 == 4 && ctx.Err() == nil {
			w.compare(w.done[len(w.done)-1])
		}
	}
}

func (w *writer) change() bool {
	w.now.grow(w.rnd)
	if err := w.now.lay(w.tree(), w.laid); err != nil {
		w.c.fail("%s: %v", w.name, err)
		return false
	}
	w.laid = w.now.clone()
	return true
}

// note remembers a backup that was reported as done. One that was killed after its report counts, too.
func (w *writer) note(r result, killed bool, attempt int) {
	for line := range strings.Lines(r.stdout) {
		var o object
		if json.Unmarshal([]byte(line), &o) == nil && o.text("type") == "backup" {
			w.done = append(w.done, reported{o.text("snapshot"), w.laid, attempt})
			return
		}
	}
	if !killed {
		w.c.fail("%s: no report: %v", w.name, r)
	}
}

// compare restores a snapshot and compares it with what the tree was.
func (w *writer) compare(s reported) {
	want, got := w.m.path("want"), w.m.path("got")
	if _, err := os.Stat(filepath.Join(w.m.path("home"))); err != nil {
		w.c.fail("%v", err)
		return
	}
	r, err := w.start(url.Values{}, nil, "restore", s.id, "--to", got)
	if err == nil && r.code != 0 {
		err = errors.New(r.String())
	}
	if err == nil {
		err = s.of.lay(want, nil)
	}
	var list []treecmp.Difference
	if err == nil {
		list, err = treecmp.List(want, filepath.Join(got, w.tree()), treecmp.Options{})
	}
	if err != nil || len(list) > 0 {
		w.c.fail("%s: snapshot %s, which was reported as done: %v %v", w.name, s.id, err, list)
	}
	if err := errors.Join(os.RemoveAll(want), os.RemoveAll(got)); err != nil {
		w.c.fail("%v", err)
	}
}

// sleeper is a machine that falls asleep in the middle of a backup, for so long that everybody takes its session for dead, and then goes on.
func (c *crowd) sleeper(ctx context.Context, length time.Duration) {
	w := c.writer("sleeper", "")
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if !w.change() {
			return
		}
		faults := url.Values{"do": {"stop"}, "at": {fmt.Sprint(10 + w.rnd.IntN(40))}, "when": {[]string{"before", "after"}[w.rnd.IntN(2)]}}
		r, err := w.start(faults, func(p *os.Process) {
			for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil && !ended(p); {
				time.Sleep(100 * time.Millisecond)
				c.ageSessions()
			}
			for !ended(p) { // once is not enough: it may fall asleep after this
				_ = p.Signal(syscall.SIGCONT)
				time.Sleep(100 * time.Millisecond)
			}
		}, "backup", "--json", w.tree())
		if err != nil || r.code != 0 {
			c.fail("%s, after its sleep: %v %v", w.name, err, r)
			return
		}
		w.note(r, false, attempt)
		w.compare(w.done[len(w.done)-1])
	}
}

// ended says whether a process has ended that nobody has waited for yet.
func ended(p *os.Process) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// ageSessions makes the session objects that nobody has written for some seconds a month old.
func (c *crowd) ageSessions() {
	for _, dir := range c.home.dirs() {
		found, err := filepath.Glob(filepath.Join(dir, "sessions", "*"))
		if err != nil {
			c.fail("%v", err)
		}
		for _, name := range found {
			if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > 3*time.Second {
				then := time.Now().AddDate(0, -1, 0)
				_ = os.Chtimes(name, then, then) // it may be gone
			}
		}
	}
}

// end looks at what is left when all have stopped.
func (c *crowd) end(prune []string) {
	t := c.t
	t.Logf("%d runs, %d of them killed", c.runs.Load(), c.killed.Load())
	if t.Failed() {
		return
	}
	c.stop = func() {}
	for _, w := range c.writers { // the next night
		if !w.change() {
			return
		}
		r, _ := w.run(0, "backup", "--json", w.tree())
		w.note(r, false, 1<<30)
	}
	home := c.actor("home", "")
	home.run(0, prune...)
	c.home.age()
	home.run(0, prune...)
	home.run(0, "check", "--read-data")
	s, err := crash.Look(t.Context(), c.home.dirs(), c.home.path("key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range append(s.Orphans, s.Sessions...) {
		t.Errorf("left over: %s", o)
	}
	kept, forgotten := 0, 0
	for _, w := range c.writers {
		for i, d := range w.done {
			if slices.Contains(s.Forgotten, d.id) {
				forgotten++
				if later := len(w.done) - 1 - i; later == 0 {
					t.Errorf("%s: the last snapshot was forgotten", w.name)
				}
				continue
			}
			kept++
			w.compare(d)
		}
	}
	t.Logf("%d snapshots were reported as done and are there, %d were forgotten, %d packs are left; incomplete: %d", kept, forgotten, s.Packs, len(s.Incomplete))
}
