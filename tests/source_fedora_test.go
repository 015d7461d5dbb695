package tests

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"cairn/tests/fixture"
)

// content is a directory as a digest of each file, by name.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[strings.TrimPrefix(name, dir)] = fixture.SHA1(fixture.Read(t, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFedora4Disaster is the worked disaster of docs/profiles.md, with a repository that sees the directory under another name: C1 C2 C5 C6 C7 C8 C9 C10 C13 C18.
func TestFedora4Disaster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	staging, config := m.path("bkup"), m.path("etc-fcrepo")
	fixture.Write(t, config+"/repository.json", []byte("{}"))
	repository := func() *fixture.Fedora {
		see := func(path string) string { return strings.Replace(path, "/bkup", staging, 1) }
		say := func(path string) string { return strings.Replace(path, staging, "/bkup", 1) }
		f := &fixture.Fedora{User: "fedoraAdmin", Password: word, See: see, Say: say, Content: fixture.ModeShapeOptions{Changes: 3}}
		if err := os.MkdirAll(staging, 0o755); err != nil {
			t.Fatal(err)
		}
		return f.Start(t)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	first := repository()
	m.ok("source", "new", "fedora4", "fedora", "--set", "url="+first.URL, "--set", "staging="+staging, "--set", "server_staging=/bkup", "--set", "config="+config, "--set", "owner="+me.Username,
		"--set", "password_file="+m.password(word))
	m.ok("source", "run", "fedora", "--json").hides(core)
	m.ok("source", "verify", "fedora").hides(core)
	if left := content(t, staging); len(left) > 0 || len(first.Posts()) != 1 {
		t.Errorf("left in the staging directory: %v; requests: %q", left, first.Posts())
	}

	// A repository that fails, that lets nobody in, or that is none: no snapshot.
	first.SetProblems("no space left", "cannot write documents_000002.bin.gz")
	m.must(1, "source", "run", "fedora").says("no snapshot", "no space left", "cannot write documents_000002.bin.gz", "part repository").hides(core)
	first.SetProblems()
	fixture.Write(t, m.password(word), []byte("zq7Horse was another\n"))
	m.must(1, "source", "run", "fedora").says("no snapshot", "401", "hint: ").hides(core)
	m.password(word)
	if n := m.snapshots(); n != 1 {
		t.Errorf("%d snapshots instead of one", n)
	}

	// The disk is dead. Configuration first, then the repository, which is empty.
	gone(t, staging, config, m.path("home", ".config"))
	second := repository()
	bare := m.bare()
	bare.ok("source", "restore", "fedora", "--from", "latest", "--class", "config", "--yes", "--trust", "--vars", "url="+second.URL).hides(core)
	if got := string(fixture.Read(t, config+"/repository.json")); got != "{}" || len(second.Posts()) != 0 {
		t.Errorf("configuration %q; requests: %q", got, second.Posts())
	}
	again := []string{"fedora", "--from", "latest", "--vars", "url=" + second.URL}
	bare.ok(append([]string{"source", "plan"}, again...)...).says(second.URL, "replaces all that it holds").hides(core)
	// C8: nothing is asked of the repository before somebody agreed.
	bare.must(1, append([]string{"source", "restore", "--trust"}, again...)...).says("--yes")
	if len(second.Posts()) != 0 {
		t.Errorf("without consent: %q", second.Posts())
	}
	bare.ok(append([]string{"source", "restore", "--trust", "--steps", "--yes"}, again...)...).says("search index").hides(core)
	if documents, binaries := second.Has(); documents != 25 || binaries != 4 {
		t.Errorf("the repository has %d documents and %d binaries", documents, binaries)
	}
	if got := second.Document("87a0a8c317f1e700000002"); !strings.Contains(got, "changed meanwhile") {
		t.Errorf("what changed during the backup: %s", got)
	}
	posts := second.Posts()
	if len(posts) != 1 || !strings.HasPrefix(posts[0], "fcr:restore /bkup/") || len(content(t, staging)) > 0 {
		t.Errorf("requests: %q; left in the staging directory: %v", posts, content(t, staging))
	}
	bare.holdsNo(core, m.path("home"))
}

