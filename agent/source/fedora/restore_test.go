package fedora

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cairn/agent/format/modeshape"
	"cairn/remote"
	"cairn/tests/fixture"
)

// fill writes a backup, as restoring a snapshot would.
func fill(t *testing.T, o fixture.ModeShapeOptions, hurt func(testing.TB, string)) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		fixture.ModeShape(t, dir, o)
		if hurt != nil {
			hurt(t, dir)
		}
		return nil
	}
}

// C2, C9, C10: the directory is written, verified and posted; 204 is success, and everything is back.
func TestRestore(t *testing.T) {
	t.Parallel()
	f, part := repository(t, &fixture.Fedora{})
	r, err := Restore(t.Context(), part, RestoreOptions{Name: "x", Consent: true, Fill: fill(t, fixture.ModeShapeOptions{Plain: true, Changes: 2}, nil)})
	check1(t, err)
	if got := f.Posts(); len(got) != 1 || got[0] != "fcr:restore "+r.Remote || !r.Posted {
		t.Errorf("posted %q", got)
	}
	if docs, bins := f.Has(); docs != 25 || bins != 4 {
		t.Errorf("the repository has %d documents and %d binaries", docs, bins)
	}
	if got := f.Document("87a0a8c317f1e700000001"); !strings.Contains(got, "changed meanwhile") {
		t.Errorf("changes were not put last: %s", got)
	}
	empty(t, part)
}

// C8: a restore replaces everything, so nothing is written and nobody asked without consent.
func TestNoPostWithoutConsent(t *testing.T) {
	t.Parallel()
	f, part := repository(t, &fixture.Fedora{})
	filled := false
	o := RestoreOptions{Name: "x", Fill: func(ctx context.Context, dir string) error {
		filled = true
		return fill(t, fixture.ModeShapeOptions{}, nil)(ctx, dir)
	}}
	if _, err := Restore(t.Context(), part, o); !errors.Is(err, ErrNoConsent) || filled {
		t.Errorf("%v, filled: %v", err, filled)
	}
	o.DryRun = true
	r, err := Restore(t.Context(), part, o)
	check1(t, err)
	if r.Posted || r.Report.Counts["documents"] != 25 {
		t.Errorf("%+v", r)
	}
	if got := f.Posts(); len(got) > 0 {
		t.Errorf("posted %q", got)
	}
	empty(t, part)
}

// C9, C11, C17: what Fedora would have answered 204 to and lost is not posted; what would make it fail is.
func TestDamagedBackupIsNotPosted(t *testing.T) {
	t.Parallel()
	silent := 0
	for _, d := range fixture.ModeShapeDefects() {
		f, part := repository(t, &fixture.Fedora{})
		o := RestoreOptions{Name: "x", Consent: true, Fill: fill(t, fixture.ModeShapeOptions{}, d.Apply)}
		r, err := Restore(t.Context(), part, o)
		switch d.Name {
		case "other name among the binaries", "both variants of a file", "duplicate id", "metadata twice and different":
			if check1(t, err); !r.Posted {
				t.Errorf("%s: not posted", d.Name)
			}
			continue
		}
		if !errors.Is(err, ErrDamaged) || len(f.Posts()) > 0 || !strings.Contains(err.Error(), "the repository is as it was") {
			t.Errorf("%s: %v, posts %q", d.Name, err, f.Posts())
		}
		o.Force = true
		r, err = Restore(t.Context(), part, o)
		check1(t, err)
		if len(r.Warnings) == 0 {
			t.Errorf("%s: nothing is told", d.Name)
		}
		if docs, bins := f.Has(); r.Posted && (docs < 25 || bins < 4) {
			silent++
		}
		empty(t, part)
	}
	if silent < 5 {
		t.Errorf("only %d of the defects make a restore lose something without a word: the reader of the fixture is too strict", silent)
	}
}

// C2: every answer but 204 is a failure that shows what the server said.
func TestRestoreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fedora     *fixture.Fedora
		says, hint string
	}{
		"problems": {&fixture.Fedora{Problems: []string{"BatchUpdateException", "87a0a8c317f1e7jcr:system/mode:metadata"}}, "87a0a8c317f1e7jcr:system/mode:metadata", "log"},
		"404":      {&fixture.Fedora{Status: 404}, "status 404", "fedora6"},
		"200":      {&fixture.Fedora{Status: 200}, "status 200: OK", ""},
		"html":     {&fixture.Fedora{HTML: true}, "Sign in", ""},
		"redirect": {&fixture.Fedora{Status: 302}, "status 302", "final address"},
	} {
		_, part := repository(t, c.fedora)
		r, err := Restore(t.Context(), part, RestoreOptions{Name: "x", Consent: true, Fill: fill(t, fixture.ModeShapeOptions{}, nil)})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(remote.Hint(err), c.hint) || r.Posted || !strings.Contains(err.Error(), "the restore is not done") {
			t.Errorf("%s: %v (hint: %s)", name, err, remote.Hint(err))
		}
		empty(t, part)
	}
	_, part := repository(t, &fixture.Fedora{})
	_, err := Restore(t.Context(), part, RestoreOptions{Name: "x", Consent: true, Fill: func(context.Context, string) error { return errors.New("a chunk is lost") }})
	if err == nil || !strings.Contains(err.Error(), "a chunk is lost") {
		t.Error(err)
	}
	empty(t, part)
	if _, err := Restore(t.Context(), part, RestoreOptions{Name: "x", Consent: true, Size: 1 << 40, free: func(string) (int64, error) { return 1 << 30, nil }}); err == nil {
		t.Error("no room, and no error")
	}
}

