package prune

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// measure opens, looks up and collects.
func (m *machine) measure(lookups int) {
	ctx := m.b.Context()
	var a *archive.Archive
	l := &laps{b: m.b, profile: os.Getenv("CAIRN_PROFILE")}
	l.run("open", func() { a = m.open(ctx) })
	l.run("hits", func() { m.lookUp(ctx, a, lookups, 256, 0) })
	l.run("misses", func() { m.lookUp(ctx, a, lookups, 256, m.made.Blobs) })
	l.run("hits in order", func() { m.lookUp(ctx, a, 10*lookups, referBatch, 0) })
	first, err := chunk.ParseID(m.made.First)
	m.must(err)
	l.run("forget", func() {
		_, err := a.Forget(ctx, []chunk.ID{first}, archive.Record{Time: fixed})
		m.must(err)
	})
	r := m.collect(ctx, a, l, "")
	if r.Deleted.Packs == 0 || r.Copied == 0 || r.TreesRead != r.Trees {
		m.b.Errorf("%+v", r)
	}
	r = m.collect(ctx, a, l, "again: ")
	if r.TreesRead > 0 || r.Unneeded.Packs > 0 {
		m.b.Errorf("%+v", r)
	}
	l.run("close", func() { m.must(a.Close()) })
	l.report()
}

// lookUp asks for n random blobs from a number on, in batches: small ones as a backup does with the blobs of a file that it takes over, large ones as the
// marker does. Where the index is longer than what memory there is, small ones wait for the disk.
func (m *machine) lookUp(ctx context.Context, a *archive.Archive, n, batch, from int) {
	idx, err := a.Index(ctx)
	m.must(err)
	rng := rand.New(rand.NewPCG(1, 2))
	ids, live := make([]chunk.ID, min(n, batch)), make([]pack.ID, min(n, batch))
	for ; n > 0; n -= len(ids) {
		for i := range ids {
			ids[i] = chunk.Sum(benchBlob(from + rng.IntN(m.made.Blobs)))
		}
		m.must(idx.Live(chunk.Data, ids, live))
		for _, id := range live {
			if (id != pack.ID{}) != (from == 0) {
				m.b.Fatalf("looked up from %d: %s", from, id)
			}
		}
	}
}

// stepNames are the laps of a collection.
var stepNames = map[step]string{
	firstMark: "list and mark", firstRecords: "records", firstIndex: "index", choosing: "count and choose", copyFirst: "copy", nameFirst: "name",
	condemning: "condemn", thenMark: "mark again", thenRecords: "records", thenIndex: "index", copyOut: "copy", nameCopies: "name", unnaming: "unname", deleting: "delete",
}

// collect is run, step by step.
func (m *machine) collect(ctx context.Context, a *archive.Archive, l *laps, prefix string) *Report {
	var g *Prune
	l.run(prefix+"begin", func() {
		var err error
		g, err = Begin(ctx, a, Options{Limits: Limits{MaxUnused: DefaultMaxUnused}, Target: benchTarget})
		m.must(err)
	})
	var c Collection
	for !c.Done() {
		l.run(prefix+stepNames[c.at], func() { m.must(c.Step(ctx, g)) })
	}
	l.run(prefix+"fold and end", func() {
		m.must(g.Fold(ctx))
		m.must(g.extend(ctx, time.Now))
		g.End()
	})
	r := g.Report()
	m.b.Logf("%s%d of %d blobs needed, %d of %d trees read, %d of %d packs deleted, %d blobs copied out of %d packs, %d of %d index packs replaced", prefix,
		r.Needed, r.Blobs, r.TreesRead, r.Trees, r.Deleted.Packs, r.Total.Packs, r.Copied, r.Repacked.Packs, r.Segments, r.Index.Packs)
	return r
}

// laps measures time, processor time and memory of one step after the other. Mapped files are page cache, which the kernel takes back: what counts is
// the peak of anonymous memory.
type laps struct {
	b       testing.TB
	profile string
	list    []*lap
	heap    uint64 // most that was in use
}

type lap struct {
	name      string
	took, cpu time.Duration
	anon, rss int64 // KB
}

func (l *laps) run(name string, fn func()) {
	var at *lap
	for _, old := range l.list {
		if old.name == name {
			at = old
		}
	}
	if at == nil {
		at = &lap{name: name}
		l.list = append(l.list, at)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			anon, rss := resident()
			at.anon, at.rss = max(at.anon, anon), max(at.rss, rss)
			l.snap(name)
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	start, before := time.Now(), processorTime()
	fn()
	at.took += time.Since(start)
	at.cpu += processorTime() - before
	close(done)
	wg.Wait()
}

// snap writes a heap profile when more is in use than before.
func (l *laps) snap(name string) {
	if l.profile == "" {
		return
	}
	var stats runtime.MemStats
	if runtime.ReadMemStats(&stats); stats.HeapInuse <= l.heap+l.heap/20 {
		return
	}
	l.heap = stats.HeapInuse
	var heap bytes.Buffer
	_ = pprof.Lookup("heap").WriteTo(&heap, 0)
	_ = os.WriteFile(filepath.Join(l.profile, "heap "+strings.ReplaceAll(name, ":", "")+".pprof"), heap.Bytes(), 0o600)
}

// report logs a table, and gives a benchmark the sums.
func (l *laps) report() {
	var text strings.Builder
	all := lap{name: "all"}
	for _, at := range l.list {
		all.took, all.cpu, all.anon, all.rss = all.took+at.took, all.cpu+at.cpu, max(all.anon, at.anon), max(all.rss, at.rss)
	}
	for _, at := range append(l.list, &all) {
		fmt.Fprintf(&text, "\n%-24s %9.2f s %9.2f s cpu %6d MB anonymous %6d MB resident", at.name, at.took.Seconds(), at.cpu.Seconds(), at.anon/1000, at.rss/1000)
	}
	l.b.Log(text.String())
	if b, ok := l.b.(*testing.B); ok {
		b.ReportMetric(all.cpu.Seconds(), "cpu-s")
		b.ReportMetric(float64(all.anon)/1e3, "anon-MB")
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident memory in KB, of which some is anonymous.
func resident() (anon, all int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscan(rest, &anon)
		}
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &all)
		}
	}
	return anon, all
}
