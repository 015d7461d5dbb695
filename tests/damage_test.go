package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hurt is a way to damage an object.
type hurt struct {
	name string
	do   func(data []byte) []byte // nil: delete it
}

var hurts = []hurt{
	{"first byte flipped", func(b []byte) []byte { b[0] ^= 1; return b }},
	{"byte in the middle flipped", func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b }},
	{"last byte flipped", func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b }},
	{"truncated", func(b []byte) []byte { return b[:len(b)*2/3] }},
	{"last byte missing", func(b []byte) []byte { return b[:len(b)-1] }},
	{"byte added", func(b []byte) []byte { return append(b, 0) }},
	{"empty", func([]byte) []byte { return nil }},
	{"deleted", nil},
}

func (h hurt) object(t testing.TB, name string) {
	t.Helper()
	if h.do == nil {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, h.do(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kinds finds an object of each kind on a member. Data and tree packs are told apart by byte 10 of their header.
func kinds(t testing.TB, member string) map[string]string {
	t.Helper()
	found := map[string]string{"card": "cairn.json"}
	for _, name := range names(t, member, "") {
		switch top, _, _ := strings.Cut(name, "/"); {
		case top == "keys":
			found["key slot"] = name
		case top == "index":
			found["index pack"] = name
		case top == "snapshots" && strings.HasSuffix(name, ".ok"):
			found["mark"] = name
		case top == "snapshots":
			found["snapshot"] = name
		case top == "binaries":
			data, err := os.ReadFile(filepath.Join(member, name))
			if err != nil || len(data) < 4096 || data[10] != 1 && data[10] != 2 {
				t.Fatalf("%s is not a pack: %v", name, err)
			}
			found[[]string{"data pack", "tree pack"}[data[10]-1]] = name
		}
	}
	if len(found) != 7 {
		t.Fatalf("not every kind of object is on %s: %v", member, found)
	}
	return found
}

// damageTree needs several blobs and directories; with the seed of one archive they make one pack of each kind.
var damageTree = files{"a": "text", "b/random": string(random("b", 100_000)), "b/large": string(random("large", 3<<20)), "b/c/d": "x", "link": "-> a", "e/": ""}

// TestDamage: E26: on a single directory without redundancy, every damage of every object is named, with exit 4; where the
// archive cannot be opened any more, the message says what is wrong with which object.
func TestDamage(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	tree := m.write("tree", damageTree)
	m.backup(tree)
	m.check()
	whole := m.path("whole")
	copyTree(t, member, whole)
	for kind, object := range kinds(t, whole) {
		for _, h := range hurts {
			t.Run(kind+" "+h.name, func(t *testing.T) {
				m := *m
				m.t = t
				if err := os.RemoveAll(member); err != nil {
					t.Fatal(err)
				}
				copyTree(t, whole, member)
				h.object(t, filepath.Join(member, object))
				for _, cache := range []string{m.path("home/.cache/cairn"), t.TempDir()} { // one that knows the index, one that does not
					demandNamed(m.with("CAIRN_CACHE_DIR="+cache), kind, h, member, object)
				}
			})
		}
	}
}

func demandNamed(m *machine, kind string, h hurt, member, object string) {
	m.t.Helper()
	r := m.run("check", "--read-data")
	want, name := []int{4}, object
	switch kind {
	case "card", "key slot": // the archive cannot be opened
		want = []int{1, 4, 6}
		if h.do == nil { // nothing is there that could be named
			name = member
			if kind == "key slot" {
				name = "no readable key slot"
			}
		} else if kind == "card" && !strings.Contains(r.stdout+r.stderr, object) {
			name = member + ":"
		} else if kind == "key slot" {
			name = filepath.Base(object)
		}
	case "mark":
		if h.do == nil { // as if the backup had been killed just before: no damage, but said
			want = []int{0}
			name = filepath.Base(strings.TrimSuffix(object, ".ok"))[:8]
		}
	case "index pack":
		if h.do == nil { // nobody can know its name, but what to do is known
			name = "index rebuild"
		}
	}
	if !slices.Contains(want, r.code) {
		m.t.Errorf("exit code %d, one of %v expected", r.code, want)
	}
	if !strings.Contains(r.stdout+r.stderr, name) {
		m.t.Errorf("%q is not named", name)
	}
	if r.code != 0 && !strings.Contains(r.stderr, "hint: ") {
		m.t.Error("there is no hint")
	}
	if m.t.Failed() {
		m.t.Log(r)
	}
}

// TestDamagedSlot: the archive is opened by one key while the slot of another is damaged.
func TestDamagedSlot(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	tree := m.write("tree", files{"a": "x"})
	m.backup(tree)
	first := names(t, member, "keys")
	m.ok("key", "add", "--new-key-file", m.path("second"))
	for _, h := range hurts[:len(hurts)-1] {
		m := newMachine(t)
		m.use(filepath.Join(filepath.Dir(member), "second"), m.path("member"))
		copyTree(t, member, m.path("member"))
		h.object(t, m.path("member", first[0]))
		r := m.run("check", "--read-data")
		if r.code != 4 || !strings.Contains(r.stdout, first[0]) {
			t.Errorf("%s: %v", h.name, r)
		}
		m.ok("restore", "latest", "--to", m.path("out"))
	}
}

// TestHealing: E26: on two data members and one of parity the same damage costs nothing. Restores heal it silently, also on
// a machine without index; check tells of it all the same: as damage, or as lacking where a copy is gone that others have.
func TestHealing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(2, 1)
	tree := m.write("tree", damageTree)
	m.backup(tree)
	m.check()
	whole := m.path("whole")
	for _, member := range members {
		copyTree(t, member, filepath.Join(whole, filepath.Base(member)))
	}
	for i, member := range members {
		base := filepath.Base(member)
		for kind, object := range kinds(t, filepath.Join(whole, base)) {
			if kind == "card" {
				continue // TestDamagedCard
			}
			h := hurts[(len(object)*7+i*3+int(kind[0]))%len(hurts)]
			t.Run(base+" "+kind+" "+h.name, func(t *testing.T) {
				m := *m
				m.t = t
				if err := os.RemoveAll(member); err != nil {
					t.Fatal(err)
				}
				copyTree(t, filepath.Join(whole, base), member)
				t.Cleanup(func() {
					os.RemoveAll(member)
					copyTree(t, filepath.Join(whole, base), member)
				})
				h.object(t, filepath.Join(member, object))
				fresh := m.with("CAIRN_CACHE_DIR=" + t.TempDir())
				for _, m := range []*machine{&m, fresh} {
					target := filepath.Join(t.TempDir(), "out")
					r := m.ok("restore", "latest", "--to", target)
					if strings.Contains(r.stderr, "warning") {
						t.Errorf("the restore is not silent: %v", r)
					}
					same(t, tree, filepath.Join(target, tree))
				}
				if h.name == "deleted" && !strings.HasPrefix(object, "binaries/") { // who is killed leaves the same
					if r := m.ok("check", "--read-data"); !strings.Contains(r.stdout, object) || !strings.Contains(r.stdout, "lacking") {
						t.Errorf("%s on %s: %v", object, member, r)
					}
					return
				}
				r := m.must(4, "check", "--read-data")
				if !strings.Contains(r.stdout, object) || !strings.Contains(r.stdout, member) || !strings.Contains(r.stderr, "everything can still be read") {
					t.Errorf("%s on %s: %v", object, member, r)
				}
			})
		}
	}
}

// TestDamagedCard: the archive opens without a member whose card is damaged, which check names.
func TestDamagedCard(t *testing.T) {
	t.Parallel()
	for _, h := range hurts {
		for i := range 3 {
			m := newMachine(t)
			members := m.init(2, 1)
			tree := m.write("tree", files{"a": "x"})
			m.backup(tree)
			h.object(t, filepath.Join(members[i], "cairn.json"))
			if r := m.run("restore", "latest", "--to", m.path("out")); r.code != 0 {
				t.Errorf("card of member %d %s: %v", i, h.name, r)
			} else {
				same(t, tree, m.path("out", tree))
			}
			r := m.run("check")
			if !strings.Contains(r.stdout+r.stderr, members[i]) || r.code != 4 && h.do != nil {
				t.Errorf("card of member %d %s: %v", i, h.name, r)
			}
		}
	}
}

// TestSoakEveryByte: no byte of a small archive can be changed without being noticed, but the reserved ones.
func TestSoakEveryByte(t *testing.T) {
	if os.Getenv("CAIRN_SOAK") == "" {
		t.Skip("CAIRN_SOAK is not set: checking an archive for each of its bytes takes long")
	}
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	m.backup(m.write("tree", files{"a": "x"}))
	for _, name := range names(t, member, "") {
		whole, err := os.ReadFile(filepath.Join(member, name))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += 37 {
			data := bytes.Clone(whole)
			data[i] ^= 1 << (i % 8)
			if err := os.WriteFile(filepath.Join(member, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := m.run("check", "--read-data"); r.code == 0 {
				t.Errorf("byte %d of %s is changed and nothing is said", i, name)
			}
		}
		if err := os.WriteFile(filepath.Join(member, name), whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
