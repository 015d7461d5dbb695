package driver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/agent/source/dump"
)

const (
	sqliteMagic = "SQLite format 3\x00"
)

// sqlite is one database file. The program sqlite3 is used, not a library: it follows the locks that the application's own library takes, and
// a library for Go would be more code than all the rest of this program.
type sqlite struct {
	*client
	path string
	temp string
}

func sqliteStreams(ctx context.Context, p *source.SQLite, o Options) (*Set, error) {
	if p.Method != "" && p.Method != "backup" && p.Method != "dump" {
		return nil, fmt.Errorf("method %q is neither backup nor dump", p.Method)
	}
	if !filepath.IsAbs(p.Path) {
		return nil, fmt.Errorf("%s is not an absolute path", p.Path)
	}
	c, err := newClient(ctx, source.Server{}, o)
	if err != nil {
		return nil, err
	}
	s := &sqlite{c, p.Path, o.TempDir}
	if err := s.exists(); err != nil {
		return nil, err
	}
	tool, err := s.find(ctx, "sqlite3")
	if err != nil {
		return nil, err
	}
	file, open := FileName(filepath.Base(p.Path)), s.backup
	if p.Method == "dump" {
		file += plainSuffix
		open = s.dumpText
	}
	return &Set{
		Streams: []Stream{{File: file, Databases: []string{filepath.Base(p.Path)}, Open: open}},
		Tools:   map[string]string{tool.name: tool.version},
	}, nil
}

// exists is asked first, because sqlite3 would make a database that is missing.
func (s *sqlite) exists() error {
	f, err := os.Stat(s.path)
	switch {
	case err != nil:
		return err
	case !f.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", s.path)
	case f.Size() == 0:
		return fmt.Errorf("%s is empty: it holds no database", s.path)
	}
	return nil
}

// program never writes to the database, waits 30 s for others' locks, and ends with an error at the first mistake.
func (s *sqlite) program(script string) process.Command {
	return s.shell(strings.NewReader(".timeout 30000\n"+script), "-readonly")
}

// shell is sqlite3 without the settings that the user has for himself.
func (s *sqlite) shell(script io.Reader, more ...string) process.Command {
	cmd := s.command(slices.Concat([]string{"sqlite3", "-batch", "-bail", "-init", os.DevNull}, more, []string{s.path})...)
	cmd.Stdin = script
	return cmd
}

// dumpText streams SQL, from one transaction.
func (s *sqlite) dumpText(ctx context.Context) (io.Reader, func() error, error) {
	if err := s.exists(); err != nil {
		return nil, nil, err
	}
	return s.dump(func() (process.Command, error) { return s.program(".dump\n"), nil }, dump.SQLiteMark)(ctx)
}

// backup copies the database into a temporary file, and that is the stream. The transaction that is begun before keeps the copy at one moment:
// else each change by another process would make sqlite3 begin anew, and under steady writing it might never end.
func (s *sqlite) backup(ctx context.Context) (io.Reader, func() error, error) {
	if err := s.exists(); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(s.temp, "cairn-sqlite-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the open file is enough, and a crash from here on leaves nothing
	cmd := s.program("BEGIN;\nSELECT count(*) FROM sqlite_master;\n.backup copy\n")
	cmd.Dir = dir
	if _, err := s.ask(ctx, cmd); err != nil {
		return nil, nil, fmt.Errorf("copy %s: %w", s.path, err)
	}
	f, err := os.Open(filepath.Join(dir, "copy"))
	if err != nil {
		return nil, nil, err
	}
	if err := wholeFile(f); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("copy %s: %w", s.path, err), f.Close())
	}
	r := &proof{r: io.NewSectionReader(f, 0, 1<<62)}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, func() error {
		err := f.Close()
		if err == nil && r.size != size {
			err = fmt.Errorf("%d of %d bytes of the copy were read", r.size, size)
		}
		return err
	}, nil
}

// wholeFile compares the size of a database file with what its header says.
func wholeFile(f *os.File) error {
	var h [100]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	if !bytes.HasPrefix(h[:], []byte(sqliteMagic)) {
		return errors.New("it is not an SQLite database")
	}
	page := int64(binary.BigEndian.Uint16(h[16:]))
	if page == 1 {
		page = 64 << 10
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if want := page * int64(binary.BigEndian.Uint32(h[28:])); want == 0 || st.Size() != want {
		return fmt.Errorf("it has %d bytes and its header says %d", st.Size(), want)
	}
	return nil
}
