package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSurviveKills: two of six servers are killed in the middle of a backup, brought back and healed by the next one, and two others
// killed before the restore. No more than two are gone at any time, and nothing is lost.
func TestSurviveKills(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 2, false)
	size := 96 << 20
	if soaking() {
		size = 2 << 30
	}
	tree := c.randomTree("tree", size)
	half := int64(size) * 6 / 4 / 2
	r, _ := c.during(func() bool { return c.stored() >= half }, func() { c.kill(1, 4) }, "backup", "--json", tree)
	o := r.one("backup")
	t.Logf("backup of %d MiB, two servers killed after %d MiB were stored: %v, %v degraded packs of %v", size>>20, half>>20, r.took.Round(time.Millisecond), o["degraded_packs"], o["packs"])
	if r.code != 0 || o.number("degraded_packs") <= 0 {
		t.Fatalf("a backup that loses two servers: %v", r)
	}
	c.warns(r, 1, 4)
	r = c.ok("restore", "latest", "--to", c.path("degraded"))
	c.warns(r, 1, 4)
	same(t, tree, c.path("degraded", tree))

	c.start(1, 4)
	o = c.backup(tree)
	t.Logf("the next backup healed %v", o["healed_shards"])
	c.check()

	c.kill(0, 5)
	for _, m := range []*cluster{c, c.elsewhere()} {
		r = m.ok("restore", "latest", "--to", m.path("restored"))
		t.Logf("restore with two others gone: %v", r.took.Round(time.Millisecond))
		m.warns(r, 0, 5)
		same(t, tree, m.path("restored", tree))
	}
	c.start(0, 5)
	c.check()
}

// TestSurviveTooFew: with three of six servers gone, a backup, a running one too, and a restore end with exit 5 within seconds and
// harm nothing. When one is back everything works, and what the interrupted backup had stored is not uploaded again.
func TestSurviveTooFew(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 2, false)
	const size = 96 << 20
	first := c.write("first", files{"a": "x", "b": string(random("first", 5<<20))})
	c.backup(first)
	tree := c.randomTree("tree", size)
	before := c.stored()
	r, after := c.during(func() bool { return c.stored()-before >= size*6/4/2 }, func() { c.kill(0, 2, 5) }, "backup", tree)
	if r.code != 5 {
		t.Errorf("a backup that loses three servers: %v", r)
	}
	soon(t, after, r)
	t.Logf("three servers killed: exit %d after %v", r.code, after.Round(time.Millisecond))
	for _, arguments := range [][]string{{"backup", tree}, {"restore", "latest", "--to", c.path("nothing")}, {"check"}} {
		r := c.must(5, arguments...).says("hint: ")
		soon(t, r.took, r)
		t.Logf("%s: exit %d after %v", arguments[0], r.code, r.took.Round(time.Millisecond))
	}
	if found := names(t, c.dir, "nothing"); len(found) > 0 {
		t.Errorf("a restore without enough members left %v", found)
	}
	kept := c.stored() - before

	c.start(2)
	o := c.backup(tree)
	t.Logf("%d MiB were kept, the next backup sent %d MiB of new data", kept>>20, o.number("bytes_new")>>20)
	// Of what is kept, two packs of 48 MiB may be too incomplete to use.
	if n := o.number("bytes_new"); n > size-kept*4/6/4 {
		t.Errorf("%d bytes had been stored, and %d of %d are stored again: %v", kept, n, size, o)
	}
	r = c.ok("restore", "latest", "--to", c.path("restored"))
	same(t, tree, c.path("restored", tree))
	c.start(0, 5)
	c.backup(tree) // heals
	c.check()
	same(t, first, c.restore("latest~2", first))
}

// TestSurviveEmpty: two servers come back with new, empty disks. In the place of the members that they were they get what was there, byte for byte.
func TestSurviveEmpty(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 2, false)
	tree := c.write("tree", files{"a": "x", "b": string(random("empty", 20<<20))})
	c.backup(tree)
	whole := c.state()
	c.kill(2, 3)
	c.warns(c.ok("restore", "latest", "--to", c.path("degraded")), 2, 3)
	same(t, tree, c.path("degraded", tree))
	for _, i := range []int{2, 3} {
		c.servers[i].Clear()
	}
	c.start(2, 3)
	c.warns(c.ok("restore", "latest", "--to", c.path("empty")), 2, 3)
	same(t, tree, c.path("empty", tree))
	for _, i := range []int{2, 3} {
		c.ok("member", "replace", fmt.Sprint(i), c.urls()[i])
	}
	for _, name := range whole.Differences(c.state()) {
		if !strings.HasSuffix(name, " cairn.json") { // new members have new ids
			t.Errorf("different after the replacement: %s", name)
		}
	}
	c.check()

	// what --strict makes of a degraded snapshot: it is stored, and the exit code is 5
	c.kill(4)
	c.write("tree", files{"c": "new"})
	c.warns(c.must(5, "backup", "--strict", tree), 4)
	same(t, tree, c.restore("latest", tree))
	c.start(4)
	c.ok("backup", "--strict", tree)
	c.check()
}
