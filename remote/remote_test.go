package remote_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/remote"
	"cairn/remote/mem"
)

func TestPairTree(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("abcdef01", 8)
	name := remote.PairTree("binaries", id)
	if want := "binaries/ab/cd/ef/" + id + ".bin"; name != want {
		t.Errorf("PairTree: %s, want %s", name, want)
	}
	for _, prefix := range []string{"index", "m00/binaries"} {
		if p, h, ok := remote.ParsePairTree(remote.PairTree(prefix, id)); !ok || p != prefix || h != id {
			t.Errorf("ParsePairTree: %q, %q, %v", p, h, ok)
		}
	}
	for _, bad := range []string{
		"", ".bin", "/.bin", "binaries", name[:len(name)-4], name + "x", "binaries/ab/cd/" + id + ".bin", "binaries/ab/cd/ee/" + id + ".bin",
		"ab/cd/ef/" + id + ".bin", "/ab/cd/ef/" + id + ".bin", "../ab/cd/ef/" + id + ".bin", "a//ab/cd/ef/" + id + ".bin",
		"binaries/AB/CD/EF/" + strings.ToUpper(id) + ".bin", "binaries/ab/cd/ef/abcde.bin", "binaries/ab/cd/ef/abcdefg.bin",
	} {
		if p, h, ok := remote.ParsePairTree(bad); ok {
			t.Errorf("ParsePairTree(%q) accepts: %q, %q", bad, p, h)
		}
	}
	if err := remote.ValidName(remote.PairTree("binaries", "abc")); err == nil {
		t.Error("PairTree makes a valid name of a short id")
	}
}

func FuzzParsePairTree(f *testing.F) {
	f.Add("binaries/ab/cd/ef/abcdef01.bin")
	f.Add("/ab/cd/ef/abcdef.bin")
	f.Fuzz(func(t *testing.T, name string) {
		if prefix, id, ok := remote.ParsePairTree(name); ok && remote.PairTree(prefix, id) != name {
			t.Errorf("%q is parsed into %q and %q, which make another name", name, prefix, id)
		}
	})
}

