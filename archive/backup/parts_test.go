package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

// told is a callback that counts how often it was called, and with what.
type told struct {
	calls  int
	failed error
	ctx    context.Context
	answer error
}

func (c *told) read(ctx context.Context, failed error) error {
	c.calls++
	c.failed, c.ctx = failed, ctx
	return c.answer
}

func stream(name, file, data string, end error) Part {
	return Part{Name: name, File: file, Open: func(context.Context) (io.Reader, func() error, error) {
		return strings.NewReader(data), func() error { return end }, nil
	}}
}

// application makes a tree like that of an application, and its parts.
func application(t *testing.T) (root string, parts []Part) {
	root = t.TempDir()
	write(t, root+"/repository/repository.xml", "<xml/>")
	write(t, root+"/repository/index/big", noise(1, 200<<10))
	write(t, root+"/config/app.properties", "a=b")
	write(t, root+"/data/cache", "not part of it")
	write(t, root+"/single", "a file of its own")
	return root, []Part{
		stream("db", Reserved+"/streams/db/app.sql", noise(2, 300<<10), nil),
		{Name: "repository", Paths: []string{root + "/repository"}},
		{Name: "config", Paths: []string{root + "/config", root + "/single"}},
		{Name: "archive", Paths: []string{root + "/repository_archive"}, Optional: true},
		{Name: "source", File: Reserved + "/source.yaml", Content: []byte("source: app\n")},
		{Name: "run", File: Reserved + "/run.json", Paper: func(done []PartReport) ([]byte, error) {
			return fmt.Appendf(nil, "%d parts at %d", len(done), time.Now().UnixNano()), nil
		}},
	}
}

// A2, A3, A8, A11: trees and dumps of one application are one snapshot; what is optional may be absent.
func TestPartsMakeOneSnapshot(t *testing.T) {
	t.Parallel()
	root, parts := application(t)
	s, c := newStore(), new(told)
	o := testOptions(t)
	o.Role, o.Component, o.Cache = "primary", "cms", newCache()
	report, err := RunParts(t.Context(), s, o, parts, c.read)
	check(t, err)
	if c.calls != 1 || c.failed != nil {
		t.Errorf("told %d times, %v", c.calls, c.failed)
	}
	if len(s.commits) != 1 || len(s.checkpoints) != 0 {
		t.Fatalf("%d snapshots, %d checkpoints", len(s.commits), len(s.checkpoints))
	}
	snap := s.commits[0]
	want := []string{Reserved + "/streams/db/app.sql", root + "/repository", root + "/config", root + "/single", root + "/repository_archive"}
	if diff := cmp.Diff(want, snap.Paths); diff != "" {
		t.Error(diff)
	}
	if snap.Role != "primary" || snap.Component != "cms" || snap.Partial || report.Incomplete {
		t.Errorf("snapshot %+v", snap)
	}
	got := s.tree(t, snap)
	for path, data := range map[string]string{
		root + "/repository/repository.xml": "<xml/>", root + "/single": "a file of its own",
		Reserved + "/streams/db/app.sql": noise(2, 300<<10), Reserved + "/source.yaml": "source: app\n",
	} {
		if n := got[path]; n == nil || string(s.bytesOf(t, n)) != data {
			t.Errorf("%s is not what it was: %v", path, n)
		}
	}
	if got[root+"/data"] != nil {
		t.Error("what belongs to no part is in the snapshot")
	}
	if n := got[Reserved+"/run.json"]; n == nil || !strings.HasPrefix(string(s.bytesOf(t, n)), "5 parts") {
		t.Errorf("run.json: %v", n)
	}
	files, dirs := uint64(0), uint64(0)
	for _, n := range got {
		switch n.Type {
		case snapshot.File:
			files++
		case snapshot.Dir:
			dirs++
		}
	}
	if snap.Stats[snapshot.StatFilesTotal] != files || snap.Stats[snapshot.StatDirsTotal] != dirs {
		t.Errorf("statistics %v, tree has %d files and %d directories", snap.Stats, files, dirs)
	}
	var names []string
	for _, p := range report.Parts {
		names = append(names, p.Name)
		if p.Ended.Before(p.Began) || p.Began.Before(report.Start) {
			t.Errorf("part %s from %v to %v", p.Name, p.Began, p.Ended)
		}
	}
	if diff := cmp.Diff([]string{"db", "repository", "config", "archive", "source", "run"}, names); diff != "" {
		t.Error(diff)
	}
	if p := report.Parts[0]; p.Files != 1 || p.BytesRead != 300<<10 || p.BytesNew != 300<<10 {
		t.Errorf("part db: %+v", p)
	}
	if p := report.Parts[3]; !p.Absent || len(p.Warnings) != 1 || p.Failed != "" {
		t.Errorf("part archive: %+v", p)
	}
}

