package tests

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The golden archives in golden/ were written by the builds that made a format and are read by every later one. Never
// write one anew to make a test pass: an archive of a user cannot be written anew either. CAIRN_GOLDEN=write makes those
// that are not there, for a new version of the format. In each directory:
//
//	member0 …        the members
//	key, identity    what opens it; password, where there is one; writer: a writer key
//	damaged          objects that were damaged on purpose, one a line, as member/object
//	NAME.txt         what the newest snapshot of series NAME gives below goldenTop, as list writes it
const goldenTop = "/tmp/cairn-golden/tree"

func goldens(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("golden/v*/*")
	if err != nil || len(list) == 0 {
		t.Fatalf("no golden archives: %v", err)
	}
	return list
}

// golden is a machine with a copy of a golden archive, and what it should hold.
func golden(t *testing.T, dir string) (m *machine, members []string) {
	t.Helper()
	m = newMachine(t)
	copyTree(t, dir, m.path("golden"))
	members, err := filepath.Glob(m.path("golden", "member*"))
	if err != nil {
		t.Fatal(err)
	}
	return m, members
}

// TestGolden restores every series of every golden archive with everything that opens it, checks it, and finds that a
// backup of the same files needs to store none of them again.
// Row B7.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, dir := range goldens(t) {
		t.Run(dir, func(t *testing.T) {
			m, members := golden(t, dir)
			m.use("", members...)
			for _, key := range credentials(t, m) {
				own, members := golden(t, dir) // a backup heals what a check found
				own.use("", members...)
				k := own.with(key...)
				for series, want := range listings(t, dir) {
					target := k.restore(series+":"+goldenTop, "")
					compareListing(t, series+" with "+key[0], list(t, target), possible(target, want))
					if o := k.backup("--series", "new", target); o.number("data_blobs_new") != 0 {
						t.Errorf("the files of %s are cut into other chunks: %v", series, o)
					}
				}
				damaged := lines(filepath.Join(dir, "damaged"))
				if len(damaged) == 0 {
					k.check()
					continue
				}
				r := k.must(4, "check", "--read-data")
				for _, name := range damaged {
					_, object, _ := strings.Cut(name, "/")
					r.says(object)
				}
			}
			if writer := m.path("golden/writer"); exists(writer) {
				w := m.with("CAIRN_KEY_FILE=" + writer)
				if o := w.backup("--series", "newer", m.write("new", files{"a": "x"})); o.number("data_blobs_new") != 1 {
					t.Errorf("a backup with the writer key: %v", o)
				}
				w.must(6, "snapshots")
			}
		})
	}
}

// TestGoldenReader: C4: the independent reader restores them too.
func TestGoldenReader(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import argon2, cbor2, cryptography, zstandard").CombinedOutput(); err != nil {
		t.Skipf("the reader needs python3-argon2, -cbor2, -cryptography, -zstandard: %v %s", err, out)
	}
	reader, err := filepath.Abs("reader/reader.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range goldens(t) {
		m, members := golden(t, dir)
		m.use(m.path("golden/key"), members...)
		for series, want := range listings(t, dir) {
			if series == "writer" {
				continue // sealed with HPKE only, which the libraries of the reader do not offer
			}
			snapshots := m.ok("snapshots", "--series", series, "--json").of("snapshot")
			id := snapshots[len(snapshots)-1].text("id")
			target := m.path("read", series)
			arguments := append(append([]string{reader, "--member"}, members...), "--key-file", m.path("golden/key"), "restore", id, target, "--path", goldenTop)
			if out, err := exec.Command(python, arguments...).CombinedOutput(); err != nil {
				t.Errorf("%s of %s: %v\n%s", series, dir, err, out)
				continue
			}
			compareListing(t, series+" of "+dir, list(t, target), possible(target, want))
		}
	}
}

// credentials are the variables that open a golden archive, each for itself.
func credentials(t *testing.T, m *machine) (list [][]string) {
	t.Helper()
	for _, name := range []string{"key", "identity"} {
		if file := m.path("golden", name); exists(file) {
			list = append(list, []string{"CAIRN_KEY_FILE=" + file})
		}
	}
	if file := m.path("golden/password"); exists(file) {
		list = append(list, []string{"CAIRN_PASSWORD_FILE=" + file, "CAIRN_KEY_FILE="})
	}
	return list
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// lines are the lines of a file, none if it is not there.
func lines(name string) (list []string) {
	data, _ := os.ReadFile(name)
	for line := range strings.Lines(string(data)) {
		list = append(list, strings.TrimSuffix(line, "\n"))
	}
	return list
}

// listings are the expected files of each series.
func listings(t *testing.T, dir string) map[string][]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s expects nothing: %v", dir, err)
	}
	found := map[string][]string{}
	for _, name := range names {
		found[strings.TrimSuffix(filepath.Base(name), ".txt")] = lines(name)
	}
	return found
}

