package tests

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/local"
)

// relayout changes the layout of an archive to data+parity over its members and new directories, which are returned with
// the old ones.
func (m *machine) relayout(data, parity int) []string {
	m.t.Helper()
	text, err := os.ReadFile(m.path("key"))
	if err != nil {
		m.t.Fatal(err)
	}
	key, err := seal.ParseKeyFile(text)
	if err != nil {
		m.t.Fatal(err)
	}
	folders := m.members()
	var members []archive.Member
	for _, folder := range folders {
		store, err := local.Open(folder)
		if err != nil {
			m.t.Fatal(err)
		}
		members = append(members, archive.Member{URL: folder, Store: store})
	}
	a, err := archive.Open(m.t.Context(), members, archive.Options{Credentials: []seal.Credential{{KeyFile: &key}}})
	if err != nil {
		m.t.Fatal(err)
	}
	ids := make([]string, data+parity)
	for i, member := range a.Members() {
		ids[i] = member.ID
	}
	c, err := a.PlanLayout(data, parity, ids)
	if err != nil {
		m.t.Fatal(err)
	}
	stores := map[string]remote.Store{}
	for _, id := range c.New() {
		folder := m.path("new-" + id[:8])
		if err := os.Mkdir(folder, 0o700); err != nil {
			m.t.Fatal(err)
		}
		if stores[id], err = local.Open(folder); err != nil {
			m.t.Fatal(err)
		}
		folders = append(folders, folder)
	}
	if r, err := a.Mirror(m.t.Context(), c.Placements(stores)[0]); err != nil || len(r.Errs) > 0 || len(r.Copied) != len(c.New()) {
		m.t.Fatalf("%+v, %v", r, err)
	}
	if _, err := a.WriteCards(m.t.Context(), c, stores); err != nil {
		m.t.Fatal(err)
	}
	return folders
}

// TestLayouts: an archive whose layout was changed from 2+1 to 3+2 backs up, restores both what was before and what came after,
// with any member missing, and the independent reader restores it too.
func TestLayouts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree := m.write("tree", files{"a": "x", "b": string(random("layouts", 5<<20))})
	m.backup(tree)
	folders := m.relayout(3, 2)
	m.use(m.path("key"), folders...)
	m.write("tree", files{"c": string(random("more", 5<<20)), "d": "y"})
	o := m.backup(tree)
	if n := o.number("data_blobs_new"); n == 0 || o.number("bytes_new") > 6<<20 {
		t.Errorf("what was stored in the old layout is not known: %v", o)
	}
	same(t, tree, m.restore("latest", tree))
	for i := range folders {
		m.use(m.path("key"), slices.Delete(slices.Clone(folders), i, i+1)...)
		fresh := m.with("CAIRN_CACHE_DIR=" + m.path("none", filepath.Base(folders[i])))
		same(t, tree, fresh.restore("latest", tree))
	}
	m.use(m.path("key"), folders...)
	status := m.ok("status", "--json").one("status")
	if status["degraded"] != false || len(status["layouts"].([]any)) != 2 || len(status["members"].([]any)) != 5 {
		t.Errorf("%v", status)
	}
	reader, err := filepath.Abs("reader/reader.py")
	if err != nil {
		t.Fatal(err)
	}
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import argon2, cbor2, cryptography, zstandard").CombinedOutput(); err != nil {
		t.Skipf("the reader needs python3-argon2, -cbor2, -cryptography, -zstandard: %v %s", err, out)
	}
	id := m.ok("snapshots", "--json").of("snapshot")[1].text("id")
	arguments := append(append([]string{reader, "--member"}, folders...), "--key-file", m.path("key"), "restore", id, m.path("read"))
	out, err := exec.Command(python, arguments...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "mac") {
		t.Fatalf("reader: %v\n%s", err, out)
	}
	same(t, tree, m.path("read")+tree)
}

// TestStatusAndStrict: a backup without a member says what lacks, status says it too, and the next backup that reaches the member
// heals it.
func TestStatusAndStrict(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(2, 1)
	tree := m.write("tree", files{"a": "x", "b": string(random("strict", 3<<20))})
	m.ok("backup", "--strict", tree)
	m.ok("status").says("snapshots  1", "ok")
	away := m.path("away")
	if err := os.Rename(members[1], away); err != nil {
		t.Fatal(err)
	}
	m.write("tree", files{"c": string(random("more", 3<<20))})
	r := m.must(5, "backup", "--strict", tree).says(members[1], "is stored", "degraded")
	if !strings.Contains(r.stdout, "saved") {
		t.Errorf("%v", r)
	}
	if s := m.ok("status", "--json").one("status"); s["degraded"] != true || s["damaged"] != false {
		t.Errorf("%v", s)
	}
	if err := os.Rename(away, members[1]); err != nil {
		t.Fatal(err)
	}
	m.ok("status").says("degraded", members[1])
	keyless := m.with("CAIRN_KEY_FILE=")
	if s := keyless.ok("status", "--json").one("status"); s.number("snapshots") != 2 || s["series"] != nil || s["degraded"] != true {
		t.Errorf("keyless: %v", s)
	}
	o := m.ok("backup", "--json", tree).one("backup")
	healed, _ := o["healed_shards"].(map[string]any)
	copies, _ := o["healed_copies"].(map[string]any)
	if healed[members[1]] == nil || copies[members[1]] == nil || len(maps.Collect(maps.All(healed))) != 1 || o.number("degraded_packs") != 0 {
		t.Errorf("not healed: %v", o)
	}
	if s := m.ok("status", "--json").one("status"); s["degraded"] != false || len(s["series"].([]any)) != 1 {
		t.Errorf("%v", s)
	}
	m.check()
	flipCard := filepath.Join(members[0], "cairn.json")
	data, err := os.ReadFile(flipCard)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flipCard, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	m.must(4, "status").says(members[0])
	for _, member := range members[:2] {
		if err := os.RemoveAll(member); err != nil {
			t.Fatal(err)
		}
	}
	m.must(5, "status").says(members[0], "missing")
}
