package databases

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/driver"
	"cairn/remote"
)

// foreign is data that has broken dumps of others: bytes, characters of four bytes, NULLs, psql's own commands as text, a view, a trigger, a
// large object (its dump has a transaction of its own), names that need quotes.
const postgresForeign = `
CREATE TABLE a (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO a VALUES ` + "$ROWS" + `;
CREATE TABLE b (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO b VALUES ` + "$ROWS" + `;
CREATE TABLE filler AS SELECT g, repeat(md5(g::text), 30) AS text FROM generate_series(1, 4000) g;
CREATE SCHEMA "odd schema";
CREATE TABLE "odd schema"."Tab""le; DROP" (id serial PRIMARY KEY, "b l" bytea, t text, n int);
INSERT INTO "odd schema"."Tab""le; DROP" ("b l", t, n) VALUES ('\x00ff0a5c27', E'🗄 don''t\n\\.\n\\restrict x\n\\! touch /nothing\n', NULL), (NULL, NULL, 7);
CREATE VIEW sums AS SELECT sum(balance) AS s FROM (SELECT balance FROM a UNION ALL SELECT balance FROM b) x;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.t := coalesce(NEW.t, 'none; --'); RETURN NEW; END $f$;
CREATE TRIGGER note BEFORE INSERT ON "odd schema"."Tab""le; DROP" FOR EACH ROW EXECUTE FUNCTION noted();
SELECT lo_from_bytea(4711, '\x0001feff');
`

// postgresLook shows what of it is there.
const postgresLook = `SELECT md5(string_agg(t.*::text, '|' ORDER BY id)) FROM "odd schema"."Tab""le; DROP" t; SELECT lo_get(4711);
SELECT md5(string_agg(text, '' ORDER BY g)) FROM filler; INSERT INTO "odd schema"."Tab""le; DROP" (n) VALUES (1) RETURNING id, t;`

func postgresBank(t *testing.T, s *Server, name string) {
	t.Helper()
	try(t, s.psql, "postgres", `CREATE DATABASE "`+name+`"`)
	try(t, s.psql, name, strings.ReplaceAll(postgresForeign, "$ROWS", rows()))
}

