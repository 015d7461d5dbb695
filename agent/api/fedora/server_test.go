package fedora

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/agent/secret"
	"cairn/remote"
)

// backend notes what it is asked for.
type backend struct {
	did  chan string
	err  error
	wait chan struct{} // jobs wait for it; nil: they do not
	ctx  chan error    // gets why the context of a job that waits ended
}

func newBackend() *backend { return &backend{did: make(chan string, 10)} }

func (b *backend) job(ctx context.Context, what string) error {
	b.did <- what
	if b.wait != nil {
		select {
		case <-b.wait:
		case <-ctx.Done():
			b.ctx <- ctx.Err()
			return ctx.Err()
		}
	}
	return b.err
}

func (b *backend) Backup(ctx context.Context, name, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "documents_000001.bin.gz"), nil, 0o600); err != nil {
		return err
	}
	return b.job(ctx, "backup "+name+" "+dir)
}

func (b *backend) Restore(ctx context.Context, name, dir string) error {
	return b.job(ctx, "restore "+name+" "+dir)
}

func start(t *testing.T, b *backend, o Options) (*Server, *httptest.Server) {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	s, err := New(b, o)
	must(t, err)
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return s, h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// post is what curl does.
func post(t *testing.T, url, body string, headers ...string) (int, string) {
	t.Helper()
	var in io.Reader
	if body != "-" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, in)
	must(t, err)
	if body != "-" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded") // curl -d
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(data)
}

// C1, C5, C6: 200 with the canonical path of the directory that was named, or of one that was made.
func TestBackup(t *testing.T) {
	t.Parallel()
	b := newBackend()
	s, h := start(t, b, Options{Sources: []string{"cms"}})
	dir := filepath.Join(s.root, "today")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Symlink("today", filepath.Join(s.root, "link")))
	status, body := post(t, h.URL+"/rest/fcr:backup", filepath.Join(s.root, "link")+"\n")
	if did := <-b.did; status != 200 || body != dir || did != "backup  "+dir {
		t.Errorf("%d %q, did %q", status, body, did)
	}
	status, body = post(t, h.URL+"/fcrepo/rest/cms/fcr:backup", "-")
	if did := <-b.did; status != 200 || filepath.Dir(body) != s.root || did != "backup cms "+body {
		t.Errorf("%d %q, did %q", status, body, did)
	}
	if _, err := os.Stat(filepath.Join(body, "documents_000001.bin.gz")); err != nil {
		t.Error(err)
	}
	resp, err := http.Get(h.URL + "/rest")
	must(t, err)
	if resp.Body.Close(); resp.StatusCode != 200 {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

// C2, C9, C10: 204 without a body, when restores are allowed.
func TestRestore(t *testing.T) {
	t.Parallel()
	b := newBackend()
	s, h := start(t, b, Options{AllowRestore: true})
	dir := filepath.Join(s.root, "today")
	must(t, os.Mkdir(dir, 0o755))
	status, body := post(t, h.URL+"/rest/fcr:restore", dir)
	if did := <-b.did; status != 204 || body != "" || did != "restore  "+dir {
		t.Errorf("%d %q, did %q", status, body, did)
	}
}

// C1, C2, C17: what goes wrong is told with Fedora's statuses and words, and the reason.
func TestRefused(t *testing.T) {
	t.Parallel()
	b := newBackend()
	s, h := start(t, b, Options{AllowRestore: true})
	outside := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(s.root, "out")))
	must(t, os.MkdirAll(filepath.Join(s.root, "full", "x"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.root, "file"), nil, 0o600))
	const unwritable, absent = "Backup directory does not exist or is not writable: ", "Backup directory does not exist: "
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/rest/fcr:backup", s.root + "/absent", 500, unwritable + s.root + "/absent\nit must lie below " + s.root},
		{"/rest/fcr:backup", s.root + "/file", 500, unwritable},
		{"/rest/fcr:backup", s.root + "/full", 500, "it is not empty"},
		{"/rest/fcr:backup", s.root, 500, unwritable},
		{"/rest/fcr:backup", outside, 500, "it must lie below"},
		{"/rest/fcr:backup", s.root + "/full/../../" + filepath.Base(outside), 500, "it must lie below"},
		{"/rest/fcr:backup", s.root + "/out", 500, "it must lie below"},
		{"/rest/fcr:backup", "relative", 500, "not absolute"},
		{"/rest/fcr:backup", s.root + "/\x00", 500, "not absolute"},
		{"/rest/fcr:backup", strings.Repeat("x", maxBody+1), 413, "path of a directory"},
		{"/rest/absent/fcr:backup", s.root, 404, "no source absent"},
		{"/rest/fcr:restore", "-", 500, "Request body must not be null"},
		{"/rest/fcr:restore", "", 500, absent + s.root},
		{"/rest/fcr:restore", s.root + "/absent", 500, absent + s.root + "/absent"},
		{"/rest/fcr:restore", s.root + "/out", 500, absent},
		{"/rest/fcr:other", "", 404, ""},
	} {
		status, body := post(t, h.URL+c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %.40q: %d %q, want %d %q", c.path, c.body, status, body, c.status, c.says)
		}
	}
	if len(b.did) > 0 {
		t.Errorf("did %q", <-b.did)
	}
	resp, err := http.Get(h.URL + "/rest/fcr:backup")
	must(t, err)
	if resp.Body.Close(); resp.StatusCode != 405 {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	b.err = remote.WithHint(errors.New("part db: pg_dump ended with exit status 1"), "see its log")
	status, body := post(t, h.URL+"/rest/fcr:backup", "-")
	if status != 500 || body != "part db: pg_dump ended with exit status 1\nhint: see its log" {
		t.Errorf("%d %q", status, body)
	}
	entries, err := os.ReadDir(s.root)
	must(t, err)
	if len(entries) != 3 {
		t.Errorf("a directory of a failed backup is left: %v", entries)
	}
}

