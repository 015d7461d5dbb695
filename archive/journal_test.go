package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote/fault"
)

func withDir(o Options, dir string) Options {
	o.Dir = func(seal.ArchiveID) string { return dir }
	return o
}

// kill saves blobs and lets the session die after its packs were stored: the journal file is all that is left.
func (b *bench) kill(a *Archive, list [][]byte) (journal string) {
	b.t.Helper()
	w := b.writer(a)
	for _, p := range list {
		if _, err := w.Save(b.t.Context(), chunk.Data, p); err != nil {
			b.t.Fatal(err)
		}
	}
	for p := w.takeTail(); p != nil; p = w.takeTail() {
		if err := w.acquire(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		w.upload(p)
	}
	if err := w.wait(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := w.failure(); err != nil {
		b.t.Fatal(err)
	}
	w.end()
	w.journal.file.Close() // as the kernel does
	return w.journal.name
}

func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, journalDir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestJournalResumes(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	dir := filepath.Join(t.TempDir(), "with [brackets]*")
	open := func() *Archive { return b.openWith(withDir(b.options(), dir)) }
	list := blobs(1, 100, 3000)
	b.kill(open(), list)
	if n := len(b.names("index/")); n != 0 {
		t.Fatalf("%d segments", n)
	}
	packs := len(b.names("binaries/"))
	a := open()
	w := b.writer(a)
	for _, p := range list {
		if s, err := w.Save(t.Context(), chunk.Data, p); err != nil || s.New {
			t.Fatalf("%+v, %v: uploaded again", s, err)
		}
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
		t.Fatal(err)
	}
	if n := len(b.names("binaries/")); n != packs {
		t.Errorf("%d packs, were %d", n, packs)
	}
	if names := left(t, dir); len(names) > 0 {
		t.Errorf("journals are left: %v", names)
	}
	b.fetchAll(b.open(), list)
}

// TestJournalOfSuspended: what Suspend could not publish, the next session does.
func TestJournalOfSuspended(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := t.TempDir()
	w := b.writer(b.openWith(withDir(b.options(), dir)))
	b.stores[0].Set(fault.Rule{Op: fault.Put, Name: "index/"})
	list := blobs(1, 20, 3000)
	for _, p := range list {
		if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Suspend(t.Context()); err == nil {
		t.Fatal("suspended")
	}
	b.stores[0].Set()
	w = b.writer(b.openWith(withDir(b.options(), dir)))
	if known, err := w.Known(chunk.Data, ids(list)); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if names := left(t, dir); len(names) > 0 {
		t.Errorf("journals are left: %v", names)
	}
}

func TestJournalDamaged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func([]byte) []byte
		least  int // blobs of 60 that must be known afterwards
	}{
		"torn":       {func(d []byte) []byte { return d[:len(d)-5] }, 10},
		"torn early": {func(d []byte) []byte { return d[:6] }, 0},
		"garbage":    {func(d []byte) []byte { return bytes.Repeat([]byte("garbage!"), 100) }, 0},
		"huge":       {func(d []byte) []byte { return append([]byte{0xff, 0xff, 0xff, 0x7f}, d...) }, 0},
		"flipped":    {func(d []byte) []byte { d[len(d)/2] ^= 1; return d }, 0},
		"empty":      {func(d []byte) []byte { return nil }, 0},
		"tail":       {func(d []byte) []byte { return append(d, 1, 2, 3, 4, 5, 6, 7, 8, 9) }, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1, 0)
			dir := t.TempDir()
			list := blobs(1, 60, 3000)
			file := b.kill(b.openWith(withDir(b.options(), dir)), list)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.change(data), 0o600); err != nil {
				t.Fatal(err)
			}
			w := b.writer(b.openWith(withDir(b.options(), dir)))
			known := 0
			for _, id := range ids(list) {
				if ok, err := w.Known(chunk.Data, []chunk.ID{id}); err != nil {
					t.Fatal(err)
				} else if ok {
					known++
				}
			}
			if known < c.least {
				t.Errorf("%d blobs are known, want %d", known, c.least)
			}
			for _, p := range list {
				if _, err := w.Save(t.Context(), chunk.Data, p); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.Commit(t.Context(), newSnapshot()); err != nil {
				t.Fatal(err)
			}
			if names := left(t, dir); len(names) > 0 {
				t.Errorf("journals are left: %v", names)
			}
			b.fetchAll(b.open(), list)
		})
	}
}

