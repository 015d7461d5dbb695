package databases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/driver"
	"cairn/remote"
)

const sqliteForeign = `
CREATE TABLE a (id INTEGER PRIMARY KEY, balance INT NOT NULL); INSERT INTO a VALUES $ROWS;
CREATE TABLE b (id INTEGER PRIMARY KEY, balance INT NOT NULL); INSERT INTO b VALUES $ROWS;
CREATE TABLE "odd ""name" (id INTEGER PRIMARY KEY, b BLOB, t TEXT, n INT, r REAL);
INSERT INTO "odd ""name" (b, t, n, r) VALUES (x'00ff0a5c2722', '🗄 don''t
.shell touch nothing
COMMIT;
', NULL, 0.1), (NULL, NULL, 7, 1e300);
CREATE TABLE filler AS WITH RECURSIVE s(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM s WHERE i < 2000) SELECT i, hex(randomblob(400)) AS t FROM s;
CREATE VIEW sums AS SELECT sum(balance) AS s FROM (SELECT balance FROM a UNION ALL SELECT balance FROM b);
CREATE TRIGGER note AFTER INSERT ON "odd ""name" BEGIN UPDATE "odd ""name" SET t = 'none; --' WHERE id = NEW.id AND t IS NULL; END;
CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('a needle in the hay');
`

const sqliteLook = `SELECT id, hex(b), t, n, r FROM "odd ""name"; SELECT count(*), sum(length(t)), max(t) FROM filler; SELECT text FROM words WHERE words MATCH 'needle';
INSERT INTO "odd ""name" (n) VALUES (1); SELECT max(id), t FROM "odd ""name";`

func sqliteBank(t *testing.T, mode string) string {
	t.Helper()
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("sqlite3 is not installed")
	}
	file := filepath.Join(t.TempDir(), "an app's.db")
	try(t, sqlite, file, "PRAGMA journal_mode="+mode+";"+strings.ReplaceAll(sqliteForeign, "$ROWS", rows()))
	return file
}

func part(file, method string) source.Part {
	return source.Part{Name: "db", SQLite: &source.SQLite{Path: file, Method: method}}
}

// D5, D6, F5: an SQLite database is copied while it is written to, and the copy is of one moment.
func TestSQLiteRoundTrip(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"backup", "dump"} {
		for _, mode := range []string{"wal", "delete"} {
			t.Run(method+" "+mode, func(t *testing.T) {
				t.Parallel()
				file := sqliteBank(t, mode)
				p := part(file, method)
				set := streams(t, p)
				w := startWriter(t, sqlite, file, "a", "b")
				w.progress(t, 3)
				var meanwhile func()
				if mode == "wal" || method == "backup" {
					meanwhile = func() { w.progress(t, 5) } // D6
				}
				dump := dumped(t, set.Streams[0], meanwhile)
				if err := w.stop(); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d bytes, slowest transaction %v", set.Streams[0].File, len(dump), time.Duration(w.slowest.Load()))
				copied := filepath.Join(t.TempDir(), "copy")
				job := driver.Job{Part: p, File: set.Streams[0].File, As: copied}
				restore(t, job, dump)
				if sum := try(t, sqlite, copied, "SELECT s FROM sums"); sum != total {
					t.Errorf("the sum is %s", sum)
				}
				if got, want := try(t, sqlite, copied, "BEGIN;"+sqliteLook), try(t, sqlite, file, "BEGIN;"+sqliteLook); got != want || !strings.Contains(got, "needle") {
					t.Errorf("the copy holds\n%s\nwant\n%s", got, want)
				}
				if err := refuse(t, job, bytes.NewReader(dump)); !errors.Is(err, driver.ErrNotEmpty) {
					t.Error(err)
				}
				sqliteReplace(t, job, dump)
			})
		}
	}
}

