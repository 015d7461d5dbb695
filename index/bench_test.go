package index

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
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
// CAIRN_BENCH_BLOBS sets another number of blobs.
func BenchmarkMillion(b *testing.B) {
	blobs := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("CAIRN_BENCH_BLOBS")); err == nil {
		blobs = n
	}
	for b.Loop() {
		million(b, filepath.Join(b.TempDir(), "index"), blobs)
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
	const perColumn, perSegment = 20, 20_000
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
		cols := benchColumns(first, perSegment, perColumn)
		start = cpu()
		if err := x.Apply(packID(-first), cols); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - start
		anon = max(anon, memory("RssAnon"))
		if first/perSegment%5 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			live = max(live, float64(m.HeapAlloc)/(1<<20))
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
	out, has := make([]pack.Location, len(hits)), make([]bool, len(hits))
	start = cpu()
	for _, c := range []struct {
		what string
		ids  []chunk.ID
	}{{"first", hits}, {"hit", hits}, {"miss", misses}} {
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
	if err := x.Apply(packID(-1), benchColumns(blobs, 1000, perColumn)); err != nil {
		b.Fatal(err)
	}
	lap("apply-1000", 1000)
	benchClose(b, x)
	lap("close-again", 0)
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
