package tests

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/tests/databases"
	"cairn/tests/fixture"
)

// ailing is an application with a database, stopped while it is read, to whose dump all sorts of things happen.
type ailing struct {
	*machine
	server  *databases.Server
	program string // that dumps
	denied  string // what the server says to a wrong password
	// lock is a client that is told to lock what is dumped last, and stands is whether the dump waits for it.
	lock   func() *exec.Cmd
	locks  string
	stands func() bool

	secret string // file with the password
	hooks  string // file in which hooks say that they ran
}

// TestDumpFails is A2, A9, A11, C17, D5, E16: whatever becomes of a dump, there is no snapshot, an exit code, a message that says what failed and why,
// and the application is started again.
func TestDumpFails(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		o := &ailing{machine: newMachine(t), server: postgresDB(t), program: "pg_dump", denied: "password authentication failed"}
		owner := o.owner(o.server, "fcrepo", "bank")
		o.psql(owner, "bank", postgresBank+"CREATE SEQUENCE last;")
		o.lock, o.locks = func() *exec.Cmd { return o.psqlCommand(o.server, "bank") }, "BEGIN; ALTER SEQUENCE last RENAME TO other; SELECT 'locked';"
		o.stands = func() bool {
			return o.psql(o.server, "bank", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'") == "1\n"
		}
		o.all("postgres bank", "postgres_databases=bank", owner)
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		o := &ailing{machine: newMachine(t), server: mariaDB(t), program: "mariadb-dump", denied: "Access denied"}
		clerk := o.clerk(o.server, "bank", "other")
		o.sql(clerk, "CREATE DATABASE bank; CREATE DATABASE other;"+mariadbBank("bank", "other")+"CREATE TABLE bank.last (x int); INSERT INTO bank.last VALUES (1);")
		o.lock, o.locks = func() *exec.Cmd { return o.mariadbCommand(o.server) }, "LOCK TABLES bank.last WRITE; SELECT 'locked';"
		o.stands = func() bool {
			return o.sql(o.server, "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'clerk' AND state = 'Waiting for table metadata lock'") == "1\n"
		}
		o.all("mariadb bank", "mariadb_databases=bank", clerk)
	})
}

func (o *ailing) all(part, databases string, user *databases.Server) {
	o.t.Helper()
	o.init(1, 0)
	o.secret, o.hooks = o.password(word), o.path("hooks")
	fixture.Write(o.t, o.path("binaries", "a"), []byte("x"))
	o.ok("source", "new", "fedora4-files", "app", "--set", "binaries="+o.path("binaries"), "--set", databases, "--set", "database_host=127.0.0.1", "--set", fmt.Sprint("database_port=", user.Port),
		"--set", "database_user="+user.User, "--set", "password_file="+o.secret, "--set", "stop=echo stopped >>"+o.hooks, "--set", "start=echo started >>"+o.hooks)
	file := o.path("home", ".config", "cairn", "sources", "app.yaml")
	alarm := "\nhooks: {on_error: [{name: alarm, shell: 'echo \"$CAIRN_OUTCOME: $CAIRN_ERROR\" >>" + o.hooks + "'}]}\n"
	fixture.Write(o.t, file, append(fixture.Read(o.t, file), alarm...))

	// Its process is killed by somebody, the kernel for instance.
	o.failed(o.halfway(func(_, dump int) { o.kill(dump, syscall.SIGKILL) }), 1, "failed", part, o.program, "was ended by a signal (killed)", "journalctl")
	// Somebody interrupts the run.
	o.failed(o.halfway(func(cairn, _ int) { o.kill(cairn, syscall.SIGINT) }), 130, "interrupted", "interrupted, no snapshot")
	// Cairn itself is killed: the next one starts the application.
	if r := o.halfway(func(cairn, _ int) { o.kill(cairn, syscall.SIGKILL) }); r.code != -1 {
		o.t.Errorf("killed: %v", r)
	}
	o.ran("stopped\n")
	o.ok("source", "resume").says("app").hides(core)
	o.ran("stopped\nstarted\n")
	gone(o.t, o.hooks)
	// The password was changed.
	fixture.Write(o.t, o.secret, []byte("zq7Horse was another\n"))
	o.failed(o.run("source", "run", "app"), 1, "failed", part, o.denied, "see which user and password")
	fixture.Write(o.t, o.secret, []byte(word+"\n"))
	// Nothing is wrong any more.
	gone(o.t, o.hooks)
	o.ok("source", "run", "app")
	o.ran("stopped\nstarted\n")
	if n := o.snapshots(); n != 1 {
		o.t.Errorf("%d snapshots instead of one", n)
	}
	// The server stops in the middle of a dump, and is not there for the next one.
	o.failed(o.halfway(func(int, int) { o.server.Stop() }), 1, "failed", part, o.program, "onnection", "stopped or restarted meanwhile")
	o.failed(o.run("source", "run", "app"), 1, "failed", part, fmt.Sprint("server 127.0.0.1:", user.Port), "see whether the database server runs")
	if n := o.snapshots(); n != 1 {
		o.t.Errorf("%d snapshots instead of the one", n)
	}
	o.holdsNo(core)
}

// halfway runs the source, has something happen while the dump stands still in its middle, and waits for the end.
func (o *ailing) halfway(happen func(cairn, dump int)) result {
	o.t.Helper()
	gone(o.t, o.hooks)
	client := o.lock()
	in, err1 := client.StdinPipe()
	out, err2 := client.StdoutPipe()
	if err1 != nil || err2 != nil || client.Start() != nil {
		o.t.Fatal("the client that locks does not start")
	}
	defer client.Wait() //nolint:errcheck // its server may be gone
	defer in.Close()    //nolint:errcheck // the same
	if _, err := fmt.Fprintln(in, o.locks); err != nil {
		o.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		o.t.Fatalf("%s: %q, %v", o.locks, line, err)
	}
	r := o.begin("source", "run", "app")
	for begin := time.Now(); !o.stands(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-r.ended:
			o.t.Fatalf("the dump did not stand still: %v", r.end())
		default:
			if time.Since(begin) > patience {
				o.t.Fatal("the dump does not begin")
			}
		}
	}
	dump := r.child(o.program)
	happen(r.c.Process.Pid, dump)
	done := r.end()
	for line := range r.argv {
		if strings.Contains(line, core) {
			o.t.Errorf("a secret is among the arguments: %s", line)
		}
	}
	if done.code >= 0 && commandLine(dump) != "" {
		o.t.Errorf("%s outlives the run", o.program)
	}
	return done
}

func (o *ailing) kill(pid int, signal syscall.Signal) {
	o.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		o.t.Error(err)
	}
}

// failed looks at a run that made no snapshot.
func (o *ailing) failed(r result, code int, outcome string, texts ...string) {
	o.t.Helper()
	o.t.Logf("%s", r.stdout+r.stderr)
	if r.code != code {
		o.t.Errorf("exit code %d expected: %v", code, r)
	}
	r.says("no snapshot").says(texts...).hides(core)
	said := string(fixture.Read(o.t, o.hooks))
	if !strings.HasPrefix(said, "stopped\nstarted\n"+outcome+": ") || strings.Contains(said, core) {
		o.t.Errorf("hooks said %q", said)
	}
	gone(o.t, o.hooks)
}

// ran demands what hooks said.
func (o *ailing) ran(want string) {
	o.t.Helper()
	if said, err := os.ReadFile(o.hooks); string(said) != want {
		o.t.Errorf("hooks said %q, %v; want %q", said, err, want)
	}
}
