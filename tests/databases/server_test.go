package databases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cairn/agent/source"
)

// One server of each kind serves all tests of the package: they take databases of their own.
var (
	startPostgres = sync.OnceValues(Postgres)
	startMariaDB  = sync.OnceValues(MariaDB)
	running       struct {
		sync.Mutex
		servers []*Server
	}
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range running.servers {
		s.Stop()
	}
	os.Exit(code)
}

func started(t *testing.T, s *Server, err error) *Server {
	t.Helper()
	if errors.Is(err, ErrMissing) {
		t.Skip("the server's package is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	running.Lock()
	defer running.Unlock()
	running.servers = append(running.servers, s)
	return s
}

func postgres(t *testing.T) *Server {
	t.Helper()
	s, err := startPostgres()
	return started(t, s, err)
}

func mariadb(t *testing.T) *Server {
	t.Helper()
	s, err := startMariaDB()
	return started(t, s, err)
}

// secret puts a text where a source file may say that it is.
func secret(t *testing.T, text string) *source.Secret {
	t.Helper()
	name := filepath.Join(t.TempDir(), "word")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &source.Secret{File: name}
}

func (s *Server) source(t *testing.T) source.Server {
	t.Helper()
	return source.Server{Host: "127.0.0.1", Port: s.Port, User: s.User, Password: secret(t, s.Password)}
}

// psql and mysql run SQL the way a person would, without the code under test.
func (s *Server) psql(ctx context.Context, database, sql string) (string, error) {
	c := exec.CommandContext(ctx, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", s.Socket, "-p", strconv.Itoa(s.Port), "-U", s.User)
	c.Env = append(os.Environ(), "PGPASSWORD="+s.Password, "PGDATABASE="+database) // there, unlike in -d, no name is taken for a connection string
	return said(c, sql)
}

func (s *Server) mysql(ctx context.Context, database, sql string) (string, error) {
	c := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--socket="+s.Socket, "--user="+s.User, "--batch", "--raw", "--skip-column-names",
		"--default-character-set=utf8mb4", database)
	c.Env = append(os.Environ(), "MYSQL_PWD="+s.Password)
	return said(c, sql)
}

func sqlite(ctx context.Context, file, sql string) (string, error) {
	return said(exec.CommandContext(ctx, "sqlite3", "-batch", "-bail", file), ".timeout 20000\n"+sql)
}

func said(c *exec.Cmd, stdin string) (string, error) {
	c.Stdin = strings.NewReader(stdin)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, &complaint)
	}
	return strings.TrimSpace(string(out)), err
}

// try is one of those three with a test that ends when it fails.
func try(t *testing.T, run func(ctx context.Context, database, sql string) (string, error), database, sql string) string {
	t.Helper()
	out, err := run(t.Context(), database, sql)
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return out
}
