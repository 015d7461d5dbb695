package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// cache is where the machine keeps its index.
func (m *machine) cache() string { return m.path("home/.cache/cairn") }

func dropDir(t testing.TB, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// TestCacheGone: the cache directory may go between commands, and be cut short or made unreadable: no command minds, and
// nothing is stored again.
func TestCacheGone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree := m.write("tree", files{"a": "x", "b/c": string(random("cache", 3<<20))})
	m.backup(tree)
	spoil := map[string]func(){
		"removed":   func() { dropDir(t, m.cache()) },
		"cut short": func() { eachFile(t, m.cache(), func(name string) error { return os.Truncate(name, 10) }) },
		"overwritten": func() {
			eachFile(t, m.cache(), func(name string) error { return os.WriteFile(name, random(name, 5000), 0o600) })
		},
		"a file":       func() { dropDir(t, m.cache()); put(t, m.cache(), "not a directory", false) },
		"dropped":      func() { dropDir(t, m.cache()); m.ok("index", "drop") },
		"index only":   func() { dropIndex(t, m.cache()) },
		"of the files": func() { dropIndex(t, filepath.Join(m.cache())); m.ok("index", "rebuild") },
	}
	for how, do := range spoil {
		do()
		if o := m.ok("backup", "--json", tree).one("backup"); o.number("data_blobs_new") != 0 || o.number("error_count") != 0 {
			t.Errorf("%s: %v", how, o)
		}
		do()
		same(t, tree, m.restore("latest", tree))
		do()
		m.check()
		dropDir(t, m.cache())
	}
	// a HOME that cannot be written to
	r := m.with("CAIRN_CACHE_DIR=/proc/nowhere").ok("backup", tree)
	if !strings.Contains(r.stderr, "warning: no cache") {
		t.Error(r)
	}
	same(t, tree, m.with("CAIRN_CACHE_DIR=/proc/nowhere").restore("latest", tree))
}

func eachFile(t testing.TB, dir string, do func(name string) error) {
	t.Helper()
	for name := range sizes(t, dir) {
		if err := do(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// dropIndex removes the directories called index, files or journal of all archives.
func dropIndex(t testing.TB, cache string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(cache, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range list {
		if strings.HasPrefix(filepath.Base(dir), "index") {
			dropDir(t, dir)
		}
	}
}

// waitFor waits until something is true, but not for ever.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("%s did not happen within a minute", what)
		}
	}
}

// TestCacheRemovedUnderway: rm -rf of the cache while a backup runs. Once it is at work that does not matter; when the
// directory goes again and again, also while the index is being opened, the backup may fail, but not for long.
func TestCacheRemovedUnderway(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(1, 0)
	tree := m.crashTree(8)
	remove := func() { _ = exec.Command("rm", "-rf", m.cache()).Run() } // it races with the backup
	done := make(chan struct{})
	var remover sync.WaitGroup
	remover.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				remove()
			}
		}
	})
	r := m.run("backup", tree)
	if r.code != 0 && (r.code != 1 || r.stderr == "" || strings.Contains(r.stderr, "goroutine ")) {
		t.Errorf("while the cache goes again and again: %v", r)
	}
	close(done)
	remover.Wait()

	m.write("tree", files{"large/0": string(random("another", 20<<20)), "large/1": string(random("one more", 20<<20))})
	before := packBytes(t, members)
	c := m.command("backup", "--json", tree)
	finished := make(chan result)
	go func() { finished <- finish(t, c) }()
	waitFor(t, "the first pack", func() bool { return packBytes(t, members) > before })
	remove()
	if r := <-finished; r.code != 0 {
		t.Errorf("without its cache the backup fails: %v", r)
	}
	if o := m.backup(tree); o.number("data_blobs_new") != 0 {
		t.Errorf("the backup after it: %v", o)
	}
	m.check()
	same(t, tree, m.restore("latest", tree))
}

// TestTwoAtOnce: E21: two backups, a restore and a check of one archive at once on one machine.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	shared := string(random("shared", 4<<20))
	trees := []string{
		m.write("one", files{"shared": shared, "own": string(random("own 1", 15<<20)), "a/b": "x"}),
		m.write("two", files{"shared": shared, "own": string(random("own 2", 15<<20)), "a/c": "y"}),
	}
	m.backup(m.write("before", files{"a": "z", "shared": shared}))
	var commands []*exec.Cmd
	for _, tree := range trees {
		commands = append(commands, m.command("backup", tree), m.command("backup", "--series", "again", tree))
	}
	commands = append(commands, m.command("restore", "latest:"+m.path("before"), "--to", m.path("restored")), m.command("check", "--read-data"), m.command("index", "rebuild"))
	results := make([]result, len(commands))
	var all sync.WaitGroup
	for i, c := range commands {
		all.Go(func() { results[i] = finish(t, c) })
	}
	all.Wait()
	for i, r := range results {
		// "latest" may be another snapshot by then
		if r.code != 0 && !(i == 4 && strings.Contains(r.stderr, "before")) {
			t.Error(r)
		}
	}
	list := m.ok("snapshots", "--json").of("snapshot")
	if len(list) != 5 {
		t.Fatalf("%d snapshots instead of 5", len(list))
	}
	for _, s := range list {
		path := s["paths"].([]any)[0].(string)
		same(t, path, m.restore(s.text("id"), path))
	}
	m.check()
}

// TestIndexFromShards: without any index object on any member, the directories at the ends of the shards are enough, also
// where shards are missing.
func TestIndexFromShards(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(2, 1)
	tree := m.write("tree", files{"a": "x", "b/c": string(random("shards", 40<<20)), "d": "-> a"})
	m.backup(tree)
	want := m.ok("stats", "--json").one("stats")
	for _, member := range members {
		dropDir(t, filepath.Join(member, "index"))
	}
	for _, name := range names(t, members[2], "binaries") {
		hurts[len(name)%len(hurts)].object(t, filepath.Join(members[2], name))
	}
	dropDir(t, m.cache())
	r := m.run("restore", "latest", "--to", m.path("early"))
	if r.code == 0 {
		same(t, tree, m.path("early", tree))
	} else {
		r.says("index rebuild") // the hint has to say the way out
	}
	o := m.ok("index", "rebuild", "--json").one("index_rebuild")
	if o.number("packs_without_segment") < 2 || o.number("blobs_found") == 0 {
		t.Errorf("index rebuild: %v", o)
	}
	same(t, tree, m.restore("latest", tree))
	dropDir(t, m.cache()) // it was published, too
	same(t, tree, m.restore("latest", tree))
	got := m.ok("stats", "--json").one("stats")
	for _, key := range []string{"blobs", "blob_bytes", "blob_bytes_stored"} {
		if w, g := want[key].(map[string]any), got[key].(map[string]any); w["data"] != g["data"] || w["tree"] != g["tree"] {
			t.Errorf("%s: %v, %v before", key, g, w)
		}
	}
	if o := m.backup(tree); o.number("data_blobs_new") != 0 {
		t.Errorf("after the rebuild: %v", o)
	}
}
