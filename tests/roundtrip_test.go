package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cairn/tests/nasty"
)

// TestRoundTripNasty: A20: everything that a Unix tree can hold comes back as it was. Root sees all of it.
func TestRoundTripNasty(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree := m.plant("tree", nasty.Options{Entries: 5000, Small: os.Getenv("CAIRN_SOAK") == ""})
	code := 0
	if os.Geteuid() != 0 {
		code = 3 // files of mode 0
	}
	report := m.must(code, "backup", "--json", tree).one("backup")
	if code == 0 && (report.number("error_count") != 0 || report.number("warning_count") != 0) {
		t.Errorf("errors %v, warnings %v", report["errors"], report["warnings"])
	}
	target := m.path("restored")
	m.removeLater(target)
	r := m.must(code, "restore", "latest", "--to", target)
	if os.Geteuid() == 0 && strings.Contains(r.stderr, "warning") {
		t.Error(r)
	}
	same(t, tree, filepath.Join(target, tree))
	m.check()
}

// TestRoundTripUser: the same as a normal user, who may neither read all of his files nor make devices. Root plays
// him, and he builds, backs up, restores and compares.
func TestRoundTripUser(t *testing.T) {
	t.Parallel()
	m := newUser(t)
	tree, target := m.path("tree"), m.path("restored")
	if r := finish(t, m.other(plantProgram(t), "-small", tree)); r.code != 0 {
		t.Skipf("user %d cannot build below %s: %v", nobody, m.dir, r)
	}
	m.removeLater(tree)
	m.removeLater(target)
	m.init(1, 0)
	report := m.must(3, "backup", "--json", tree).one("backup")
	for _, name := range []string{"modes/file 0000", "modes/file 0111", "modes/dir 0000"} {
		if name = filepath.Join(tree, name); !strings.Contains(fmt.Sprint(report["errors"]), name) {
			t.Errorf("%s is not among the errors: %v", name, report["errors"])
		}
	}
	m.must(3, "restore", "latest", "--to", target).says("modes/file 0000") // what was not read cannot come back
	r := finish(t, m.other(compareProgram(t), "-ignore-unreadable", tree, filepath.Join(target, tree)))
	if r.code != 0 {
		t.Error(r)
	}
	m.check()
}

// TestRoundTripGoroot: a real tree, and with the second backup of it.
func TestRoundTripGoroot(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	root := goroot(t)
	paths := []string{filepath.Join(root, "src/net"), filepath.Join(root, "src/crypto"), filepath.Join(root, "bin")}
	roundTrip(m, paths...)
}

// TestSoakRoundTrip: all of it, and /usr/lib.
func TestSoakRoundTrip(t *testing.T) {
	if os.Getenv("CAIRN_SOAK") == "" {
		t.Skip("CAIRN_SOAK is not set: the whole of GOROOT and /usr/lib take minutes")
	}
	for _, top := range []string{goroot(t), "/usr/lib"} {
		for _, k := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s over %d", top, k), func(t *testing.T) {
				m := newMachine(t)
				m.init(k, k/2)
				roundTrip(m, top)
			})
		}
	}
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func roundTrip(m *machine, paths ...string) {
	m.t.Helper()
	first := m.backup(paths...)
	if n := first.number("bytes_read"); n <= 0 || n > first.number("bytes_total") || first.number("files_new") == 0 {
		m.t.Errorf("first backup: %v", first)
	}
	target := m.restore("latest", "")
	for _, p := range paths {
		same(m.t, p, filepath.Join(target, p))
	}
	unchanged(m, paths...)
	m.check()
}

// unchanged backs up again and demands that nothing is read and nothing but a snapshot is stored.
func unchanged(m *machine, paths ...string) {
	m.t.Helper()
	members := m.members()
	var before []map[string]int64
	for _, member := range members {
		before = append(before, sizes(m.t, member))
	}
	again := m.backup(paths...)
	for _, key := range []string{"bytes_read", "bytes_new", "bytes_stored", "bytes_written", "packs", "data_blobs_new", "tree_blobs_new", "files_new", "files_changed", "dirs_new", "dirs_changed"} {
		if again.number(key) != 0 {
			m.t.Errorf("second backup: %s is %v: %v", key, again[key], again)
		}
	}
	for i, member := range members {
		for name, size := range sizes(m.t, member) {
			if was, ok := before[i][name]; (!ok || was != size) && !strings.HasPrefix(name, "snapshots/") {
				m.t.Errorf("second backup: %s of %d bytes is new on %s", name, size, member)
			}
		}
		if got, want := len(names(m.t, member, "snapshots")), len(underPrefix(before[i], "snapshots/"))+2; got != want {
			m.t.Errorf("second backup: %d objects below snapshots/ instead of %d", got, want)
		}
	}
}

