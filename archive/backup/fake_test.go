package backup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// store is an archive in memory.
type store struct {
	mu      sync.Mutex
	blobs   map[blobKey][]byte
	fresh   map[chunk.Type]int // new blobs since the last reset
	commits []*snapshot.Snapshot

	checkpoints []*snapshot.Snapshot
	shown       chan *snapshot.Snapshot          // receives each checkpoint, if there is room
	refuse      func(s *snapshot.Snapshot) error // of checkpoints
	commit      func(s *store, n int) error      // before the n-th commit, from 1
	fail        func(t chunk.Type, plain []byte) error
	inSave      int
	most        int // Saves at once
}

func newStore() *store {
	return &store{blobs: map[blobKey][]byte{}, fresh: map[chunk.Type]int{}}
}

func (s *store) Save(ctx context.Context, t chunk.Type, plain []byte) (archive.Saved, error) {
	if len(plain) == 0 || len(plain) > chunk.MaxPlain {
		return archive.Saved{}, fmt.Errorf("blob of %d bytes", len(plain))
	}
	s.mu.Lock()
	s.inSave++
	s.most = max(s.most, s.inSave)
	s.mu.Unlock()
	id := chunk.Sum(plain)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inSave--
	if s.fail != nil {
		if err := s.fail(t, plain); err != nil {
			return archive.Saved{}, err
		}
	}
	key := blobKey{t, id}
	if _, ok := s.blobs[key]; ok {
		return archive.Saved{ID: id}, nil
	}
	s.blobs[key] = bytes.Clone(plain)
	s.fresh[t]++
	return archive.Saved{ID: id, New: true, Stored: len(plain)}, nil
}

func (s *store) Known(t chunk.Type, ids []chunk.ID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if _, ok := s.blobs[blobKey{t, id}]; !ok {
			return false, nil
		}
	}
	return true, nil
}

