package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"cairn/tests/databases"
	"cairn/tests/fixture"
)

// clerk is a user of a MariaDB server who may do what he likes with some databases, whether they are there or not.
func (m *machine) clerk(s *databases.Server, names ...string) *databases.Server {
	m.t.Helper()
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(word)
	m.sql(s, "CREATE USER clerk@'%' IDENTIFIED BY '"+quoted+"';")
	for _, name := range names {
		m.sql(s, "GRANT ALL ON `"+name+"`.* TO clerk@'%';")
	}
	return as(s, "clerk", word)
}

// TestMariaDBDisaster is the worked disaster of docs/profiles.md, with servers and a teller between two databases: A2 A11 A24 D4 D5 D6 E9 E10 E11 E16.
func TestMariaDBDisaster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	root := mariaDB(t)
	first := m.clerk(root, "crm", "shop", "shop_before")
	m.sql(first, "CREATE DATABASE crm DEFAULT CHARACTER SET utf8mb3; CREATE DATABASE shop;")
	m.sql(first, mariadbBank("crm", "shop"))
	m.sql(first, "CREATE TABLE shop.scratch (x int); INSERT INTO shop.scratch VALUES (1);")
	config := m.path("etc-mysql")
	fixture.Write(t, config+"/my.cnf", []byte("[mysqld]\n"))

	m.ok("source", "new", "mariadb", "--set", "databases=crm,shop", "--set", "host=127.0.0.1", "--set", fmt.Sprint("port=", first.Port), "--set", "user=clerk", "--set", "ignore_tables=shop.scratch", "--set", "config="+config)
	file := m.path("home", ".config", "cairn", "sources", "mariadb.yaml")
	addition := "\nparts: [{name: databases, mariadb: {password: {file: " + m.password(word) + "}}}]\n"
	if err := os.WriteFile(file, append(fixture.Read(t, file), addition...), 0o644); err != nil {
		t.Fatal(err)
	}
	m.ok("source", "validate").says("is valid")
	w := m.teller(m.mariadbCommand(first), mariadbTransfer("crm", "shop"))
	before := w.done.Load()
	m.secretly(core, "mariadb-dump", "source", "run", "mariadb", "--json")
	after := w.stop() + 1
	m.ok("source", "verify", "mariadb").hides(core)
	foreign := m.sql(first, mariadbForeign("crm", "shop"))

	// E11, A24: somebody has deleted a table. The one database comes back beside what is there, out of the dump of both, and to another server.
	second := mariaDB(t)
	there := m.clerk(second, "crm", "shop", "elsewhere")
	m.sql(first, "DROP TABLE shop.odd;")
	m.secretly(core, "mariadb", "source", "restore", "mariadb", "--part", "databases/shop", "--db", "shop=shop_before", "--yes")
	if got := m.sql(first, "SELECT COUNT(*), HEX(t) FROM shop_before.odd WHERE id = 1; SHOW TABLES FROM shop LIKE 'odd';"); !strings.HasPrefix(got, "1\t") || strings.Contains(got, "odd") {
		t.Errorf("shop_before, and no table in shop: %q", got)
	}
	m.ok("source", "restore", "mariadb", "--part", "databases/crm", "--db", fmt.Sprint("crm=elsewhere@localhost:", there.Port), "--yes")
	if got := m.sql(there, "SELECT COUNT(*) > 0 FROM elsewhere.ledger; SELECT COUNT(*) FROM elsewhere.filler;"); got != "1\n3000\n" {
		t.Errorf("elsewhere: %q", got)
	}
	m.must(1, "source", "restore", "mariadb", "--yes").says("holds something already", "--replace").hides(core)

	// The machine is dead.
	root.Stop()
	gone(t, config, m.path("home", ".config"))
	bare := m.bare()
	vars := fmt.Sprint("port=", there.Port)
	bare.ok("source", "plan", "mariadb", "--from", "latest", "--vars", vars).says("crm, shop", config).hides(core)
	bare.secretly(core, "mariadb", "source", "restore", "mariadb", "--from", "latest", "--vars", vars, "--steps", "--yes", "--trust", "--json")
	between(t, "the copy", bare.sql(there, mariadbSum("crm", "shop")), before, after)
	if got := bare.sql(there, mariadbForeign("crm", "shop")); got != foreign {
		t.Errorf("foreign data:\n%s\nwere\n%s", got, foreign)
	}
	if got := bare.sql(there, "SHOW TABLES FROM shop; SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'crm';"); strings.Contains(got, "scratch") || !strings.HasSuffix(got, "utf8mb3\n") {
		t.Errorf("tables and character set: %q", got)
	}
	if got := string(fixture.Read(t, config+"/my.cnf")); got != "[mysqld]\n" {
		t.Errorf("configuration: %q", got)
	}
	bare.holdsNo(core, m.path("home"), m.path("member0"))
}
