package search

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/snapshot"
)

// store holds trees and counts what is loaded.
type store struct {
	blobs map[chunk.ID][]byte
	loads map[chunk.ID]int
	bad   map[chunk.ID]bool
}

func newStore() *store {
	return &store{blobs: map[chunk.ID][]byte{}, loads: map[chunk.ID]int{}, bad: map[chunk.ID]bool{}}
}

func (s *store) save(_ context.Context, plain []byte) (chunk.ID, error) {
	id := chunk.Sum(plain)
	s.blobs[id] = slices.Clone(plain)
	return id, nil
}

var errBad = errors.New("bad")

func (s *store) LoadTree(_ context.Context, id chunk.ID) ([]byte, error) {
	s.loads[id]++
	if s.bad[id] || s.blobs[id] == nil {
		return nil, errBad
	}
	return s.blobs[id], nil
}
func (s *store) Ahead(context.Context, []chunk.ID) {}
func (s *store) Stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil
}

// tree saves a tree of files, "/a/b" → content.
func (s *store) tree(t *testing.T, files map[string]string) snapshot.Root {
	t.Helper()
	return s.dir(t, "", files)
}

func (s *store) dir(t *testing.T, prefix string, files map[string]string) snapshot.Root {
	t.Helper()
	names := map[string]bool{}
	for path := range files {
		if rest, ok := strings.CutPrefix(path, prefix+"/"); ok {
			name, _, deeper := strings.Cut(rest, "/")
			names[name] = names[name] || deeper
		}
	}
	var nodes []snapshot.Node
	for name, isDir := range names {
		n := snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644}
		if isDir {
			r := s.dir(t, prefix+"/"+name, files)
			n.Type, n.Mode, n.Content, n.Depth = snapshot.Dir, 0o755, r.Content, r.Depth
		} else {
			text := files[prefix+"/"+name]
			n.Size = uint64(len(text))
			if text != "" {
				n.Content = []chunk.ID{chunk.Sum([]byte(text))}
			}
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	content, depth, err := snapshot.SaveTree(t.Context(), nodes, s.save)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.Root{Content: content, Depth: depth}
}

func (s *store) snapshot(t *testing.T, n int, files map[string]string) *snapshot.Snapshot {
	t.Helper()
	r := s.tree(t, files)
	return &snapshot.Snapshot{ID: chunk.Sum(fmt.Append(nil, n)), Host: fmt.Sprint(n), Content: r.Content, Depth: r.Depth}
}

func hosts(list []*snapshot.Snapshot) string {
	var names []string
	for _, s := range list {
		names = append(names, s.Host)
	}
	return strings.Join(names, ",")
}

func look(t *testing.T, s *store, list []*snapshot.Snapshot, o Options, held int) []string {
	t.Helper()
	var got []string
	o.Found = func(m Match) error {
		got = append(got, fmt.Sprintf("%s %d in %s", m.Path, m.Node.Size, hosts(m.Snapshots)))
		return nil
	}
	if err := run(t.Context(), s, list, o, held); err != nil {
		t.Fatal(err)
	}
	return got
}

// B5: each version of a file once, with the snapshots that hold it; what they share is loaded once.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := newStore()
	base := map[string]string{"/etc/hosts": "one", "/srv/big/x": "x", "/srv/big/y": "yy", "/srv/app/conf": "old"}
	var list []*snapshot.Snapshot
	for i := range 100 {
		files := map[string]string{"/srv/log": strings.Repeat("l", i+1)}
		for k, v := range base {
			files[k] = v
		}
		if i >= 60 {
			files["/srv/app/conf"] = "newer"
		}
		if i == 99 {
			delete(files, "/etc/hosts")
			files["/etc/hosts/dir"] = "was a file"
		}
		list = append(list, s.snapshot(t, i, files))
	}
	files := func(path string, n *snapshot.Node) bool {
		return n.Type == snapshot.File && !strings.HasSuffix(path, "log")
	}
	all := func(from, to int) string { return hosts(list[from:to]) }
	want := []string{"/etc/hosts 3 in " + all(0, 99), "/etc/hosts/dir 10 in 99", "/srv/app/conf 5 in " + all(60, 100), "/srv/app/conf 3 in " + all(0, 60),
		"/srv/big/x 1 in " + all(0, 100), "/srv/big/y 2 in " + all(0, 100)}
	if diff := cmp.Diff(want, look(t, s, list, Options{Match: files}, maxHeld)); diff != "" {
		t.Error(diff)
	}
	for id, n := range s.loads {
		if n > 1 {
			t.Errorf("%s was loaded %d times", id.Short(), n)
		}
	}
	loads := len(s.loads)
	clear(s.loads)
	if diff := cmp.Diff(want[4:], look(t, s, list, Options{Match: files, Below: "/srv/big"}, maxHeld)); diff != "" {
		t.Error(diff)
	}
	if len(s.loads) >= loads {
		t.Errorf("%d trees for a directory, %d for all", len(s.loads), loads)
	}
}

