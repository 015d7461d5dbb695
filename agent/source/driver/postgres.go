package driver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/agent/source/dump"
)

// lockWait bounds how long a dump waits for somebody who has locked a table for himself, in milliseconds.
const lockWait = "--lock-wait-timeout=600000"

// postgres is one PostgreSQL server.
type postgres struct {
	*client
	server source.Server
}

func newPostgres(ctx context.Context, s source.Server, o Options) (*postgres, error) {
	c, err := newClient(ctx, s, o)
	if err != nil {
		return nil, err
	}
	if c.password != "" {
		c.env = append(c.env, "PGPASSWORD="+c.password)
	}
	return &postgres{c, s}, nil
}

func postgresStreams(ctx context.Context, p *source.Postgres, o Options) (*Set, error) {
	if p.Format != "" && p.Format != "plain" && p.Format != "custom" {
		return nil, fmt.Errorf("format %q is neither plain nor custom", p.Format)
	}
	pg, err := newPostgres(ctx, p.Server, o)
	if err != nil {
		return nil, err
	}
	program, err := pg.find(ctx, "pg_dump")
	if err != nil {
		return nil, err
	}
	names := p.Databases
	if slices.Equal(names, []string{source.All}) {
		if names, err = pg.databases(ctx); err != nil {
			return nil, fmt.Errorf("list the databases: %w", err)
		}
	}
	set := &Set{Tools: map[string]string{program.name: program.version}}
	stable := pg.knowsRestrict(ctx)
	if p.Globals == nil || *p.Globals {
		args := pg.args("pg_dumpall", "--globals-only", lockWait)
		if stable {
			args = restrictKey(args, "")
		}
		set.Streams = append(set.Streams, Stream{File: globalsFile, Open: pg.dump(pg.make(args), dump.GlobalsMark)})
	}
	for _, name := range names {
		set.Streams = append(set.Streams, pg.stream(name, p.Format, stable), pg.about(name, stable))
	}
	return set, nil
}

// stream is the dump of one database, in one transaction of the server.
func (pg *postgres) stream(name, format string, stable bool) Stream {
	args := pg.args("pg_dump", lockWait, "--dbname="+connection(name))
	file, mark := postgresFile(name, plainSuffix), dump.PostgresMark
	switch {
	case format == "custom":
		args = append(args, "--format=custom", "--compress=0")
		file, mark = postgresFile(name, customSuffix), ""
	case stable:
		args = restrictKey(args, name)
	}
	return Stream{File: file, Databases: []string{name}, Open: pg.dump(pg.make(args), mark)}
}

// about is what the dump does not hold of the database itself. The program gives it when no schema is wanted.
func (pg *postgres) about(name string, stable bool) Stream {
	args := pg.args("pg_dump", lockWait, "--dbname="+connection(name), "--create", "--schema-only", "--exclude-schema=*")
	if stable {
		args = restrictKey(args, name)
	}
	return Stream{File: postgresFile(name, aboutSuffix), Open: pg.dump(pg.make(args), dump.PostgresMark)}
}

func (pg *postgres) make(args []string) func() (process.Command, error) {
	return func() (process.Command, error) { return pg.command(args...), nil }
}

// args are a program's arguments with which it reaches the server and never asks.
func (pg *postgres) args(program string, more ...string) []string {
	args := []string{program, "--no-password"}
	if pg.server.Host != "" {
		args = append(args, "--host="+pg.server.Host)
	}
	if pg.server.Port != 0 {
		args = append(args, "--port="+strconv.Itoa(pg.server.Port))
	}
	if pg.server.User != "" {
		args = append(args, "--username="+pg.server.User)
	}
	return append(args, more...)
}

// connection names a database. A plain name would be taken apart if it looked like a connection string.
func connection(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}

// knowsRestrict says whether pg_dump fences its output with \restrict, against servers that put psql's own commands into it, by default
// with a random key, which would make each dump another one.
func (pg *postgres) knowsRestrict(ctx context.Context) bool {
	out, err := pg.ask(ctx, pg.command("pg_dump", "--help"))
	return err == nil && strings.Contains(out, "--restrict-key")
}

// restrictKey sets a key that is the same each time and that nobody knows who does not know this machine. A restore by this program does not
// rely on it (see fence). Without a machine id the key stays random.
func restrictKey(args []string, database string) []string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(strings.TrimSpace(string(id))) < 32 {
		return args
	}
	mac := hmac.New(sha256.New, id)
	mac.Write([]byte("cairn: restrict key of the dump of " + database))
	return append(args, "--restrict-key="+hex.EncodeToString(mac.Sum(nil)[:16]))
}

// databases asks for all databases but the templates.
func (pg *postgres) databases(ctx context.Context) ([]string, error) {
	rows, err := pg.query(ctx, "", "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname")
	var names []string
	for _, r := range rows {
		names = append(names, r[0])
	}
	return names, err
}

// maintenance are databases that exist on every server, to ask and to create others from.
var maintenance = [...]string{"postgres", "template1"}

// query asks the server in a database; empty: one that is there. Rows and fields are told apart by bytes that no name has.
func (pg *postgres) query(ctx context.Context, database, sql string) ([][]string, error) {
	if database == "" {
		rows, first := pg.query(ctx, maintenance[0], sql)
		if first == nil {
			return rows, nil
		}
		rows, err := pg.query(ctx, maintenance[1], sql)
		if err != nil {
			err = first
		}
		return rows, err
	}
	args := pg.args("psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--record-separator-zero", "--field-separator=\x01",
		"--set=ON_ERROR_STOP=1", "--dbname="+connection(database), "--command="+sql)
	out, err := pg.ask(ctx, pg.command(args...))
	if err != nil || out == "" {
		return nil, err
	}
	var rows [][]string
	for row := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		rows = append(rows, strings.Split(row, "\x01"))
	}
	return rows, nil
}

// ident and literal quote for SQL.
func ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func literal(s string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

// run runs a program that takes a stream, and returns the end of what it said on its standard output.
func (c *client) run(ctx context.Context, cmd process.Command) (string, error) {
	p, err := process.Start(ctx, cmd)
	if err != nil {
		return "", err
	}
	said := &proof{r: p}
	_, readErr := io.Copy(io.Discard, said)
	if err := p.Wait(); err != nil {
		return "", c.explain(err)
	}
	return string(said.end), readErr
}