// C9: a backup of ModeShape 4.7 has the repository's metadata twice, on which its own restore aborts after it emptied the repository.
func TestDuplicatesAreTakenOut(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]fixture.ModeShapeOptions{"compressed": {Double: true}, "plain": {Double: true, Plain: true}, "one file": {Double: true, PerFile: 1000}} {
		f, part := repository(t, &fixture.Fedora{Relational: true})
		dir := t.TempDir()
		fixture.ModeShape(t, dir, o)
		if status, _ := post(t, part.URL+"/fcr:restore", dir); status != 500 {
			t.Errorf("%s: as it was made it is restored with status %d", name, status)
		}
		r, err := Restore(t.Context(), part, RestoreOptions{Name: "x", Consent: true, Fill: fill(t, o, nil)})
		check1(t, err)
		if docs, _ := f.Has(); docs != 25 || r.Duplicates != 1 {
			t.Errorf("%s: %d documents, %d taken out", name, docs, r.Duplicates)
		}
		empty(t, part)
	}
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	_, part := repository(t, &fixture.Fedora{})
	part.URL = strings.TrimSuffix(url, "/fcr:restore")
	a, err := newServer(part).post(t.Context(), "fcr:restore", body)
	check1(t, err)
	return a.status, a.body
}

// The later one stays, whatever file it is in; a file that cannot be read to its end is not rewritten, because then it would look whole.
func TestWithoutDuplicates(t *testing.T) {
	t.Parallel()
	doc := fixture.ModeShapeDocument
	join := func(lines ...string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	first := join(doc("a", `"n":1`), doc("b", `"n":1`), "no document", doc("a", `"n":2`))
	fixture.Write(t, at("documents_000001.bin.gz"), fixture.Gzip(t, first))
	fixture.Write(t, at("documents_000002.bin"), join(doc("c", `"n":1`), doc("a", `"n":3`)))
	broken := fixture.Gzip(t, join(doc("c", `"n":2`), doc("c", `"n":3`)))
	fixture.Write(t, at("documents_000003.bin.gz"), broken[:len(broken)-3])
	fixture.Write(t, at("documents_000003.bin"), join(doc("a", `"n":4`)))
	root, err := os.OpenRoot(dir)
	check1(t, err)
	defer root.Close()
	n, err := withoutDuplicates(t.Context(), root)
	check1(t, err)
	if n != 3 {
		t.Errorf("%d were taken out", n)
	}
	if got, want := string(fixture.Read(t, at("documents_000001.bin"))), string(join(doc("b", `"n":1`), "no document")); got != want {
		t.Errorf("first file: %q, want %q", got, want)
	}
	if got, want := string(fixture.Read(t, at("documents_000002.bin"))), string(join(doc("a", `"n":3`))); got != want {
		t.Errorf("second file: %q, want %q", got, want)
	}
	for name, want := range map[string]bool{"documents_000001.bin.gz": false, "documents_000003.bin.gz": true, "rewritten.tmp": false} {
		if exists(root, name) != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
	id, err := modeshape.DocumentID([]byte(doc("b", `"n":1`)))
	if id != "b" || err != nil {
		t.Error(id, err)
	}
}

// C9: a server that runs as another user can read what is given to it, and others cannot.
func TestRestoreGivesFilesToTheServer(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	_, part := repository(t, &fixture.Fedora{})
	part.Owner = "nobody"
	looked := 0
	o := RestoreOptions{Name: "x", DryRun: true, Fill: fill(t, fixture.ModeShapeOptions{}, nil)}
	st, _, err := newStaging(part, "x")
	check1(t, err)
	check1(t, o.Fill(t.Context(), st.dir))
	check1(t, os.Chmod(st.dir+"/documents_000001.bin.gz", 0o600))
	check1(t, st.hand(t.Context()))
	err = filepath.WalkDir(st.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		looked++
		want := fs.FileMode(0o660)
		if d.IsDir() {
			want = 0o770
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid == 0 || info.Mode().Perm() != want {
			t.Errorf("%s belongs to %d, mode %v", d.Name(), stat.Uid, info.Mode())
		}
		return nil
	})
	check1(t, err)
	if looked < 10 {
		t.Errorf("only %d entries", looked)
	}
	check1(t, os.Symlink("/etc/passwd", st.dir+"/documents_000009.bin"))
	if err := st.hand(t.Context()); err == nil || !strings.Contains(err.Error(), "symlink") {
		t.Error(err)
	}
	check1(t, st.remove())
	empty(t, part)
}
