package databases

import (
	"cairn/tests/servers"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// MariaDB starts a MariaDB server. Its user needs a password.
func MariaDB() (*Server, error) {
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return nil, ErrMissing
	}
	server := "/usr/sbin/mariadbd" // not in everybody's PATH
	if _, err := os.Stat(server); err != nil {
		return nil, ErrMissing
	}
	as, err := account("mysql")
	if err != nil {
		return nil, err
	}
	s := &Server{User: "cairn", Password: `p#a"s's\w =ö;`}
	if s.Dir, err = home("cairn-my-", as); err != nil {
		return nil, err
	}
	s.Socket = filepath.Join(s.Dir, "s")
	if err := s.mariadb(install, server, as); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) mariadb(install, server string, as *syscall.Credential) error {
	data := filepath.Join(s.Dir, "data")
	err := setUp(command(s.Dir, as, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--innodb-log-file-size=16M"))
	if err != nil {
		return err
	}
	if s.Port, s.free, err = servers.Port(); err != nil {
		return err
	}
	c := command(s.Dir, as, server, "--no-defaults", "--datadir="+data, "--socket="+s.Socket, "--port="+strconv.Itoa(s.Port), "--bind-address=127.0.0.1",
		"--pid-file="+filepath.Join(s.Dir, "pid"), "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
		"--innodb-log-file-size=16M", "--innodb-doublewrite=0", "--skip-log-bin")
	root := func(sql string) error {
		ask := exec.Command("mariadb", "--no-defaults", "--socket="+s.Socket, "--user=root", "--batch")
		ask.Stdin = strings.NewReader(sql)
		if out, err := ask.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := s.launch(c, func() error { return root("SELECT 1;") }); err != nil {
		return err
	}
	word := strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s.Password)
	return root("CREATE USER " + s.User + "@'%' IDENTIFIED BY '" + word + "'; GRANT ALL ON *.* TO " + s.User + "@'%' WITH GRANT OPTION;")
}
