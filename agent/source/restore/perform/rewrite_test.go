package perform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cairn/agent/source/restore"
	"cairn/agent/source/rewrite"
)

// A22: a rewritten file has the mode and attributes that it had, and its further names keep what they had.
func TestRewriteKeepsMetadata(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "conf")
	check(t, os.WriteFile(name, []byte("port=1\n"), 0o640))
	check(t, os.Link(name, filepath.Join(dir, "second")))
	attributes := unix.Setxattr(name, "user.note", []byte("hello"), 0) == nil
	rule := rewrite.Rule{Properties: map[string]string{"port": "2"}}
	w := &restore.Rewrite{Path: name, Root: dir, Rules: []rewrite.Rule{rule}}
	if changed, err := apply(w); err != nil || !changed {
		t.Fatal(changed, err)
	}
	info, err := os.Stat(name)
	check(t, err)
	data, _ := os.ReadFile(name)
	second, _ := os.ReadFile(filepath.Join(dir, "second"))
	if string(data) != "port=2\n" || string(second) != "port=1\n" || info.Mode() != 0o640 {
		t.Errorf("%q, %q, %v", data, second, info.Mode())
	}
	if buf := make([]byte, 10); attributes {
		if n, err := unix.Getxattr(name, "user.note", buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("attribute: %v", err)
		}
	}
	if changed, err := apply(w); err != nil || changed {
		t.Errorf("a second time: %v, %v", changed, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d files are left", len(left))
	}
	root := &restore.Rewrite{Path: name, Root: name, Rules: []rewrite.Rule{{Properties: map[string]string{"port": "3"}}}} // the root is the file
	if changed, err := apply(root); err != nil || !changed {
		t.Error(changed, err)
	}
}

// A21, A22: rewriting does not follow links out of the root, nor those in the place of the file.
func TestRewriteEscape(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "app")
	check(t, os.MkdirAll(root, 0o755))
	check(t, os.MkdirAll(dir+"/outside", 0o755))
	check(t, os.WriteFile(dir+"/outside/conf", []byte("port=1\n"), 0o644))
	check(t, os.Symlink(dir+"/outside", root+"/link"))
	check(t, os.Symlink("../outside", root+"/relative"))
	check(t, os.Symlink(dir+"/outside/conf", root+"/conf"))
	check(t, unix.Mkfifo(root+"/fifo", 0o644))
	for _, name := range []string{"/link/conf", "/relative/conf", "/conf", "/fifo", "/../outside/conf", "/nothing"} {
		w := &restore.Rewrite{Path: root + name, Root: root, Rules: []rewrite.Rule{{Properties: map[string]string{"port": "2"}}}}
		if changed, err := apply(w); err == nil || changed {
			t.Errorf("%s was rewritten", name)
		}
	}
	if data, err := os.ReadFile(dir + "/outside/conf"); err != nil || strings.Contains(string(data), "2") {
		t.Errorf("%q, %v", data, err)
	}
}
