package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// TestDamage spoils every file of a slot in several ways. The index must open again, answer with what is right or nothing,
// and work.
func TestDamage(t *testing.T) {
	t.Parallel()
	base := t.TempDir() + "/index"
	x := open(t, base, Options{})
	apply1(t, x, packID(1000), some()...)
	mustClose(t, x)
	// A killed process leaves a log besides, which the next one has to replay.
	killed := t.TempDir() + "/index"
	_, _, kill := startHelper(t, killed)
	kill()
	for _, from := range []string{base, killed} {
		for _, name := range filesOf(t, slotDir(from, 0)) {
			if from == killed && !strings.HasSuffix(name, ".mem") {
				continue
			}
			for how, spoil := range spoilers() {
				t.Run(filepath.Base(name)+" "+how, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir() + "/index"
					if err := os.CopyFS(slotDir(dir, 0), os.DirFS(slotDir(from, 0))); err != nil {
						t.Fatal(err)
					}
					spoil(t, filepath.Join(slotDir(dir, 0), name))
					tryDamaged(t, dir)
				})
			}
		}
	}
}

func filesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, name)
			names = append(names, rel)
		}
		return err
	})
	if err != nil || len(names) < 5 {
		t.Fatalf("%q %v", names, err)
	}
	return names
}

func spoilers() map[string]func(t *testing.T, name string) {
	edit := func(change func(b []byte) []byte) func(t *testing.T, name string) {
		return func(t *testing.T, name string) {
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return map[string]func(t *testing.T, name string){
		"removed": func(t *testing.T, name string) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		},
		"empty":     edit(func(b []byte) []byte { return nil }),
		"half":      edit(func(b []byte) []byte { return b[:len(b)/2] }),
		"one short": edit(func(b []byte) []byte { return b[:max(1, len(b))-1] }),
		"zeros":     edit(func(b []byte) []byte { return make([]byte, len(b)) }),
		"ones": edit(func(b []byte) []byte {
			for i := range b {
				b[i] = 0xff
			}
			return b
		}),
		"begin": edit(func(b []byte) []byte { copy(b, "\xff\xfe\xfd\xfc\xfb"); return b }),
		"end":   edit(func(b []byte) []byte { return append(b[:max(4, len(b))-4], "\x7f\xff\xff\xff"...) }),
		"tail": edit(func(b []byte) []byte {
			for i := max(0, len(b)-6000); i < len(b); i += 13 {
				b[i] ^= 0x40
			}
			return b
		}),
		"everywhere": edit(func(b []byte) []byte {
			for i := 7; i < len(b); i += 101 {
				b[i] ^= 0x10
			}
			return b
		}),
	}
}

func tryDamaged(t *testing.T, dir string) {
	var notices []string
	x, err := Open(dir, Options{Notice: func(s string) { notices = append(notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	err = checkSubset(x)
	var broken *BrokenError
	if err != nil && !errors.As(err, &broken) {
		t.Fatalf("%v (notices %q)", err, notices)
	}
	if err := x.Apply(packID(1001), some()); err != nil && !errors.As(err, &broken) {
		t.Fatal(err)
	}
	if err := x.Drop(); err != nil {
		t.Fatal(err)
	}
	testEmpty2(t, x)
	apply1(t, x, packID(1000), some()...)
	expect(t, x, some()...)
	mustClose(t, x)
}

// checkSubset compares what is found with what was applied.
func checkSubset(x *Index) error {
	cols := some()
	for _, c := range cols {
		var ids []chunk.ID
		for _, e := range c.Entries {
			ids = append(ids, e.ID)
		}
		out := make([]pack.Location, len(ids))
		if err := x.Lookup(c.Kind, ids, out); err != nil {
			return err
		}
		for i := range out {
			if want := where(&c, i); out[i].Found() && (out[i].Pack != want.Pack || out[i].Offset != want.Offset || out[i].Plain != want.Plain) {
				return fmt.Errorf("blob %d is at %+v, want %+v", i, out[i], want)
			}
		}
	}
	for _, err := range x.Packs() {
		if err != nil {
			return err
		}
	}
	_, err := x.Stats()
	return err
}

// TestRemovedWhileOpen: nothing may crash or hang when somebody clears the cache under a running process.
func TestRemovedWhileOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		remove func(dir string) error
	}{
		{"slot", func(dir string) error { return Remove(dir) }},
		{"all", func(dir string) error { return os.RemoveAll(filepath.Dir(dir)) }},
		{"files", func(dir string) error {
			files, err := filepath.Glob(slotDir(dir, 0) + "/db-*/*")
			for _, f := range files {
				err = errors.Join(err, os.Remove(f))
			}
			return err
		}},
		{"database", func(dir string) error {
			dbs, err := filepath.Glob(slotDir(dir, 0) + "/db-*")
			return errors.Join(err, os.RemoveAll(dbs[0]))
		}},
		{"and replaced", func(dir string) error {
			if err := Remove(dir); err != nil {
				return err
			}
			y, err := Open(dir, Options{})
			if err != nil {
				return err
			}
			return errors.Join(y.Apply(packID(1), []pack.Column{column(50, 0, chunk.Data, 0, 10)}), y.Close())
		}},
	} {
		for _, after := range []string{"close", "look up", "apply", "drop"} {
			t.Run(c.name+" then "+after, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "archive", "index")
				x := open(t, dir, Options{})
				apply1(t, x, packID(1000), some()...)
				if err := c.remove(dir); err != nil {
					t.Fatal(err)
				}
				afterRemoval(t, x, after)
				if err := x.Close(); err != nil {
					t.Logf("close: %v", err)
				}
				y := open(t, dir, Options{})
				if y.Slot() != 0 {
					t.Errorf("slot %d", y.Slot())
				}
				if c.name == "and replaced" && after != "drop" {
					expect(t, y, column(50, 0, chunk.Data, 0, 10))
				}
				apply1(t, y, packID(1000), some()...)
				expect(t, y, some()...)
				mustClose(t, y)
			})
		}
	}
}

func afterRemoval(t *testing.T, x *Index, what string) {
	var broken *BrokenError
	switch what {
	case "look up":
		if err := checkSubset(x); err != nil && !errors.As(err, &broken) {
			t.Errorf("look up: %v", err)
		}
	case "apply":
		// Enough for several buffers to be written out.
		for i := range 5 {
			err := x.Apply(packID(2000+i), []pack.Column{column(100+i, 0, chunk.Data, 100_000*i, 20_000)})
			if err != nil && !errors.As(err, &broken) {
				t.Errorf("apply: %v", err)
			}
		}
	case "drop":
		if err := x.Drop(); err != nil {
			t.Fatal(err)
		}
		testEmpty2(t, x)
		apply1(t, x, packID(1000), some()...)
		expect(t, x, some()...)
	}
}

// TestRemovedInApply removes the directory while another goroutine applies.
func TestRemovedInApply(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "archive", "index")
	x := open(t, dir, Options{})
	var wg sync.WaitGroup
	started := make(chan bool)
	wg.Go(func() {
		for i := range 100 {
			if i == 2 {
				close(started)
			}
			if err := x.Apply(packID(i), []pack.Column{column(i, 0, chunk.Data, 3000*i, 3000)}); err != nil {
				var broken *BrokenError
				if !errors.As(err, &broken) || broken.Hint() == "" {
					t.Error(err)
				}
				if again := x.Apply(packID(i), nil); again == nil {
					t.Error("a broken index took a segment")
				}
				return
			}
		}
		t.Error("applied to a removed index")
	})
	<-started
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := x.Close(); err == nil {
		t.Error("closing a broken index gives no error")
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("closing brought the directory back: %v", err)
	}
}

