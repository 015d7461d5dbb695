package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cairn/chunk"
)

func idsOf(count int) []chunk.ID {
	r := rand.New(rand.NewPCG(3, 4))
	ids := make([]chunk.ID, count)
	for i := range ids {
		ids[i] = randomID(r)
	}
	return ids
}

func collect(t *testing.T, s *store, n Node) []Node {
	t.Helper()
	var nodes []Node
	for n, err := range Nodes(t.Context(), s.load, n.Content, n.Depth) {
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, *n)
	}
	return nodes
}

func TestSaveTreeRoundTrip(t *testing.T) {
	t.Parallel()
	s := newStore()
	for _, count := range []int{0, 1, 63, 64, 65, 1000, 20_000} {
		nodes := typicalNodes(count)
		dir := s.dir(t, "d", nodes...)
		if got := collect(t, s, dir); count > 0 && !reflect.DeepEqual(nodes, got) || len(got) != count {
			t.Errorf("%d nodes came back changed", count)
		}
		if count == 0 && (len(dir.Content) > 0 || dir.Depth > 0) {
			t.Error("an empty directory has content")
		}
		if 0 < count && count <= minPiece && len(dir.Content) != 1 {
			t.Errorf("%d nodes are in %d pieces", count, len(dir.Content))
		}
	}
}

// TestSaveTreeAdd is what makes directories of any size cheap: one more file in 100,000 stores
// one or two new pieces.
func TestSaveTreeAdd(t *testing.T) {
	t.Parallel()
	s := newStore()
	nodes := typicalNodes(100_000)
	before := s.dir(t, "d", nodes...)
	sizes := 0
	for _, b := range s.blobs {
		sizes += len(b)
		if len(b) > maxPieceBytes {
			t.Errorf("piece of %d bytes", len(b))
		}
	}
	t.Logf("100,000 nodes: %d pieces, %d bytes a node", len(before.Content), sizes/100_000)
	if n := len(before.Content); n < 25 || n > 100 {
		t.Errorf("%d pieces", n)
	}
	for _, name := range []string{"a first", "file-00050000.go.orig", "file-00051234", "z last"} {
		s.reset()
		at, _ := slices.BinarySearchFunc(nodes, name, func(n Node, name string) int { return strings.Compare(n.Name, name) })
		s.dir(t, "d", slices.Insert(slices.Clone(nodes), at, file(name, "new"))...)
		if s.fresh > 3 {
			t.Errorf("adding %q stored %d pieces", name, s.fresh)
		}
		s.reset()
		s.dir(t, "d", slices.Delete(slices.Clone(nodes), min(at, 99_999), min(at, 99_999)+1)...)
		if s.fresh > 3 {
			t.Errorf("removing at %q stored %d pieces", name, s.fresh)
		}
	}
}

// TestSaveTreeLarge has nodes of such size that pieces end by their bytes.
func TestSaveTreeLarge(t *testing.T) {
	t.Parallel()
	s := newStore()
	var nodes []Node
	for i := range 300 {
		value := bytes.Repeat([]byte{byte(i)}, 40_000)
		if i == 150 {
			value = make([]byte, 3*maxPieceBytes)
		}
		nodes = append(nodes, Node{Name: fmt.Sprintf("%03d", i), Type: File, Xattrs: []Xattr{{"user.x", value}}})
	}
	dir := s.dir(t, "d", nodes...)
	if !reflect.DeepEqual(nodes, collect(t, s, dir)) { // cmp needs a minute for this
		t.Error("nodes came back changed")
	}
	for _, b := range s.blobs {
		if len(b) > maxPieceBytes && len(b) < 3*maxPieceBytes {
			t.Errorf("piece of %d bytes", len(b))
		}
	}
	bad := Node{Name: "x", Type: File, Xattrs: []Xattr{{"user.x", make([]byte, chunk.MaxPlain)}}}
	var which *NodeError
	if _, _, err := SaveTree(t.Context(), []Node{bad}, s.save); !errors.As(err, &which) || which.Name != "x" {
		t.Errorf("a node that no blob holds: %v", err)
	}
	full := errors.New("disk full")
	_, _, err := SaveTree(t.Context(), nodes, func(context.Context, []byte) (chunk.ID, error) { return chunk.ID{}, full })
	if !errors.Is(err, full) {
		t.Errorf("error of save: %v", err)
	}
}

