package index

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/pack"
)

// BenchmarkMillion gives the figures of the package documentation:
//
//	go test -run '^$' -bench Million -benchtime 1x ./index
//
// CAIRN_BENCH_BLOBS sets another number of blobs and CAIRN_BENCH_DIR another directory. docs/performance.md has the figures of 10^5, 10^6 and 10^7.
func BenchmarkMillion(b *testing.B) {
	blobs := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("CAIRN_BENCH_BLOBS")); err == nil {
		blobs = n
	}
	for b.Loop() {
		dir := b.TempDir()
		if d := os.Getenv("CAIRN_BENCH_DIR"); d != "" {
			dir = d
		}
		million(b, filepath.Join(dir, "index"), blobs)
	}
}

// randomID is the i-th of a fixed sequence of ids, much faster than a hash.
func randomID(i int) (id chunk.ID) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i))
	rand.NewChaCha8(seed).Read(id[:])
	return id
}

func million(b *testing.B, dir string, blobs int) {
	const perColumn, perSegment = 32, 32_000 // 312,500 packs for 10 million
	start := cpu()
	lap := func(what string, n int) {
		took := cpu() - start
		if n > 0 {
			b.ReportMetric(float64(took.Nanoseconds())/float64(n), what+"-ns/blob")
		} else {
			b.ReportMetric(float64(took.Microseconds())/1000, what+"-ms")
		}
		start = cpu()
	}
	x := benchOpen(b, dir)
	lap("create", 0)
	var spent time.Duration
	var anon, live float64 // anonymous memory; what of it is in use. Mapped files are page cache, which the kernel takes back.
	for first := 0; first < blobs; first += perSegment {
		cols := benchColumns(first, min(perSegment, blobs-first), perColumn)
		start = cpu()
		if err := x.Apply(packID(-first), cols); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - start
		anon = max(anon, memory("RssAnon"))
		if first/perSegment%5 == 0 {
			live = max(live, heap())
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(blobs), "apply-ns/blob")
	b.ReportMetric(anon, "anon-MB")
	b.ReportMetric(live, "live-MB")
	b.ReportMetric(memory("VmRSS"), "rss-MB")
	start = cpu()
	benchClose(b, x)
	lap("close", 0)
	x = benchOpen(b, dir)
	lap("reopen", 0)
	hits, misses := make([]chunk.ID, 100_000), make([]chunk.ID, 100_000)
	for i := range hits {
		hits[i], misses[i] = randomID(rand.IntN(blobs)), randomID(blobs+i)
	}
	out, has, packs := make([]pack.Location, len(hits)), make([]bool, len(hits)), make([]pack.ID, len(hits))
	start = cpu()
	for _, c := range []struct {
		what string
		ids  []chunk.ID
	}{{"first", hits}, {"hit", hits}, {"miss", misses}} {
		if err := x.Live(chunk.Data, c.ids, packs); err != nil {
			b.Fatal(err)
		}
		lap(c.what+"-live", len(hits))
		if err := x.Lookup(chunk.Data, c.ids, out); err != nil {
			b.Fatal(err)
		}
		lap(c.what, len(hits))
		for i := range c.ids {
			if err := x.Lookup(chunk.Data, c.ids[i:i+1], out[:1]); err != nil {
				b.Fatal(err)
			}
		}
		lap(c.what+"-single", len(hits))
		if err := x.Has(chunk.Data, c.ids, has); err != nil {
			b.Fatal(err)
		}
		lap(c.what+"-has", len(hits))
	}
	b.ReportMetric(heap(), "read-live-MB")
	b.ReportMetric(memory("RssAnon"), "read-anon-MB")
	start = cpu()
	collector(b, x, blobs, lap)
	s, err := x.Stats()
	if err != nil {
		b.Fatal(err)
	}
	lap("stats", 0)
	if s.Data != uint64(blobs) {
		b.Fatalf("%d blobs", s.Data)
	}
	b.ReportMetric(float64(s.Disk)/float64(blobs), "disk-B/blob")
	if err := x.Verify(); err != nil {
		b.Fatal(err)
	}
	lap("verify", 0)
	more := benchColumns(blobs, perSegment, perColumn)
	start = cpu()
	if err := x.Apply(packID(-1), more); err != nil {
		b.Fatal(err)
	}
	lap("apply-more", perSegment)
	start = cpu()
	benchClose(b, x)
	lap("close-again", 0)
}

// collector does what a collector does: it reads all copies, keeps and reads what trees refer to, condemns a hundredth of the
// packs and takes a segment back.
func collector(b *testing.B, x *Index, blobs int, lap func(what string, n int)) {
	n := 0
	for _, err := range x.Copies(chunk.Data) {
		if n++; err != nil {
			b.Fatal(err)
		}
	}
	lap("copies", n)
	b.ReportMetric(heap(), "copies-live-MB")
	trees := blobs / 30
	for i := range uint32(trees) {
		if err := x.PutTreeRefs(i+1, 0, benchRefs(i)[:3], benchRefs(i)[3:]); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.Flush(); err != nil {
		b.Fatal(err)
	}
	lap("put-refs", trees)
	for i := range uint32(trees) {
		if _, data, ok, err := x.TreeRefs(i+1, 0); err != nil || !ok || len(data) != 27 {
			b.Fatal(len(data), ok, err)
		}
	}
	lap("refs", trees)
	var condemned []pack.ID
	for p, err := range x.Packs() {
		if err != nil {
			b.Fatal(err)
		}
		if p.Number%100 == 0 {
			condemned = append(condemned, p.ID)
		}
	}
	lap("packs", 0)
	if err := x.Condemn(chunk.ID{1}, condemned); err != nil {
		b.Fatal(err)
	}
	lap("condemn", len(condemned))
	if err := x.Retire(packID(0)); err != nil {
		b.Fatal(err)
	}
	lap("retire", 0)
	if wasteful, err := x.Wasteful(); wasteful || err != nil {
		b.Fatal(wasteful, err)
	}
	lap("wasteful", 0)
	b.ReportMetric(memory("VmHWM"), "peak-rss-MB")
}

// benchRefs are what a tree refers to: blobs that were first seen at about the same time, and a few older ones.
func benchRefs(i uint32) []uint32 {
	list := make([]uint32, 30)
	for j := range list {
		list[j] = i*30 + uint32(j) + 1
		if j%5 == 0 {
			list[j] = i*uint32(j)/2 + 1
		}
	}
	slices.Sort(list[:3])
	slices.Sort(list[3:])
	for j := range list {
		if j > 0 && j != 3 && list[j] <= list[j-1] {
			list[j] = list[j-1] + 1
		}
	}
	return list
}

// heap returns what is in use, in MB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

func benchColumns(first, count, perColumn int) []pack.Column {
	var cols []pack.Column
	for i := first; i < first+count; i += perColumn {
		c := column(i, 0, chunk.Data, 0, 0)
		for j := i; j < i+perColumn; j++ {
			c.Entries = append(c.Entries, pack.Entry{ID: randomID(j), Offset: uint32(j), Stored: 1, Plain: 1})
		}
		c.Session = session(first % 1000)
		cols = append(cols, c)
	}
	return cols
}

func benchOpen(b *testing.B, dir string) *Index {
	x, err := Open(dir, Options{Notice: func(s string) { b.Errorf("notice: %s", s) }})
	if err != nil {
		b.Fatal(err)
	}
	return x
}

func benchClose(b *testing.B, x *Index) {
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpu is the processor time of this process: that of a busy machine is more to be relied on than wall time, and includes
// what Badger does in the background.
func cpu() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// memory returns a line of /proc/self/status in MB.
func memory(line string) float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), line+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.ParseFloat(fields[0], 64)
	return kb / 1024
}
