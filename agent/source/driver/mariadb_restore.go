package driver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"cairn/agent/source/dump"
)

// refill is a restore into a MariaDB server. Definitions cannot be taken back by a transaction there, so it notes what it began.
type refill struct {
	*mariadb
	job   Job
	sql   tool
	begun []begun
}

// begun is a database that is being filled.
type begun struct {
	name string
	old  string // the statement that makes it as it was, empty; "" when it was not there
}

func mariadbRestore(ctx context.Context, j Job, src io.Reader, o Options) (*Result, error) {
	if j.As != "" && j.Database == "" {
		return nil, errors.New("another name needs the name of the one database that is to have it")
	}
	m, err := newMariaDB(ctx, j.Part.MariaDB.Server, o)
	if err != nil {
		return nil, err
	}
	sql, err := m.find(ctx, "mariadb", "mysql")
	if err != nil {
		return nil, err
	}
	r := &refill{mariadb: m, job: j, sql: sql}
	if err := r.feed(ctx, src); err != nil {
		return nil, errors.Join(err, r.undo(ctx))
	}
	result := &Result{}
	for _, b := range r.begun {
		result.Databases = append(result.Databases, b.name)
	}
	if j.As != "" && j.As != j.Database {
		result.Warnings = append(result.Warnings, "routines, triggers and views that name database "+j.Database+" themselves still do")
	}
	return result, nil
}

// feed lets the stream through a script to the client program. When the program has ended, the script is ended, too.
func (r *refill) feed(ctx context.Context, src io.Reader) error {
	token := random()
	cmd, err := r.program(r.sql.name, "--batch", "--skip-column-names", "--binary-mode", "--skip-reconnect",
		"--default-character-set=utf8mb4", packet)
	if err != nil {
		return err
	}
	through, to := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = to.CloseWithError(r.rewrite(ctx, src, to))
	}()
	cmd.Stdin = io.MultiReader(through, strings.NewReader("\nSELECT '"+token+"';\n"))
	said, err := r.run(ctx, cmd)
	_ = through.Close() // the script gets an error if it still writes
	<-done
	if err == nil && !strings.HasSuffix(strings.TrimSpace(said), token) {
		err = fmt.Errorf("%s ended before it had read all of the dump", r.sql.name)
	}
	return err
}

func (r *refill) rewrite(ctx context.Context, src io.Reader, to io.Writer) error {
	whole := &proof{r: src}
	in, err := r.withoutSandbox(ctx, whole)
	if err != nil {
		return err
	}
	s := dump.NewScript(in, to, func(name string) (string, bool, error) { return r.place(ctx, name) })
	if err := s.Run(); err != nil {
		return err
	}
	if err := whole.check(dump.MariaDBMark); err != nil {
		return err
	}
	if len(r.begun) == 0 {
		return fmt.Errorf("database %s is not in the dump", r.job.Database)
	}
	return nil
}

// sandbox is what newer dumps begin with, so that the client program does not execute commands for itself. An older program, or MySQL's,
// takes it for a mistake; then --binary-mode, which has the same effect, has to do.
const sandbox = `/*!999999\-`

func (r *refill) withoutSandbox(ctx context.Context, src io.Reader) (io.Reader, error) {
	b := bufio.NewReader(src)
	if head, _ := b.Peek(len(sandbox)); !bytes.Equal(head, []byte(sandbox)) {
		return b, nil // an error will come again
	}
	help, err := r.ask(ctx, r.command(r.sql.name, "--help"))
	if err != nil || strings.Contains(help, "--sandbox") {
		return b, err
	}
	_, err = b.ReadSlice('\n')
	return b, err
}

// place makes room for a database of the dump when it comes for the first time.
func (r *refill) place(ctx context.Context, name string) (as string, wanted bool, err error) {
	if r.job.Database != "" && name != r.job.Database {
		return name, false, nil
	}
	as = name
	if r.job.As != "" {
		as = r.job.As
	}
	for _, b := range r.begun {
		if b.name == as {
			return as, true, nil
		}
	}
	old, holds, err := r.look(ctx, as)
	if err != nil {
		return as, false, fmt.Errorf("see whether database %s is empty: %w", as, err)
	}
	if holds && !r.job.Replace {
		return as, false, notEmpty(as)
	}
	r.begun = append(r.begun, begun{as, old})
	if holds {
		if _, err := r.query(ctx, r.sql, "DROP DATABASE "+dump.Backquote(as)+"; "+old); err != nil {
			return as, false, fmt.Errorf("drop database %s: %w", as, err)
		}
	}
	return as, true, nil
}

// look returns how to make the database as it is, "" when it is not there, and whether it holds anything.
func (r *refill) look(ctx context.Context, name string) (old string, holds bool, err error) {
	n := mysqlLiteral(name)
	rows, err := r.query(ctx, r.sql, "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = "+n+")"+
		" + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = "+n+")"+
		" + (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = "+n+")"+
		" FROM information_schema.schemata WHERE schema_name = "+n)
	if err != nil || len(rows) == 0 {
		return "", false, err
	}
	created, err := r.query(ctx, r.sql, "SHOW CREATE DATABASE "+dump.Backquote(name))
	if err != nil {
		return "", false, err
	}
	_, old, ok := strings.Cut(strings.Join(created, "\n"), "\t")
	if !ok {
		return "", false, errors.New("the server does not say how the database was made")
	}
	return old, rows[0] != "0", nil
}

// undo leaves no database half-filled; also when ctx has ended.
func (r *refill) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var all []error
	for _, b := range r.begun {
		statement := "DROP DATABASE IF EXISTS " + dump.Backquote(b.name)
		if b.old != "" {
			statement += "; " + b.old
		}
		if _, err := r.query(ctx, r.sql, statement); err != nil {
			all = append(all, fmt.Errorf("database %s is half-filled and could not be dropped: %w", b.name, err))
		}
	}
	return errors.Join(all...)
}
