package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/tests/servers"
)

// misbehaviour is what one member of six does while the archive is used.
type misbehaviour struct {
	name    string
	f       servers.Faults
	refuse  bool // the port is closed
	absent  bool // nothing can be stored on it: the backup must say that it is degraded, and name it
	unread  bool // nothing can be read from it: the restore must name it
	patient time.Duration
}

// The time that a command may take in all, with room for a busy machine. A healthy one takes a second; a hanging member costs its timeouts, but not for
// each request.
const (
	prompt  = 60 * time.Second
	patient = 150 * time.Second
)

var misbehaviours = []misbehaviour{
	{name: "is gone", refuse: true, absent: true, unread: true},
	{name: "hangs", f: servers.Faults{Do: servers.Hang}, absent: true, unread: true, patient: patient},
	{name: "resets connections", f: servers.Faults{Do: servers.Reset}, absent: true, unread: true},
	{name: "loses answers", f: servers.Faults{Do: servers.Lose}, absent: true, unread: true},
	{name: "has keys that expired", f: servers.Faults{Do: servers.Expired}, absent: true, unread: true},
	{name: "refuses", f: servers.Faults{Do: servers.Denied}, absent: true, unread: true},
	{name: "is full", f: servers.Faults{Do: servers.Full}, absent: true},
	{name: "fails always", f: servers.Faults{Do: servers.Error}, absent: true, unread: true, patient: patient},
	{name: "fails often", f: servers.Faults{Do: servers.Error, Share: 0.3}},
	{name: "throttles", f: servers.Faults{Rate: 3}, patient: patient},
	{name: "cuts bodies", f: servers.Faults{Do: servers.Cut, After: 1000, Share: 0.5}, patient: patient},
	{name: "is slow", f: servers.Faults{Latency: 300 * time.Millisecond, Bandwidth: 2 << 20}, patient: patient},
	{name: "flips bits of packs", f: servers.Faults{Do: servers.Flip, Only: ofKind("binaries")}},
	{name: "flips bits of everything", f: servers.Faults{Do: servers.Flip}},
	{name: "gives other packs", f: servers.Faults{Do: servers.Swap, Only: ofKind("binaries")}},
	{name: "gives halves of packs", f: servers.Faults{Do: servers.Short, Only: ofKind("binaries")}},
	{name: "shows the past", f: servers.Faults{Do: servers.Stale}},
}

func ofKind(kind string) func(servers.Request) bool {
	return func(r servers.Request) bool { return r.Kind() == kind }
}

// TestSurviveMember: whatever one member does, backups and restores with the others succeed and are exact; what could not be stored on it is
// said, and is there after the next backup that reaches it.
func TestSurviveMember(t *testing.T) {
	t.Parallel()
	for part := range 3 { // each has six servers, and does its share one after the other
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 4, 2, true)
			c.backup(c.write("tree", files{"a": "first", "kept": string(random("kept", 9<<20))}))
			for _, p := range c.proxies {
				p.Remember()
			}
			c.ok("restore", "latest", "--to", c.path("before")) // what is remembered
			for i, b := range misbehaviours {
				if i%3 == part {
					t.Run(b.name, func(t *testing.T) { c.misbehave(t, b, i%6) })
				}
			}
			c.backup(c.path("tree"))
			c.check()
		})
	}
}

