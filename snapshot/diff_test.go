package snapshot

import (
	"fmt"
	"slices"
	"testing"

	"cairn/chunk"

	"github.com/google/go-cmp/cmp"
)

func diffs(t *testing.T, s *store, a, b Node, skip ...string) []string {
	t.Helper()
	var got []string
	err := Diff(t.Context(), s.load, a.Root(), b.Root(), func(c Change) error {
		if (c.A == nil) != (c.Kind == Added) || (c.B == nil) != (c.Kind == Removed) {
			t.Errorf("%s %s: %v, %v", c.Kind, c.Path, c.A, c.B)
		}
		got = append(got, c.Kind.String()+" "+c.Path)
		if slices.Contains(skip, c.Path) {
			return SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDiff(t *testing.T) {
	t.Parallel()
	s := newStore()
	same := s.dir(t, "same", file("s", "s"))
	chmod := file("mode", "m")
	chmod.Mode = 0o600
	touched := file("times", "t")
	touched.Ctime, touched.Atime, touched.Inode = Time{9, 9}, Time{9, 9}, 9
	linked := file("two names", "l")
	linked.Link = &LinkID{1, 2}
	a := s.dir(t, "",
		s.dir(t, "d", file("gone", "g"), file("grown", "1"), s.dir(t, "was dir", file("in", "i")), file("was file", "f")),
		s.dir(t, "e", s.dir(t, "deep", file("f", "1"))),
		file("mode", "m"), same, file("times", "t"), file("two names", "l"), s.dir(t, "x", file("y", "y")))
	b := s.dir(t, "",
		s.dir(t, "d", file("come", "c"), file("grown", "12"), file("was dir", "w"), s.dir(t, "was file", file("in", "i"))),
		s.dir(t, "e", s.dir(t, "deep", file("f", "2"))),
		chmod, s.dir(t, "new", s.dir(t, "sub", file("n", "n")), file("suc", "o")), same, touched, linked)
	want := []string{
		"added /d/come", "removed /d/gone", "modified /d/grown", "type /d/was dir", "removed /d/was dir/in",
		"type /d/was file", "added /d/was file/in", "modified /e/deep/f", "meta /mode", "added /new", "added /new/sub",
		"added /new/sub/n", "added /new/suc", "meta /two names", "removed /x", "removed /x/y",
	}
	s.reset()
	if d := cmp.Diff(want, diffs(t, s, a, b)); d != "" {
		t.Error(d)
	}
	if s.loaded[same.Content[0]] > 0 {
		t.Error("an equal directory was loaded")
	}
	s.reset()
	if got := diffs(t, s, a, a); len(got) > 0 || s.loads > 0 {
		t.Errorf("a tree differs from itself: %v, %d loads", got, s.loads)
	}
	short := diffs(t, s, a, b, "/new", "/d/was dir", "/d/come", "/x", "/d/grown")
	for _, out := range []string{"removed /d/was dir/in", "added /new/sub", "added /new/sub/n", "added /new/suc", "removed /x/y"} {
		want = slices.DeleteFunc(want, func(s string) bool { return s == out })
	}
	if d := cmp.Diff(want, short); d != "" {
		t.Error(d)
	}
	count := 0
	err := Diff(t.Context(), s.load, a.Root(), b.Root(), func(Change) error { count++; return SkipAll })
	if err != nil || count != 1 {
		t.Errorf("SkipAll: %d calls, %v", count, err)
	}
}

func TestDiffFields(t *testing.T) {
	t.Parallel()
	base := Node{
		Name: "n", Type: File, Mode: 0o644, Size: 9, Content: []chunk.ID{{1}}, Holes: []Range{{0, 1}},
		Xattrs: []Xattr{{"user.a", []byte("1")}}, Mtime: Time{1, 1},
	}
	for name, c := range map[string]struct {
		change func(*Node)
		want   ChangeKind
	}{
		"nothing": {func(*Node) {}, 0},
		"size":    {func(n *Node) { n.Size++ }, Modified},
		"content": {func(n *Node) { n.Content = []chunk.ID{{2}} }, Modified},
		"depth":   {func(n *Node) { n.Depth = 1 }, Modified},
		"holes":   {func(n *Node) { n.Holes = nil }, Modified},
		"device":  {func(n *Node) { n.Device = &Device{} }, Modified},
		"target":  {func(n *Node) { n.Target = "x" }, Modified},
		"type":    {func(n *Node) { n.Type = Fifo }, TypeChanged},
		"mtime":   {func(n *Node) { n.Mtime.Nsec++ }, MetaChanged},
		"owner":   {func(n *Node) { n.GID = 5 }, MetaChanged},
		"xattr":   {func(n *Node) { n.Xattrs = []Xattr{{"user.a", []byte("2")}} }, MetaChanged},
		"error":   {func(n *Node) { n.Error = "x" }, MetaChanged},
		"ctime":   {func(n *Node) { n.Ctime.Sec++ }, 0},
	} {
		n := base
		c.change(&n)
		if got := compare(&base, &n); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestDiffLarge has a directory of many pieces with single changes: the shared pieces stay unread.
func TestDiffLarge(t *testing.T) {
	t.Parallel()
	s := newStore()
	nodes := typicalNodes(100_000)
	a := s.dir(t, "", nodes...)
	for name, edit := range map[string]func([]Node) []Node{
		"added /file-00050000.go.orig": func(n []Node) []Node { return slices.Insert(n, 50_001, file("file-00050000.go.orig", "x")) },
		"removed /file-00070000.go":    func(n []Node) []Node { return slices.Delete(n, 70_000, 70_001) },
		"modified /file-00000000.go":   func(n []Node) []Node { n[0].Size++; return n },
		"meta /file-00099999.go":       func(n []Node) []Node { n[99_999].Mode = 0; return n },
		"added /zzz":                   func(n []Node) []Node { return append(n, file("zzz", "z")) },
	} {
		b := s.dir(t, "", edit(slices.Clone(nodes))...)
		s.reset()
		if got := diffs(t, s, a, b); len(got) != 1 || got[0] != name {
			t.Errorf("%s: %v", name, got)
		}
		if s.loads > 4 {
			t.Errorf("%s: %d loads", name, s.loads)
		}
	}
	b := s.dir(t, "", nodes[40_000:60_000]...)
	s.reset()
	got := diffs(t, s, a, b)
	if len(got) != 80_000 {
		t.Errorf("%d changes", len(got))
	}
	if got := diffs(t, s, b, a); len(got) != 80_000 {
		t.Errorf("%d changes the other way", len(got))
	}
}

// TestDiffRandom compares with what a map says, over trees whose pieces are cut at every other place.
func TestDiffRandom(t *testing.T) {
	t.Parallel()
	s := newStore()
	cut := func(nodes []Node, sizes ...int) Node {
		var content []chunk.ID
		for i := 0; len(nodes) > 0; i++ {
			n := min(sizes[i%len(sizes)], len(nodes))
			content = append(content, s.put(mustPiece(t, nodes[:n])))
			nodes = nodes[n:]
		}
		return Node{Type: Dir, Content: content}
	}
	for seed := range 300 {
		var a, b []Node
		var want []string
		for i := range 40 {
			name := fmt.Sprintf("%02d", i)
			h := hashName(fmt.Sprint(seed, name)) % 16
			if h != 0 {
				a = append(a, file(name, "1"))
			}
			switch {
			case h == 0:
				b = append(b, file(name, "1"))
				want = append(want, "added /"+name)
			case h == 1:
				want = append(want, "removed /"+name)
			case h == 2:
				b = append(b, file(name, "22"))
				want = append(want, "modified /"+name)
			default:
				b = append(b, file(name, "1"))
			}
		}
		got := diffs(t, s, cut(a, 3, 1, 1+seed%7), cut(b, 3, 1, 1+seed%5))
		if d := cmp.Diff(want, got, equateEmpty); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}
