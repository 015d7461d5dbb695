package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/agent/source/dump"
)

const packet = "--max-allowed-packet=1073741824" // one row may be as large as the server takes

// mariadb is one MariaDB or MySQL server.
type mariadb struct {
	*client
	server source.Server
}

func newMariaDB(ctx context.Context, s source.Server, o Options) (*mariadb, error) {
	c, err := newClient(ctx, s, o)
	if err != nil {
		return nil, err
	}
	if c.password != "" && len(c.prefix) > 0 {
		c.env = append(c.env, "MYSQL_PWD="+c.password)
	}
	return &mariadb{c, s}, nil
}

// systemDatabases are not the users' data. Who wants the users and their rights names mysql.
var systemDatabases = [...]string{"information_schema", "performance_schema", "sys", "mysql", "lost+found"}

// mariadbStreams makes one stream of all databases, so that they are of one moment.
func mariadbStreams(ctx context.Context, p *source.MariaDB, o Options) (*Set, error) {
	m, err := newMariaDB(ctx, p.Server, o)
	if err != nil {
		return nil, err
	}
	program, err := m.find(ctx, "mariadb-dump", "mysqldump")
	if err != nil {
		return nil, err
	}
	set := &Set{Tools: map[string]string{program.name: program.version}}
	names := p.Databases
	sql, err := m.find(ctx, "mariadb", "mysql")
	switch {
	case err == nil:
		if slices.Equal(names, []string{source.All}) {
			if names, err = m.databases(ctx, sql); err != nil {
				return nil, fmt.Errorf("list the databases: %w", err)
			}
		}
		if set.Warnings, err = m.unsafe(ctx, sql, names); err != nil {
			return nil, err
		}
	case slices.Equal(names, []string{source.All}):
		return nil, err
	}
	args, err := dumpArgs(program, names, p.IgnoreTable)
	if err != nil {
		return nil, err
	}
	open := m.dump(func() (process.Command, error) { return m.program(program.name, args...) }, dump.MariaDBMark)
	set.Streams = []Stream{{File: databasesFile, Databases: names, Open: open}}
	return set, nil
}

// dumpArgs: what is dumped is of the moment at which the one transaction begins, and no table is locked. The dump has no date in it.
func dumpArgs(program tool, names, ignored []string) ([]string, error) {
	if len(names) == 0 {
		return nil, errors.New("there is no database to dump")
	}
	args := []string{"--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob",
		"--default-character-set=utf8mb4", "--skip-dump-date", packet}
	if !strings.Contains(program.version, "MariaDB") {
		// MySQL's own program would name the server's past transactions, which another server refuses, and needs a privilege for tablespaces.
		args = append(args, "--set-gtid-purged=OFF", "--no-tablespaces")
	}
	for _, table := range ignored {
		if database, name, ok := strings.Cut(table, "."); !ok || database == "" || name == "" {
			return nil, fmt.Errorf("ignore table %q: it is to be DATABASE.TABLE", table)
		}
		args = append(args, "--ignore-table="+table)
	}
	args = append(args, "--databases")
	for _, name := range names {
		if name == "" || name[0] == '-' {
			return nil, fmt.Errorf("%q cannot be the name of a database", name)
		}
		args = append(args, name)
	}
	return args, nil
}

// program is a client program that reaches the server. Its option file is a pipe, which only it can read.
func (m *mariadb) program(name string, more ...string) (process.Command, error) {
	args := []string{name}
	var files []*os.File
	if m.password != "" && len(m.prefix) == 0 {
		f, err := optionFile(m.password)
		if err != nil {
			return process.Command{}, fmt.Errorf("hand over the password: %w", err)
		}
		files = append(files, f)
		args = append(args, "--defaults-extra-file=/dev/fd/3") // must be the first
	}
	switch host := m.server.Host; {
	case strings.HasPrefix(host, "/"):
		args = append(args, "--socket="+host)
	case host != "":
		args = append(args, "--host="+host)
	}
	if m.server.Port != 0 {
		args = append(args, "--port="+strconv.Itoa(m.server.Port))
		if h := m.server.Host; h == "" || h == "localhost" {
			args = append(args, "--protocol=tcp") // else the port would be ignored and the local socket taken
		}
	}
	if m.server.User != "" {
		args = append(args, "--user="+m.server.User)
	}
	cmd := m.command(append(args, more...)...)
	cmd.Files = files
	return cmd, nil
}

// optionFile is the reading end of a pipe that holds the password. A pipe takes 64 KiB before somebody reads it.
func optionFile(password string) (*os.File, error) {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(password)
	text := "[client]\npassword=\"" + quoted + "\"\n"
	if len(text) > 4<<10 {
		return nil, errors.New("it is too long")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.WriteString(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// query returns rows as lines; the statements here have one column.
func (m *mariadb) query(ctx context.Context, sql tool, statement string) ([]string, error) {
	cmd, err := m.program(sql.name, "--batch", "--raw", "--skip-column-names", "--default-character-set=utf8mb4", "--execute="+statement)
	if err != nil {
		return nil, err
	}
	out, err := m.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return lines(out), nil
}

func (m *mariadb) databases(ctx context.Context, sql tool) ([]string, error) {
	names, err := m.query(ctx, sql, "SHOW DATABASES")
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(systemDatabases[:], strings.ToLower(n)) }), err
}

// unsafe warns of tables that know no transactions: what is dumped of them is not of one moment.
func (m *mariadb) unsafe(ctx context.Context, sql tool, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	tables, err := m.query(ctx, sql, "SELECT CONCAT(table_schema, '.', table_name, ' (', engine, ')') FROM information_schema.tables"+
		" WHERE table_type = 'BASE TABLE' AND engine <> 'InnoDB' AND table_schema IN ("+literals(names)+") ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("look at the tables: %w", err)
	}
	const shown = 10
	if more := len(tables) - shown; more > 0 {
		tables = append(tables[:shown:shown], fmt.Sprintf("and %d more", more))
	}
	if len(tables) == 0 {
		return nil, nil
	}
	return []string{"not of one moment with the rest, because their engine knows no transactions: " + strings.Join(tables, ", ")}, nil
}

// mysqlLiteral quotes for SQL.
func mysqlLiteral(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

func literals(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = mysqlLiteral(n)
	}
	return strings.Join(quoted, ", ")
}