// TestTruncatedWhileOpen cuts off the tables that are mapped into memory: reading them is a fault, not an answer.
func TestTruncatedWhileOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	x := open(t, dir, Options{})
	apply1(t, x, packID(1000), some()...)
	mustClose(t, x)
	x = open(t, dir, Options{})
	tables, _ := filepath.Glob(slotDir(dir, 0) + "/db-*/*.sst")
	if len(tables) == 0 {
		t.Fatal("no tables")
	}
	for _, name := range tables {
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	var broken *BrokenError
	if err := checkSubset(x); !errors.As(err, &broken) {
		t.Fatalf("got %v", err)
	}
	if err := x.Drop(); err != nil {
		t.Fatal(err)
	}
	apply1(t, x, packID(1000), some()...)
	expect(t, x, some()...)
}

func TestVerifyDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	x := open(t, dir, Options{})
	apply1(t, x, packID(1000), some()...)
	mustClose(t, x)
	tables, _ := filepath.Glob(slotDir(dir, 0) + "/db-*/*.sst")
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	b[5000] ^= 1 // in the second block, which opening does not look at
	if err := os.WriteFile(tables[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir, Options{})
	var broken *BrokenError
	for _, err := range x.Copies(chunk.Data) {
		if !errors.As(err, &broken) {
			t.Fatalf("copies: %v", err) // a collector would take those in the block for not needed
		}
	}
	if err := x.Verify(); !errors.As(err, &broken) {
		t.Errorf("got %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/index"
	if _, err := Open(dir, Options{Reserve: 1 << 62}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v", err)
	}
	x := open(t, dir, Options{})
	apply1(t, x, packID(1000), some()...)
	x.d.o.Reserve = 1 << 62
	more := column(7, 0, chunk.Data, 50_000, 10)
	if err := x.Apply(packID(1001), []pack.Column{more}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v", err)
	}
	expect(t, x, some()...)
	x.d.o.Reserve = 0
	apply1(t, x, packID(1001), more)
	expect(t, x, append(some(), more)...)
}

func TestNotWritable(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file+"/index", Options{}); err == nil {
		t.Error("opened below a file")
	}
}
