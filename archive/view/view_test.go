package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/snapshot"
)

// store is an archive in memory.
type store struct {
	blobs   map[chunk.ID][]byte
	lost    map[chunk.ID]bool
	fetched int    // bytes
	most    int    // bytes in one Fetch
	sizes   uint32 // added to what Sizes says
}

func newStore() *store { return &store{blobs: map[chunk.ID][]byte{}, lost: map[chunk.ID]bool{}} }

func (s *store) save(_ context.Context, plain []byte) (chunk.ID, error) {
	id := chunk.Sum(plain)
	s.blobs[id] = bytes.Clone(plain)
	return id, nil
}

var errLost = errors.New("lost")

func (s *store) Load(ctx context.Context, _ chunk.Type, id chunk.ID) ([]byte, error) {
	if s.lost[id] {
		return nil, errLost
	}
	return s.blobs[id], ctx.Err()
}

func (s *store) Fetch(ctx context.Context, _ chunk.Type, ids []chunk.ID, fn func(chunk.ID, []byte) error) error {
	var lost error
	sum := 0
	for _, id := range ids {
		if s.lost[id] {
			lost = errLost
			continue
		}
		sum += len(s.blobs[id])
		plain := bytes.Clone(s.blobs[id])
		if err := fn(id, plain); err != nil {
			return err
		}
		clear(plain) // it must not have been kept
	}
	s.fetched += sum
	s.most = max(s.most, sum)
	return errors.Join(lost, ctx.Err())
}

func (s *store) Sizes(_ context.Context, _ chunk.Type, ids []chunk.ID, sizes []uint32) error {
	for i, id := range ids {
		sizes[i] = uint32(len(s.blobs[id])) + s.sizes
	}
	return nil
}

// file makes a node of data without its holes, in chunks of n bytes.
func (s *store) file(t testing.TB, name string, data []byte, n int, holes ...snapshot.Range) snapshot.Node {
	t.Helper()
	node := snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, Size: uint64(len(data)), Holes: holes, Mtime: snapshot.Time{Sec: 1e9, Nsec: 5}}
	var dense []byte
	at := 0
	for _, h := range holes {
		dense = append(dense, data[at:h.Offset]...)
		at = int(h.Offset + h.Length)
	}
	dense = append(dense, data[at:]...)
	var ids []chunk.ID
	for part := range slices.Chunk(dense, n) {
		id, _ := s.save(t.Context(), part)
		ids = append(ids, id)
	}
	var err error
	if node.Content, node.Depth, err = snapshot.SaveContent(t.Context(), ids, s.save); err != nil {
		t.Fatal(err)
	}
	return node
}

