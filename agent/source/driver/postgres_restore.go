package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"cairn/agent/process"
	"cairn/agent/source/dump"
	"cairn/remote"
)

// postgresRestore fills a database of another name and renames it at the end. A database that is there and empty is filled in one transaction,
// because its owner may be allowed no more than that.
func postgresRestore(ctx context.Context, j Job, src io.Reader, o Options) (*Result, error) {
	pg, err := newPostgres(ctx, j.Part.Postgres.Server, o)
	if err != nil {
		return nil, err
	}
	if j.File == globalsFile {
		return pg.restoreGlobals(ctx, src, j.Replace)
	}
	name, as, suffix, err := postgresTarget(j)
	if err != nil {
		return nil, err
	}
	if suffix == aboutSuffix {
		return pg.restoreAbout(ctx, name, as, src)
	}
	name = as
	load := pg.loadPlain
	if suffix == customSuffix {
		load = pg.loadCustom
	}
	there, err := pg.look(ctx, name)
	if err != nil {
		return nil, err
	}
	if there != nil && there.holds && !j.Replace {
		return nil, notEmpty(name)
	}
	if there != nil && !there.holds {
		if err := load(ctx, name, src); err != nil {
			return nil, fmt.Errorf("fill the empty database %s: %w", name, err)
		}
	} else if err := pg.fillAndRename(ctx, name, there, func(temp string) error { return load(ctx, temp, src) }); err != nil {
		return nil, err
	}
	return &Result{Databases: []string{name}}, nil
}

// postgresTarget says which database the stream is of, how it is to be called, and what the stream holds of it.
func postgresTarget(j Job) (name, as, suffix string, err error) {
	for _, suffix = range [...]string{aboutSuffix, customSuffix, plainSuffix} {
		if stem, ok := strings.CutSuffix(j.File, suffix); ok {
			name, err = databaseOf(stem)
			break
		}
	}
	switch {
	case err != nil:
		return "", "", "", err
	case name == "":
		return "", "", "", fmt.Errorf("%q is not the name of a stream", j.File)
	case j.Database != "" && j.Database != name:
		return "", "", "", fmt.Errorf("the stream holds database %s, not %s", name, j.Database)
	case j.As != "":
		return name, j.As, suffix, nil
	}
	return name, name, suffix, nil
}

// place is a database that is there.
type place struct {
	owner, encoding, collate, ctype string
	holds                           bool // something
}

// content counts what a new database does not have: relations, routines, schemas, types and large objects that belong to no extension.
const content = `SELECT (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
 + (SELECT count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
 + (SELECT count(*) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND t.typrelid = 0
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'))
 + (SELECT count(*) FROM pg_catalog.pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public'))
 + (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)`

// look returns nil when there is no such database.
func (pg *postgres) look(ctx context.Context, name string) (*place, error) {
	rows, err := pg.query(ctx, "", "SELECT pg_catalog.pg_get_userbyid(datdba), pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype"+
		" FROM pg_catalog.pg_database WHERE datname ="+literal(name))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	if len(rows[0]) != 4 {
		return nil, fmt.Errorf("the server's answer about database %s has %d fields", name, len(rows[0]))
	}
	count, err := pg.query(ctx, name, content)
	if err != nil {
		return nil, fmt.Errorf("see whether database %s is empty: %w", name, err)
	}
	r := rows[0]
	return &place{r[0], r[1], r[2], r[3], len(count) != 1 || count[0][0] != "0"}, nil
}

// fillAndRename leaves the old database as it is until the new one is complete. The new one gets what can be seen of the old one.
func (pg *postgres) fillAndRename(ctx context.Context, name string, old *place, fill func(temp string) error) (err error) {
	temp, aside := tempName(name), tempName(name)
	create := "CREATE DATABASE " + ident(temp) + " TEMPLATE template0"
	if old != nil {
		create += " OWNER " + ident(old.owner) + " ENCODING" + literal(old.encoding) + " LC_COLLATE" + literal(old.collate) + " LC_CTYPE" + literal(old.ctype)
	}
	if _, err := pg.query(ctx, "", create); err != nil {
		return fmt.Errorf("create a database for %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pg.drop(ctx, temp))
		}
	}()
	if err := fill(temp); err != nil {
		return fmt.Errorf("fill database %s: %w", name, err)
	}
	swap := "ALTER DATABASE " + ident(temp) + " RENAME TO " + ident(name)
	if old != nil {
		swap = "BEGIN; ALTER DATABASE " + ident(name) + " RENAME TO " + ident(aside) + "; " + swap + "; COMMIT"
	}
	if _, err := pg.query(ctx, "", swap); err != nil {
		return remote.WithHint(fmt.Errorf("put the new database in the place of %s: %w", name, err), "stop what uses the database")
	}
	if old != nil {
		if err := pg.drop(ctx, aside); err != nil {
			return fmt.Errorf("database %s is restored, but the one it replaced is still there: %w", name, err)
		}
	}
	return nil
}

// tempName makes a name of at most 63 bytes, which is all that the server keeps of one.
func tempName(name string) string {
	if len(name) > 40 {
		name = strings.ToValidUTF8(name[:40], "")
	}
	return name + "_cairn_" + random()[:8]
}

