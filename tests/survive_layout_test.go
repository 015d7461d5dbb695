package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/tests/servers"
)

// newClusterOf makes an archive over the first k + p of the servers.
func newClusterOf(t testing.TB, list []*servers.Server, k, p int) *cluster {
	t.Helper()
	c := &cluster{machine: newMachine(t), servers: list[: k+p : k+p]}
	c.env = append(c.env, list[0].Env()...)
	c.ok(append([]string{"init", "--data", fmt.Sprint(k), "--parity", fmt.Sprint(p), "--new-key-file", c.path("key")}, c.urls()...)...)
	c.use(c.path("key"), c.urls()...)
	return c
}

// TestSurviveReplace: a server is lost for good while backups go on; another one takes its place, is killed in the middle of that, and
// ends with everything that belongs there. Then two others may go.
func TestSurviveReplace(t *testing.T) {
	t.Parallel()
	all := servers.Start(t, 7)
	c := newClusterOf(t, all, 4, 2)
	tree, first := c.saved(c.randomTree("tree", 60<<20))
	c.kill(3)
	c.saved(c.write("more", files{"a": "written while a member was gone"}))

	fresh := all[6]
	r, _ := c.during(func() bool { return len(packObjects(t, fresh)) > 0 }, fresh.Kill, "member", "replace", "3", fresh.URL(), "--limit-download", "24M")
	if r.code == 0 {
		t.Errorf("the new member was killed, and nothing is told: %v", r)
	}
	c.gives(first, tree) // the archive is as it was
	fresh.Start()
	o := c.ok("member", "replace", "3", fresh.URL(), "--json").one("member_replace")
	if n := o.number("shards_present"); n == 0 || n != o.number("shards_expected") || o.number("kept") == 0 {
		t.Errorf("%v", o)
	}
	c.servers[3] = fresh
	c.use(c.path("key"), c.urls()...)
	c.ok("repair", "--missing") // the other backup was degraded: its packs are the new member's now
	c.check()
	c.kill(0, 5)
	c.gives(first, tree)
	c.start(0, 5)
}

// TestSurviveLayout: three servers become six. The command is killed in the middle, and the archive read and written there.
func TestSurviveLayout(t *testing.T) {
	t.Parallel()
	all := servers.Start(t, 6)
	c := newClusterOf(t, all, 2, 1)
	tree, first := c.saved(c.randomTree("tree", 60<<20))
	arguments := []string{"member", "add", "--data", "4", "--parity", "2", "--round", "1", all[3].URL(), all[4].URL(), all[5].URL()}
	cmd := c.command(append(arguments, "--limit-upload", "32M")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patient); len(packObjects(t, all[4])) < 2 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("it had ended: %v", err)
	}
	_ = cmd.Wait() // it was killed

	three := c.urls()
	c.servers = all
	c.use(c.path("key"), c.urls()...)
	c.gives(first, tree)
	more, second := c.saved(c.write("more", files{"a": "written half-way"}))
	c.use(c.path("key"), three...)
	r := c.ok(arguments...) // the same command goes on
	c.use(c.path("key"), c.urls()...)
	if !strings.Contains(r.stdout, "rewritten into 4+2") {
		t.Errorf("%v", r)
	}
	if o := c.ok("member", "list", "--json").one("members"); o.number("packs_in_former_layouts") != 0 || o.number("survives") != 2 || o.number("degraded_packs") != 0 {
		t.Errorf("%v", o)
	}
	c.check()
	c.kill(1, 4)
	c.gives(first, tree)
	c.gives(second, more)
	c.start(1, 4)
}

// packObjects lists what a server stores of packs.
func packObjects(t testing.TB, s *servers.Server) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.Dir(), "binaries", "*", "*", "*", "*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// saved backs a tree up and returns it with its snapshot.
func (c *cluster) saved(tree string) (path, snapshot string) {
	c.t.Helper()
	return tree, c.backup(tree).text("snapshot")
}

// gives demands that a snapshot comes back exactly, on this machine and on one that knows nothing.
func (c *cluster) gives(snapshot, tree string) {
	c.t.Helper()
	for _, m := range []*cluster{c, c.elsewhere()} {
		same(c.t, tree, m.restore(snapshot, tree))
	}
}