func (s *store) Commit(ctx context.Context, snap *snapshot.Snapshot) (chunk.ID, error) {
	plain, err := snap.Encode()
	if err != nil {
		return chunk.ID{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = append(s.commits, snap)
	if s.commit != nil {
		if err := s.commit(s, len(s.commits)); err != nil {
			return chunk.ID{}, err
		}
	}
	return chunk.Sum(plain), nil
}

func (s *store) Checkpoint(ctx context.Context, snap *snapshot.Snapshot) error {
	if _, err := snap.Encode(); err != nil {
		return err
	}
	if s.refuse != nil {
		if err := s.refuse(snap); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.checkpoints = append(s.checkpoints, snap)
	s.mu.Unlock()
	select {
	case s.shown <- snap:
	default:
	}
	return nil
}

func (s *store) load(_ context.Context, id chunk.ID) ([]byte, error) { return s.get(chunk.Tree, id) }

func (s *store) get(t chunk.Type, id chunk.ID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	plain, ok := s.blobs[blobKey{t, id}]
	if !ok {
		return nil, &archive.MissingError{Type: t, ID: id}
	}
	return plain, nil
}

func (s *store) reset() (trees, data int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	trees, data = s.fresh[chunk.Tree], s.fresh[chunk.Data]
	clear(s.fresh)
	return trees, data
}

// cacheMap is a stat cache in memory.
type cacheMap struct {
	mu     sync.Mutex
	values map[string][]byte
	puts   int
}

func newCache() *cacheMap { return &cacheMap{values: map[string][]byte{}} }

func (c *cacheMap) Get(key []byte) ([]byte, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.values[string(key)]
	return v, ok, nil
}

func (c *cacheMap) Put(key, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[string(key)] = bytes.Clone(value)
	c.puts++
	return nil
}

// testParams cut small: chunks of 1 to 64 KiB, about 2 KiB on average.
func testParams(t testing.TB) chunk.Params {
	t.Helper()
	poly, err := chunk.DerivePoly([32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	return chunk.Params{Poly: poly, Min: 1 << 10, Max: 64 << 10, Bits: 10}
}

// later is a clock that makes everything just written look settled.
func later() time.Time { return time.Now().Add(time.Minute) }

func testOptions(t testing.TB, paths ...string) Options {
	return Options{Paths: paths, Params: testParams(t), Host: "h", Series: "s", clock: later,
		Warn: func(path string, err error) { t.Logf("warning: %q: %v", path, err) }}
}

func mustRun(t testing.TB, s *store, o Options) *Report {
	t.Helper()
	report, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// tree reads a snapshot back: every node by its absolute path.
func (s *store) tree(t testing.TB, snap *snapshot.Snapshot) map[string]*snapshot.Node {
	t.Helper()
	found := map[string]*snapshot.Node{}
	err := snapshot.Walk(t.Context(), s.load, snap.Content, snap.Depth, func(path string, n *snapshot.Node) error {
		c := *n
		found["/"+strings.TrimPrefix(path, "/")] = &c
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// bytesOf puts a file together again, holes included.
func (s *store) bytesOf(t testing.TB, n *snapshot.Node) []byte {
	t.Helper()
	var data []byte
	for id, err := range snapshot.Content(t.Context(), s.load, n.Content, n.Depth) {
		if err != nil {
			t.Fatal(err)
		}
		plain, err := s.get(chunk.Data, id)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, plain...)
	}
	file := make([]byte, 0, n.Size)
	for _, h := range n.Holes {
		need := int(h.Offset) - len(file)
		file = append(append(file, data[:need]...), make([]byte, h.Length)...)
		data = data[need:]
	}
	file = append(file, data...)
	if uint64(len(file)) != n.Size {
		t.Errorf("%q: %d bytes, the node says %d", n.Name, len(file), n.Size)
	}
	return file
}

// expect compares a snapshot with the file system below root, by means that share nothing with the package.
func (s *store) expect(t testing.TB, snap *snapshot.Snapshot, root string, without ...string) {
	t.Helper()
	got := s.tree(t, snap)
	seen := 0
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(without, path) {
			if got[path] != nil {
				t.Errorf("%q is in the snapshot", path)
			}
			if info.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		seen++
		n := got[path]
		if n == nil {
			t.Errorf("%q is missing", path)
			return nil
		}
		s.expectNode(t, path, n, info)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range got {
		if path == root || strings.HasPrefix(path, root+"/") {
			seen--
		} else if !strings.HasPrefix(root, path+"/") {
			t.Errorf("%q does not belong to the backup", path)
		}
	}
	if seen != 0 {
		t.Errorf("%d nodes too few", seen)
	}
}

func (s *store) expectNode(t testing.TB, path string, n *snapshot.Node, info os.FileInfo) {
	t.Helper()
	st := info.Sys().(*syscall.Stat_t)
	kinds := map[uint32]snapshot.NodeType{unix.S_IFREG: snapshot.File, unix.S_IFDIR: snapshot.Dir, unix.S_IFLNK: snapshot.Symlink,
		unix.S_IFIFO: snapshot.Fifo, unix.S_IFSOCK: snapshot.Socket, unix.S_IFCHR: snapshot.CharDevice, unix.S_IFBLK: snapshot.BlockDevice}
	if n.Type != kinds[st.Mode&unix.S_IFMT] || n.Mode != st.Mode&0o7777 || n.UID != st.Uid || n.GID != st.Gid || n.Inode != st.Ino {
		t.Errorf("%q: %+v, want mode %o owner %d:%d inode %d", path, n, st.Mode, st.Uid, st.Gid, st.Ino)
	}
	if n.Mtime != (snapshot.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}) || n.Ctime != (snapshot.Time{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)}) {
		t.Errorf("%q: times %v %v", path, n.Mtime, n.Ctime)
	}
	if linked := n.Type != snapshot.Dir && st.Nlink > 1; linked != (n.Link != nil) {
		t.Errorf("%q: link %v with %d names", path, n.Link, st.Nlink)
	} else if linked && *n.Link != (snapshot.LinkID{Device: st.Dev, Inode: st.Ino}) {
		t.Errorf("%q: link %v", path, n.Link)
	}
	switch n.Type {
	case snapshot.File:
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.bytesOf(t, n), want) {
			t.Errorf("%q: content differs", path)
		}
	case snapshot.Symlink:
		if want, err := os.Readlink(path); err != nil || n.Target != want {
			t.Errorf("%q: target %q, want %q (%v)", path, n.Target, want, err)
		}
	case snapshot.CharDevice, snapshot.BlockDevice:
		if *n.Device != (snapshot.Device{Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}) {
			t.Errorf("%q: device %v, want %x", path, n.Device, st.Rdev)
		}
	}
	if n.Error != "" {
		t.Errorf("%q: error %q", path, n.Error)
	}
}

func write(t testing.TB, path string, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes that do not repeat.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	x := seed*2862933555777941757 + 3037000493
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return string(b)
}
