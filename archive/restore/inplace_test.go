package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/snapshot"
)

// plan collects actions.
type plan struct {
	mu    sync.Mutex
	steps []string
}

func (p *plan) add(a Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Kind != Unchanged {
		p.steps = append(p.steps, a.Kind.String()+" "+a.Path)
	}
}

func (p *plan) sorted() []string {
	slices.Sort(p.steps)
	return p.steps
}

// must ends the test on any error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// disturb changes nearly everything that sample restored.
func disturb(t *testing.T, target string) {
	a := filepath.Join(target, "srv", "a")
	at := func(name string) string { return filepath.Join(a, name) }
	mid, err := os.OpenFile(at("copy of many"), os.O_RDWR, 0)
	must(t, err)
	_, err = mid.WriteAt([]byte("X"), 4321)
	must(t, err, mid.Close(),
		os.WriteFile(at("one"), []byte("longer than one blob"), 0o600),
		os.Truncate(at("repeats"), 3500),
		os.Remove(at("many")), os.Symlink("copy of many", at("many")), // a symlink instead of a file
		os.Remove(at("symlink")), os.WriteFile(at("symlink"), nil, 0o600), // a file instead of a symlink
		os.Remove(at("to etc")), os.Symlink("/etc/shadow", at("to etc")),
		os.Remove(at("fifo")), os.Mkdir(at("fifo"), 0o700), // a directory instead of a fifo
		os.RemoveAll(at("z")), os.Symlink("/", at("z")), // a symlink instead of a directory
		os.Chmod(at("setuid"), 0o600),
		os.Chtimes(at("early"), time.Now(), time.Now()),
		unix.Setxattr(at("setgid"), "user.more", []byte("1"), 0),
		os.Remove(at("hard 2")), os.WriteFile(at("hard 2"), []byte("hard?"), 0o600), // no longer linked
		os.Remove(at("empty")),
		os.WriteFile(filepath.Join(target, "srv", "extra"), []byte("extra"), 0o600),
		os.MkdirAll(at("extra dir/deep/er"), 0o700), os.WriteFile(at("extra dir/deep/file"), nil, 0o600),
		os.Symlink("/etc", at("extra link")),
	)
}

var disturbed = []string{
	"create /srv/a/empty", "create /srv/a/z/hard 3",
	"meta /srv", "meta /srv/a", "meta /srv/a/early", "meta /srv/a/setgid", "meta /srv/a/setuid",
	"update /srv/a/copy of many", "update /srv/a/fifo", "update /srv/a/hard 2", "update /srv/a/many", "update /srv/a/one",
	"update /srv/a/repeats", "update /srv/a/symlink", "update /srv/a/to etc", "update /srv/a/z",
}

