package wipe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// A21: what is to be removed goes with all that is below; links are removed and not followed.
func TestRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "app")
	write(t, root+"/data/a/b/c")
	write(t, root+"/data/a/d")
	write(t, root+"/keep")
	write(t, dir+"/outside/x")
	link(t, dir+"/outside", root+"/data/a/link")
	for i := range 5000 { // more than one call reads
		write(t, filepath.Join(root, "data/many", strings.Repeat("x", i%50+1)+string(rune('a'+i%26))))
	}
	target := Target{Root: root, Path: root + "/data"}
	found, err := Look(t.Context(), target)
	if err != nil || !found.Exists || !found.Dir || found.Dirs != 3 || found.Bytes != uint64(5*(found.Files-1)) {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := Remove(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if there(root+"/data") || !there(root+"/keep") || !there(dir+"/outside/x") {
		t.Error("the wrong things are gone")
	}
	if found, err := Remove(t.Context(), target); err != nil || found.Exists {
		t.Errorf("a second time: %+v, %v", found, err)
	}
	write(t, root+"/file")
	if _, err := Remove(t.Context(), Target{Root: root, Path: root + "/file"}); err != nil || there(root+"/file") {
		t.Errorf("a file: %v", err)
	}
}

// D16, A31: an emptied directory is the same one, with its owner and mode.
func TestEmpty(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "state")
	write(t, root+"/journal/1")
	write(t, root+"/.hidden")
	if err := os.Chmod(root, 0o750|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(root)
	if _, err := Empty(t.Context(), Target{Root: root, Path: root}); err != nil { // the root itself
		t.Fatal(err)
	}
	after, err := os.Stat(root)
	left, _ := os.ReadDir(root)
	if err != nil || len(left) > 0 || !os.SameFile(before, after) || before.Mode() != after.Mode() || before.Sys().(*syscall.Stat_t).Uid != after.Sys().(*syscall.Stat_t).Uid {
		t.Errorf("%v: %v, %v became %v", err, left, before.Mode(), after.Mode())
	}
	write(t, root+"/file")
	if _, err := Empty(t.Context(), Target{Root: root, Path: root + "/file"}); err == nil || !there(root+"/file") {
		t.Error("a file was emptied")
	}
}

// A21: attempts to get out of the root are refused, and nothing is removed.
func TestEscape(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "app")
	write(t, root+"/inside/x")
	write(t, dir+"/outside/sub/x")
	write(t, dir+"/application/x")
	link(t, dir+"/outside", root+"/link")
	link(t, "../outside/sub", root+"/relative")
	link(t, root+"/inside", root+"/within")
	link(t, dir+"/outside/sub/x", root+"/filelink")
	for _, path := range []string{
		root + "/link/sub", root + "/link", root + "/relative", root + "/relative/x", root + "/filelink", root + "/within", root + "/within/x",
		root + "/../outside", dir + "/outside", dir + "/application", dir, "/", root + "/inside/../../outside", root + "//inside",
	} {
		for name, do := range map[string]func(context.Context, Target) (Found, error){"look": Look, "remove": Remove, "empty": Empty} {
			if _, err := do(t.Context(), Target{Root: root, Path: path}); err == nil {
				t.Errorf("%s %s: no error", name, path)
			}
		}
	}
	var escape *EscapeError
	if _, err := Look(t.Context(), Target{Root: root, Path: root + "/link/sub"}); !errors.As(err, &escape) || escape.Path != root+"/link" {
		t.Errorf("%v", err)
	}
	for _, name := range []string{root + "/inside/x", dir + "/outside/sub/x", dir + "/application/x", root + "/link", root + "/filelink"} {
		if !there(name) {
			t.Errorf("%s is gone", name)
		}
	}
}

// A root that is a link itself is what the operator meant: applications live on other disks.
func TestRootIsLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/disk/data/x")
	link(t, dir+"/disk", dir+"/app")
	if _, err := Remove(t.Context(), Target{Root: dir + "/app", Path: dir + "/app/data"}); err != nil || there(dir+"/disk/data") {
		t.Errorf("%v", err)
	}
	if _, err := Empty(t.Context(), Target{Root: dir + "/app", Path: dir + "/app"}); err == nil {
		t.Error("a link in the place of the path itself was followed")
	}
}

// The archive that is restored from is not removed, wherever it lies.
func TestProtected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/app/data/backup/archive/pack")
	write(t, dir+"/app/data/cache")
	link(t, dir+"/app/data/backup", dir+"/other")
	protected := []string{dir + "/other/archive", dir + "/nowhere", ""}
	for _, path := range []string{dir + "/app/data", dir + "/app/data/backup/archive", dir + "/app/data/backup/archive/pack"} {
		if _, err := Remove(t.Context(), Target{dir + "/app", path, protected}); !errors.Is(err, ErrProtected) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !there(dir + "/app/data/backup/archive/pack") {
		t.Error("the archive is gone")
	}
	if _, err := Remove(t.Context(), Target{dir + "/app", dir + "/app/data/cache", protected}); err != nil {
		t.Errorf("what lies beside it: %v", err)
	}
}

// Another file system below the path stops it before anything is removed. Almost every machine has some below /dev.
func TestMount(t *testing.T) {
	t.Parallel()
	if _, err := Look(t.Context(), Target{Root: "/", Path: "/dev"}); err == nil || !strings.Contains(err.Error(), "another file system is mounted at /dev/") {
		if shm, serr := os.Stat("/dev/shm"); serr == nil {
			if dev, derr := os.Stat("/dev"); derr == nil && shm.Sys().(*syscall.Stat_t).Dev == dev.Sys().(*syscall.Stat_t).Dev {
				t.Skip("nothing is mounted below /dev here")
			}
		}
		t.Errorf("%v", err)
	}
}

// Cancelled is cancelled.
func TestCancel(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/data/x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Remove(ctx, Target{Root: root, Path: root + "/data"}); !errors.Is(err, context.Canceled) || !there(root+"/data/x") {
		t.Errorf("%v", err)
	}
}
