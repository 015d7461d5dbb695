package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// sample holds every kind of node that a normal user can make.
func sample() tree {
	return tree{
		dir_("srv", tree{
			dir_("a", tree{
				file_("empty", ""),
				file_("one", "one blob"),
				file_("many", text("many", 12345), mode(0o444)),
				file_("copy of many", text("many", 12345)),
				file_("repeats", strings.Repeat(text("rep", chunkSize), 7)),
				file_("nobody reads", "secret", mode(0)),
				file_("setuid", "#!", mode(0o4755)),
				file_("\xff\xfe not utf-8 \n newline", "odd"),
				file_(strings.Repeat("n", 255), "long name"),
				file_("xattrs", "x", xattr("user.a", "1"), xattr("user.b", "\x00\x01"), mode(0o400)),
				file_("early", "old", func(n *snapshot.Node) { n.Mtime = early }),
				link_("symlink", "../../nowhere \xff"),
				link_("to etc", "/etc/passwd"),
				node_("fifo", snapshot.Fifo),
				node_("socket", snapshot.Socket),
				file_("hard 1", text("hard", 2500), group(7)),
				file_("hard 2", text("hard", 2500), group(7)),
				link_("linked symlink 1", "x", group(8)),
				link_("linked symlink 2", "x", group(8)),
				dir_("empty dir", nil, mode(0o1777)),
				dir_("read only", tree{file_("in it", "y"), dir_("deeper", tree{file_("z", "z")}, mode(0o500))}, mode(0o555)),
				dir_("setgid", tree{file_("f", "f")}, mode(0o2770), xattr("user.dir", "d")),
				dir_("z", tree{file_("hard 3", text("hard", 2500), group(7))}),
			}),
			file_("beside", "beside"),
		}, mode(0o755)),
	}
}

// TestRoundTrip: A20: types, modes, times to the nanosecond, links, attributes and holes come back.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Sparse: true}, {Verify: true}, {MemoryLimit: 1}, {InPlace: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			t.Parallel()
			f := newFake()
			root := f.put(t, sample())
			o.Target = filepath.Join(tempDir(t), "new", "target")
			o.Progress = new(Progress)
			rep := restoreClean(t, f, root, o)
			compareTree(t, o.Target, sample())
			if rep.Created != 31 || rep.Files != 16 || rep.Links != 3 || rep.Others != 5 || rep.Dirs != 7 {
				t.Errorf("report: %+v", rep)
			}
			if p := o.Progress; p.FilesDone.Load() != p.FilesFound.Load() || p.BytesDone.Load() != p.BytesFound.Load() || p.FilesDone.Load() != 24 {
				t.Errorf("progress: %d of %d files, %d of %d bytes", p.FilesDone.Load(), p.FilesFound.Load(), p.BytesDone.Load(), p.BytesFound.Load())
			}
			again := restoreClean(t, f, root, Options{Target: o.Target})
			if again.Created+again.Updated+again.MetaOnly+again.Deleted != 0 || again.BytesWritten != 0 {
				t.Errorf("second restore changed something: %+v", again)
			}
			compareTree(t, o.Target, sample())
		})
	}
}

// TestRoundTripAsRoot: A20: owners, devices and modes come back, too.
func TestRoundTripAsRoot(t *testing.T) {
	needRoot(t)
	t.Parallel()
	device := func(major, minor uint32) func(*snapshot.Node) {
		return func(n *snapshot.Node) { n.Device = &snapshot.Device{Major: major, Minor: minor} }
	}
	// An ACL: user::rw- user:1234:r-- group::--- mask::r-- other::---
	acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xd2\x04\x00\x00\x04\x00\x00\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	kids := tree{
		node_("char", snapshot.CharDevice, device(1, 3), owner(12, 34)),
		node_("block", snapshot.BlockDevice, device(259, 300000)),
		file_("owned", "o", owner(1234, 5678), mode(0o6711)),
		file_("acl", "a", owner(1, 1), mode(0o640), xattr("system.posix_acl_access", acl)),
		file_("capable", "c", owner(1, 1), mode(0o755), xattr("security.capability", capability)),
		file_("trusted", "t", xattr("trusted.x", "y"), mode(0o400)),
		dir_("default acl", tree{file_("f", "f"), dir_("sub", tree{file_("g", "g")})}, xattr("system.posix_acl_default", acl), owner(1, 2)),
		link_("owned link", "x", owner(5, 6), xattr("trusted.link", "l")),
	}
	f := newFake()
	root := f.put(t, kids)
	target := tempDir(t)
	restoreClean(t, f, root, Options{Target: target})
	compareTree(t, target, kids)
	rep := restoreClean(t, f, root, Options{Target: target, InPlace: true})
	if rep.Identical != 11 || rep.MetaOnly != 0 {
		t.Errorf("second: %+v", rep)
	}
}

