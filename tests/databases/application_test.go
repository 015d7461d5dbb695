package databases

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/driver"
	"cairn/agent/source/held"
	restores "cairn/agent/source/restore"
	"cairn/agent/source/restore/perform"
	"cairn/agent/source/run"
	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote/mem"
)

// asRestore is what `cairn source restore` gives plans to speak to databases with.
type asRestore struct{}

func (asRestore) Restore(ctx context.Context, j restores.Job, src io.Reader) ([]string, error) {
	r, err := driver.Restore(ctx, driver.Job{Part: j.Part, File: j.File, Database: j.Database, As: j.As, Replace: j.Replace}, src, driver.Options{})
	if err != nil {
		return nil, err
	}
	return r.Warnings, nil
}

func (asRestore) Stopped(p source.Part) ([]string, error) { return driver.Stopped(p) }

func memoryArchive(t *testing.T) *archive.Archive {
	t.Helper()
	key, members := [32]byte{7}, []archive.Member{{URL: "mem", Store: mem.New()}}
	_, err := archive.Init(t.Context(), members, archive.InitOptions{Data: 1, Now: time.Now(), Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewKeyFileSlot(k, "test", key, time.Now())
		return []*seal.Slot{s}, err
	}})
	var a *archive.Archive
	if err == nil {
		a, err = archive.Open(t.Context(), members, archive.Options{
			Credentials: []seal.Credential{{KeyFile: &key}}, Notice: func(string) {},
			OpenIndex: func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// A24, D5, E11, E19, E20, F5: an application with databases on two servers is backed up while somebody writes into both, and comes back by a plan
// under other names beside the live ones; each is of one moment. What holds something is replaced only when asked for.
func TestApplication(t *testing.T) {
	t.Parallel()
	pg, my := postgres(t), mariadb(t)
	dir := t.TempDir()
	bank := "CREATE TABLE a (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO a VALUES " + rows() + "; CREATE TABLE b (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO b VALUES " + rows() + ";"
	try(t, pg.psql, "postgres", "CREATE DATABASE shop")
	try(t, pg.psql, "shop", bank)
	try(t, my.mysql, "", "CREATE DATABASE shop_users")
	try(t, my.mysql, "shop_users", bank+" ALTER TABLE a ENGINE=InnoDB; ALTER TABLE b ENGINE=InnoDB;")
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	word := func(s *Server) string { return secret(t, s.Password).File }
	f, err := source.Parse("shop.yaml", []byte(fmt.Sprintf(`
parts:
  - {name: pg, postgres: {host: 127.0.0.1, port: %d, user: %s, password: {file: %s}, databases: [shop]}}
  - {name: my, mariadb: {host: 127.0.0.1, port: %d, user: %s, password: {file: %s}, databases: [shop_users]}}
  - {name: conf, tree: {path: %s}}
`, pg.Port, pg.User, word(pg), my.Port, my.User, word(my), filepath.Join(dir, "conf"))), source.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := startWriter(t, pg.psql, "shop", "a", "b"), startWriter(t, my.mysql, "shop_users", "a", "b")
	one.progress(t, 3)
	two.progress(t, 3)
	a := memoryArchive(t)
	j, err := run.Plan(f, run.Choice{Machine: "here"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Run(t.Context(), j, run.Options{State: run.NewState(filepath.Join(dir, "state")), Open: func(ctx context.Context, j *run.Job) (*run.Target, error) {
		w, err := a.NewWriter(ctx)
		return &run.Target{Saver: w, Options: backup.Options{Params: a.Chunker(), Series: j.Series, Progress: new(backup.Progress)}}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Snapshot(t.Context(), r.Backup.ID)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := held.Open(t.Context(), a, s, "")
	if err != nil {
		t.Fatal(err)
	}
	back := func(replace bool) error {
		var o restores.Options
		o.Replace = replace
		for _, text := range []string{"shop=shop_copy", "my/shop_users=users_copy"} {
			d, err := restores.ParseRedirect(text)
			if err != nil {
				t.Fatal(err)
			}
			o.Redirects = append(o.Redirects, d)
		}
		p, err := restores.New(t.Context(), a, []*held.Origin{origin}, f, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = perform.Execute(t.Context(), []*restores.Plan{p}, perform.Tools{Databases: asRestore{}}, nil)
		return err
	}
	sum := "SELECT SUM(balance) FROM (SELECT balance FROM a UNION ALL SELECT balance FROM b) x"
	same := func() {
		t.Helper()
		if got := try(t, pg.psql, "shop_copy", sum); got != total {
			t.Errorf("PostgreSQL: %s", got)
		}
		if got := try(t, my.mysql, "users_copy", sum); got != total {
			t.Errorf("MariaDB: %s", got)
		}
	}
	if err := back(false); err != nil {
		t.Fatal(err)
	}
	same()
	try(t, pg.psql, "shop_copy", "UPDATE a SET balance = 0")
	if err := back(false); err == nil || !strings.Contains(err.Error(), driver.ErrNotEmpty.Error()) {
		t.Errorf("a database that holds something: %v", err)
	}
	if got := try(t, pg.psql, "shop_copy", sum); got == total {
		t.Error("it was replaced")
	}
	if err := back(true); err != nil {
		t.Fatal(err)
	}
	same()
	one.progress(t, 3)
	if got := try(t, pg.psql, "shop", sum); got != total {
		t.Errorf("the live database: %s", got)
	}
}
