package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/tests/nasty"
)

// second makes another archive on the machine and returns the machine that uses it, and a machine that copies to it.
func (m *machine) second(name string, k, p int) (other, copies *machine) {
	m.t.Helper()
	key, members := m.path(name+".key"), []string{}
	for i := range k + p {
		members = append(members, m.path(fmt.Sprintf("%s%d", name, i)))
	}
	m.ok(append([]string{"init", "--data", fmt.Sprint(k), "--parity", fmt.Sprint(p), "--new-key-file", key}, members...)...)
	list := strings.Join(members, ",")
	return m.with("CAIRN_KEY_FILE="+key, "CAIRN_ARCHIVE="+list), m.with("CAIRN_TO_KEY_FILE="+key, "CAIRN_TO_ARCHIVE="+list)
}

// TestCopyNasty: whatever a tree can hold comes back from a copy as it was, and from a copy of what changed, and without what was
// taken out.
func TestCopyNasty(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree := m.plant("tree", nasty.Options{Entries: 5000, Small: true})
	code := 0
	if os.Geteuid() != 0 {
		code = 3 // files of mode 0
	}
	m.must(code, "backup", tree)
	target, copies := m.second("copy", 4, 2)
	copies.ok("copy")
	put(t, filepath.Join(tree, "new", "file"), string(random("new", 3<<20)), false)
	if err := os.RemoveAll(filepath.Join(tree, "many", "7")); err != nil {
		t.Fatal(err)
	}
	m.must(code, "backup", tree)
	r := copies.ok("copy", "--json").one("copy")
	if r.number("copied") != 1 || r.number("there") != 1 || r.number("bytes") < 3<<20 || r.number("bytes") > 4<<20 {
		t.Errorf("the second copy: %v", r)
	}
	back := m.path("restored")
	m.removeLater(back)
	target.must(code, "restore", "latest", "--to", back)
	same(t, tree, filepath.Join(back, tree))
	target.check()

	target.ok("rewrite", "latest", "--exclude", filepath.Join(tree, "new"), "--forget")
	if err := os.RemoveAll(filepath.Join(tree, "new")); err != nil {
		t.Fatal(err)
	}
	without := m.path("without")
	m.removeLater(without)
	target.must(code, "restore", "latest", "--to", without)
	for _, name := range []string{filepath.Join(without, tree), tree} { // the directory's own time is that of the backup
		if err := os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	same(t, tree, filepath.Join(without, tree))
	target.check()
}

// TestCopyKilled: a copy is killed at random moments again and again, and comes to its end all the same, without storing anything twice.
func TestCopyKilled(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree := m.crashTree(9)
	m.backup(tree)
	put(t, filepath.Join(tree, "more"), string(random("more", 9<<20)), false)
	m.backup(tree)
	whole, copies := m.second("whole", 2, 1)
	start := time.Now()
	copies.ok("copy")
	took, clean := time.Since(start), packBytes(t, whole.members())
	target, copies := m.second("copy", 2, 1)
	kills := 0
	for range 8 {
		if _, early := killed(copies, syscall.SIGKILL, after(time.Duration(rand.Float64()*float64(took))), "copy"); early {
			kills++
		}
		target.check()
	}
	copies.ok("replicate")
	got := packBytes(t, target.members())
	t.Logf("a clean copy takes %v and stores %d bytes; after %d kills %d are stored", took, clean, kills, got)
	if got > clean+clean/2 {
		t.Errorf("%d bytes are stored after %d kills, %d by a clean copy", got, kills, clean)
	}
	target.check()
	same(t, tree, target.restore("latest", tree))
}

// TestReplicateInterrupted: E15: a watch ends with exit code 0 while it waits, and with 130 while it copies; then what was stored is kept.
func TestReplicateInterrupted(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	m.backup(m.crashTree(9))
	target, copies := m.second("copy", 1, 0)
	r, _ := killed(copies, syscall.SIGTERM, stored(t, target.members(), 1, 0), "replicate", "--watch", "1h")
	if r.code != 0 && r.code != 130 { // 0: it was through
		t.Errorf("interrupted while it copies: %v", r)
	}
	if r.code == 130 && strings.Contains(r.stdout, "copied:") {
		t.Errorf("interrupted while it copies: %v", r)
	}
	before := packBytes(t, target.members())
	r, _ = killed(copies, syscall.SIGTERM, after(4*time.Second), "replicate", "--watch", "1h")
	if r.code != 0 || !strings.Contains(r.stdout, "1 snapshot copied") && !strings.Contains(r.stdout, "1 there already") {
		t.Errorf("interrupted while it waits: %v", r)
	}
	if r.code == 0 && strings.Contains(r.stdout, "1 snapshot copied") && before == 0 {
		t.Error("the interrupted run has kept nothing")
	}
	target.check()
}
