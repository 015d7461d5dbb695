package profile_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/agent/source"
	"cairn/agent/source/profile"
	"cairn/tests/fixture"
)

// D1 D8 D10 D16 D18: configuration with certificates and logs are kept, each in its class; journal and scratch are not, and the journal's directory is
// emptied by a restore.
func TestJS7(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.JS7(t, dir)
	for _, role := range []string{"controller", "agent"} {
		at := filepath.Join(dir, role)
		f := parse(t, "js7-"+role, "vars: {data: "+at+"}")
		wantKept(t, f, at, map[string]source.Class{"config/": source.Config, "logs/": source.Log})
		if _, ok := kept(t, f, at)["config/private/https-keystore.p12"]; !ok {
			t.Error("the keystore is not kept")
		}
		wantClasses(t, f, map[string]source.Class{"state": source.Never, "work": source.Derived})
		equal(t, "emptied", []string{at + "/state"}, f.Restore.Empty)
		equal(t, "removed", 0, len(f.Restore.Remove))
		equal(t, "D2 D9: only what changed", true, f.SkipIfUnchanged)
		equal(t, "hooks: it goes on meanwhile (D6)", 0, len(f.Hooks.Before))
		log := f.Classes[source.Log]
		if log.Schedule == "" || log.Keep == (source.Keep{}) || log.Restore != "ask" {
			t.Errorf("D8: logs have no rules of their own: %+v", log)
		}
	}
}

// D17: a Subagent has no state, and may have no logs: nothing is missing.
func TestJS7Subagent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.JS7(t, dir)
	for _, name := range []string{"state", "logs", "work"} {
		if err := os.RemoveAll(filepath.Join(dir, "agent", name)); err != nil {
			t.Fatal(err)
		}
	}
	f := parse(t, "js7-agent", "vars: {data: "+dir+"/agent}")
	wantKept(t, f, dir+"/agent", map[string]source.Class{"config/": source.Config})
	if !strings.Contains(f.Restore.Runbook, "Subagent has no journal") {
		t.Error("the runbook says nothing about Subagents")
	}
}

// D3 D4 D18: JOC's database comes first; its configuration is a whole tree, with jars and keystores.
func TestJS7JOC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"joc.properties", "log4j2.xml", "https-keystore.p12", "lib/driver.jar", "license/js7-license.pem", "patches/fix.jar"} {
		fixture.Write(t, filepath.Join(dir, "resources/joc", name), []byte(name))
	}
	fixture.Write(t, filepath.Join(dir, "logs/joc.log"), []byte("x"))
	fixture.Write(t, filepath.Join(dir, "webapps/joc.war"), []byte("x"))
	f := parse(t, "js7-joc", "vars: {base: "+dir+", mariadb_databases: [joc]}")
	equal(t, "order", []string{"mariadb", "tree", "tree"}, order(f))
	wantKept(t, f, dir, map[string]source.Class{"resources/joc/": source.Config, "logs/": source.Log})
	equal(t, "files of the configuration", 7, len(kept(t, f, dir)))
	equal(t, "doubts", 0, len(profile.Doubts(f)))
	f = parse(t, "js7-joc", "vars: {base: "+dir+"}")
	if d := profile.Doubts(f); len(d) != 1 || !strings.Contains(d[0], "no database is named") {
		t.Errorf("doubts %q", d)
	}
}

// D12: what follows a new journal.
func TestJS7Runbook(t *testing.T) {
	t.Parallel()
	f := parse(t, "js7-controller", example("js7-controller"))
	var texts string
	for _, s := range f.Restore.Steps {
		texts += s.Text
	}
	for _, want := range []string{"assign its Agents again", "deploy all workflows", "submit the daily plan again"} {
		if !strings.Contains(texts, want) {
			t.Errorf("no step says %q:\n%s", want, texts)
		}
	}
	equal(t, "first the start, then people", "start", f.Restore.Steps[0].Name)
}

// E3 E9 E10: databases in one dump, first; then the libraries without what is temporary. No garbage collection meanwhile.
func TestSeafile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.NewSeafile(t, dir+"/seafile-data")
	for _, name := range []string{"seafile-data/httptemp/x", "seafile-data/tmpfiles/y", "conf/seafile.conf", "seahub-data/avatars/a.png", "pro-data/search/z", "seafile-server-11/seafile.sh"} {
		fixture.Write(t, filepath.Join(dir, name), []byte(name))
	}
	f := parse(t, "seafile", "vars: {home: "+dir+"}")
	wantKept(t, f, dir, map[string]source.Class{"seafile-data/storage/": source.Data, "conf/": source.Config, "seahub-data/": source.Data})
	equal(t, "order", []string{"mariadb", "tree", "tree", "tree", "tree"}, order(f))
	equal(t, "databases", []string{"ccnet_db", "seafile_db", "seahub_db"}, f.Parts[0].MariaDB.Databases)
	equal(t, "tables that are left out", 0, len(f.Parts[0].MariaDB.IgnoreTable))
	equal(t, "guards", []source.Guard{{NotRunning: "seaf-gc"}, {NotRunning: "seafserv-gc"}}, f.Guards.Backup)
	equal(t, "verified", []source.Verify{{Format: "seafile", Path: dir + "/seafile-data"}}, f.Verify)
	equal(t, "E19 E20 E26: fsck comes before the start", []string{"fsck", "seafile", "seahub"}, []string{f.Restore.Steps[0].Name, f.Restore.Steps[1].Name, f.Restore.Steps[2].Name})
	equal(t, "doubts", 0, len(profile.Doubts(f)))
}

