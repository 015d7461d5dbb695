package tests

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
			twice:   true,
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
			twice:   true, // two more are there
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
	if complete < n || complete > n+1 || len(list) != complete {
		d.t.Errorf("%d snapshots, %d of them complete; %d expected", len(list), complete, n)
	}
	same(d.t, tree, d.restore("latest", d.tree))
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

// TestKillEverywhere kills each command at each of its writes.
func TestKillEverywhere(t *testing.T) {
	t.Parallel()
	for _, v := range victims() {
		for _, layout := range []struct{ k, m, each int }{{1, 0, 5}, {2, 1, 9}} {
			if v.damaged && layout.m == 0 {
				continue // nothing to repair with
			}
			t.Run(fmt.Sprintf("%s %d+%d", v.name, layout.k, layout.m), func(t *testing.T) {
				t.Parallel()
				v.dies(t, layout.k, layout.m, layout.each)
			})
		}
	}
}
