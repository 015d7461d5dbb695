package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCutTime: @TIME behind a name is taken off, unless the whole name is that of something there, or no time follows.
func TestCutTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "archive@2026-11-20")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	e := &env{now: func() time.Time { return time.Unix(1_800_000_000, 0).UTC() }}
	for name, want := range map[string][2]string{
		there:                                 {there, ""},
		dir + "/other@2026-11-20":             {dir + "/other", "2026-11-20"},
		dir + "/file.yaml@2026-11-20T03:00":   {dir + "/file.yaml", "2026-11-20T03:00"},
		"s3://h/b?region=x@2026-11-20T03:00Z": {"s3://h/b?region=x", "2026-11-20T03:00Z"},
		"s3://h/b":                            {"s3://h/b", ""},
		dir + "/me@home":                      {dir + "/me@home", ""},
		"@2026-11-20":                         {"@2026-11-20", ""},
		"":                                    {"", ""},
	} {
		if bare, text := e.cutTime(name); bare != want[0] || text != want[1] {
			t.Errorf("%q: %q, %q; want %q", name, bare, text, want)
		}
	}
}
