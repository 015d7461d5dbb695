package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

func TestUnreadable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/good", "good")
	write(t, root+"/secret", "secret")
	write(t, root+"/locked/inside", "x")
	write(t, root+"/bad sector", noise(1, 200<<10))
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	var warned sync.Map
	o.Warn = func(path string, err error) { warned.Store(path, err) }
	o.fault = func(op, path string, offset int64) error {
		switch {
		case op == "open" && path == root+"/secret", op == "opendir" && path == root+"/locked":
			return syscall.EACCES
		case op == "read" && path == root+"/bad sector" && offset >= 100<<10:
			return syscall.EIO
		}
		return nil
	}
	report := mustRun(t, s, o)
	if !report.Incomplete || report.ErrorCount != 3 || len(report.Snapshot.Errors) != 3 {
		t.Fatalf("errors %v", report.Errors)
	}
	got := s.tree(t, report.Snapshot)
	for _, name := range []string{"/secret", "/locked", "/bad sector"} {
		if n := got[root+name]; n == nil || n.Error == "" || n.Mtime.IsZero() {
			t.Errorf("%s: %+v", name, n)
		}
		if _, ok := warned.Load(root + name); !ok {
			t.Errorf("no warning of %s", name)
		}
	}
	bad := got[root+"/bad sector"]
	if part := s.bytesOf(t, bad); len(part) == 0 || len(part) > 101<<10+readStep || !strings.HasPrefix(noise(1, 200<<10), string(part)) {
		t.Errorf("kept %d bytes before the bad sector", len(part))
	}
	if len(got[root+"/secret"].Content)+len(got[root+"/locked"].Content) != 0 {
		t.Error("unreadable nodes have content")
	}
	// Nothing of it is believed when the trouble is over.
	o.fault = nil
	report = mustRun(t, s, o)
	if report.Incomplete {
		t.Errorf("errors %v", report.Errors)
	}
	s.expect(t, report.Snapshot, root)
}

// TestMoving: A3, D8: files that grow, shrink, vanish or are replaced while they are read.
func TestMoving(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	big := noise(1, 600<<10)
	for _, name := range []string{"grow", "shrink", "touch", "small grow"} {
		write(t, root+"/"+name, big)
	}
	write(t, root+"/small grow", "abc")
	for _, name := range []string{"gone", "fifo", "still"} {
		write(t, root+"/"+name, "x")
	}
	write(t, root+"/dir gone/f", "x")
	write(t, root+"/dir file/f", "x")
	var once sync.Map
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	o.fault = func(op, path string, offset int64) error {
		if op == "read" && strings.HasSuffix(path, "/shrink") && offset < 300<<10 {
			return nil
		}
		if _, done := once.LoadOrStore(op+path, true); done {
			return nil
		}
		switch op + " " + strings.TrimPrefix(path, root) {
		case "read /grow", "read /small grow":
			return appendTo(path, big+big)
		case "read /shrink":
			return os.Truncate(path, offset+10)
		case "read /touch":
			return os.Chtimes(path, time.Now(), time.Unix(5, 5))
		case "open /gone":
			return os.Remove(path)
		case "open /fifo":
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		case "opendir /dir gone":
			return os.RemoveAll(path)
		case "opendir /dir file":
			return errors.Join(os.RemoveAll(path), os.Symlink("/etc", path))
		}
		return nil
	}
	report := mustRun(t, s, o)
	if report.Incomplete || report.WarningCount != 8 {
		t.Errorf("errors %v, warnings %v", report.Errors, report.Warnings)
	}
	got := s.tree(t, report.Snapshot)
	for _, name := range []string{"/gone", "/fifo", "/dir gone", "/dir file"} {
		if got[root+name] != nil {
			t.Errorf("%s is in the snapshot", name)
		}
	}
	for name, want := range map[string]string{"/grow": big, "/small grow": "abc", "/touch": big, "/still": "x"} {
		if n := got[root+name]; n == nil || n.Error != "" || string(s.bytesOf(t, n)) != want {
			t.Errorf("%s: %d bytes", name, n.Size)
		}
	}
	if n := got[root+"/shrink"]; n.Size == uint64(len(big)) || !strings.HasPrefix(big, string(s.bytesOf(t, n))) {
		t.Errorf("/shrink: %d bytes", n.Size)
	}
	o.fault = nil
	report = mustRun(t, s, o)
	s.expect(t, report.Snapshot, root)
	if report.Files.Unchanged != 1 {
		t.Errorf("%+v: what changed while read was believed", report.Files)
	}
}

func appendTo(path, data string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(data)
	return errors.Join(err, f.Close())
}