// E16: beside a real-time backup server the three tables that it has are left out; with files that is doubted.
func TestSeafileIgnoreTables(t *testing.T) {
	t.Parallel()
	f := parse(t, "seafile", "vars: {home: /opt/seafile, ignore_tables: [seafile_db.Repo, seafile_db.Branch, seafile_db.RepoHead]}")
	equal(t, "tables", []string{"seafile_db.Repo", "seafile_db.Branch", "seafile_db.RepoHead"}, f.Parts[0].MariaDB.IgnoreTable)
	if d := profile.Doubts(f); len(d) != 1 || !strings.Contains(d[0], "every library is lost") {
		t.Errorf("doubts %q", d)
	}
}

// C1 C7 C9: the repository backs itself up by request; a container sees another directory.
func TestFedora4(t *testing.T) {
	t.Parallel()
	f := parse(t, "fedora4", "vars: {url: http://localhost:8080/rest, staging: /srv/bkup, server_staging: /bkup}")
	p := part(t, f, "repository").Fedora
	equal(t, "path map", []source.PathMap{{Local: "/srv/bkup", Remote: "/bkup"}}, p.PathMap)
	equal(t, "timeout: as long as it takes", int64(0), int64(p.Timeout))
	equal(t, "secret", []source.Secret{{File: "/etc/cairn/secrets/fedora"}}, f.Secrets())
	equal(t, "verified", []source.Verify{{Format: "modeshape", Path: "/.cairn/streams/repository"}}, f.Verify)
}

// C3 C15: the binary store with its trash, after the object database. C16: alone it is doubted. C17: so is a LevelDB that nothing stops.
func TestFedora4Files(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ContentTree(t, dir)
	f := parse(t, "fedora4-files", "vars: {binaries: "+dir+", postgres_databases: [fcrepo]}")
	equal(t, "order", []string{"postgres", "tree"}, order(f))
	equal(t, "doubts", 0, len(profile.Doubts(f)))
	trash := 0
	for name := range kept(t, f, dir) {
		if strings.HasPrefix(name, "trash/") {
			trash++
		}
	}
	if trash < 2 {
		t.Errorf("%d files of the trash are kept", trash)
	}
	for vars, want := range map[string]string{
		"": "without its object database",
		", object_directories: [/srv/fcrepo/fcrepo.ispn.repo.cache-leveldb]": "looks like a LevelDB",
	} {
		f = parse(t, "fedora4-files", "vars: {binaries: "+dir+vars+"}")
		if d := profile.Doubts(f); len(d) != 1 || !strings.Contains(d[0], want) {
			t.Errorf("%q: doubts %q, want %q", vars, d, want)
		}
	}
	f = parse(t, "fedora4-files", "vars: {binaries: "+dir+", object_directories: [/srv/leveldb], stop: systemctl stop tomcat, start: systemctl start tomcat}")
	equal(t, "doubts of a stopped one", 0, len(profile.Doubts(f)))
}

// Finding 12: Fedora 6 is its OCFL root; database and staging are made again, the queue must not come back.
func TestFedora6(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.OCFL(t, dir+"/data/ocfl-root", 3)
	for _, name := range []string{"data/db/fcrepo.mv.db", "data/staging/x", "data/ActiveMQ/kahadb/db-1.log", "data/ocfl-temp/y"} {
		fixture.Write(t, filepath.Join(dir, name), []byte(name))
	}
	f := parse(t, "fedora6", "vars: {home: "+dir+", start_rebuild: systemctl start fedora-rebuild}")
	wantKept(t, f, dir, map[string]source.Class{"data/ocfl-root/": source.Data})
	wantClasses(t, f, map[string]source.Class{"queue": source.Never, "database": source.Derived, "staging": source.Derived})
	equal(t, "emptied", []string{dir + "/data/ActiveMQ"}, f.Restore.Empty)
	equal(t, "verified", []source.Verify{{Format: "ocfl", Path: dir + "/data/ocfl-root"}}, f.Verify)
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	f := parse(t, "postgres", "vars: {}")
	equal(t, "all of the server, with its roles", []any{[]string{"all"}, true}, []any{f.Parts[0].Postgres.Databases, *f.Parts[0].Postgres.Globals})
	f = parse(t, "mariadb", "vars: {databases: [a, b]}")
	equal(t, "one part for all", []string{"a", "b"}, f.Parts[0].MariaDB.Databases)
	f = parse(t, "sqlite", "vars: {databases: [/srv/app/app.db, /srv/app/log.sqlite3], files: [/srv/app]}")
	equal(t, "order", []string{"sqlite", "sqlite", "tree"}, order(f))
}

