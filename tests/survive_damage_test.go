package tests

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/remote"
	"cairn/remote/local"
	"cairn/tests/damage"
)

// behind opens the servers' directories, to look at objects and to damage them without the servers' knowledge.
func (c *cluster) behind() (list []remote.Store) {
	c.t.Helper()
	for _, dir := range c.dirs() {
		store, err := local.Open(dir)
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, store)
	}
	return list
}

func (c *cluster) state() damage.State {
	c.t.Helper()
	s, err := damage.Read(c.t.Context(), c.behind())
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// places are the objects that lines of JSON name, as damage.Injury.Place does, each once.
func (c *cluster) places(lines []object) (list []string) {
	for _, o := range lines {
		list = append(list, damage.Injury{Member: slices.Index(c.urls(), o.text("member")), Object: o.text("object")}.Place())
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// keyless is a machine with neither key nor cache.
func (c *cluster) keyless() *cluster {
	c.t.Helper()
	other := c.elsewhere()
	other.env = append(other.env, "CAIRN_KEY_FILE=", "CAIRN_CACHE_DIR="+other.path("cache"))
	return other
}

// TestSurviveDamage: every object of a 4+2 archive over S3 servers is damaged on one or two members: bits, ends, zeros, objects that are
// gone or replaced by others. Restores are exact, a scrub without a key finds exactly what was done, a repair heals exactly
// that, and then every byte is what it was.
func TestSurviveDamage(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 2, false)
	var tree string
	for i := range 3 {
		tree = c.write("tree", files{fmt.Sprint("a", i): "x", "same": string(random("same", 300)), "large": string(random(fmt.Sprint("large", i), 5<<20))})
		c.backup(tree)
	}
	whole := c.state()
	seeds := uint64(2)
	if soaking() {
		seeds = 100
	}
	for seed := range seeds {
		done, err := whole.Hurt(t.Context(), rand.New(rand.NewPCG(seed, 1)), c.behind(), 2, "binaries/", "index/", "keys/", "snapshots/")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, i := range done {
			want = append(want, i.Place())
		}
		slices.Sort(want)

		for _, m := range []*cluster{c, c.elsewhere()} {
			target := filepath.Join(t.TempDir(), "out")
			m.ok("restore", "latest", "--to", target)
			same(t, tree, filepath.Join(target, tree))
		}
		found := c.keyless().must(4, "check", "--shards", "--json")
		sameList(t, "found by check --shards", c.places(found.of("damage")), want)
		r := c.ok("repair", "--json")
		sameList(t, "found by repair", c.places(r.of("finding")), want)
		for _, o := range r.of("finding") {
			if o.text("outcome") != "healed" {
				t.Errorf("not healed: %v", o)
			}
		}
		o := r.one("repair")
		t.Logf("seed %d: %d objects damaged; packs that lacked 0, 1, 2 shards before: %v, after: %v", seed, len(want), o["before"], o["after"])
		c.keyless().ok("check", "--shards")
		sameList(t, "different after the repair", whole.Differences(c.state()), nil)
		if t.Failed() {
			t.Fatalf("seed %d: %v\n%v\n%v", seed, done, found, r)
		}
	}
	c.check()
}

func sameList(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s: %s was not expected", what, g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s: %s is not", what, w)
		}
	}
}

// TestSurviveReplaced: one object is silently replaced by another that is good in itself: a shard by that of another pack with the same number
// and size or by another shard of its own pack, a card by half of it, a snapshot by an older one. Nothing is lost, it is found, and healed.
func TestSurviveReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 2, false)
	tree := c.write("tree", files{"large": string(random("replaced", 80<<20))}) // several full packs: their shards have one size
	c.backup(tree)
	c.write("tree", files{"small": "y"})
	c.backup(tree)
	whole := c.state()
	for _, r := range []struct {
		what          string
		member        int
		object, other func() (from int, name string)
	}{
		{"a shard by another pack's", 2, func() (int, string) { a, _ := twins(t, whole[2]); return 2, a }, func() (int, string) { _, b := twins(t, whole[2]); return 2, b }},
		{"a shard by its neighbour", 3, func() (int, string) { a, _ := twins(t, whole[3]); return 3, a }, func() (int, string) { a, _ := twins(t, whole[3]); return 4, a }},
		{"a card by half of it", 5, func() (int, string) { return 5, "cairn.json" }, nil},
		{"a snapshot by an older one", 0, func() (int, string) { return 0, snapshots(whole[0])[0] }, func() (int, string) { return 0, snapshots(whole[0])[1] }},
	} {
		t.Run(r.what, func(t *testing.T) {
			c := c.in(t)
			_, name := r.object()
			data := whole[r.member][name][:len(whole[r.member][name])/2]
			if r.other != nil {
				from, other := r.other()
				data = whole[from][other]
			}
			c.overwrite(r.member, name, data)
			defer c.overwrite(r.member, name, whole[r.member][name])
			target := filepath.Join(t.TempDir(), "out")
			c.elsewhere().ok("restore", "latest", "--to", target)
			same(t, tree, filepath.Join(target, tree))
			c.keyless().must(4, "check", "--shards").says(name, c.host(r.member))
			c.ok("repair").says(name, c.host(r.member))
			sameList(t, "different after the repair", whole.Differences(c.state()), nil)
		})
	}
	c.check()
}

