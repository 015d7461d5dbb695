package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A part may make what it reads when its turn has come, and judge it afterwards.
func TestPartsBegin(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var order []string
	staged := Part{Name: "export", Begin: func(context.Context) ([]Part, error) {
		order = append(order, "begin")
		write(t, root+"/staging/documents", "exported")
		return []Part{stream("export", Reserved+"/streams/export/list", "one\n", nil), {Name: "export", Paths: []string{root + "/staging"}, End: func(context.Context) error {
			order = append(order, "end")
			return os.RemoveAll(root + "/staging")
		}}}, nil
	}}
	last := stream("last", Reserved+"/streams/last", "end", nil)
	first := stream("db", Reserved+"/streams/db/a.sql", "dump", nil)
	open := first.Open
	first.Open = func(ctx context.Context) (r io.Reader, wait func() error, err error) {
		order = append(order, "db")
		return open(ctx)
	}
	s := newStore()
	report, err := RunParts(t.Context(), s, testOptions(t), []Part{first, staged, last}, nil)
	check(t, err)
	if diff := cmp.Diff([]string{"db", "begin", "end"}, order); diff != "" {
		t.Error(diff)
	}
	if n := s.tree(t, s.commits[0])[root+"/staging/documents"]; n == nil || string(s.bytesOf(t, n)) != "exported" {
		t.Errorf("the export is not in the snapshot: %v", n)
	}
	var paths []string
	for _, p := range report.Parts {
		paths = append(paths, p.Name+" "+strings.Join(p.Paths, " "))
		if p.Absent {
			t.Errorf("part %s is absent", p.Name)
		}
	}
	if diff := cmp.Diff([]string{"db /.cairn/streams/db/a.sql", "export ", "export /.cairn/streams/export/list", "export " + root + "/staging", "last /.cairn/streams/last"}, paths); diff != "" {
		t.Error(diff)
	}
	// A warm pass makes nothing and judges nothing.
	order = nil
	staged.Paths = []string{root}
	if _, err := Warm(t.Context(), s, testOptions(t), []Part{first, staged}); err != nil || len(order) != 0 {
		t.Errorf("%v %v", order, err)
	}
}

func TestPartsBeginFails(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/a/file", "content")
	write(t, root+"/b/file", "other")
	no := errors.New("it says 500")
	good := Part{Name: "good", Paths: []string{root + "/a"}}
	for name, bad := range map[string]Part{
		"begin": {Name: "bad", Begin: func(context.Context) ([]Part, error) { return nil, no }},
		"end":   {Name: "bad", Paths: []string{root + "/b"}, Begin: func(context.Context) ([]Part, error) { return nil, nil }, End: func(context.Context) error { return no }},
		"nested": {Name: "bad", Begin: func(context.Context) ([]Part, error) {
			return []Part{{Name: "bad", Paths: []string{root + "/a/file"}}}, nil
		}},
	} {
		s := newStore()
		_, err := RunParts(t.Context(), s, testOptions(t), []Part{good, bad}, nil)
		if err == nil || name != "nested" && !errors.Is(err, no) || len(s.commits) != 0 {
			t.Errorf("%s: %v, %d snapshots", name, err, len(s.commits))
		}
		if name == "nested" {
			continue
		}
		o := testOptions(t)
		o.AllowPartial = true
		report, err := RunParts(t.Context(), s, o, []Part{good, bad}, nil)
		check(t, err)
		if p := report.Parts[1]; !report.Snapshot.Partial || !strings.Contains(p.Failed, "it says 500") || report.ErrorCount != 1 {
			t.Errorf("%s: %+v, %d errors", name, p, report.ErrorCount)
		}
		if there := s.tree(t, s.commits[0])[root+"/b/file"] != nil; there != (name == "end") {
			t.Errorf("%s: in the snapshot: %v", name, there)
		}
	}
	absent := Part{Name: "absent", Optional: true, Begin: func(context.Context) ([]Part, error) { return nil, fmt.Errorf("it %w", ErrAbsent) }}
	report, err := RunParts(t.Context(), newStore(), testOptions(t), []Part{good, absent}, nil)
	check(t, err)
	if p := report.Parts[1]; !p.Absent || report.Snapshot.Partial || len(p.Warnings) != 1 {
		t.Errorf("%+v", p)
	}
}
