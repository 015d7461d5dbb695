package tests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/tests/fixture"
)

// TestSeafileWhileWriting is the worked disaster of docs/profiles.md while somebody works: objects of a commit come first, then the head in the
// database, as Seafile does it. The dump comes before the files, so each head that it has is among them. A2 A11 D5 E3 E7 E9 E10 E16 E19.
func TestSeafileWhileWriting(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	home := m.path("seafile")
	root := mariaDB(t)
	first := m.clerk(root, "ccnet_db", "seafile_db", "seahub_db")
	storage := fixture.NewSeafile(t, filepath.Join(home, "seafile-data"))
	for _, name := range []string{"conf/seafile.conf", "seahub-data/avatars/a.png"} {
		fixture.Write(t, filepath.Join(home, name), []byte(name))
	}
	installSeafile(t, home)
	m.sql(first, seafileTables+"USE seafile_db;"+string(storage.Dump())+mariadbBank("ccnet_db", "seahub_db"))
	m.ok("source", "new", "seafile", "--set", "home="+home, "--set", "database_user="+first.User, "--set", fmt.Sprint("database_port=", first.Port), "--set", "password_file="+m.password(word),
		"--set", "user=root", "--set", "fileserver_port=1", "--set", "seahub_port=2")

	made := map[string]int64{} // head of the first library → transfer
	transfer := mariadbTransfer("ccnet_db", "seahub_db")
	w := m.teller(m.mariadbCommand(first), func(i int64) string {
		// A commit is made elsewhere and moved here, object by object, so that none is seen half-written.
		next := *storage
		next.Dir = m.path(fmt.Sprint("commit", i))
		head := next.Commit(fixture.LibraryA, map[string][]byte{"docs/report.txt": fixture.Random(1, 9000), fmt.Sprintf("docs/%d.txt", i): fixture.Random(uint64(5000+i), 9000)})
		for _, section := range []string{"blocks", "fs", "commits"} {
			moveAll(t, filepath.Join(next.Dir, "storage", section), filepath.Join(storage.Dir, "storage", section))
		}
		made[head] = i
		return "UPDATE seafile_db.Branch SET commit_id = '" + head + "' WHERE repo_id = '" + fixture.LibraryA + "'; " + transfer(i)
	})
	before := w.done.Load()
	m.secretly(core, "mariadb-dump", "source", "run", "seafile", "--json")
	after := w.stop() + 1
	m.ok("source", "verify", "seafile").hides(core)
	foreign := m.sql(first, mariadbForeign("ccnet_db", "seahub_db"))

	root.Stop()
	gone(t, home, m.path("home", ".config"))
	bare := m.bare()
	second := bare.clerk(mariaDB(t), "ccnet_db", "seafile_db", "seahub_db")
	installSeafile(t, home)
	again := []string{"seafile", "--from", "latest", "--vars", fmt.Sprint("database_port=", second.Port)}
	bare.ok(append([]string{"source", "plan"}, again...)...).says("ccnet_db, seafile_db, seahub_db", home+"/seafile-data", "fsck", "seaf-fsck without --repair only tells").hides(core)
	if os.Geteuid() == 0 { // runuser is for root
		again = append(again, "--steps")
	}
	bare.secretly(core, "mariadb", append([]string{"source", "restore", "--trust", "--yes"}, again...)...)
	between(t, "the copy", bare.sql(second, mariadbSum("ccnet_db", "seahub_db")), before, after)
	if got := bare.sql(second, mariadbForeign("ccnet_db", "seahub_db")); got != foreign {
		t.Errorf("foreign data:\n%s\nwere\n%s", got, foreign)
	}
	head := strings.TrimSpace(bare.sql(second, "SELECT commit_id FROM seafile_db.Branch WHERE repo_id = '"+fixture.LibraryA+"';"))
	if _, err := os.Stat(storage.Object("commits", fixture.LibraryA, head)); err != nil {
		t.Errorf("the head of the first library: %v", err)
	}
	// Head and ledger were changed by two statements, so one of them may be a step ahead.
	if i, ok := made[head]; !ok || i < before-1 || i > after {
		t.Errorf("the head is of transfer %d (%v), between %d and %d", i, ok, before, after)
	}
	bare.ok("verify", "--format", "seafile", storage.Dir)
	bare.holdsNo(core, m.path("home"))
}

// moveAll moves the files below one directory to the same places below another.
func moveAll(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			fixture.Move(t, name, to+strings.TrimPrefix(name, from))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
