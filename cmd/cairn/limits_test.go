package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/remote"
)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "0": 0, "1000": 1000, "10M": 10 << 20, " 500K/s ": 500 << 10, "1.5G": 3 << 29, "2MiB/s": 2 << 20} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("parseRate(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "-1", "10 apples", "10M/h", "999999P"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("parseRate(%q) = %d", text, got)
		}
	}
}

// lockedBuffer is written to by the watch and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLimitsFollowFile: B12, B21: while a command runs, the limits in the archive file count as they are written. A flag is not overruled, and
// what cannot be read changes nothing.
func TestLimitsFollowFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "archive.yaml")
	write := func(limits string) {
		t.Helper()
		text := "members: [" + dir + "]\n" + limits
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil { // as editors do
			t.Fatal(err)
		}
	}
	write("limits: {upload: 10M, download: 2M}\n")
	var out lockedBuffer
	e := &env{stderr: &out, getenv: func(string) string { return "" }, pollLimits: 5 * time.Millisecond}
	app := newApp(e)
	ctx, stop := context.WithCancel(t.Context())
	until := func(what string, ok func() bool) {
		t.Helper()
		for range 400 {
			if ok() {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("%s did not happen: up %v, down %v, output %q", what, e.up, e.down, out.String())
	}
	// `cairn version` does nothing with an archive, so that its context can be used to make members as a command would.
	for _, cmd := range app.Commands {
		if cmd.Name == "version" {
			cmd.Action = func(c *cli.Context) error {
				p, err := e.where(c)
				if err != nil {
					return err
				}
				members, err := e.openMembers(c, p, p.members)
				if err != nil || len(members) != 1 || members[0].Err != nil {
					t.Errorf("members: %v, %v", members, err)
				}
				return nil
			}
		}
	}
	if err := app.RunContext(ctx, []string{"cairn", "version", "--archive", file, "--limit-download", "7K"}); err != nil {
		t.Fatal(err)
	}
	if e.up.Limit() != 10<<20 || e.down.Limit() != 7<<10 {
		t.Errorf("limits at first: %v, %v", e.up, e.down)
	}
	write("limits: {upload: 3K, download: 9M}\n")
	until("a new limit", func() bool {
		return e.up.Limit() == 3<<10 && strings.Contains(out.String(), "upload 3.0 KiB/s, download 7.0 KiB/s")
	})
	write("limits: {upload: much}\n")
	until("a warning", func() bool {
		return strings.Contains(out.String(), `the limits stay as they are: limits: upload: "much" is not a rate`)
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if e.up.Limit() != 3<<10 || e.down.Limit() != 7<<10 {
		t.Errorf("limits after nonsense: %v, %v", e.up, e.down)
	}
	write("")
	until("no limit", func() bool { return e.up.Limit() == 0 })
	if e.down.Limit() != 7<<10 {
		t.Errorf("the flag was overruled: %v", e.down)
	}
	stop()
	e.tasks.Wait()
}

func TestMemberRelativeTo(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		"a/b": "/dir/a/b", "/a": "/a", "s3://h/bucket?region=x": "s3://h/bucket?region=x", "s3://h/bucket?ca=/ca.pem": "s3://h/bucket?ca=/ca.pem",
	} {
		if got := memberRelativeTo("/dir", member); got != want {
			t.Errorf("%s: %s, want %s", member, got, want)
		}
	}
	u, err := remote.ParseURL(memberRelativeTo("/dir", "s3://h/bucket/p?ca=ca.pem&credentials=../keys&region=x"))
	if err != nil || u.Query.Get("ca") != "/dir/ca.pem" || u.Query.Get("credentials") != "/keys" || u.Query.Get("region") != "x" || u.Prefix != "p" {
		t.Errorf("%v, %v", u, err)
	}
}
