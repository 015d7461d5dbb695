package databases

import (
	"cairn/tests/servers"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// postgresPrograms finds the directory of the newest server that is installed.
func postgresPrograms() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	version := func(p string) int {
		n, _ := strconv.Atoi(strings.Split(p, "/")[4]) //nolint:errcheck // 0 comes last
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// Postgres starts a PostgreSQL server whose users all need a password.
func Postgres() (*Server, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	as, err := account("postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{User: "postgres", Password: `s3cret 'of" the\ server`}
	if s.Dir, err = home("cairn-pg-", as); err != nil {
		return nil, err
	}
	s.Socket = s.Dir
	if err := s.postgres(bin, as); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) postgres(bin string, as *syscall.Credential) error {
	data, words := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "words")
	if err := os.WriteFile(words, []byte(s.Password+"\n"), 0o644); err != nil {
		return err
	}
	err := setUp(command(s.Dir, as, filepath.Join(bin, "initdb"), "--pgdata="+data, "--username="+s.User, "--auth=scram-sha-256", "--pwfile="+words,
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"))
	if err != nil {
		return err
	}
	if s.Port, s.free, err = servers.Port(); err != nil {
		return err
	}
	c := command(s.Dir, as, filepath.Join(bin, "postgres"), "-D", data, "-k", s.Dir, "-p", strconv.Itoa(s.Port), "-c", "listen_addresses=127.0.0.1",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=30")
	return s.launch(c, func() error {
		ask := exec.Command(filepath.Join(bin, "pg_isready"), "--quiet", "--host="+s.Dir, "--port="+strconv.Itoa(s.Port))
		return ask.Run()
	})
}
