package tests

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/tests/nasty"
)

// TestDumpTar: what tar unpacks is what was backed up.
func TestDumpTar(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(1, 0)
	tree := m.write("top", files{"a": "x", "empty": "", "dir/b": string(random("tar", 3<<20)), "dir/none/": "", "link": "-> dir/b", "caf\xe9": "not text", strings.Repeat("long", 60) + "/" + strings.Repeat("name", 60): "l"})
	if err := os.Link(filepath.Join(tree, "a"), filepath.Join(tree, "dir/a too")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(tree, "a"), 0o640|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	m.backup(tree)
	out := m.ok("dump", "latest:"+tree).stdout
	want := map[string]string{}
	for name := range sizes(t, tree) {
		if target, err := os.Readlink(filepath.Join(tree, name)); err == nil {
			want["top/"+name] = "-> " + target
		} else if data, err := os.ReadFile(filepath.Join(tree, name)); err == nil {
			want["top/"+name] = string(data)
		}
	}
	got := map[string]string{}
	r := tar.NewReader(strings.NewReader(out))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			got[h.Name] = string(data)
		case tar.TypeSymlink:
			got[h.Name] = "-> " + h.Linkname
		case tar.TypeLink:
			got[h.Name] = want[h.Linkname]
		case tar.TypeDir:
		default:
			t.Errorf("%s is of type %c", h.Name, h.Typeflag)
		}
	}
	sameFiles(t, "tar", got, want)

	if unpack := m.path("unpacked"); os.Mkdir(unpack, 0o755) == nil {
		c := m.other("tar", "-x", "-p", "-C", unpack)
		c.Stdin = strings.NewReader(out)
		if r := finish(t, c); r.code != 0 || r.stderr != "" {
			t.Error(r)
		}
		listed, err := os.ReadDir(unpack)
		if err != nil || len(listed) != 1 {
			t.Fatalf("tar made %v, %v", listed, err)
		}
		same(t, tree, filepath.Join(unpack, "top"))
	}
	if got := m.ok("dump", "latest:"+tree+"/dir/b").stdout; got != want["top/dir/b"] {
		t.Errorf("a file: %d bytes", len(got))
	}
	m.ok("dump", "latest:"+tree+"/a", "--output", m.path("a"))
	if data, err := os.ReadFile(m.path("a")); err != nil || string(data) != "x" {
		t.Errorf("--output: %q, %v", data, err)
	}
	m.must(1, "dump", "latest:"+tree+"/empty", "--output", m.path("a")) // is there
	m.must(2, "dump", "latest", "--format", "rar")
}

func sameFiles(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if g, ok := got[name]; !ok || g != content {
			t.Errorf("%s: %q: %v, %d bytes instead of %d", what, name, ok, len(g), len(content))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d files instead of %d", what, len(got), len(want))
	}
}

// TestDumpNasty: GNU tar makes of a dump what was backed up, as far as tar can hold it: no sockets, and holes only as
// zeros.
func TestDumpNasty(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can read and unpack all of the nasty tree")
	}
	m := newMachine(t)
	m.init(1, 0)
	tree := m.plant("tree", nasty.Options{Small: true})
	m.backup(tree)
	for _, part := range []string{"names", "same", "symlinks", "modes", "owners", "times", "many", "cache"} {
		unpacked := m.path("unpacked", part)
		if err := os.MkdirAll(unpacked, 0o755); err != nil {
			t.Fatal(err)
		}
		m.removeLater(unpacked)
		m.ok("dump", "latest:"+filepath.Join(tree, part), "--output", m.path(part+".tar"))
		if r := finish(t, m.other("tar", "-x", "-p", "--same-owner", "--delay-directory-restore", "-f", m.path(part+".tar"), "-C", unpacked)); r.code != 0 {
			t.Error(r)
		}
		same(t, filepath.Join(tree, part), filepath.Join(unpacked, part))
	}
}