// TestFedora4FilesDisaster is the worked disaster of docs/profiles.md. Somebody adds and trashes values meanwhile, file first and row second when they come,
// row first and file second when they go, as the repository does: whatever the database names is there, or in the trash. A11 C3 C15 C16 D5.
func TestFedora4FilesDisaster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	server := postgresDB(t)
	first := m.owner(server, "fcrepo", "fcrepo")
	m.psql(first, "fcrepo", postgresBank+"CREATE TABLE value (sha1 text PRIMARY KEY);")
	binaries, config, calls := m.path("fcrepo.binary.directory"), m.path("etc-fcrepo"), m.path("calls")
	fixture.ContentTree(t, binaries)
	fixture.Write(t, config+"/repository.json", []byte("{}"))
	m.ok("source", "new", "fedora4-files", "fedora", "--set", "binaries="+binaries, "--set", "postgres_databases=fcrepo", "--set", "config="+config, "--set", "start=echo started >>"+calls,
		"--set", "database_host=127.0.0.1", "--set", fmt.Sprint("database_port=", first.Port), "--set", "password_file="+m.password(word), "--set", "port=1")
	value := func(i int64) (data []byte, sha1, name string) {
		data = fixture.Random(uint64(1000+i), 5000)
		sha1 = fixture.SHA1(data)
		return data, sha1, filepath.Join(sha1[:2], sha1[2:4], sha1[4:6], sha1)
	}
	w := m.teller(m.psqlCommand(first, "fcrepo"), func(i int64) string {
		data, sha1, name := value(i)
		fixture.Write(t, filepath.Join(m.dir, "temp"), data)
		fixture.Move(t, filepath.Join(m.dir, "temp"), filepath.Join(binaries, name))
		statement := "INSERT INTO value VALUES ('" + sha1 + "'); "
		if i > 1 { // the one that was added before the last goes, its file when its row is gone for sure
			_, old, _ := value(i - 2)
			statement += "DELETE FROM value WHERE sha1 = '" + old + "'; "
		}
		if i > 2 {
			_, _, oldest := value(i - 3)
			fixture.Move(t, filepath.Join(binaries, oldest), filepath.Join(binaries, "trash", oldest))
		}
		return statement + postgresTransfer(i)
	})
	before := w.done.Load()
	m.secretly(core, "pg_dump", "source", "run", "fedora")
	after := w.stop() + 1
	m.ok("source", "verify", "fedora").hides(core)
	foreign := m.psql(first, "fcrepo", postgresForeign)

	server.Stop()
	gone(t, binaries, config, calls, m.path("home", ".config"))
	bare := m.bare()
	second := bare.owner(postgresDB(t), "fcrepo", "fcrepo")
	again := []string{"fedora", "--from", "latest", "--vars", fmt.Sprint("database_port=", second.Port)}
	bare.ok(append([]string{"source", "plan"}, again...)...).says("fcrepo.sql", binaries, config).hides(core)
	bare.secretly(core, "psql", append([]string{"source", "restore", "--trust", "--steps", "--yes"}, again...)...)
	between(t, "fcrepo", bare.psql(second, "fcrepo", postgresSum), before, after)
	if got := bare.psql(second, "fcrepo", postgresForeign); got != foreign {
		t.Errorf("foreign data:\n%s\nwere\n%s", got, foreign)
	}
	rows := strings.Fields(bare.psql(second, "fcrepo", "SELECT sha1 FROM value"))
	if len(rows) == 0 {
		t.Error("the database names no values")
	}
	for _, sha1 := range rows {
		name := filepath.Join(sha1[:2], sha1[2:4], sha1[4:6], sha1)
		_, err := os.Stat(filepath.Join(binaries, name))
		if _, trash := os.Stat(filepath.Join(binaries, "trash", name)); err != nil && trash != nil {
			t.Errorf("the database names %s, which is neither there nor in the trash", sha1)
		}
	}
	bare.ok("verify", "--format", "content-tree", binaries)
	if got := string(fixture.Read(t, calls)); got != "started\n" {
		t.Errorf("started: %q", got)
	}
	bare.holdsNo(core, m.path("home"))
}