// D5, D6, F5, A11, A24: PostgreSQL is dumped while somebody writes, who is not kept waiting, and what is restored is of one moment.
func TestPostgresRoundTrip(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	for _, format := range []string{"plain", "custom"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			name := "bank '=1 " + format
			postgresBank(t, s, name)
			postgresRoundTrip(t, s, name, format)
			left := try(t, s.psql, "postgres", `SELECT datname FROM pg_database WHERE datname LIKE '%`+format+`\_cairn\_%'`)
			if left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func postgresRoundTrip(t *testing.T, s *Server, name, format string) {
	t.Helper()
	p := source.Part{Name: "db", Postgres: &source.Postgres{Server: s.source(t), Databases: []string{name}, Format: format}}
	set := streams(t, p)
	if len(set.Streams) != 3 || set.Streams[0].File != "globals.sql" || !strings.Contains(set.Tools["pg_dump"], "PostgreSQL") {
		t.Fatalf("%+v", set)
	}
	stream := set.Streams[1]
	w := startWriter(t, s.psql, name, "a", "b")
	w.progress(t, 3)
	// D6: the dump stands in the middle of its work, and the writer goes on.
	dump := dumped(t, stream, func() { w.progress(t, 10) })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes, slowest transaction %v", stream.File, len(dump), time.Duration(w.slowest.Load()))

	as := "copy " + format
	if r := restore(t, driver.Job{Part: p, File: stream.File, As: as}, dump); !slices.Equal(r.Databases, []string{as}) {
		t.Errorf("%+v", r)
	}
	if sum := try(t, s.psql, as, "SELECT s FROM sums"); sum != total {
		t.Errorf("%s: the sum is %s", as, sum)
	}
	original := try(t, s.psql, name, "BEGIN;"+postgresLook+"ROLLBACK")
	if got := try(t, s.psql, as, postgresLook); got == "" || strings.Split(got, "\n")[0] != strings.Split(original, "\n")[0] {
		t.Errorf("%s holds\n%s\nwant\n%s", as, got, original)
	}
	// The database is there now: it is refused, and replaced only when that is allowed.
	err := refuse(t, driver.Job{Part: p, File: stream.File, As: as}, bytes.NewReader(dump))
	if !errors.Is(err, driver.ErrNotEmpty) || remote.Hint(err) == "" {
		t.Error(err)
	}
	try(t, s.psql, as, "CREATE TABLE newer (x int)")
	for _, src := range []func([]byte) error{
		func(d []byte) error {
			return refuse(t, driver.Job{Part: p, File: stream.File, As: as, Replace: true}, broken(d))
		},
		func(d []byte) error {
			return refuse(t, driver.Job{Part: p, File: stream.File, As: as, Replace: true}, half(d))
		},
	} {
		t.Log(src(dump))
		try(t, s.psql, as, "SELECT * FROM newer") // nothing is lost by what failed
	}
	restore(t, driver.Job{Part: p, File: stream.File, As: as, Replace: true}, dump)
	if left := try(t, s.psql, as, "SELECT count(*) FROM pg_class WHERE relname = 'newer'"); left != "0" {
		t.Error("the old content is still there")
	}
	// One that is there and empty keeps its owner.
	try(t, s.psql, "postgres", `CREATE DATABASE "empty `+format+`"`)
	restore(t, driver.Job{Part: p, File: stream.File, As: "empty " + format}, dump)
}

// An unchanged database gives the same bytes, so that an unchanged source is recognised.
func TestPostgresStable(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	postgresBank(t, s, "still")
	p := source.Part{Name: "db", Postgres: &source.Postgres{Server: s.source(t), Databases: []string{"still"}}}
	first := dumped(t, named(t, streams(t, p), "still.sql"), nil)
	if again := dumped(t, named(t, streams(t, p), "still.sql"), nil); !bytes.Equal(first, again) {
		t.Error("two dumps of the same data differ")
	}
}

// `all` is what the server has, without templates; roles that are missing come back, those that are there stay as they are.
func TestPostgresAllAndGlobals(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	try(t, s.psql, "postgres", `CREATE ROLE "ro;le" LOGIN PASSWORD 'x'; CREATE ROLE member IN ROLE "ro;le"; COMMENT ON ROLE member IS 'a; CREATE ROLE c;'; CREATE ROLE stays;`)
	try(t, s.psql, "postgres", `CREATE DATABASE globals OWNER member`)
	try(t, s.psql, "postgres", `CREATE DATABASE "été/x" OWNER member`)
	p := source.Part{Name: "db", Postgres: &source.Postgres{Server: s.source(t), Databases: []string{source.All}}}
	set := streams(t, p)
	var files []string
	for _, st := range set.Streams {
		files = append(files, st.File)
	}
	for _, want := range []string{"globals.sql", "postgres.sql", "%67lobals.sql", "%C3%A9t%C3%A9%2Fx.sql"} {
		if !slices.Contains(files, want) {
			t.Errorf("%s is not among %q", want, files)
		}
	}
	if slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, "template") }) {
		t.Errorf("a template is among %q", files)
	}
	dump := dumped(t, set.Streams[0], nil)
	try(t, s.psql, "postgres", `DROP DATABASE globals`)
	try(t, s.psql, "postgres", `DROP DATABASE "été/x"; `)
	try(t, s.psql, "postgres", `DROP ROLE member; DROP ROLE "ro;le"; ALTER ROLE stays CREATEDB`)
	r := restore(t, driver.Job{Part: p, File: "globals.sql"}, dump)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "postgres") || strings.Contains(r.Warnings[0], "member") {
		t.Errorf("%q", r.Warnings)
	}
	got := try(t, s.psql, "postgres", `SELECT rolname, rolcanlogin, pg_has_role('member', oid, 'member') FROM pg_roles WHERE rolname IN ('member', 'ro;le') ORDER BY 1;
		SELECT rolcreatedb FROM pg_roles WHERE rolname = 'stays'; SELECT shobj_description('member'::regrole, 'pg_authid')`)
	if want := "member|f|t\nro;le|t|t\nt\na; CREATE ROLE c;"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Owner, settings and rights of a database are no part of its dump; they come back from a stream beside it, under the new name.