// drop removes a database that is ours; also when ctx has ended.
func (pg *postgres) drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), toolTimeout)
	defer cancel()
	if _, err := pg.query(ctx, "", "DROP DATABASE IF EXISTS "+ident(name)); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// loadPlain feeds psql. The transaction is in the script and not psql's --single-transaction: that one is committed at the end of the input, also
// when it came too early.
func (pg *postgres) loadPlain(ctx context.Context, database string, src io.Reader) error {
	psql, err := pg.find(ctx, "psql")
	if err != nil {
		return err
	}
	token := random()
	cmd := pg.psql(database)
	cmd.Stdin = dump.Fenced(dump.NewFence(src, dump.PostgresMark), fenceKey(psql), "BEGIN;\n", "COMMIT;\n", token)
	return pg.believe(ctx, cmd, token)
}

// fenceKey is a key that nobody can have put into the dump; empty: this psql has no fences.
func fenceKey(psql tool) string {
	if !dump.KnowsFence(psql.version) {
		return ""
	}
	return random()
}

func (pg *postgres) psql(database string) process.Command {
	return pg.command(pg.args("psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--dbname="+connection(database))...)
}

// believe runs psql and looks whether it came to the end of its script.
func (pg *postgres) believe(ctx context.Context, cmd process.Command, token string) error {
	said, err := pg.run(ctx, cmd)
	var failed *process.Error
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "role ") && strings.Contains(failed.Stderr, "does not exist") {
		return remote.WithHint(err, "restore the roles first: they are in "+globalsFile)
	}
	if err == nil && !strings.HasSuffix(strings.TrimSpace(said), token) {
		err = errors.New("psql ended before it had read all of the dump")
	}
	return err
}

func (pg *postgres) loadCustom(ctx context.Context, database string, src io.Reader) error {
	cmd := pg.command(pg.args("pg_restore", "--exit-on-error", "--single-transaction", "--dbname="+connection(database))...)
	cmd.Stdin = src
	_, err := pg.run(ctx, cmd)
	return err
}

// text reads a stream that is small.
func text(src io.Reader, mark string) (string, error) {
	const limit = 64 << 20
	b, err := io.ReadAll(io.LimitReader(dump.NewFence(src, mark), limit+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("it takes more than %d bytes", limit)
	}
	return string(b), err
}

// restoreGlobals makes the roles and tablespaces that are missing. Those that are there stay as they are, with their passwords, unless replace is
// set; then they get the properties of the dump. Memberships are granted in any case.
func (pg *postgres) restoreGlobals(ctx context.Context, src io.Reader, replace bool) (*Result, error) {
	roles, err := text(src, dump.GlobalsMark)
	if err != nil {
		return nil, err
	}
	rows, err := pg.query(ctx, "", "SELECT rolname FROM pg_catalog.pg_roles UNION ALL SELECT spcname FROM pg_catalog.pg_tablespace")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, r := range rows {
		there[r[0]] = true
	}
	script, kept := dump.MissingGlobals(roles, there, replace)
	if err := pg.execute(ctx, script); err != nil {
		return nil, err
	}
	r := &Result{}
	if len(kept) > 0 && !replace {
		slices.Sort(kept)
		r.Warnings = append(r.Warnings, "left as they are: roles and tablespaces "+strings.Join(kept, ", "))
	}
	return r, nil
}

// execute has psql execute a script of ours in one transaction.
func (pg *postgres) execute(ctx context.Context, script string) error {
	psql, err := pg.find(ctx, "psql")
	if err != nil {
		return err
	}
	token := random()
	cmd := pg.psql(maintenance[0])
	cmd.Stdin = dump.Fenced(strings.NewReader(script), fenceKey(psql), "BEGIN;\n", "COMMIT;\n", token)
	return pg.believe(ctx, cmd, token)
}

// restoreAbout gives a database that is there its owner, settings and rights. Encoding and locale cannot be changed any more.
func (pg *postgres) restoreAbout(ctx context.Context, name, as string, src io.Reader) (*Result, error) {
	about, err := text(src, dump.PostgresMark)
	if err != nil {
		return nil, err
	}
	there, err := pg.look(ctx, as)
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, remote.WithHint(fmt.Errorf("there is no database %s", as), "restore its content first")
	}
	create, alter := dump.Properties(about, name, as)
	if len(alter) > 0 {
		if err := pg.execute(ctx, strings.Join(alter, ";\n")+";\n"); err != nil {
			return nil, err
		}
	}
	r := &Result{Databases: []string{as}}
	m := madeAs.FindStringSubmatch(create)
	if m != nil && (m[1] != there.encoding || m[2] != there.collate) {
		r.Warnings = append(r.Warnings, fmt.Sprintf("database %s was made with encoding %s and locale %s, and has %s and %s now: to keep them, make it by hand"+
			" from template0 and restore into the empty database", as, m[1], m[2], there.encoding, there.collate))
	}
	return r, nil
}

// madeAs finds encoding and locale in CREATE DATABASE.
var madeAs = regexp.MustCompile(` ENCODING = '([^']*)'.* (?:LOCALE|LC_COLLATE) = '([^']*)'`)
