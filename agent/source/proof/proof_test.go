package proof

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/agent/verify"
)

const text = `source: cms
schedule: 0 3 * * *
classes: {log: {schedule: 0 4 * * *}}
parts:
  - {name: repository, tree: {path: /srv/cms/repository}}
  - {name: archive, optional: true, tree: {path: /srv/cms/archive}}
  - {name: db, command: {file: app.sql, run: [dump]}}
  - {name: logs, class: log, tree: {path: /srv/cms/logs}}
  - {name: index, class: derived, tree: {path: /srv/cms/index}}
verify: [{format: bagit, path: /srv/cms/repository}]
`

func parse(t *testing.T, text string) *source.File {
	t.Helper()
	f, err := source.Parse("cms.yaml", []byte(text), source.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func goodRun() *paper.Run {
	return &paper.Run{Version: 1, Source: "cms", Series: "h/cms", Parts: []paper.Part{
		{Name: "repository", Kind: "tree", Class: "data", Paths: []string{"/srv/cms/repository"}},
		{Name: "archive", Kind: "tree", Class: "data", Optional: true, Absent: true},
		{Name: "db", Kind: "command", Class: "data", Streams: []paper.Stream{{File: "app.sql", Path: "/.cairn/streams/db/app.sql", Bytes: 4}}},
	}}
}

func goodTree() fstest.MapFS {
	return fstest.MapFS{"srv/cms/repository/a": {Data: []byte("x")}, ".cairn/streams/db/app.sql": {Data: []byte("dump")}}
}

func kinds(list []Problem) []string {
	var all []string
	for _, p := range list {
		all = append(all, strings.TrimSpace(p.Part+" "+p.Kind+" "+string(p.Severity)))
	}
	slices.Sort(all)
	return all
}

// A8, A16, A30, D17: required and optional parts, and what they gave, held against the tree.
func TestCompleteness(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(run *paper.Run, tree fstest.MapFS, f *source.File)
		want   []string
	}{
		"whole":                         {func(*paper.Run, fstest.MapFS, *source.File) {}, nil},
		"a part was dropped (A30)":      {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts = r.Parts[:2] }, []string{"db missing-part error"}},
		"an optional part was left out": {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts = slices.Delete(r.Parts, 1, 2) }, nil},
		"required by now":               {func(_ *paper.Run, _ fstest.MapFS, f *source.File) { f.Parts[1].Optional = false }, []string{"archive missing-part error"}},
		"failed":                        {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts[2].Failed = "exit 1" }, []string{"db failed-part error"}},
		"an optional part failed":       {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts[1].Failed = "denied" }, []string{"archive failed-part warning"}},
		"a stream is short":             {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts[2].Streams[0].Bytes = 5 }, []string{"db stream error"}},
		"a stream failed":               {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts[2].Streams[0].Failed = "exit 1" }, []string{"db failed-part error"}},
		"a stream is empty": {func(r *paper.Run, tree fstest.MapFS, _ *source.File) {
			r.Parts[2].Streams[0].Bytes, tree[".cairn/streams/db/app.sql"].Data = 0, nil
		}, []string{"db stream warning"}},
		"a stream is gone":       {func(_ *paper.Run, tree fstest.MapFS, _ *source.File) { delete(tree, ".cairn/streams/db/app.sql") }, []string{"db missing-path error"}},
		"a stream is no file":    {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts[2].Streams[0].Path = "/.cairn/streams" }, []string{"db stream error"}},
		"a tree is gone":         {func(_ *paper.Run, tree fstest.MapFS, _ *source.File) { delete(tree, "srv/cms/repository/a") }, []string{"repository missing-path error"}},
		"nothing was given":      {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Parts[0].Paths = nil }, []string{"repository missing-part error"}},
		"the run was of a class": {func(r *paper.Run, _ fstest.MapFS, _ *source.File) { r.Class, r.Parts = "log", nil }, []string{"logs missing-part error"}},
	} {
		run, tree, f := goodRun(), goodTree(), parse(t, text)
		c.change(run, tree, f)
		if diff := cmp.Diff(c.want, kinds(Completeness(tree, f, run))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	want := map[string]string{"": "0 3 * * *", "log": "0 4 * * *"}
	if diff := cmp.Diff(want, Runs(parse(t, text))); diff != "" {
		t.Error(diff)
	}
}

// A28: how old is too old, by a clock that the test sets.
func TestAge(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("here", 3600)
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 11, day, hour, minute, 0, 0, zone) }
	daily := Limit{Schedule: "0 3 * * *", Grace: 2 * time.Hour}
	for name, c := range map[string]struct {
		l          Limit
		taken, now time.Time
		late       bool
	}{
		"fresh":                        {daily, at(20, 3, 0), at(20, 12, 0), false},
		"the next is under way":        {daily, at(20, 3, 0), at(21, 4, 59), false},
		"the next is missing":          {daily, at(20, 3, 0), at(21, 5, 1), true},
		"made by hand":                 {daily, at(20, 14, 0), at(21, 2, 0), false},
		"made by hand, and then none":  {daily, at(20, 14, 0), at(21, 6, 0), true},
		"no schedule":                  {Limit{}, at(1, 0, 0), at(30, 0, 0), false},
		"a limit of its own":           {Limit{Most: 26 * time.Hour}, at(20, 3, 0), at(21, 5, 1), true},
		"a limit instead of schedule":  {Limit{Most: 72 * time.Hour, Schedule: "0 3 * * *"}, at(20, 3, 0), at(22, 3, 0), false},
		"taken by a clock that is off": {daily, at(22, 3, 0), at(21, 6, 0), false},
	} {
		due, p, err := c.l.Age(c.taken, c.now)
		if err != nil || (p != nil) != c.late || c.l.Schedule != "" && !due.After(c.taken) {
			t.Errorf("%s: %v %v %v", name, due, p, err)
		}
		if p != nil && (p.Severity != verify.Error || p.Kind != KindAge) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, _, err := (Limit{Schedule: "never"}).Age(at(1, 0, 0), at(2, 0, 0)); err == nil {
		t.Error("a schedule that is none passes")
	}
	for want, d := range map[string]time.Duration{"5s": 5 * time.Second, "3m": 200 * time.Second, "25h1m": 25*time.Hour + time.Minute, "2d3h": 51 * time.Hour, "-1h0m": -time.Hour} {
		if got := Span(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func papersIn(t *testing.T, tree fstest.MapFS, run *paper.Run, text string) {
	t.Helper()
	data, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	tree[".cairn/run.json"] = &fstest.MapFile{Data: data}
	if text != "" {
		tree[".cairn/source.yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	tree := goodTree()
	if _, err := Read(tree); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no papers: %v", err)
	}
	papersIn(t, tree, goodRun(), "")
	if _, err := Read(tree); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of the papers: %v", err)
	}
	papersIn(t, tree, goodRun(), text)
	p, err := Read(tree)
	if err != nil || p.Run.Source != "cms" {
		t.Fatalf("%+v %v", p, err)
	}
	f, err := p.File()
	if err != nil || len(f.Parts) != 5 {
		t.Errorf("%v", err)
	}
	p.Source = []byte("source: [")
	if _, err := p.File(); err == nil {
		t.Error("a broken source file passes")
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	f := parse(t, text)
	tree := goodTree()
	list, problems, err := Formats(t.Context(), tree, f, goodRun(), verify.Options{})
	if err != nil || len(problems) != 0 || len(list) != 1 || !list[0].Report.Damaged() {
		t.Errorf("a tree that is no bag: %v %v %v", list, problems, err)
	}
	f.Verify[0].Path = "/srv/cms/elsewhere"
	if _, problems, err = Formats(t.Context(), tree, f, goodRun(), verify.Options{}); err != nil || len(problems) != 1 || problems[0].Kind != KindPath {
		t.Errorf("a path that is not there: %v %v", problems, err)
	}
	run := goodRun()
	run.Class = "log"
	if _, problems, err = Formats(t.Context(), tree, f, run, verify.Options{}); err != nil || len(problems) != 0 {
		t.Errorf("in the run of another class: %v %v", problems, err)
	}
	// C1, C12: what a repository wrote lies below the streams of its part, the binaries among them as a tree. All of it is one backup.
	run = goodRun()
	run.Parts[0] = paper.Part{Name: "fedora", Kind: "fedora", Paths: []string{"/.cairn/streams/fedora/binaries"}}
	tree[".cairn/streams/fedora/binaries/bagit.txt"] = &fstest.MapFile{Data: []byte("x")}
	f.Verify[0].Path = "/.cairn/streams/fedora"
	if list, _, err = Formats(t.Context(), tree, f, run, verify.Options{}); err != nil || len(list) != 1 || list[0].Path != "/.cairn/streams/fedora" {
		t.Errorf("a repository: %+v %v", list, err)
	}
}
