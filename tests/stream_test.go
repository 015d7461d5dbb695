package tests

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStdin: what comes through a pipe is a file.
func TestStdin(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	for name, content := range map[string][]byte{"small.sql": []byte("select 1;\n"), "empty": nil, "dir/large.bin": random("stdin", 17<<20)} {
		c := m.command("backup", "--json", "--stdin", name)
		c.Stdin = bytes.NewReader(content)
		r := finish(t, c)
		if r.code != 0 || r.one("backup").number("bytes_total") != int64(len(content)) {
			t.Errorf("%s: %v", name, r)
		}
		if got := m.ok("dump", "latest:/"+name).stdout; got != string(content) {
			t.Errorf("%s: %d bytes come back of %d", name, len(got), len(content))
		}
	}
	c := m.command("backup", "--json", "--stdin", "dir/large.bin")
	c.Stdin = bytes.NewReader(random("stdin", 17<<20))
	if o := finish(t, c).one("backup"); o.number("data_blobs_new") != 0 {
		t.Errorf("the same again: %v", o)
	}
	m.must(2, "backup", "--stdin", "x", m.path("key"))
	for _, name := range []string{"../x", "a/../../x", "..", "/"} {
		c := m.command("backup", "--stdin", name)
		c.Stdin = strings.NewReader("x")
		if r := finish(t, c); r.code == 0 {
			for _, p := range m.paths("latest") {
				if strings.Contains(p, "..") {
					t.Errorf("--stdin %s is in the snapshot as %s", name, p)
				}
			}
		}
	}
	m.check()
}

// TestCommand: A2, D4: the exit status of a command decides whether there is a snapshot.
func TestCommand(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	count := func() int { return len(m.ok("snapshots", "--json").of("snapshot")) }
	m.backup("--command", "db.sql", "--", "sh", "-c", "printf 'one\ntwo\n'; echo said >&2")
	if got := m.ok("dump", "latest:/db.sql").stdout; got != "one\ntwo\n" {
		t.Errorf("db.sql is %q", got)
	}
	for _, script := range []string{"echo half; exit 7", "echo half; kill -9 $$", "exit 1", "head -c 20000000 /dev/zero; exit 1"} {
		r := m.must(1, "backup", "--command", "db.sql", "--", "sh", "-c", script)
		r.says("hint: ")
		if n := count(); n != 1 {
			t.Fatalf("%s made a snapshot: %v", script, r)
		}
	}
	m.must(1, "backup", "--command", "db.sql", "--", m.path("no such command"))
	m.must(2, "backup", "--command", "db.sql")
	// a command that leaves its output open in a child must not hang the backup for ever, nor lose what was written
	r := m.ok("backup", "--command", "db.sql", "--", "sh", "-c", "echo x; sleep 0.2 & exit 0")
	if r.took > time.Minute {
		t.Errorf("it took %v", r.took)
	}
	// interrupted: the command is ended too, and there is no snapshot
	n := count()
	r, early := killed(m, syscall.SIGINT, after(500*time.Millisecond), "backup", "--command", "db.sql", "--", "sh", "-c", "echo x; sleep 30; echo y")
	if !early || r.code != 130 || r.took > 20*time.Second {
		t.Errorf("interrupted: %v", r)
	}
	if count() != n {
		t.Error("an interrupted command made a snapshot")
	}
	m.check()
}

// TestClosedPipe: `cairn … | head -1` ends without ado, and a backup whose output nobody reads is made all the same.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree := files{"large": string(random("pipe", 8<<20))}
	for i := range 3000 {
		tree[fmt.Sprintf("many/%d", i)] = ""
	}
	top := m.write("tree", tree)
	m.backup(top)
	for _, command := range [][]string{{"ls", "-r", "latest"}, {"dump", "latest:" + top + "/large"}, {"dump", "latest:" + top}, {"find", "*"}} {
		c := m.command(command...)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		c.Stderr = &stderr
		start := time.Now()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
			t.Error(err)
		}
		out.Close()
		_ = c.Wait() // however it ends
		if strings.Contains(stderr.String(), "panic") || time.Since(start) > 30*time.Second {
			t.Errorf("%v | head -c 5: %v: %s", command, time.Since(start), &stderr)
		}
	}
	m.check()
}
