package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// history makes an archive with three snapshots of one tree: a is "one", "two", "three"; b is always the same; c is
// new in the second, gone in the third. It returns the ids, the oldest first.
func history(m *machine) (tree string, ids []string) {
	m.t.Helper()
	for i, text := range []string{"one", "two", "three"} {
		tree = m.write("tree", files{"a": text, "b": "always", "dir/sub/d": "deep", "dir/e": "e", "other/f": "f", "link": "-> dir/e"})
		if i == 1 {
			put(m.t, filepath.Join(tree, "c"), "c", false)
		} else if err := os.RemoveAll(filepath.Join(tree, "c")); err != nil {
			m.t.Fatal(err)
		}
		if i > 0 {
			time.Sleep(1100 * time.Millisecond) // the snapshots differ by their seconds
		}
		ids = append(ids, m.backup("--series", "work", "--tag", text, tree).text("snapshot"))
	}
	return tree, ids
}

// TestSelect: A29: the ways to name a snapshot, and the time in it.
func TestSelect(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree, ids := history(m)
	var times []time.Time
	for _, s := range m.ok("snapshots", "--json").of("snapshot") {
		at, err := time.Parse(time.RFC3339Nano, s.text("time"))
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, at)
	}
	file := ":" + tree + "/a"
	local := times[1].Local().Format("2006-01-02T15:04:05.999999999")
	for spec, want := range map[string]string{
		"latest": "three", "latest~0": "three", "latest~1": "two", "latest~2": "one", ids[0]: "one", ids[1][:12]: "two",
		"work": "three", "work~2": "one", "work@" + local: "two", "work@" + times[0].UTC().Format(time.RFC3339Nano): "one",
		"work@" + times[2].Add(-time.Millisecond).UTC().Format(time.RFC3339Nano): "two", "latest@now": "three",
	} {
		if got := m.ok("dump", spec+file).stdout; got != want {
			t.Errorf("%s is %q instead of %q", spec, got, want)
		}
	}
	out := m.restore("latest", filepath.Join(tree, "a"), "--at", times[1].UTC().Format(time.RFC3339Nano))
	if got, err := os.ReadFile(out); err != nil || string(got) != "two" {
		t.Errorf("--at: %q, %v", got, err)
	}
	for _, flags := range [][]string{{"--tag", "one"}, {"--tag", "one", "--host", hostname(t)}, {"--path", tree, "--tag", "one"}} {
		if got := m.ok(append([]string{"dump", "latest" + file}, flags...)...).stdout; got != "one" {
			t.Errorf("%v: %q", flags, got)
		}
	}
	for _, spec := range []string{"latest~3", "nosuch", "0000", "work@1999-01-01", "work@never", "latest~x", "latest:/no/such/path", "latest:" + tree + "/a/b"} {
		if r := m.must(1, "restore", spec, "--to", m.path("out")); !strings.Contains(r.stderr, "cairn: ") || strings.Contains(r.stderr, "panic") {
			t.Error(r)
		}
	}
	if list := names(t, m.dir, "out"); len(list) > 0 {
		t.Errorf("nothing was to be restored, but there is %v", list)
	}
	m.must(2, "restore", "latest").says("--to")
	m.must(2, "restore", "--to", m.path("out"))
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestRestorePart: a path of a snapshot, a single file, and what the patterns choose.
func TestRestorePart(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree, _ := history(m)
	same(t, filepath.Join(tree, "dir"), m.restore("latest:"+tree+"/dir", ""))
	same(t, filepath.Join(tree, "dir"), m.restore("latest:"+tree+"/dir/", ""))
	one := m.restore("latest:"+tree+"/dir/sub/d", "")
	if got, err := os.ReadFile(filepath.Join(one, "d")); err != nil || string(got) != "deep" {
		t.Errorf("a single file: %q, %v", got, err)
	}
	for _, c := range []struct {
		flags []string
		want  []string
	}{
		{[]string{"--include", "d"}, []string{"dir/sub/d"}},
		{[]string{"--include", tree + "/dir"}, []string{"dir/e", "dir/sub/d"}},
		{[]string{"--include", "dir", "--exclude", "sub"}, []string{"dir/e"}},
		{[]string{"--exclude", "dir/", "--exclude", "link"}, []string{"a", "b", "other/f"}},
		{[]string{"--include", tree + "/*/[ef]", "-i", "b"}, []string{"b", "dir/e", "other/f"}},
		{[]string{"--include", "nothing"}, nil},
	} {
		target := m.restore("latest", "", c.flags...)
		var got []string
		for _, name := range names(t, target, "") {
			got = append(got, strings.TrimPrefix("/"+name, tree+"/"))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, %q expected", c.flags, got, c.want)
		}
	}
}

// inode tells a file and its last change.
func inode(t testing.TB, name string) string {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Ino, st.Mtim, st.Ctim, st.Size)
}

