package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cairn/tests/databases"
	"cairn/tests/fixture"
)

// seafileTables are those that the dump of the fixture fills, and the three without which all libraries are lost.
const seafileTables = `CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db; CREATE DATABASE seafile_db;
CREATE TABLE ccnet_db.EmailUser (id INT PRIMARY KEY, email VARCHAR(255)); INSERT INTO ccnet_db.EmailUser VALUES (1,'anna@example.org');
CREATE TABLE seahub_db.avatar_avatar (id INT PRIMARY KEY, name VARCHAR(255)); INSERT INTO seahub_db.avatar_avatar VALUES (1,'a.png');
CREATE TABLE seafile_db.Repo (repo_id CHAR(37) PRIMARY KEY); CREATE TABLE seafile_db.RepoHead (repo_id CHAR(37) PRIMARY KEY, branch_name VARCHAR(10));
CREATE TABLE seafile_db.FileLocks (id INT PRIMARY KEY, path TEXT, user VARCHAR(255));
CREATE TABLE seafile_db.RepoInfo (id INT PRIMARY KEY, repo_id CHAR(37), name VARCHAR(255));
CREATE TABLE seafile_db.VirtualRepo (id INT PRIMARY KEY, repo_id CHAR(37), origin_repo CHAR(37), path TEXT, base_commit CHAR(40));
`

// TestSeafileDisaster is the worked disaster of docs/profiles.md with a real MariaDB and Seafile's storage (F5, F6): E3 E9 E10 E16 E19 E20 E26 A24.
func TestSeafileDisaster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	home, secret := m.path("seafile"), m.path("password")
	first := mariaDB(t)
	storage := fixture.NewSeafile(t, filepath.Join(home, "seafile-data"))
	for _, name := range []string{"conf/seafile.conf", "seahub-data/avatars/a.png", "seafile-data/httptemp/x"} {
		fixture.Write(t, filepath.Join(home, name), []byte(name))
	}
	installSeafile(t, home)
	m.query(first, seafileTables+"USE seafile_db;"+string(storage.Dump())+
		"INSERT INTO seafile_db.Repo SELECT repo_id FROM seafile_db.Branch; INSERT INTO seafile_db.RepoHead SELECT repo_id, name FROM seafile_db.Branch;")
	fixture.Write(t, secret, []byte(first.Password+"\n"))
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	m.ok("source", "new", "seafile", "--set", "home="+home, "--set", "database_user="+first.User, "--set", fmt.Sprint("database_port=", first.Port), "--set", "password_file="+secret, "--set", "user=root",
		"--set", "fileserver_port=1", "--set", "seahub_port=2") // where nobody listens
	m.ok("source", "run", "seafile")
	m.ok("source", "verify", "seafile")
	const heads = "SELECT r.repo_id, h.branch_name, b.commit_id FROM seafile_db.Repo r JOIN seafile_db.RepoHead h USING (repo_id) JOIN seafile_db.Branch b USING (repo_id) ORDER BY 1;"
	want := m.query(first, heads)
	if strings.Count(want, "\n") != 3 {
		t.Fatalf("heads: %q", want)
	}

	// The disk is dead. Seafile is installed again, the new MariaDB is empty.
	first.Stop()
	for _, dir := range []string{home, m.path("home", ".config", "cairn", "sources")} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	second := mariaDB(t)
	installSeafile(t, home)
	again := []string{"source", "restore", "seafile", "--from", "latest", "--vars", fmt.Sprint("database_port=", second.Port), "--yes", "--trust"}
	if os.Geteuid() == 0 { // runuser is for root
		again = append(again, "--steps")
	}
	m.ok(again...)
	if got := m.query(second, heads); got != want {
		t.Errorf("heads after the restore:\n%s\nbefore:\n%s", got, want)
	}
	if got := m.query(second, "SELECT email FROM ccnet_db.EmailUser; SELECT name FROM seahub_db.avatar_avatar;"); got != "anna@example.org\na.png\n" {
		t.Errorf("other databases: %q", got)
	}
	m.ok("verify", "--format", "seafile", filepath.Join(home, "seafile-data"))
	block := func(library string) uint64 { // the first block of the photo that both libraries have
		info, err := os.Stat(storage.Object("blocks", library, fixture.SHA1(fixture.Random(2, 20000)[:8192])))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	if block(fixture.LibraryA) != block(fixture.LibraryB) {
		t.Error("the block that two libraries share is stored twice")
	}
	if _, err := os.Stat(filepath.Join(home, "seafile-data/httptemp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is temporary came back: %v", err)
	}
	if os.Geteuid() == 0 {
		if calls := string(fixture.Read(t, filepath.Join(home, "calls"))); calls != "seaf-fsck.sh \nseafile.sh start\nseahub.sh start\n" {
			t.Errorf("steps: %q", calls)
		}
	}
}

// installSeafile makes the scripts of an installation, which write down that they were called.
func installSeafile(t *testing.T, home string) {
	t.Helper()
	for _, name := range []string{"seaf-fsck.sh", "seafile.sh", "seahub.sh"} {
		script := filepath.Join(home, "seafile-server-latest", name)
		fixture.Write(t, script, []byte("#!/bin/sh\necho "+name+" \"$1\" >>"+home+"/calls\n"))
		if err := os.Chmod(script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func mariaDB(t *testing.T) *databases.Server {
	t.Helper()
	s, err := databases.MariaDB()
	if errors.Is(err, databases.ErrMissing) {
		t.Skip("mariadb-server is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// query asks a server.
func (m *machine) query(s *databases.Server, sql string) string {
	m.t.Helper()
	c := m.other("mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", fmt.Sprint("--port=", s.Port), "--user="+s.User, "--batch", "--skip-column-names")
	c.Env = append(c.Env, "MYSQL_PWD="+s.Password)
	c.Stdin = strings.NewReader(sql)
	r := finish(m.t, c)
	if r.code != 0 {
		m.t.Fatal(r)
	}
	return r.stdout
}
