package tests

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cairn/tests/servers"
)

// TestNoDelete: E12: a client whose credentials may not delete anything backs up for ever, with and without versions in the bucket: none of its
// backups fails or warns because of that, killed ones included, and no backup does more than the one before because of what lies about.
func TestNoDelete(t *testing.T) {
	t.Parallel()
	for _, lock := range []bool{false, true} {
		t.Run(fmt.Sprint("versions ", lock), func(t *testing.T) {
			t.Parallel()
			noDelete(t, lock)
		})
	}
}

func noDelete(t *testing.T, lock bool) {
	c := newClusterWith(t, 1, 1, true, servers.Options{Lock: lock})
	denied := servers.Faults{Do: servers.Denied, Only: servers.Request.Deletes}
	for _, p := range c.proxies {
		p.Set(denied)
	}
	rnd := rand.New(rand.NewPCG(1, 0))
	took := c.machine.run("backup", "--json", c.write("tree 0", files{"first": "x"})).took
	requests := map[string]int{}
	killed := 0
	for i := range 50 {
		tree := c.write("tree", files{"same": string(random("same", 100_000)), "own": string(random(fmt.Sprint(i), 400_000)), fmt.Sprint("dir/", i): "x"})
		servers.Total(c.proxies)
		if i%5 < 2 {
			cmd := c.command("backup", tree)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rnd.Float64() * float64(took) * 1.2))
			_ = cmd.Process.Kill() // it may have ended
			if cmd.Wait() != nil {
				killed++
			}
			continue
		}
		r := c.must(0, "backup", "--json", "--strict", tree)
		if strings.Contains(r.stderr, "warning") || strings.Contains(r.stderr, "hint") {
			t.Errorf("backup %d: %v", i, r)
		}
		if o := r.one("backup"); o.number("degraded_packs") != 0 {
			t.Errorf("backup %d: %v", i, o)
		}
		requests[fmt.Sprint(i)] = c.proxies[0].Reset().Requests("DELETE", "POST")
	}
	t.Logf("%d of 20 killed in the middle; DELETEs of a backup: %v", killed, requests)
	if early, late := requests["2"], requests["49"]; late > early+10 {
		t.Errorf("the 50th backup tries %d deletions, the third %d: what cannot be deleted piles up", late, early)
	}
	c.check()
	tree := c.path("tree")
	same(t, tree, c.restore("latest", tree))
}

// TestReadOnly: E12: a member that lets nobody write serves whoever reads, and refuses a backup with a message that names the reason; nothing
// of it is there afterwards.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 0, true)
	tree := c.write("tree", files{"a": "x", "b": string(random("read only", 300_000))})
	c.backup(tree)
	before := c.stored()
	c.proxies[0].Set(servers.Faults{Do: servers.Denied, Only: func(r servers.Request) bool {
		return r.Method != "GET" && r.Method != "HEAD" && r.Method != "LIST"
	}})
	for _, at := range []*cluster{c, c.elsewhere()} {
		same(t, tree, at.restore("latest", tree))
		at.ok("ls", "latest")
		at.check()
	}
	put(t, tree+"/c", "more", false)
	for _, command := range [][]string{{"backup", tree}, {"forget", "latest"}, {"tag", "latest", "--add", "x"}} {
		r := c.run(command...)
		if r.code == 0 || r.took > 30*time.Second {
			t.Errorf("%v", r)
		}
		r.says("AccessDenied", "hint: ")
	}
	if after := c.stored(); after != before {
		t.Errorf("%d bytes of packs are stored, %d before", after, before)
	}
	if n := len(c.ok("snapshots", "--json").of("snapshot")); n != 1 {
		t.Errorf("%d snapshots", n)
	}
}
