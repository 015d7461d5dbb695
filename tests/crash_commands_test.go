package tests

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// victims are the commands that change an archive.
func victims() []victim {
	backup := func(d *mortal) []string { return []string{"backup", d.tree} }
	return []victim{
		{
			name:    "first backup",
			prepare: func(*mortal) {},
			command: backup,
			after:   func(d *mortal) { d.latestIs(d.tree, 1) },
		},
		{
			name: "another backup",
			prepare: func(d *mortal) {
				d.backUp()
				put(d.t, filepath.Join(d.tree, "a/2"), string(random("changed", 30_000)), false)
				put(d.t, filepath.Join(d.tree, "c/4"), "new", false)
			},
			command: backup,
			after:   func(d *mortal) { d.latestIs(d.tree, 2) },
		},
		{
			name:    "tag",
			prepare: func(d *mortal) { d.backUp(); d.backUp() },
			command: func(*mortal) []string { return []string{"tag", "--add", "seen", "latest"} },
			after: func(d *mortal) {
				if s := d.ok("snapshots", "--json", "latest").one("snapshot"); fmt.Sprint(s["tags"]) != "[seen]" {
					d.t.Errorf("the tags are %v", s["tags"])
				}
				d.latestIs(d.tree, 2)
			},
		},
		{
			name:    "prune",
			prepare: func(d *mortal) { d.garbage(); d.forget(2) },
			command: func(*mortal) []string { return []string{"prune", "--max-unused", "0"} },
		},
		{
			name:    "forget",
			prepare: func(d *mortal) { d.garbage(); d.done = d.done[2:] },
			command: func(*mortal) []string { return []string{"forget", "--keep-last", "2"} },
			after: func(d *mortal) {
				if n := len(d.ok("snapshots", "--json").of("snapshot")); n != 2 {
					d.t.Errorf("%d snapshots are left", n)
				}
			},
		},
		{
			name:    "forget and prune",
			prepare: func(d *mortal) { d.garbage(); d.done = d.done[2:] },
			command: func(*mortal) []string { return []string{"forget", "--keep-last", "2", "--prune"} },
			after: func(d *mortal) {
				if n := len(d.ok("snapshots", "--json").of("snapshot")); n != 2 {
					d.t.Errorf("%d snapshots are left", n)
				}
			},
		},
		{
			name:    "copy",
			prepare: func(d *mortal) { d.backUp(); d.backUp(); d.makeTarget() },
			command: func(d *mortal) []string { return d.to("copy") },
			target:  (*mortal).target,
		},
		{
			name: "replicate",
			prepare: func(d *mortal) {
				d.backUp()
				d.backUp()
				d.makeTarget()
				d.ok(d.to("replicate")...)
				d.backUp()
				d.forget(2)
			},
			command: func(d *mortal) []string { return append(d.to("replicate"), "--delete") },
			target:  (*mortal).target,
		},
		{
			name:    "rewrite",
			prepare: func(d *mortal) { d.backUp(); d.backUp(); d.purge("a/2") },
			command: func(d *mortal) []string {
				return []string{"rewrite", "--exclude", filepath.Join(d.tree, "a/2"), "--forget"}
			},
		},
		{
			name: "repair",
			prepare: func(d *mortal) {
				d.backUp()
				d.backUp()
				d.hurt()
			},
			command: func(*mortal) []string { return []string{"repair"} },
			damaged: true,
		},
		{
			name: "repair lost",
			prepare: func(d *mortal) {
				d.backUp()
				d.ruin()
			},
			command: func(*mortal) []string { return []string{"repair", "--lost", "--yes"} },
			damaged: true,
			after: func(d *mortal) {
				d.backup(d.tree)
				d.done, d.ruined = d.ruined, nil
			},
		},
		{
			name:    "key add",
			prepare: func(d *mortal) { d.backUp() },
			command: func(d *mortal) []string {
				return []string{"key", "add", "--label", "second", "--new-key-file", d.unused("second")}
			},
			after: func(d *mortal) {
				found, err := filepath.Glob(d.path("second*"))
				if err != nil || len(found) == 0 {
					d.t.Fatalf("no key file was made: %v", err)
				}
				d.with("CAIRN_KEY_FILE=" + found[len(found)-1]).ok("snapshots")
			},
		},
		{
			name: "key passwd",
			prepare: func(d *mortal) {
				d.backUp()
				d.more = []string{"passwords"}
				d.write("passwords", files{"old": "old password\n", "new": "new password\n"})
				d.ok("key", "add", "--new-password-file", d.path("passwords/old"))
			},
			env: func(d *mortal) []string { return d.password("old") },
			command: func(d *mortal) []string {
				if d.with(d.password("old")...).run("snapshots").code == 6 {
					return []string{"key", "list"} // it was done before the kill
				}
				return []string{"key", "passwd", "--new-password-file", d.path("passwords/new")}
			},
			after: func(d *mortal) {
				d.with(d.password("new")...).ok("snapshots")
				d.with(d.password("old")...).must(6, "snapshots")
			},
		},
		{
			name: "key remove",
			prepare: func(d *mortal) {
				d.backUp()
				d.ok("key", "add", "--label", "going", "--new-key-file", d.path("going"))
			},
			// A second run finds nothing to remove when the first one did it: that is asked before.
			command: func(d *mortal) []string {
				for _, s := range d.ok("key", "list", "--json").of("key") {
					if s.text("label") == "going" {
						return []string{"key", "remove", s.text("id")}
					}
				}
				return []string{"key", "list"}
			},
			after: func(d *mortal) {
				if n := len(d.ok("key", "list", "--json").of("key")); n != 1 {
					d.t.Errorf("%d key slots, one expected", n)
				}
			},
		},
	}
}