func FuzzValidName(f *testing.F) {
	f.Add("a/b")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		if remote.ValidName(name) != nil {
			return
		}
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || strings.ContainsAny(name, "\x00\n") {
			t.Errorf("%q is valid", name)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	base := errors.New("base")
	if remote.Permanent(nil) != nil || remote.WithHint(nil, "x") != nil || remote.IsPermanent(nil) || remote.Hint(nil) != "" {
		t.Error("nil does not stay nil")
	}
	err := fmt.Errorf("outer: %w", remote.Permanent(remote.WithHint(base, "do this")))
	if !remote.IsPermanent(err) || remote.Hint(err) != "do this" || !errors.Is(err, base) || err.Error() != "outer: base" {
		t.Errorf("%v: permanent %v, hint %q", err, remote.IsPermanent(err), remote.Hint(err))
	}
	if remote.IsPermanent(base) || remote.Hint(base) != "" {
		t.Error("a plain error is permanent or has a hint")
	}
	if got := remote.Hint(remote.WithHint(err, "rather this")); got != "rather this" {
		t.Errorf("outermost hint: %q", got)
	}
	if got := remote.Hint(fmt.Errorf("x: %w", silent{err})); got != "do this" {
		t.Errorf("hint behind a silent one: %q", got)
	}
	if got := remote.Hint(errors.Join(base, remote.WithHint(base, "joined"))); got != "joined" {
		t.Errorf("hint in joined errors: %q", got)
	}
}

// silent has the method Hint but none to give.
type silent struct{ error }

func (silent) Hint() string    { return "" }
func (s silent) Unwrap() error { return s.error }

// wrapper is a Store that only wraps.
type wrapper struct{ remote.Store }

func (w wrapper) Unwrap() remote.Store { return w.Store }

func TestAs(t *testing.T) {
	t.Parallel()
	m := mem.New()
	s := wrapper{wrapper{m}}
	if got, ok := remote.As[*mem.Store](s); !ok || got != m {
		t.Error("As does not find the driver behind two wrappers")
	}
	if _, ok := remote.As[interface{ Nothing() }](s); ok {
		t.Error("As finds what is not there")
	}
	if _, ok := remote.As[remote.NewPutter](nil); ok {
		t.Error("As finds something in nil")
	}
	if _, ok := remote.As[*mem.Store](remote.Sub(s, "m00")); ok {
		t.Error("As looks through Sub, where names differ")
	}
	p, ok := remote.As[remote.NewPutter](remote.Sub(s, "m00"))
	if !ok {
		t.Fatal("Sub hides PutNew")
	}
	if err := p.PutNew(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Stat(t.Context(), "m00/a"); err != nil {
		t.Error(err)
	}
	p, _ = remote.As[remote.NewPutter](remote.Sub(struct{ remote.Store }{m}, "m00"))
	if err := p.PutNew(t.Context(), "b", nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("PutNew of a Sub over a store without: %v", err)
	}
	if remote.Sub(s, "") != remote.Store(s) {
		t.Error("Sub with an empty prefix wraps")
	}
	if err := remote.Sub(m, "../up").Put(t.Context(), "a", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Sub with an invalid prefix: %v", err)
	}
}

// TestDeleteAll: a store that cannot delete many at once deletes one after the other, until the first error.
func TestDeleteAll(t *testing.T) {
	t.Parallel()
	m := mem.New()
	s := remote.Sub(wrapper{m}, "m00")
	for _, name := range []string{"m00/a", "m00/b", "m00/c", "a"} {
		if err := m.Put(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (names []string) {
		for info, err := range m.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, info.Name)
		}
		slices.Sort(names)
		return names
	}
	if err := remote.DeleteAll(t.Context(), s, slices.Values([]string{"a", "none", "../up", "b"})); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("DeleteAll with an invalid name: %v", err)
	}
	if got := left(); !slices.Equal(got, []string{"a", "m00/b", "m00/c"}) {
		t.Errorf("left: %q", got)
	}
	if err := remote.DeleteAll(t.Context(), s, slices.Values([]string{"b", "c"})); err != nil {
		t.Error(err)
	}
	if got := left(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("left: %q", got)
	}
}

func TestReadAllLimits(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{-1, math.MinInt64, math.MaxInt64} {
		if _, err := remote.ReadAll(t.Context(), mem.New(), "a", limit); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func FuzzSpan(f *testing.F) {
	f.Add(int64(10), int64(3), int64(4))
	f.Add(int64(0), int64(math.MinInt64), int64(0))
	f.Fuzz(func(t *testing.T, size, off, n int64) {
		if size < 0 {
			return
		}
		start, length, err := remote.Span("x", size, off, n)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
			return
		}
		if start < 0 || length < 0 || start > size || length > size-start {
			t.Errorf("Span(%d, %d, %d) = %d, %d", size, off, n, start, length)
		}
	})
}

func TestParseURL(t *testing.T) {
	t.Chdir("/")
	file := func(path string) remote.URL { return remote.URL{Scheme: "file", Path: path} }
	for raw, want := range map[string]remote.URL{
		"/abs/dir":           file("/abs/dir"),
		"/abs//dir/../x/":    file("/abs/x"),
		"/with:colon/and%20": file("/with:colon/and%20"),
		"rel/dir":            file("/rel/dir"),
		"./s3:x":             file("/s3:x"),
		".":                  file("/"),
		"~/x":                file("/~/x"),
		"file:///abs/dir":    file("/abs/dir"),
		"file:///a%20b/":     file("/a b"),
		"file://localhost/a": file("/a"),
		"FILE:///a":          file("/a"),
		"s3://h/b":           {Scheme: "s3", Host: "h", Bucket: "b"},
		"s3://h:9000/b/":     {Scheme: "s3", Host: "h:9000", Bucket: "b"},
		"s3://h/b/p/q/?region=x&insecure=1": {Scheme: "s3", Host: "h", Bucket: "b", Prefix: "p/q",
			Query: url.Values{"region": {"x"}, "insecure": {"1"}}},
	} {
		got, err := remote.ParseURL(raw)
		if err != nil {
			t.Errorf("ParseURL(%q): %v", raw, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("ParseURL(%q): -want +got\n%s", raw, d)
		}
		if again, err := remote.ParseURL(got.String()); err != nil || !cmp.Equal(again, got) {
			t.Errorf("ParseURL(%q): %v, %v; want the same again", got.String(), again, err)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "\x00", "/a\x00b", "file:///a%00b", "s3:host/bucket", "rest:http://x", "sftp://host/dir", "http://h/b", "file:rel", "file://host/dir", "file://",
		"file:///a?x=1", "s3://", "s3:///b", "s3://h", "s3://h/", "s3://h/b/../c", "s3://h/b/ä", "s3://h/b#f", "s3://h/b?%zz", "s3://h:x/b", "s3://%zz/b",
		"s3://AKIA:SECRET@h/b", "s3://AKIA:SEC/RET@h/b", "s3://SECRET@h/b",
	} {
		u, err := remote.ParseURL(raw)
		if err == nil || remote.Hint(err) == "" {
			t.Errorf("ParseURL(%q): %+v, %v, hint %q", raw, u, err, remote.Hint(err))
		} else if strings.Contains(err.Error(), "SEC") || strings.Contains(err.Error(), "RET") {
			t.Errorf("ParseURL(%q) repeats the secret: %v", raw, err)
		}
	}
}