func TestInPlace(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	target := tempDir(t)
	restoreClean(t, f, root, Options{Target: target})
	disturb(t, target)
	disturbedTree := look(t, target)

	dry := &plan{}
	o := Options{Target: target, InPlace: true, DryRun: true, Delete: true, Roots: []string{"/srv"}, Action: dry.add}
	rep := restoreClean(t, f, root, o)
	deletes := []string{"delete /srv/a/extra dir", "delete /srv/a/extra dir/deep", "delete /srv/a/extra dir/deep/er",
		"delete /srv/a/extra dir/deep/file", "delete /srv/a/extra link", "delete /srv/extra"}
	wantSteps := append(slices.Clone(disturbed), deletes...)
	if uid != 0 { // a dry run cannot look into it without changing its mode
		wantSteps = append(wantSteps, "update /srv/a/nobody reads")
	}
	slices.Sort(wantSteps)
	if diff := cmp.Diff(wantSteps, dry.sorted()); diff != "" || rep.Deleted != 6 {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(disturbedTree, look(t, target)); diff != "" {
		t.Errorf("dry run changed something (-want +got):\n%s", diff)
	}

	f.fetched = 0
	wet := &plan{}
	o = Options{Target: target, InPlace: true, Action: wet.add}
	rep = restoreClean(t, f, root, o)
	if diff := cmp.Diff(disturbed, wet.sorted()); diff != "" {
		t.Errorf("without delete (-want +got):\n%s", diff)
	}
	// copy of many: 1 blob; one: 1; repeats: 1 of its 1; many, anew: the 13 of copy of many, 1 of which is counted above
	if f.fetched != 15 {
		t.Errorf("%d blobs fetched", f.fetched)
	}
	if rep.BytesUnchanged == 0 {
		t.Error("nothing was found unchanged")
	}
	if _, err := os.Lstat(filepath.Join(target, "srv", "a", "extra dir", "deep", "er")); err != nil {
		t.Errorf("deleted without being asked: %v", err)
	}

	rep = restoreClean(t, f, root, Options{Target: target, InPlace: true, Delete: true, Roots: []string{"/srv"}})
	if rep.Deleted != 6 || rep.BytesWritten != 0 {
		t.Errorf("report: %+v", rep)
	}
	compareTree(t, target, sample())
	if _, err := os.Lstat("/etc/passwd"); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesToOverwrite(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	target := tempDir(t)
	restoreClean(t, f, root, Options{Target: target})
	disturb(t, target)
	rep, err := Run(t.Context(), f, root, Options{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range rep.Failures {
		if x.Kind != Conflict || !errors.Is(x.Err, ErrExists) {
			t.Errorf("%+v", x)
		}
		got = append(got, strings.TrimPrefix(x.Path, "/srv/a/"))
	}
	wantNames := []string{"copy of many", "fifo", "hard 2", "many", "one", "repeats", "symlink", "to etc", "z"}
	if diff := cmp.Diff(wantNames, got); diff != "" || rep.Conflicts != len(wantNames) {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if rep.Created != 1 || rep.Updated != 0 || rep.Deleted != 0 {
		t.Errorf("report: %+v", rep)
	}
	if b, _ := os.ReadFile(filepath.Join(target, "srv/a/one")); string(b) != "longer than one blob" {
		t.Errorf("overwritten with %q", b)
	}
}

// An inode with further names may have one outside of the target: it is replaced, not written to.
func TestInPlaceLeavesOtherNamesAlone(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{file_("changed", text("new", 5000)), file_("chmodded", "same", mode(0o600))}
	root := f.put(t, kids)
	outside, target := tempDir(t), tempDir(t)
	old := text("new", 4000) + "and then other bytes"
	for name, data := range map[string]string{"changed": old, "chmodded": "same"} {
		must(t, os.WriteFile(filepath.Join(outside, name), []byte(data), 0o644), os.Link(filepath.Join(outside, name), filepath.Join(target, name)))
	}
	before := look(t, outside)
	restoreClean(t, f, root, Options{Target: target, InPlace: true})
	compareTree(t, target, kids)
	if f.fetched != 1 {
		t.Errorf("%d blobs fetched, the first four are there", f.fetched)
	}
	if diff := cmp.Diff(before, look(t, outside)); diff != "" {
		t.Errorf("outside (-want +got):\n%s", diff)
	}
}

func TestInPlaceDamage(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{file_("f", text("new", 5000))}
	root := f.put(t, kids)
	f.damaged[chunk.Sum([]byte(text("new", 5000)[2000:3000]))] = true
	target := tempDir(t)
	must(t, os.WriteFile(filepath.Join(target, "f"), []byte("old content"), 0o600))
	rep, err := Run(t.Context(), f, root, Options{Target: target, InPlace: true})
	if err != nil || rep.Damaged != 1 {
		t.Fatalf("%v, %+v", err, rep)
	}
	if _, err := os.Stat(filepath.Join(target, "f")); err != nil {
		t.Errorf("an existing file is never removed: %v", err)
	}
}

// TestDelete: A20: what the snapshot does not have is removed, where that is wanted, and nothing else.
func TestDelete(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{
		dir_("home", tree{dir_("me", tree{file_("kept", "k"), dir_("d", tree{file_("x", "x")}),
			dir_("unreadable", nil, func(n *snapshot.Node) { n.Error = "permission denied" })})}),
	}
	root := f.put(t, kids)
	fill := func(t *testing.T) string {
		target := tempDir(t)
		for _, p := range []string{"etc/passwd", "home/you/file", "home/me/extra", "home/me/cache/1", "home/me/d/y", "home/me/unreadable/precious",
			"home/me/mixed/cache/2", "home/me/mixed/other", "home/me/locked"} {
			must(t, os.MkdirAll(filepath.Join(target, filepath.Dir(p)), 0o700), os.WriteFile(filepath.Join(target, p), nil, 0o600))
		}
		return target
	}
	left := func(target string) string {
		var names []string
		must(t, filepath.WalkDir(target, func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, p[len(target)+1:])
			}
			return err
		}))
		return strings.Join(names, " ")
	}
	const untouched = "etc/passwd home/me/cache/1 home/me/d/x home/me/d/y home/me/extra home/me/kept home/me/locked home/me/mixed/cache/2 home/me/mixed/other home/me/unreadable/precious home/you/file"
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"not asked": {Options{}, untouched},
		"above what was backed up nothing is deleted": {Options{Delete: true, Roots: []string{"/home/me"}},
			"etc/passwd home/me/d/x home/me/kept home/me/unreadable/precious home/you/file"},
		"all was backed up": {Options{Delete: true, Roots: []string{"/"}}, "home/me/d/x home/me/kept home/me/unreadable/precious"},
		"excluded": {Options{Delete: true, Roots: []string{"/home/me"}, Excludes: globs{"cache"}},
			"etc/passwd home/me/cache/1 home/me/d/x home/me/kept home/me/mixed/cache/2 home/me/unreadable/precious home/you/file"},
		"included only": {Options{Delete: true, Roots: []string{"/"}, Includes: globs{"/home/me/d"}},
			strings.Replace(strings.Replace(untouched, "home/me/d/y ", "", 1), "home/me/kept ", "", 1)},
		"unread": {Options{Delete: true, Roots: []string{"/home/me"}, Unread: []string{"/home/me/locked"}},
			"etc/passwd home/me/d/x home/me/kept home/me/locked home/me/unreadable/precious home/you/file"},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.o
			o.Target, o.InPlace = fill(t), true
			rep, err := Run(t.Context(), f, root, o)
			if err != nil || rep.Failed > 0 {
				t.Fatalf("%v, %+v", err, rep)
			}
			if got := left(o.Target); got != tt.want {
				t.Errorf("left %s\nwant %s", got, tt.want)
			}
		})
	}
	t.Run("a path", func(t *testing.T) {
		target := tempDir(t)
		must(t, os.WriteFile(filepath.Join(target, "extra"), nil, 0o600))
		o := Options{Target: target, Path: "/home/me", InPlace: true, Delete: true, Roots: []string{"/home/me"}}
		if rep, err := Run(t.Context(), f, root, o); err != nil || rep.Deleted != 1 {
			t.Errorf("%v, %+v", err, rep)
		}
	})
	t.Run("a single file", func(t *testing.T) {
		target := tempDir(t)
		must(t, os.WriteFile(filepath.Join(target, "extra"), nil, 0o600))
		o := Options{Target: target, Path: "/home/me/kept", InPlace: true, Delete: true, Roots: []string{"/home/me"}}
		if rep, err := Run(t.Context(), f, root, o); err != nil || rep.Deleted != 0 {
			t.Errorf("%v, %+v", err, rep)
		}
	})
	t.Run("needs roots and in-place", func(t *testing.T) {
		for _, o := range []Options{{InPlace: true, Delete: true}, {Delete: true, Roots: []string{"/"}}} {
			o.Target = tempDir(t)
			if _, err := Run(t.Context(), f, root, o); err == nil {
				t.Error("no error")
			}
		}
	})
	t.Run("damaged directory", func(t *testing.T) {
		target := fill(t)
		g := newFake()
		root := g.put(t, kids)
		g.damaged[g.dir(t, kids[0].kids[0].kids).Content[0]] = true
		rep, err := Run(t.Context(), g, root, Options{Target: target, InPlace: true, Delete: true, Roots: []string{"/home/me"}})
		if err != nil || rep.Deleted != 0 || rep.Damaged != 1 {
			t.Errorf("%v, %+v", err, rep)
		}
	})
}