func (s *store) dir(t testing.TB, name string, nodes ...snapshot.Node) snapshot.Node {
	t.Helper()
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	content, depth, err := snapshot.SaveTree(t.Context(), nodes, s.save)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o2755, Content: content, Depth: depth}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func (s *store) view(t testing.TB, root snapshot.Node, dir string) *FS {
	t.Helper()
	v, err := New(t.Context(), s, root.Root(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := newStore()
	big := noise(100_000)
	copy(big[20_000:50_000], make([]byte, 30_000))
	root := s.dir(t, "/", s.dir(t, "srv",
		s.file(t, "big", big, 999, snapshot.Range{Offset: 20_000, Length: 30_000}),
		s.file(t, "empty", nil, 10), s.file(t, "hole", make([]byte, 70_000), 10, snapshot.Range{Length: 70_000}),
		s.dir(t, "sub", s.file(t, "a", []byte("text"), 3)), s.dir(t, "none"),
		snapshot.Node{Name: "link", Type: snapshot.Symlink, Mode: 0o777, Target: "sub/a"},
	))
	v := s.view(t, root, "/srv")
	if err := fstest.TestFS(v, "big", "empty", "hole", "sub/a", "link"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string][]byte{"big": big, "empty": {}, "hole": make([]byte, 70_000), "sub/a": []byte("text")} {
		got, err := fs.ReadFile(v, name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		f, err := v.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(f, want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	info, err := v.Lstat("link")
	if err != nil || info.Mode().Type() != fs.ModeSymlink || info.Size() != 5 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := v.Stat("sub"); err != nil || info.Mode() != fs.ModeDir|fs.ModeSetgid|0o755 {
		t.Errorf("%v, %v", info, err)
	}
}

// Symlinks lead nowhere, and names lead to nothing outside.
func TestConfined(t *testing.T) {
	t.Parallel()
	s := newStore()
	root := s.dir(t, "/", s.file(t, "secret", []byte("s"), 1), s.dir(t, "in",
		snapshot.Node{Name: "up", Type: snapshot.Symlink, Target: "../secret"}, snapshot.Node{Name: "dir", Type: snapshot.Symlink, Target: "/"},
		snapshot.Node{Name: "fifo", Type: snapshot.Fifo}))
	v := s.view(t, root, "in")
	for name, want := range map[string]error{"up": ErrSymlink, "dir": ErrSymlink, "dir/secret": fs.ErrNotExist, "../secret": fs.ErrInvalid, "/secret": fs.ErrInvalid, "none": fs.ErrNotExist} {
		_, err := fs.ReadFile(v, name)
		var path *fs.PathError
		if !errors.Is(err, want) || !errors.As(err, &path) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := fs.ReadFile(v, "fifo"); err == nil || !strings.Contains(err.Error(), "/in/fifo: is no file") {
		t.Errorf("fifo: %v", err)
	}
	if to, err := v.ReadLink("up"); err != nil || to != "../secret" {
		t.Errorf("%q, %v", to, err)
	}
	for _, dir := range []string{"/secret", "/none", "/in/up"} {
		if _, err := New(t.Context(), s, root.Root(), dir); err == nil {
			t.Errorf("%s was shown", dir)
		}
	}
}

// A large file goes through in windows; a read in its middle gets one chunk.
func TestBounded(t *testing.T) {
	t.Parallel()
	s := newStore()
	data := noise(3*Window + 12345)
	v := s.view(t, s.dir(t, "/", s.file(t, "f", data, 512<<10)), "/")
	got, err := fs.ReadFile(v, "f")
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if s.most > Window || s.most <= Window/2 || s.fetched != len(data) {
		t.Errorf("%d bytes at once, %d in all", s.most, s.fetched)
	}
	s.fetched = 0
	f, err := v.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if _, err := f.(io.ReaderAt).ReadAt(p, Window+77); err != nil || !bytes.Equal(p, data[Window+77:][:100]) || s.fetched != 512<<10 {
		t.Errorf("fetched %d bytes, %v", s.fetched, err)
	}
	if n, err := f.(io.ReaderAt).ReadAt(p, int64(len(data))-10); n != 10 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

// What is lost, or was never there, is an error where it is missing, and never a short file.
func TestDamage(t *testing.T) {
	t.Parallel()
	s := newStore()
	data := noise(10_000)
	whole := s.file(t, "f", data, 1000)
	cut := whole
	cut.Name, cut.Error = "cut", "read at offset 10000: input/output error"
	long := whole
	long.Name, long.Size = "long", 11_000
	part := s.dir(t, "part", whole)
	part.Error = "an entry could not be read"
	v := s.view(t, s.dir(t, "/", whole, cut, long, part), "/")
	s.lost[whole.Content[4]] = true

	got, err := fs.ReadFile(v, "f")
	if !errors.Is(err, errLost) || !strings.Contains(err.Error(), "/f: at offset 4000") || !bytes.Equal(got, data[:4000]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.lost = nil
	if got, err := fs.ReadFile(v, "cut"); !errors.Is(err, ErrUnread) || len(got) != len(data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := fs.ReadFile(v, "long"); !errors.Is(err, errLength) {
		t.Error(err)
	}
	wild := whole
	wild.Holes = []snapshot.Range{{Offset: 5, Length: 1 << 62}} // no tree can hold it, but what makes trees may change
	if _, err := newFile(v, "wild", &wild); !errors.Is(err, errLength) {
		t.Error(err)
	}
	if list, err := v.ReadDir("part"); len(list) != 1 || !errors.Is(err, ErrUnread) {
		t.Errorf("%v, %v", list, err)
	}
	s.sizes = 1
	if _, err := fs.ReadFile(v, "f"); !errors.Is(err, errLength) {
		t.Error(err)
	}
}

func TestEndsWithContext(t *testing.T) {
	t.Parallel()
	s := newStore()
	root := s.dir(t, "/", s.file(t, "f", noise(100), 10))
	ctx, cancel := context.WithCancel(t.Context())
	v, err := New(ctx, s, root.Root(), "/")
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDirInSteps(t *testing.T) {
	t.Parallel()
	s := newStore()
	var nodes []snapshot.Node
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprintf("%03d", i))
		nodes = append(nodes, s.file(t, want[i], []byte{byte(i)}, 1))
	}
	f, err := s.view(t, s.dir(t, "/", nodes...), "/").Open(".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		list, err := f.(fs.ReadDirFile).ReadDir(7)
		for _, e := range list {
			got = append(got, e.Name())
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Read(nil); err == nil {
		t.Error("a directory was read like a file")
	}
	if f.Close() != nil || !errors.Is(f.Close(), fs.ErrClosed) {
		t.Error("closing twice")
	}
}
