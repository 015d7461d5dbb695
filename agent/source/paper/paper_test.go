package paper

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A3: what a snapshot says about its run can be read back, also when a newer program has added to it.
func TestReadBack(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 2, 0, 0, 5, time.UTC)
	want := &Run{Version: Version, Source: "app", Host: "h", RanOn: "m", Series: "h/app", Began: at, Ended: at.Add(time.Minute),
		Stop: &Window{at, at.Add(5 * time.Second)}, Warm: &Warm{Began: at, Ended: at, Files: 1},
		Parts: []Part{{Name: "db", Kind: "postgres", Class: "data", Streams: []Stream{{File: "a.sql", Path: StreamPath("db", "a.sql"), Databases: []string{"a"}, Bytes: 7}},
			Tools: map[string]string{"pg_dump": "15"}, Began: at, Ended: at}},
		LeftOut: []Part{{Name: "state", Kind: "tree", Class: "never"}},
		Hooks:   []Hook{{Stage: "before", Name: "stop", Began: at, Ended: at, Outcome: "done"}}}
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(fstest.MapFS{".cairn/run.json": {Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p, ok := got.Find("db"); !ok || p.Streams[0].Path != "/.cairn/streams/db/a.sql" {
		t.Errorf("%+v", p)
	}
	if _, ok := got.Find("none"); ok || got.Stop.Duration() != 5*time.Second || (*Window)(nil).Duration() != 0 {
		t.Error(got.Stop.Duration())
	}
	if _, err := Parse([]byte(`{"version":1,"source":"a","new":{"key":[1]},"parts":null}`)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "{}", `{"version":2}`, `{"version":1`, `{"version":1,"parts":7}`} {
		if r, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	if _, err := Read(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
