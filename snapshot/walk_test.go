package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cairn/chunk"

	"github.com/google/go-cmp/cmp"
)

func walked(t *testing.T, s *store, root Node, fn WalkFunc) ([]string, error) {
	t.Helper()
	var paths []string
	err := Walk(t.Context(), s.load, root.Content, root.Depth, func(path string, n *Node) error {
		if path[strings.LastIndexByte(path, '/')+1:] != n.Name {
			t.Errorf("%s has the node %s", path, n.Name)
		}
		paths = append(paths, path)
		if fn == nil {
			return nil
		}
		return fn(path, n)
	})
	return paths, err
}

func TestWalk(t *testing.T) {
	t.Parallel()
	s := newStore()
	// Order is that of names in each directory: "sub" sorts before "x".
	tree := s.dir(t, "", s.dir(t, "a", s.dir(t, "sub", file("one", "1")), file("x", "x"), file("y", "y")), s.dir(t, "b"), file("c", "c"))
	all := []string{"/a", "/a/sub", "/a/sub/one", "/a/x", "/a/y", "/b", "/c"}
	stop := errors.New("stop")
	at := func(where string, err error) WalkFunc {
		return func(path string, _ *Node) error {
			if path == where {
				return err
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		fn   WalkFunc
		want []string
		err  error
	}{
		"all":       {nil, all, nil},
		"skip dir":  {at("/a/sub", SkipDir), []string{"/a", "/a/sub", "/a/x", "/a/y", "/b", "/c"}, nil},
		"skip rest": {at("/a/x", SkipDir), []string{"/a", "/a/sub", "/a/sub/one", "/a/x", "/b", "/c"}, nil},
		"skip all":  {at("/a/x", SkipAll), []string{"/a", "/a/sub", "/a/sub/one", "/a/x"}, nil},
		"error":     {at("/a/x", stop), []string{"/a", "/a/sub", "/a/sub/one", "/a/x"}, stop},
	} {
		got, err := walked(t, s, tree, c.fn)
		if d := cmp.Diff(c.want, got); d != "" || !errors.Is(err, c.err) || err != nil && c.err == nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
	}
}

// TestWalkErrors loses a piece: with OnError the rest is still walked.
func TestWalkErrors(t *testing.T) {
	t.Parallel()
	s := newStore()
	many := s.dir(t, "many", typicalNodes(10_000)...)
	root := s.dir(t, "", many, file("z", "z"))
	delete(s.blobs, many.Content[1])
	if _, err := walked(t, s, root, nil); err == nil || !strings.Contains(err.Error(), "/many") {
		t.Errorf("without OnError: %v", err)
	}
	count, failed := 0, []string{}
	w := Walker{Load: s.load, OnError: func(path string, err error) error {
		failed = append(failed, path)
		return nil
	}}
	err := w.Walk(t.Context(), root.Content, root.Depth, func(string, *Node) error { count++; return nil })
	if err != nil || len(failed) != 1 || failed[0] != "/many" || count < 5000 || count >= 10_002 {
		t.Errorf("%v, failed %v, %d nodes", err, failed, count)
	}
	stop := errors.New("stop")
	w.OnError = func(string, error) error { return stop }
	if err := w.Walk(t.Context(), root.Content, root.Depth, func(string, *Node) error { return nil }); !errors.Is(err, stop) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.OnError = func(_ string, err error) error { t.Errorf("a done context is no damage: %v", err); return nil }
	err = w.Walk(ctx, root.Content, root.Depth, func(string, *Node) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// deepTree has a path of the given depth; each level has filler nodes too.
func deepTree(t testing.TB, s *store, depth, filler int) Node {
	dir := Node{Name: "d", Type: Dir}
	for range depth {
		nodes := []Node{dir}
		for i := range filler {
			nodes = append(nodes, Node{Name: fmt.Sprintf("f%05d", i), Type: Fifo})
		}
		dir.Content = []chunk.ID{s.put(mustPiece(t, nodes))}
	}
	return dir
}

func TestWalkDeep(t *testing.T) {
	t.Parallel()
	s := newStore()
	ok := deepTree(t, s, MaxPathDepth, 1)
	if paths, err := walked(t, s, ok, nil); err != nil || len(paths) != 2*MaxPathDepth {
		t.Errorf("%d paths, %v", len(paths), err)
	}
	deep := deepTree(t, s, MaxPathDepth+1, 0)
	if _, err := walked(t, s, deep, nil); err == nil {
		t.Error("a tree that is too deep was walked")
	}
	count, failed := 0, 0
	w := Walker{Load: s.load, OnError: func(string, error) error { failed++; return nil }}
	err := w.Walk(t.Context(), deep.Content, 0, func(string, *Node) error { count++; return nil })
	if err != nil || failed != 1 || count != MaxPathDepth {
		t.Errorf("%d nodes, %d errors, %v", count, failed, err)
	}
}

// TestWalkBounded gives a walk little to hold: it must come to the same end by loading pieces again.
func TestWalkBounded(t *testing.T) {
	t.Parallel()
	s := newStore()
	deep := deepTree(t, s, 60, 40)
	lists := typicalNodes(3)
	var pieces []chunk.ID
	for i := range 3000 {
		n := Node{Name: fmt.Sprintf("%05d", i), Type: Dir, Content: deep.Content}
		if i%1000 != 0 {
			n.Content = nil
		}
		pieces = append(pieces, s.put(mustPiece(t, []Node{n})))
	}
	content, depth, err := SaveContent(t.Context(), pieces, s.save)
	if err != nil || depth == 0 {
		t.Fatal(depth, err)
	}
	wide := Node{Name: "wide", Type: Dir, Content: content, Depth: depth}
	root := s.dir(t, "", append(lists, wide)...)
	run := func(limit int) (paths []string, most int) {
		h := newHolder(s.load)
		h.limit = limit
		w := Walker{Load: s.load}
		err := w.walk(t.Context(), h, "", 0, root.Root(), func(path string, _ *Node) error {
			paths = append(paths, path)
			most = max(most, h.held)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if h.held != 0 || h.inner != 0 || len(h.open) != 0 {
			t.Errorf("after the walk %d bytes in %d directories are held", h.held+h.inner, len(h.open))
		}
		return paths, most
	}
	want, free := run(maxHeld)
	got, held := run(50_000)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	t.Logf("%d paths; held %d bytes without a bound, %d with 50,000", len(want), free, held)
	if free < 500_000 || held > 100_000 {
		t.Errorf("held %d bytes without a bound, %d with one", free, held)
	}
	var err2 error
	h := newHolder(s.load)
	h.limit = 100 // content of the open directories is more than four times this
	err2 = (&Walker{Load: s.load}).walk(t.Context(), h, "", 0, root.Root(), func(string, *Node) error { return nil })
	if err2 == nil {
		t.Error("content beyond the bound was walked")
	}
}