// TestInPlace writes only what differs, and with --delete removes what the snapshot does not have.
// Row A20.
func TestInPlace(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	large := random("large", 12<<20)
	tree := m.write("tree", files{"same": "same", "changed": "before", "gone": "x", "large": string(large), "type": "a file", "dir/same": "same", "dir/sub/x": "x", "link": "-> same", "mode": "m"})
	m.backup(tree)
	target := m.restore("latest:"+tree, "")
	same(t, tree, target)

	// nothing differs: nothing is touched
	quiet := []string{"same", "dir/same", "large", "link", "dir", "."}
	before := map[string]string{}
	note := func() {
		for _, name := range quiet {
			before[name] = inode(t, filepath.Join(target, name))
		}
	}
	unmoved := func(what string, names ...string) {
		for _, name := range names {
			if got := inode(t, filepath.Join(target, name)); got != before[name] {
				t.Errorf("%s: %s was %s and is %s", what, name, before[name], got)
			}
		}
	}
	note()
	r := m.ok("restore", "latest:"+tree, "--to", target, "--in-place", "--delete", "--json").one("restore")
	if r.number("created") != 0 || r.number("updated") != 0 || r.number("touched") != 0 || r.number("deleted") != 0 || r.number("bytes_written") != 0 {
		t.Errorf("nothing differs: %v", r)
	}
	unmoved("nothing differs", quiet...)

	// now a lot differs
	large[6<<20] ^= 1
	change := func() {
		for name, content := range (files{"changed": "after, and longer", "large": string(large), "extra/deep/file": "x", "mode": "m"}) {
			put(t, filepath.Join(target, name), content, false)
		}
		for _, err := range []error{
			os.Remove(filepath.Join(target, "gone")), os.Remove(filepath.Join(target, "type")), os.Mkdir(filepath.Join(target, "type"), 0o700),
			os.WriteFile(filepath.Join(target, "type/inside"), []byte("x"), 0o600), os.Chmod(filepath.Join(target, "mode"), 0o777), os.RemoveAll(filepath.Join(target, "dir/sub")),
			os.Symlink("/etc", filepath.Join(target, "dir/sub")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	change()
	note()
	dry := m.ok("restore", "latest:"+tree, "--to", target, "--in-place", "--delete", "--dry-run", "--json")
	unmoved("dry run", quiet...)
	if o := dry.one("restore"); o["dry_run"] != true || o.number("deleted") == 0 || o.number("updated") == 0 || o.number("created") == 0 {
		t.Errorf("dry run: %v", o)
	}
	if _, err := os.Lstat(filepath.Join(target, "extra/deep/file")); err != nil {
		t.Errorf("the dry run removed a file: %v", err)
	}
	for path, action := range map[string]string{"changed": "update", "gone": "create", "large": "update", "mode": "meta", "type": "update"} {
		if !slices.ContainsFunc(dry.of("action"), func(o object) bool {
			return o.text("path") == filepath.Join(tree, path) && o.text("action") == action
		}) {
			t.Errorf("dry run: no %s of %s among %v", action, path, dry.of("action"))
		}
	}

	// without --in-place nothing that is there is overwritten
	r2 := m.must(3, "restore", "latest:"+tree, "--to", target)
	r2.says("conflict", "--in-place")
	if got, err := os.ReadFile(filepath.Join(target, "changed")); err != nil || string(got) != "after, and longer" {
		t.Errorf("changed is %q without --in-place, %v", got, err)
	}

	// a directory that holds something gives way to a file with --delete only
	r3 := m.must(3, "restore", "latest:"+tree, "--to", target, "--in-place", "--json")
	r3.says("--delete")
	o := r3.one("restore")
	unmoved("in place", "same", "dir/same", "link")
	if o.number("bytes_written") > 9<<20 || o.number("bytes_unchanged") < 3<<20 {
		t.Errorf("in place wrote more than the changed chunk: %v", o)
	}
	if _, err := os.Lstat(filepath.Join(target, "extra/deep/file")); err != nil {
		t.Errorf("without --delete a file was removed: %v", err)
	}
	if o := m.ok("restore", "latest:"+tree, "--to", target, "--in-place", "--delete", "--json").one("restore"); o.number("deleted") == 0 {
		t.Errorf("--delete: %v", o)
	}
	unmoved("--delete", "same", "dir/same", "link")
	same(t, tree, target)
	m.must(2, "restore", "latest", "--to", target, "--delete").says("--in-place")
}

// TestDryRun touches nothing, also where there is nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	tree := m.write("tree", files{"a": "x"})
	if o := m.backup("--dry-run", tree); o["dry_run"] != true || o.number("data_blobs_new") != 1 || o["snapshot"] != nil {
		t.Errorf("backup --dry-run: %v", o)
	}
	if list := append(names(t, member, "binaries"), names(t, member, "snapshots")...); len(list) != 0 {
		t.Errorf("backup --dry-run stored %v", list)
	}
	if o := m.backup(tree); o.number("data_blobs_new") != 1 {
		t.Errorf("the backup after --dry-run: %v", o)
	}
	m.ok("restore", "latest", "--to", m.path("target"), "--dry-run")
	if _, err := os.Lstat(m.path("target")); !os.IsNotExist(err) {
		t.Errorf("restore --dry-run made its target: %v", err)
	}
}

// TestNeverOutside: whatever stands in the target, nothing outside of it is written, changed or removed.
func TestNeverOutside(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree := m.write("tree", files{"dir/file": "from the archive", "dir/sub/file": "from the archive", "file": "from the archive", "hard": "h"})
	if err := os.Link(filepath.Join(tree, "hard"), filepath.Join(tree, "dir/hard")); err != nil {
		t.Fatal(err)
	}
	m.backup(tree)
	precious := files{"file": "precious", "sub/file": "precious", "kept": "precious", "hard": "precious"}
	for name, c := range map[string]struct{ link, to string }{
		"a directory":               {"dir", "outside"},
		"a directory below":         {"dir/sub", "outside"},
		"a file":                    {"file", "outside/file"},
		"a file that is not there":  {"file", "outside/new"},
		"relative":                  {"dir", "../outside"},
		"through the parents":       {"dir/sub", "../../outside"},
		"a hard link's name":        {"dir/hard", "outside/hard"},
		"a loop":                    {"dir", "dir"},
		"the machine's root":        {"dir", "/"},
		"something that is nowhere": {"dir", "outside/nowhere/at/all"},
	} {
		for _, flags := range [][]string{nil, {"--in-place"}, {"--in-place", "--delete"}} {
			outside := m.write("outside", precious)
			target := m.path("target")
			to := c.to
			if !strings.HasPrefix(to, "..") && to != "/" && to != "dir" {
				to = m.path(to)
			}
			put(t, filepath.Join(target, c.link), "-> "+to, false)
			r := m.run(append([]string{"restore", "latest:" + tree, "--to", target}, flags...)...)
			if flags == nil && r.code != 3 || flags != nil && r.code != 0 {
				t.Errorf("%s %v: %v", name, flags, r)
			}
			if flags != nil {
				same(t, tree, target)
			}
			list := sizes(t, outside)
			for name, content := range precious {
				if got, err := os.ReadFile(filepath.Join(outside, name)); err != nil || string(got) != content {
					t.Errorf("%s %v: outside/%s is %q, %v", name, flags, name, got, err)
				}
			}
			if len(list) != len(precious) {
				t.Errorf("%s %v: outside are %v", name, flags, list)
			}
			dropDir(t, target)
			dropDir(t, outside)
		}
	}
	// the target itself may be a symlink: that is where the user wants it
	if err := os.Mkdir(m.path("real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", m.path("shortcut")); err != nil {
		t.Fatal(err)
	}
	m.ok("restore", "latest:"+tree, "--to", m.path("shortcut"))
	same(t, tree, m.path("real"))
}

// TestSwapped: directories of the target turn into symlinks and back while a restore runs.
func TestSwapped(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	many := files{}
	for i := range 3000 {
		many[fmt.Sprintf("%d/dir/%d", i%7, i)] = "from the archive"
	}
	tree := m.write("tree", many)
	m.backup(tree)
	outside := m.write("outside", files{"kept": "precious"})
	target := m.path("target")
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			dir := filepath.Join(target, fmt.Sprint(i%7), "dir")
			if os.Rename(dir, dir+" away") == nil { // it is not there most of the time
				_ = os.Symlink(outside, dir)
			}
		}
	}()
	r := m.run("restore", "latest:"+tree, "--to", target, "--in-place", "--delete")
	close(done)
	<-stopped
	if list := sizes(t, outside); len(list) != 1 || list["kept"] != 8 {
		t.Errorf("outside are %v after %v", list, r)
	}
	if r.code != 0 && r.code != 1 && r.code != 3 {
		t.Error(r)
	}
}

// TestRestoreAsUser: a normal user gets the content of what root had; owners that cannot be set are warnings.
func TestRestoreAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root has files of several owners")
	}
	m := newUser(t)
	m.init(1, 0)
	tree := m.write("tree", files{"a": "x", "setuid": "y", "dir/b": "z"})
	for _, err := range []error{
		os.Lchown(filepath.Join(tree, "a"), 0, 0), os.Lchown(filepath.Join(tree, "setuid"), 1234, 1234), os.Chmod(filepath.Join(tree, "setuid"), 0o755|os.ModeSetuid),
		syscall.Mknod(filepath.Join(tree, "null"), syscall.S_IFCHR|0o666, 1<<8|3),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m.backup(tree)
	target := m.path("out")
	r := m.ok("restore", "latest:"+tree, "--to", target)
	r.says("warning: owner", "warning: device")
	for name, want := range (files{"a": "x", "setuid": "y", "dir/b": "z"}) {
		if got, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(target, "setuid")); err != nil || info.Mode()&os.ModeSetuid != 0 {
		t.Errorf("a setuid file of another owner: %v, %v", info.Mode(), err)
	}
}
