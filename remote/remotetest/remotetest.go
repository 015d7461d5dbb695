// Package remotetest is the conformance suite of remote.Store: every sentence of the interface's contract is a test.
// Every driver and every wrapper passes it:
//
//	func TestStore(t *testing.T) {
//		remotetest.Run(t, func(t *testing.T) remote.Store { return mem.New() })
//	}
//
// RunProtected is the suite of the optional abilities of stores that keep versions and lock objects.
//
// Run needs a store in which it may write anything, and takes about a second on a store that answers at once.
package remotetest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cairn/remote"
)

// Run tests the Stores that open returns. Each test opens one of its own, empty or below an empty prefix.
func Run(t *testing.T, open func(t *testing.T) remote.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s remote.Store)
	}{
		{"PutGet", testPutGet},
		{"PutReplaces", testPutReplaces},
		{"PutKeepsNothing", testPutKeepsNothing},
		{"Ranges", testRanges},
		{"RangesOfEmpty", testRangesOfEmpty},
		{"RangesOfBig", testRangesOfBig},
		{"Dst", testDst},
		{"ReadAll", testReadAll},
		{"Stat", testStat},
		{"NotExist", testNotExist},
		{"Delete", testDelete},
		{"InvalidNames", testInvalidNames},
		{"OddNames", testOddNames},
		{"List", testList},
		{"ListMany", testListMany},
		{"ListStops", testListStops},
		{"ListWhileChanging", testListWhileChanging},
		{"Canceled", testCanceled},
		{"ConcurrentPuts", testConcurrentPuts},
		{"ConcurrentAll", testConcurrentAll},
		{"AtomicReplace", testAtomicReplace},
		{"PutNew", testPutNew},
		{"PutNewConcurrent", testPutNewConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

func mustPut(t *testing.T, s remote.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatalf("Put(%q, %d bytes): %v", name, len(data), err)
	}
}

func mustGet(t *testing.T, s remote.Store, name string) []byte {
	t.Helper()
	b, err := s.Get(t.Context(), name, 0, -1, nil)
	if err != nil {
		t.Fatalf("Get(%q): %v", name, err)
	}
	return b
}

// list returns the sorted names below prefix. A name that is yielded twice is there twice.
func list(t *testing.T, s remote.Store, prefix string) []string {
	t.Helper()
	names := []string{}
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

// content returns n bytes in which no short pattern repeats.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

func testPutGet(t *testing.T, s remote.Store) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		data := content(uint64(size), size)
		mustPut(t, s, "dir/object", data)
		if got := mustGet(t, s, "dir/object"); !bytes.Equal(got, data) {
			t.Errorf("%d bytes: Get returned other bytes (%d)", size, len(got))
		}
	}
	mustPut(t, s, "nil", nil)
	if got := mustGet(t, s, "nil"); len(got) != 0 {
		t.Errorf("object put as nil has %d bytes", len(got))
	}
}

func testPutReplaces(t *testing.T, s remote.Store) {
	for _, size := range []int{1000, 10, 2000, 0} {
		data := content(uint64(size), size)
		mustPut(t, s, "a", data)
		if got := mustGet(t, s, "a"); !bytes.Equal(got, data) {
			t.Errorf("after replacing by %d bytes: other content (%d bytes)", size, len(got))
		}
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("List after replacing: %q", got)
	}
}

func testPutKeepsNothing(t *testing.T, s remote.Store) {
	data := content(1, 5000)
	want := bytes.Clone(data)
	mustPut(t, s, "a", data)
	if !bytes.Equal(data, want) {
		t.Fatal("Put changed its argument")
	}
	clear(data)
	got := mustGet(t, s, "a")
	if !bytes.Equal(got, want) {
		t.Fatal("Put kept its argument")
	}
	clear(got)
	if !bytes.Equal(mustGet(t, s, "a"), want) {
		t.Fatal("Get returned the store's own bytes")
	}
}

func testStat(t *testing.T, s remote.Store) {
	for _, size := range []int{0, 1, 12345} {
		mustPut(t, s, "x/y", content(1, size))
		info, err := s.Stat(t.Context(), "x/y")
		if err != nil || info.Name != "x/y" || info.Size != int64(size) || info.Modified.IsZero() {
			t.Errorf("Stat of %d bytes: %+v, %v", size, info, err)
		}
	}
}

func testNotExist(t *testing.T, s remote.Store) {
	mustPut(t, s, "dir/there", []byte("x"))
	// A directory is no object, and nothing is below an object.
	for _, name := range []string{"a", "dir", "dir/other", "a/b/c/d", "dir/there/below", "dir/there/below/it"} {
		check := func(op string, err error) {
			t.Helper()
			if !errors.Is(err, remote.ErrNotExist) {
				t.Errorf("%s(%q): %v, want ErrNotExist", op, name, err)
			} else if !strings.Contains(err.Error(), name) {
				t.Errorf("%s(%q): error does not name the object: %v", op, name, err)
			}
		}
		_, err := s.Stat(t.Context(), name)
		check("Stat", err)
		for _, r := range [][2]int64{{0, -1}, {0, 0}, {0, 1}, {10, 10}, {-1, 0}} {
			b, err := s.Get(t.Context(), name, r[0], r[1], nil)
			check("Get", err)
			if len(b) != 0 {
				t.Errorf("Get(%q): %d bytes and an error", name, len(b))
			}
		}
	}
}

