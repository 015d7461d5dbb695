package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestUnreadable: what a user may not read is listed, kept in mind in the snapshot, and gives exit 3; everything else is
// stored, and the next backup reads what has become readable.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	m := newUser(t)
	m.init(1, 0)
	tree := m.write("tree", files{"open": "x", "secret": "y", "dir/inside": "z", "entered/a": "a", "entered/b": "b"})
	modes := map[string]os.FileMode{"secret": 0, "dir": 0o300, "entered": 0o400}
	for name, mode := range modes {
		if err := os.Chmod(filepath.Join(tree, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	m.removeLater(tree)
	r := m.must(3, "backup", "--json", tree)
	o := r.one("backup")
	if n := o.number("error_count"); n < 3 || o.number("files_new") < 1 || len(o.text("snapshot")) != 64 {
		t.Errorf("the first backup: %v", r)
	}
	r.says("warning: "+filepath.Join(tree, "secret"), "warning: "+filepath.Join(tree, "dir"), "could not be read; everything else is stored")
	s := m.ok("snapshots", "--json").one("snapshot")
	for name := range modes {
		if !strings.Contains(fmt.Sprint(s["errors"]), filepath.Join(tree, name)) {
			t.Errorf("%s is not listed in the snapshot: %v", name, s["errors"])
		}
	}
	if got := m.ok("dump", "latest:"+filepath.Join(tree, "open")).stdout; got != "x" {
		t.Errorf("open is %q", got)
	}
	m.check() // it is no damage

	for name := range modes {
		if err := os.Chmod(filepath.Join(tree, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if o := m.backup(tree); o.number("error_count") != 0 {
		t.Errorf("when all is readable: %v", o)
	}
	same(t, tree, m.restore("latest", tree))
}

// TestNothing: paths that do not exist are an error when there is nothing else, and are listed otherwise.
func TestNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	m.must(1, "backup", m.path("nowhere")).says(m.path("nowhere"))
	if n := len(m.ok("snapshots", "--json").of("snapshot")); n != 0 {
		t.Errorf("a backup of nothing made %d snapshots", n)
	}
	tree := m.write("tree", files{"a": "x"})
	m.must(3, "backup", tree, m.path("nowhere")).says(m.path("nowhere"))
	same(t, tree, m.restore("latest", tree))
}

// TestMovingTree: D8: files that grow, shrink, vanish and are replaced while they are read. Each is stored as some state that
// it had, or is listed; the archive is sound, and what does not move is exact.
func TestMovingTree(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	still := map[string]string{}
	for i := range 200 {
		still[fmt.Sprintf("still/%03d", i)] = string(random(fmt.Sprint("still", i), 100_000))
	}
	tree := m.write("tree", still)
	done := make(chan struct{})
	var movers sync.WaitGroup
	move := func(step func(i int) error) {
		movers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := step(i); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	at := func(name string) string { return filepath.Join(tree, name) }
	for _, dir := range []string{"vanish", "moving"} {
		if err := os.Mkdir(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	move(func(i int) error { return appendTo(at("moving/grows"), random("grows", 10_000), i < 3000) })
	move(func(i int) error { return os.WriteFile(at("moving/rewritten"), random("r", i*997%3_000_000), 0o644) })
	move(func(i int) error {
		name := at(fmt.Sprintf("vanish/%d", i%50))
		if i%100 < 50 {
			return os.WriteFile(name, []byte(name), 0o644)
		}
		return os.RemoveAll(name)
	})
	move(func(i int) error {
		name := at(fmt.Sprintf("vanish/dir %d", i%20))
		if i%40 < 20 {
			return os.MkdirAll(filepath.Join(name, "a", "b"), 0o755)
		}
		return os.RemoveAll(name)
	})
	move(func(i int) error { // a file becomes a directory becomes a symlink
		name := at("moving/changes type")
		if err := os.RemoveAll(name); err != nil {
			return err
		}
		return []func() error{
			func() error { return os.WriteFile(name, []byte("x"), 0o644) },
			func() error { return os.Mkdir(name, 0o755) },
			func() error { return os.Symlink("/etc/passwd", name) },
		}[i%3]()
	})
	for round := range 4 {
		r := m.run("backup", "--json", tree)
		if r.code != 0 && r.code != 3 {
			t.Errorf("round %d: %v", round, r)
			break
		}
		for _, e := range r.one("backup")["errors"].([]any) {
			if path := e.(map[string]any)["path"].(string); strings.Contains(path, "/still") {
				t.Errorf("round %d: %v", round, e)
			}
		}
	}
	close(done)
	movers.Wait()
	m.check()
	target := m.path("target")
	if r := m.run("restore", "latest", "--to", target); r.code != 0 && r.code != 3 {
		t.Error(r)
	}
	same(t, at("still"), filepath.Join(target, tree, "still"))
	grown, err := os.ReadFile(at("moving/grows"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(target, tree, "moving/grows"))
	if err != nil || !bytes.HasPrefix(grown, got) || len(got) == 0 {
		t.Errorf("a file that grows came back with %d bytes that it never had: %v", len(got), err)
	}
}

// appendTo lets a file grow; more is false when it is large enough.
func appendTo(name string, data []byte, more bool) error {
	if !more {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Close()
}

// TestOneFileSystem: without the flag what is mounted is backed up too, with it the mount point is an empty directory.
func TestOneFileSystem(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system")
	}
	m := newMachine(t)
	m.init(1, 0)
	tree := m.write("tree", files{"a": "x", "mounted/hidden": "y", "b/c": "z"})
	at := filepath.Join(tree, "mounted")
	if err := syscall.Mount("cairn-test", at, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("this machine does not let root mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	put(t, filepath.Join(at, "other/inside"), "inside", false)
	m.backup(tree)
	if got := m.ok("dump", "latest:"+filepath.Join(at, "other/inside")).stdout; got != "inside" {
		t.Errorf("without the flag: %q", got)
	}
	m.backup("--one-file-system", tree)
	if got := m.paths("latest:" + tree); !slices.Equal(got, []string{"a", "b", "b/c", "mounted"}) {
		t.Errorf("with --one-file-system: %q", got)
	}
	m.backup("--one-file-system", tree, at) // named itself
	if got := m.paths("latest:" + at); !slices.Equal(got, []string{"other", "other/inside"}) {
		t.Errorf("named itself: %q", got)
	}
}

// paths lists a directory of a snapshot with everything below it, relative and sorted.
func (m *machine) paths(spec string) []string {
	m.t.Helper()
	_, top, _ := strings.Cut(spec, ":")
	var list []string
	for _, o := range m.ok("ls", "--recursive", "--json", spec).of("node") {
		list = append(list, strings.TrimPrefix(strings.TrimPrefix(o.text("path"), top), "/"))
	}
	slices.Sort(list)
	return list
}

// TestExcludes: the rules by which files are left out, each alone and together.
func TestExcludes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	const tag = "Signature: 8a477f597d28d172789f06886806bc55\n"
	tree := m.write("tree", files{
		"a.o": "x", "b.c": "x", "keep.o": "x", "sub/a.o": "x", "sub/deep/b.o": "x", "build/out": "x", "sub/build": "a file", "large": strings.Repeat("x", 5000),
		"cache/CACHEDIR.TAG": tag, "cache/data": "x", "fake/CACHEDIR.TAG": "x", "fake/data": "x", "marked/.nobackup": "", "marked/data": "x", "sp ace/#x": "x",
	})
	all := []string{"a.o", "b.c", "build", "build/out", "cache", "cache/CACHEDIR.TAG", "cache/data", "fake", "fake/CACHEDIR.TAG", "fake/data", "keep.o", "large",
		"marked", "marked/.nobackup", "marked/data", "sp ace", "sp ace/#x", "sub", "sub/a.o", "sub/build", "sub/deep", "sub/deep/b.o"}
	list := m.write("patterns", files{"list": "# a comment\n\n*.o\n!keep.o\nbuild/\n" + tree + "/sub/deep\n"})
	for _, c := range []struct {
		name  string
		flags []string
		gone  []string
	}{
		{"nothing", nil, nil},
		{"by ending", []string{"--exclude", "*.o"}, []string{"a.o", "keep.o", "sub/a.o", "sub/deep/b.o"}},
		{"and back", []string{"--exclude", "*.o", "-e", "!keep.o"}, []string{"a.o", "sub/a.o", "sub/deep/b.o"}},
		{"directories only", []string{"--exclude", "build/"}, []string{"build", "build/out"}},
		{"both", []string{"--exclude", "build"}, []string{"build", "build/out", "sub/build"}},
		{"absolute", []string{"--exclude", tree + "/sub"}, []string{"sub", "sub/a.o", "sub/build", "sub/deep", "sub/deep/b.o"}},
		{"any depth", []string{"--exclude", "sub/**/b.o"}, []string{"sub/deep/b.o"}},
		{"a class and a quoted sign", []string{"--exclude", "[ab].[co]", "--exclude", `\#x`}, []string{"a.o", "b.c", "sp ace/#x", "sub/a.o", "sub/deep/b.o"}},
		{"from a file", []string{"--exclude-file", filepath.Join(list, "list")}, []string{"a.o", "build", "build/out", "sub/a.o", "sub/deep", "sub/deep/b.o"}},
		{"larger", []string{"--exclude-larger-than", "4K"}, []string{"large"}},
		{"not larger", []string{"--exclude-larger-than", "5000"}, nil},
		{"marked", []string{"--exclude-if-present", ".nobackup"}, []string{"marked/data"}},
		{"marked with a header", []string{"--exclude-if-present", "CACHEDIR.TAG:Signature: 8a477f"}, []string{"cache/data"}},
		{"caches", []string{"--exclude-caches"}, []string{"cache/data"}},
		{"together", []string{"--exclude-caches", "--exclude", "*.o", "--exclude-larger-than", "1K"}, []string{"a.o", "cache/data", "keep.o", "large", "sub/a.o", "sub/deep/b.o"}},
	} {
		o := m.backup(append(c.flags, tree)...)
		want := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return slices.Contains(c.gone, p) })
		if got := m.paths("latest:" + tree); !slices.Equal(got, want) {
			t.Errorf("%s: %q, %q expected", c.name, got, want)
		}
		if o.number("error_count") != 0 {
			t.Errorf("%s: %v", c.name, o)
		}
	}
	m.must(2, "backup", "--exclude", "[", tree).says("hint: ")
	m.must(2, "backup", "--exclude-larger-than", "much", tree)
	m.must(1, "backup", "--exclude-file", m.path("nowhere"), tree)
}

// TestHugeSparse: a file of more than 4 GiB that is mostly holes costs what its data costs, and has its holes again.
func TestHugeSparse(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	const size = 5<<30 + 12345
	top := m.write("tree", files{"huge": ""})
	f, err := os.OpenFile(filepath.Join(top, "huge"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Skipf("this file system cannot: %v", err)
	}
	for _, at := range []int64{0, 4<<30 - 100_000, size - 65536} {
		if _, err := f.WriteAt(random(fmt.Sprint("at", at), 65536), at); err != nil {
			t.Fatal(err)
		}
	}
	o := m.backup(top)
	if o.number("bytes_total") != size || o.number("bytes_read") > 10<<20 || packBytes(t, m.members()) > 2<<20 {
		t.Errorf("a sparse file: %v", o)
	}
	target := m.restore("latest", top)
	same(t, top, target)
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(target, "huge"), &st); err != nil || st.Blocks*512 > 4<<20 {
		t.Errorf("it takes %d bytes on the disk: %v", st.Blocks*512, err)
	}
}

// TestSoakHuge: a file of more than 4 GiB without holes.
func TestSoakHuge(t *testing.T) {
	if os.Getenv("CAIRN_SOAK") == "" {
		t.Skip("CAIRN_SOAK is not set: a dense file of more than 4 GiB takes 13 GB of disk")
	}
	m := newMachine(t)
	m.init(1, 0)
	top := m.write("tree", files{"x": ""})
	f, err := os.Create(filepath.Join(top, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4200 {
		if _, err := f.Write(random(fmt.Sprint(i), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	settle() // or its time stamps are too fresh to be believed, and the second backup reads it again
	roundTrip(m, top)
}
