package backup

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/remote"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

// D2: no snapshot when no part changed, whatever the papers say and whatever happens beside the parts.
func TestPartsSkipIfUnchanged(t *testing.T) {
	t.Parallel()
	root, parts := application(t)
	s, o := newStore(), testOptions(t)
	o.SkipIfUnchanged, o.Cache = true, newCache()
	first, err := RunParts(t.Context(), s, o, parts, nil)
	check(t, err)
	o.Parent = &Parent{Content: first.Snapshot.Content, Depth: first.Snapshot.Depth, Start: time.Now(), Load: s.load}

	write(t, root+"/beside", "changes the time of a directory on the way")
	second, err := RunParts(t.Context(), s, o, parts, nil)
	check(t, err)
	if !second.Unchanged || len(s.commits) != 1 {
		t.Fatalf("unchanged %v, %d snapshots", second.Unchanged, len(s.commits))
	}
	for what, change := range map[string]func(parts []Part) []Part{
		"stream": func(p []Part) []Part { p[0] = stream("db", p[0].File, "other", nil); return p },
		"source": func(p []Part) []Part { p[4].Content = []byte("source: other\n"); return p },
		"less":   func(p []Part) []Part { return append(p[:2:2], p[3:]...) },
		"more":   func(p []Part) []Part { return append(p, stream("more", Reserved+"/streams/more", "", nil)) },
	} {
		if third, err := RunParts(t.Context(), s, o, change(slices.Clone(parts)), nil); err != nil || third.Unchanged {
			t.Errorf("%s: unchanged %v, %v", what, third.Unchanged, err)
		}
	}
	write(t, root+"/config/app.properties", "a=c")
	if third, err := RunParts(t.Context(), s, o, parts, nil); err != nil || third.Unchanged {
		t.Errorf("file: unchanged %v, %v", third.Unchanged, err)
	}
}

// A12: after a warm pass the pass with the service stopped reads next to nothing, with and without a stat cache from before.
func TestPartsWarm(t *testing.T) {
	t.Parallel()
	root, parts := application(t)
	s, o := newStore(), testOptions(t)
	o.Cache = newCache()
	warm, err := Warm(t.Context(), s, o, parts)
	check(t, err)
	if len(s.commits) != 0 || warm.BytesRead < 200<<10 || len(warm.Parts) != 3 || warm.ErrorCount != 0 {
		t.Fatalf("%d snapshots, read %d, %+v", len(s.commits), warm.BytesRead, warm.Parts)
	}
	write(t, root+"/config/new", "since then")
	o.Progress = nil
	report, err := RunParts(t.Context(), s, o, parts, nil)
	check(t, err)
	if p := report.Parts[1]; p.BytesRead != 0 || p.Files != 2 {
		t.Errorf("part repository: %+v", p)
	}
	if p := report.Parts[2]; p.BytesRead != uint64(len("since then")) || p.Files != 3 {
		t.Errorf("part config: %+v", p)
	}

	// Another machine, with the snapshot only.
	o.Cache, o.Progress = newCache(), nil
	o.Parent = &Parent{Content: report.Snapshot.Content, Depth: report.Snapshot.Depth, Start: time.Now().Add(time.Minute), Load: s.load}
	report, err = RunParts(t.Context(), s, o, parts, nil)
	check(t, err)
	if report.Parts[1].BytesRead+report.Parts[2].BytesRead != 0 {
		t.Errorf("read again: %+v", report.Parts[1:3])
	}
}

// A3, D8: what changes while it is read is stored, and its part says so.
func TestPartsFlagChange(t *testing.T) {
	t.Parallel()
	root, parts := application(t)
	log := root + "/repository/index/big"
	s, o := newStore(), testOptions(t)
	grown := false
	o.fault = func(op, path string, offset int64) error {
		if op != "read" || path != log || grown {
			return nil
		}
		grown = true
		f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("one more line")
		return err
	}
	report, err := RunParts(t.Context(), s, o, parts, nil)
	check(t, err)
	want := []snapshot.ReadError{{Path: log, Message: errChanged.Error()}}
	if diff := cmp.Diff(want, report.Parts[1].Warnings); diff != "" {
		t.Error(diff)
	}
	if n := s.tree(t, report.Snapshot)[log]; n.Size != 200<<10 {
		t.Errorf("%d bytes, not those that stood there", n.Size)
	}
}