func testDelete(t *testing.T, s remote.Store) {
	for _, name := range []string{"a", "dir/b", "dir/sub/c"} {
		mustPut(t, s, name, []byte(name))
	}
	for _, name := range []string{"none", "dir", "dir/none", "no/such/dir", "a/below"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete(%q), which is not there: %v", name, err)
		}
	}
	if got, want := list(t, s, ""), []string{"a", "dir/b", "dir/sub/c"}; !slices.Equal(got, want) {
		t.Errorf("deleting what is not there left %q, want %q", got, want)
	}
	for range 2 {
		if err := s.Delete(t.Context(), "dir/b"); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if _, err := s.Stat(t.Context(), "dir/b"); !errors.Is(err, remote.ErrNotExist) {
			t.Errorf("Stat after Delete: %v", err)
		}
	}
	if got, want := list(t, s, ""), []string{"a", "dir/sub/c"}; !slices.Equal(got, want) {
		t.Errorf("List after Delete: %q, want %q", got, want)
	}
	if err := s.Delete(t.Context(), "dir/sub/c"); err != nil {
		t.Error(err)
	}
	mustPut(t, s, "dir/sub/d", []byte("again")) // a directory that became empty is no hindrance
	if got := mustGet(t, s, "dir/sub/d"); string(got) != "again" {
		t.Errorf("Put after Delete: %q", got)
	}
}

func testInvalidNames(t *testing.T, s remote.Store) {
	long := strings.Repeat("x", remote.MaxElement+1)
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "a/../../b",
		"a\x00b", "a\nb", "\x7f", "ä", "a\xff", long, "a/" + long, strings.Repeat("x/", remote.MaxName/2) + "x",
		remote.TempPrefix, remote.TempPrefix + "x", "a/" + remote.TempPrefix + "x/b",
	} {
		check := func(op string, err error) {
			t.Helper()
			if !errors.Is(err, fs.ErrInvalid) || errors.Is(err, remote.ErrNotExist) {
				t.Errorf("%s(%.50q): %v, want an error that wraps fs.ErrInvalid", op, name, err)
			}
			if !remote.IsPermanent(err) {
				t.Errorf("%s(%.50q): error is not permanent", op, name)
			}
		}
		check("Put", s.Put(t.Context(), name, []byte("x")))
		_, err := s.Get(t.Context(), name, 0, -1, nil)
		check("Get", err)
		_, err = s.Stat(t.Context(), name)
		check("Stat", err)
		check("Delete", s.Delete(t.Context(), name))
		if p, ok := remote.As[remote.NewPutter](s); ok {
			check("PutNew", p.PutNew(t.Context(), name, []byte("x")))
		}
	}
	for _, prefix := range []string{"a", "/", "a//", "../", "a/..", "a/../", "./"} {
		n := 0
		for _, err := range s.List(t.Context(), prefix) {
			if n++; !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("List(%q): %v, want an error that wraps fs.ErrInvalid", prefix, err)
			}
		}
		if n != 1 {
			t.Errorf("List(%q) yielded %d times, want one error", prefix, n)
		}
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("invalid names were stored: %q", got)
	}
}

func testOddNames(t *testing.T, s remote.Store) {
	var names []string
	for c := byte(' '); c <= '~'; c++ {
		if c != '/' {
			names = append(names, "odd/"+string(c)+"x"+string(c))
		}
	}
	names = append(names,
		"odd/a b", "odd/%2e%2e", "odd/%2F", "odd/a%00", "odd/?x=1&y=2", "odd/#f", "odd/+plus+", "odd/...", "odd/.hidden", "odd/~",
		"odd/-rf", "odd/*", "odd/\\", "odd/\"quoted\"", "odd/<a>", "odd/c:d", "odd/tmp", "odd/.tmp", "odd/x.tmp-", "odd/COM1", "odd/x.",
		"odd/"+strings.Repeat("n", remote.MaxElement), strings.Repeat("deep/", 50)+"x")
	for _, name := range names {
		mustPut(t, s, name, []byte(name))
	}
	for _, name := range names {
		if got := mustGet(t, s, name); string(got) != name {
			t.Errorf("Get(%q) returned %q", name, got)
		}
	}
	slices.Sort(names)
	if got := list(t, s, ""); !slices.Equal(got, names) {
		t.Errorf("List:\n%q\nwant\n%q", got, names)
	}
	for _, name := range names {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete(%q): %v", name, err)
		}
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("List after deleting all: %q", got)
	}
}

func testCanceled(t *testing.T, s remote.Store) {
	mustPut(t, s, "a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a canceled context: %v", op, err)
		}
	}
	check("Put", s.Put(ctx, "b", []byte("x")))
	_, err := s.Get(ctx, "a", 0, -1, nil)
	check("Get", err)
	_, err = s.Stat(ctx, "a")
	check("Stat", err)
	check("Delete", s.Delete(ctx, "a"))
	err = nil
	for _, err = range s.List(ctx, "") {
	}
	check("List", err)

	_, err = s.Get(ctx, "none", 0, -1, nil)
	if errors.Is(err, remote.ErrNotExist) {
		t.Errorf("a canceled Get claims to know that there is nothing: %v", err)
	}
	if got := string(mustGet(t, s, "a")); got != "x" {
		t.Errorf("canceled operations changed an object: %q", got)
	}
}
