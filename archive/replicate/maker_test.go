package replicate

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"strings"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// files are paths and contents; "dir/" is an empty directory.
type files map[string]string

func (f files) with(more files) files {
	all := files{}
	for _, m := range []files{f, more} {
		for name, content := range m {
			all[name] = content
		}
	}
	return all
}

func (f files) without(names ...string) files {
	all := f.with(nil)
	for _, n := range names {
		delete(all, n)
	}
	return all
}

// text is incompressible content that depends on its name.
func text(name string, size int) string {
	b := make([]byte, size)
	rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(b)
	return string(b)
}

// backup makes a snapshot of files, with chunks of at most 1000 bytes.
func (b *bench) backup(f files, change func(*snapshot.Snapshot)) *snapshot.Snapshot {
	b.t.Helper()
	b.clock++
	a := b.open()
	w, err := a.NewWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	s := &snapshot.Snapshot{Series: "test", Host: "here", Paths: []string{"/srv"}, Start: snapshot.Time{Sec: 1_800_000_000 + b.clock}, Stats: map[string]uint64{}, Program: "test"}
	if change != nil {
		change(s)
	}
	s.Previous = b.last[s.Series]
	m := maker{b: b, w: w, s: s}
	s.Content, s.Depth = m.dir(f)
	if _, err := w.Commit(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	b.last[s.Series] = s.ID
	return s
}

type maker struct {
	b *bench
	w *archive.Writer
	s *snapshot.Snapshot
}

func (m *maker) save(t chunk.Type) snapshot.SaveFunc {
	return func(ctx context.Context, plain []byte) (chunk.ID, error) {
		s, err := m.w.Save(ctx, t, plain)
		return s.ID, err
	}
}

func (m *maker) dir(f files) ([]chunk.ID, uint8) {
	m.b.t.Helper()
	below, nodes := map[string]files{}, []snapshot.Node{}
	for name, content := range f {
		first, rest, deep := strings.Cut(name, "/")
		if !deep {
			nodes = append(nodes, m.file(name, content))
			continue
		}
		if below[first] == nil {
			below[first] = files{}
		}
		if rest != "" {
			below[first][rest] = content
		}
	}
	for name, sub := range below {
		n := snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755}
		n.Content, n.Depth = m.dir(sub)
		m.s.Stats[snapshot.StatDirsTotal]++
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	content, depth, err := snapshot.SaveTree(m.b.t.Context(), nodes, m.save(chunk.Tree))
	if err != nil {
		m.b.t.Fatal(err)
	}
	return content, depth
}

func (m *maker) file(name, content string) snapshot.Node {
	m.b.t.Helper()
	if target, ok := strings.CutPrefix(content, "-> "); ok {
		m.s.Stats[snapshot.StatOther]++
		return snapshot.Node{Name: name, Type: snapshot.Symlink, Mode: 0o777, Target: target}
	}
	n := snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, Size: uint64(len(content))}
	var ids []chunk.ID
	for part := range slices.Chunk([]byte(content), 1000) {
		id, err := m.save(chunk.Data)(m.b.t.Context(), part)
		if err != nil {
			m.b.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	var err error
	if n.Content, n.Depth, err = snapshot.SaveContent(m.b.t.Context(), ids, m.save(chunk.Tree)); err != nil {
		m.b.t.Fatal(err)
	}
	m.s.Stats[snapshot.StatFilesTotal]++
	m.s.Stats[snapshot.StatBytesTotal] += n.Size
	return n
}
