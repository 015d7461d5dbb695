package backup

import (
	"path/filepath"
	"strings"
	"testing"

	"cairn/snapshot"
)

// A directory that is made for one run lies at the same place of each snapshot.
func TestPartUnderAnotherName(t *testing.T) {
	t.Parallel()
	staging := t.TempDir()
	s := newStore()
	for _, name := range []string{"run-1", "run-2"} {
		dir := filepath.Join(staging, name)
		write(t, dir+"/binaries/ab/cd/ef/x.bin", noise(7, 100<<10))
		write(t, dir+"/not wanted", "x")
		o := testOptions(t)
		o.Cache = newCache()
		report, err := RunParts(t.Context(), s, o, []Part{
			{Name: "fedora", File: Reserved + "/streams/fedora/documents_000001.bin", Open: stream("", "", "{}\n", nil).Open},
			{Name: "fedora", Paths: []string{dir + "/binaries"}, As: Reserved + "/streams/fedora/binaries"},
		}, nil)
		check(t, err)
		if got := report.Parts[1]; got.Files != 1 || got.Paths[0] != Reserved+"/streams/fedora/binaries" {
			t.Errorf("report %+v", got)
		}
	}
	snap := s.commits[1]
	got := s.tree(t, snap)
	files, dirs := uint64(0), uint64(0)
	for path, n := range got {
		if !strings.HasPrefix(path, Reserved) {
			t.Errorf("%s is in the snapshot", path)
		}
		switch n.Type {
		case snapshot.File:
			files++
		case snapshot.Dir:
			dirs++
		}
	}
	if n := got[Reserved+"/streams/fedora/binaries/ab/cd/ef/x.bin"]; n == nil || string(s.bytesOf(t, n)) != noise(7, 100<<10) {
		t.Errorf("the file: %+v in %v", n, got)
	}
	if snap.Stats[snapshot.StatFilesTotal] != files || snap.Stats[snapshot.StatDirsTotal] != dirs || files != 2 {
		t.Errorf("statistics %v, tree has %d files and %d directories", snap.Stats, files, dirs)
	}
	if fresh := snap.Stats[snapshot.StatBytesNew]; fresh != 0 {
		t.Errorf("%d bytes were stored again", fresh)
	}
}

func TestPartUnderAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a/f", "x")
	write(t, dir+"/b/f", "x")
	open := func() Part { return stream("s", "/x/y", "data", nil) }
	for name, parts := range map[string][]Part{
		"two paths":         {{Name: "p", Paths: []string{dir + "/a", dir + "/b"}, As: "/x"}},
		"the root":          {{Name: "p", Paths: []string{dir + "/a"}, As: "/"}},
		"a stream":          {{Name: "p", File: "/f", As: "/x", Content: []byte("x")}},
		"in another part":   {{Name: "p", Paths: []string{dir + "/a"}}, {Name: "q", Paths: []string{dir + "/b"}, As: dir + "/a/b"}},
		"where a stream is": {open(), {Name: "p", Paths: []string{dir + "/a"}, As: "/x/y"}},
	} {
		if _, err := RunParts(t.Context(), newStore(), testOptions(t), parts, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	_, err := RunParts(t.Context(), newStore(), testOptions(t), []Part{{Name: "p", Paths: []string{dir + "/absent"}, As: "/x"}, open()}, nil)
	if err == nil {
		t.Error("a required directory is absent, and there is a snapshot")
	}
	parts := []Part{{Name: "p", Paths: []string{dir + "/absent"}, As: "/z", Optional: true}, open()}
	report, err := RunParts(t.Context(), newStore(), testOptions(t), parts, nil)
	check(t, err)
	if !report.Parts[0].Absent {
		t.Error("an optional directory is absent, and the report does not say so")
	}
}