// TestDumpZip: what a zip reader unpacks is what was backed up.
func TestDumpZip(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree := m.write("top", files{"a": "x", "empty": "", "dir/b": string(random("zip", 3<<20)), "dir/none/": "", "link": "-> dir/b", "größe": strings.Repeat("text ", 10000)})
	m.backup(tree)
	m.ok("dump", "latest:"+tree, "--format", "zip", "--output", m.path("z.zip"))
	data, err := os.ReadFile(m.path("z.zip"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.File {
		if f.Mode().IsDir() {
			continue
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name] = string(content)
		if f.Mode()&os.ModeSymlink != 0 {
			got[f.Name] = "-> " + got[f.Name]
		}
	}
	sameFiles(t, "zip", got, map[string]string{"top/a": "x", "top/empty": "", "top/dir/b": string(random("zip", 3<<20)), "top/link": "-> dir/b", "top/größe": strings.Repeat("text ", 10000)})
	if len(data) > 3<<20+20000 {
		t.Errorf("the zip of %d bytes is not compressed", len(data))
	}
}

// TestListings: B5, B17: ls, find, diff, snapshots, stats and tag, as JSON lines that say the truth, and as text.
func TestListings(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.init(2, 1)
	tree, ids := history(m)

	list := m.ok("snapshots", "--json").of("snapshot")
	if len(list) != 3 {
		t.Fatalf("%d snapshots", len(list))
	}
	for i, s := range list {
		if s.text("id") != ids[i] || s.text("series") != "work" || s["incomplete"] != false || s["paths"].([]any)[0] != tree || s["tags"].([]any)[0] != []string{"one", "two", "three"}[i] {
			t.Errorf("snapshot %d: %v", i, s)
		}
		if who, err := user.Current(); err != nil || s.text("user") != who.Username || s.text("host") == "" { // B17
			t.Errorf("snapshot %d was made by %q on %q, not %v", i, s.text("user"), s.text("host"), who)
		}
		if i > 0 && s.text("previous") != ids[i-1] {
			t.Errorf("snapshot %d follows %v", i, s["previous"])
		}
		files := []float64{6, 7, 6}[i] - 1 // the symlink is none
		if n := s["stats"].(map[string]any)["files_total"]; n != files {
			t.Errorf("snapshot %d: %v files instead of %v", i, n, files)
		}
	}
	if got := m.ok("snapshots", "--tag", "two", "--json").one("snapshot").text("id"); got != ids[1] {
		t.Errorf("--tag two: %s", got)
	}
	m.ok("snapshots").says(ids[0][:8], ids[2][:8], "3 snapshots")

	var got []string
	for _, o := range m.ok("ls", "latest:"+tree, "--json").of("node") {
		got = append(got, o.text("kind")+" "+strings.TrimPrefix(o.text("path"), tree+"/"))
		if o.text("path") == tree+"/a" && (o.number("size") != 5 || o.text("mode") != "0644" || o.number("uid") != int64(os.Geteuid())) {
			t.Errorf("ls: %v", o)
		}
		if o.text("path") == tree+"/link" && o.text("target") != "dir/e" {
			t.Errorf("ls: %v", o)
		}
	}
	if want := []string{"file a", "file b", "dir dir", "symlink link", "dir other"}; !slices.Equal(got, want) {
		t.Errorf("ls: %q, %q expected", got, want)
	}
	if got, want := m.paths("latest:"+tree), []string{"a", "b", "dir", "dir/e", "dir/sub", "dir/sub/d", "link", "other", "other/f"}; !slices.Equal(got, want) {
		t.Errorf("ls -r: %q", got)
	}
	m.ok("ls", "-l", "latest:"+tree).says("-rw-r--r--", "link -> dir/e", "drwxr-xr-x")

	found := m.ok("find", "--json", "c", tree+"/dir/*").of("node")
	held := 0 // c in one snapshot, dir/e three times another one, dir/sub the same in three
	for _, o := range found {
		held += len(o["snapshots"].([]any))
	}
	if len(found) != 1+3+1 || held != 1+3*2 || found[0].text("path") != tree+"/c" || found[1].text("snapshot") != ids[2] {
		t.Errorf("find: %v", found)
	}
	if o := m.ok("find", "--newest", "--json", "c").one("node"); o.text("snapshot") != ids[1] || o.text("path") != tree+"/c" {
		t.Errorf("find --newest: %v", o)
	}
	m.must(1, "find", "nothing like it")

	changes := map[string]string{}
	r := m.ok("diff", "latest~2", "latest~1", "--no-meta", "--json")
	for _, o := range r.of("change") {
		changes[strings.TrimPrefix(o.text("path"), tree+"/")] = o.text("change")
	}
	if len(changes) != 2 || changes["a"] != "modified" || changes["c"] != "added" {
		t.Errorf("diff: %v", changes)
	}
	if o := r.one("diff"); o.number("added") != 1 || o.number("modified") != 1 || o.number("removed") != 0 || o.number("bytes_added") != 4 || o.number("bytes_removed") != 3 {
		t.Errorf("diff: %v", o)
	}
	m.ok("diff", ids[1], ids[2]).says("-  "+tree+"/c", "M  "+tree+"/a")
	if o := m.ok("diff", "latest~1:"+tree+"/dir", "latest:"+tree+"/dir", "--no-meta", "--json"); len(o.of("change")) != 0 {
		t.Errorf("diff of equal directories: %v", o)
	}
}

// TestStats: the numbers are those of the disk and of the tree.
func TestStats(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	members := m.init(2, 1)
	tree := m.write("tree", files{"a": "x", "b": "x", "c/d": string(random("stats", 100_000)), "l": "-> a"})
	m.backup(tree)
	o := m.ok("stats", "--json").one("stats")
	if o.number("data") != 2 || o.number("parity") != 1 || o.number("snapshots") != 1 {
		t.Errorf("stats: %v", o)
	}
	for _, kind := range []string{"binaries", "index", "snapshots", "keys"} {
		var n, bytes int64
		for _, member := range members {
			list := sizes(t, filepath.Join(member, kind))
			n, bytes = n+int64(len(list)), bytes+sum(list)
		}
		if object(o["objects"].(map[string]any)).number(kind) != n || object(o["bytes"].(map[string]any)).number(kind) != bytes {
			t.Errorf("%s: %d objects of %d bytes on the disk, %v", kind, n, bytes, o)
		}
	}
	if b := object(o["blobs"].(map[string]any)); b.number("data") != 2 {
		t.Errorf("2 distinct contents are stored: %v", b)
	}
	o = m.ok("stats", "latest", "--json").one("stats")
	if o.number("files") != 3 || o.number("bytes_total") != 100_002 || o.number("bytes_distinct") != 100_001 || o.number("others") != 1 || o.number("blobs") != 2 {
		t.Errorf("stats latest: %v", o)
	}
}

// TestTag: a tag makes another snapshot in place of the old one, and everything else of it stays. B4: it shares all data with the old one;
// no pack is written for it.
func TestTag(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	member := m.init(1, 0)[0]
	tree, ids := history(m)
	packs := sizes(t, filepath.Join(member, "binaries"))
	if o := m.ok("tag", ids[0][:10], "--add", "kept", "--dry-run", "--json").one("tag"); o["changed"] != true {
		t.Errorf("tag --dry-run: %v", o)
	}
	o := m.ok("tag", ids[0][:10], "--add", "kept", "--remove", "one", "--json").one("tag")
	if o.text("old") != ids[0] || o.text("id") == ids[0] || len(o["tags"].([]any)) != 1 {
		t.Errorf("tag: %v", o)
	}
	list := m.ok("snapshots", "--json").of("snapshot")
	if len(list) != 3 || list[0].text("id") != o.text("id") || list[0]["tags"].([]any)[0] != "kept" || list[0].text("original") != ids[0] {
		t.Errorf("snapshots after tag: %v", list)
	}
	if got := m.ok("dump", o.text("id")+":"+tree+"/a").stdout; got != "one" {
		t.Errorf("the tagged snapshot holds %q", got)
	}
	if o := m.ok("tag", "latest", "--set", "", "--json").one("tag"); len(o["tags"].([]any)) != 0 {
		t.Errorf("tag --set '': %v", o)
	}
	if now := sizes(t, filepath.Join(member, "binaries")); !maps.Equal(now, packs) || len(packs) == 0 {
		t.Errorf("the packs were %v and are %v", packs, now)
	}
	m.must(2, "tag", "latest")
	m.must(2, "tag", "--add", "x")
	m.check()
}
