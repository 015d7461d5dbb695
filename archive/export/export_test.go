package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/verify"
	"cairn/archive"
	"cairn/archive/restore"
	"cairn/chunk"
	"cairn/snapshot"
)

// store is an archive in memory.
type store struct{ blobs map[chunk.ID][]byte }

func (s *store) save(_ context.Context, plain []byte) (chunk.ID, error) {
	id := chunk.Sum(plain)
	s.blobs[id] = bytes.Clone(plain)
	return id, nil
}

func (s *store) Load(ctx context.Context, t chunk.Type, id chunk.ID) ([]byte, error) {
	b, ok := s.blobs[id]
	if !ok {
		return nil, &archive.MissingError{Type: t, ID: id}
	}
	return b, ctx.Err()
}

func (s *store) Ahead(context.Context, []chunk.ID) {}

func (s *store) Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(chunk.ID, []byte) error) error {
	var lost archive.FetchError
	for _, id := range ids {
		b, ok := s.blobs[id]
		if !ok {
			lost.Missing = append(lost.Missing, &archive.MissingError{Type: t, ID: id})
			continue
		}
		if err := fn(id, b); err != nil {
			return err
		}
	}
	if lost.Missing != nil {
		return &lost
	}
	return ctx.Err()
}

func (s *store) FetchRipe(ctx context.Context, t chunk.Type, ids []chunk.ID, _ func(chunk.ID) bool, fn func(chunk.ID, []byte) error) ([]chunk.ID, error) {
	return nil, s.Fetch(ctx, t, ids, fn)
}

func (s *store) Sizes(_ context.Context, t chunk.Type, ids []chunk.ID, sizes []uint32) error {
	for i, id := range ids {
		sizes[i] = uint32(len(s.blobs[id]))
	}
	return nil
}

func (s *store) file(t testing.TB, name, data string) snapshot.Node {
	t.Helper()
	n := snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o640, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), User: "anna", Size: uint64(len(data)), Mtime: snapshot.Time{Sec: 1e9, Nsec: 5}}
	var ids []chunk.ID
	for part := range slices.Chunk([]byte(data), 1000) {
		id, _ := s.save(t.Context(), part)
		ids = append(ids, id)
	}
	var err error
	n.Content, n.Depth, err = snapshot.SaveContent(t.Context(), ids, s.save)
	must(t, err)
	return n
}

func (s *store) dir(t testing.TB, name string, nodes ...snapshot.Node) snapshot.Node {
	t.Helper()
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	content, depth, err := snapshot.SaveTree(t.Context(), nodes, s.save)
	must(t, err)
	return snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Mtime: snapshot.Time{Sec: 1e9}, Content: content, Depth: depth}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *store) subject(root snapshot.Node) Subject {
	return Subject{Snapshot: &snapshot.Snapshot{ID: chunk.Sum([]byte("snapshot")), Series: "cms/home", Host: "cms1\nForged: header", Start: snapshot.Time{Sec: 1.7e9}, Content: root.Content, Depth: root.Depth}, Node: &root}
}

// sample is a tree with what exports stumble over, and what its files hold.
func sample(t testing.TB) (*store, Subject, map[string]string) {
	s := &store{blobs: map[chunk.ID][]byte{}}
	files := map[string]string{
		"a/letter.txt": "dear reader", "a/copy of it": "dear reader", "a/100%\nsure\r": "odd name", "a/b/c/empty": "", "zeros": strings.Repeat("\x00", 5000),
		"a/large": strings.Repeat("some text, again and again. ", 500), "README": "at the top",
	}
	hole := s.file(t, "zeros", "")
	hole.Size, hole.Holes = 5000, []snapshot.Range{{Offset: 0, Length: 5000}}
	c := s.dir(t, "c", s.file(t, "empty", ""))
	a := s.dir(t, "a", s.file(t, "letter.txt", files["a/letter.txt"]), s.file(t, "copy of it", files["a/copy of it"]),
		s.file(t, "100%\nsure\r", "odd name"), s.file(t, "large", files["a/large"]), s.dir(t, "b", c), s.dir(t, "nothing in it"),
		snapshot.Node{Name: "link", Type: snapshot.Symlink, Mode: 0o777, Target: "/etc/passwd"})
	return s, s.subject(s.dir(t, "/", a, hole, s.file(t, "README", "at the top"))), files
}

func run(t testing.TB, s *store, sub Subject, f Format, o Options) (string, *Report) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	r, err := Directory(t.Context(), s, sub, f, dir, o)
	must(t, err)
	return dir, r
}

