package replicate

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

func patterns(t testing.TB, list ...string) *pattern.List {
	t.Helper()
	p := new(pattern.List)
	for _, s := range list {
		if err := p.Add(s, false); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (b *bench) rewrite(o RewriteOptions) (*RewriteReport, error) {
	b.t.Helper()
	a, err := b.tryOpen(b.keys)
	if err != nil {
		return nil, err
	}
	all, err := readable(a.Snapshots(b.t.Context()))
	if err != nil {
		return nil, err
	}
	return Rewrite(b.t.Context(), a, all, all, o)
}

// TestRewriteMatches: patterns mean what they mean in a backup.
func TestRewriteMatches(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	f := files{"srv/a/tmp/x": "1", "srv/a/keep": "22", "srv/a/b/tmp": "333", "srv/a/b/c/keep.o": "4444", "srv/a/b/c/d": "55555", "srv/z": "-> a", "srv/e/": ""}
	for name, c := range map[string]struct {
		paths    []string
		patterns []string
		gone     []string
		also     files // what is there instead
		removed  Removed
		named    []string
	}{
		"any depth":             {[]string{"/srv"}, []string{"tmp"}, []string{"srv/a/tmp/x", "srv/a/b/tmp"}, nil, Removed{Files: 2, Dirs: 1, Bytes: 4}, nil},
		"directories only":      {[]string{"/srv"}, []string{"tmp/"}, []string{"srv/a/tmp/x"}, nil, Removed{Files: 1, Dirs: 1, Bytes: 1}, nil},
		"absolute":              {[]string{"/srv"}, []string{"/srv/a/b"}, []string{"srv/a/b/tmp", "srv/a/b/c/keep.o", "srv/a/b/c/d"}, nil, Removed{Files: 3, Dirs: 2, Bytes: 12}, nil},
		"below a path":          {[]string{"/srv"}, []string{"/a/keep"}, []string{"srv/a/keep"}, nil, Removed{Files: 1, Bytes: 2}, nil},
		"last one wins":         {[]string{"/srv"}, []string{"keep*", "!keep"}, []string{"srv/a/b/c/keep.o"}, nil, Removed{Files: 1, Bytes: 4}, nil},
		"emptied":               {[]string{"/srv"}, []string{"/srv/a/**"}, []string{"srv/a/tmp/x", "srv/a/keep", "srv/a/b/tmp", "srv/a/b/c/keep.o", "srv/a/b/c/d"}, files{"srv/a/": ""}, Removed{Files: 5, Dirs: 3, Bytes: 15}, nil},
		"symlink and directory": {[]string{"/srv"}, []string{"z", "e"}, []string{"srv/z", "srv/e/"}, nil, Removed{Dirs: 1, Others: 1}, nil},
		"named path":            {[]string{"/srv/a", "/srv/z"}, []string{"a", "z"}, nil, nil, Removed{}, []string{"/srv/a", "/srv/z"}},
		"named path below":      {[]string{"/srv", "/srv/a/b/c"}, []string{"b"}, []string{"srv/a/b/tmp"}, nil, Removed{Files: 1, Bytes: 3}, nil},
		"everything": {[]string{"/"}, []string{"srv"}, []string{"srv/a/tmp/x", "srv/a/keep", "srv/a/b/tmp", "srv/a/b/c/keep.o", "srv/a/b/c/d", "srv/z", "srv/e/"}, nil,
			Removed{Files: 5, Dirs: 6, Others: 1, Bytes: 15}, nil},
		"nothing": {[]string{"/srv"}, []string{"nothing", "/other/**"}, nil, nil, Removed{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.fork(t)
			s := b.backup(f, func(s *snapshot.Snapshot) { s.Paths = c.paths })
			var told []Rewritten
			r, err := b.rewrite(RewriteOptions{Excludes: patterns(t, c.patterns...), Done: func(r Rewritten) { told = append(told, r) }})
			if err != nil || len(told) != 1 {
				t.Fatal(err, told)
			}
			if d := cmp.Diff(c.removed, told[0].Removed); d != "" || !slices.Equal(told[0].Named, c.named) {
				t.Errorf("%s, named %q", d, told[0].Named)
			}
			list := b.list()
			if c.removed == (Removed{}) {
				if r.Untouched != 1 || len(list) != 1 || list[0].ID != s.ID {
					t.Errorf("%+v, %d snapshots", r, len(list))
				}
				return
			}
			if r.Replaced != 1 || len(list) != 2 {
				t.Fatalf("%+v, %d snapshots", r, len(list))
			}
			i := slices.IndexFunc(list, func(x *snapshot.Snapshot) bool { return x.ID == told[0].ID })
			b.holds(list[i], f.without(c.gone...).with(c.also))
			b.holds(list[1-i], f)
			b.clean()
			fresh := newBench(t, 1, 0) // a backup that had left it out has the same tree and counts
			want := fresh.backup(f.without(c.gone...).with(c.also), func(x *snapshot.Snapshot) { x.Paths, x.Start = s.Paths, s.Start })
			if string(joined(want)) != string(joined(list[i])) {
				t.Error("the tree is another one than that of a backup without these files")
			}
			for _, stat := range []string{snapshot.StatFilesTotal, snapshot.StatDirsTotal, snapshot.StatOther, snapshot.StatBytesTotal} {
				if got := list[i].Stats[stat]; got != want.Stats[stat] {
					t.Errorf("%s is %d, want %d", stat, got, want.Stats[stat])
				}
			}
		})
	}
}

// secrets makes three snapshots, two of which hold what is to go.
func secrets(t testing.TB, k, m int) *bench {
	b := newBench(t, k, m)
	b.backup(files{"srv/a": text("a", 3000), "srv/x/secret": text("s", 1500), "srv/x/b": "b"}, nil)
	b.backup(files{"srv/a": text("a", 3000), "srv/x/secret": text("s", 1500), "srv/x/b": "changed"}, func(s *snapshot.Snapshot) {
		s.Tags, s.Pinned, s.Excludes, s.Expires = []string{"t"}, true, []string{"*.o"}, snapshot.Time{Sec: 1_900_000_000}
		s.Origin = snapshot.Origin{Archive: [16]byte{1}, Snapshot: chunk.ID{2}}
		s.AddError("/srv/x/secret/unread", "permission denied")
		s.AddError("/srv/other", "permission denied")
	})
	b.backup(files{"srv/a": text("a", 3000), "srv/x/b": "changed"}, nil)
	return b
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	b := secrets(t, 2, 1)
	before := b.list()
	o := RewriteOptions{Excludes: patterns(t, "secret", "*.o")}
	dry := o
	dry.DryRun, dry.Forget = true, true
	names := b.names("")
	r, err := b.rewrite(dry)
	if err != nil || r.Replaced != 2 || r.Untouched != 1 || r.Forgotten != 2 {
		t.Errorf("dry: %v, %+v", err, r)
	}
	if d := cmp.Diff(names, b.names("")); d != "" {
		t.Errorf("dry: %s", d)
	}
	if r, err = b.rewrite(o); err != nil || r.Replaced != 2 || r.Untouched != 1 || r.Forgotten != 0 {
		t.Errorf("%v, %+v", err, r)
	}
	if r, err = b.rewrite(o); err != nil || r.Replaced != 0 || r.Before != 2 || r.Untouched != 3 || len(b.list()) != 5 {
		t.Errorf("again: %v, %+v", err, r)
	}
	o.Forget = true
	if r, err = b.rewrite(o); err != nil || r.Before != 2 || r.Forgotten != 2 {
		t.Errorf("with --forget: %v, %+v", err, r)
	}
	if r, err = b.rewrite(o); err != nil || r.Replaced+r.Before+r.Forgotten > 0 || r.Untouched != 3 {
		t.Errorf("at last: %v, %+v", err, r)
	}
	after := b.list()
	if len(after) != 3 || after[2].ID != before[2].ID {
		t.Fatalf("%d snapshots", len(after))
	}
	b.holds(after[0], files{"srv/a": text("a", 3000), "srv/x/b": "b"})
	b.holds(after[1], files{"srv/a": text("a", 3000), "srv/x/b": "changed"})
	want := *before[1]
	want.ID, want.Signer, want.Content, want.Depth, want.Stats = after[1].ID, after[1].Signer, after[1].Content, after[1].Depth, after[1].Stats
	want.Original, want.Previous = before[1].ID, after[0].ID
	want.Excludes = []string{"*.o", "secret"}
	want.Errors = []snapshot.ReadError{{Path: "/srv/other", Message: "permission denied"}}
	if d := cmp.Diff(&want, after[1]); d != "" {
		t.Error(d)
	}
	if after[1].Stats[snapshot.StatErrors] != 1 || after[1].Stats[snapshot.StatFilesTotal] != 2 {
		t.Errorf("statistics %v", after[1].Stats)
	}
	b.clean()
}

func TestRewriteStops(t *testing.T) {
	t.Parallel()
	b := secrets(t, 1, 0)
	b.open()
	for _, do := range []fault.Action{fault.Fail, fault.Lose} {
		t.Run(fmt.Sprint(do), func(t *testing.T) {
			t.Parallel()
			stops(t, b, do, 5, func(b *bench) error {
				r, err := b.rewrite(RewriteOptions{Excludes: patterns(t, "secret"), Forget: true})
				if err == nil && r.Broken > 0 {
					err = r.Err
				}
				return err
			}, func(b *bench) {
				list := b.complete()
				if len(list) != 3 {
					t.Errorf("%d snapshots", len(list))
				}
				for _, s := range list {
					if _, there := b.content(s)["srv/x/secret"]; there {
						t.Errorf("snapshot %s has it still", s.ID.Short())
					}
				}
				b.clean()
			})
		})
	}
}

// TestRewriteAnew: a collector takes away what the new snapshot relied on, because somebody forgot the old one.
func TestRewriteAnew(t *testing.T) {
	t.Parallel()
	b := secrets(t, 1, 0)
	var once sync.Once
	b.wrap = func(_ int, s remote.Store) remote.Store {
		return hook{s, "snapshots/", &once, func() { b.condemn(t) }}
	}
	all := b.list()
	r, err := Rewrite(t.Context(), b.open(), all, all[:1], RewriteOptions{Excludes: patterns(t, "secret")})
	if err != nil || r.Replaced != 1 {
		t.Fatal(err, r)
	}
	b.wrap = nil
	for _, s := range b.list() {
		if s.Original == all[0].ID {
			b.holds(s, files{"srv/a": text("a", 3000), "srv/x/b": "b"})
			b.onlyLive(s)
			return
		}
	}
	t.Error("the new snapshot is not there")
}

// condemn condemns all packs, and deletes none.
func (b *bench) condemn(t *testing.T) {
	plain := *b
	plain.wrap = nil
	if err := plain.open().PublishRecord(t.Context(), &archive.Record{Packs: plain.packs()}, true); err != nil {
		t.Error(err)
	}
}

// onlyLive fails if something of a snapshot is in condemned packs only.
func (b *bench) onlyLive(s *snapshot.Snapshot) {
	b.t.Helper()
	a := b.open()
	w, err := a.NewWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Suspend(b.t.Context())
	err = snapshot.Walk(b.t.Context(), a.LoadTree, s.Content, s.Depth, func(path string, n *snapshot.Node) error {
		kind := chunk.Data
		if n.Type == snapshot.Dir {
			kind = chunk.Tree
		}
		if ok, err := w.Known(kind, n.Content); err != nil || !ok {
			return fmt.Errorf("%s: known %t, %v", path, ok, err)
		}
		return nil
	})
	if err != nil {
		b.t.Error(err)
	}
}

// TestRewriteDamage: a snapshot with a directory that cannot be read stays.
func TestRewriteDamage(t *testing.T) {
	t.Parallel()
	b := secrets(t, 1, 0)
	list := b.list()
	for _, name := range b.names("binaries/") {
		f := b.fork(t)
		if err := f.mem[0].Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		r, err := f.rewrite(RewriteOptions{Excludes: patterns(t, "secret"), Forget: true})
		if err != nil || r.Replaced+r.Untouched+r.Broken != 3 || r.Forgotten != r.Replaced {
			t.Errorf("without %s: %v, %+v", name, err, r)
		}
		var lost *archive.BlobDamage
		if r.Broken > 0 && !errors.As(r.Err, &lost) {
			t.Errorf("without %s: %v", name, r.Err)
		}
		if n := len(f.list()); n != len(list) {
			t.Errorf("without %s: %d snapshots", name, n)
		}
	}
}
