package driver

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
)

// fake makes the only programs that can be found: each notes its arguments and what it reads of its option file, and says what it is told to.
func fake(t *testing.T, programs map[string]string) (record func() []string) {
	t.Helper()
	dir := t.TempDir()
	for name, says := range programs {
		script := "#!/bin/sh\nprintf '%s\\n' \"${0##*/} $*\" >> " + dir + "/record\n" +
			"case \"$1\" in --version) echo " + name + " Ver 10.11-MariaDB; exit 0;; --defaults-extra-file=*) read -r a; while read -r l; do " +
			"printf '%s\\n' \"$l\" >> " + dir + "/words; done < \"${1#*=}\";; esac\n" +
			"printf '%s' \"$PGPASSWORD$CAIRN_PASSWORD\" >> " + dir + "/env\n" + says + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("CAIRN_PASSWORD", "of the archive")
	return func() []string {
		b, err := os.ReadFile(filepath.Join(dir, "record"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

func word(t *testing.T, text string) *source.Secret {
	t.Helper()
	t.Setenv("TEST_WORD", text)
	return &source.Secret{Env: "TEST_WORD"}
}

func read(t *testing.T, s Stream) (string, error) {
	t.Helper()
	src, wait, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(src)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), wait()
}

// E16: exactly `mysqldump --databases … --ignore-table=…` three times, in one call; and the password is nowhere among the arguments.
func TestMysqldumpArguments(t *testing.T) {
	record := fake(t, map[string]string{"mysqldump": "echo '-- Dump completed'"})
	p := source.Part{Name: "db", MariaDB: &source.MariaDB{
		Server:      source.Server{Host: "127.0.0.1", Port: 3307, User: "seafile", Password: word(t, `se"cr\et`)},
		Databases:   []string{"ccnet_db", "seafile_db", "seahub_db"},
		IgnoreTable: []string{"seafile_db.Repo", "seafile_db.Branch", "seafile_db.RepoHead"},
	}}
	set, err := Streams(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := read(t, set.Streams[0]); err != nil || text != "-- Dump completed\n" {
		t.Fatal(text, err)
	}
	want := []string{
		"mysqldump --version",
		"mysqldump --defaults-extra-file=/dev/fd/3 --host=127.0.0.1 --port=3307 --user=seafile --single-transaction --quick --routines --events --triggers --hex-blob" +
			" --default-character-set=utf8mb4 --skip-dump-date --max-allowed-packet=1073741824" +
			" --ignore-table=seafile_db.Repo --ignore-table=seafile_db.Branch --ignore-table=seafile_db.RepoHead --databases ccnet_db seafile_db seahub_db",
	}
	got := record()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	words, err := os.ReadFile(filepath.Join(os.Getenv("PATH"), "words"))
	if err != nil || !strings.Contains(string(words), `password="se\"cr\\et"`) {
		t.Errorf("the option file holds %q: %v", words, err)
	}
}

// PostgreSQL's programs get the password in their environment, and not the keys of the archive.
func TestPostgresArguments(t *testing.T) {
	record := fake(t, map[string]string{
		"pg_dump":    "echo '-- PostgreSQL database dump complete'",
		"pg_dumpall": "echo '-- PostgreSQL database cluster dump complete'",
	})
	p := source.Part{Name: "db", Postgres: &source.Postgres{
		Server: source.Server{Host: "db.example", Port: 5433, User: "backup", Password: word(t, "secretword")}, Databases: []string{"app"}, Format: "custom"}}
	set, err := Streams(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range set.Streams {
		if _, err := read(t, s); err != nil {
			t.Error(s.File, err)
		}
	}
	want := []string{
		"pg_dump --version", "pg_dump --help",
		"pg_dumpall --no-password --host=db.example --port=5433 --username=backup --globals-only --lock-wait-timeout=600000",
		"pg_dump --no-password --host=db.example --port=5433 --username=backup --lock-wait-timeout=600000 --dbname=dbname='app' --format=custom --compress=0",
		"pg_dump --no-password --host=db.example --port=5433 --username=backup --lock-wait-timeout=600000 --dbname=dbname='app' --create --schema-only --exclude-schema=*",
	}
	if diff := cmp.Diff(want, record()); diff != "" {
		t.Error(diff)
	}
	env, err := os.ReadFile(filepath.Join(os.Getenv("PATH"), "env"))
	if err != nil || !strings.Contains(string(env), "secretword") || strings.Contains(string(env), "of the archive") {
		t.Errorf("the environment holds %q: %v", env, err)
	}
}

// A2: a program that writes nothing, or not all, is not believed although it says that all is well; one that fails is not, whatever it wrote;
// and what it says of the password is not repeated.
func TestNotBelieved(t *testing.T) {
	for name, c := range map[string]struct{ says, want string }{
		"nothing":     {"exit 0", "the dump is empty"},
		"half":        {"echo 'CREATE TABLE'; exit 0", "not complete"},
		"mark inside": {"echo '-- PostgreSQL database dump complete'; echo more", "not complete"},
		"status":      {"echo '-- PostgreSQL database dump complete'; echo 'lost the server with secretword' >&2; exit 3", "exit status 3: lost the server with ***"},
		"signal":      {"echo '-- PostgreSQL database dump complete'; kill -9 $$", "killed"},
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, map[string]string{"pg_dump": c.says})
			no := false
			p := source.Part{Name: "db", Postgres: &source.Postgres{Server: source.Server{Password: word(t, "secretword")}, Databases: []string{"app"}, Globals: &no}}
			var said strings.Builder
			set, err := Streams(t.Context(), p, Options{Stderr: &said})
			if err != nil {
				t.Fatal(err)
			}
			_, err = read(t, set.Streams[0])
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error()+said.String(), "secretword") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The newer name of a program comes first; behind a prefix, too.
func TestFind(t *testing.T) {
	record := fake(t, map[string]string{"mariadb-dump": "", "mysqldump": "", "exec": "shift 2; exec \"$@\""})
	for _, prefix := range [][]string{nil, {"exec", "-i", "db"}} {
		c := &client{prefix: prefix, env: environment()}
		if prefix != nil {
			c.env = append(c.env, "X=1")
		}
		got, err := c.find(context.Background(), "mariadb-dump", "mysqldump")
		if err != nil || got.name != "mariadb-dump" || !strings.Contains(got.version, "10.11") {
			t.Errorf("%+v: %v (%q)", got, err, record())
		}
	}
	if _, err := (&client{env: environment()}).find(t.Context(), "pg_dump"); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Error(err)
	}
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"app", "a/b", "..", ".hidden", "été 🗄", "%41", "a.b-c_d"} {
		file := FileName(name)
		if strings.ContainsAny(file, "/ ") || file[0] == '.' {
			t.Errorf("%q became %q", name, file)
		}
		if back, err := databaseOf(file); err != nil || back != name {
			t.Errorf("%q became %q and then %q: %v", name, file, back, err)
		}
	}
	if got := postgresFile("globals", plainSuffix); got == globalsFile {
		t.Error("a database has the name of the roles' stream")
	}
	for _, bad := range []string{"", "a%", "a%4", "a%zz"} {
		if got, err := databaseOf(bad); err == nil {
			t.Errorf("%q gave %q", bad, got)
		}
	}
}
