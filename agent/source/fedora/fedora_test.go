package fedora

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/remote"
	"cairn/tests/fixture"
)

func repository(t *testing.T, f *fixture.Fedora) (*fixture.Fedora, *source.Fedora) {
	t.Helper()
	f.Start(t)
	return f, &source.Fedora{URL: f.URL, Staging: t.TempDir()}
}

func check1(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, remote.Hint(err))
	}
}

// empty fails when the staging directory holds anything.
func empty(t *testing.T, part *source.Fedora) {
	t.Helper()
	entries, err := os.ReadDir(part.Staging)
	check1(t, err)
	if len(entries) > 0 {
		t.Errorf("%s was left in the staging directory", entries[0].Name())
	}
}

// contents reads the streams and lists the binaries of a staged backup.
func contents(t *testing.T, s *Staged) (streams map[string]string, binaries string) {
	t.Helper()
	streams = map[string]string{}
	for _, p := range s.Parts("fedora", "/.cairn/streams/fedora") {
		if len(p.Paths) > 0 {
			binaries = p.Paths[0] + " " + p.As
			continue
		}
		src, wait, err := p.Open(t.Context())
		check1(t, err)
		data, err := io.ReadAll(src)
		check1(t, errors.Join(err, wait()))
		streams[strings.TrimPrefix(p.File, "/.cairn/streams/fedora/")] = string(data)
	}
	return streams, binaries
}

// C1, C5, C6, C7, C13, C14: the repository writes into a directory that was made for it; documents come out inflated, changes, too.
func TestBackup(t *testing.T) {
	t.Parallel()
	f, part := repository(t, &fixture.Fedora{Content: fixture.ModeShapeOptions{Changes: 3, Double: true}})
	s, err := Backup(t.Context(), part, Options{Name: "repo/fedora"})
	check1(t, err)
	if got := f.Posts(); len(got) != 1 || got[0] != "fcr:backup "+s.Dir {
		t.Errorf("posted %q", got)
	}
	streams, binaries := contents(t, s)
	if want := s.Dir + "/binaries /.cairn/streams/fedora/binaries"; binaries != want {
		t.Errorf("binaries: %q, want %q", binaries, want)
	}
	lines := 0
	var names []string
	for name, data := range streams {
		names = append(names, name)
		if strings.HasPrefix(name, "documents_") {
			lines += strings.Count(data, "\n")
		}
	}
	if len(names) != 5 || lines != 26 {
		t.Errorf("%d lines in %q", lines, names)
	}
	if data := streams["changes/documents_000001.bin"]; strings.Count(data, "changed meanwhile") != 3 {
		t.Errorf("changes: %q", data)
	}
	if s.Bytes == 0 || s.Report.Counts["documents"] != 26 || s.Report.Counts["binaries"] != 4 {
		t.Errorf("%d bytes, %v", s.Bytes, s.Report.Counts)
	}
	check1(t, s.Close())
	empty(t, part)
}

// C5, C6: in a container the server sees the staging directory elsewhere, through a link, and answers with what that leads to.
func TestBackupThroughPathMapAndLink(t *testing.T) {
	t.Parallel()
	f := &fixture.Fedora{}
	_, part := repository(t, &fixture.Fedora{})
	f.See = func(p string) string { return strings.Replace(p, "/bkup", part.Staging, 1) }
	f.Say = func(p string) string { return "/mnt/volume" + strings.TrimPrefix(p, part.Staging) }
	f.Start(t)
	part.URL = f.URL
	part.PathMap = []source.PathMap{{Local: filepath.Dir(part.Staging), Remote: "/wrong"}, {Local: part.Staging, Remote: "/bkup"}}
	s, err := Backup(t.Context(), part, Options{Name: "x"})
	check1(t, err)
	if !strings.HasPrefix(s.Remote, "/bkup/cairn-x-") || !strings.HasPrefix(s.Answered, "/mnt/volume/cairn-x-") {
		t.Errorf("sent %s, answered %s", s.Remote, s.Answered)
	}
	check1(t, s.Close())
	empty(t, part)
}

