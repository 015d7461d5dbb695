package recover

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/backup"
	"cairn/archive/restore"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote/local"
	"cairn/snapshot"
)

// bench is an archive on real directories, and a source that is backed up to it.
type bench struct {
	t    testing.TB
	k, m int
	base string
	dirs []string // of the members
	src  string
	key  [32]byte
	keys *seal.Keys // deriving them for each opening would be most of the tests' time
	now  time.Time

	salvage bool
	idx     archive.Index // kept over openings, as a cache directory is; nil: each opening begins with an empty one
}

func newBench(t testing.TB, k, m int) *bench {
	t.Helper()
	b := &bench{t: t, k: k, m: m, base: t.TempDir(), key: [32]byte{1}, now: time.Now()}
	for i := range k + m {
		b.dirs = append(b.dirs, b.mkdir(fmt.Sprintf("member%d", i)))
	}
	b.src = b.mkdir("src")
	_, err := archive.Init(t.Context(), b.members(), archive.InitOptions{Data: k, Parity: m, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewKeyFileSlot(k, "test", b.key, b.now)
		return []*seal.Slot{s}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) mkdir(name string) string {
	b.t.Helper()
	dir := filepath.Join(b.base, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// members are the directories that are there.
func (b *bench) members() []archive.Member { return stores(b.t, b.dirs...) }

func stores(t testing.TB, dirs ...string) []archive.Member {
	t.Helper()
	var list []archive.Member
	for _, dir := range dirs {
		m := archive.Member{URL: dir}
		if s, err := local.OpenWith(dir, local.Options{NoSync: true}); err != nil {
			m.Err = err
		} else {
			m.Store = s
			t.Cleanup(func() { s.Close() })
		}
		list = append(list, m)
	}
	return list
}

func (b *bench) tryOpen() (*archive.Archive, error) {
	o := archive.Options{
		Credentials: []seal.Credential{{KeyFile: &b.key}},
		Salvage:     b.salvage,
		OpenIndex: func(seal.ArchiveID) (archive.Index, error) {
			if b.idx != nil {
				return b.idx, nil
			}
			return index.NewMap(), nil
		},
		Notice: func(s string) { b.t.Logf("notice: %s", s) },
	}
	if b.keys != nil {
		return archive.OpenWithKeys(b.t.Context(), b.members(), b.keys, o)
	}
	a, err := archive.Open(b.t.Context(), b.members(), o)
	if err == nil {
		b.keys = a.Keys()
	}
	return a, err
}

func (b *bench) open() *archive.Archive {
	b.t.Helper()
	a, err := b.tryOpen()
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// write puts a file of n random bytes into the source.
func (b *bench) write(name string, n int, seed byte) {
	b.t.Helper()
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed, 3}).Read(data)
	name = filepath.Join(b.src, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// fill makes a source of some directories with small files and one of several chunks.
func (b *bench) fill() {
	b.t.Helper()
	for d := range 6 {
		for f := range 5 {
			b.write(fmt.Sprintf("dir%d/sub/file%d", d, f), 2000+700*d+f, byte(10*d+f))
		}
	}
	b.write("big", 2<<20, 200)
	if err := os.Symlink("big", filepath.Join(b.src, "link")); err != nil {
		b.t.Fatal(err)
	}
}

// backup backs the source up.
func (b *bench) backup() *snapshot.Snapshot {
	b.t.Helper()
	a := b.open()
	defer a.Close()
	w, err := a.NewWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := backup.Run(b.t.Context(), w, backup.Options{Paths: []string{b.src}, Params: a.Chunker(), Host: "test", Series: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	return r.Snapshot
}

// restore restores a snapshot and returns what came back: path → content, and the paths that failed.
func (b *bench) restore(a *archive.Archive, root snapshot.Root) (files map[string]string, failed []string) {
	b.t.Helper()
	target := b.t.TempDir()
	r, err := restore.Run(b.t.Context(), a, root, restore.Options{Target: target})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range r.Failures {
		failed = append(failed, f.Path)
	}
	return b.tree(target), failed
}

// tree reads all files below a directory; the names are relative to it.
func (b *bench) tree(dir string) map[string]string {
	b.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, dir)] = string(data)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return files
}

// source is what a whole restore gives.
func (b *bench) source() map[string]string {
	files := map[string]string{}
	for name, data := range b.tree(b.src) {
		files[b.src+name] = data
	}
	return files
}

// removeAll removes what is below a name on the members.
func (b *bench) removeAll(name string, members ...int) {
	b.t.Helper()
	for i, dir := range b.dirs {
		if len(members) == 0 || slices.Contains(members, i) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// lose makes members go away.
func (b *bench) lose(members ...int) {
	b.t.Helper()
	for _, i := range members {
		if err := os.Rename(b.dirs[i], b.dirs[i]+".gone"); err != nil {
			b.t.Fatal(err)
		}
	}
}

// bring brings them back.
func (b *bench) bring(members ...int) {
	b.t.Helper()
	for _, i := range members {
		if err := os.Rename(b.dirs[i]+".gone", b.dirs[i]); err != nil {
			b.t.Fatal(err)
		}
	}
}

// objects lists all objects of all members.
func (b *bench) objects() map[string]bool {
	all := map[string]bool{}
	for i, dir := range b.dirs {
		if _, err := os.Stat(dir); err == nil {
			for name := range b.tree(dir) {
				all[fmt.Sprintf("%d%s", i, name)] = true
			}
		}
	}
	return all
}

// snapshots runs Snapshots and collects what it tells.
func (b *bench) snapshots(a *archive.Archive, o Options) (*Report, []*Incomplete) {
	b.t.Helper()
	var list []*Incomplete
	var mu sync.Mutex
	o.Incomplete = func(i *Incomplete) { mu.Lock(); defer mu.Unlock(); list = append(list, i) }
	r, err := Snapshots(b.t.Context(), a, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return r, list
}

func ids(list []*snapshot.Snapshot) (out []chunk.ID) {
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

// geometries that the tests run on.
var geometries = [][2]int{{2, 1}, {3, 2}, {4, 2}}

func each(t *testing.T, fn func(t *testing.T, b *bench)) {
	for _, g := range geometries {
		t.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(t *testing.T) {
			t.Parallel()
			fn(t, newBench(t, g[0], g[1]))
		})
	}
}