// sqliteReplace: the old file and its logs are there until the new one is complete, and then gone.
func sqliteReplace(t *testing.T, job driver.Job, dump []byte) {
	t.Helper()
	job.Replace = true
	file := job.As
	try(t, sqlite, file, "CREATE TABLE newer (x)")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+"-wal", []byte("a log of the old database"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(refuse(t, job, broken(dump)), "\n", refuse(t, job, half(dump)))
	if _, err := os.Stat(file + "-wal"); err != nil {
		t.Error(err)
	}
	restore(t, job, dump)
	if got := try(t, sqlite, file, "SELECT count(*) FROM sqlite_master WHERE name = 'newer'; PRAGMA integrity_check"); got != "0\nok" {
		t.Error(got)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o640 {
		t.Error(st.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "cairn") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

// A copy holds what is only in the log yet: the file itself may be hours old.
func TestSQLiteLogOnly(t *testing.T) {
	t.Parallel()
	file := sqliteBank(t, "wal")
	crashed := filepath.Join(t.TempDir(), "app.db")
	close := opened(t, file, "PRAGMA wal_autocheckpoint=0; CREATE TABLE late (x); INSERT INTO late VALUES (4711);")
	for _, suffix := range []string{"", "-wal"} { // what a crash leaves
		b, err := os.ReadFile(file + suffix)
		if err != nil || len(b) == 0 {
			t.Fatalf("%d bytes of %s: %v", len(b), suffix, err)
		}
		if err := os.WriteFile(crashed+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	close()
	p := part(crashed, "")
	dump := dumped(t, streams(t, p).Streams[0], nil)
	copied := filepath.Join(t.TempDir(), "copy")
	restore(t, driver.Job{Part: p, File: "app.db", As: copied}, dump)
	if got := try(t, sqlite, copied, "SELECT x FROM late"); got != "4711" {
		t.Errorf("got %q", got)
	}
}

// A file that is missing is an error and is not made; neither is one that holds no database believed, nor one that is in use replaced.
func TestSQLiteRefuses(t *testing.T) {
	t.Parallel()
	file := sqliteBank(t, "wal")
	dump := dumped(t, streams(t, part(file, "")).Streams[0], nil)
	missing := filepath.Join(t.TempDir(), "missing.db")
	if _, err := driver.Streams(t.Context(), part(missing, ""), driver.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file was made")
	}
	for _, method := range []string{"backup", "dump"} {
		if err := os.WriteFile(missing, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dead(t, streams(t, part(missing, method)).Streams[0], func(context.CancelFunc) {}); !strings.Contains(err.Error(), "not a database") && !strings.Contains(err.Error(), "not complete") {
			t.Error(err)
		}
	}
	damaged := bytes.Clone(dump)
	copy(damaged[len(damaged)/2:], bytes.Repeat([]byte{0xff}, 64<<10))
	err := refuse(t, driver.Job{Part: part(file, ""), File: filepath.Base(file), As: missing, Replace: true}, bytes.NewReader(damaged))
	if !strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "malformed") {
		t.Error(err)
	}
	hostile := "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n.shell echo harm > " + filepath.Join(t.TempDir(), "harm") + "\nCOMMIT;\n"
	err = refuse(t, driver.Job{Part: part(file, ""), File: "x.sql", As: missing, Replace: true}, strings.NewReader(hostile))
	if !strings.Contains(err.Error(), "safe mode") {
		t.Error(err)
	}
	// Somebody has it open.
	close := opened(t, file, "BEGIN; SELECT s FROM sums;")
	var inUse *driver.InUseError
	if err := refuse(t, driver.Job{Part: part(file, ""), File: filepath.Base(file), Replace: true}, bytes.NewReader(dump)); !errors.As(err, &inUse) ||
		inUse.PID <= 0 || remote.Hint(err) == "" {
		t.Error(err)
	}
	close()
}

// opened executes SQL in a program that then keeps the database open.
func opened(t *testing.T, file, sql string) (close func()) {
	t.Helper()
	user := exec.CommandContext(t.Context(), "sqlite3", "-batch", "-interactive", file)
	in, err := user.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := user.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte(sql + "\nSELECT 'that ' || 'was it';\n")); err != nil {
		t.Fatal(err)
	}
	var said []byte
	for b := make([]byte, 100); !bytes.Contains(said, []byte("that was it")); {
		n, err := out.Read(b)
		if err != nil {
			t.Fatalf("%s: %v", said, err)
		}
		said = append(said, b[:n]...)
	}
	return func() {
		_ = in.Close()
		_ = user.Wait() // its output may be closed already
	}
}

// F5: the place for the copy is full. (A limit of the file size stands for it: it needs no file system of its own.)
func TestSQLiteFullDisk(t *testing.T) {
	file := sqliteBank(t, "wal")
	bin, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Fatal(err)
	}
	fake := t.TempDir()
	text := fmt.Sprintf("#!/bin/sh\ntrap '' XFSZ\nulimit -f 200\nexec %s \"$@\"\n", bin)
	if err := os.WriteFile(filepath.Join(fake, "sqlite3"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", fake+":"+os.Getenv("PATH"))
	temp := t.TempDir()
	set, err := driver.Streams(t.Context(), part(file, ""), driver.Options{TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(dead(t, set.Streams[0], func(context.CancelFunc) {}))
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	// And so is the place to which it is restored: dump text is executed by the same program.
	whole, err := exec.Command(bin, file, ".dump").Output()
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "new.db")
	t.Log(refuse(t, driver.Job{Part: part(to, ""), File: "new.db.sql"}, bytes.NewReader(whole)))
	if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
