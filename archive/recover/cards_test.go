package recover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
)

// whole fails unless the archive in b.dirs gives the source back.
func (b *bench) whole() {
	b.t.Helper()
	a := b.open()
	defer a.Close()
	if missing := a.Missing(); len(missing) > 0 {
		b.t.Errorf("missing: %v", missing)
	}
	list, damaged, err := a.Snapshots(b.t.Context())
	if err != nil || len(damaged) > 0 || len(list) == 0 {
		b.t.Fatalf("%d snapshots, %v, %v", len(list), damaged, err)
	}
	got, failed := b.restore(a, list[len(list)-1].Root())
	if diff := cmp.Diff(b.source(), got); diff != "" || len(failed) > 0 {
		b.t.Errorf("differs, failed %v", failed)
	}
}

// TestLostCards: cards and key slots are gone, and nobody knows which directory was which.
func TestLostCards(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		keys := b.keys
		b.removeAll("cairn.json")
		b.removeAll("keys")
		// The first and the last have changed their names.
		last := len(b.dirs) - 1
		b.dirs[0], b.dirs[last] = b.dirs[last], b.dirs[0]
		if err := os.Rename(b.dirs[1], b.dirs[1]+"-moved"); err != nil {
			t.Fatal(err)
		}
		b.dirs[1] += "-moved"

		before := b.objects()
		r, err := Cards(t.Context(), b.members(), CardsOptions{Keys: keys, DryRun: true, Now: b.now})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("a dry run writes: %s", diff)
		}
		if r.Archive != keys.Archive() || len(r.Layouts) != 1 || r.Layouts[0].K != b.k || r.Layouts[0].M != b.m || len(r.Lacking) > 0 || r.Heaps[0].Number != last || r.Heaps[0].Foreign > 0 {
			t.Errorf("%+v", r)
		}
		if _, err := Cards(t.Context(), b.members(), CardsOptions{Keys: keys, Now: b.now}); err != nil {
			t.Fatal(err)
		}
		b.whole()
		// It can be written to, by the slots too.
		a := b.open()
		s, err := seal.NewKeyFileSlot(keys, "new", b.key, b.now)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.AddSlot(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		b.keys = nil
		b.write("later", 100, 5)
		b.backup()
		b.whole()
		if _, err := Cards(t.Context(), b.members(), CardsOptions{Keys: keys, Now: b.now}); err == nil || !strings.Contains(err.Error(), "has a card") {
			t.Errorf("again: %v", err)
		}
	})
}

// TestLostCardsAndMembers: what is lost is told, and an empty directory takes its place.
func TestLostCardsAndMembers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 2)
	b.fill()
	b.backup()
	b.removeAll("cairn.json")
	if err := os.RemoveAll(b.dirs[2]); err != nil {
		t.Fatal(err)
	}
	left := slices.Delete(slices.Clone(b.dirs), 2, 3)
	creds := []seal.Credential{{KeyFile: &b.key}}
	r, err := Cards(t.Context(), stores(t, left...), CardsOptions{Credentials: creds, DryRun: true, Now: b.now})
	if err != nil || !slices.Equal(r.Lacking, []int{2}) || r.Slots != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := Cards(t.Context(), stores(t, left...), CardsOptions{Credentials: []seal.Credential{{KeyFile: &[32]byte{9}}}, Now: b.now}); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("wrong key: %v", err)
	}
	b.mkdir("member2")
	r, err = Cards(t.Context(), b.members(), CardsOptions{Credentials: creds, Now: b.now})
	if err != nil || r.Heaps[2].Number != 2 || len(r.Lacking) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	b.whole()
	a := b.open()
	for prefix, kind := range map[string]chunk.Type{"binaries/": chunk.Data, "index/": chunk.Index} {
		for id, err := range a.Packs(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			p, err := a.RepairPack(t.Context(), a.Placements()[0], id, kind, archive.RepairOptions{})
			if err != nil || p.Healed() != 1 || !p.Whole() {
				t.Errorf("%+v, %v", p, err)
			}
		}
	}
	b.lose(0, 4)
	b.idx = nil
	a = b.open()
	list, _, err := a.Snapshots(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(err)
	}
	if got, failed := b.restore(a, list[0].Root()); len(failed) > 0 || len(got) != len(b.source()) {
		t.Errorf("%d files, failed %v", len(got), failed)
	}
}