func (c *cluster) misbehave(t *testing.T, b misbehaviour, bad int) {
	c = c.in(t)
	p := c.proxies[bad]
	defer func() {
		if b.refuse {
			p.Accept()
		}
		p.Set(servers.Faults{})
	}()
	limit := prompt
	if b.patient > 0 {
		limit = b.patient
	}
	if b.refuse {
		p.Refuse()
	} else {
		p.Set(b.f)
	}
	p.Reset()

	tree := c.write("tree", files{"a": b.name, "new": string(random(b.name, 7<<20))})
	r := c.ok("backup", "--json", tree)
	said := fmt.Sprintf("backup %v", r.took.Round(time.Millisecond))
	if r.took > limit {
		t.Errorf("the backup took too long: %v", r)
	}
	if o := r.one("backup"); b.absent && o.number("degraded_packs") <= 0 {
		t.Errorf("the backup is not called degraded: %v", r)
	}
	if b.absent {
		c.warns(r, bad)
	}
	machines := []*cluster{c}
	if !b.absent || soaking() { // what answers may lie about cards and segments too, which only a machine without a cache reads
		machines = append(machines, c.elsewhere())
	}
	for _, m := range machines {
		target := filepath.Join(t.TempDir(), "out")
		r := m.ok("restore", "latest", "--to", target)
		said += fmt.Sprintf(", restore %v", r.took.Round(time.Millisecond))
		same(t, tree, filepath.Join(target, tree))
		if r.took > limit {
			t.Errorf("the restore took too long: %v", r)
		}
		if b.unread && !strings.Contains(r.stderr, c.host(bad)) {
			t.Errorf("%s is not named by %v", c.host(bad), r)
		}
	}
	n := p.Counts()
	t.Logf("%s; it was asked %d times, %d of them in vain", said, n.Requests(), n.Refused)

	if b.refuse {
		p.Accept()
		b.refuse = false
	}
	p.Set(servers.Faults{})
	o := c.backup(tree)
	if b.absent && o.number("degraded_packs") != 0 {
		t.Errorf("the next backup is degraded: %v", o)
	}
	r = c.ok("check") // every shard is where it belongs
	if strings.Contains(r.stdout+r.stderr, "missing") {
		t.Errorf("something is not healed: %v", r)
	}
}

// TestSurviveMiddle: a member stops working in the middle of a backup, and another in the middle of a restore.
func TestSurviveMiddle(t *testing.T) {
	t.Parallel()
	cases := []misbehaviour{
		{name: "hangs", f: servers.Faults{Do: servers.Hang}},
		{name: "cuts all bodies", f: servers.Faults{Do: servers.Cut, After: 1000}},
		{name: "has keys that expired", f: servers.Faults{Do: servers.Expired}},
	}
	if soaking() {
		cases = append(cases,
			misbehaviour{name: "resets connections", f: servers.Faults{Do: servers.Reset}},
			misbehaviour{name: "is full", f: servers.Faults{Do: servers.Full}},
			misbehaviour{name: "throttles everything", f: servers.Faults{Do: servers.SlowDown}},
			misbehaviour{name: "flips bits", f: servers.Faults{Do: servers.Flip}},
			misbehaviour{name: "loses answers", f: servers.Faults{Do: servers.Lose}})
	}
	c := newCluster(t, 4, 2, true)
	const size = 48 << 20
	for i, b := range cases {
		t.Run(b.name, func(t *testing.T) {
			c := c.in(t)
			tree := c.randomTree(fmt.Sprint("tree", i), size)
			before, bad, other := c.stored(), c.proxies[i%6], c.proxies[(i+3)%6]
			defer bad.Set(servers.Faults{})
			defer other.Set(servers.Faults{})
			// With a limit, 72 MiB take 3 s, so that there is a middle on a fast machine too.
			r, after := c.during(func() bool { return c.stored()-before > size/2 }, func() { bad.Set(b.f) }, "backup", "--json", "--limit-upload", "24M", tree)
			if r.code != 0 || after > patient {
				t.Fatalf("the backup took %v from then on: %v", after, r)
			}
			if b.f.Do != servers.Flip { // that does not concern uploads
				c.warns(r, i%6)
			}
			bad.Set(servers.Faults{})

			target := filepath.Join(t.TempDir(), "out")
			arrived := func() bool { return sum(sizes(t, target)) > size/3 }
			if err := os.Mkdir(target, 0o755); err != nil {
				t.Fatal(err)
			}
			again, later := c.during(arrived, func() { other.Set(b.f) }, "restore", "latest", "--to", target, "--limit-download", "16M")
			if again.code != 0 || later > patient {
				t.Fatalf("the restore took %v from then on: %v", later, again)
			}
			same(t, tree, filepath.Join(target, tree))
			t.Logf("backup %v, %v of them afterwards; restore %v, %v", r.took.Round(time.Millisecond), after.Round(time.Millisecond),
				again.took.Round(time.Millisecond), later.Round(time.Millisecond))
			other.Set(servers.Faults{})
			c.backup(tree)
			c.check()
		})
	}
}