// garbage makes four backups of which each needs a part of the packs of those before, and one that was killed.
func (d *mortal) garbage() {
	d.t.Helper()
	for i := range 4 {
		for j := range 6 {
			put(d.t, filepath.Join(d.tree, fmt.Sprint("old/", j)), string(random(fmt.Sprint("old ", j, max(i, j)), 9000)), false)
		}
		d.backUp()
	}
	put(d.t, filepath.Join(d.tree, "never"), string(random("never", 30_000)), false)
	elsewhere := d.with("HOME=" + d.path("elsewhere")) // nobody finishes it
	if r := elsewhere.faulty(url.Values{"do": {"kill"}, "at": {"3"}, "ops": {"write"}, "when": {"after"}}, "backup", d.tree); r.code != -1 {
		d.t.Errorf("a backup that is killed: %v", r)
	}
}

// forget forgets all but the last snapshots.
func (d *mortal) forget(keep int) {
	d.t.Helper()
	d.ok("forget", "--keep-last", fmt.Sprint(keep))
	d.done = d.done[len(d.done)-keep:]
}

// makeTarget makes the archive to which copies go: one with another layout and key.
func (d *mortal) makeTarget() {
	d.t.Helper()
	d.more = []string{"target", "replica0", "replica1"}
	if err := os.Mkdir(d.path("target"), 0o755); err != nil {
		d.t.Fatal(err)
	}
	d.ok("init", "--data", "1", "--parity", "1", "--new-key-file", d.path("target/key"), d.path("replica0"), d.path("replica1"))
}

func (d *mortal) to(command string) []string {
	return []string{command, "--to", d.path("replica0"), "--to", d.path("replica1"), "--to-key-file", d.path("target/key")}
}

// target is the other archive, as the machine sees it.
func (d *mortal) target() *mortal {
	t := *d
	m := *d.machine
	t.machine, t.folders = &m, []string{"replica0", "replica1"}
	t.env = slices.Clone(t.env)
	t.useClone(d.path("target/key"))
	return &t
}