// TestSurviveFalseCard: a member whose card is another member's, or another archive's, is done without and named. Restores and backups go
// on, a check finds it, a repair gives it its own card back.
func TestSurviveFalseCard(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1, false)
	tree := c.write("tree", files{"large": string(random("card", 9<<20))})
	c.backup(tree)
	whole := c.state()
	other := newMachine(t)
	foreign, err := os.ReadFile(filepath.Join(other.init(2, 1)[1], "cairn.json"))
	if err != nil {
		t.Fatal(err)
	}
	rotten := slices.Clone(whole[1]["cairn.json"])
	at := strings.Index(string(rotten), `"archive": "`) + len(`"archive": "`)
	rotten[at] = "1032547698badcfe"[strings.IndexByte("0123456789abcdef", rotten[at])] // one bit or two
	for i, card := range []struct {
		what string
		data []byte
	}{{"another member's", whole[2]["cairn.json"]}, {"another archive's", foreign}, {"of a rotten archive", rotten}} {
		t.Run(card.what, func(t *testing.T) {
			c := c.in(t)
			c.overwrite(1, "cairn.json", card.data)
			target := filepath.Join(t.TempDir(), "out")
			c.elsewhere().ok("restore", "latest", "--to", target).says(c.host(1), "left out")
			same(t, tree, filepath.Join(target, tree))
			c.keyless().must(4, "check", "--shards").says("cairn.json", c.host(1))
			c.must(4, "check").says("cairn.json", c.host(1))
			if i == 0 { // nothing but the card is to be healed: the last byte is compared
				c.ok("repair").says("cairn.json", c.host(1))
				sameList(t, "different after the repair", whole.Differences(c.state()), nil)
				c.overwrite(1, "cairn.json", card.data)
			}
			c.write("tree", files{fmt.Sprint("more", i): string(random(card.what, 3<<20))})
			c.ok("backup", tree).says(c.host(1), "degraded")
			c.ok("repair").says("cairn.json", c.host(1))
			if got := c.state()[1]["cairn.json"]; string(got) != string(whole[1]["cairn.json"]) {
				t.Errorf("the card after the repair: %s", got)
			}
			c.check()
			back := filepath.Join(t.TempDir(), "back")
			c.elsewhere().ok("restore", "latest", "--to", back)
			same(t, tree, filepath.Join(back, tree))
		})
	}
}

func (c *cluster) overwrite(member int, name string, data []byte) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dirs()[member], name), data, 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// twins are two shards of one size on a member.
func twins(t *testing.T, objects map[string][]byte) (a, b string) {
	t.Helper()
	bySize := map[int]string{}
	for _, name := range slices.Sorted(keysOf(objects, "binaries/")) {
		n := len(objects[name])
		if other, ok := bySize[n]; ok {
			return other, name
		}
		bySize[n] = name
	}
	t.Fatal("all packs have different sizes")
	return "", ""
}

// snapshots are those without the marks.
func snapshots(objects map[string][]byte) (list []string) {
	for _, name := range slices.Sorted(keysOf(objects, "snapshots/")) {
		if filepath.Ext(name) != ".ok" {
			list = append(list, name)
		}
	}
	return list
}

func keysOf(objects map[string][]byte, prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range objects {
			if strings.HasPrefix(name, prefix) && !yield(name) {
				return
			}
		}
	}
}