func verified(t testing.TB, dir, format string) {
	t.Helper()
	r, err := verify.Verify(t.Context(), os.DirFS(dir), ".", format, verify.Options{})
	must(t, err)
	if len(r.Problems) > 0 {
		t.Errorf("%s: %v", format, r.Problems)
	}
}

// C4: a tree is plain files.
func TestTree(t *testing.T) {
	t.Parallel()
	s, sub, files := sample(t)
	dir, r := run(t, s, sub, Tree, Options{})
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(dir, "a/link")); err != nil || to != "/etc/passwd" {
		t.Error(to, err)
	}
	if r.Files != int64(len(files)) {
		t.Errorf("%+v", r)
	}
}

// C4: a bag has all contents, both manifests, and no line that somebody else wrote into a name.
func TestBag(t *testing.T) {
	t.Parallel()
	s, sub, files := sample(t)
	bad := s.file(t, "not \xff UTF-8", "lost")
	below := *sub.Node
	below.Name = "sub"
	root := s.dir(t, "/", bad, below)
	sub.Node = &root
	dir, r := run(t, s, sub, BagIt, Options{Program: "cairn 1", Time: time.Unix(1.7e9, 0)})
	verified(t, dir, "bagit")
	for name, want := range files {
		name = filepath.Join(dir, "data/sub", name)
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
		info, err := os.Stat(name)
		must(t, err)
		if !strings.HasSuffix(name, "zeros") && info.ModTime().Unix() != 1e9 {
			t.Errorf("%q is of %v", name, info.ModTime())
		}
	}
	if diff := cmp.Diff([]string{"not \xff UTF-8", "sub/a/link"}, r.Left); diff != "" || r.LeftCount != 2 {
		t.Error(diff)
	}
	info, err := os.ReadFile(filepath.Join(dir, "bag-info.txt"))
	must(t, err)
	total := 0
	for _, data := range files {
		total += len(data)
	}
	want := fmt.Sprintf("Payload-Oxum: %d.%d\n", total, len(files))
	if !strings.Contains(string(info), want) || strings.Contains(string(info), "\nForged") {
		t.Errorf("bag-info.txt lacks %q or has too much:\n%s", want, info)
	}
}

type fedoraDoc struct {
	Metadata struct{ ID, ContentType string }
	Content  struct {
		Key, Parent  string
		Properties   map[string]map[string]any
		Children     []struct{ Key, Name string }
		ChildrenInfo struct {
			Count     int
			NextBlock string
		}
	}
}

// documentsIn reads all documents of an export in their order.
func documentsIn(t testing.TB, dir string) []fedoraDoc {
	t.Helper()
	var docs []fedoraDoc
	for n := 1; ; n++ {
		f, err := os.Open(filepath.Join(dir, documentsFile(n)))
		if errors.Is(err, fs.ErrNotExist) {
			return docs
		}
		must(t, err)
		z, err := gzip.NewReader(f)
		must(t, err)
		data, err := io.ReadAll(z)
		must(t, errors.Join(err, f.Close()))
		for line := range strings.Lines(string(data)) {
			var d fedoraDoc
			must(t, json.Unmarshal([]byte(line), &d))
			docs = append(docs, d)
		}
	}
}

// C4, C11, C12: an export in Fedora's format verifies, and each path leads from the root to its content.
func TestFedora(t *testing.T) {
	t.Parallel()
	s, sub, files := sample(t)
	dir, r := run(t, s, sub, Fedora, Options{PerFile: 7})
	verified(t, dir, "modeshape")
	docs := documentsIn(t, dir)
	if int64(len(docs)) != r.Documents || r.Files != int64(len(files)) || r.Binaries != int64(len(files)-1) {
		t.Errorf("%d documents, report %+v", len(docs), r)
	}
	byKey := map[string]fedoraDoc{}
	for _, d := range docs {
		if d.Metadata.ID != d.Content.Key || d.Metadata.ContentType != "application/json" {
			t.Errorf("document %+v", d.Metadata)
		}
		byKey[d.Content.Key] = d
	}
	got, links := map[string]string{}, 0
	var walk func(key, at string)
	walk = func(key, at string) {
		d, there := byKey[key]
		if !there {
			t.Fatalf("%s refers to %s, which is not there", at, key)
		}
		if len(d.Content.Children) != d.Content.ChildrenInfo.Count {
			t.Errorf("%s: %d children, count %d", at, len(d.Content.Children), d.Content.ChildrenInfo.Count)
		}
		if data, ok := d.Content.Properties[nsJCR]["data"].(map[string]any); ok {
			sha := data["$sha1"].(string)
			content, err := os.ReadFile(filepath.Join(dir, "binaries", sha[:2], sha[2:4], sha[4:6], sha+".bin"))
			must(t, err)
			if int(data["$len"].(float64)) != len(content) {
				t.Errorf("%s: $len %v of %d bytes", at, data["$len"], len(content))
			}
			got[strings.TrimSuffix(at, "/jcr:content")] = string(content)
		}
		if d.Content.Properties[nsCairn]["target"] == "/etc/passwd" {
			links++
		}
		for _, c := range d.Content.Children {
			if byKey[c.Key].Content.Parent != key {
				t.Errorf("%s: the parent of %s is %s", at, c.Name, byKey[c.Key].Content.Parent)
			}
			walk(c.Key, strings.TrimPrefix(at+"/"+c.Name, "/"))
		}
	}
	for key := range byKey {
		if strings.HasSuffix(key, "/") {
			walk(key, "")
		}
	}
	if diff := cmp.Diff(files, got); diff != "" || links != 1 {
		t.Error(diff, links)
	}
}

