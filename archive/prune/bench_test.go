package prune

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote/local"
)

// BenchmarkPrune opens a synthetic archive of many small blobs, looks blobs up as a backup does, and collects a third of them, half of that scattered
// among what is needed. It gives the figures of docs/performance.md, step by step. Another process fills the archive, so that the memory is that
// of the collection:
//
//	CAIRN_BENCH_BLOBS=10000000 CAIRN_BENCH_DIR=DIR go test -run '^$' -bench 'Fill$' -benchtime 1x -timeout 3h ./archive/prune
//	CAIRN_BENCH_DIR=DIR go test -run '^$' -bench 'Prune$' -benchtime 1x -timeout 3h -v ./archive/prune
//
// The second one uses up what the first has made (cp -a keeps it). Without CAIRN_BENCH_DIR it does both. DIR takes 0.9 KB a blob. The
// command opens the archive, too: CAIRN_ARCHIVE=DIR/m CAIRN_KEY_FILE=DIR/key CAIRN_CACHE_DIR=DIR/cache.
//
// With CAIRN_PROFILE=DIR each step leaves a heap profile of the moment when most was in use.
func BenchmarkPrune(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // as the command does
	for b.Loop() {
		m := &machine{b: b, dir: benchDir(b)}
		if !m.filled() {
			fill := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=Fill$", "-test.benchtime=1x", "-test.timeout=0")
			fill.Env = append(os.Environ(), "CAIRN_BENCH_DIR="+m.dir)
			out, err := fill.CombinedOutput()
			if err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		}
		m.connect()
		m.measure(100_000)
	}
}

// BenchmarkFill makes the archive for BenchmarkPrune.
func BenchmarkFill(b *testing.B) {
	blobs := 100_000
	if n, err := strconv.Atoi(os.Getenv("CAIRN_BENCH_BLOBS")); err == nil {
		blobs = n
	}
	for b.Loop() {
		m := &machine{b: b, dir: benchDir(b)}
		if m.filled() {
			b.Fatalf("%s is filled already", m.dir)
		}
		m.fill(blobs)
	}
}

func benchDir(b *testing.B) string {
	if dir := os.Getenv("CAIRN_BENCH_DIR"); dir != "" {
		return dir
	}
	return b.TempDir()
}

// TestDisk is the benchmark with few blobs: directories as members, the index on disk, contents in lists.
func TestDisk(t *testing.T) {
	t.Parallel()
	m := &machine{b: t, dir: t.TempDir()}
	m.fill(12 * perUnit)
	m.connect()
	m.measure(1000)
}

// machine is a computer with a cache on disk.
type machine struct {
	b       testing.TB
	dir     string
	key     [32]byte
	members []archive.Member
	made    made
}

// made is what is remembered of a synthetic archive, in the file "made".
type made struct {
	Blobs int    `json:"blobs"`
	First string `json:"first"` // the snapshot that has all of them
}

func (m *machine) must(err error) {
	m.b.Helper()
	if err != nil {
		m.b.Fatal(err)
	}
}

func (m *machine) file(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) filled() bool {
	_, err := os.Stat(m.file("made"))
	return err == nil
}

// connect gets ready to open the archive that fill has made.
func (m *machine) connect() {
	text, err := os.ReadFile(m.file("key"))
	m.must(err)
	m.key, err = seal.ParseKeyFile(text)
	m.must(err)
	text, err = os.ReadFile(m.file("made"))
	m.must(err)
	m.must(json.Unmarshal(text, &m.made))
	m.openStore()
}

func (m *machine) openStore() {
	m.must(os.MkdirAll(m.file("m"), 0o700))
	store, err := local.OpenWith(m.file("m"), local.Options{NoSync: true})
	m.must(err)
	m.members = []archive.Member{{URL: m.file("m"), Store: store}}
}

func (m *machine) open(ctx context.Context) *archive.Archive {
	dir := func(id seal.ArchiveID) string { return filepath.Join(m.dir, "cache", id.String()) }
	a, err := archive.Open(ctx, m.members, archive.Options{
		Credentials: []seal.Credential{{KeyFile: &m.key}},
		OpenIndex: func(id seal.ArchiveID) (archive.Index, error) {
			m.must(os.MkdirAll(dir(id), 0o700))
			return index.Open(filepath.Join(dir(id), "index"), index.Options{Notice: func(s string) { m.b.Log(s) }})
		},
		Dir: dir,
	})
	m.must(err)
	_, err = a.Index(ctx)
	m.must(err)
	return a
}