// A2: a dump that ends with an error, a path that is gone, a stream that breaks off: no snapshot, and the service is started again.
func TestPartsAllOrNothing(t *testing.T) {
	t.Parallel()
	killed := errors.New("ended by signal 9")
	for name, bad := range map[string]Part{
		"status": stream("bad", "/.cairn/x", "half a dump", killed),
		"broken": {Name: "bad", File: "/.cairn/x", Open: func(context.Context) (io.Reader, func() error, error) {
			return io.MultiReader(strings.NewReader("half"), failing{killed}), nil, nil
		}},
		"open":   {Name: "bad", File: "/.cairn/x", Open: func(context.Context) (io.Reader, func() error, error) { return nil, nil, killed }},
		"absent": {Name: "bad", Paths: []string{"/nonexistent/by all means"}},
		"paper":  {Name: "bad", File: "/.cairn/x", Paper: func([]PartReport) ([]byte, error) { return nil, killed }},
		"optional but failing": {Name: "bad", Optional: true, File: "/.cairn/x", Open: func(context.Context) (io.Reader, func() error, error) {
			return nil, nil, killed
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, parts := application(t)
			s, c := newStore(), new(told)
			_, err := RunParts(t.Context(), s, testOptions(t), slices.Insert(parts, 2, bad), c.read)
			var failed *PartError
			if !errors.As(err, &failed) || failed.Part != "bad" || !strings.Contains(err.Error(), "part bad: ") {
				t.Fatalf("error %v", err)
			}
			if len(s.commits) != 0 || c.calls != 1 || (c.failed == nil) != (bad.Paper != nil) {
				t.Errorf("%d snapshots, told %d times: %v", len(s.commits), c.calls, c.failed)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// E25: a run that is told to goes on without what failed, and the snapshot lists it.
func TestPartsPartial(t *testing.T) {
	t.Parallel()
	root, parts := application(t)
	parts = append(parts, stream("bad", Reserved+"/streams/bad.sql", "half", errors.New("exit status 1")),
		Part{Name: "gone", Paths: []string{root + "/gone", root + "/data"}})
	s, c, o := newStore(), new(told), testOptions(t)
	o.AllowPartial, o.SkipIfUnchanged = true, true
	report, err := RunParts(t.Context(), s, o, parts, c.read)
	check(t, err)
	if c.calls != 1 || c.failed != nil || len(s.commits) != 1 {
		t.Fatalf("told %d times: %v; %d snapshots", c.calls, c.failed, len(s.commits))
	}
	snap := s.commits[0]
	if !snap.Partial || !report.Incomplete || snap.Stats[snapshot.StatErrors] != 2 {
		t.Errorf("partial %v, incomplete %v, %v", snap.Partial, report.Incomplete, snap.Stats)
	}
	var paths []string
	for _, e := range snap.Errors {
		paths = append(paths, e.Path)
		if !strings.HasPrefix(e.Message, "part ") {
			t.Errorf("message %q", e.Message)
		}
	}
	if diff := cmp.Diff([]string{Reserved + "/streams/bad.sql", root + "/gone"}, paths); diff != "" {
		t.Error(diff)
	}
	got := s.tree(t, snap)
	if got[Reserved+"/streams/bad.sql"] != nil || got[root+"/data/cache"] == nil || got[root+"/config/app.properties"] == nil {
		t.Error("the tree has what failed, or lacks what did not")
	}
	// The parts that are there do not make an earlier snapshot of the same tree a whole one.
	o.Parent = &Parent{Content: snap.Content, Depth: snap.Depth, Start: time.Now(), Load: s.load}
	if report, err = RunParts(t.Context(), s, o, parts, nil); err != nil || report.Unchanged {
		t.Errorf("unchanged %v, %v", report.Unchanged, err)
	}
}

func TestPartsRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/a/b/c", "x")
	tree := func(name string, paths ...string) Part { return Part{Name: name, Paths: paths} }
	for want, parts := range map[string][]Part{
		"parts one and two are both":     {tree("one", root+"/a"), tree("two", root+"/a/")},
		"of part two lies in":            {tree("one", root+"/a"), tree("two", root+"/a/b")},
		"of part one lies in":            {tree("one", root+"/a/b"), tree("two", root+"/a")},
		"of part dump lies in":           {tree("one", root), stream("dump", root+"/dump.sql", "", nil)},
		"part x: has both":               {{Name: "x", Paths: []string{root}, File: "/y"}},
		"part x: needs paths":            {{Name: "x"}},
		"part y: needs paths":            {{Name: "y", File: "/y"}},
		"cannot be the name of a file":   {stream("y", "/y/", "", nil)},
		"parts one and other are both /": {stream("one", "/x", "", nil), stream("other", "x", "", nil)},
		"no part is there":               {{Name: "x", Paths: []string{root + "/none"}, Optional: true}, {Name: "s", File: "/s", Content: []byte("s")}},
	} {
		s, c := newStore(), new(told)
		_, err := RunParts(t.Context(), s, testOptions(t), parts, c.read)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if len(s.commits) != 0 || c.calls != 1 || c.failed == nil {
			t.Errorf("%s: %d snapshots, told %d times: %v", want, len(s.commits), c.calls, c.failed)
		}
	}
}

// A9: an interruption does not keep the service from being started: read is called, with a context that goes on.
func TestPartsCancelled(t *testing.T) {
	t.Parallel()
	root, parts := application(t)
	ctx, cancel := context.WithCancel(t.Context())
	waited := 0
	parts = append(parts, Part{Name: "endless", File: "/.cairn/endless", Open: func(ctx context.Context) (io.Reader, func() error, error) {
		cancel()
		r, w := io.Pipe() // nobody ever writes
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		return r, func() error { waited++; return errors.New("terminated") }, nil
	}}, Part{Name: "never", Paths: []string{root + "/data"}})
	s, c := newStore(), new(told)
	_, err := RunParts(ctx, s, testOptions(t), parts, c.read)
	if !errors.Is(err, context.Canceled) || len(s.commits) != 0 {
		t.Fatalf("error %v, %d snapshots", err, len(s.commits))
	}
	if c.calls != 1 || !errors.Is(c.failed, context.Canceled) || c.ctx.Err() != nil || waited != 1 {
		t.Errorf("told %d times: %v, context %v; waited %d times", c.calls, c.failed, c.ctx.Err(), waited)
	}
}

func TestPartsReadCallbackFails(t *testing.T) {
	t.Parallel()
	_, parts := application(t)
	s, c := newStore(), &told{answer: errors.New("the service does not start")}
	if _, err := RunParts(t.Context(), s, testOptions(t), parts, c.read); !errors.Is(err, c.answer) || len(s.commits) != 0 {
		t.Errorf("error %v, %d snapshots", err, len(s.commits))
	}
}

// A Saver that fails is no failure of the part that was read: nothing goes on, whatever may be partial.
func TestPartsSaverFails(t *testing.T) {
	t.Parallel()
	_, parts := application(t)
	s, c, o := newStore(), new(told), testOptions(t)
	full := errors.New("no space left")
	s.fail = func(kind chunk.Type, plain []byte) error { return full }
	o.AllowPartial = true
	_, err := RunParts(t.Context(), s, o, parts, c.read)
	var part *PartError
	if !errors.Is(err, full) || errors.As(err, &part) || c.calls != 1 {
		t.Errorf("error %v, told %d times", err, c.calls)
	}
}

func TestPartsStoreAnew(t *testing.T) {
	t.Parallel()
	_, parts := application(t)
	s, c := newStore(), new(told)
	s.commit = func(*store, int) error { return archive.ErrStoreAnew }
	_, err := RunParts(t.Context(), s, testOptions(t), parts, c.read)
	if !errors.Is(err, archive.ErrStoreAnew) || !strings.Contains(remote.Hint(err), "run it again") || len(s.commits) != 1 || c.calls != 1 {
		t.Errorf("error %v (%s), %d commits, told %d times", err, remote.Hint(err), len(s.commits), c.calls)
	}
}
