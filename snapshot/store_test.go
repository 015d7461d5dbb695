package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"cairn/chunk"
)

// store keeps tree blobs in memory and counts what is asked of it.
type store struct {
	blobs  map[chunk.ID][]byte
	fresh  int // blobs saved that were not there
	loads  int
	loaded map[chunk.ID]int
}

func newStore() *store {
	return &store{blobs: map[chunk.ID][]byte{}, loaded: map[chunk.ID]int{}}
}

func (s *store) save(_ context.Context, plain []byte) (chunk.ID, error) {
	if len(plain) == 0 || len(plain) > chunk.MaxPlain {
		return chunk.ID{}, fmt.Errorf("blob of %d bytes", len(plain))
	}
	id := chunk.Sum(plain)
	if _, ok := s.blobs[id]; !ok {
		s.blobs[id] = bytes.Clone(plain)
		s.fresh++
	}
	return id, nil
}

func (s *store) load(_ context.Context, id chunk.ID) ([]byte, error) {
	plain, ok := s.blobs[id]
	if !ok {
		return nil, fmt.Errorf("no blob %s", id)
	}
	s.loads++
	s.loaded[id]++
	return plain, nil
}

func (s *store) reset() { s.fresh, s.loads, s.loaded = 0, 0, map[chunk.ID]int{} }

// put saves a blob without looking at it.
func (s *store) put(plain []byte) chunk.ID {
	id := chunk.Sum(plain)
	s.blobs[id] = bytes.Clone(plain)
	return id
}

// dir saves nodes as a directory.
func (s *store) dir(t testing.TB, name string, nodes ...Node) Node {
	t.Helper()
	content, depth, err := SaveTree(t.Context(), nodes, s.save)
	if err != nil {
		t.Fatal(err)
	}
	return Node{Name: name, Type: Dir, Mode: 0o755, Content: content, Depth: depth}
}

func file(name, text string) Node {
	n := Node{Name: name, Type: File, Mode: 0o644, Size: uint64(len(text))}
	if text != "" {
		n.Content = []chunk.ID{chunk.Sum([]byte(text))}
	}
	return n
}

// typicalNodes are like those of a source tree: one blob each, an owner with a name.
func typicalNodes(count int) []Node {
	r := rand.New(rand.NewPCG(1, 2))
	nodes := make([]Node, count)
	for i := range nodes {
		nodes[i] = Node{
			Name: fmt.Sprintf("file-%08d.go", i), Type: File, Mode: 0o644, UID: 1000, GID: 1000, User: "anna", Group: "users",
			Mtime: Time{1_790_000_000 + int64(i), r.Uint32N(1e9)}, Ctime: Time{1_790_000_500, r.Uint32N(1e9)},
			Size: r.Uint64N(1 << 20), Inode: 1<<20 + uint64(i),
			Content: []chunk.ID{randomID(r)},
		}
	}
	return nodes
}

func randomID(r *rand.Rand) (id chunk.ID) {
	for i := 0; i < len(id); i += 8 {
		binary.LittleEndian.PutUint64(id[i:], r.Uint64())
	}
	return id
}

// zoo has a node of each type and every field.
func zoo() []Node {
	id := chunk.Sum([]byte("x"))
	return []Node{
		{Name: "\x01\xff\n", Type: Fifo},
		{Name: "a", Type: File},
		{
			Name: "b", Type: File, Mode: 0o7777, UID: 1<<32 - 1, GID: 1 << 16, User: "u\xff", Group: "g",
			Mtime: Time{-1, 999_999_999}, Ctime: Time{1 << 62, 1}, Atime: Time{0, 1},
			Size: 1<<64 - 1, Content: []chunk.ID{id, id}, Depth: 4, Link: &LinkID{0, 0},
			Xattrs: []Xattr{{"security.capability", []byte{1, 2}}, {"user.a", []byte{}}},
			Holes:  []Range{{0, 1}, {1, 23}, {24, 1 << 40}, {1 << 63, 1<<63 - 1}}, Inode: 1<<64 - 1, Error: "read: Eingabe/Ausgabefehler ✗",
		},
		{Name: "c", Type: Dir, Content: []chunk.ID{id}, Mtime: Time{-1 << 63, 0}},
		{Name: "d", Type: Symlink, Target: "../\xfe"},
		{Name: "e", Type: Socket, Link: &LinkID{1 << 40, 7}},
		{Name: "f", Type: CharDevice, Device: &Device{0, 0}},
		{Name: "g", Type: BlockDevice, Device: &Device{1<<32 - 1, 259}},
		{Name: "h", Type: BlockDevice, Error: "stat: permission denied"},
		{Name: "i", Type: Symlink, Error: "readlink: permission denied"},
	}
}
