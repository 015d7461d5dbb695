package tests

import (
	"crypto/sha256"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/tests/nasty"
	"cairn/tests/treecmp"
)

// random is n bytes that depend on the name alone.
func random(name string, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(b)
	return b
}

// files is a tree as a literal: paths with their content. A path that ends in "/" is an empty directory, content that
// begins with "-> " a symlink.
type files map[string]string

// write makes the files below a directory of the machine, owned by its user, and returns that directory.
func (m *machine) write(top string, tree files) string {
	m.t.Helper()
	top = m.path(top)
	for name, content := range tree {
		put(m.t, filepath.Join(top, name), content, strings.HasSuffix(name, "/"))
	}
	m.own(top)
	return top
}

func put(t testing.TB, name, content string, dir bool) {
	t.Helper()
	parent := filepath.Dir(name)
	if dir {
		parent = name
	}
	err := os.MkdirAll(parent, 0o755)
	target, link := strings.CutPrefix(content, "-> ")
	switch {
	case err != nil || dir:
	case link:
		_ = os.Remove(name) // an older one
		err = os.Symlink(target, name)
	default:
		err = os.WriteFile(name, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// own gives what is below top to the machine's user.
func (m *machine) own(top string) {
	m.t.Helper()
	if m.user == nil {
		return
	}
	err := filepath.WalkDir(top, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(name, int(m.user.Uid), int(m.user.Gid))
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// settle waits until nothing has just been written: a backup does not trust time stamps of the last two seconds.
func settle() { time.Sleep(2100 * time.Millisecond) }

// plant builds a nasty tree and removes it after the test.
func (m *machine) plant(top string, o nasty.Options) string {
	m.t.Helper()
	top = m.path(top)
	r, err := nasty.Build(top, o)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, s := range r.Skipped {
		m.t.Log("not made: ", s)
	}
	m.removeLater(top)
	return top
}

// removeLater removes a tree that has locked directories.
func (m *machine) removeLater(top string) {
	m.t.Cleanup(func() {
		if err := nasty.Remove(top); err != nil && !os.IsNotExist(err) {
			m.t.Error(err)
		}
	})
}

// restore brings a snapshot back below a new directory and returns where the path is there. The path may be "".
func (m *machine) restore(snapshot, path string, more ...string) string {
	m.t.Helper()
	target, err := os.MkdirTemp(m.dir, "restored")
	if err != nil {
		m.t.Fatal(err)
	}
	m.own(target)
	m.removeLater(target)
	m.ok(append([]string{"restore", snapshot, "--to", target}, more...)...)
	return filepath.Join(target, path)
}

// same demands that two trees are equal in every respect.
func same(t testing.TB, a, b string) {
	t.Helper()
	o := treecmp.Options{}
	if os.Geteuid() != 0 {
		o = treecmp.Options{IgnoreOwner: true, IgnoreUnreadable: true}
	}
	list, err := treecmp.List(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range list {
		if i == 20 {
			t.Errorf("… and %d more", len(list)-i)
			break
		}
		t.Error(d)
	}
}

// sizes lists the files below a directory with their sizes, by paths relative to it. Temporary ones are left out.
func sizes(t testing.TB, top string) map[string]int64 {
	t.Helper()
	list := map[string]int64{}
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) && name != top { // the program is at work
			return nil
		}
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".tmp-") {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil {
			name, err = filepath.Rel(top, name)
			list[name] = info.Size()
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return list
}

func sum(list map[string]int64) (total int64) {
	for _, n := range list {
		total += n
	}
	return total
}

// names are the objects below a prefix of a member, sorted.
func names(t testing.TB, member, prefix string) []string {
	t.Helper()
	var list []string
	for name := range sizes(t, filepath.Join(member, prefix)) {
		list = append(list, filepath.Join(prefix, name))
	}
	slices.Sort(list)
	return list
}

// copyTree copies a member or an archive.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