// possible leaves the attributes out on a file system that has none.
func possible(dir string, want []string) []string {
	if unix.Lsetxattr(dir, goldenXattr+".probe", []byte("x"), 0) == nil {
		_ = unix.Lremovexattr(dir, goldenXattr+".probe")
		return want
	}
	var without []string
	for _, line := range want {
		line, _, _ = strings.Cut(line, " with ")
		without = append(without, line)
	}
	return without
}

func compareListing(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: not there: %s", what, line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: not expected: %s", what, line)
		}
	}
}

// list writes a line for each thing below a directory: its quoted path, type, mode, mtime, and what it holds. Owners are
// not in it, because a normal user cannot restore them.
func list(t *testing.T, top string) (found []string) {
	t.Helper()
	linked := map[uint64]string{}
	err := filepath.WalkDir(top, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		path, _ := filepath.Rel(top, name)
		holds := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			holds = fmt.Sprintf("file %d %x", st.Size, sha256.Sum256(data))
			if first, ok := linked[st.Ino]; ok {
				holds += " linked to " + strconv.QuoteToASCII(first)
			} else if linked[st.Ino] = path; st.Blocks*512 < st.Size/2 {
				holds += " sparse"
			}
		case unix.S_IFDIR:
			holds = "directory"
		case unix.S_IFLNK:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			holds = "symlink " + strconv.QuoteToASCII(target)
		case unix.S_IFIFO:
			holds = "fifo"
		}
		value := make([]byte, 100)
		if n, err := unix.Lgetxattr(name, goldenXattr, value); err == nil {
			holds += fmt.Sprintf(" with %q", value[:n])
		}
		found = append(found, fmt.Sprintf("%s %04o %s %s", strconv.QuoteToASCII(path), st.Mode&0o7777, time.Unix(st.Mtim.Unix()).UTC().Format(time.RFC3339Nano), holds))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const goldenXattr = "user.golden"

// TestWriteGolden makes the golden archives that are not there, when it is told to.
func TestWriteGolden(t *testing.T) {
	if os.Getenv("CAIRN_GOLDEN") != "write" {
		t.Skip("CAIRN_GOLDEN=write makes golden archives that are not there")
	}
	if err := os.Mkdir(filepath.Dir(goldenTop), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dropDir(t, filepath.Dir(goldenTop)) })
	for name, make := range map[string]func(m *machine){"one": goldenOne, "three": goldenThree, "layouts": goldenLayouts} {
		dir, err := filepath.Abs(filepath.Join("golden", "v1", name))
		if err != nil {
			t.Fatal(err)
		}
		if exists(dir) {
			t.Logf("%s stays as it is", dir)
			continue
		}
		m := newMachine(t)
		make(m)
		dropDir(t, m.path("home"))
		copyTree(t, m.dir, dir)
	}
}

// stretched is large for the chunker and small for zstd: every byte 64 times.
func stretched(n int) string {
	var b strings.Builder
	for _, c := range random("golden", n) {
		b.WriteString(strings.Repeat(string([]byte{c}), 64))
	}
	return b.String()
}

