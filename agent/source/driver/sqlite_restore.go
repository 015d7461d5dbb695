package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/dump"
	"cairn/remote"
)

// sqliteRestore fills a file beside the one that is to be, has it checked, and renames it.
func sqliteRestore(ctx context.Context, j Job, src io.Reader, o Options) (_ *Result, err error) {
	path := j.Part.SQLite.Path
	if j.As != "" {
		path = j.As
	}
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s is not an absolute path", path)
	}
	c, err := newClient(ctx, source.Server{}, o)
	if err != nil {
		return nil, err
	}
	old, err := sqliteRoom(path, j.Replace)
	if err != nil {
		return nil, err
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".cairn-"+random()[:8])
	s := &sqlite{c, temp, ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(temp, temp+"-journal", temp+"-wal", temp+"-shm"))
		}
	}()
	fill := s.fillCopy
	if strings.HasSuffix(j.File, plainSuffix) {
		fill = s.fillText
	}
	if err := fill(ctx, src); err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if err := likeOld(temp, old); err != nil {
		return nil, err
	}
	// A log of the old database would be played into the new one.
	if err := removeAll(path+"-wal", path+"-shm", path+"-journal"); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, err
	}
	return &Result{Databases: []string{path}}, syncDir(filepath.Dir(path))
}

// sqliteRoom says what is there already. A file in use is refused even when it may be replaced: its user would go on with the old one.
func sqliteRoom(path string, replace bool) (os.FileInfo, error) {
	old, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !old.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if old.Size() > 0 && !replace {
		return nil, remote.WithHint(fmt.Errorf("%s %w", path, ErrNotEmpty), "restore it to another path, or allow to replace it")
	}
	return old, locked(path)
}

func (s *sqlite) fillCopy(_ context.Context, src io.Reader) error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, src)
	if err == nil {
		err = wholeFile(f)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// fillText has sqlite3 read SQL. It is fed only what ends as a complete dump ends: the end is a COMMIT.
func (s *sqlite) fillText(ctx context.Context, src io.Reader) error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	tool, err := s.find(ctx, "sqlite3")
	if err != nil {
		return err
	}
	var safe []string
	if knowsSafe(tool.version) {
		safe = []string{"-safe"} // a dump must not run programs or write other files
	}
	_, err = s.run(ctx, s.shell(dump.NewFence(src, dump.SQLiteMark), safe...))
	return err
}

// knowsSafe says whether sqlite3 has the switch, from "3.40.1 2022-12-28 …".
func knowsSafe(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return n == 2 && (major > 3 || major == 3 && minor >= 37)
}

// check reads the whole database. It may write: of a database with a log it leaves none then.
func (s *sqlite) check(ctx context.Context) error {
	said, err := s.run(ctx, s.shell(strings.NewReader("PRAGMA integrity_check;\n")))
	if err != nil {
		return err
	}
	if said = strings.TrimSpace(said); said != "ok" {
		first, _, _ := strings.Cut(said, "\n")
		return fmt.Errorf("the database is damaged: %s", first)
	}
	return nil
}

// likeOld gives the new file the mode and the owner of the old one, and makes it durable.
func likeOld(temp string, old os.FileInfo) error {
	if old != nil {
		if err := takeOwner(temp, old); err != nil {
			return err
		}
		if err := os.Chmod(temp, old.Mode().Perm()); err != nil {
			return err
		}
	}
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func removeAll(names ...string) error {
	var all []error
	for _, n := range names {
		if err := os.Remove(n); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
