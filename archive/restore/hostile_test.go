package restore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/snapshot"
)

// forge changes a name in an encoded tree piece: the codec itself refuses to write such a name.
func forge(t *testing.T, f *fake, root Root, from, to string) Root {
	t.Helper()
	if len(from) != len(to) {
		t.Fatal("lengths differ")
	}
	plain := bytes.Replace(f.blobs[root.Content[0]], []byte(from), []byte(to), 1)
	id, _ := f.save(t.Context(), plain)
	return Root{Content: []chunk.ID{id}}
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"..", ".", "a/b", "../x", "/etc/x", "nul\x00"} {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			f := newFake()
			placeholder := strings.Repeat("N", len(name))
			root := f.put(t, tree{dir_("sub", tree{file_("inner", "x")}), file_("good", "g")})
			bad := forge(t, f, f.put(t, tree{file_(placeholder, "evil")}), placeholder, name)
			// The forged directory hangs below a good one.
			n, err := snapshot.Find(t.Context(), func(_ ctxT, id chunk.ID) ([]byte, error) { return f.blobs[id], nil }, root.Content, 0, "/sub")
			must(t, err)
			evil := *n
			evil.Content = bad.Content
			good, err := snapshot.DecodePiece(f.blobs[root.Content[0]])
			must(t, err)
			plain, err := snapshot.EncodePiece([]snapshot.Node{good[0], evil})
			must(t, err)
			id, _ := f.save(t.Context(), plain)
			outer := tempDir(t)
			target := filepath.Join(outer, "a", "target")
			rep, err := Run(t.Context(), f, Root{Content: []chunk.ID{id}}, Options{Target: target})
			if err != nil || rep.Failed != 1 || rep.Failures[0].Path != "/sub" {
				t.Fatalf("%v, %+v", err, rep)
			}
			compareTree(t, target, tree{file_("good", "g"), dir_("sub", nil)})
			if names, _ := os.ReadDir(outer); len(names) != 1 {
				t.Errorf("written outside of the target: %v", names)
			}
		})
	}
}

// The names are checked here again, should the codec ever let one through.
func TestNamesAreCheckedAgain(t *testing.T) {
	t.Parallel()
	target := tempDir(t)
	r := newRun(newFake(), Options{Target: target})
	d, err := r.openTarget("/", false)
	must(t, err)
	defer r.dirs.close()
	r.stack = []*dir{d}
	for _, name := range []string{"..", ".", "a/b", "", "../x"} {
		for _, typ := range []snapshot.NodeType{snapshot.File, snapshot.Dir, snapshot.Symlink, snapshot.Fifo} {
			err := r.step(t.Context(), "/"+name, &snapshot.Node{Name: name, Type: typ, Target: "x"})
			if err != nil && !errors.Is(err, snapshot.SkipDir) {
				t.Error(err)
			}
		}
	}
	must(t, r.flush(t.Context(), true))
	if rep := r.report(); rep.Failed != 20 || rep.Failures[0].Kind != Unsafe {
		t.Errorf("%+v", rep)
	}
}

