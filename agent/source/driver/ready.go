package driver

import (
	"context"
	"errors"
	"fmt"

	"cairn/remote"
)

// Ready says whether a server can be reached and the databases of a job, names in its stream, may be filled there: whoever restores an application wants to know
// before its files are touched. It changes nothing. Restore looks again.
func Ready(ctx context.Context, j Job, names []string, o Options) error {
	var err error
	switch {
	case j.Part.Postgres != nil:
		err = postgresReady(ctx, j, o)
	case j.Part.MariaDB != nil:
		err = mariadbReady(ctx, j, names, o)
	}
	if err != nil {
		return fmt.Errorf("part %s: %w", j.Part.Name, err)
	}
	return nil
}

func postgresReady(ctx context.Context, j Job, o Options) error {
	pg, err := newPostgres(ctx, j.Part.Postgres.Server, o)
	if err != nil {
		return err
	}
	if j.File == globalsFile {
		_, err := pg.query(ctx, "", "SELECT 1")
		return err
	}
	_, as, suffix, err := postgresTarget(j)
	if err != nil || suffix == aboutSuffix {
		return err // its database comes before
	}
	there, err := pg.look(ctx, as)
	if err == nil && there != nil && there.holds && !j.Replace {
		err = notEmpty(as)
	}
	return err
}

func mariadbReady(ctx context.Context, j Job, names []string, o Options) error {
	m, err := newMariaDB(ctx, j.Part.MariaDB.Server, o)
	if err != nil {
		return err
	}
	sql, err := m.find(ctx, "mariadb", "mysql")
	if err != nil {
		return err
	}
	if j.Database != "" {
		names = []string{j.Database}
	}
	if j.As != "" {
		names = []string{j.As}
	}
	if _, err := m.query(ctx, sql, "SELECT 1"); err != nil {
		return err
	}
	r := &refill{mariadb: m, job: j, sql: sql}
	var all []error
	for _, name := range names {
		_, holds, err := r.look(ctx, name)
		if err == nil && holds && !j.Replace {
			err = notEmpty(name)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

func notEmpty(database string) error {
	return remote.WithHint(fmt.Errorf("database %s %w", database, ErrNotEmpty), "restore it under another name, or allow to replace it")
}
