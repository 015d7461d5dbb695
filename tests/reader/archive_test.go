package reader

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cairn/tests/nasty"
	"cairn/tests/treecmp"
)

// TestArchive: C4: what the Go program backs up, the Python reader gives back from k of the members, through the
// index packs and through the directories of the shards.
func TestArchive(t *testing.T) {
	t.Parallel()
	needPython(t)
	top := t.TempDir()
	cairn := filepath.Join(top, "cairn")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", cairn, "cairn/cmd/cairn").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	tree := plant(t, filepath.Join(top, "tree"))
	members := []string{filepath.Join(top, "a"), filepath.Join(top, "b"), filepath.Join(top, "c")}
	run := func(arguments ...string) {
		t.Helper()
		c := exec.Command(cairn, arguments...)
		c.Env = append(os.Environ(), "HOME="+top, "CAIRN_CACHE_DIR="+filepath.Join(top, "cache"), "CAIRN_PASSWORD=correct horse",
			"CAIRN_ARCHIVE="+strings.Join(members, ","))
		out, err := c.CombinedOutput()
		if err != nil && (os.Geteuid() == 0 || err.Error() != "exit status 3") { // a normal user may not read all of it
			t.Fatalf("cairn %v: %v\n%s", arguments, err, out)
		}
	}
	run(append([]string{"init", "--data", "2", "--parity", "1"}, members...)...)
	run("backup", tree)

	for name, arguments := range map[string][]string{
		"all members":   {"--member", members[2], members[0], members[1], "--password", "correct horse"},
		"two members":   {"--member", members[1], members[2], "--password", "correct horse"},
		"without index": {"--member", members[2], members[0], "--password", "correct horse", "--no-index"},
	} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "target")
			t.Cleanup(func() { remove(t, target) })
			out := read(t, append(arguments, "restore", "latest", target)...)
			o := treecmp.Options{}
			if os.Geteuid() != 0 {
				o = treecmp.Options{IgnoreOwner: true, IgnoreUnreadable: true}
			} else if strings.Contains(out, "not set") {
				t.Error(out)
			}
			list, err := treecmp.List(tree, filepath.Join(target, tree), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				t.Error(d)
			}
		})
	}
	out := read(t, "--member", members[0], members[1], members[2], "--password", "correct horse", "check")
	if !strings.Contains(out, " 0 problems") {
		t.Error(out)
	}
	if out := read(t, "--member", members[0], members[1], "--password", "correct horse", "list"); !strings.Contains(out, tree) {
		t.Errorf("list does not name %s: %s", tree, out)
	}
}

func plant(t *testing.T, dir string) string {
	t.Helper()
	if _, err := nasty.Build(dir, nasty.Options{Small: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, dir) })
	return dir
}

func remove(t *testing.T, dir string) {
	if err := nasty.Remove(dir); err != nil {
		t.Error(err)
	}
}

// read runs the reader and returns what it said.
func read(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := exec.Command(python, append([]string{"reader.py"}, arguments...)...).CombinedOutput()
	if err != nil && (os.Geteuid() == 0 || err.Error() != "exit status 3") { // a normal user's backup may lack files
		t.Fatalf("reader.py %v: %v\n%s", arguments, err, out)
	}
	return string(out)
}
