package verify_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/verify"
	"cairn/tests/fixture"
)

// look verifies a directory. Without errors in the call itself it returns the kinds of problems, in order.
func look(t *testing.T, dir, format string, o verify.Options) (*verify.Report, []string) {
	t.Helper()
	r, err := verify.Verify(t.Context(), os.DirFS(dir), ".", format, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		if p.Effect == "" || p.Message == "" || p.Path == "" {
			t.Errorf("a problem says too little: %+v", p)
		}
	}
	return r, slices.Sorted(maps.Keys(r.Kinds))
}

// defects hurts a fresh tree in each way and compares the kinds of what is found. Kinds that are only warnings are in parentheses.
func defects(t *testing.T, format string, list []fixture.Defect, make func(t testing.TB, dir string), want map[string]string) {
	t.Helper()
	if len(want) != len(list) {
		t.Errorf("%d defects, %d expectations", len(list), len(want))
	}
	for _, d := range list {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			make(t, dir)
			d.Apply(t, dir)
			r, _ := look(t, dir, format, verify.Options{})
			severity := map[string]verify.Severity{}
			for _, p := range r.Problems {
				severity[p.Kind] = p.Severity
			}
			var got []string
			for _, k := range slices.Sorted(maps.Keys(severity)) {
				if severity[k] == verify.Warning {
					k = "(" + k + ")"
				}
				got = append(got, k)
			}
			if text := strings.Join(got, " "); text != want[d.Name] {
				t.Errorf("found %q, want %q: %v", text, want[d.Name], r.Problems)
			}
		})
	}
}

func clean(t *testing.T, dir, format string, counts map[string]int64) {
	t.Helper()
	r, _ := look(t, dir, format, verify.Options{})
	if len(r.Problems) != 0 || r.Damaged() {
		t.Errorf("a clean tree has problems: %v", r.Problems)
	}
	if diff := cmp.Diff(counts, r.Counts); diff != "" {
		t.Error(diff)
	}
}

// C11, C12, C13, C14: the format of a ModeShape backup; a clean one has no problems, compressed or not.
func TestModeShapeC11C12C14(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		dir := t.TempDir()
		fixture.ModeShape(t, dir, fixture.ModeShapeOptions{Plain: plain})
		clean(t, dir, "modeshape", map[string]int64{"documents": 25, "binaries": 4, "referenced_binaries": 4})
	}
}

// C11–C14: every way in which REQUIREMENTS §7 F3 damages a backup.
func TestModeShapeDefectsC11C12C13C14(t *testing.T) {
	t.Parallel()
	defects(t, "modeshape", fixture.ModeShapeDefects(), func(t testing.TB, dir string) { fixture.ModeShape(t, dir, fixture.ModeShapeOptions{}) }, map[string]string{
		"gap in numbers":                "gap",
		"first file missing":            "gap",
		"truncated gzip":                "(short-file) truncated",
		"flipped gzip":                  "truncated",
		"empty gzip":                    "truncated",
		"bad JSON line":                 "bad-document (short-file)",
		"line without id":               "bad-document (short-file)",
		"duplicate id":                  "duplicate-id (short-file)",
		"metadata twice and different":  "duplicate-id (short-file)",
		"flipped binary":                "digest",
		"binary in the wrong directory": "wrong-place",
		"stray below binaries/ab":       "stray",
		"stray below binaries":          "stray",
		"referenced binary missing":     "missing-binary",
		"other name among the binaries": "(foreign)",
		"uncompressed and cut off":      "(short-file) truncated",
		"both variants of a file":       "(both-variants)",
	})
}

// C13: a gap says how many documents a restore would lose without a word.
func TestModeShapeGapCountsC13(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ModeShape(t, dir, fixture.ModeShapeOptions{Documents: 45})
	fixture.ModeShapeDefects()[0].Apply(t, dir)
	r, _ := look(t, dir, "modeshape", verify.Options{})
	if r.Counts["documents_behind_gap"] != 25 || !strings.Contains(r.Problems[0].Message, "25 documents in 3 files") {
		t.Errorf("%v %v", r.Counts, r.Problems)
	}
}