// C8: a restore replaces what there is, and has to be allowed.
func TestRestoreIsNotAllowed(t *testing.T) {
	t.Parallel()
	b := newBackend()
	s, h := start(t, b, Options{})
	must(t, os.Mkdir(filepath.Join(s.root, "x"), 0o755))
	if status, body := post(t, h.URL+"/rest/fcr:restore", s.root+"/x"); status != 403 || !strings.Contains(body, "--allow-restore") || len(b.did) > 0 {
		t.Errorf("%d %q", status, body)
	}
}

// Who may ask: nobody without the password; without one nobody but this machine, and no web page in its browser.
func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	_, open := start(t, newBackend(), Options{})
	for _, headers := range [][]string{{"Host", "evil.example"}, {"Host", "10.0.0.1:8080"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		if status, body := post(t, open.URL+"/rest/fcr:backup", "-", headers...); status != 403 {
			t.Errorf("%q: %d %q", headers, status, body)
		}
	}
	for _, host := range []string{"localhost", "localhost:8080", "127.0.0.1", "[::1]:8080", "[::1]"} {
		if status, body := post(t, open.URL+"/rest/fcr:backup", "-", "Host", host); status != 200 {
			t.Errorf("%s: %d %q", host, status, body)
		}
	}
	b := newBackend()
	_, h := start(t, b, Options{User: "fedoraAdmin", Password: secret.Hide("right")})
	at := strings.Replace(h.URL, "//", "//fedoraAdmin:right@", 1)
	if status, body := post(t, at+"/rest/fcr:backup", "-", "Host", "backup.example"); status != 200 {
		t.Errorf("%d %q", status, body)
	}
	<-b.did
	for _, wrong := range []string{"//", "//fedoraAdmin:wrong@", "//other:right@"} {
		if status, _ := post(t, strings.Replace(h.URL, "//", wrong, 1)+"/rest/fcr:backup", "-"); status != 401 || len(b.did) > 0 {
			t.Errorf("%s: %d", wrong, status)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"no root": {}, "absent": {Root: t.TempDir() + "/absent"}, "no password": {Root: t.TempDir(), User: "x"}} {
		if _, err := New(newBackend(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, err := New(newBackend(), Options{Root: t.TempDir()})
	must(t, err)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	if err := s.Serve(t.Context(), l); err == nil || !strings.Contains(remote.Hint(err), "127.0.0.1") {
		t.Errorf("serves everybody: %v", err)
	}
}

// One job at a time; it goes on when its client is gone, and the end of the server waits for it.
func TestOneJobAndEnd(t *testing.T) {
	t.Parallel()
	b := newBackend()
	b.wait, b.ctx = make(chan struct{}), make(chan error, 1)
	s, err := New(b, Options{Root: t.TempDir(), Grace: 20 * time.Second})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	url := "http://" + l.Addr().String() + "/rest/fcr:backup"
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	client, giveUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(client, http.MethodPost, url, nil)
	must(t, err)
	gone := make(chan struct{})
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		close(gone)
	}()
	<-b.did
	if status, body := post(t, url, "-"); status != 409 || !strings.Contains(body, "a backup is at work since") {
		t.Errorf("%d %q", status, body)
	}
	giveUp()
	<-gone
	end()
	select {
	case err := <-served:
		t.Fatalf("ended while a job was at work: %v", err)
	case why := <-b.ctx:
		t.Fatalf("the job was ended: %v", why)
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := http.Post(url, "", nil); err == nil {
		t.Error("a request was taken while the server ends")
	}
	close(b.wait)
	must(t, <-served)
}

// After Grace the job is told to end.
func TestGrace(t *testing.T) {
	t.Parallel()
	b := newBackend()
	b.wait, b.ctx = make(chan struct{}), make(chan error, 1)
	s, err := New(b, Options{Root: t.TempDir(), Grace: 50 * time.Millisecond})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	go func() {
		if resp, err := http.Post("http://"+l.Addr().String()+"/rest/fcr:backup", "", nil); err == nil {
			resp.Body.Close()
		}
	}()
	<-b.did
	end()
	if why := <-b.ctx; !errors.Is(why, context.Canceled) {
		t.Error(why)
	}
	must(t, <-served)
}