// C1, C17: each way to fail is told with what the server said and what to do, and nothing is left in the staging directory.
func TestBackupRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fedora     *fixture.Fedora
		change     func(*source.Fedora)
		says, hint string
	}{
		"problems":       {&fixture.Fedora{Problems: []string{"cannot write a", "cannot write b"}}, nil, "status 500: cannot write a\ncannot write b", "log"},
		"not there":      {&fixture.Fedora{}, func(p *source.Fedora) { p.PathMap = []source.PathMap{{Local: p.Staging, Remote: "/absent"}} }, "does not exist or is not writable: /absent/cairn-", "path_map"},
		"no user":        {&fixture.Fedora{User: "fedoraAdmin", Password: "right"}, nil, "status 401, with a web page: 401 Unauthorized", "wants a user"},
		"Fedora 6":       {&fixture.Fedora{Status: 404}, nil, "status 404: Not Found", "fedora6"},
		"Fedora 6, 405":  {&fixture.Fedora{Status: 405}, nil, "status 405", "OCFL"},
		"proxy":          {&fixture.Fedora{Status: 504}, nil, "status 504: Gateway Timeout", "without the proxy"},
		"login page":     {&fixture.Fedora{HTML: true}, nil, "not with the path of a backup, with a web page: Sign in. Welcome & sign in", "login page"},
		"temp directory": {&fixture.Fedora{Temp: true}, nil, "says that it wrote to /", "dropped the body"},
		"elsewhere here": {&fixture.Fedora{Say: func(p string) string { return filepath.Dir(p) + "/other" }}, nil, "not this run's directory", ""},
		"nowhere":        {&fixture.Fedora{}, func(p *source.Fedora) { p.URL = "http://127.0.0.1:1/rest" }, "connection refused", "running"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, part := repository(t, c.fedora)
			if c.change != nil {
				c.change(part)
			}
			_, err := Backup(t.Context(), part, Options{Name: "x"})
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(remote.Hint(err), c.hint) {
				t.Errorf("%v\nhint: %s", err, remote.Hint(err))
			}
			empty(t, part)
		})
	}
}

// C1, D3: user and password go by Basic authentication, and appear in no message.
func TestBackupWithPassword(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "password")
	check1(t, os.WriteFile(secret, []byte("right\n"), 0o600))
	_, part := repository(t, &fixture.Fedora{User: "fedoraAdmin", Password: "right"})
	part.User, part.Password = "fedoraAdmin", &source.Secret{File: secret}
	s, err := Backup(t.Context(), part, Options{Name: "x"})
	check1(t, err)
	check1(t, s.Close())
	check1(t, os.WriteFile(secret, []byte("wrong-secret\n"), 0o600))
	_, err = Backup(t.Context(), part, Options{Name: "x"})
	if err == nil || strings.Contains(err.Error()+remote.Hint(err), "wrong-secret") || !strings.Contains(remote.Hint(err), "user and password") {
		t.Errorf("%v (hint: %s)", err, remote.Hint(err))
	}
	empty(t, part)
}

// C11, C12: a backup from which a restore would lose something is none, and is removed; forced, it comes with its damage.
func TestDamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	for _, d := range fixture.ModeShapeDefects() {
		switch d.Name {
		case "other name among the binaries", "both variants of a file", "duplicate id", "metadata twice and different":
			continue // a restore loses nothing, or takes them out
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			_, part := repository(t, &fixture.Fedora{Hurt: d.Apply})
			if _, err := Backup(t.Context(), part, Options{Name: "x"}); !errors.Is(err, ErrDamaged) {
				t.Errorf("error %v", err)
			}
			empty(t, part)
			s, err := Backup(t.Context(), part, Options{Name: "x", Damaged: true})
			check1(t, err)
			if !s.Report.Damaged() || !strings.Contains(s.Failed, "the backup is damaged") {
				t.Errorf("nothing is told: %q", s.Failed)
			}
			check1(t, s.Close())
			empty(t, part)
		})
	}
}

// C6: a backup may take hours, and ends when the caller ends it or the time-out of the part does; what there is by then is removed.
func TestBackupEnds(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"cancelled", "time-out"} {
		f := &fixture.Fedora{Wait: make(chan struct{}), Arrived: make(chan struct{}, 1)}
		_, part := repository(t, &fixture.Fedora{})
		part.URL = f.Start(t).URL
		ctx, cancel := context.WithCancel(t.Context())
		if way == "time-out" {
			part.Timeout = 200 * time.Millisecond
		} else {
			go func() { <-f.Arrived; cancel() }()
		}
		_, err := Backup(ctx, part, Options{Name: "x"})
		cancel()
		close(f.Wait)
		if err == nil || !strings.Contains(remote.Hint(err), "the server goes on") {
			t.Errorf("%s: %v (hint: %s)", way, err, remote.Hint(err))
		}
		if way == "cancelled" && !errors.Is(err, context.Canceled) || way == "time-out" && !strings.Contains(err.Error(), "no answer within 200ms") {
			t.Errorf("%s: %v", way, err)
		}
		empty(t, part)
	}
}