// SQLite's files are read by SQLite only, with what is beside them.
func TestSQLiteFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"app.db", "app.db-wal", "app.db-shm", "uploads/a.png"} {
		fixture.Write(t, filepath.Join(dir, name), []byte(name))
	}
	f := parse(t, "sqlite", "vars: {databases: ["+dir+"/app.db], files: ["+dir+"]}")
	wantKept(t, f, dir, map[string]source.Class{"uploads/": source.Data})
}

func TestGitServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.git/HEAD", "a.git/refs/heads/main", "a.git/refs/heads/main.lock", "a.git/objects/12/34", "a.git/objects/pack/tmp_pack_x", "a.git/objects/12/tmp_obj_y"} {
		fixture.Write(t, filepath.Join(dir, name), []byte(name))
	}
	f := parse(t, "git-server", "vars: {repositories: "+dir+", hold: gitolite writable @all off backup, release: gitolite writable @all on}")
	var got []string
	for name := range kept(t, f, dir) {
		got = append(got, name)
	}
	slices.Sort(got)
	equal(t, "kept", []string{"a.git/HEAD", "a.git/objects/12/34", "a.git/refs/heads/main"}, got)
	equal(t, "pushes are held", []string{"gitolite writable @all off backup", "gitolite writable @all on"}, []string{f.Hooks.Before[0].Shell, f.Hooks.Finally[0].Shell})
}

func TestHomeAndEtc(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"home/anna/letter.txt", "home/anna/.cache/thumb", "home/anna/.ssh/id_ed25519", "home/anna/.local/share/Trash/files/x", "home/anna/.gnupg/S.gpg-agent", "home/anna/.gnupg/pubring.kbx",
		"home/ben/a.iso", "etc/hosts", "etc/ld.so.cache", "etc/ssh/sshd_config"} {
		fixture.Write(t, filepath.Join(dir, name), []byte(name))
	}
	f := parse(t, "home", "vars: {homes: ["+dir+"/home], exclude: [\"*.iso\"]}")
	wantKept(t, f, dir, map[string]source.Class{"home/anna/letter.txt": source.Data, "home/anna/.ssh/id_ed25519": source.Data, "home/anna/.gnupg/pubring.kbx": source.Data})
	f = parse(t, "etc", "vars: {paths: ["+dir+"/etc]}")
	wantKept(t, f, dir, map[string]source.Class{"etc/hosts": source.Config, "etc/ssh/sshd_config": source.Config})
	equal(t, "packages", []string{"dpkg", "--get-selections"}, part(t, f, "packages").Command.Run.Args)
	equal(t, "only what changed", true, f.SkipIfUnchanged)
}

// TestDoubts: what else is doubted, and that no profile is with what it needs.
func TestDoubts(t *testing.T) {
	t.Parallel()
	for _, name := range profile.Names() {
		if d := profile.Doubts(parse(t, name, example(name))); len(d) > 0 {
			t.Errorf("%s: %q", name, d)
		}
	}
	for text, want := range map[string]string{
		"parts: [{tree: {path: /s/seafile-data}}, {name: db, mariadb: {databases: seafile_db}}]\nverify: {}":                                         "",
		"parts: [{tree: {path: /s/seafile-data}}, {name: db, mariadb: {databases: seafile_db}}]\nverify: [{format: seafile, path: /s/seafile-data}]": "read before the database of part db",
		"parts: [{name: d, derby: {path: /x}}]": "part d is a database that has to be stopped",
		"parts: [{name: d, derby: {path: /x}}]\nhooks: {before: [{name: halt, shell: stop}], finally: [{shell: start}]}": "",
		"parts: [{tree: {path: /x}}]\nhooks: {before: [{name: halt, shell: stop}]}":                                      "hook halt is run before the reading",
	} {
		f, err := source.Parse("x.yaml", []byte(strings.ReplaceAll(text, "\nverify: {}", "")), options())
		if err != nil {
			t.Fatal(err)
		}
		d := profile.Doubts(f)
		if want == "" && len(d) > 0 || want != "" && (len(d) != 1 || !strings.Contains(d[0], want)) {
			t.Errorf("%s:\ndoubts %q, want %q", text, d, want)
		}
	}
}