// purge says that the snapshots will be without a file.
func (d *mortal) purge(name string) {
	d.t.Helper()
	for i, s := range d.done {
		without := s.tree + " purged"
		if out, err := exec.Command("cp", "-a", s.tree, without).CombinedOutput(); err != nil {
			d.t.Fatalf("%v: %s", err, out)
		}
		dir := filepath.Dir(filepath.Join(without, name))
		info, err := os.Stat(dir)
		if err == nil {
			err = os.Remove(filepath.Join(without, name))
		}
		if err == nil {
			err = os.Chtimes(dir, info.ModTime(), info.ModTime())
		}
		if err != nil {
			d.t.Fatal(err)
		}
		d.done[i].tree, d.done[i].before = without, s.tree
	}
}

// unused is a path at which nothing lies yet.
func (m *machine) unused(name string) string {
	for i := 0; ; i++ {
		path := m.path(fmt.Sprint(name, i))
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			return path
		}
	}
}

// latestIs demands the number of snapshots, all complete, and what the latest one holds.
func (d *mortal) latestIs(tree string, n int) {
	d.t.Helper()
	list := d.ok("snapshots", "--json").of("snapshot")
	complete := 0
	for _, s := range list {
		if s["incomplete"] == false {
			complete++
		}
	}
	// a crash between the mark and the report makes a snapshot that nobody was told of
	if complete < n || complete > n+1 || len(list) != complete && !d.torn {
		d.t.Errorf("%d snapshots, %d of them complete; %d expected", len(list), complete, n)
	}
	same(d.t, tree, d.restore("latest", d.tree))
}

// password opens the archive by a password instead of the key.
func (d *mortal) password(name string) []string {
	return []string{"CAIRN_KEY_FILE=", "CAIRN_PASSWORD_FILE=" + d.path("passwords", name)}
}

// hurt damages, on one member, a shard of each pack: one is gone, one is cut off, the others have a flipped bit; and one copy of a
// snapshot is gone.
func (d *mortal) hurt() {
	d.t.Helper()
	member := d.dirs()[0]
	must := func(err error) {
		if err != nil {
			d.t.Fatal(err)
		}
	}
	for i, name := range append(names(d.t, member, "binaries"), names(d.t, member, "index")...) {
		file := filepath.Join(member, name)
		data, err := os.ReadFile(file)
		must(err)
		switch i {
		case 0:
			must(os.Remove(file))
		case 1:
			must(os.Truncate(file, int64(len(data)/2)))
		default:
			data[len(data)/2] ^= 1
			must(os.WriteFile(file, data, 0o600))
		}
	}
	for _, name := range names(d.t, member, "snapshots") {
		if strings.HasSuffix(name, ".ok") {
			must(os.Remove(filepath.Join(member, name)))
			return
		}
	}
}

// ruin makes all data lost until somebody backs it up again. Trees are left: those on the way to what is backed up have times that change, so
// nothing makes them again.
func (d *mortal) ruin() {
	d.t.Helper()
	for _, name := range names(d.t, d.dirs()[0], "binaries") {
		shard, err := os.ReadFile(filepath.Join(d.dirs()[0], name))
		if err != nil {
			d.t.Fatal(err)
		}
		if h, err := pack.ParseHeader(shard[:pack.HeaderSize]); err != nil || h.Kind != chunk.Data {
			continue
		}
		for _, member := range d.dirs()[:d.m+1] {
			if err := os.Remove(filepath.Join(member, name)); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.done, d.ruined = nil, d.done
}

// TestKillEverywhere kills each command at each of its writes. A short test takes one layout and few places.
// Rows B10, E3, E7, E22.
func TestKillEverywhere(t *testing.T) {
	t.Parallel()
	for _, v := range victims() {
		alone := rand.N(3) == 0 && !v.damaged // one member has nothing to repair with
		for _, layout := range []struct{ k, m, some int }{{1, 0, 2}, {2, 1, 3}} {
			if (layout.m == 0) != alone && !soaking() || v.damaged && layout.m == 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s %d+%d", v.name, layout.k, layout.m), func(t *testing.T) {
				t.Parallel()
				v.dies(t, layout.k, layout.m, layout.some)
			})
		}
	}
}