// A14, D18: each part has its own excludes.
func TestPartsExcludes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"/a", "/b"} {
		write(t, root+dir+"/state/journal", "j")
		write(t, root+dir+"/conf", "c")
	}
	list := new(pattern.List)
	check(t, list.Add("/state", false))
	s := newStore()
	report, err := RunParts(t.Context(), s, testOptions(t), []Part{
		{Name: "a", Paths: []string{root + "/a"}, Excludes: list}, {Name: "b", Paths: []string{root + "/b"}, OneFileSystem: true},
	}, nil)
	check(t, err)
	got := s.tree(t, report.Snapshot)
	if got[root+"/a/state"] != nil || got[root+"/b/state/journal"] == nil || got[root+"/a/conf"] == nil {
		t.Error("the rules of one part hold in another")
	}
	if diff := cmp.Diff([]string{"/state", ruleOneFileSystem}, report.Snapshot.Excludes); diff != "" {
		t.Error(diff)
	}
}

// All of "/" and streams: the reserved directory is put beside what the machine has.
func TestPartsWholeMachine(t *testing.T) {
	t.Parallel()
	list := new(pattern.List)
	check(t, list.Add("/*", false))
	check(t, list.Add("!/etc", false))
	check(t, list.Add("/etc/*", false))
	check(t, list.Add("!/etc/hostname", false))
	s := newStore()
	report, err := RunParts(t.Context(), s, testOptions(t), []Part{
		stream("db", Reserved+"/streams/db.sql", "dump", nil), {Name: "all", Paths: []string{"/"}, Excludes: list},
	}, nil)
	check(t, err)
	got := s.tree(t, report.Snapshot)
	if got["/etc/hostname"] == nil || got[Reserved+"/streams/db.sql"] == nil {
		t.Errorf("the tree has %d nodes", len(got))
	}
}

// What a part says of a file system in which the reserved name is taken.
func TestPartsConflict(t *testing.T) {
	t.Parallel()
	tree, one, two := newBranch(), &Part{Name: "one"}, &Part{Name: "two"}
	r, err := newRun(nil, must(testOptions(t).applyDefaults()))
	check(t, err)
	r.ways.Store("/", []snapshot.Node{{Name: ".cairn", Type: snapshot.Dir}, {Name: "etc", Type: snapshot.Dir}})
	_, err = tree.graft(r, one)
	check(t, err)
	_, err = tree.plant(r, Reserved+"/x", snapshot.Node{Name: "x"}, two)
	if err == nil || !strings.Contains(err.Error(), "parts one and two both have /.cairn") || remote.Hint(err) == "" {
		t.Errorf("error %v", err)
	}
	if _, err := tree.graft(r, two); err == nil || !strings.Contains(err.Error(), "parts one and two both have /") {
		t.Errorf("error %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A writer's key has no parent to load; its stat cache must do for trees and for single files.
func TestPartsWithoutParent(t *testing.T) {
	t.Parallel()
	_, parts := application(t)
	s, o := newStore(), testOptions(t)
	o.Cache = newCache()
	for i := range 2 {
		o.Progress = nil
		report, err := RunParts(t.Context(), s, o, parts, nil)
		check(t, err)
		trees := report.Parts[1].BytesRead + report.Parts[2].BytesRead
		if (i == 0) == (trees == 0) {
			t.Errorf("run %d read %d bytes of trees", i+1, trees)
		}
		if i == 1 && report.DataBlobs > 1 { // run.json
			t.Errorf("%d new blobs", report.DataBlobs)
		}
	}
}