// A directory with very many entries does not become one endless line.
func TestFedoraBlocks(t *testing.T) {
	t.Parallel()
	s := &store{blobs: map[chunk.ID][]byte{}}
	const n = 2*blockSize + 1
	nodes := make([]snapshot.Node, n)
	for i := range nodes {
		nodes[i] = snapshot.Node{Name: fmt.Sprintf("%06d", i), Type: snapshot.Symlink, Target: "x"}
	}
	sub := s.subject(s.dir(t, "/", s.dir(t, "many", nodes...)))
	dir, _ := run(t, s, sub, Fedora, Options{})
	verified(t, dir, "modeshape")
	byKey := map[string]fedoraDoc{}
	var many fedoraDoc
	for _, d := range documentsIn(t, dir) {
		byKey[d.Content.Key] = d
		if d.Content.ChildrenInfo.Count == n {
			many = d
		}
	}
	var names []string
	for d := many; ; d = byKey[d.Content.ChildrenInfo.NextBlock] {
		for _, c := range d.Content.Children {
			names = append(names, c.Name)
		}
		if len(d.Content.Children) > blockSize || len(names) > n {
			t.Fatalf("%d children in one document", len(d.Content.Children))
		}
		if d.Content.ChildrenInfo.NextBlock == "" {
			break
		}
	}
	if len(names) != n || !slices.IsSorted(names) {
		t.Errorf("%d names", len(names))
	}
}

// A lost blob ends an export, and what is there does not verify as whole.
func TestLostBlob(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{Tree, BagIt, Fedora} {
		s, sub, _ := sample(t)
		delete(s.blobs, chunk.Sum([]byte("at the top")))
		dir := filepath.Join(t.TempDir(), "out")
		_, err := Directory(t.Context(), s, sub, f, dir, Options{})
		if err == nil {
			t.Errorf("%s: no error", f)
		}
		if f == Tree {
			continue
		}
		r, err := verify.Verify(t.Context(), os.DirFS(dir), ".", map[Format]string{BagIt: "bagit", Fedora: "modeshape"}[f], verify.Options{})
		must(t, err)
		if !r.Damaged() {
			t.Errorf("%s: what is left looks whole", f)
		}
	}
}

// What could not be read when the backup was made is told.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{Tree, BagIt, Fedora} {
		s := &store{blobs: map[chunk.ID][]byte{}}
		bad := s.file(t, "bad", "half")
		bad.Error = "input/output error"
		sub := s.subject(s.dir(t, "/", bad, s.file(t, "good", "whole")))
		dir := filepath.Join(t.TempDir(), "out")
		_, err := Directory(t.Context(), s, sub, f, dir, Options{})
		var left *restore.IncompleteError
		if !errors.As(err, &left) || left.Count != 1 {
			t.Errorf("%s: %v", f, err)
		}
		if format := map[Format]string{BagIt: "bagit", Fedora: "modeshape"}[f]; format != "" {
			verified(t, dir, format)
		}
	}
}

// Nothing is written where something is already, nor without a directory.
func TestTarget(t *testing.T) {
	t.Parallel()
	s, sub, _ := sample(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	for _, f := range Formats() {
		if _, err := Directory(t.Context(), s, sub, f, dir, Options{}); err == nil {
			t.Errorf("%s: no error", f)
		}
	}
	if _, err := Directory(t.Context(), s, Subject{}, Tree, t.TempDir(), Options{}); err == nil {
		t.Error("nothing is named, and there is no error")
	}
	one := s.file(t, "one", "single")
	sub.Node = &one
	out, r := run(t, s, sub, BagIt, Options{})
	if data, err := os.ReadFile(filepath.Join(out, "data/one")); err != nil || string(data) != "single" || r.Files != 1 {
		t.Error(string(data), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Directory(ctx, s, sub, Fedora, filepath.Join(t.TempDir(), "x"), Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
