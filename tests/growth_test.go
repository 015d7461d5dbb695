package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFiles shows how a first backup, one in which nothing changed, and a restore grow with the number of files. It runs the real program on trees of
// small files, and gives the figures of docs/performance.md:
//
//	CAIRN_BENCH_FILES=1000,10000,100000 go test -run '^$' -bench Files -benchtime 1x -timeout 2h ./tests
//
// CAIRN_BENCH_DIR names a directory for all of it, which takes some 12 KB a file; a machine's caches are warm, because the files were just
// written. Processor time and memory are those of the process; the wall clock of a shared machine says little.
func BenchmarkFiles(b *testing.B) {
	list := os.Getenv("CAIRN_BENCH_FILES")
	if list == "" {
		list = "1000"
	}
	for _, text := range strings.Split(list, ",") {
		files, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || files < 1 {
			b.Fatalf("CAIRN_BENCH_FILES: %q is no number of files", text)
		}
		b.Run(fmt.Sprintf("%d", files), func(b *testing.B) {
			for b.Loop() {
				growth(b, files)
			}
		})
	}
}

// TestGrowth is the benchmark with few files.
func TestGrowth(t *testing.T) {
	t.Parallel()
	growth(t, 250)
}

// growth measures one archive. Of the tree the file count is compared with what each command says.
func growth(t testing.TB, files int) {
	m := newMachine(t)
	if dir := os.Getenv("CAIRN_BENCH_DIR"); dir != "" {
		own, err := os.MkdirTemp(dir, "cairn-growth-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(own) })
		m.dir = own
		m = m.with("HOME=" + own)
	}
	src := m.path("src")
	bytes := plantMany(t, src, files)
	m.init(1, 0)
	for _, step := range []struct {
		name, kind, counts string
		arguments          []string
	}{
		{"first", "backup", "files_new", []string{"backup", "--json", src}},
		{"again", "backup", "files_unchanged", []string{"backup", "--json", src}},
		{"restore", "restore", "files", []string{"restore", "--json", "latest", "--to", m.path("out")}},
	} {
		used := m.measured(step.arguments...)
		o := used.one(step.kind)
		if n := o.number(step.counts); n != int64(files) {
			t.Errorf("%s: %s %d, want %d: %v", step.name, step.counts, n, files, used.result)
		}
		if b, ok := t.(*testing.B); ok {
			b.ReportMetric(used.took.Seconds(), step.name+"-wall-s")
			b.ReportMetric(used.cpu.Seconds(), step.name+"-cpu-s")
			b.ReportMetric(float64(used.cpu.Microseconds())/float64(files), step.name+"-cpu-µs/file")
			b.ReportMetric(used.peak, step.name+"-peak-MB")
		}
	}
	if b, ok := t.(*testing.B); ok {
		b.ReportMetric(float64(bytes)/(1<<20), "tree-MB")
		b.ReportMetric(0, "ns/op") // it says nothing: the tree is made in it, too
	}
	if err := os.RemoveAll(m.dir); err != nil { // before the next, larger one
		t.Fatal(err)
	}
}

// usage is a result with what it took.
type usage struct {
	result
	cpu  time.Duration
	peak float64 // MB
}

func (m *machine) measured(arguments ...string) usage {
	m.t.Helper()
	c := m.command(arguments...)
	r := finish(m.t, c)
	if r.code != 0 {
		m.t.Fatalf("exit code 0 expected: %v", r)
	}
	u := usage{result: r, cpu: c.ProcessState.UserTime() + c.ProcessState.SystemTime()}
	if rusage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = float64(rusage.Maxrss) / 1024
	}
	return u
}

// plantMany makes small files of different content that compresses by about half, a hundred to a directory, a hundred directories to
// another, and returns their bytes.
func plantMany(t testing.TB, root string, files int) (bytes int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(files), 7))
	const digits = "0123456789abcdef"
	content := make([]byte, 4096)
	for i := range files {
		dir := filepath.Join(root, fmt.Sprintf("%03d", i/10_000), fmt.Sprintf("%02d", i/100%100))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		size := 200 + rng.IntN(len(content)-200)
		for j := range content[:size] {
			content[j] = digits[rng.IntN(len(digits))]
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%02d.txt", i%100)), content[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		bytes += size
	}
	return bytes
}
