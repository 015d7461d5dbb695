package databases

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/driver"
	"cairn/remote"
)

// Foreign data: bytes, characters of four bytes, NULLs, statements as text in data, comments and routines, in modes in which a backslash or a
// double quote means something else; a view, a trigger, an event.
const (
	mariadbForeign = `
CREATE TABLE odd (id int AUTO_INCREMENT PRIMARY KEY, b blob, t text CHARACTER SET utf8mb4, n int, bits bit(5), g int AS (n + 1)) COMMENT 'a;
USE mysql;
CREATE DATABASE x;';
INSERT INTO odd (b, t, n, bits) VALUES (UNHEX('00FF0A5C27221A'), '🗄 don''t\nUSE mysql;\n\\', NULL, b'101'), (NULL, NULL, 7, NULL);
CREATE TABLE filler (id int PRIMARY KEY, t text);
INSERT INTO filler SELECT seq, REPEAT(MD5(seq), 30) FROM seq_1_to_4000;
CREATE VIEW shown AS SELECT id, t FROM odd;
CREATE EVENT never_now ON SCHEDULE EVERY 1 YEAR DISABLE DO DELETE FROM odd;
DELIMITER //
CREATE TRIGGER note BEFORE INSERT ON odd FOR EACH ROW BEGIN
  IF NEW.t IS NULL AND NEW.n = 1 THEN SET NEW.t = 'none; -- '; END IF; -- don't stop here
END//
SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'//
CREATE FUNCTION slash() RETURNS text DETERMINISTIC BEGIN
  /* don't
USE mysql; */
  RETURN CONCAT('\', 'x
USE mysql;
');
END//
SET sql_mode = DEFAULT//
CREATE PROCEDURE two() BEGIN SELECT "it's; \" '"; SELECT 2; END//
DELIMITER ;
`
	mariadbLook = `SELECT MD5(GROUP_CONCAT(id, HEX(COALESCE(b, 'null')), HEX(COALESCE(t, 'null')), COALESCE(n, 'null'), COALESCE(bits + 0, 'null') ORDER BY id)) FROM odd;
SELECT MD5(GROUP_CONCAT(MD5(t) ORDER BY id)) FROM filler; SELECT COUNT(*) FROM shown; SELECT HEX(slash()); CALL two();
SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE(); SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE();
SELECT table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'odd';`
)

// mariadbBank makes two databases whose accounts have a sum in common.
func mariadbBank(t *testing.T, s *Server, one, two string) {
	t.Helper()
	for _, name := range []string{one, two} {
		q := "`" + strings.ReplaceAll(name, "`", "``") + "`"
		try(t, s.mysql, "mysql", "CREATE DATABASE "+q+" DEFAULT CHARACTER SET utf8mb3; USE "+q+
			"; CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL) ENGINE=InnoDB; INSERT INTO accounts VALUES "+rows()+";")
		try(t, s.mysql, name, mariadbForeign)
	}
}

func sumOf(t *testing.T, s *Server, one, two string) string {
	t.Helper()
	return try(t, s.mysql, "mysql", "SELECT SUM(balance) FROM (SELECT balance FROM `"+one+"`.accounts UNION ALL SELECT balance FROM `"+two+"`.accounts) x")
}