// Whatever stands in the way is not followed: not a symlink in the place of a directory, of a file, or of the temporary
// name, before the run or while it is under way.
func TestSymlinksInTheWay(t *testing.T) {
	t.Parallel()
	kids := tree{dir_("d", tree{file_("f", text("f", 3000)), dir_("e", tree{link_("l", "x"), node_("p", snapshot.Fifo)})})}
	for name, setup := range map[string]func(t *testing.T, target, outside string){
		"for a directory": func(t *testing.T, target, outside string) { must(t, os.Symlink(outside, filepath.Join(target, "d"))) },
		"for a directory below": func(t *testing.T, target, outside string) {
			must(t, os.Mkdir(filepath.Join(target, "d"), 0o700), os.Symlink(outside, filepath.Join(target, "d/e")))
		},
		"for a file": func(t *testing.T, target, outside string) {
			must(t, os.Mkdir(filepath.Join(target, "d"), 0o700), os.Symlink(filepath.Join(outside, "f"), filepath.Join(target, "d/f")))
		},
		"for a file, dangling": func(t *testing.T, target, outside string) {
			must(t, os.Mkdir(filepath.Join(target, "d"), 0o700), os.Symlink(filepath.Join(outside, "new"), filepath.Join(target, "d/f")))
		},
	} {
		for _, inPlace := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFake()
				root := f.put(t, kids)
				target, outside := tempDir(t), tempDir(t)
				must(t, os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o600))
				before := look(t, outside)
				setup(t, target, outside)
				o := Options{Target: target, InPlace: inPlace, Delete: inPlace, Roots: []string{"/"}}
				rep, err := Run(t.Context(), f, root, o)
				if err != nil || (rep.Failed > 0) == inPlace {
					t.Errorf("%v, %+v", err, rep)
				}
				if inPlace {
					compareTree(t, target, kids)
				}
				if diff := cmp.Diff(before, look(t, outside)); diff != "" {
					t.Errorf("outside (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Somebody who may write in the target swaps directories and files for links while blobs come in.
func TestSwappedDuringRestore(t *testing.T) {
	t.Parallel()
	var kids tree
	for _, c := range "abcdefgh" {
		kids = append(kids, dir_(string(c), tree{file_("f", text(string(c), 9*chunkSize)), file_("g", text("g"+string(c), chunkSize/2))}))
	}
	f := newFake()
	root := f.put(t, kids)
	target, outside := tempDir(t), tempDir(t)
	must(t, os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o600))
	before := look(t, outside)
	n := 0
	f.onFetch = func(chunk.ID) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		n++
		victim := filepath.Join(target, string("abcdefgh"[n%8]))
		switch n % 3 {
		case 0:
			if os.Rename(victim, victim+"-moved") == nil {
				return os.Symlink(outside, victim)
			}
		case 1:
			if st, err := os.Lstat(victim); err != nil || !st.IsDir() {
				break // swapped already
			}
			if os.Remove(filepath.Join(victim, "f")) == nil {
				_ = os.Symlink(filepath.Join(outside, "f"), filepath.Join(victim, "f"))
			}
		}
		return nil
	}
	// Few descriptors, so that nearly everything is reopened.
	rep, err := runWith(t, f, root, Options{Target: target}, 2)
	t.Logf("%v, %d failures, %d warnings", err, rep.Failed, len(rep.Warnings))
	if err != nil || rep.Failed == 0 {
		t.Error("swaps were not noticed")
	}
	if diff := cmp.Diff(before, look(t, outside)); diff != "" {
		t.Errorf("outside (-want +got):\n%s", diff)
	}
}

// runWith is Run with so many descriptors for directories and for files.
func runWith(t *testing.T, src Source, root Root, o Options, fds int) (*Report, error) {
	r := newRun(src, o)
	r.dirs.max, r.fds.max = fds, fds
	defer r.dirs.close()
	err := r.restore(t.Context(), root)
	return r.report(), err
}

func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	target := tempDir(t)
	rep, err := runWith(t, f, root, Options{Target: target}, 1)
	if err != nil || rep.Failed > 0 {
		t.Fatalf("%v, %+v", err, rep)
	}
	compareTree(t, target, sample())
}

// A second name must be the inode that was restored, not what took its place.
func TestSwappedHardLink(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{file_("a", text("a", 1500), group(1)), file_("b", text("a", 1500), group(1))}
	root := f.put(t, kids)
	target, outside := tempDir(t), tempDir(t)
	r := newRun(f, Options{Target: target})
	defer r.dirs.close()
	r.act = func(a Action) {
		if a.Path == "/a" {
			must(t, os.Remove(filepath.Join(target, "a")), os.Symlink(outside, filepath.Join(target, "a")))
		}
	}
	must(t, r.restore(t.Context(), root))
	if b, err := os.ReadFile(filepath.Join(target, "b")); err != nil || string(b) != text("a", 1500) {
		t.Errorf("%q, %v", b, err)
	}
	if rep := r.report(); len(rep.Warnings) != 1 || rep.Warnings[0].Kind != WarnLink {
		t.Errorf("%+v", rep)
	}
}

func TestMountedFileSystemIsNotEmptied(t *testing.T) {
	needRoot(t)
	t.Parallel()
	f := newFake()
	root := f.put(t, tree{dir_("mnt", nil), dir_("mnt2", tree{file_("x", "x")})})
	target := tempDir(t)
	for _, name := range []string{"mnt", "mnt2", "extra/mnt3"} {
		at := filepath.Join(target, name)
		must(t, os.MkdirAll(at, 0o700))
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m"); err != nil {
			t.Skip("cannot mount here: ", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		must(t, os.WriteFile(filepath.Join(at, "precious"), nil, 0o600))
	}
	rep, err := Run(t.Context(), f, root, Options{Target: target, InPlace: true, Delete: true, Roots: []string{"/"}})
	if err != nil || rep.Failed > 0 {
		t.Fatalf("%v, %+v", err, rep)
	}
	for name, want := range map[string]bool{"mnt": true, "mnt2": false, "extra/mnt3": true} {
		if _, err := os.Stat(filepath.Join(target, name, "precious")); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.ContainsFunc(rep.Warnings, func(w Warning) bool { return w.Kind == WarnKept }) {
		t.Errorf("warnings %+v", rep.Warnings)
	}
}

func TestFullDiskEndsTheRun(t *testing.T) {
	needRoot(t)
	t.Parallel()
	target := tempDir(t)
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount here: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	f := newFake()
	f.chunk = 100 << 10
	root := f.put(t, tree{file_("a", text("a", 600<<10)), file_("b", text("b", 600<<10))})
	rep, err := Run(t.Context(), f, root, Options{Target: target})
	if !errors.Is(err, unix.ENOSPC) || rep == nil {
		t.Fatalf("%v, %+v", err, rep)
	}
	for _, line := range look(t, target) {
		if !strings.Contains(line, "614400 bytes") || strings.Contains(line, " 0600 ") {
			t.Errorf("left behind: %s", line)
		}
	}
}
