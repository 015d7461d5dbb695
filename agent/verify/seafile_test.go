package verify_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/agent/verify"
	"cairn/tests/fixture"
)

// seafileTree makes a snapshot's tree: the storage and the dump in .cairn/streams.
func seafileTree(t *testing.T) (dir string, s *fixture.Seafile, dump func()) {
	t.Helper()
	dir = t.TempDir()
	s = fixture.NewSeafile(t, filepath.Join(dir, "opt/seafile/seafile-data"))
	dump = func() { fixture.Write(t, filepath.Join(dir, ".cairn/streams/db/seafile.sql"), s.Dump()) }
	return dir, s, dump
}

func lookSeafile(t *testing.T, dir string, o verify.Options) (*verify.Report, string) {
	t.Helper()
	r, err := verify.Verify(t.Context(), os.DirFS(dir), "opt/seafile/seafile-data", "seafile", o)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, p := range r.Problems {
		k := p.Kind
		if p.Severity == verify.Warning {
			k = "(" + k + ")"
		}
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	return r, strings.Join(kinds, " ")
}

// E18: a clean storage with its dump has no problems; blocks in two libraries and shared folders are understood.
func TestSeafileE18(t *testing.T) {
	t.Parallel()
	dir, _, dump := seafileTree(t)
	dump()
	r, kinds := lookSeafile(t, dir, verify.Options{})
	if kinds != "" || r.Counts["libraries"] != 3 || r.Counts["commits"] != 4 {
		t.Errorf("%v %v", r.Problems, r.Counts)
	}
}

// E18, E26: what seaf-fsck users find too late.
func TestSeafileDefectsE18E26(t *testing.T) {
	t.Parallel()
	block := func(s *fixture.Seafile) string {
		return s.Object("blocks", fixture.LibraryA, fixture.SHA1(fixture.Random(3, 7000)))
	}
	for name, c := range map[string]struct {
		hurt func(t *testing.T, dir string, s *fixture.Seafile)
		want string
	}{
		"damaged zlib": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Cut(t, fixture.Match(t, s.Dir, "storage/fs/"+fixture.LibraryB+"/*/*", 0))
		}, "damaged-object"},
		"fs object that is not JSON": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Write(t, fixture.Match(t, s.Dir, "storage/fs/"+fixture.LibraryB+"/*/*", 0), fixture.Deflate(t, []byte(`{"type":`)))
		}, "damaged-object"},
		"block that is not its name": {func(t *testing.T, dir string, s *fixture.Seafile) { fixture.Flip(t, block(s)) }, "digest"},
		"missing block":              {func(t *testing.T, dir string, s *fixture.Seafile) { fixture.Remove(t, block(s)) }, "missing-block"},
		"missing fs object": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Remove(t, fixture.Match(t, s.Dir, "storage/fs/"+fixture.LibraryB+"/*/*", 0))
		}, "missing-object"},
		"missing older commit": {func(t *testing.T, dir string, s *fixture.Seafile) {
			for _, n := range []int{0, 1} {
				name := fixture.Match(t, s.Dir, "storage/commits/"+fixture.LibraryA+"/*/*", n)
				if !strings.HasSuffix(name, s.Heads[fixture.LibraryA][2:]) {
					fixture.Remove(t, name)
					return
				}
			}
		}, "(missing-history)"},
		"missing head": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Remove(t, s.Object("commits", fixture.LibraryB, s.Heads[fixture.LibraryB]))
		}, "missing-head"},
		"damaged head": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Cut(t, s.Object("commits", fixture.LibraryB, s.Heads[fixture.LibraryB]))
		}, "damaged-commit missing-head"},
		"id that is not the SHA-1 of the object": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Write(t, s.Object("fs", fixture.LibraryA, strings.Repeat("ab", 20)), fixture.Deflate(t, []byte(`{"version":1,"type":3,"dirents":[]}`)))
		}, "(object-name)"},
		"temporary file": {func(t *testing.T, dir string, s *fixture.Seafile) { fixture.Write(t, block(s)+".tmp", []byte("x")) }, "(stray)"},
		"dump cut off": {func(t *testing.T, dir string, s *fixture.Seafile) {
			name := filepath.Join(dir, ".cairn/streams/db/seafile.sql")
			data := fixture.Read(t, name)
			fixture.Write(t, name, data[:bytes.Index(data, []byte("'master'"))])
		}, "(not-in-dump) damaged-dump"},
		"dump without the tables of the heads": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Write(t, filepath.Join(dir, ".cairn/streams/db/seafile.sql"), []byte("INSERT INTO `RepoOwner` VALUES (1,'x','y');\n"))
		}, "no-heads"},
		"no dump": {func(t *testing.T, dir string, s *fixture.Seafile) {
			fixture.Remove(t, filepath.Join(dir, ".cairn/streams/db/seafile.sql"))
		}, "(no-dump)"},
		"only blocks": {func(t *testing.T, dir string, s *fixture.Seafile) {
			for _, section := range []string{"fs", "commits"} {
				if err := os.RemoveAll(filepath.Join(s.Dir, "storage", section)); err != nil {
					t.Fatal(err)
				}
			}
		}, "layout missing-head"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, s, dump := seafileTree(t)
			dump()
			// The data was copied after the dump: the other order is a defect of its own.
			before := time.Now().Add(-time.Hour)
			if err := os.Chtimes(filepath.Join(dir, ".cairn/streams/db/seafile.sql"), before, before); err != nil {
				t.Fatal(err)
			}
			c.hurt(t, dir, s)
			r, kinds := lookSeafile(t, dir, verify.Options{})
			if kinds != c.want {
				t.Errorf("found %q, want %q: %v", kinds, c.want, r.Problems)
			}
		})
	}
}

