package tests

import (
	"fmt"
	"os"
	"testing"

	"cairn/tests/fixture"
)

// TestPostgresDisaster is the worked disaster of docs/profiles.md, with servers and a teller who works while the run goes on: A2 A11 A24 D4 D5 D6.
func TestPostgresDisaster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	first := postgresDB(t)
	config := m.path("etc-postgresql")
	fixture.Write(t, config+"/pg_hba.conf", []byte("host all all samehost scram-sha-256\n"))
	m.psql(first, "postgres", "CREATE ROLE clerk LOGIN PASSWORD 'another'; CREATE DATABASE crm OWNER clerk; CREATE DATABASE shop; GRANT CONNECT ON DATABASE shop TO clerk; ALTER DATABASE crm SET work_mem = '8MB';")
	m.psql(first, "crm", postgresBank)
	m.psql(first, "shop", postgresBank)

	m.ok("source", "new", "postgres", "--set", "databases=crm,shop", "--set", "host=127.0.0.1", "--set", fmt.Sprint("port=", first.Port), "--set", "user=postgres", "--set", "client=[]", "--set", "config="+config)
	file := m.path("home", ".config", "cairn", "sources", "postgres.yaml")
	secret := "s3cret" // of the server's password
	addition := "\nparts: [{name: databases, postgres: {password: {file: " + m.password(first.Password) + "}}}]\n"
	if err := os.WriteFile(file, append(fixture.Read(t, file), addition...), 0o644); err != nil {
		t.Fatal(err)
	}
	m.ok("source", "validate").says("is valid")
	crm, shop := m.teller(m.psqlCommand(first, "crm"), postgresTransfer), m.teller(m.psqlCommand(first, "shop"), postgresTransfer)
	before := [2]int64{crm.done.Load(), shop.done.Load()}
	m.secretly(secret, "pg_dump", "source", "run", "postgres", "--json")
	after := [2]int64{crm.stop() + 1, shop.stop() + 1}
	m.ok("source", "verify", "postgres").hides(secret)
	foreign := m.psql(first, "shop", postgresForeign)

	// E11, A24: somebody has deleted a table. The database comes back beside what is there, and to another server.
	second := postgresDB(t)
	m.psql(first, "shop", "DROP TABLE accounts_z CASCADE")
	m.secretly(secret, "psql", "source", "restore", "postgres", "--part", "databases/shop", "--db", "shop=shop_before", "--yes")
	between(t, "shop_before", m.psql(first, "shop_before", postgresSum), before[1], after[1])
	if m.psql(first, "shop", "SELECT to_regclass('accounts_z') IS NULL") != "t\n" {
		t.Error("the database beside it was changed")
	}
	m.ok("source", "restore", "postgres", "--part", "databases/crm", "--db", fmt.Sprint("crm=elsewhere@localhost:", second.Port), "--yes", "--vars", "user=postgres")
	between(t, "elsewhere", m.psql(second, "elsewhere", postgresSum), before[0], after[0])
	// What holds something is refused, before anything is touched.
	m.must(1, "source", "restore", "postgres", "--yes").says("holds something already", "--replace").hides(secret)

	// The disk is dead: on a bare machine there are a new server, the archive, its key, and the password.
	first.Stop()
	gone(t, config, m.path("home", ".config"))
	bare := m.bare()
	vars := fmt.Sprint("port=", second.Port)
	bare.ok("source", "plan", "postgres", "--from", "latest", "--vars", vars).says("crm", "shop", config, "ANALYZE", "pg_hba.conf is in the configuration").hides(secret)
	bare.secretly(secret, "psql", "source", "restore", "postgres", "--from", "latest", "--vars", vars, "--steps", "--yes", "--trust", "--json")
	between(t, "crm", bare.psql(second, "crm", postgresSum), before[0], after[0])
	between(t, "shop", bare.psql(second, "shop", postgresSum), before[1], after[1])
	if got := bare.psql(second, "shop", postgresForeign); got != foreign {
		t.Errorf("foreign data:\n%s\nwere\n%s", got, foreign)
	}
	if got := bare.psql(as(second, "clerk", "another"), "crm", "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'crm'; SHOW work_mem"); got != "clerk\n8MB\n" {
		t.Errorf("owner and settings: %q", got)
	}
	if got := string(fixture.Read(t, config+"/pg_hba.conf")); got != "host all all samehost scram-sha-256\n" {
		t.Errorf("configuration: %q", got)
	}
	bare.holdsNo(secret, m.path("home"), m.path("member0"))
}
