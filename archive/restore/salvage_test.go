package restore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/remote/stripe"
)

// TestUnreachable: what needs members that are away is listed as that, and not as damage; a tree, too.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	kids := tree{
		file_("good", text("good", 5000)),
		file_("half", text("half", 5000)),
		dir_("dir", tree{file_("x", "y")}),
		file_("rotten", "rotten"),
	}
	f := newFake()
	root := f.put(t, kids)
	f.away[chunk.Sum([]byte(text("half", 5000)[3000:4000]))] = true
	f.away[f.dir(t, kids[2].kids).Content[0]] = true
	f.damaged[chunk.Sum([]byte("rotten"))] = true
	target := tempDir(t)
	var told []string
	rep, err := Run(t.Context(), f, root, Options{Target: target, Fail: func(f Failure) { told = append(told, f.Path) }})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed != 3 || rep.Unreachable != 2 || rep.Damaged != 1 || len(told) != 3 {
		t.Errorf("%+v; told %v", rep, told)
	}
	for _, x := range rep.Failures {
		if away := errors.Is(x.Err, stripe.ErrTooFew); away != (x.Kind == Unreachable) || away && !strings.Contains(fmt.Sprint(x.Err), "1 answered") {
			t.Errorf("%s is %s: %v", x.Path, x.Kind, x.Err)
		}
	}
	compareTree(t, target, tree{kids[0], dir_("dir", nil)})
}

// TestSalvage: of files that lack blobs, what came is kept under a name that says so.
func TestSalvage(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{0, 1} { // 1: batches of 64 blobs, so the large file goes through several
		half, large := text("half", 5000), text("large", 200*chunkSize)
		kids := tree{
			file_("all of it", "lost"),
			file_("good", text("good", 5000)),
			file_("half", half, mode(0o755)),
			file_("large", large),
			file_("taken", half),
			file_("taken.incomplete", "a file of that name"),
			file_("there", half),
		}
		f := newFake()
		root := f.put(t, kids)
		f.damaged[chunk.Sum([]byte(half[2000:3000]))] = true
		f.away[chunk.Sum([]byte(large[7000:8000]))] = true
		f.away[chunk.Sum([]byte(large[150_000:151_000]))] = true
		f.damaged[chunk.Sum([]byte("lost"))] = true
		target := tempDir(t)
		must(t, os.WriteFile(filepath.Join(target, "there"), []byte("old"), 0o600))
		rep, err := Run(t.Context(), f, root, Options{Target: target, Salvage: true, InPlace: true, MemoryLimit: memory})
		if err != nil {
			t.Fatal(err)
		}
		var failed []string
		for _, x := range rep.Failures {
			failed = append(failed, x.Path+" "+x.Kind.String())
		}
		want := []string{"/all of it damaged", "/half damaged", "/large unreachable", "/taken damaged", "/there damaged"}
		if memory == 1 { // the other file had its name first, or not
			failed = slices.DeleteFunc(failed, func(s string) bool { return strings.HasPrefix(s, "/taken") })
			want = slices.DeleteFunc(want, func(s string) bool { return strings.HasPrefix(s, "/taken") })
		}
		if diff := cmp.Diff(want, failed); diff != "" {
			t.Errorf("failures (-want +got):\n%s", diff)
		}
		zeros := strings.Repeat("\x00", 1000)
		for name, want := range map[string]string{
			"half.incomplete":  half[:2000] + zeros + half[3000:],
			"large.incomplete": large[:7000] + zeros + large[8000:150_000] + zeros + large[151_000:],
			"good":             text("good", 5000),
		} {
			path := filepath.Join(target, name)
			got, err := os.ReadFile(path)
			if err != nil || string(got) != want {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
			if info, err := os.Stat(path); name != "good" && (err != nil || info.Mode() != 0o600) {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
		for _, name := range []string{"half", "large", "all of it", "all of it.incomplete"} {
			if _, err := os.Lstat(filepath.Join(target, name)); err == nil {
				t.Errorf("%s is there", name)
			}
		}
		if _, err := os.Lstat(filepath.Join(target, "there")); err != nil {
			t.Errorf("what was there before was removed: %v", err)
		}
	}
}

// TestKept: whichever blobs the archive would rather read later, the result is the same.
func TestKept(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := sample()
	for i := range 40 {
		kids = append(kids, dir_(fmt.Sprintf("d%03d", i), tree{
			file_("a", text(fmt.Sprint(i), 1500)), dir_("e", tree{file_("one", fmt.Sprint(i)), file_("h", "link"+fmt.Sprint(i/7), group(uint64(100+i/7)))}, mode(0o500))}))
	}
	root := f.put(t, kids)
	choices := map[string]func(chunk.ID) bool{
		"all":  func(chunk.ID) bool { return true },
		"none": func(chunk.ID) bool { return false },
	}
	for seed := range uint64(6) {
		salt := rand.New(rand.NewPCG(seed, 1)).Uint64()
		choices[fmt.Sprintf("seed %d", seed)] = func(id chunk.ID) bool { return (uint64(id[3])*0x9e3779b97f4a7c15^salt)>>61 < seed+1 }
	}
	for name, hold := range choices {
		for _, o := range []Options{{}, {Verify: true}, {InPlace: true, Sparse: true}} {
			f.hold = hold
			o.Target, o.MemoryLimit = tempDir(t), 1<<15 // 16 entries
			restoreClean(t, f, root, o)
			compareTree(t, o.Target, kids)
			if t.Failed() {
				t.Fatalf("blobs left out: %s, %+v", name, o)
			}
		}
	}
}