// C14: the double of the repository's metadata, which ModeShape makes itself, is told from a harmful one.
func TestModeShapeDoubleMetadataC14(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ModeShape(t, dir, fixture.ModeShapeOptions{Double: true})
	r, kinds := look(t, dir, "modeshape", verify.Options{})
	if diff := cmp.Diff([]string{"double-metadata"}, kinds); diff != "" || r.Damaged() {
		t.Error(diff, r.Problems)
	}
}

// C7: documents that changed while the backup ran are verified, and override without being duplicates.
func TestModeShapeChangesC7(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ModeShape(t, dir, fixture.ModeShapeOptions{Changes: 13})
	clean(t, dir, "modeshape", map[string]int64{"documents": 25, "changed_documents": 13, "changes_overriding": 13, "binaries": 4, "referenced_binaries": 4})
	fixture.Remove(t, filepath.Join(dir, "changes", "documents_000001.bin.gz"))
	if _, kinds := look(t, dir, "modeshape", verify.Options{}); !slices.Equal(kinds, []string{"gap"}) {
		t.Errorf("a gap in the changes: %v", kinds)
	}
}

// C16: a backup without binaries is told once, not once for each document.
func TestModeShapeWithoutBinariesC16(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ModeShape(t, dir, fixture.ModeShapeOptions{})
	if err := os.RemoveAll(filepath.Join(dir, "binaries")); err != nil {
		t.Fatal(err)
	}
	r, kinds := look(t, dir, "modeshape", verify.Options{})
	if !slices.Equal(kinds, []string{"no-binaries"}) || r.Errors != 1 {
		t.Errorf("%v", r.Problems)
	}
}

// C3, C15: names are hashes of contents; extracted texts and MIME types, whose names are not, are not flagged; trash belongs to it.
func TestContentTreeC3C15(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ContentTree(t, dir)
	clean(t, dir, "content-tree", map[string]int64{"values": 8, "side_files": 8, "trash": 3})
}

func TestContentTreeDefectsC3C15(t *testing.T) {
	t.Parallel()
	defects(t, "content-tree", fixture.ContentTreeDefects(), fixture.ContentTree, map[string]string{
		"flipped value":                 "digest",
		"flipped value with side files": "digest",
		"flipped value in the trash":    "digest",
		"truncated value":               "digest",
		"wrong place":                   "wrong-place",
		"stray":                         "(stray)",
	})
}

// C4: stores of later Fedoras.
func TestOCFLC4(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.OCFL(t, dir, 3)
	clean(t, dir, "ocfl", map[string]int64{"objects": 3, "contents": 6})
	clean(t, fixture.OCFLPath(dir, "info:fedora/object-1"), "ocfl", map[string]int64{"objects": 1, "contents": 2})
	defects(t, "ocfl", fixture.OCFLDefects(), func(t testing.TB, dir string) { fixture.OCFL(t, dir, 2) }, map[string]string{
		"declaration missing":       "declaration",
		"declaration wrong":         "declaration",
		"root declaration missing":  "declaration",
		"inventory flipped":         "inventory-digest version",
		"inventory cut":             "inventory",
		"inventory missing":         "inventory",
		"sidecar missing":           "inventory-digest",
		"content flipped":           "digest",
		"content missing":           "missing-content",
		"content extra":             "extra-content",
		"version missing":           "inventory",
		"state without file":        "state",
		"path escapes":              "extra-content path-escape",
		"object in the wrong place": "wrong-place",
		"object twice":              "duplicate-id version wrong-place",
		"stray":                     "(stray)",
	})
}

// C4: bags.
func TestBagC4(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.Bag(t, dir)
	clean(t, dir, "bagit", map[string]int64{"bags": 1, "payload_files": 3, "payload_bytes": 5007})
	several := t.TempDir()
	fixture.Bag(t, filepath.Join(several, "one"))
	fixture.Bag(t, filepath.Join(several, "two"))
	clean(t, several, "bagit", map[string]int64{"bags": 2, "payload_files": 6, "payload_bytes": 10014})
	defects(t, "bagit", fixture.BagDefects(), fixture.Bag, map[string]string{
		"payload flipped":  "digest",
		"payload missing":  "missing-file payload-oxum",
		"payload extra":    "extra-file payload-oxum",
		"tag file changed": "tag-digest",
		"oxum wrong":       "payload-oxum",
		"no declaration":   "declaration",
		"no manifests":     "missing-file no-manifest",
		"bad line":         "manifest",
		"short digest":     "manifest",
		"path escapes":     "path-escape",
		"absolute path":    "path-escape",
		"fetch incomplete": "fetch missing-file",
		"fetch escapes":    "path-escape",
	})
}