// goldenTree builds the tree that is backed up; again changes it.
func goldenTree(t *testing.T, again bool) {
	t.Helper()
	tree := files{
		"hello.txt": "Hello, later build!\n", "empty": "", "dir/empty/": "", "dir/nested/deeper/file": "deep\n", "random": string(random("golden random", 5_000)),
		"link": "-> dir/nested", "dangling": "-> /no/such\nplace", "not text \xff\xfe": "bytes\n", "new\nline": "n\n", "größe": "ä\n",
		"text": strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000), "linked": "two names\n", "sparse": "begin",
	}
	if again {
		tree = files{"hello.txt": "Hello again, later build!\n", "dir/nested/added": "added\n"}
	}
	for name, content := range tree {
		put(t, filepath.Join(goldenTop, name), content, strings.HasSuffix(name, "/"))
	}
	at := func(name string) string { return filepath.Join(goldenTop, name) }
	var errs []error
	if !again {
		errs = append(errs, os.Link(at("linked"), at("dir/also linked")), os.Truncate(at("sparse"), 1<<20), unix.Mkfifo(at("fifo"), 0o640),
			os.Chmod(at("random"), 0o600), os.Chmod(at("text"), 0o444), os.Chmod(at("dir/nested"), 0o750), unix.Lsetxattr(at("empty"), goldenXattr, []byte("kept"), 0))
	}
	i := int64(0)
	errs = append(errs, filepath.WalkDir(goldenTop, func(name string, _ fs.DirEntry, err error) error {
		i++
		ts := unix.Timespec{Sec: (i - 3) * 100_000_007, Nsec: i * 11_111_111}
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) golden(series string) {
	m.t.Helper()
	m.ok("backup", "--host", "golden", "--series", series, "--tag", "golden", goldenTop)
	t, ok := m.t.(*testing.T)
	if !ok {
		m.t.Fatal("not a test")
	}
	put(t, m.path(series+".txt"), strings.Join(list(t, goldenTop), "\n")+"\n", false)
}

// goldenOne is one directory with a password and a key file, and two snapshots.
func goldenOne(m *machine) {
	dropDir(m.t, goldenTop)
	m.init(1, 0)
	put(m.t, m.path("password"), "correct horse battery staple\n", false)
	m.ok("key", "add", "--label", "password", "--new-password-file", m.path("password"))
	t := m.t.(*testing.T)
	put(t, filepath.Join(goldenTop, "large"), stretched(40_000), false) // 2.5 MB, some chunks
	goldenTree(t, false)
	m.golden("first")
	goldenTree(t, true)
	m.golden("second")
}

// goldenThree are two data members and one of parity, with a recipient and a writer key that made a snapshot, and some
// objects damaged on purpose.
func goldenThree(m *machine) {
	dropDir(m.t, goldenTop)
	members := m.init(2, 1)
	m.ok("key", "add", "--label", "recipient", "--new-identity", m.path("identity"))
	m.ok("key", "add", "--writer", "--label", "writer", "--new-key-file", m.path("writer"))
	t := m.t.(*testing.T)
	goldenTree(t, false)
	m.golden("full")
	kind := kinds(t, members[1])
	hurts[1].object(t, filepath.Join(members[1], kind["data pack"]))
	hurts[3].object(t, filepath.Join(members[1], kind["index pack"]))
	put(t, m.path("damaged"), fmt.Sprintf("member1/%s\nmember1/%s\n", kind["data pack"], kind["index pack"]), false)
	goldenTree(t, true)
	m.with("CAIRN_KEY_FILE=" + m.path("writer")).golden("writer")
}

// goldenLayouts was 2+1 and became 3+2, and then one of the old members was replaced. A machine that had not heard of the change
// made another snapshot in the old layout, so that packs of both are there.
func goldenLayouts(m *machine) {
	t := m.t.(*testing.T)
	dropDir(t, goldenTop)
	members := m.init(2, 1)
	goldenTree(t, false)
	m.golden("before")
	late := m.with("CAIRN_CACHE_DIR=" + m.path("late cache"))
	var copies []string
	for i, member := range members {
		copies = append(copies, m.path(fmt.Sprintf("late%d", i)))
		copyTree(t, member, copies[i])
	}
	late.use(m.path("key"), copies...)

	added := []string{m.path("member3"), m.path("member4")}
	m.ok("member", "add", "--data", "3", "--parity", "2", added[0], added[1])
	m.use(m.path("key"), append(slices.Clone(members), added...)...)
	put(t, filepath.Join(goldenTop, "after"), string(random("golden after", 3_000)), false)
	m.golden("after")
	put(t, filepath.Join(goldenTop, "late"), string(random("golden late", 3_000)), false)
	late.golden("late")
	for i := range copies {
		addFiles(t, copies[i], members[i])
		dropDir(t, copies[i])
	}
	dropDir(t, m.path("late cache"))
	m.ok("member", "replace", members[1], m.path("member5"))
	dropDir(t, members[1])
}

// addFiles copies the files that are not there yet.
func addFiles(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(from, name)
		if err = errors.Join(err, relErr); err != nil || d.IsDir() || exists(filepath.Join(to, rel)) {
			return err
		}
		data, err := os.ReadFile(name)
		return errors.Join(err, os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o700), os.WriteFile(filepath.Join(to, rel), data, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}
