package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

var uid, gid = os.Getuid(), os.Getgid()

func needRoot(t *testing.T) {
	t.Helper()
	if uid != 0 {
		t.Skip("needs root: owners, devices or trusted attributes")
	}
}

// tempDir is t.TempDir for directories in which normal users find some that they may not write in.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if uid != 0 {
		t.Cleanup(func() {
			_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
				if d != nil && d.IsDir() {
					_ = os.Chmod(p, 0o700)
				}
				return nil
			})
		})
	}
	return dir
}

// look describes what lstat, readlink, listxattr and read say about everything below a directory, a line each. It goes
// by descriptors, as paths may be longer than the kernel takes.
func look(t testing.TB, dir string) []string {
	t.Helper()
	fd, err := openTarget(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFd(fd)
	var lines []string
	seen := map[identity]string{}
	lookIn(t, fd, "", seen, &lines)
	return lines
}

func lookIn(t testing.TB, fd int, prefix string, seen map[identity]string, lines *[]string) {
	t.Helper()
	names, err := namesIn(fd)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		st, err := statAt(fd, name)
		if err != nil {
			t.Fatal(err)
		}
		path := prefix + name
		line := fmt.Sprintf("%q type %d %04o %d:%d %d.%09d", path, st.typ, st.mode, st.uid, st.gid, st.mtime.Sec, st.mtime.Nsec)
		switch st.typ {
		case snapshot.File:
			line += lookFile(t, fd, name, st)
		case snapshot.Symlink:
			target, err := readLinkAt(fd, name)
			if err != nil {
				t.Fatal(err)
			}
			line += fmt.Sprintf(" -> %q", target)
		case snapshot.CharDevice, snapshot.BlockDevice:
			line += fmt.Sprintf(" device %d:%d", st.device.Major, st.device.Minor)
		}
		if st.typ != snapshot.Dir && st.links > 1 {
			if first, ok := seen[st.id]; ok {
				line += " = " + first
			} else {
				seen[st.id] = path
			}
		}
		h, err := openHandleAt(fd, name)
		if err != nil {
			t.Fatal(err)
		}
		line += lookXattrs(handle{h, true})
		closeFd(h)
		*lines = append(*lines, line)
		if st.typ == snapshot.Dir {
			sub, err := openDirAt(fd, name)
			if err != nil {
				t.Fatal(err)
			}
			lookIn(t, sub, path+"/", seen, lines)
			closeFd(sub)
		}
	}
}

func lookFile(t testing.TB, at int, name string, st stat) string {
	fd, err := openReadAt(at, name)
	if err == unix.EACCES {
		must(t, unix.Fchmodat(at, name, 0o400, 0))
		fd, err = openReadAt(at, name)
		must(t, unix.Fchmodat(at, name, st.mode, 0))
	}
	must(t, err)
	defer closeFd(fd)
	b := make([]byte, st.size)
	if _, err := readAt(fd, b, 0); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(" %d bytes %s", len(b), short(string(b)))
}

func short(s string) string {
	if len(s) > 40 {
		h := uint64(14695981039346656037)
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		return fmt.Sprintf("%q…%x", s[:20], h)
	}
	return fmt.Sprintf("%q", s)
}

func lookXattrs(h handle) string {
	names, _ := h.xattrs()
	slices.Sort(names)
	var b strings.Builder
	for _, n := range names {
		if strings.HasPrefix(n, "security.selinux") {
			continue
		}
		v, _ := h.xattr(n)
		fmt.Fprintf(&b, " %s=%q", n, v)
	}
	return b.String()
}

// want describes a tree literal in the way of look.
func want(kids tree) []string {
	var lines []string
	wantIn(kids, "", map[snapshot.LinkID]string{}, &lines)
	return lines
}

func wantIn(kids tree, prefix string, seen map[snapshot.LinkID]string, lines *[]string) {
	for _, e := range sortedTree(kids) {
		if e.Error != "" {
			continue
		}
		path := prefix + e.Name
		line := fmt.Sprintf("%q type %d %04o %d:%d %d.%09d", path, e.Type, e.Mode, e.UID, e.GID, e.Mtime.Sec, e.Mtime.Nsec)
		switch e.Type {
		case snapshot.File:
			line += fmt.Sprintf(" %d bytes %s", len(e.data), short(e.data))
		case snapshot.Symlink:
			line += fmt.Sprintf(" -> %q", e.Target)
		case snapshot.CharDevice, snapshot.BlockDevice:
			line += fmt.Sprintf(" device %d:%d", e.Device.Major, e.Device.Minor)
		}
		if e.Link != nil {
			if first, ok := seen[*e.Link]; ok {
				line += " = " + first
			} else {
				seen[*e.Link] = path
			}
		}
		for _, x := range e.Xattrs {
			line += fmt.Sprintf(" %s=%q", x.Name, x.Value)
		}
		*lines = append(*lines, line)
		wantIn(e.kids, path+"/", seen, lines)
	}
}

func sortedTree(kids tree) tree {
	kids = slices.Clone(kids)
	slices.SortFunc(kids, func(a, b ent) int { return strings.Compare(a.Name, b.Name) })
	return kids
}

func compareTree(t *testing.T, dir string, kids tree) {
	t.Helper()
	if diff := cmp.Diff(want(kids), look(t, dir)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// restore runs and fails the test on anything but a clean result.
func restoreClean(t *testing.T, src Source, root Root, o Options) *Report {
	t.Helper()
	rep, err := Run(t.Context(), src, root, o)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed > 0 || len(rep.Warnings) > 0 {
		t.Fatalf("failures %v, warnings %v", rep.Failures, rep.Warnings)
	}
	return rep
}

// blocks returns how many bytes a file takes on disk.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}
