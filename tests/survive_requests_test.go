package tests

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
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
	if most := int64(size) * (k + m) / k * 3 / 2; n.Up > most {
		t.Errorf("%d bytes sent for %d, at most %d expected", n.Up, size, most)
	}

	c.backup(tree)
	n = servers.Total(c.proxies)
	tell(t, "backup of the same", n)
	if most := (k + m) * 9; n.Requests() > most { // card, snapshot, mark, keys/, snapshots/, index/, and gc/ twice
		t.Errorf("an unchanged backup takes %d requests, at most %d expected", n.Requests(), most)
	}
	if n.Down > 1<<20 || n.Up > 1<<20 {
		t.Errorf("an unchanged backup moves %d bytes up and %d down", n.Up, n.Down)
	}

	most := struct {
		bytes    int64
		requests int
	}{size*105/100 + 1<<20, packs*k + 5*(k+m)} // the MiB is for trees, segments and cards; a member is asked for its card, and for three listings
	for _, at := range []*cluster{c, c.elsewhere()} {
		// A member that is slow because the machine is busy with other tests is read around, which costs bytes and requests. That is as
		// it should be, and not what is counted here, so the best of three counts.
		bytes, requests := int64(math.MaxInt64), math.MaxInt
		for i := range 3 {
			servers.Total(c.proxies)
			target := at.path(fmt.Sprint("restored", i))
			at.ok("restore", "latest", "--to", target)
			n = servers.Total(c.proxies)
			tell(t, fmt.Sprintf("restore, machine %s", at.dir), n)
			same(t, tree, filepath.Join(target, tree))
			bytes, requests = min(bytes, n.Down), min(requests, n.Requests())
			if bytes <= most.bytes && requests <= most.requests {
				break
			}
		}
		if bytes > most.bytes || requests > most.requests {
			t.Errorf("%d bytes and %d requests for a restore of %d bytes from %d packs, at most %d and %d expected", bytes, requests, size, packs, most.bytes, most.requests)
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