func underPrefix(list map[string]int64, prefix string) []string {
	var found []string
	for name := range list {
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
	}
	return found
}

// members are the directories of the archive that the machine uses.
func (m *machine) members() []string {
	for i := len(m.env) - 1; i >= 0; i-- {
		if list, ok := strings.CutPrefix(m.env[i], "CAIRN_ARCHIVE="); ok {
			return strings.Split(list, ",")
		}
	}
	m.t.Fatal("the machine uses no archive")
	return nil
}

// TestSecondBackup: of a tree of our own too, on two data members and one of parity, when it has settled.
func TestSecondBackup(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree := m.plant("tree", nasty.Options{Small: true})
	settle()
	if os.Geteuid() == 0 {
		roundTrip(m, tree)
	}
	other := m.write("other", files{"a": "one", "b/c": "two", "b/d/": ""})
	settle()
	m.backup(other)
	unchanged(m, other)

	before := m.ok("snapshots", "--json").of("snapshot")
	if o := m.backup(other, "--skip-if-unchanged"); o["skipped"] != true || o["snapshot"] != nil {
		t.Errorf("--skip-if-unchanged: %v", o)
	}
	if after := m.ok("snapshots", "--json").of("snapshot"); len(after) != len(before) {
		t.Errorf("--skip-if-unchanged made %d snapshots out of %d", len(after), len(before))
	}
	m.write("other", files{"a": "three"})
	if o := m.backup(other, "--skip-if-unchanged"); o["skipped"] != false || o.number("files_changed") != 1 {
		t.Errorf("--skip-if-unchanged of a changed file: %v", o)
	}
	if got := m.ok("dump", "latest:"+filepath.Join(other, "a")).stdout; got != "three" {
		t.Errorf("a is %q", got)
	}
}

// TestTouchedFile: what only looks changed is read again and not stored again; --force reads everything.
func TestTouchedFile(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree := m.write("tree", files{"a": "one", "b": string(random("b", 1<<20)), "c/d": "two"})
	settle()
	m.backup(tree)
	if err := os.Chmod(filepath.Join(tree, "b"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := m.backup(tree)
	if o.number("bytes_new") != 0 || o.number("files_unchanged") < 2 {
		t.Errorf("after chmod: %v", o)
	}
	same(t, tree, m.restore("latest", tree))
	if o = m.backup(tree, "--force"); o.number("bytes_read") != 1<<20+6 || o.number("bytes_new") != 0 {
		t.Errorf("--force: %v", o)
	}
}

// TestInsertedByte: one byte in the middle of a large file costs about one chunk.
func TestInsertedByte(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	const size = 24 << 20
	content := random("inserted", size)
	tree := m.write("tree", files{"large": string(content), "small": "x"})
	m.backup(tree)
	before := sum(sizes(t, m.path("member0", "binaries")))
	for i, at := range []int{size / 2, 0, size} {
		changed := string(content[:at]) + "x" + string(content[at:])
		m.write("tree", files{"large": changed})
		o := m.backup(tree)
		stored := sum(sizes(t, m.path("member0", "binaries"))) - before
		t.Logf("one byte at %d: %d blobs, %d bytes, %d on the disk", at, o.number("data_blobs_new"), o.number("bytes_new"), stored)
		if o.number("data_blobs_new") > 2 || o.number("data_blobs_new") < 1 {
			t.Errorf("one byte at %d made %d blobs", at, o.number("data_blobs_new"))
		}
		if stored > o.number("bytes_new")+o.number("bytes_new")/20+(64<<10) {
			t.Errorf("%d new bytes take %d bytes on the disk", o.number("bytes_new"), stored)
		}
		before += stored
		if i == 0 && m.ok("dump", "latest:"+filepath.Join(tree, "large")).stdout != changed {
			t.Error("the changed file does not come back")
		}
	}
	m.check()
}
