package tests

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"cairn/tests/databases"
	"cairn/tests/fixture"
)

// owner makes a user of a PostgreSQL server who is nobody but the owner of one empty database.
func (m *machine) owner(s *databases.Server, user, database string) *databases.Server {
	m.t.Helper()
	m.psql(s, "postgres", "CREATE ROLE "+user+" LOGIN PASSWORD '"+strings.ReplaceAll(word, "'", "''")+"'; CREATE DATABASE "+database+" OWNER "+user+";")
	return as(s, user, word)
}

// TestJOCDisaster is the worked disaster of docs/profiles.md: a database whose user owns it and nothing else, and directories with keys:
// A2 A11 A18 A24 D1 D3 D4 D5 D6 D8 D18.
func TestJOCDisaster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	server := postgresDB(t)
	first := m.owner(server, "jobscheduler", "joc")
	m.psql(first, "joc", postgresBank)
	base, calls := m.path("joc"), m.path("calls")
	for name, text := range map[string]string{"resources/joc/joc.properties": "title=x\n", "resources/joc/https-keystore.p12": "key", "resources/joc/lib/driver.jar": "jar", "logs/joc.log": "begin\n"} {
		fixture.Write(t, base+"/"+name, []byte(text))
	}
	keystore := base + "/resources/joc/https-keystore.p12"
	if err := os.Chmod(keystore, 0o600); err != nil {
		t.Fatal(err)
	}
	m.ok("source", "new", "js7-joc", "joc", "--set", "base="+base, "--set", "postgres_databases=joc", "--set", "database_host=127.0.0.1", "--set", fmt.Sprint("database_port=", first.Port),
		"--set", "password_file="+m.password(word), "--set", "start=echo started >>"+calls)
	w := m.teller(m.psqlCommand(first, "joc"), postgresTransfer)
	before := w.done.Load()
	m.secretly(core, "pg_dump", "source", "run", "joc")
	after := w.stop() + 1
	fixture.Grow(t, base+"/logs/joc.log", 10)
	m.ok("source", "run", "joc", "--class", "log")
	m.ok("source", "verify", "joc").hides(core)
	foreign := m.psql(first, "joc", postgresForeign)

	server.Stop()
	gone(t, base, m.path("home", ".config"))
	bare := m.bare()
	second := bare.owner(postgresDB(t), "jobscheduler", "joc")
	listener, err := net.Listen("tcp", "127.0.0.1:0") // JOC, which must not run
	if err != nil {
		t.Fatal(err)
	}
	again := []string{"joc", "--from", "latest", "--vars", fmt.Sprint("database_port=", second.Port), "--vars", fmt.Sprint("port=", listener.Addr().(*net.TCPAddr).Port)}
	bare.must(1, append([]string{"source", "restore", "--trust", "--steps", "--yes"}, again...)...).says("does NOT hold", "somebody answers", "--force")
	if _, err := os.Stat(base); err == nil {
		t.Error("something was touched although JOC runs")
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	bare.ok(append([]string{"source", "plan"}, again...)...).says("joc.sql", base+"/resources/joc", "start", "empty database with its user").hides(core)
	bare.secretly(core, "psql", append([]string{"source", "restore", "--trust", "--steps", "--yes"}, again...)...)
	between(t, "joc", bare.psql(second, "joc", postgresSum), before, after)
	if got := bare.psql(second, "joc", postgresForeign); got != foreign {
		t.Errorf("foreign data:\n%s\nwere\n%s", got, foreign)
	}
	if info, err := os.Stat(keystore); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keystore: %v, %v", info, err)
	}
	if got := string(fixture.Read(t, calls)); got != "started\n" {
		t.Errorf("started: %q", got)
	}
	if _, err := os.Stat(base + "/logs"); err == nil {
		t.Error("logs came back without being named")
	}
	audit := bare.path("audit")
	bare.ok("source", "restore", "joc", "--from", "latest", "--class", "log", "--to", audit, "--yes")
	if got := string(fixture.Read(t, audit+base+"/logs/joc.log")); strings.Count(got, "\n") != 11 {
		t.Errorf("the log: %q", got)
	}
	bare.holdsNo(core, m.path("home"))
}