// A directory in parts says the same of other words, and never less.
func TestParts(t *testing.T) {
	t.Parallel()
	s := newStore()
	rng := rand.New(rand.NewPCG(1, 2))
	var list []*snapshot.Snapshot
	files := map[string]string{}
	for i := range 8 {
		for range 3000 {
			files[fmt.Sprintf("/d%d/f%d", rng.IntN(3), rng.IntN(5000))] = strings.Repeat("x", rng.IntN(3)+1)
		}
		list = append(list, s.snapshot(t, i, files))
	}
	spread := func(lines []string) []string {
		var all []string
		for _, l := range lines {
			head, in, _ := strings.Cut(l, " in ")
			for _, host := range strings.Split(in, ",") {
				all = append(all, head+" in "+host)
			}
		}
		slices.Sort(all)
		return all
	}
	want := spread(look(t, s, list, Options{}, maxHeld))
	got := spread(look(t, s, list, Options{}, 50))
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" || len(want) < 8*3000 {
		t.Errorf("%d lines: %.2000s", len(want), diff)
	}
	// The same as one walk of each.
	var walked []string
	for _, one := range list {
		err := snapshot.Walk(t.Context(), s.LoadTree, one.Content, one.Depth, func(path string, n *snapshot.Node) error {
			walked = append(walked, fmt.Sprintf("%s %d in %s", path, n.Size, one.Host))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(walked)
	if diff := cmp.Diff(walked, want); diff != "" {
		t.Errorf("%.2000s", diff)
	}
}

// What is lost is told with the snapshots that it concerns, and the rest is found.
func TestLost(t *testing.T) {
	t.Parallel()
	s := newStore()
	one := s.snapshot(t, 1, map[string]string{"/a/x": "1", "/b/y": "2"})
	two := s.snapshot(t, 2, map[string]string{"/a/x": "changed", "/b/y": "2"})
	n, err := snapshot.Find(t.Context(), s.LoadTree, one.Content, one.Depth, "/a")
	if err != nil {
		t.Fatal(err)
	}
	s.bad[n.Content[0]] = true
	var lost []string
	got := look(t, s, []*snapshot.Snapshot{one, two}, Options{Match: func(_ string, n *snapshot.Node) bool { return n.Type == snapshot.File },
		Lost: func(path string, in []*snapshot.Snapshot, err error) { lost = append(lost, path+" "+hosts(in)) }}, maxHeld)
	if diff := cmp.Diff([]string{"/a/x 7 in 2", "/b/y 1 in 1,2"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/a 1"}, lost); diff != "" {
		t.Error(diff)
	}
	err = Run(t.Context(), s, []*snapshot.Snapshot{one, two}, Options{Found: func(Match) error { return nil }})
	if !errors.Is(err, errBad) {
		t.Errorf("without somebody to tell: %v", err)
	}
	stop := errors.New("stop")
	if err := Run(t.Context(), s, []*snapshot.Snapshot{two}, Options{Found: func(Match) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("an error of Found: %v", err)
	}
	if err := Run(t.Context(), s, []*snapshot.Snapshot{two}, Options{Found: func(Match) error { return snapshot.SkipAll }}); err != nil {
		t.Errorf("SkipAll: %v", err)
	}
}
