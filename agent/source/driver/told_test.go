package driver

import (
	"errors"
	"strings"
	"testing"

	"cairn/agent/process"
	"cairn/remote"
)

// C17, D5: what a program failed with is told in one line, without its arguments, with what may be done.
func TestTold(t *testing.T) {
	t.Parallel()
	c := &client{where: "db1:5433"}
	for _, tc := range []struct {
		failed     process.Error
		want, hint string
	}{
		{process.Error{ExitCode: 1, Stderr: "pg_dump: error: connection to server at \"db1\" failed: Connection refused\n\tIs the server running on that host?"},
			`pg_dump (server db1:5433) ended with exit status 1: pg_dump: error: connection to server at "db1" failed: Connection refused`, "database server runs"},
		{process.Error{ExitCode: 1, Stderr: "pg_dump: error: query failed: server closed the connection unexpectedly\n\tThis probably means\npg_dump: detail: Query was: SELECT"},
			"pg_dump (server db1:5433) ended with exit status 1: pg_dump: error: query failed: server closed the connection unexpectedly", "stopped or restarted meanwhile"},
		{process.Error{ExitCode: -1, Signal: "killed"}, "pg_dump (server db1:5433) was ended by a signal (killed)", "journalctl -k"},
		{process.Error{ExitCode: 1, Stderr: "pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 17.2"},
			"pg_dump (server db1:5433) ended with exit status 1: pg_dump: error: aborting because of server version mismatch", "not older than the server"},
		{process.Error{ExitCode: 1, Stderr: "pg_dump: error: query failed: ERROR:  permission denied for table a"},
			"pg_dump (server db1:5433) ended with exit status 1: pg_dump: error: query failed: ERROR:  permission denied for table a", "allowed to read everything"},
		{process.Error{ExitCode: 1, Stderr: "pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout"},
			"pg_dump (server db1:5433) ended with exit status 1: pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout", "locked a table"},
		{process.Error{ExitCode: 3, Stderr: "something\n\nelse  \n"}, "pg_dump (server db1:5433) ended with exit status 3: else", ""},
	} {
		tc.failed.Args = []string{"pg_dump", "--dbname=shop"}
		err := c.explain(&tc.failed)
		var failed *process.Error
		if err.Error() != tc.want || !strings.Contains(remote.Hint(err), tc.hint) || (tc.hint == "") != (remote.Hint(err) == "") || !errors.As(err, &failed) {
			t.Errorf("got  %v\nwant %s\nhint %q", err, tc.want, remote.Hint(err))
		}
	}
	behind := &client{prefix: []string{"docker", "exec", "db"}, password: "x"}
	err := behind.explain(&process.Error{Args: []string{"docker", "exec", "db", "mariadb-dump"}, ExitCode: 2, Stderr: "Got error: 1045: Access denied (using password: NO)"})
	if want := "mariadb-dump ended with exit status 2: Got error: 1045: Access denied (using password: NO)"; err.Error() != want || !strings.Contains(remote.Hint(err), "docker exec -e") {
		t.Errorf("%v; hint %q", err, remote.Hint(err))
	}
	if other := errors.New("other"); behind.explain(other) != other || behind.explain(nil) != nil {
		t.Error("other errors do not stay as they are")
	}
}