// TestJournalVanished: packs that are gone, or cut short, are not published.
func TestJournalVanished(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	dir := t.TempDir()
	list := blobs(1, 200, 3000)
	b.kill(b.openWith(withDir(b.options(), dir)), list)
	names := b.names("binaries/")
	if len(names) < 3 {
		t.Fatalf("%d packs", len(names))
	}
	remove(t, b.mem[0], names[0]) // two are left: enough
	for i := range 2 {
		remove(t, b.mem[i], names[1])
		change(t, b.mem[i+1], names[2], half)
	}
	a := b.openWith(withDir(b.options(), dir))
	w := b.writer(a)
	if err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	have, err := b.fetch(a, ids(list))
	if err == nil || len(have) == 0 || len(have) == len(list) {
		t.Errorf("%d of %d blobs, %v", len(have), len(list), err)
	}
	gone := map[string]bool{names[1]: true, names[2]: true}
	for id := range have {
		if l := b.locate(a, id); gone[l.Pack.Name(chunk.Data)] {
			t.Errorf("blob %s is published in a pack that is gone", id.Short())
		}
	}
	b.save(a, list...)
	b.fetchAll(b.open(), list)
}

// TestJournalFinishes: a pack of which k shards had arrived when the session died gets the others, and is used.
func TestJournalFinishes(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	dir := t.TempDir()
	list := blobs(1, 30, 3000)
	b.kill(b.openWith(withDir(b.options(), dir)), list)
	whole := map[string][]byte{}
	for i, name := range b.names("binaries/") {
		data, err := b.mem[i%3].Get(t.Context(), name, 0, -1, nil)
		if err != nil {
			t.Fatal(err)
		}
		whole[name] = data
		remove(t, b.mem[i%3], name)
	}
	w := b.writer(b.openWith(withDir(b.options(), dir)))
	if known, err := w.Known(chunk.Data, ids(list)); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	s := newSnapshot()
	if _, err := w.Commit(t.Context(), s); err != nil || len(s.Degraded) > 0 {
		t.Errorf("%v, %v", s.Degraded, err)
	}
	for i, name := range b.names("binaries/") {
		if data, err := b.mem[i%3].Get(t.Context(), name, 0, -1, nil); err != nil || !bytes.Equal(data, whole[name]) {
			t.Errorf("%s on store%d: %v", name, i%3, err)
		}
	}
	b.fetchAll(b.open(), list)
}

// TestJournalOfLiveSession: it is not taken away from a session that lives, in this process or another one.
func TestJournalOfLiveSession(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := t.TempDir()
	live := b.writer(b.openWith(withDir(b.options(), dir)))
	list := blobs(1, 100, 3000)
	for _, p := range list {
		if _, err := live.Save(t.Context(), chunk.Data, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := live.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	live.mu.Lock()
	stored := len(live.ready)
	live.mu.Unlock()
	if stored == 0 {
		t.Fatal("nothing is stored yet")
	}
	w := b.writer(b.openWith(withDir(b.options(), dir)))
	if known, err := w.Known(chunk.Data, ids(list)[:1]); err != nil || known {
		t.Errorf("a live session's journal was read: %v", err)
	}
	if err := w.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(left(t, dir)); n != 1 {
		t.Errorf("%d journals", n)
	}
	if n := len(readJournal(live.journal.file)); n != stored {
		t.Errorf("%d columns in the journal, %d stored", n, stored)
	}
	if _, err := live.Commit(t.Context(), newSnapshot()); err != nil {
		t.Error(err)
	}
	if n := len(left(t, dir)); n != 0 {
		t.Errorf("%d journals", n)
	}
	b.fetchAll(b.open(), list)
}

// TestNoJournal: where none can be written, the backup goes on with a notice.
func TestNoJournal(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said notices
	o := withDir(b.options(), dir)
	o.Notice = said.add
	list := blobs(1, 10, 300)
	b.save(b.openWith(o), list...)
	if !strings.Contains(said.String(), "no journal") {
		t.Errorf("said: %s", &said)
	}
	b.fetchAll(b.open(), list)
}

func FuzzJournal(f *testing.F) {
	b := newBench(f, 2, 1)
	dir := f.TempDir()
	name := b.kill(b.openWith(withDir(b.options(), dir)), blobs(1, 10, 500))
	data, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:100])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		columns := decodeJournal(bytes.NewReader(data), int64(len(data)))
		var again []byte
		for _, c := range columns {
			again = appendRecord(again, c)
		}
		if back := decodeJournal(bytes.NewReader(again), int64(len(again))); len(back) != len(columns) {
			t.Errorf("%d columns, read back %d", len(columns), len(back))
		}
		for _, c := range columns {
			if c.L > pack.MaxColumn || c.Number >= c.K {
				t.Errorf("%+v", c)
			}
		}
	})
}