// C18: when what the last backup took is not free, the server is not asked.
func TestBackupNeedsRoom(t *testing.T) {
	t.Parallel()
	f, part := repository(t, &fixture.Fedora{})
	o := Options{Name: "x", Estimate: 1000 << 20, free: func(string) (int64, error) { return 1099 << 20, nil }}
	_, err := Backup(t.Context(), part, o)
	if err == nil || !strings.Contains(err.Error(), "1099 MiB free, the last backup took 1000 MiB") || len(f.Posts()) > 0 {
		t.Errorf("%v, posts %q", err, f.Posts())
	}
	empty(t, part)
	o.free = func(string) (int64, error) { return 1101 << 20, nil }
	s, err := Backup(t.Context(), part, o)
	check1(t, err)
	check1(t, s.Close())
	o.Estimate, o.Memo = 0, filepath.Join(t.TempDir(), "state", "x")
	s, err = Backup(t.Context(), part, o)
	check1(t, err)
	check1(t, s.Close())
	o.free = func(string) (int64, error) { return s.Bytes, nil }
	if got := recall(o.Memo); got != s.Bytes || got == 0 {
		t.Errorf("%d bytes were remembered, it took %d", got, s.Bytes)
	}
	fixture.Write(t, o.Memo, []byte("2000000000\n"))
	if _, err := Backup(t.Context(), part, o); err == nil || !strings.Contains(err.Error(), "took 1907 MiB") {
		t.Errorf("what was remembered does not count: %v", err)
	}
	for _, bad := range []string{"", "-5", "many", strings.Repeat("9", 40)} {
		fixture.Write(t, o.Memo, []byte(bad))
		if got := recall(o.Memo); got != 0 {
			t.Errorf("%q is %d", bad, got)
		}
	}
	if n, err := free(part.Staging); err != nil || n <= 0 {
		t.Errorf("%d bytes free, %v", n, err)
	}
}

// C18: what a run that was killed left is removed by the next; what a living one has, what others made and what links lead to stays.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	_, part := repository(t, &fixture.Fedora{})
	alive, err := Backup(t.Context(), part, Options{Name: "x"})
	check1(t, err)
	dead := filepath.Join(part.Staging, prefix("x")+strings.Repeat("0", 32))
	outside := t.TempDir()
	fixture.Write(t, filepath.Join(outside, "precious"), nil)
	fixture.Write(t, filepath.Join(dead, "documents_000001.bin.gz"), nil)
	check1(t, os.Symlink(outside, filepath.Join(dead, "binaries")))
	link := filepath.Join(part.Staging, prefix("x")+strings.Repeat("1", 32))
	check1(t, os.Symlink(outside, link))
	other := filepath.Join(part.Staging, prefix("x-y")+strings.Repeat("0", 32))
	check1(t, os.Mkdir(other, 0o700))
	s, err := Backup(t.Context(), part, Options{Name: "x"})
	check1(t, err)
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], filepath.Base(dead)) {
		t.Errorf("warnings %q", s.Warnings)
	}
	check1(t, s.Close())
	entries, err := os.ReadDir(part.Staging)
	check1(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, filepath.Join(part.Staging, e.Name()))
	}
	want := map[string]bool{alive.Dir: true, link: true, other: true}
	for _, name := range left {
		if !want[name] {
			t.Errorf("%s is left", name)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("removed: %v", want)
	}
	check1(t, alive.Close())
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
}

func TestPathMap(t *testing.T) {
	t.Parallel()
	m := []source.PathMap{{Local: "/srv", Remote: "/a"}, {Local: "/srv/bkup/", Remote: "/bkup"}}
	for local, want := range map[string]string{"/srv/bkup/x": "/bkup/x", "/srv/bkup": "/bkup", "/srv/bkupper": "/a/bkupper", "/other": "/other"} {
		if got := toRemote(m, local); got != want {
			t.Errorf("%s is %s, want %s", local, got, want)
		}
		if got := toLocal(m, want); got != local {
			t.Errorf("%s is back %s, want %s", want, got, local)
		}
	}
	if got := toRemote([]source.PathMap{{Local: "/", Remote: "/host"}}, "/a/b"); got != "/host/a/b" {
		t.Error(got)
	}
}

// modes: the server must be able to write, others must not.
func TestModes(t *testing.T) {
	t.Parallel()
	st := t.TempDir()
	check1(t, os.Chmod(st, 0o770|fs.ModeSetgid))
	s, _, err := newStaging(&source.Fedora{Staging: st}, "../we ird/")
	check1(t, err)
	if got, want := s.made.Mode().Perm(), fs.FileMode(0o700); got != want {
		t.Errorf("made with mode %v", got)
	}
	info, err := os.Stat(s.dir)
	check1(t, err)
	if diff := cmp.Diff(fs.ModeDir|fs.ModeSetgid|0o770, info.Mode()); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(filepath.Base(s.dir), "cairn-we-ird-") {
		t.Error(s.dir)
	}
	check1(t, s.remove())
	check1(t, s.remove())
	if _, _, err := newStaging(&source.Fedora{Staging: st, Owner: "nobody-of-that-name"}, "x"); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Error(err)
	}
	if _, _, err := newStaging(&source.Fedora{Staging: st + "/absent"}, "x"); err == nil || remote.Hint(err) == "" {
		t.Error(err)
	}
}

// The source file in docs/fedora.md is one.
func TestDocumentedSource(t *testing.T) {
	t.Parallel()
	text := string(fixture.Read(t, "../../../docs/fedora.md"))
	_, text, _ = strings.Cut(text, "```yaml\n")
	text, _, found := strings.Cut(text, "```")
	f, err := source.Parse("repository.yaml", []byte(text), source.ParseOptions{})
	if err != nil || !found {
		t.Fatal(err)
	}
	if got := toRemote(f.Parts[0].Fedora.PathMap, f.Parts[0].Fedora.Staging+"/x"); got != "/bkup/x" {
		t.Error(got)
	}
}
