package tests

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cairn/tests/databases"
	"cairn/tests/fixture"
)

// seafileHost is a machine with a Seafile server: its storage (F6), configuration and scripts, and its three databases on a real server.
type seafileHost struct {
	*machine
	home  string
	store *fixture.Seafile
	db    *databases.Server
}

func newSeafileHost(t *testing.T) *seafileHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the steps of the profile become another user, which takes root")
	}
	db, err := databases.MariaDB()
	if errors.Is(err, databases.ErrMissing) {
		t.Skip("the server's package is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Stop)
	h := &seafileHost{machine: newMachine(t), db: db}
	h.home = h.path("opt/seafile")
	h.store = fixture.NewSeafile(t, filepath.Join(h.home, "seafile-data"))
	h.write("opt/seafile", files{"conf/seafile.conf": "[fileserver]\nport = 8082\n", "conf/seahub_settings.py": "SECRET_KEY = 'k'\n", "seahub-data/avatars/a.png": "png",
		"seafile-data/httptemp/upload": "half a file"})
	h.scripts()
	for name, tables := range map[string]string{
		"ccnet_db":   "CREATE TABLE EmailUser (id INT PRIMARY KEY, email VARCHAR(255)) ENGINE=InnoDB; INSERT INTO EmailUser VALUES (1,'zoë@example.org');",
		"seafile_db": h.heads(),
		"seahub_db":  "CREATE TABLE options (k VARCHAR(20) PRIMARY KEY, v BLOB) ENGINE=InnoDB; INSERT INTO options VALUES ('logo', 0x00FF27);",
	} {
		h.sql("", "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
		h.sql(name, tables)
	}
	put(t, h.path("word"), db.Password+"\n", false)
	if err := os.Chmod(h.path("word"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// scripts are those of the server; each writes its name into a list.
func (h *seafileHost) scripts() {
	for _, name := range []string{"seafile.sh", "seahub.sh", "seaf-fsck.sh"} {
		file := filepath.Join(h.home, "seafile-server-latest", name)
		put(h.t, file, "#!/bin/sh\necho "+name+" $1 >>"+h.path("calls")+"\n", false)
		if err := os.Chmod(file, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
}

// heads are the tables without which no library can be found.
func (h *seafileHost) heads() string {
	var b strings.Builder
	b.WriteString("CREATE TABLE Repo (repo_id CHAR(37) PRIMARY KEY) ENGINE=InnoDB; CREATE TABLE RepoHead (repo_id CHAR(37) PRIMARY KEY, branch_name VARCHAR(10)) ENGINE=InnoDB; " +
		"CREATE TABLE Branch (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(10), repo_id CHAR(41), commit_id CHAR(41), UNIQUE (repo_id, name)) ENGINE=InnoDB; " +
		"CREATE TABLE VirtualRepo (repo_id CHAR(36) PRIMARY KEY, origin_repo CHAR(36), path TEXT, base_commit CHAR(40)) ENGINE=InnoDB;\n")
	for lib, head := range h.store.Heads {
		fmt.Fprintf(&b, "INSERT INTO Repo VALUES ('%s'); INSERT INTO RepoHead VALUES ('%s','master'); INSERT INTO Branch (name,repo_id,commit_id) VALUES ('master','%s','%s');\n", lib, lib, lib, head)
	}
	fmt.Fprintf(&b, "INSERT INTO VirtualRepo VALUES ('%s','%s','/docs','%s');\n", fixture.LibraryVirtual, fixture.LibraryA, h.store.Heads[fixture.LibraryA])
	return b.String()
}

// sql asks the server the way a person would.
func (h *seafileHost) sql(database, text string) string {
	h.t.Helper()
	c := exec.Command("mariadb", "--no-defaults", "--socket="+h.db.Socket, "--user="+h.db.User, "--batch", "--raw", "--skip-column-names", "--default-character-set=utf8mb4", database)
	c.Env = append(os.Environ(), "MYSQL_PWD="+h.db.Password)
	c.Stdin = strings.NewReader(text)
	out, err := c.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%.100s: %v: %s", text, err, out)
	}
	return strings.TrimSpace(string(out))
}

// state is what the databases hold that matters.
func (h *seafileHost) state() string {
	h.t.Helper()
	return h.sql("", "SELECT email FROM ccnet_db.EmailUser; SELECT repo_id, commit_id FROM seafile_db.Branch ORDER BY repo_id; SELECT COUNT(*) FROM seafile_db.RepoHead; "+
		"SELECT path FROM seafile_db.VirtualRepo; SELECT HEX(v) FROM seahub_db.options")
}

// TestSeafileDisaster: E19, E20: the dump is imported, data and configuration come back, and the server is started, in this order, from one
// snapshot that was made while it ran (E3, E10). Blocks that libraries share are one file again. A18: not beside a server that runs.
func TestSeafileDisaster(t *testing.T) {
	t.Parallel()
	h := newSeafileHost(t)
	h.init(1, 0)
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // where the server would listen
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := h.path("seafile.yaml")
	put(t, file, fmt.Sprintf("source: seafile\nprofile: seafile\nvars: {home: %s, database_user: %s, password_file: %s, user: %s}\n"+
		"parts: [{name: databases, mariadb: {port: %d}}]\nguards: {restore: [{port_closed: %d}]}\n",
		h.home, h.db.User, h.path("word"), who.Username, h.db.Port, l.Addr().(*net.TCPAddr).Port), false)
	h.ok("source", "validate", file)
	h.ok("source", "run", file)
	state, before := h.state(), h.path("before")
	if out, err := exec.Command("cp", "-a", h.home, before).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	// Everything is gone but what an installation of the program brings.
	dropDir(t, h.home)
	h.scripts()
	h.sql("", "DROP DATABASE ccnet_db; DROP DATABASE seafile_db; DROP DATABASE seahub_db")
	r := h.run("source", "restore", file, "--from", "latest", "--yes", "--steps")
	if r.code == 0 || exists(filepath.Join(h.home, "seafile-data")) || h.sql("", "SHOW DATABASES LIKE '%\\_db'") != "" {
		t.Errorf("while the server runs: %v", r)
	}
	l.Close()
	h.ok("source", "restore", file, "--from", "latest", "--yes", "--steps")

	if got := h.state(); got != state {
		t.Errorf("the databases hold %q, before it was %q", got, state)
	}
	dropDir(t, filepath.Join(before, "seafile-data/httptemp")) // an upload under way: nobody asks for it again
	for _, dir := range []string{"seafile-data/storage", "conf", "seahub-data"} {
		same(t, filepath.Join(before, dir), filepath.Join(h.home, dir))
	}
	if exists(filepath.Join(h.home, "seafile-data/httptemp/upload")) {
		t.Error("an upload that was under way came back")
	}
	block := fixture.SHA1(fixture.Random(2, 20000)[:8192])
	var links [2]syscall.Stat_t
	for i, lib := range []string{fixture.LibraryA, fixture.LibraryB} {
		if err := syscall.Stat(h.store.Object("blocks", lib, block), &links[i]); err != nil {
			t.Fatal(err)
		}
	}
	if links[0].Ino != links[1].Ino {
		t.Error("a block that two libraries share is there twice")
	}
	if got, want := lines(h.path("calls")), []string{"seaf-fsck.sh", "seafile.sh start", "seahub.sh start"}; !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
}
