package index

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func openFiles(t *testing.T, dir string, o Options) *Files {
	t.Helper()
	o.Notice = func(s string) { t.Errorf("notice: %s", s) }
	f, err := OpenFiles(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func putAll(t *testing.T, f *Files, values map[string][]byte) {
	t.Helper()
	for k, v := range values {
		if err := f.Put([]byte(k), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
}

// getAll compares; a value that is too long must not be found.
func getAll(t *testing.T, f *Files, values map[string][]byte) {
	t.Helper()
	for k, want := range values {
		got, ok, err := f.Get([]byte(k))
		if err != nil || ok != (len(want) <= MaxValue) || (ok && !bytes.Equal(got, want)) {
			t.Errorf("key %.20q, %d bytes: got %d bytes %v %v", k, len(want), len(got), ok, err)
		}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/files/abc"
	values := map[string][]byte{"": nil, "/": {}, "/a": {0}, strings.Repeat("k", MaxKey): []byte("long key")}
	for _, n := range []int{1, 100, partSize - 1, partSize, partSize + 1, 2 * partSize, 1 << 20, MaxValue - 1, MaxValue, MaxValue + 1} {
		values[fmt.Sprintf("/value/of/%d", n)] = randomBytes(n)
	}
	f := openFiles(t, dir, Options{})
	putAll(t, f, values)
	getAll(t, f, values)
	if _, ok, err := f.Get([]byte("/none")); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	if err := f.Put(make([]byte, MaxKey+1), nil); err == nil {
		t.Error("took a key that is too long")
	}
	mustClose(t, f)
	f = openFiles(t, dir, Options{})
	getAll(t, f, values)

	// Other values under the same keys, longer and shorter.
	i := 0
	for k := range values {
		values[k] = randomBytes((i % 4) * 200_000)
		i++
	}
	values["/a"] = make([]byte, MaxValue+1)
	putAll(t, f, values)
	getAll(t, f, values)
	mustClose(t, f)
	getAll(t, openFiles(t, dir, Options{}), values)
}

func TestFilesClosed(t *testing.T) {
	t.Parallel()
	f := openFiles(t, t.TempDir()+"/f", Options{})
	if err := f.Put([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, f)
	mustClose(t, f)
	_, _, err := f.Get([]byte("k"))
	if put := f.Put([]byte("k"), nil); !errors.Is(err, ErrClosed) || !errors.Is(put, ErrClosed) {
		t.Errorf("get %v, put %v", err, put)
	}
}

func TestFilesBusy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/f"
	f := openFiles(t, dir, Options{})
	if _, err := OpenFiles(dir, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	mustClose(t, f)
	openFiles(t, dir, Options{})
}

func TestFilesOwnMemory(t *testing.T) {
	t.Parallel()
	f := openFiles(t, t.TempDir()+"/f", Options{})
	k, v := []byte("key"), []byte("value")
	if err := f.Put(k, v); err != nil {
		t.Fatal(err)
	}
	clear(k)
	clear(v)
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"key": []byte("value")}
	got, _, _ := f.Get([]byte("key"))
	clear(got)
	getAll(t, f, want)
}

func TestFilesLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/f"
	values := map[string][]byte{"a": randomBytes(1 << 20)}
	f := openFiles(t, dir, Options{})
	putAll(t, f, values)
	mustClose(t, f)
	f = openFiles(t, dir, Options{})
	getAll(t, f, values)
	mustClose(t, f)
	var notices []string
	f, err := OpenFiles(dir, Options{Limit: 1 << 19, Notice: func(s string) { notices = append(notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok, err := f.Get([]byte("a")); ok || err != nil || len(notices) != 1 {
		t.Errorf("%v %v %q", ok, err, notices)
	}
}

// TestFilesParts: parts of different values must not be joined.
func TestFilesParts(t *testing.T) {
	t.Parallel()
	f := openFiles(t, t.TempDir()+"/f", Options{})
	key := []byte("k")
	putAll(t, f, map[string][]byte{"k": randomBytes(3 * partSize)})
	for name, change := range map[string]func(w *batch) error{
		"another part": func(w *batch) error { return w.set(partKey(key, 1), randomBytes(partSize)) },
		"short part":   func(w *batch) error { return w.set(partKey(key, 1), []byte{1}) },
		"empty part":   func(w *batch) error { return w.set(partKey(key, 1), nil) },
		"no part":      func(w *batch) error { return w.remove(partKey(key, 1)) },
	} {
		w := batch{d: f.d}
		if err := errors.Join(change(&w), w.flush()); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := f.Get(key); ok || err != nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
}

func TestFilesDamage(t *testing.T) {
	t.Parallel()
	base := t.TempDir() + "/f"
	values := map[string][]byte{"a": randomBytes(10_000), "b": randomBytes(300_000)}
	f := openFiles(t, base, Options{})
	putAll(t, f, values)
	mustClose(t, f)
	for _, name := range filesOf(t, base) {
		if ext := filepath.Ext(name); ext != ".sst" && filepath.Base(name) != "MANIFEST" {
			continue
		}
		for how, spoil := range spoilers() {
			t.Run(filepath.Base(name)+" "+how, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir() + "/f"
				if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
					t.Fatal(err)
				}
				spoil(t, filepath.Join(dir, name))
				f, err := OpenFiles(dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for k, want := range values {
					got, ok, err := f.Get([]byte(k))
					var broken *BrokenError
					if (err != nil && !errors.As(err, &broken)) || (ok && !bytes.Equal(got, want)) {
						t.Errorf("got %d bytes %v %v", len(got), ok, err)
					}
				}
				// However broken it was: the next one works.
				_ = f.Close()
				f, err = OpenFiles(dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				putAll(t, f, values)
				getAll(t, f, values)
				mustClose(t, f)
			})
		}
	}
}

func TestFilesRemovedWhileOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/files/f"
	f := openFiles(t, dir, Options{})
	putAll(t, f, map[string][]byte{"a": randomBytes(10_000)})
	if err := RemoveFiles(dir); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		err = f.Put(fmt.Appendf(nil, "%d", i), randomBytes(1<<20))
	}
	var broken *BrokenError
	if !errors.As(err, &broken) {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err == nil {
		t.Error("closed without an error")
	}
	f = openFiles(t, dir, Options{})
	putAll(t, f, map[string][]byte{"a": randomBytes(10_000)})
}

func TestFilesConcurrent(t *testing.T) {
	t.Parallel()
	f := openFiles(t, t.TempDir()+"/f", Options{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				key := fmt.Appendf(nil, "%d/%d", g, i)
				if err := f.Put(key, randomBytes(i*1000)); err != nil {
					t.Error(err)
				}
				if got, ok, err := f.Get(key); err != nil || (ok && !bytes.Equal(got, randomBytes(i*1000))) {
					t.Errorf("%d bytes %v %v", len(got), ok, err)
				}
			}
			if err := f.Flush(); err != nil {
				t.Error(err)
			}
			getAll(t, f, map[string][]byte{fmt.Sprintf("%d/7", g): randomBytes(7000)})
		})
	}
	wg.Wait()
}