// TestHardLinksOnce: many names, one reading; and when the first name vanishes another takes its place.
func TestHardLinksOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	data := noise(1, 100<<10)
	write(t, root+"/0/f", data)
	for i := 1; i < 40; i++ {
		dir := fmt.Sprintf("%s/%d", root, i%7)
		check(t, os.MkdirAll(dir, 0o755))
		check(t, os.Link(root+"/0/f", fmt.Sprintf("%s/f%d", dir, i)))
	}
	s, o := newStore(), testOptions(t, root)
	report := mustRun(t, s, o)
	if report.BytesRead != uint64(len(data)) {
		t.Errorf("read %d bytes of a file of %d", report.BytesRead, len(data))
	}
	s.expect(t, report.Snapshot, root)

	var once sync.Once
	o.fault = func(op, path string, _ int64) (err error) {
		if op == "open" {
			once.Do(func() { err = os.Remove(path) })
		}
		return err
	}
	report = mustRun(t, s, o)
	if report.BytesRead != uint64(len(data)) || report.WarningCount != 1 || report.Files.Total() != 39 {
		t.Errorf("read %d bytes, %d warnings, %d files", report.BytesRead, report.WarningCount, report.Files.Total())
	}
}

// TestSaverFails: the error comes out, nothing is committed and nobody is left behind. Not parallel: it counts goroutines.
func TestSaverFails(t *testing.T) {
	root := t.TempDir()
	for i := range 300 {
		write(t, fmt.Sprintf("%s/%d/%d", root, i%10, i), noise(uint64(i), 5000))
	}
	before, fds := runtime.NumGoroutine(), openFiles(t)
	broken := errors.New("all members are gone")
	for _, what := range []chunk.Type{chunk.Data, chunk.Tree} {
		s, o := newStore(), testOptions(t, root)
		left := 50
		s.fail = func(got chunk.Type, _ []byte) error {
			if left--; got == what && left < 0 {
				return broken
			}
			return nil
		}
		if _, err := Run(t.Context(), s, o); !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
		if len(s.commits) != 0 {
			t.Error("committed all the same")
		}
	}
	s, o := newStore(), testOptions(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	s.fail = func(chunk.Type, []byte) error { cancel(); return nil }
	if _, err := Run(ctx, s, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	settle(t, before)
	if now := openFiles(t); now > fds {
		t.Errorf("%d open files, %d before", now, fds)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(list)
}

func settle(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// TestTightMemory: a limit far below what is needed is raised, and nothing blocks.
func TestTightMemory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 12 {
		write(t, fmt.Sprintf("%s/%d", root, i), strings.Repeat(noise(uint64(i), 40<<10), 5))
		write(t, fmt.Sprintf("%s/small%d", root, i), noise(uint64(i), 900))
	}
	s, o := newStore(), testOptions(t, root)
	o.MemoryLimit, o.Concurrency = 1, 3
	report := mustRun(t, s, o)
	s.expect(t, report.Snapshot, root)
	if s.most > 3+3 { // chunks by savers, trees by whoever finishes a directory
		t.Logf("%d Saves at once", s.most)
	}
}

// TestLargeFileList: more chunks than a node holds, from the cache without reading.
func TestLargeFileList(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/large", noise(9, 4<<20))
	for _, parent := range []bool{false, true} {
		s, o := newStore(), testOptions(t, root)
		if !parent {
			o.Cache = newCache()
		}
		first := mustRun(t, s, o)
		n := s.tree(t, first.Snapshot)[root+"/large"]
		if n.Depth == 0 {
			t.Fatalf("%d chunks fit the node: the test shows nothing", len(n.Content))
		}
		s.expect(t, first.Snapshot, root)
		if parent {
			o.Parent = &Parent{Content: first.Snapshot.Content, Depth: first.Snapshot.Depth, Start: later(), Load: s.load}
		}
		if second := mustRun(t, s, o); second.BytesRead != 0 {
			t.Errorf("parent %v: read %d bytes", parent, second.BytesRead)
		}
		for key := range s.blobs { // one chunk is lost
			if key.t == chunk.Data {
				delete(s.blobs, key)
				break
			}
		}
		third := mustRun(t, s, o)
		if third.BytesRead != 4<<20 {
			t.Errorf("parent %v: a lost chunk: read %d bytes", parent, third.BytesRead)
		}
		s.expect(t, third.Snapshot, root)
	}
}

// TestWayWithoutReading: a directory that may be searched but not listed can still be passed through.
func TestWayWithoutReading(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root may list everything")
	}
	root := t.TempDir()
	write(t, root+"/way/in/f", "1")
	check(t, os.Chmod(root+"/way", 0o311))
	t.Cleanup(func() { os.Chmod(root+"/way", 0o755) })
	s := newStore()
	r := mustRun(t, s, testOptions(t, root+"/way/in"))
	if r.Incomplete {
		t.Errorf("errors %v", r.Errors)
	}
	wantPaths(t, s, r, root, "way", "way/in", "way/in/f")
	if r = mustRun(t, s, testOptions(t, root)); !r.Incomplete {
		t.Error("a directory that cannot be listed is no error")
	}
	wantPaths(t, s, r, root, "way")
}

// brokenCache fails always.
type brokenCache struct{}

func (brokenCache) Get([]byte) ([]byte, bool, error) { return nil, false, errors.New("disk full") }
func (brokenCache) Put(_, _ []byte) error            { return errors.New("disk full") }

func TestBrokenCache(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/a/b", "x")
	s, o := newStore(), testOptions(t, root)
	o.Cache = brokenCache{}
	report := mustRun(t, s, o)
	s.expect(t, report.Snapshot, root)
	if report.WarningCount != 1 || report.Incomplete {
		t.Errorf("warnings %v", report.Warnings)
	}
	// Damaged records are none.
	c := newCache()
	o.Cache = c
	mustRun(t, s, o)
	for key, v := range c.values {
		v = bytes.Clone(v)
		v[len(v)/2] ^= 1
		c.values[key] = v
	}
	report = mustRun(t, s, o)
	s.expect(t, report.Snapshot, root)
	if report.BytesRead != 1 {
		t.Errorf("a damaged record was believed: read %d bytes", report.BytesRead)
	}
}

// TestPseudoFile: procfs says 0 bytes of files that have some.
func TestPseudoFile(t *testing.T) {
	t.Parallel()
	s, o := newStore(), testOptions(t, "/proc/sys/kernel/ostype")
	report := mustRun(t, s, o)
	n := s.tree(t, report.Snapshot)["/proc/sys/kernel/ostype"]
	if n == nil || string(s.bytesOf(t, n)) != "Linux\n" || report.Incomplete {
		t.Errorf("%+v, errors %v", n, report.Errors)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	s, o := newStore(), testOptions(t)
	want := strings.Repeat("0123456789", 50_000)
	var stderr bytes.Buffer
	report, err := RunCommand(t.Context(), s, o, "dumps/db.sql", []string{"sh", "-c", "echo note >&2; i=0; while [ $i -lt 50000 ]; do printf 0123456789; i=$((i+1)); done"}, &stderr)
	check(t, err)
	n := s.tree(t, report.Snapshot)["/dumps/db.sql"]
	if string(s.bytesOf(t, n)) != want || n.Mode != 0o600 || int(n.UID) != os.Getuid() || stderr.String() != "note\n" {
		t.Errorf("%+v, stderr %q", n, stderr.String())
	}
	if report.Bytes != uint64(len(want)) || report.Files.New != 1 {
		t.Errorf("report %+v", report)
	}

	_, err = RunCommand(t.Context(), s, o, "x", []string{"sh", "-c", "echo partial; echo no such table >&2; exit 7"}, nil)
	var failed *CommandError
	if !errors.As(err, &failed) || failed.ExitCode != 7 || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("exit 7: %v", err)
	}
	_, err = RunCommand(t.Context(), s, o, "x", []string{"sh", "-c", "kill -9 $$"}, nil)
	if !errors.As(err, &failed) || failed.Signal == "" {
		t.Errorf("killed: %v", err)
	}
	if _, err = RunCommand(t.Context(), s, o, "x", []string{"/no/such/command"}, nil); err == nil {
		t.Error("a missing command made a snapshot")
	}
	if len(s.commits) != 1 {
		t.Errorf("%d snapshots", len(s.commits))
	}
}

func TestCommandCancelled(t *testing.T) {
	t.Parallel()
	s, o := newStore(), testOptions(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	// The child of the shell must go too: it holds the pipe.
	_, err := RunCommand(ctx, s, o, "x", []string{"sh", "-c", "sleep 60; echo"}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 4*time.Second || len(s.commits) != 0 {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	s.fail = func(chunk.Type, []byte) error { return errors.New("full") }
	if _, err := RunCommand(t.Context(), s, o, "x", []string{"yes"}, nil); err == nil || err.Error() != "full" {
		t.Errorf("a failing archive: %v", err)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	s, o := newStore(), testOptions(t)
	for _, name := range []string{"", "/", "a/", "..", "\x00"} {
		if _, err := RunStream(t.Context(), s, o, name, strings.NewReader("x"), nil); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	broken := io.MultiReader(strings.NewReader(noise(1, 100_000)), errReader{})
	if _, err := RunStream(t.Context(), s, o, "f", broken, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("broken stream: %v", err)
	}
	report, err := RunStream(t.Context(), s, o, "empty", strings.NewReader(""), nil)
	check(t, err)
	if n := s.tree(t, report.Snapshot)["/empty"]; n == nil || n.Size != 0 || n.Type != snapshot.File {
		t.Errorf("empty stream: %+v", n)
	}
	o.SkipIfUnchanged = true
	first, err := RunStream(t.Context(), s, o, "f", strings.NewReader("same"), nil)
	check(t, err)
	o.Parent = &Parent{Content: first.Snapshot.Content, Depth: first.Snapshot.Depth, Load: s.load}
	second, err := RunStream(t.Context(), s, o, "f", strings.NewReader("same"), nil)
	check(t, err)
	if first.Unchanged || !second.Unchanged {
		t.Errorf("unchanged: %v %v", first.Unchanged, second.Unchanged)
	}
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := RunStream(ctx, s, o, "f", r, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a Read that hangs: %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, syscall.EIO }
