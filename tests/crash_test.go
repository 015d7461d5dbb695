package tests

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// crashTree is random data in files of many sizes, so that stored bytes can be compared, and a few of everything.
func (m *machine) crashTree(large int) string {
	m.t.Helper()
	tree := files{"empty": "", "link": "-> large/0", "dir/empty/": ""}
	for i := range large {
		tree[fmt.Sprintf("large/%d", i)] = string(random(fmt.Sprint("large ", i), 5<<20+i*777777))
	}
	for i := range 300 {
		tree[fmt.Sprintf("small/%d/%d", i%10, i)] = string(random(fmt.Sprint("small ", i), i*40))
	}
	return m.write("tree", tree)
}

// packBytes is what lies below binaries/ on all members: packs that are whole, and unfinished files.
func packBytes(t testing.TB, members []string) (n int64) {
	t.Helper()
	for _, member := range members {
		n += sum(sizes(t, filepath.Join(member, "binaries")))
	}
	return n
}

// killed starts a command, ends it with a signal when it is time, and says whether that was before its end.
func killed(m *machine, signal syscall.Signal, isTime func(elapsed time.Duration) bool, arguments ...string) (result, bool) {
	m.t.Helper()
	c := m.command(arguments...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	start := time.Now()
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait() // its ProcessState tells
	}()
	for running := true; running && !isTime(time.Since(start)); {
		select {
		case <-ended:
			running = false
		case <-time.After(time.Millisecond):
		}
	}
	_ = c.Process.Signal(signal) // it may be through
	<-ended
	r := result{m.t, "cairn " + strings.Join(arguments, " "), stdout.String(), stderr.String(), c.ProcessState.ExitCode(), time.Since(start)}
	return r, r.code != 0
}

// after is a moment by the clock.
func after(d time.Duration) func(time.Duration) bool {
	return func(elapsed time.Duration) bool { return elapsed >= d }
}

// stored is the moment when so many bytes have reached the members, or a little later: a pack that is killed between its
// arrival and its line in the journal is stored twice.
func stored(t testing.TB, members []string, n int64, later time.Duration) func(time.Duration) bool {
	var reached time.Time
	return func(time.Duration) bool {
		if reached.IsZero() && packBytes(t, members) >= n {
			reached = time.Now()
		}
		return !reached.IsZero() && time.Since(reached) >= later
	}
}

// TestCrash: a backup is killed at ten moments of its run, each time of another archive: at random ones, and at random
// amounts of what has reached the members, because half of a short run goes by before that begins. The next run finds
// the archive sound, does not upload again what is there, and ends with the tree stored.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, layout := range []struct{ k, m, kills int }{{1, 0, 6}, {2, 1, 4}} {
		source := newMachine(t)
		tree := source.crashTree(9)
		source.init(layout.k, layout.m)
		start := time.Now()
		source.backup(tree)
		whole := time.Since(start)
		clean := packBytes(t, source.members())
		t.Logf("%d+%d: a whole run takes %v and stores %d bytes", layout.k, layout.m, whole, clean)
		for i := range layout.kills {
			part := (float64(i/2) + rand.Float64()) / float64(layout.kills/2)
			t.Run(fmt.Sprintf("%d+%d kill %d at %.2f", layout.k, layout.m, i, part), func(t *testing.T) {
				m := newMachine(t)
				members := m.init(layout.k, layout.m)
				moment := after(time.Duration(part * float64(whole)))
				if i%2 == 1 {
					moment = stored(t, members, int64(part*float64(clean)), rand.N(100*time.Millisecond))
				}
				_, early := killed(m, syscall.SIGKILL, moment, "backup", tree)
				before := packBytes(t, members)
				o := m.backup(tree)
				got := packBytes(t, members)
				t.Logf("killed: %v; %d bytes had been stored, the next run stored %d", early, before, got-before)
				if got > clean+clean/4 {
					t.Errorf("%d bytes are stored after a kill, %d by a clean run", got, clean)
				}
				if before > clean/3 && o.number("bytes_new") > o.number("bytes_total")*3/4 {
					t.Errorf("of %d bytes that had been stored the next run used nothing: %v", before, o)
				}
				m.check()
				same(t, tree, m.restore("latest", tree))
				m.removeAll()
			})
		}
	}
}

// removeAll makes room on the disk before the test ends.
func (m *machine) removeAll() {
	m.t.Helper()
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Error(err)
	}
}

// TestInterrupt: Ctrl-C ends a backup with exit 130; what was read by then is kept, and the next run goes on there.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(1, 0)
	tree := m.crashTree(12)
	r, _ := killed(m, syscall.SIGINT, stored(t, members, 1, 0), "backup", tree)
	if r.code != 130 || !strings.Contains(r.stderr, "interrupted") || strings.Contains(r.stdout, "saved") {
		t.Errorf("after SIGINT: %v", r)
	}
	if n := len(m.ok("snapshots", "--json").of("snapshot")); n != 0 {
		t.Errorf("an interrupted backup left %d snapshots", n)
	}
	if len(names(t, members[0], "index")) == 0 {
		t.Errorf("no index segment was published: %v", r)
	}
	before := packBytes(t, members)
	o := m.backup(tree)
	t.Logf("%d bytes were stored before the interruption, %d after", before, o.number("bytes_written"))
	// all that was sealed had been published, so it is exact but for the padding of packs
	if got, total := packBytes(t, members), o.number("bytes_total"); got > total+total/50 {
		t.Errorf("%d bytes are stored for %d", got, total)
	}
	if o.number("bytes_new") > o.number("bytes_total")-before*9/10 {
		t.Errorf("%d bytes had been stored; the next run: %v", before, o)
	}
	m.check()
	same(t, tree, m.restore("latest", tree))
}

// TestInterruptedRestore: a restore that was killed is finished by one with --in-place.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree := m.crashTree(6)
	m.backup(tree)
	start := time.Now()
	same(t, tree, m.restore("latest", tree))
	whole := time.Since(start)
	for i := range 3 {
		target := m.path(fmt.Sprint("target", i))
		moment := after(time.Duration((float64(i) + rand.Float64()) / 3 * float64(whole)))
		killed(m, syscall.SIGKILL, moment, "restore", "latest", "--to", target)
		m.ok("restore", "latest", "--to", target, "--in-place", "--delete")
		same(t, tree, filepath.Join(target, tree))
	}
}
