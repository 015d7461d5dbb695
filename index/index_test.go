package index

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// open opens an index that must open without any notice.
func open(t *testing.T, dir string, o Options) *Index {
	t.Helper()
	x, notices := openNoting(t, dir, o)
	if len(*notices) > 0 {
		t.Errorf("notices: %q", *notices)
	}
	return x
}

// openNoting also returns what notices there are.
func openNoting(t *testing.T, dir string, o Options) (*Index, *[]string) {
	t.Helper()
	var notices []string
	o.Notice = func(s string) { notices = append(notices, s) }
	x, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, &notices
}

func mustClose(t *testing.T, x interface{ Close() error }) {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// some is what the tests below fill an index with.
func some() []pack.Column {
	return []pack.Column{column(1, 0, chunk.Data, 0, 400), column(1, 1, chunk.Data, 400, 10), column(2, 0, chunk.Tree, 0, 100)}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	for n := range 4 {
		x := open(t, dir, Options{})
		for i := range n {
			expect(t, x, column(i, 0, chunk.Data, 100*i, 100))
			if ok, err := x.Applied(packID(1000 + i)); !ok || err != nil {
				t.Fatalf("segment %d: %v %v", i, ok, err)
			}
		}
		apply1(t, x, packID(1000+n), column(n, 0, chunk.Data, 100*n, 100))
		mustClose(t, x)
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	var list []*Index
	for i := range slots {
		x := open(t, dir, Options{})
		if x.Slot() != i {
			t.Fatalf("slot %d, want %d", x.Slot(), i)
		}
		list = append(list, x)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrBusy) {
		t.Fatalf("got %v", err)
	}
	apply1(t, list[3], packID(1), some()...)
	testEmpty2(t, list[4])
	mustClose(t, list[3])
	x := open(t, dir, Options{})
	if x.Slot() != 3 {
		t.Errorf("slot %d", x.Slot())
	}
	expect(t, x, some()...)
}

// TestHelper is no test: it is run as another process by startHelper.
func TestHelper(t *testing.T) {
	dir := os.Getenv("CAIRN_TEST_INDEX")
	if dir == "" {
		t.Skip("only in another process")
	}
	x, err := Open(dir, Options{Notice: func(s string) { fmt.Println("notice", s) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Apply(packID(1000), some()); err != nil {
		t.Fatal(err)
	}
	fmt.Println("slot", x.Slot())
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent closes the pipe or kills us
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// startHelper opens the index in another process and applies some() there. stop lets it close and end; kill does not.
func startHelper(t *testing.T, dir string) (line string, stop, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), "CAIRN_TEST_INDEX="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return strings.TrimSpace(line), func() { in.Close(); cmd.Wait() }, func() { cmd.Process.Kill(); cmd.Wait() }
}

func TestOtherProcess(t *testing.T) {
	// Not parallel: between fork and exec the child shares the locks of all databases that other tests close and open again.
	dir := t.TempDir() + "/index"
	line, stop, _ := startHelper(t, dir)
	if line != "slot 0" {
		t.Errorf("the other process says %q", line)
	}
	x := open(t, dir, Options{})
	if x.Slot() != 1 {
		t.Errorf("slot %d", x.Slot())
	}
	testEmpty2(t, x)
	mustClose(t, x)
	stop()
	x = open(t, dir, Options{})
	if x.Slot() != 0 {
		t.Errorf("slot %d", x.Slot())
	}
	expect(t, x, some()...)
}

// TestKilled: what was applied survives the end of the process, but not that of the machine.
func TestKilled(t *testing.T) {
	// Not parallel: between fork and exec the child shares the locks of all databases that other tests close and open again.
	dir := t.TempDir() + "/index"
	_, _, kill := startHelper(t, dir)
	kill()
	x := open(t, dir, Options{})
	expect(t, x, some()...)
	if ok, err := x.Applied(packID(1000)); !ok || err != nil {
		t.Errorf("applied %v %v", ok, err)
	}
	mustClose(t, x)

	// Closed cleanly, it survives that of the machine too.
	x = open(t, dir, Options{boot: "another"})
	expect(t, x, some()...)
	mustClose(t, x)

	if err := os.RemoveAll(slotDir(dir, 0)); err != nil {
		t.Fatal(err)
	}
	_, _, kill = startHelper(t, dir)
	kill()
	x, notices := openNoting(t, dir, Options{boot: "another"})
	if len(*notices) != 1 || !strings.Contains((*notices)[0], "went down") {
		t.Errorf("notices %q", *notices)
	}
	testEmpty2(t, x)
}

func TestReadingLeavesClean(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	x := open(t, dir, Options{})
	apply1(t, x, packID(1000), some()...)
	mustClose(t, x)
	x = open(t, dir, Options{})
	expect(t, x, some()...)
	apply1(t, x, packID(1000), some()...) // nothing new
	if x.d.slot.st.Dirty {
		t.Error("dirty without a write")
	}
}

// TestState changes what the state file says.
func TestState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(st *state)
		notice string
	}{
		{"as it is", func(*state) {}, ""},
		{"dirty", func(st *state) { st.Dirty, st.Boot = true, "b" }, ""},
		{"dirty and rebooted", func(st *state) { st.Dirty, st.Boot = true, "a" }, "went down"},
		{"format", func(st *state) { st.Format++ }, "format"},
		{"opening", func(st *state) { st.Opening = true }, "while opening"},
		{"unclean", func(st *state) { st.Unclean = uncleanLimit - 1 }, ""},
		{"often unclean", func(st *state) { st.Unclean = uncleanLimit }, "in a row"},
		{"tables", func(st *state) { st.Tables++ }, "tables"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/index"
			x := open(t, dir, Options{boot: "b"})
			apply1(t, x, packID(1000), some()...)
			mustClose(t, x)
			name := filepath.Join(slotDir(dir, 0), stateName)
			st := readStateFile(t, name)
			c.change(&st)
			b, err := json.Marshal(st)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			x, notices := openNoting(t, dir, Options{boot: "b"})
			if got := strings.Join(*notices, "; "); (c.notice == "") != (got == "") || !strings.Contains(got, c.notice) {
				t.Errorf("notice %q, want %q", got, c.notice)
			}
			if c.notice == "" {
				expect(t, x, some()...)
			} else {
				testEmpty2(t, x)
			}
			apply1(t, x, packID(1000), some()...)
			mustClose(t, x)
			expect(t, open(t, dir, Options{boot: "b"}), some()...)
		})
	}
}

func readStateFile(t *testing.T, name string) state {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return readState(f)
}