// E9, E10, D5, D6, F5, A11, A24, E11: one dump of two databases is of one moment, the writer is not kept waiting, and each database comes back by itself
// under another name.
func TestMariaDBRoundTrip(t *testing.T) {
	t.Parallel()
	s := mariadb(t)
	mariadbBank(t, s, "bank1", "bank two")
	try(t, s.mysql, "bank1", "CREATE TABLE unsafe (x int) ENGINE=MyISAM; CREATE TABLE ignored (x int); INSERT INTO ignored VALUES (1)")
	p := source.Part{Name: "db", MariaDB: &source.MariaDB{Server: s.source(t), Databases: []string{"bank1", "bank two"}, IgnoreTable: []string{"bank1.ignored"}}}
	set := streams(t, p)
	if len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0], "bank1.unsafe (MyISAM)") || !strings.Contains(set.Tools["mariadb-dump"], "MariaDB") {
		t.Errorf("%+v", set)
	}
	stream := named(t, set, "databases.sql")
	w := startWriter(t, s.mysql, "mysql", "bank1.accounts", "`bank two`.accounts")
	w.progress(t, 3)
	// D6: the dump stands in the middle of its work, and the writer goes on.
	dump := dumped(t, stream, func() { w.progress(t, 10) })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, slowest transaction %v", len(dump), time.Duration(w.slowest.Load()))

	for name, as := range map[string]string{"bank1": "copy`1", "bank two": "copy2"} {
		r := restore(t, driver.Job{Part: p, File: stream.File, Database: name, As: as}, dump)
		if !slices.Equal(r.Databases, []string{as}) {
			t.Errorf("%+v", r)
		}
		if want, got := try(t, s.mysql, name, mariadbLook), try(t, s.mysql, as, mariadbLook); got != want || !strings.Contains(got, "never_now") {
			t.Errorf("%s holds\n%s\nwant\n%s", as, got, want)
		}
		if got := try(t, s.mysql, as, "SELECT @@character_set_database"); got != "utf8mb3" {
			t.Errorf("%s has character set %s", as, got)
		}
	}
	if got := sumOf(t, s, "copy``1", "copy2"); got != total {
		t.Errorf("the sum is %s", got)
	}
	if got := try(t, s.mysql, "copy`1", "SHOW TABLES LIKE 'ignored'"); got != "" {
		t.Error("the ignored table is there")
	}
	if got := try(t, s.mysql, "bank1", "SELECT * FROM ignored"); got != "1" {
		t.Error("the original was touched")
	}
}

// All databases of a stream under their own names, on a server that has them, and on one that has not.
func TestMariaDBReplace(t *testing.T) {
	t.Parallel()
	s := mariadb(t)
	mariadbBank(t, s, "r1", "r2")
	p := source.Part{Name: "db", MariaDB: &source.MariaDB{Server: s.source(t), Databases: []string{"r1", "r2"}}}
	dump := dumped(t, named(t, streams(t, p), "databases.sql"), nil)
	if again := dumped(t, named(t, streams(t, p), "databases.sql"), nil); !bytes.Equal(dump, again) {
		t.Error("two dumps of the same data differ")
	}
	job := driver.Job{Part: p, File: "databases.sql"}
	if err := refuse(t, job, bytes.NewReader(dump)); !errors.Is(err, driver.ErrNotEmpty) || remote.Hint(err) == "" {
		t.Error(err)
	}
	want := try(t, s.mysql, "r2", mariadbLook)
	try(t, s.mysql, "mysql", "DROP DATABASE r1; CREATE TABLE r2.newer (x int)")
	job.Replace = true
	if r := restore(t, job, dump); !slices.Equal(r.Databases, []string{"r1", "r2"}) {
		t.Errorf("%+v", r)
	}
	if got := try(t, s.mysql, "r2", mariadbLook+"SHOW TABLES LIKE 'newer'"); got != want {
		t.Errorf("r2 holds\n%s\nwant\n%s", got, want)
	}
	if got := sumOf(t, s, "r1", "r2"); got != total {
		t.Errorf("the sum is %s", got)
	}
	// What does not come to its end leaves nothing half-filled: not what was missing, and of what was there and empty the empty database.
	try(t, s.mysql, "mysql", "CREATE DATABASE was_empty CHARACTER SET latin2")
	for _, as := range []string{"was_missing", "was_empty"} {
		for _, src := range []func() error{
			func() error {
				return refuse(t, driver.Job{Part: p, File: job.File, Database: "r1", As: as}, broken(dump))
			},
			func() error {
				return refuse(t, driver.Job{Part: p, File: job.File, Database: "r1", As: as}, half(dump))
			},
			func() error {
				return refuse(t, driver.Job{Part: p, File: job.File, Database: "r1", As: as}, bytes.NewReader(dump[:len(dump)-10]))
			},
		} {
			t.Log(src())
		}
	}
	got := try(t, s.mysql, "mysql", "SELECT schema_name, default_character_set_name, (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = schema_name) FROM information_schema.schemata WHERE schema_name LIKE 'was%'")
	if got != "was_empty\tlatin2\t0" {
		t.Errorf("left: %q", got)
	}
	if err := refuse(t, driver.Job{Part: p, File: job.File, Database: "other", As: "x"}, bytes.NewReader(dump)); !strings.Contains(err.Error(), "not in the dump") {
		t.Error(err)
	}
}

