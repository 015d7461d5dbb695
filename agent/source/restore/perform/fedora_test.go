package perform

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/agent/source/fedora"
	"cairn/agent/source/restore"
	"cairn/tests/fixture"
)

// repository answers as Fedora 4 does (F2).
type repository struct {
	t        *testing.T
	status   int // of a restore
	restored []string
}

func (f *repository) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	dir := strings.TrimSpace(string(body))
	if strings.HasSuffix(r.URL.Path, "fcr:backup") {
		fixture.ModeShape(f.t, dir, fixture.ModeShapeOptions{})
		_, _ = fmt.Fprint(w, dir)
		return
	}
	if f.status != 204 {
		http.Error(w, "Error restoring: BatchUpdateException", f.status)
		return
	}
	f.restored = nil
	_ = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			f.restored = append(f.restored, strings.TrimPrefix(name, dir+"/"))
		}
		return err
	})
	w.WriteHeader(204)
}

type client struct{}

func (client) Restore(ctx context.Context, r Repository) ([]string, error) {
	done, err := fedora.Restore(ctx, r.Part.Fedora, fedora.RestoreOptions{Name: r.Name, Fill: r.Fill, Consent: true, Force: r.Force})
	if done == nil {
		return nil, err
	}
	return done.Warnings, err
}

// C2, C8: a repository gets back the directory that it wrote, and an answer other than 204 is a failure that is shown.
func TestFedora(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := &repository{t: t, status: 204}
	server := httptest.NewServer(f)
	defer server.Close()
	check(t, os.Mkdir(filepath.Join(w.dir, "staging"), 0o755))
	file := w.parse("source: app\nparts: [{name: repo, fedora: {url: '" + server.URL + "/rest', staging: DIR/staging}}]\nrestore: {steps: [{name: start, shell: 'echo started >DIR/log'}]}")
	s := w.run(file)
	n := &teller{}
	tools := n.tools()
	tools.Fedora, tools.Consent = client{}, yes
	p := w.plan(s, file, restore.Options{})
	if len(p.Trees) > 0 { // the binaries are for the repository, and not for /.cairn on this machine
		t.Errorf("files: %s to %s", p.Trees[0].From, p.Trees[0].To)
	}
	if r, err := Execute(t.Context(), []*restore.Plan{p}, tools, nil); err != nil || r.Databases != 1 {
		t.Fatalf("%+v, %v\n%s", r, err, n.text())
	}
	binary := slices.ContainsFunc(f.restored, func(name string) bool {
		return strings.HasPrefix(name, "binaries/") && strings.HasSuffix(name, ".bin")
	})
	if !binary || !slices.Contains(f.restored, "documents_000001.bin") {
		t.Errorf("the repository found %v", f.restored)
	}
	w.remove("log")
	f.status = 500
	_, err := Execute(t.Context(), []*restore.Plan{w.plan(s, file, restore.Options{})}, tools, nil)
	if err == nil || !strings.Contains(err.Error(), "BatchUpdateException") || w.read("log") != "" {
		t.Errorf("%v", err)
	}
	left, _ := os.ReadDir(filepath.Join(w.dir, "staging"))
	if len(left) > 0 {
		t.Errorf("%d directories are left in the staging directory", len(left))
	}
	beside := w.plan(s, file, restore.Options{To: w.dir + "/beside"})
	f.status, f.restored = 204, nil
	if _, err := Execute(t.Context(), []*restore.Plan{beside}, tools, nil); err != nil || f.restored != nil || w.read("beside/.cairn/streams/repo/documents_000001.bin") == "" {
		t.Errorf("beside: %v, %v", err, f.restored)
	}
}