var _ Source = (*archive.Archive)(nil)

func TestOwnerNames(t *testing.T) {
	needRoot(t)
	t.Parallel()
	named := func(n *snapshot.Node) { n.User, n.Group, n.UID, n.GID = "nobody", "nogroup", 7, 8 }
	unknown := func(n *snapshot.Node) { n.User, n.Group, n.UID, n.GID = "no such user", "no such group", 7, 8 }
	f := newFake()
	root := f.put(t, tree{file_("known", "", named), file_("unknown", "", unknown)})
	target := tempDir(t)
	restoreClean(t, f, root, Options{Target: target})
	compareTree(t, target, tree{file_("known", "", owner(7, 8)), file_("unknown", "", owner(7, 8))})
	user, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	id, _ := strconv.Atoi(user.Uid)
	restoreClean(t, f, root, Options{Target: target, OwnerNames: true, InPlace: true})
	st, err := statAt(unix.AT_FDCWD, filepath.Join(target, "known"))
	if err != nil || st.uid != uint32(id) {
		t.Errorf("%+v, %v", st, err)
	}
	st, err = statAt(unix.AT_FDCWD, filepath.Join(target, "unknown"))
	if err != nil || st.uid != 7 || st.gid != 8 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestPathInSnapshot(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	a := sample()[0].kids[0]
	t.Run("directory", func(t *testing.T) {
		target := tempDir(t)
		restoreClean(t, f, root, Options{Target: target, Path: "/srv/a"})
		compareTree(t, target, a.kids)
		st, err := os.Stat(target)
		if err != nil || st.Mode().Perm() != 0o751 || st.ModTime().Unix() != early.Sec {
			t.Errorf("an empty target becomes the directory: %v, %v", st, err)
		}
	})
	t.Run("into a directory with something in it", func(t *testing.T) {
		target := tempDir(t)
		if err := os.WriteFile(filepath.Join(target, "mine"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(target, 0o711); err != nil {
			t.Fatal(err)
		}
		restoreClean(t, f, root, Options{Target: target, Path: "srv/a/z/"})
		if st, _ := os.Stat(target); st.Mode().Perm() != 0o711 {
			t.Errorf("mode of the target became %v", st.Mode())
		}
		if _, err := os.Stat(filepath.Join(target, "hard 3")); err != nil {
			t.Error(err)
		}
	})
	t.Run("file", func(t *testing.T) {
		target := tempDir(t)
		restoreClean(t, f, root, Options{Target: target, Path: "/srv/a/many"})
		compareTree(t, target, tree{a.kids[2]})
	})
	t.Run("symlink", func(t *testing.T) {
		target := tempDir(t)
		restoreClean(t, f, root, Options{Target: target, Path: "/srv/a/symlink"})
		compareTree(t, target, tree{a.kids[11]})
	})
	t.Run("target through a symlink", func(t *testing.T) {
		real, link := tempDir(t), filepath.Join(tempDir(t), "link")
		if err := os.Symlink(real, link); err != nil {
			t.Fatal(err)
		}
		restoreClean(t, f, root, Options{Target: link, Path: "/srv/a"})
		compareTree(t, real, a.kids)
	})
	t.Run("not there", func(t *testing.T) {
		_, err := Run(t.Context(), f, root, Options{Target: tempDir(t), Path: "/srv/b"})
		if !errors.Is(err, snapshot.ErrNotFound) {
			t.Error(err)
		}
	})
}

type globs []string

func (g globs) Match(path string, dir bool) bool {
	for _, p := range g {
		if ok, _ := filepath.Match(strings.TrimSuffix(p, "/"), path); ok && (dir || !strings.HasSuffix(p, "/")) {
			return true
		}
		if ok, _ := filepath.Match(p, filepath.Base(path)); ok {
			return true
		}
	}
	return false
}

func TestFilters(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{
		dir_("a", tree{file_("x.go", "1"), file_("x.txt", "2"), dir_("b", tree{file_("y.txt", "3")}), dir_("c", tree{file_("z.go", "4")})}),
		dir_("d", tree{file_("x.txt", "5")}),
	}
	root := f.put(t, kids)
	run := func(t *testing.T, o Options) []string {
		o.Target = tempDir(t)
		restoreClean(t, f, root, o)
		return look(t, o.Target)
	}
	for name, tt := range map[string]struct {
		o    Options
		want tree
	}{
		"exclude file":      {Options{Excludes: globs{"*.txt"}}, tree{dir_("a", tree{kids[0].kids[0], dir_("b", nil), kids[0].kids[3]}), dir_("d", nil)}},
		"exclude directory": {Options{Excludes: globs{"/a/"}}, tree{kids[1]}},
		"include file":      {Options{Includes: globs{"*.go"}}, tree{dir_("a", tree{kids[0].kids[0], kids[0].kids[3]})}},
		"include directory": {Options{Includes: globs{"/a/b"}}, tree{dir_("a", tree{kids[0].kids[2]})}},
		"both":              {Options{Includes: globs{"/a"}, Excludes: globs{"*.txt", "/a/c"}}, tree{dir_("a", tree{kids[0].kids[0], dir_("b", nil)})}},
		"nothing":           {Options{Includes: globs{"none"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want(tt.want), run(t, tt.o)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSparse(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	zero := strings.Repeat("\x00", mib)
	kids := tree{
		file_("all hole", zero, hole(0, mib)),
		file_("hole first", zero+text("a", 5000), hole(0, mib)),
		file_("hole last", text("b", 4096)+zero, hole(4096, mib)),
		file_("two holes", text("c", 8192)+zero+text("d", 4096)+zero+"end", hole(8192, mib), hole(8192+mib+4096, mib)),
		file_("zeros", zero+text("e", 100)+zero),
	}
	f := newFake()
	f.chunk = 300 << 10
	root := f.put(t, kids)
	for _, sparse := range []bool{false, true} {
		target := tempDir(t)
		restoreClean(t, f, root, Options{Target: target, Sparse: sparse, Verify: true})
		compareTree(t, target, kids)
		for _, e := range kids {
			got := blocks(t, filepath.Join(target, e.Name))
			if dense := e.Name == "zeros" && !sparse; (got < 1*mib) == dense {
				t.Errorf("sparse %v: %s takes %d bytes on disk", sparse, e.Name, got)
			}
		}
	}
	t.Run("in place", func(t *testing.T) {
		target := tempDir(t)
		for _, e := range kids {
			if err := os.WriteFile(filepath.Join(target, e.Name), []byte(strings.Repeat("old", mib)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		restoreClean(t, f, root, Options{Target: target, Sparse: true, InPlace: true})
		compareTree(t, target, kids)
		for _, e := range kids {
			if got := blocks(t, filepath.Join(target, e.Name)); got >= mib {
				t.Errorf("%s takes %d bytes on disk", e.Name, got)
			}
		}
	})
}

func TestDamage(t *testing.T) {
	t.Parallel()
	kids := tree{
		file_("good", text("good", 5000)),
		file_("half", text("half", 5000)),
		file_("gone", "not in the index"),
		file_("shares", text("half", 3000), mode(0o600)),
		file_("h1", "hard", group(1)),
		file_("h2", "hard", group(1)),
		dir_("lost dir", tree{file_("x", "unreachable")}),
		file_("unread", "", func(n *snapshot.Node) { n.Error = "permission denied"; n.Size = 5 }),
		dir_("z", tree{file_("good too", "fine")}),
	}
	f := newFake()
	root := f.put(t, kids)
	f.damaged[chunk.Sum([]byte(text("half", 5000)[1000:2000]))] = true
	f.missing[chunk.Sum([]byte("not in the index"))] = true
	f.damaged[chunk.Sum([]byte("hard"))] = true
	f.damaged[f.dir(t, kids[6].kids).Content[0]] = true
	target := tempDir(t)
	rep, err := Run(t.Context(), f, root, Options{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, x := range rep.Failures {
		failed = append(failed, x.Path+" "+x.Kind.String())
	}
	wantFailed := []string{"/gone damaged", "/h1 damaged", "/h2 damaged", "/half damaged", "/lost dir damaged", "/shares damaged"}
	if diff := cmp.Diff(wantFailed, failed); diff != "" || rep.Failed != 6 || rep.Damaged != 6 {
		t.Errorf("%d failed, %d damaged (-want +got):\n%s", rep.Failed, rep.Damaged, diff)
	}
	var missing *archive.MissingError
	if !errors.As(rep.Failures[0].Err, &missing) {
		t.Errorf("error of a missing blob: %v", rep.Failures[0].Err)
	}
	if len(rep.Warnings) != 1 || rep.Warnings[0].Kind != WarnUnreadable {
		t.Errorf("warnings: %+v", rep.Warnings)
	}
	compareTree(t, target, tree{kids[0], dir_("lost dir", nil), kids[8]})
}

func TestWrongLength(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, tree{
		file_("claims more", "abc", func(n *snapshot.Node) { n.Size = 4 }),
		file_("claims less", "abc", func(n *snapshot.Node) { n.Size = 2 }),
		file_("right", "abc"),
	})
	target := tempDir(t)
	rep, err := Run(t.Context(), f, root, Options{Target: target})
	if err != nil || rep.Failed != 2 || rep.Damaged != 2 {
		t.Fatalf("%v, %+v", err, rep)
	}
	compareTree(t, target, tree{file_("right", "abc")})
}

func TestSourceFails(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	cause := errors.New("two of five members reachable")
	f.onFetch = func(chunk.ID) error { return cause }
	target := tempDir(t)
	if _, err := Run(t.Context(), f, root, Options{Target: target}); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestCancelRemovesPartialFiles(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, tree{file_("big", text("big", 100*chunkSize))})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	f.onFetch = func(chunk.ID) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if n++; n == 50 {
			cancel()
		}
		return nil
	}
	target := tempDir(t)
	if _, err := Run(ctx, f, root, Options{Target: target}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if lines := look(t, target); len(lines) > 0 {
		t.Errorf("left: %v", lines)
	}
}

// A file of more blobs than a batch takes, and more directories and open files than descriptors.
func TestManyOfAll(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{file_("big", text("big", 3000*chunkSize))}
	for i := range 300 {
		kids = append(kids, dir_(fmt.Sprintf("d%03d", i), tree{
			file_("two", text(fmt.Sprint(i), 1500)), dir_("e", tree{file_("one", fmt.Sprint(i))})}))
	}
	root := f.put(t, kids)
	if len(root.Content) == 0 {
		t.Fatal("no tree")
	}
	for _, memory := range []int64{0, 1 << 10} {
		target := tempDir(t)
		restoreClean(t, f, root, Options{Target: target, MemoryLimit: memory})
		compareTree(t, target, kids)
	}
}

// Paths of 16 × 256 = 4096 bytes and more cannot be named to the kernel.
func TestPathsLongerThanPathMax(t *testing.T) {
	t.Parallel()
	kids := tree{file_("bottom", text("bottom", 2000))}
	for range 40 {
		kids = tree{dir_(strings.Repeat("d", 200), kids), file_("side", "s")}
	}
	f := newFake()
	root := f.put(t, kids)
	target := tempDir(t)
	restoreClean(t, f, root, Options{Target: target, MemoryLimit: 1 << 12})
	compareTree(t, target, kids)
}