// TestLostCardsOneStore: members below one directory.
func TestLostCardsOneStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.fill()
	b.backup()
	b.removeAll("cairn.json")
	one := b.mkdir("one")
	for i, dir := range b.dirs {
		if err := os.Rename(dir, filepath.Join(one, archive.SubName(i))); err != nil {
			t.Fatal(err)
		}
	}
	b.dirs = []string{one}
	if _, err := Cards(t.Context(), b.members(), CardsOptions{Keys: b.keys, Now: b.now}); err != nil {
		t.Fatal(err)
	}
	b.whole()
}

// TestLostCardsOfTwoLayouts: the layout was changed, and packs of both are there.
func TestLostCardsOfTwoLayouts(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.fill()
	b.backup()
	a := b.open()
	var members []string
	for _, m := range a.Members() {
		members = append(members, m.ID)
	}
	slices.Reverse(members)
	c, err := a.PlanLayout(3, 2, append(members, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	fresh := map[string]remote.Store{}
	for i, id := range c.New() {
		b.dirs = append(b.dirs, b.mkdir(fmt.Sprintf("member%d", 3+i)))
		fresh[id] = b.members()[3+i].Store
	}
	if _, err := a.WriteCards(t.Context(), c, fresh); err != nil {
		t.Fatal(err)
	}
	b.write("later", 1<<20, 5)
	b.backup()
	b.whole()
	b.removeAll("cairn.json")
	r, err := Cards(t.Context(), b.members(), CardsOptions{Keys: b.keys, Now: b.now})
	if err != nil || len(r.Layouts) != 2 || r.Layouts[0].N() != 5 || r.Layouts[0].Epoch != 2 || len(r.Lacking) > 0 || r.Heaps[0].Number != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	b.whole()
	if got := b.open().Placements(); len(got) != 2 || got[1].Geometry.N() != 3 {
		t.Errorf("%d layouts", len(got))
	}
}

func TestCardsRefuse(t *testing.T) {
	t.Parallel()
	b, other := newBench(t, 2, 1), newBench(t, 2, 1)
	b.fill()
	b.backup()
	other.fill()
	other.backup()
	b.removeAll("cairn.json")
	other.removeAll("cairn.json")
	refuse := func(what, want string, dirs ...string) {
		t.Helper()
		before := b.objects()
		_, err := Cards(t.Context(), stores(t, dirs...), CardsOptions{Keys: b.keys, Now: b.now})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		if diff := cmp.Diff(before, b.objects()); diff != "" {
			t.Errorf("%s: written %s", what, diff)
		}
	}
	refuse("another archive's", "of archive", b.dirs[0], other.dirs[1])
	refuse("nothing", "no shard", b.mkdir("void"))
	refuse("not there", "does not exist", b.dirs[0], filepath.Join(b.base, "absent"))
	refuse("too many", "are there without", append(b.dirs, b.mkdir("void2"))...)
	copied := b.mkdir("copy")
	if err := os.CopyFS(copied, os.DirFS(b.dirs[0])); err != nil {
		t.Fatal(err)
	}
	refuse("twice", "are both member 0", append(b.dirs, copied)...)
	// Of each pack a shard of another member: what is left when two disks were copied into one directory.
	for name := range b.tree(b.dirs[1]) {
		if strings.HasPrefix(name, "/index") || strings.Contains(name, "bin") && len(name)%2 == 0 {
			data, err := os.ReadFile(b.dirs[1] + name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied+name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	_, err := Cards(t.Context(), stores(t, copied, b.dirs[1], b.dirs[2]), CardsOptions{Keys: b.keys, Now: b.now})
	if !errors.Is(err, ErrMixed) {
		t.Errorf("mixed: %v", err)
	}
	if _, err := Cards(t.Context(), stores(t, b.dirs[0]), CardsOptions{Now: b.now}); !errors.Is(err, seal.ErrNoCredential) {
		t.Errorf("without a credential: %v", err)
	}
	b.removeAll("keys")
	if _, err := Cards(t.Context(), stores(t, b.dirs[0]), CardsOptions{Now: b.now}); err == nil || !strings.Contains(err.Error(), "no key slot") {
		t.Errorf("without a slot: %v", err)
	}
}

// TestImport: everything lies in one directory under meaningless names, with other files among it, some of it damaged.
func TestImport(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bench) {
		b.fill()
		b.backup()
		b.write("later", 1<<20, 5)
		b.backup()
		heap := b.mkdir("heap")
		n := 0
		put := func(data string) {
			n++
			name := filepath.Join(heap, fmt.Sprintf("%02d", n%7), fmt.Sprintf("FILE %05d.CHK", n))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		shards := 0
		for i, dir := range b.dirs {
			for name, data := range b.tree(dir) {
				isShard := strings.HasSuffix(name, ".bin")
				if isShard {
					shards++
				}
				switch {
				case strings.HasSuffix(name, "cairn.json"):
					continue
				case isShard && i == 0: // one member's shards are all damaged, in different ways
					flip := []byte(data)
					flip[len(flip)/2] ^= 1
					put(string(flip))
				default:
					put(data)
				}
				if isShard && i == 1 {
					put(data) // twice
				}
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		put("a holiday photograph")
		put("CAIRNPAK and then nothing")
		put("")
		if r, err := Import(t.Context(), stores(t, heap), stores(t, b.mkdir("one")), ImportOptions{CardsOptions: CardsOptions{Keys: b.keys, DryRun: true, Now: b.now}}); err != nil || r.Copied > 0 || len(b.tree(b.mkdir("one"))) > 0 {
			t.Errorf("dry run: %+v, %v", r, err)
		}
		if r, err := Import(t.Context(), stores(t, heap), stores(t, filepath.Join(b.base, "later")), ImportOptions{CardsOptions: CardsOptions{Keys: b.keys, DryRun: true, Now: b.now}}); err != nil || r.Shards == 0 {
			t.Errorf("dry run to a place that is not there yet: %+v, %v", r, err)
		}
		b.dirs = nil
		for i := range b.k + b.m {
			b.dirs = append(b.dirs, b.mkdir(fmt.Sprintf("new%d", i)))
		}
		r, err := Import(t.Context(), stores(t, heap), b.members(), ImportOptions{CardsOptions: CardsOptions{Credentials: []seal.Credential{{KeyFile: &b.key}}, Now: b.now}})
		if err != nil {
			t.Fatal(err)
		}
		n0 := shards / (b.k + b.m) // of the member that is damaged
		if r.Shards != shards-n0 || r.Damaged != n0 || r.Strange != 3 || r.Snapshots != 2 || r.Slots != 1 {
			t.Errorf("%+v of %d shards", r, shards)
		}
		b.whole()
		for i := range b.dirs {
			if len(b.tree(b.dirs[i])) != len(b.tree(b.dirs[0])) {
				t.Errorf("member %d has %d objects, member 0 %d", i, len(b.tree(b.dirs[i])), len(b.tree(b.dirs[0])))
			}
		}
	})
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.fill()
	b.backup()
	o := ImportOptions{CardsOptions: CardsOptions{Keys: b.keys, Now: b.now}}
	void := b.mkdir("void")
	for want, c := range map[string][2][]archive.Member{
		"2+1 members":    {b.members(), stores(t, b.mkdir("x"), b.mkdir("y"))},
		"no shard":       {stores(t, void), stores(t, b.mkdir("x"))},
		"does not exist": {stores(t, filepath.Join(b.base, "absent")), stores(t, b.mkdir("x"))},
		"has a card":     {b.members(), b.members()},
	} {
		if _, err := Import(t.Context(), c[0], c[1], o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	foreign, err := seal.NewRoot(seal.NewArchiveID())
	if err != nil {
		t.Fatal(err)
	}
	o.Keys = foreign
	if r, err := Import(t.Context(), b.members(), stores(t, b.mkdir("z")), o); err == nil {
		t.Errorf("another archive's key: %+v", r)
	}
}