// A directory in the way of something else goes if it is empty, or with Delete.
func TestDirectoryInTheWay(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := tree{file_("f", "f"), link_("l", "x"), file_("h1", "h", group(1)), file_("h2", "h", group(1))}
	root := f.put(t, kids)
	fill := func(t *testing.T, inside bool) string {
		target := tempDir(t)
		for _, e := range kids {
			must(t, os.Mkdir(filepath.Join(target, e.Name), 0o700))
			if inside {
				must(t, os.WriteFile(filepath.Join(target, e.Name, "x"), nil, 0o600))
			}
		}
		return target
	}
	empty := fill(t, false)
	restoreClean(t, f, root, Options{Target: empty, InPlace: true})
	compareTree(t, empty, kids)

	full := fill(t, true)
	before := look(t, full)
	rep, err := Run(t.Context(), f, root, Options{Target: full, InPlace: true})
	if err != nil || rep.Conflicts != 4 || !errors.Is(rep.Failures[0].Err, ErrNotEmpty) {
		t.Errorf("%v, %+v", err, rep)
	}
	if diff := cmp.Diff(before, look(t, full)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	restoreClean(t, f, root, Options{Target: full, InPlace: true, Delete: true, Roots: []string{"/"}})
	compareTree(t, full, kids)
}

func TestDryRunIntoNothing(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	p := &plan{}
	target := filepath.Join(tempDir(t), "none")
	rep := restoreClean(t, f, root, Options{Target: target, DryRun: true, Action: p.add})
	if len(p.steps) != 31 || rep.Created != 31 || f.fetched != 0 {
		t.Errorf("%d steps, report %+v", len(p.steps), rep)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("dry run made the target")
	}
	empty := tempDir(t)
	rep = restoreClean(t, f, root, Options{Target: empty, DryRun: true})
	if rep.Created != 31 || len(look(t, empty)) != 0 {
		t.Errorf("report %+v", rep)
	}
}

// A restore that was killed at any blob is finished by the same restore in place.
func TestResume(t *testing.T) {
	t.Parallel()
	for _, after := range []int{1, 5, 15} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			f := newFake()
			root := f.put(t, sample())
			n := 0
			f.onFetch = func(chunk.ID) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				if n++; n > after {
					return errors.New("killed")
				}
				return nil
			}
			target := tempDir(t)
			if _, err := Run(t.Context(), f, root, Options{Target: target}); err == nil {
				t.Fatal("was not stopped")
			}
			f.onFetch = nil
			restoreClean(t, f, root, Options{Target: target, InPlace: true})
			compareTree(t, target, sample())
		})
	}
}
