package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/tests/servers"
)

// TestReplicaOnTheWire: E1, E8: a backup server has the whole history, found by the ids of the source, and proves to be whole. E5: after a
// small change little crosses the wire. E24: a replicate is through when it ends. E6: a run asks for everything that is missing and not
// for what it was told of, so that one that did not take place costs nothing but time.
func TestReplicaOnTheWire(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1, true) // the backup server; its key is not that of the source
	source := newMachine(t)
	source.init(1, 0)
	to := source.with(append(c.servers[0].Env(), "CAIRN_TO_KEY_FILE="+c.path("key"), "CAIRN_TO_ARCHIVE="+strings.Join(c.urls(), ","))...)
	tree := source.write("tree", files{"large": string(random("wire", 24<<20)), "note": "first"})
	ids := []string{source.backup(tree).text("snapshot")}

	servers.Total(c.proxies)
	to.ok("replicate")
	first := servers.Total(c.proxies)
	for _, text := range []string{"second", "third"} { // two nights without a run
		put(t, filepath.Join(tree, "note"), text, false)
		ids = append(ids, source.backup(tree).text("snapshot"))
	}
	if o := to.ok("replicate", "--json").one("replicate"); o.number("copied") != 2 || o.number("there") != 1 {
		t.Errorf("the run that makes up for others: %v", o)
	}
	then := servers.Total(c.proxies)
	tell(t, "the first run", first)
	tell(t, "after a small change", then)
	if first.Up < 24<<20 || then.Up > 1<<20 || then.Down > 1<<20 {
		t.Errorf("%d bytes sent at first, then %d sent and %d received for a change of some bytes", first.Up, then.Up, then.Down)
	}
	if list := c.ok("snapshots", "--json").of("snapshot"); len(list) != 3 {
		t.Errorf("%d snapshots in the replica", len(list))
	}
	for i, text := range []string{"first", "second", "third"} {
		if got := c.ok("dump", ids[i]+":"+tree+"/note").stdout; got != text {
			t.Errorf("snapshot %s of the source is %q in the replica, want %q", ids[i][:8], got, text)
		}
	}
	c.check()
	same(t, tree, c.elsewhere().restore(ids[2], tree))
}

// TestRewoundSource: E18: a source archive that was put back to an older state, and went on from there, is noticed where backups are made, by
// check and by replicate; and it never takes the history away that the replica has.
func TestRewoundSource(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	replica, to := m.second("replica", 1, 1)
	tree := m.write("tree", files{"note": "first"})
	m.backup(tree)
	to.ok("replicate")
	copyTree(t, member, m.path("yesterday"))
	put(t, filepath.Join(tree, "note"), "second", false)
	lost := m.backup(tree).text("snapshot")
	to.ok("replicate")

	dropDir(t, member)
	if err := os.Rename(m.path("yesterday"), member); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(tree, "note"), "third", false)
	r := m.ok("backup", tree)
	r.says("warning: the last backup of this series made here ("+lost[:8]+") is gone", "rolled back")
	to.ok("replicate").says("1 snapshot copied", "1 copy is kept that the source has no more")
	texts := map[string]bool{}
	for _, s := range replica.ok("snapshots", "--json").of("snapshot") {
		texts[replica.ok("dump", s.text("id")+":"+tree+"/note").stdout] = true
	}
	if fmt.Sprint(texts) != fmt.Sprint(map[string]bool{"first": true, "second": true, "third": true}) {
		t.Errorf("the replica has %v", texts)
	}
	// Even told to follow the source it does not follow it into nothing.
	eachFile(t, filepath.Join(member, "snapshots"), os.Remove)
	to.must(1, "replicate", "--delete").says("no snapshot at all")
	if n := len(replica.ok("snapshots", "--json").of("snapshot")); n != 3 {
		t.Errorf("%d snapshots in the replica of an archive that is empty", n)
	}
	replica.check()
}
