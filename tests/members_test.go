package tests

import (
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/tests/nasty"
)

// choose returns all sets of k out of n, as bits.
func choose(n, k int) (sets []uint) {
	for s := range uint(1) << n {
		if bits.OnesCount(s) == k {
			sets = append(sets, s)
		}
	}
	return sets
}

func pickMembers(members []string, set uint) (list []string) {
	for i, m := range members {
		if set&(1<<i) != 0 {
			list = append([]string{m}, list...) // not in the order of their numbers
		}
	}
	return list
}

// TestAnyMembers: any k members alone give everything back on a machine that knows nothing but the key; k-1 are too few,
// which is said at once.
func TestAnyMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ k, m int }{{2, 1}, {3, 2}, {1, 2}} {
		home := newMachine(t)
		members := home.init(c.k, c.m)
		var tree string
		if c.k == 2 {
			tree = home.plant("tree", nasty.Options{Small: true})
		} else {
			tree = home.write("tree", files{"a": "x", "b/large": string(random("members", 20<<20)), "b/c/": "", "d": "-> a"})
		}
		home.run("backup", tree) // exit 3 for a normal user
		for _, set := range choose(c.k+c.m, c.k) {
			t.Run(fmt.Sprintf("%d+%d %b", c.k, c.m, set), func(t *testing.T) {
				m := newMachine(t)
				m.use(home.path("key"), pickMembers(members, set)...)
				target := m.path("restored")
				m.removeLater(target)
				r := m.run("restore", "latest", "--to", target)
				if r.code != 0 && (r.code != 3 || os.Geteuid() == 0) { // a normal user could not read all of it
					t.Error(r)
				}
				if !strings.Contains(r.stderr, "are missing") {
					t.Errorf("missing members are not told of: %v", r)
				}
				same(t, tree, filepath.Join(target, tree))
				if set == 3 {
					m.ok("check", "--read-data").says("no damage found")
				}
				if err := nasty.Remove(target); err != nil {
					t.Error(err)
				}
			})
		}
		for _, set := range choose(c.k+c.m, c.k-1) {
			tooFew(t, home, pickMembers(members, set), tree)
		}
	}
}

// tooFew demands exit 5 soon, with the missing members named and a hint.
func tooFew(t *testing.T, home *machine, members []string, tree string) {
	t.Helper()
	if len(members) == 0 {
		return
	}
	m := newMachine(t)
	m.use(home.path("key"), members...)
	for _, command := range [][]string{{"restore", "latest", "--to", m.path("out")}, {"backup", tree}, {"dump", "latest:" + tree + "/a"}, {"check"}} {
		r := m.run(command...)
		if r.code != 5 || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("with %d members: %v", len(members), r)
		}
		if r.took > 90*time.Second { // seconds on a quiet machine, 40 on one with busy disks; with the patience that a store's answers get it would be minutes
			t.Errorf("%v before it is said that members are missing: %v", r.took, r)
		}
	}
	if found := names(t, m.dir, "out"); len(found) > 0 {
		t.Errorf("too few members, but there is %v", found)
	}
}

// TestBackupDegraded: a backup goes on while members are missing, says that the snapshot is degraded, and the files
// come back from what there is.
func TestBackupDegraded(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(2, 1)
	tree := m.write("tree", files{"a": "x", "b": string(random("degraded", 5<<20))})
	m.backup(tree)
	away := m.path("away")
	if err := os.Rename(members[1], away); err != nil {
		t.Fatal(err)
	}
	m.write("tree", files{"c": string(random("more", 3<<20))})
	r := m.ok("backup", "--json", tree)
	o := r.one("backup")
	if o.number("degraded_packs") == 0 || !strings.Contains(fmt.Sprint(o["members_missing"]), members[1]) || !strings.Contains(r.stderr, "degraded") {
		t.Errorf("a backup without %s: %v", members[1], r)
	}
	same(t, tree, m.restore("latest", tree))
	if err := os.Rename(away, members[1]); err != nil {
		t.Fatal(err)
	}
	same(t, tree, m.restore("latest", tree))
	m.must(4, "check").says(members[1], "everything can still be read")
}

// TestWrongMembers: members of another archive, and the same one twice, are refused by name before anything is done, when the
// archive cannot do without those in doubt; when it can, they are left out by name.
func TestWrongMembers(t *testing.T) {
	t.Parallel()
	m, other := newMachine(t), newMachine(t)
	a, b := m.init(2, 1), other.init(2, 1)
	m.backup(m.write("tree", files{"a": "x"}))
	for name, list := range map[string][]string{
		"one and one of another archive": {a[0], b[1]}, "the same twice": {a[0], a[1], a[1]}, "a copy of another": {a[0], m.path("copy"), a[2]},
	} {
		if name == "a copy of another" {
			copyTree(t, a[0], m.path("copy"))
		}
		x := *m
		x.use(m.path("key"), list...)
		r := x.run("snapshots")
		if r.code == 0 || !strings.Contains(r.stderr, list[1]) || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("%s: %v", name, r)
		}
	}
	for name, list := range map[string][]string{
		"one of another archive": {a[0], b[1], a[2]}, "one of another archive beside all": {a[0], b[1], a[1], a[2]},
		"a copy beside all": {a[0], m.path("copy"), a[1], a[2]},
	} {
		x := *m
		x.use(m.path("key"), list...)
		if r := x.ok("snapshots"); !strings.Contains(r.stderr, list[1]+" is left out") {
			t.Errorf("%s: %v", name, r)
		}
		x.must(4, "check").says(list[1])
	}
	// moved and renamed members are themselves, in any order
	moved := m.path("elsewhere")
	if err := os.Rename(a[2], moved); err != nil {
		t.Fatal(err)
	}
	m.use(m.path("key"), moved, a[1], a[0])
	m.check()
}

// TestManyInOne: one directory that holds several members survives what single files suffer.
func TestManyInOne(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.ok("init", "--data", "4", "--parity", "2", "--new-key-file", m.path("key"), m.path("one")).says("the loss of " + m.path("one"))
	m.use(m.path("key"), m.path("one"))
	tree := m.write("tree", files{"a": "x", "b": string(random("many", 9<<20))})
	m.backup(tree)
	for i, name := range names(t, m.path("one"), "m02/binaries") {
		hurts[i%len(hurts)].object(t, m.path("one", name))
	}
	if err := os.RemoveAll(m.path("one/m04")); err != nil {
		t.Fatal(err)
	}
	same(t, tree, m.restore("latest", tree))
	m.must(4, "check", "--read-data").says("m02")
}
