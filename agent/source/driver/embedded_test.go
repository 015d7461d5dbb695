package driver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/agent/source"
	"cairn/remote"
)

// lock makes a file and locks it as another program would (an open file description's lock conflicts with our own question, too).
func lock(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: 1 << 30, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l); err != nil {
		t.Fatal(err)
	}
	return f
}

// A11, B8: an embedded database that somebody has open is refused; a lock file that nobody holds is a warning.
func TestStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	derby := source.Part{Derby: &source.Embedded{Path: dir}}
	h2 := source.Part{H2: &source.Embedded{Path: filepath.Join(dir, "app")}}
	check := func(p source.Part, warnings int, file string) {
		t.Helper()
		got, err := Stopped(p)
		var inUse *InUseError
		switch {
		case file == "" && (err != nil || len(got) != warnings):
			t.Errorf("%q, %v", got, err)
		case file != "" && (!errors.As(err, &inUse) || inUse.File != filepath.Join(dir, file) || remote.Hint(err) == ""):
			t.Errorf("%q, %v", got, err)
		}
	}
	check(derby, 0, "")
	check(h2, 0, "")
	ex := lock(t, filepath.Join(dir, "dbex.lck"))
	check(derby, 0, "dbex.lck")
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	check(derby, 1, "")
	mv := lock(t, filepath.Join(dir, "app.mv.db"))
	check(h2, 0, "app.mv.db")
	check(source.Part{H2: &source.Embedded{Path: filepath.Join(dir, "app.mv.db")}}, 0, "app.mv.db")
	if err := mv.Close(); err != nil {
		t.Fatal(err)
	}
	check(h2, 0, "")
	lock(t, filepath.Join(dir, "app.lock.db"))
	check(h2, 0, "app.lock.db")
}

// B8: embedded Derby databases are found within a repository.
func TestFindDerby(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"workspaces/default/db/seg0", "workspaces/live/db/seg0", "workspaces/live/index", "other/seg0"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{filepath.Join(dir, "workspaces/default/db"), filepath.Join(dir, "workspaces/live/db")}
	for _, d := range want {
		if err := os.WriteFile(filepath.Join(d, "service.properties"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FindDerby(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
