package tests

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"cairn/tests/servers"
)

// tell prints what passed the proxies.
func tell(t *testing.T, what string, n servers.Counts) {
	t.Helper()
	text := ""
	for _, key := range slices.Sorted(maps.Keys(n.By)) {
		text += fmt.Sprintf(" %s %d,", key, n.By[key])
	}
	t.Logf("%s: %d requests,%s %d bytes up, %d down", what, n.Requests(), text, n.Up, n.Down)
}

// TestSurviveRequests counts what is paid for. A healthy restore reads each byte that it needs once, with few requests; a backup writes
// each shard with one request; a backup of what has not changed takes a handful for each member.
func TestSurviveRequests(t *testing.T) {
	t.Parallel()
	const k, m, size = 4, 2, 64 << 20
	c := newCluster(t, k, m, true)
	tree := c.randomTree("tree", size)
	settle()
	servers.Total(c.proxies)

	o := c.backup(tree)
	packs := int(o.number("packs"))
	n := servers.Total(c.proxies)
	tell(t, fmt.Sprintf("backup of %d bytes in %d packs", size, packs), n)
	// what there is to store: packs and one segment as shards, the snapshot and its mark on each member
	if puts, most := n.Requests("PUT"), (packs+1)*(k+m)+2*(k+m)+8; puts > most {
		t.Errorf("%d PUTs, at most %d expected", puts, most)
	}
	// Packs are levelled and padded; with a handful of them, a half of which is not full, that is far more than the 3 % of many.
	if most := int64(size) * (k + m) / k * 125 / 100; n.Up > most {
		t.Errorf("%d bytes sent for %d, at most %d expected", n.Up, size, most)
	}

	c.backup(tree)
	n = servers.Total(c.proxies)
	tell(t, "backup of the same", n)
	if most := (k + m) * 8; n.Requests() > most {
		t.Errorf("an unchanged backup takes %d requests, at most %d expected", n.Requests(), most)
	}
	if n.Down > 1<<20 || n.Up > 1<<20 {
		t.Errorf("an unchanged backup moves %d bytes up and %d down", n.Up, n.Down)
	}

	for name, at := range map[string]*cluster{"here": c, "elsewhere": c.elsewhere()} {
		servers.Total(c.proxies)
		at.ok("restore", "latest", "--to", at.path("restored"))
		n = servers.Total(c.proxies)
		tell(t, "restore "+name, n)
		same(t, tree, at.path("restored", tree))
		if most := packs*k + 5*(k+m); n.Requests() > most {
			t.Errorf("%d requests for a restore %s from %d packs, at most %d expected", n.Requests(), name, packs, most)
		}
		if most := int64(size)*105/100 + 1<<20; n.Down > most { // the MiB is for trees, segments and cards
			t.Errorf("a restore %s of %d bytes reads %d, at most %d expected", name, size, n.Down, most)
		}
	}
}

// TestSurviveLatency: members 50 ms away, as another continent is. A restore of many small files waits for few of its requests one
// after the other: it takes at most three times as long as from nearby.
func TestSurviveLatency(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 2, true)
	number := 3000
	if soaking() {
		number = 68000
	}
	tree := files{}
	for i := range number {
		tree[fmt.Sprintf("%d/%d/%d", i%7, i%101, i)] = string(random(fmt.Sprint("near", i), 100+i%20000))
	}
	top := c.write("tree", tree)
	c.backup(top)
	took := map[bool]time.Duration{}
	for _, far := range []bool{false, true} {
		f := servers.Faults{}
		if far {
			f.Latency = 50 * time.Millisecond
		}
		for _, p := range c.proxies {
			p.Set(f)
		}
		servers.Total(c.proxies)
		r := c.ok("restore", "latest", "--to", c.path(fmt.Sprint("far ", far)))
		tell(t, fmt.Sprintf("restore of %d files, far: %v: %v", number, far, r.took.Round(time.Millisecond)), servers.Total(c.proxies))
		took[far] = r.took
		same(t, top, c.path(fmt.Sprint("far ", far), top))
	}
	// Short runs are mostly the round trips of opening the archive, of which there are about a dozen.
	if most := 3*took[false] + 1500*time.Millisecond; took[true] > most {
		t.Errorf("from afar it takes %v, from nearby %v", took[true], took[false])
	}
}