// A full set of names is told, and what can be verified without it is.
func TestBudget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.ModeShape(t, dir, fixture.ModeShapeOptions{Documents: 200, PerFile: 100})
	fixture.Flip(t, fixture.Match(t, dir, "binaries/*/*/*/*.bin", 0))
	r, kinds := look(t, dir, "modeshape", verify.Options{Memory: 1})
	if !slices.Equal(kinds, []string{"budget", "digest"}) || r.Errors != 1 || r.Counts["documents"] != 200 {
		t.Errorf("%v %v", r.Problems, r.Counts)
	}
}

// All problems are counted, and few are kept.
func TestLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 30 {
		fixture.Write(t, filepath.Join(dir, "binaries", fmt.Sprintf("stray-%d", i)), nil)
	}
	fixture.ModeShape(t, dir, fixture.ModeShapeOptions{})
	heard := 0
	r, _ := look(t, dir, "modeshape", verify.Options{Limit: 3, Found: func(verify.Problem) { heard++ }})
	if len(r.Problems) != 3 || r.Errors != 30 || heard != 30 {
		t.Errorf("%d kept, %d counted, %d told", len(r.Problems), r.Errors, heard)
	}
}

// unreadable fails in the middle of some files.
type unreadable struct {
	fs.FS
	suffix string
}

type brokenFile struct{ fs.File }

func (brokenFile) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

func (u unreadable) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	if err == nil && strings.HasSuffix(name, u.suffix) {
		return brokenFile{f}, nil
	}
	return f, err
}

// What cannot be read is a problem for each file, in all formats, and never an error or the end.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format, suffix string
		make           func(t testing.TB, dir string)
		want           int64
	}{
		{"modeshape", ".bin", func(t testing.TB, dir string) { fixture.ModeShape(t, dir, fixture.ModeShapeOptions{}) }, 4},
		{"modeshape", "1.bin.gz", func(t testing.TB, dir string) { fixture.ModeShape(t, dir, fixture.ModeShapeOptions{}) }, 1},
		{"ocfl", "file-1.bin", func(t testing.TB, dir string) { fixture.OCFL(t, dir, 3) }, 3},
		{"bagit", "a.bin", fixture.Bag, 2},
	} {
		dir := t.TempDir()
		c.make(t, dir)
		r, err := verify.Verify(t.Context(), unreadable{os.DirFS(dir), c.suffix}, ".", c.format, verify.Options{})
		if err != nil || r.Kinds["unreadable"] != c.want || r.Errors != c.want {
			t.Errorf("%s without %s: %v %v", c.format, c.suffix, err, r.Problems)
		}
	}
}

// Links are told and not followed: a tree must not make the verification read what is elsewhere.
func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.Bag(t, dir)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "data", "link")); err != nil {
		t.Fatal(err)
	}
	r, kinds := look(t, dir, "bagit", verify.Options{})
	if !slices.Equal(kinds, []string{"irregular"}) || r.Damaged() {
		t.Errorf("%v", r.Problems)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{"a/b": {Data: []byte("x")}}
	if _, err := verify.Verify(t.Context(), tree, "a", "zip", verify.Options{}); !errors.Is(err, verify.ErrFormat) {
		t.Errorf("unknown format: %v", err)
	}
	for _, f := range verify.Formats() {
		if _, err := verify.Verify(t.Context(), tree, "nowhere", f, verify.Options{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of nothing: %v", f, err)
		}
		if _, err := verify.Verify(t.Context(), tree, "a/b", f, verify.Options{}); err == nil {
			t.Errorf("%s of a file", f)
		}
		r, err := verify.Verify(t.Context(), fstest.MapFS{"x/y": {Data: []byte("x")}}, ".", f, verify.Options{})
		if err != nil || len(r.Problems) == 0 {
			t.Errorf("%s of a tree that is something else: %v, %v", f, err, r)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := verify.Verify(gone, tree, ".", f, verify.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s cancelled: %v", f, err)
		}
	}
}