// A2: nothing is believed of a dump whose server or caller goes in the middle, or that was not let in.
func TestMariaDBFailures(t *testing.T) {
	t.Parallel()
	s := mariadb(t)
	mariadbBank(t, s, "f1", "f2")
	server := s.source(t)
	server.User = "killed"
	word := secret(t, "Another word")
	server.Password = word
	try(t, s.mysql, "mysql", "CREATE USER killed@'%' IDENTIFIED BY 'Another word'; GRANT ALL ON *.* TO killed@'%'")
	p := source.Part{Name: "db", MariaDB: &source.MariaDB{Server: server, Databases: []string{"f1", "f2"}}}
	stream := named(t, streams(t, p), "databases.sql")
	err := dead(t, stream, func(context.CancelFunc) {
		try(t, s.mysql, "mysql", "KILL "+try(t, s.mysql, "mysql", "SELECT id FROM information_schema.processlist WHERE user = 'killed'"))
	})
	if !strings.Contains(err.Error(), "exit status") {
		t.Error(err)
	}
	begin := time.Now()
	if err := dead(t, stream, func(cancel context.CancelFunc) { cancel() }); !errors.Is(err, context.Canceled) || time.Since(begin) > 10*time.Second {
		t.Error(err, time.Since(begin))
	}
	if err := os.WriteFile(word.File, []byte("verywrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = driver.Streams(t.Context(), p, driver.Options{})
	if err == nil || !strings.Contains(err.Error(), "Access denied") || strings.Contains(err.Error(), "verywrong") || remote.Hint(err) == "" {
		t.Errorf("%v; hint %q", err, remote.Hint(err))
	}
}

// A client prefix gets the password in its environment, and says in a hint what is missing when it does not hand it on.
func TestMariaDBPrefix(t *testing.T) {
	t.Parallel()
	s := mariadb(t)
	mariadbBank(t, s, "p1", "p2")
	run := func(handOn string) string {
		name := filepath.Join(t.TempDir(), "container")
		script := "#!/bin/sh\nexec env -i PATH=\"$PATH\" " + handOn + " \"$@\"\n" // like docker exec: nothing passes but what is named
		if err := os.WriteFile(name, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	p := source.Part{Name: "db", MariaDB: &source.MariaDB{Server: s.source(t), Databases: []string{"p1"}}}
	p.MariaDB.Client = []string{run(`MYSQL_PWD="$MYSQL_PWD"`)}
	dump := dumped(t, named(t, streams(t, p), "databases.sql"), nil)
	restore(t, driver.Job{Part: p, File: "databases.sql", Database: "p1", As: "p3"}, dump)
	// The end of a prefix's input is not taken for the end of the dump.
	refuse(t, driver.Job{Part: p, File: "databases.sql", Database: "p1", As: "p4"}, broken(dump))
	p.MariaDB.Client = []string{run("")}
	if _, err := driver.Streams(t.Context(), p, driver.Options{}); err == nil || !strings.Contains(remote.Hint(err), "MYSQL_PWD") {
		t.Errorf("%v; hint %q", err, remote.Hint(err))
	}
}