// E3, E18: commits between dump and copy. The right order loses them and is whole; the wrong one is told, with the library's name.
func TestSeafileOrderE3E18(t *testing.T) {
	t.Parallel()
	more := map[string][]byte{"new.txt": fixture.Random(9, 6000)}
	t.Run("database first", func(t *testing.T) {
		t.Parallel()
		dir, s, dump := seafileTree(t)
		dump()
		s.Commit(fixture.LibraryA, more)
		if r, kinds := lookSeafile(t, dir, verify.Options{}); kinds != "" {
			t.Errorf("%v", r.Problems)
		}
	})
	t.Run("data first", func(t *testing.T) {
		t.Parallel()
		dir, s, dump := seafileTree(t)
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		head := s.Commit(fixture.LibraryA, more)
		dump()
		sql := s.Dump()
		r, kinds := lookSeafile(t, copied, verify.Options{Dumps: []verify.Dump{{Name: "seafile.sql", ModTime: time.Now().Add(time.Minute),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(sql)), nil }}}})
		if kinds != "missing-head order" {
			t.Fatalf("%v", r.Problems)
		}
		if p := r.Problems[0]; !strings.HasSuffix(p.Path, head[2:]) || !strings.Contains(p.Message, "Family (photos)") {
			t.Errorf("the head or the library is not named: %v", p)
		}
	})
	t.Run("data first as the run noted it", func(t *testing.T) {
		t.Parallel()
		dir, _, dump := seafileTree(t)
		dump()
		for order, want := range map[string]string{
			`{"parts":[{"name":"files","paths":["/opt/seafile"],"began":"2026-11-22T03:00:00Z","ended":"2026-11-22T03:05:00Z"},{"name":"db","began":"2026-11-22T03:05:00Z","ended":"2026-11-22T03:06:00Z"}]}`: "order",
			`{"parts":[{"name":"db","began":"2026-11-22T03:00:00Z","ended":"2026-11-22T03:01:00Z"},{"name":"files","paths":["/opt/seafile"],"began":"2026-11-22T03:01:00Z","ended":"2026-11-22T03:05:00Z"}]}`: "",
			`not JSON`: "",
		} {
			fixture.Write(t, filepath.Join(dir, ".cairn/run.json"), []byte(order))
			if r, kinds := lookSeafile(t, dir, verify.Options{}); kinds != want {
				t.Errorf("%s: %v", order, r.Problems)
			}
		}
	})
}

// E18: seaf-gc between dump and copy takes what the dump's heads need.
func TestSeafileCollectedBetweenE18(t *testing.T) {
	t.Parallel()
	dir, s, dump := seafileTree(t)
	dump()
	now := map[string][]byte{"only.txt": fixture.Random(11, 3000)}
	s.Commit(fixture.LibraryB, now)
	s.Collect(fixture.LibraryB, now)
	if r, kinds := lookSeafile(t, dir, verify.Options{}); kinds != "missing-object" || r.Errors != 1 {
		t.Errorf("%v", r.Problems)
	}
}