func resolve(t *testing.T, s *store, content []chunk.ID, depth uint8) []chunk.ID {
	t.Helper()
	var ids []chunk.ID
	for id, err := range Content(t.Context(), s.load, content, depth) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestSaveContent(t *testing.T) {
	t.Parallel()
	s := newStore()
	same := make([]chunk.ID, 50_000) // a file of one repeated block: no id or each one cuts
	for _, ids := range [][]chunk.ID{nil, idsOf(1), idsOf(maxInline), idsOf(maxInline + 1), idsOf(100_000), same} {
		content, depth, err := SaveContent(t.Context(), ids, s.save)
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > maxInline || (depth > 0) != (len(ids) > maxInline) {
			t.Errorf("%d ids: %d in the node, depth %d", len(ids), len(content), depth)
		}
		if !slices.Equal(resolve(t, s, content, depth), ids) {
			t.Errorf("%d ids came back changed", len(ids))
		}
	}
}

// TestSaveContentInsert is a file of a TiB with one more chunk in it.
func TestSaveContentInsert(t *testing.T) {
	t.Parallel()
	s := newStore()
	ids := idsOf(1_300_000) // two levels of lists
	content, depth, err := SaveContent(t.Context(), ids, s.save)
	if err != nil || depth < 2 {
		t.Fatal(depth, err)
	}
	t.Logf("%d ids: %d in the node, depth %d, %d lists", len(ids), len(content), depth, s.fresh)
	for _, at := range []int{0, 777_777, 1_299_999} {
		s.reset()
		more, moreDepth, err := SaveContent(t.Context(), slices.Insert(slices.Clone(ids), at, chunk.ID{1}), s.save)
		if err != nil {
			t.Fatal(err)
		}
		if s.fresh > 5 {
			t.Errorf("inserting at %d stored %d lists", at, s.fresh)
		}
		if got := resolve(t, s, more, moreDepth); len(got) != len(ids)+1 || got[at] != (chunk.ID{1}) {
			t.Errorf("inserting at %d: %d ids", at, len(got))
		}
	}
}

func TestContentErrors(t *testing.T) {
	t.Parallel()
	s := newStore()
	id := s.put(mustPiece(t, zoo()))
	missing := chunk.ID{1}
	for name, c := range map[string]struct {
		content []chunk.ID
		depth   uint8
	}{
		"depth":   {[]chunk.ID{id}, 5},
		"no list": {[]chunk.ID{id}, 1},
		"missing": {[]chunk.ID{missing}, 1},
	} {
		count, failed := 0, false
		for _, err := range Content(t.Context(), s.load, c.content, c.depth) {
			count++
			failed = err != nil
		}
		if !failed || count != 1 {
			t.Errorf("content, %s: %d results, failed %v", name, count, failed)
		}
		for _, err := range Nodes(t.Context(), s.load, c.content, c.depth) {
			failed = err != nil
		}
		if !failed {
			t.Errorf("nodes, %s: no error", name)
		}
		if _, err := Find(t.Context(), s.load, c.content, c.depth, "/x"); err == nil {
			t.Errorf("find, %s: no error", name)
		}
	}
}

// TestNodesOrder refuses pieces that are fine by themselves but not in order.
func TestNodesOrder(t *testing.T) {
	t.Parallel()
	s := newStore()
	ab := s.put(mustPiece(t, []Node{file("a", ""), file("b", "")}))
	bc := s.put(mustPiece(t, []Node{file("b", ""), file("c", "")}))
	for _, content := range [][]chunk.ID{{ab, bc}, {bc, ab}, {ab, ab}} {
		var last error
		for _, err := range Nodes(t.Context(), s.load, content, 0) {
			last = err
		}
		var bad *NodeError
		if !errors.As(last, &bad) {
			t.Errorf("%v", last)
		}
	}
}

func TestNodesStops(t *testing.T) {
	t.Parallel()
	s := newStore()
	dir := s.dir(t, "d", typicalNodes(10_000)...)
	for range Nodes(t.Context(), s.load, dir.Content, dir.Depth) {
		break
	}
	if s.loads != 1 {
		t.Errorf("%d loads for one node", s.loads)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range Nodes(ctx, s.load, dir.Content, dir.Depth) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s := newStore()
	many := typicalNodes(30_000)
	root := s.dir(t, "", s.dir(t, "etc", file("passwd", "x")), s.dir(t, "srv", s.dir(t, "a", many...), s.dir(t, "empty")))
	find := func(path string) (*Node, error) { return Find(t.Context(), s.load, root.Content, root.Depth, path) }
	for path, want := range map[string]string{
		"/": "/", "": "/", "//": "/", "/etc": "etc", "etc/": "etc", "/etc/passwd": "passwd", "//etc/./x/../passwd": "passwd",
		"/srv/a/" + many[0].Name: many[0].Name, "/srv/a/" + many[29_999].Name: many[29_999].Name, "/srv/empty": "empty",
	} {
		n, err := find(path)
		if err != nil || n.Name != want {
			t.Errorf("%s: %v, %v", path, n, err)
		}
	}
	for i := 0; i < len(many); i += 997 {
		n, err := find("/srv/a/" + many[i].Name)
		if err != nil || n.Inode != many[i].Inode {
			t.Fatalf("%s: %v", many[i].Name, err)
		}
	}
	s.reset()
	if _, err := find("/srv/a/" + many[12_345].Name); err != nil || s.loads > 10 {
		t.Errorf("%d loads, %v", s.loads, err)
	}
	for path, missing := range map[string]string{
		"/nope": "/nope", "/a": "/a", "/zzz/x": "/zzz", "/srv/b/c": "/srv/b", "/srv/empty/x": "/srv/empty/x",
		"/etc/passwd/x": "/etc/passwd", "/srv/a/file": "/srv/a/file", "/srv/a/zzz": "/srv/a/zzz",
	} {
		_, err := find(path)
		var nf *NotFoundError
		if !errors.Is(err, ErrNotFound) || !errors.As(err, &nf) || nf.Missing != missing || nf.Hint() == "" {
			t.Errorf("%s: %v", path, err)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("the path %s is not in: %v", path, err)
		}
		if nf != nil && nf.NotDir != (path == "/etc/passwd/x") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := find(strings.Repeat("/a", MaxPathDepth+1)); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("deep path: %v", err)
	}
}

// TestFindInLists has a directory of so many pieces that they are listed.
func TestFindInLists(t *testing.T) {
	t.Parallel()
	s := newStore()
	var pieces []chunk.ID
	for i := range 5000 {
		pieces = append(pieces, s.put(mustPiece(t, []Node{file(fmt.Sprintf("%05d", 2*i), "")})))
	}
	content, depth, err := SaveContent(t.Context(), pieces, s.save)
	if err != nil || depth != 1 {
		t.Fatal(depth, err)
	}
	for i := 0; i < 10_000; i += 111 {
		n, err := Find(t.Context(), s.load, content, depth, fmt.Sprintf("/%05d", i))
		if (err == nil) != (i%2 == 0) || n != nil && n.Name != fmt.Sprintf("%05d", i) {
			t.Fatalf("%d: %v, %v", i, n, err)
		}
	}
	if len(collect(t, s, Node{Content: content, Depth: depth})) != 5000 {
		t.Error("not all nodes")
	}
}
