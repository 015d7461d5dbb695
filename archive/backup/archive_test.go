package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/restore"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// realArchive is an archive of one member in memory.
type realArchive struct {
	t   *testing.T
	key [32]byte
	mem *mem.Store
}

func newRealArchive(t *testing.T) *realArchive {
	t.Helper()
	b := &realArchive{t: t, key: [32]byte{1, 2, 3}, mem: mem.New()}
	_, err := archive.Init(t.Context(), b.members(), archive.InitOptions{Data: 1, Now: time.Unix(1_800_000_000, 0), Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		s, err := seal.NewKeyFileSlot(k, "test", b.key, time.Unix(1_800_000_000, 0))
		return []*seal.Slot{s}, err
	}})
	check(t, err)
	return b
}

func (b *realArchive) members() []archive.Member {
	return []archive.Member{{URL: "mem", Store: b.mem}}
}

// open opens the archive as another machine would, with an index of its own.
func (b *realArchive) open() *archive.Archive {
	b.t.Helper()
	a, err := archive.Open(b.t.Context(), b.members(), archive.Options{
		Credentials: []seal.Credential{{KeyFile: &b.key}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		Notice:      func(text string) { b.t.Logf("notice: %s", text) },
	})
	check(b.t, err)
	b.t.Cleanup(func() { a.Close() })
	return a
}

func (b *realArchive) writer(a *archive.Archive) *archive.Writer {
	b.t.Helper()
	w, err := a.NewWriter(b.t.Context())
	check(b.t, err)
	return w
}

// options are for the archive's own chunker.
func (b *realArchive) options(a *archive.Archive, paths ...string) Options {
	o := testOptions(b.t, paths...)
	o.Params = a.Chunker()
	return o
}

// packs lists the packs of data and trees.
func (b *realArchive) packs() (ids []pack.ID) {
	b.t.Helper()
	for info, err := range b.mem.List(b.t.Context(), "binaries/") {
		check(b.t, err)
		if id, _, ok := pack.ParseName(info.Name); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// prune forgets a snapshot, and condemns and deletes packs, as a collector that did not see a backup coming.
func (b *realArchive) prune(forget chunk.ID, ids []pack.ID) {
	b.t.Helper()
	if _, err := b.open().Forget(b.t.Context(), []chunk.ID{forget}, archive.Record{Time: time.Unix(1, 0)}); err != nil {
		b.t.Error(err)
	}
	if err := b.open().PublishRecord(b.t.Context(), &archive.Record{Packs: ids, Time: time.Unix(1, 0)}, true); err != nil {
		b.t.Error(err)
	}
	for info, err := range b.mem.List(b.t.Context(), "binaries/") {
		if err != nil {
			b.t.Error(err)
			return
		}
		for _, id := range ids {
			if found, _, ok := pack.ParseName(info.Name); ok && found == id {
				if err := b.mem.Delete(b.t.Context(), info.Name); err != nil {
					b.t.Error(err)
				}
			}
		}
	}
}

// restore restores a snapshot into a new directory and returns where the files are.
func (b *realArchive) restore(a *archive.Archive, s *snapshot.Snapshot) (string, *restore.Report) {
	b.t.Helper()
	to := b.t.TempDir()
	report, err := restore.Run(b.t.Context(), a, restore.Root{Content: s.Content, Depth: s.Depth}, restore.Options{Target: to, NoOwner: true})
	check(b.t, err)
	return to, report
}

// TestPrunedMeanwhile: everything that a backup relied on is condemned and deleted while it walks.
func TestPrunedMeanwhile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 40 {
		write(t, filepath.Join(root, fmt.Sprintf("d%d/f%02d", i%4, i)), noise(uint64(i), 20_000))
	}
	b := newRealArchive(t)
	a := b.open()
	first, err := Run(t.Context(), b.writer(a), b.options(a, root))
	check(t, err)

	a = b.open()
	o := b.options(a, root)
	o.Series, o.Cache = "other", newCache()
	var once sync.Once
	o.fault = func(op, path string, _ int64) error {
		if op == "open" && strings.HasSuffix(path, "f37") {
			once.Do(func() { b.prune(first.ID, b.packs()) })
		}
		return nil
	}
	w := b.writer(a)
	second, err := Run(t.Context(), w, o)
	check(t, err)
	if second.WarningCount != 1 || !strings.Contains(second.Warnings[0].Message, "walking again") {
		t.Errorf("warnings %v", second.Warnings)
	}
	fresh := b.open()
	list, damaged, err := fresh.Snapshots(t.Context())
	if err != nil || len(damaged) > 0 || len(list) != 1 || list[0].ID != second.ID || list[0].Incomplete {
		t.Fatalf("snapshots %v, %v, %v", list, damaged, err)
	}
	to, report := b.restore(fresh, list[0])
	if report.Failed > 0 {
		t.Errorf("restored: %v", report.Failures)
	}
	compareFiles(t, root, filepath.Join(to, root), 40)
}

// TestCheckpointSurvives: a backup that is interrupted leaves a checkpoint whose finished files can be restored, and the next one
// removes it.
func TestCheckpointSurvives(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 9 {
		write(t, filepath.Join(root, fmt.Sprintf("a/f%d", i)), noise(uint64(i), 20_000))
	}
	large := filepath.Join(root, "b/large")
	write(t, large, noise(99, 32<<20))
	write(t, filepath.Join(root, "c/late"), "late")
	b := newRealArchive(t)
	a := b.open()
	o := b.options(a, root)
	o.Concurrency = 1
	nudge := make(chan struct{})
	o.nudge = nudge
	w := b.writer(a)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	o.fault = func(op, path string, offset int64) error {
		if op == "read" && path == large && offset > 28<<20 {
			once.Do(func() {
				nudge <- struct{}{}
				nudge <- struct{}{} // taken when the first is through
				cancel()
			})
		}
		return nil
	}
	if _, err := Run(ctx, w, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	check(t, w.Suspend(t.Context()))

	fresh := b.open()
	list, damaged, err := fresh.Snapshots(t.Context())
	if err != nil || len(damaged) > 0 || len(list) == 0 {
		t.Fatalf("%d snapshots, %v, %v", len(list), damaged, err)
	}
	s := list[0]
	if !s.Checkpoint || !s.Incomplete || !s.Partial {
		t.Errorf("checkpoint %v, incomplete %v, partial %v", s.Checkpoint, s.Incomplete, s.Partial)
	}
	to, report := b.restore(fresh, s)
	if report.Failed > 0 || len(report.Warnings) == 0 {
		t.Errorf("failures %v, warnings %v", report.Failures, report.Warnings)
	}
	compareFiles(t, filepath.Join(root, "a"), filepath.Join(to, root, "a"), 9)

	o = b.options(fresh, root)
	done, err := Run(t.Context(), b.writer(fresh), o)
	check(t, err)
	if done.BytesNew > 20<<20 {
		t.Errorf("%d bytes stored again", done.BytesNew)
	}
}

// compareFiles compares the content of n files below two directories.
func compareFiles(t *testing.T, want, got string, n int) {
	t.Helper()
	seen := 0
	for path, data := range filesBelow(t, want) {
		seen++
		if filesBelow(t, got)[path] != data {
			t.Errorf("%s differs", path)
		}
	}
	if seen != n {
		t.Errorf("%d files, want %d", seen, n)
	}
}

func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = string(data)
		return err
	}))
	return files
}