func TestPostgresProperties(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	try(t, s.psql, "postgres", `CREATE ROLE "ow;ner"; CREATE ROLE user2; CREATE ROLE user3`)
	try(t, s.psql, "postgres", `CREATE DATABASE "pr""ops" OWNER "ow;ner" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	try(t, s.psql, "postgres", `ALTER DATABASE "pr""ops" SET search_path TO "a b", public; ALTER ROLE user2 IN DATABASE "pr""ops" SET work_mem TO '8MB';
		COMMENT ON DATABASE "pr""ops" IS 'DROP DATABASE x;'; REVOKE ALL ON DATABASE "pr""ops" FROM public; GRANT CONNECT ON DATABASE "pr""ops" TO user3`)
	try(t, s.psql, `pr"ops`, "CREATE EXTENSION hstore; CREATE TABLE a (x int)")
	p := source.Part{Name: "db", Postgres: &source.Postgres{Server: s.source(t), Databases: []string{`pr"ops`}}}
	set := streams(t, p)
	about := named(t, set, "pr%22ops.properties")
	if about.Databases != nil {
		t.Error("this is no database")
	}
	text := dumped(t, about, nil)
	job := driver.Job{Part: p, File: about.File, As: "props 2"}
	if err := refuse(t, job, bytes.NewReader(text)); remote.Hint(err) == "" {
		t.Error(err)
	}
	restore(t, driver.Job{Part: p, File: "pr%22ops.sql", As: job.As}, dumped(t, named(t, set, "pr%22ops.sql"), nil))
	if r := restore(t, job, text); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "LATIN1") {
		t.Errorf("%+v", r)
	}
	look := func(name string) string {
		return try(t, s.psql, "postgres", `SELECT pg_get_userbyid(datdba), datacl::text, shobj_description(d.oid, 'pg_database'),
			(SELECT string_agg(setrole || array_to_string(setconfig, ','), ';' ORDER BY setrole) FROM pg_db_role_setting r WHERE r.setdatabase = d.oid)
			FROM pg_database d WHERE datname = '`+name+`'`)
	}
	if want, got := look(`pr"ops`), look(job.As); got != want || !strings.Contains(got, "ow;ner") || !strings.Contains(got, "work_mem") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A2: nothing is believed of a dump whose server, program or caller goes in the middle, or that was not let in.
func TestPostgresFailures(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	postgresBank(t, s, "fails")
	p := source.Part{Name: "db", Postgres: &source.Postgres{Server: s.source(t), Databases: []string{"fails"}}}
	stream := named(t, streams(t, p), "fails.sql")

	err := dead(t, stream, func(context.CancelFunc) {
		try(t, s.psql, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND datname = 'fails'")
	})
	if !strings.Contains(err.Error(), "exit status") {
		t.Error(err)
	}
	begin := time.Now()
	if err := dead(t, stream, func(cancel context.CancelFunc) { cancel() }); !errors.Is(err, context.Canceled) || time.Since(begin) > 10*time.Second {
		t.Error(err, time.Since(begin))
	}
	wrong := p
	wrong.Postgres = &source.Postgres{Server: p.Postgres.Server, Databases: p.Postgres.Databases}
	wrong.Postgres.Password = secret(t, "verywrong")
	err = dead(t, named(t, streams(t, wrong), "fails.sql"), nil)
	if !strings.Contains(err.Error(), "authentication failed") || strings.Contains(err.Error(), "verywrong") || remote.Hint(err) == "" {
		t.Errorf("%v; hint %q", err, remote.Hint(err))
	}
	absent := p
	absent.Postgres = &source.Postgres{Server: p.Postgres.Server, Databases: []string{"no such"}}
	if err := dead(t, named(t, streams(t, absent), "no%20such.sql"), nil); !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

// A dump that was made to harm whoever restores it: psql's own commands are not executed.
func TestPostgresHostileDump(t *testing.T) {
	t.Parallel()
	s := postgres(t)
	postgresBank(t, s, "hostile")
	p := source.Part{Name: "db", Postgres: &source.Postgres{Server: s.source(t), Databases: []string{"hostile"}}}
	dump := dumped(t, named(t, streams(t, p), "hostile.sql"), nil)
	_, key, _ := bytes.Cut(dump, []byte(`\restrict `))
	key, _, _ = bytes.Cut(key, []byte("\n"))
	for _, line := range []string{`\! false`, `\q`, `\unrestrict ` + string(key)} {
		bad := bytes.Replace(dump, []byte("\nCREATE SCHEMA"), []byte("\n"+line+"\nCREATE SCHEMA"), 1)
		if bytes.Equal(bad, dump) {
			t.Fatal("the dump has no schema")
		}
		t.Log(refuse(t, driver.Job{Part: p, File: "hostile.sql", As: "harmed"}, bytes.NewReader(bad)))
	}
	if n := try(t, s.psql, "postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'harmed%'"); n != "0" {
		t.Error("a database was made")
	}
}
