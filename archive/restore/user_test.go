package restore

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/snapshot"
)

type ctxT = context.Context

const nobody = 65534

// TestAsNormalUser runs the tests of this file, and some others, as a user without privileges.
func TestAsNormalUser(t *testing.T) {
	if os.Getenv("CAIRN_TEST_AS_USER") != "" {
		t.Skip("it is this very process")
	}
	needRoot(t)
	t.Parallel()
	// Neither the test binary nor t.TempDir can be reached by others.
	dir, err := os.MkdirTemp("", "cairn-user-*")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o700), os.Chown(filepath.Join(dir, "tmp"), nobody, nobody))
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	binary, err := os.OpenFile(filepath.Join(dir, "test"), os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(binary, self)
	must(t, err, binary.Chmod(0o755), binary.Close())
	cmd := exec.Command(binary.Name(), "-test.run", "^(TestUser|TestRoundTrip|TestInPlace|TestRefuses|TestSymlinks|TestResume|TestDelete)", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CAIRN_TEST_AS_USER=1", "TMPDIR="+filepath.Join(dir, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func needUser(t *testing.T) {
	t.Helper()
	if uid == 0 {
		t.Skip("as a normal user only; TestAsNormalUser runs it as one")
	}
}

// What only root can do makes warnings; everything else is restored.
func TestUserCannotDoEverything(t *testing.T) {
	needUser(t)
	t.Parallel()
	kids := tree{
		file_("of root", "o", owner(0, 0), mode(0o4755)),
		dir_("dir of root", tree{file_("mine", "m")}, owner(0, 0)),
		file_("trusted", "t", xattr("trusted.x", "1"), xattr("user.y", "2"), mode(0o444)),
		node_("device", snapshot.CharDevice, func(n *snapshot.Node) { n.Device = &snapshot.Device{Major: 1, Minor: 3} }),
		file_("my setuid", "s", mode(0o4711)),
	}
	f := newFake()
	root := f.put(t, kids)
	target := tempDir(t)
	rep, err := Run(t.Context(), f, root, Options{Target: target})
	if err != nil || rep.Failed > 0 {
		t.Fatalf("%v, %+v", err, rep)
	}
	counts := map[WarnKind]int{}
	for _, w := range rep.Warnings {
		counts[w.Kind] = w.Count
	}
	if diff := cmp.Diff(map[WarnKind]int{WarnOwner: 2, WarnMode: 1, WarnXattr: 1, WarnDevice: 1}, counts); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	mine := uint32(uid)
	compareTree(t, target, tree{
		file_("of root", "o", owner(mine, uint32(gid)), mode(0o755)), // setuid of another owner would lend our rights
		dir_("dir of root", tree{file_("mine", "m")}, owner(mine, uint32(gid))),
		file_("trusted", "t", xattr("user.y", "2"), mode(0o444)),
		file_("my setuid", "s", mode(0o4711)),
	})
	rep, err = Run(t.Context(), f, root, Options{Target: tempDir(t), NoOwner: true, NoXattrs: true})
	if err != nil || len(rep.Warnings) != 2 { // mode, device
		t.Errorf("%v, %+v", err, rep.Warnings)
	}
}

// Directories and files without permissions for their owner are no obstacle in place, and have their modes at the end.
func TestUserReadOnlyDirectories(t *testing.T) {
	needUser(t)
	t.Parallel()
	kids := tree{
		dir_("r-x", tree{file_("f", text("new", 2500), mode(0o444)), dir_("---", tree{file_("g", "g")}, mode(0))}, mode(0o500)),
	}
	f := newFake()
	target := tempDir(t)
	open := func() {
		_ = os.Chmod(filepath.Join(target, "r-x"), 0o700)
		_ = os.Chmod(filepath.Join(target, "r-x/---"), 0o700)
	}
	t.Cleanup(open)
	old := tree{dir_("r-x", tree{file_("f", text("old", 2500), mode(0)), file_("gone", ""), dir_("---", tree{file_("h", "h")}, mode(0)),
		dir_("extra", tree{file_("e", "e")}, mode(0))}, mode(0o500))}
	restoreClean(t, f, f.put(t, old), Options{Target: target})
	restoreClean(t, f, f.put(t, kids), Options{Target: target, InPlace: true, Delete: true, Roots: []string{"/"}})
	st, err := os.Stat(filepath.Join(target, "r-x"))
	must(t, err)
	if st.Mode().Perm() != 0o500 {
		t.Errorf("mode %v", st.Mode())
	}
	inner, err := os.Lstat(filepath.Join(target, "r-x/---"))
	must(t, err)
	if inner.Mode().Perm() != 0 {
		t.Errorf("mode %v", inner.Mode())
	}
	open()
	b, err := os.ReadFile(filepath.Join(target, "r-x/f"))
	if err != nil || string(b) != text("new", 2500) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	names, err := os.ReadDir(filepath.Join(target, "r-x"))
	if err != nil || !slices.EqualFunc(names, []string{"---", "f"}, func(e os.DirEntry, n string) bool { return e.Name() == n }) {
		t.Errorf("%v, %v", names, err)
	}
}
