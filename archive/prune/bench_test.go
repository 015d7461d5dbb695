package prune

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote/local"
	"cairn/snapshot"
)

// BenchmarkPrune collects a third of an archive of many small blobs, half of it scattered among what is needed, with the index on disk. It gives the
// figures of docs/performance.md:
//
//	CAIRN_BENCH_BLOBS=10000000 go test -run '^$' -bench Prune -benchtime 1x -timeout 3h ./archive/prune
//
// CAIRN_BENCH_DIR names a directory of its own, which takes 200 bytes a blob.
func BenchmarkPrune(b *testing.B) {
	blobs := 100_000
	if n, err := strconv.Atoi(os.Getenv("CAIRN_BENCH_BLOBS")); err == nil {
		blobs = n
	}
	for b.Loop() {
		dir := b.TempDir()
		if d := os.Getenv("CAIRN_BENCH_DIR"); d != "" {
			dir = d
		}
		benchPrune(b, dir, max(6, blobs/perFile), perFile)
	}
}

// perFile is how many blobs a file has: its content is a list of lists.
const perFile = 10_000

// TestDisk is the benchmark with few blobs: directories as members, the index on disk, contents in lists.
func TestDisk(t *testing.T) {
	t.Parallel()
	benchPrune(t, t.TempDir(), 12, 1500)
}

func benchPrune(b testing.TB, dir string, files, each int) {
	ctx := b.Context()
	m := &machine{b: b, dir: dir}
	m.must(os.MkdirAll(filepath.Join(dir, "m"), 0o700))
	store, err := local.OpenWith(filepath.Join(dir, "m"), local.Options{NoSync: true})
	m.must(err)
	m.members = []archive.Member{{URL: "/m", Store: store}}
	_, err = archive.Init(ctx, m.members, archive.InitOptions{Data: 1, Now: fixed, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		slot, err := seal.NewKeyFileSlot(k, "one", m.key, fixed)
		return []*seal.Slot{slot}, err
	}})
	m.must(err)
	// A third of the blobs is in all, a third in the first snapshot only, the rest in turns.
	first := m.fill(files, each, func(int) bool { return true })
	m.fill(files, each, func(i int) bool { return i >= files/6 && (i >= files/2 || i%2 == 0) })
	var a *archive.Archive
	m.lap("open", func() { a = m.open() })
	_, err = a.Forget(ctx, []chunk.ID{first}, archive.Record{Time: fixed})
	m.must(err)
	for _, name := range []string{"prune", "again"} {
		m.lap(name, func() {
			r, err := Run(ctx, a, Options{Limits: Limits{MaxUnused: DefaultMaxUnused}})
			m.must(err)
			b.Logf("%s: %d of %d blobs needed, %d of %d trees read, %d packs deleted, %d blobs copied, freed %d of %d bytes", name, r.Needed, r.Blobs, r.TreesRead, r.Trees,
				r.Deleted.Packs, r.Copied, r.Freed(), r.Total.Bytes)
			if name == "prune" && r.Deleted.Packs == 0 || name == "again" && r.TreesRead > 0 {
				b.Errorf("%+v", r)
			}
		})
	}
	m.must(a.Close())
}

// machine is a computer with a cache on disk.
type machine struct {
	b       testing.TB
	dir     string
	key     [32]byte
	members []archive.Member
}

func (m *machine) must(err error) {
	m.b.Helper()
	if err != nil {
		m.b.Fatal(err)
	}
}

func (m *machine) open() *archive.Archive {
	a, err := archive.Open(m.b.Context(), m.members, archive.Options{
		Credentials: []seal.Credential{{KeyFile: &m.key}},
		OpenIndex: func(seal.ArchiveID) (archive.Index, error) {
			return index.Open(filepath.Join(m.dir, "cache", "index"), index.Options{Notice: func(s string) { m.b.Log(s) }})
		},
		Dir: func(seal.ArchiveID) string { return filepath.Join(m.dir, "cache") },
	})
	m.must(err)
	_, err = a.Index(m.b.Context())
	m.must(err)
	return a
}

// fill makes a snapshot of some files.
func (m *machine) fill(files, each int, has func(int) bool) chunk.ID {
	ctx := m.b.Context()
	a := m.open()
	w, err := a.NewWriter(ctx)
	m.must(err)
	var mu sync.Mutex
	var nodes []snapshot.Node
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i := range files {
		if !has(i) {
			continue
		}
		group.Go(func() error {
			n, err := benchFile(groupCtx, w, i, each)
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, n)
			return err
		})
	}
	m.must(group.Wait())
	sortNodes(nodes)
	s := &snapshot.Snapshot{Series: "bench", Start: snapshot.TimeOf(fixed)}
	s.Content, s.Depth, err = snapshot.SaveTree(ctx, nodes, saver(w, chunk.Tree))
	m.must(err)
	_, err = w.Commit(ctx, s)
	m.must(err)
	m.must(a.Close())
	return s.ID
}

func benchFile(ctx context.Context, w *archive.Writer, i, each int) (snapshot.Node, error) {
	n := snapshot.Node{Name: fmt.Sprintf("f%06d", i), Type: snapshot.File, Size: uint64(24 * each)}
	ids := make([]chunk.ID, 0, each)
	var seed [32]byte
	plain := make([]byte, 24)
	for j := range each {
		binary.LittleEndian.PutUint64(seed[:], uint64(i*each+j))
		rand.NewChaCha8(seed).Read(plain)
		s, err := w.Save(ctx, chunk.Data, plain)
		if err != nil {
			return n, err
		}
		ids = append(ids, s.ID)
	}
	var err error
	n.Content, n.Depth, err = snapshot.SaveContent(ctx, ids, saver(w, chunk.Tree))
	return n, err
}

// lap measures time and the peak of anonymous memory: mapped files are page cache, which the kernel takes back.
func (m *machine) lap(what string, fn func()) {
	var peak atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			peak.Store(max(peak.Load(), rssAnon()))
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	start := time.Now()
	fn()
	took := time.Since(start)
	close(done)
	wg.Wait()
	if b, ok := m.b.(*testing.B); ok {
		b.ReportMetric(took.Seconds(), what+"-s")
		b.ReportMetric(float64(peak.Load())/1e3, what+"-MB")
	}
}

// rssAnon is in KB.
func rssAnon() (n int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscan(rest, &n)
		}
	}
	return n
}
