package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/tests/databases"
)

// A bank (F5) has accounts in two tables that a dump reads first and last, and a ledger. Each transfer moves one from the first to the last table
// and is written down, all in one transaction. So of any one moment the sum of all balances is bankTotal, and the first table lacks as much as
// the ledger has lines; of a dump that is not of one moment neither is true.

const bankTotal = 20000

// word is a secret that needs quotes everywhere; core is what is looked for, because it looks the same in all of them.
const word, core = `zq7Horse "b\'ö`, "zq7Horse"

// as is a server as somebody else sees it.
func as(s *databases.Server, user, password string) *databases.Server {
	return &databases.Server{Port: s.Port, Socket: s.Socket, User: user, Password: password}
}

func postgresDB(t *testing.T) *databases.Server {
	t.Helper()
	s, err := databases.Postgres()
	if errors.Is(err, databases.ErrMissing) {
		t.Skip("postgresql is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// psqlCommand is a client that reads statements.
func (m *machine) psqlCommand(s *databases.Server, database string) *exec.Cmd {
	c := m.other("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", fmt.Sprint(s.Port), "-U", s.User)
	c.Env = append(c.Env, "PGPASSWORD="+s.Password, "PGDATABASE="+database)
	return c
}

// psql asks a server.
func (m *machine) psql(s *databases.Server, database, sql string) string {
	m.t.Helper()
	c := m.psqlCommand(s, database)
	c.Stdin = strings.NewReader(sql)
	r := finish(m.t, c)
	if r.code != 0 {
		m.t.Fatal(r)
	}
	return r.stdout
}

func (m *machine) mariadbCommand(s *databases.Server) *exec.Cmd {
	c := m.other("mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", fmt.Sprint("--port=", s.Port), "--user="+s.User, "--batch", "--raw",
		"--skip-column-names", "--unbuffered", "--default-character-set=utf8mb4")
	c.Env = append(c.Env, "MYSQL_PWD="+s.Password)
	return c
}

// sql asks a MariaDB server.
func (m *machine) sql(s *databases.Server, sql string) string {
	m.t.Helper()
	c := m.mariadbCommand(s)
	c.Stdin = strings.NewReader(sql)
	r := finish(m.t, c)
	if r.code != 0 {
		m.t.Fatal(r)
	}
	return r.stdout
}

// teller moves money until it is stopped.
type teller struct {
	done atomic.Int64 // transfers
	stop func() int64 // says how many
}

// teller starts one with a client program that takes one transfer after the other and says "moved" after each.
func (m *machine) teller(client *exec.Cmd, transfer func(i int64) string) *teller {
	m.t.Helper()
	var complaint strings.Builder
	client.Stderr = &complaint
	in, err1 := client.StdinPipe()
	out, err2 := client.StdoutPipe()
	if err := errors.Join(err1, err2, client.Start()); err != nil {
		m.t.Fatal(err)
	}
	w, end, ended := &teller{}, make(chan struct{}), make(chan error, 1)
	go func() {
		said := bufio.NewScanner(out)
		for {
			select {
			case <-end:
				ended <- errors.Join(in.Close(), client.Wait())
				return
			case <-time.After(3 * time.Millisecond): // others want to work, too
			}
			_, err := io.WriteString(in, transfer(w.done.Load())+"\n")
			if err != nil || !said.Scan() || said.Text() != "moved" {
				ended <- errors.Join(fmt.Errorf("transfer %d: %q", w.done.Load(), said.Text()), err, client.Wait())
				return
			}
			w.done.Add(1)
		}
	}()
	w.stop = sync.OnceValue(func() int64 {
		close(end)
		if err := <-ended; err != nil {
			m.t.Errorf("teller: %v: %s", err, complaint.String())
		}
		return w.done.Load()
	})
	m.t.Cleanup(func() { w.stop() })
	for begin := time.Now(); w.done.Load() < 3; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			m.t.Fatal("the teller does not begin")
		}
	}
	return w
}

// between demands that a bank holds what it held at one moment between two numbers of transfers: sum and ledger say so, as "SUM|LACKING|LINES".
func between(t *testing.T, what, said string, before, after int64) {
	t.Helper()
	var sum, lacking, lines int64
	if n, err := fmt.Sscanf(strings.TrimSpace(said), "%d|%d|%d", &sum, &lacking, &lines); n != 3 || err != nil {
		t.Fatalf("%s: %q", what, said)
	}
	if sum != bankTotal || lacking != lines {
		t.Errorf("%s is not of one moment: the sum is %d, the first table lacks %d and the ledger has %d lines", what, sum, lacking, lines)
	}
	if lines < before || lines > after || before == after {
		t.Errorf("%s holds %d transfers; when the run began there were %d, when it ended %d", what, lines, before, after)
	}
}

// postgresBank is a bank in a PostgreSQL database, with data that has broken dumps of others: bytes, characters of four bytes, psql's own
// commands as text, NULLs, a large object, names that need quotes, a view, a trigger.
const postgresBank = `
CREATE TABLE accounts_a (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO accounts_a SELECT g, 100 FROM generate_series(1, 100) g;
CREATE TABLE accounts_z (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO accounts_z SELECT g, 100 FROM generate_series(1, 100) g;
CREATE TABLE filler AS SELECT g, repeat(md5(g::text), 30) AS text FROM generate_series(1, 3000) g;
CREATE TABLE ledger (id int PRIMARY KEY);
CREATE SCHEMA "odd schema";
CREATE TABLE "odd schema"."Tab""le; DROP" (id serial PRIMARY KEY, "b l" bytea, t text, n int);
INSERT INTO "odd schema"."Tab""le; DROP" ("b l", t, n) VALUES ('\x00ff0a5c27', E'🗄 don''t\n\\.\n\\! touch /nothing\n', NULL), (NULL, NULL, 7), ('', '', 0);
CREATE VIEW sums AS SELECT sum(balance) AS s FROM (SELECT balance FROM accounts_a UNION ALL SELECT balance FROM accounts_z) x;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.t := coalesce(NEW.t, 'none; --'); RETURN NEW; END $f$;
CREATE TRIGGER note BEFORE INSERT ON "odd schema"."Tab""le; DROP" FOR EACH ROW EXECUTE FUNCTION noted();
SELECT lo_from_bytea(4711, '\x0001feff');
`

// postgresSum is for between, postgresForeign shows the rest: data, and that view and trigger work.
const (
	postgresSum     = `SELECT s, (SELECT 10000 - sum(balance) FROM accounts_a), (SELECT count(*) FROM ledger) FROM sums;`
	postgresForeign = `BEGIN; SELECT t.* FROM "odd schema"."Tab""le; DROP" t ORDER BY id; SELECT lo_get(4711); SELECT count(*), md5(string_agg(text, '' ORDER BY g)) FROM filler;
INSERT INTO "odd schema"."Tab""le; DROP" (n) VALUES (1) RETURNING t; SELECT pg_get_viewdef('sums'::regclass); ROLLBACK;`
)

func postgresTransfer(i int64) string {
	return fmt.Sprintf("BEGIN; UPDATE accounts_a SET balance = balance - 1 WHERE id = %d; INSERT INTO ledger VALUES (%d);"+
		" UPDATE accounts_z SET balance = balance + 1 WHERE id = %d; COMMIT; SELECT 'moved';", i%100+1, i, 100-i%100)
}

// mariadbBank is a bank in two MariaDB databases: one dump of both has to be of one moment.
func mariadbBank(first, last string) string {
	account := "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL) ENGINE=InnoDB; INSERT INTO accounts SELECT seq, 100 FROM seq_1_to_100;\n"
	return "USE `" + first + "`;\n" + account + `CREATE TABLE ledger (id int PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE filler (id int PRIMARY KEY, t text); INSERT INTO filler SELECT seq, REPEAT(MD5(seq), 30) FROM seq_1_to_3000;
` + "USE `" + last + "`;\n" + account + `CREATE TABLE odd (id int AUTO_INCREMENT PRIMARY KEY, b blob, t text CHARACTER SET utf8mb4, n int, bits bit(5), g int AS (n + 1)) COMMENT 'a;
USE mysql;';
INSERT INTO odd (b, t, n, bits) VALUES (UNHEX('00FF0A5C27221A'), '🗄 don''t\nUSE mysql;\n\\', NULL, b'101'), (NULL, NULL, 7, NULL), ('', '', 0, b'0');
CREATE VIEW shown AS SELECT id, t FROM odd;
DELIMITER //
CREATE TRIGGER note BEFORE INSERT ON odd FOR EACH ROW BEGIN IF NEW.t IS NULL THEN SET NEW.t = 'none; -- '; END IF; END//
DELIMITER ;
`
}

func mariadbSum(first, last string) string {
	return fmt.Sprintf("SELECT CONCAT((SELECT SUM(balance) FROM `%[1]s`.accounts) + (SELECT SUM(balance) FROM `%[2]s`.accounts), '|', 10000 - (SELECT SUM(balance) FROM `%[1]s`.accounts),"+
		" '|', (SELECT COUNT(*) FROM `%[1]s`.ledger));", first, last)
}

func mariadbForeign(first, last string) string {
	return fmt.Sprintf("SELECT COUNT(*), MD5(GROUP_CONCAT(MD5(t) ORDER BY id)) FROM `%s`.filler; USE `%s`; START TRANSACTION; INSERT INTO odd (id, n) VALUES (99, 1);"+
		" SELECT id, HEX(b), HEX(t), n, bits + 0, g FROM odd ORDER BY id; SELECT COUNT(*), HEX(MAX(t)) FROM shown; ROLLBACK;"+
		" SELECT table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'odd';", first, last)
}

func mariadbTransfer(first, last string) func(int64) string {
	return func(i int64) string {
		return fmt.Sprintf("BEGIN; UPDATE `%[1]s`.accounts SET balance = balance - 1 WHERE id = %[3]d; INSERT INTO `%[1]s`.ledger VALUES (%[4]d);"+
			" UPDATE `%[2]s`.accounts SET balance = balance + 1 WHERE id = %[5]d; COMMIT; SELECT 'moved';", first, last, i%100+1, i, 100-i%100)
	}
}
