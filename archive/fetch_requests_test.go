package archive_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/restore"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// meter counts what is read of packs on all members.
type meter struct {
	mu            sync.Mutex
	requests      int
	bytes         int64
	now, most     int // requests under way
	names         map[string]int
	delay         time.Duration
	bytesNow, top int64
}

func (m *meter) reset(delay time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests, m.bytes, m.most, m.delay, m.top, m.names = 0, 0, 0, delay, 0, map[string]int{}
}

// metered is a member of which reads are counted and take a while.
type metered struct {
	remote.Store
	m *meter
}

func (s *metered) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if !strings.HasPrefix(name, "binaries/") {
		return s.Store.Get(ctx, name, off, n, dst)
	}
	m := s.m
	m.mu.Lock()
	m.requests++
	m.names[name]++
	m.now++
	m.most = max(m.most, m.now)
	m.bytesNow += max(n, 0)
	m.top = max(m.top, m.bytesNow)
	delay := m.delay
	m.mu.Unlock()
	time.Sleep(delay)
	b, err := s.Store.Get(ctx, name, off, n, dst)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now--
	m.bytesNow -= max(n, 0)
	m.bytes += int64(len(b))
	return b, err
}

// small is an archive of small files in small packs.
type small struct {
	t      *testing.T
	k, m   int
	stores []*mem.Store
	meter  meter
	key    [32]byte
	idx    *index.Map // shared by all openings: reading it is not what is counted
	root   snapshot.Root
	needed int64 // bytes of file data, sealed
	files  int
}

func newSmall(t *testing.T, k, m int) *small {
	t.Helper()
	s := &small{t: t, k: k, m: m, idx: index.NewMap()}
	rand.NewChaCha8([32]byte{3}).Read(s.key[:])
	for range k + m {
		s.stores = append(s.stores, mem.New())
	}
	_, err := archive.Init(t.Context(), s.members(""), archive.InitOptions{Data: k, Parity: m, Now: time.Unix(1_800_000_000, 0),
		Slots: func(keys *seal.Keys) ([]*seal.Slot, error) {
			slot, err := seal.NewKeyFileSlot(keys, "test", s.key, time.Unix(1_800_000_000, 0))
			return []*seal.Slot{slot}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// members names all but those whose number is in away.
func (s *small) members(away string) []archive.Member {
	var list []archive.Member
	for i, store := range s.stores {
		m := archive.Member{URL: fmt.Sprintf("store%d", i), Store: &metered{store, &s.meter}}
		if strings.Contains(away, fmt.Sprint(i)) {
			m.Store, m.Err = nil, remote.ErrUnavailable
		}
		list = append(list, m)
	}
	return list
}

func (s *small) open(away string) *archive.Archive {
	s.t.Helper()
	a, err := archive.Open(s.t.Context(), s.members(away), archive.Options{
		Credentials: []seal.Credential{{KeyFile: &s.key}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return kept{s.idx}, nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { a.Close() })
	if err := a.Refresh(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.meter.reset(0)
	return a
}

// kept is an index that outlives the archive.
type kept struct{ *index.Map }

func (kept) Close() error { return nil }

// fill backs up dirs directories of files each.
func (s *small) fill(dirs, files, size, columns int) {
	s.t.Helper()
	ctx := s.t.Context()
	w, err := s.open("").NewWriter(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	w.SetTarget(columns)
	source := rand.NewChaCha8([32]byte{9})
	rng := rand.New(source)
	save := func(t chunk.Type) snapshot.SaveFunc {
		return func(ctx context.Context, plain []byte) (chunk.ID, error) {
			saved, err := w.Save(ctx, t, plain)
			if t == chunk.Data {
				s.needed += int64(saved.Stored)
			}
			return saved.ID, err
		}
	}
	var top []snapshot.Node
	for i := range dirs {
		var in []snapshot.Node
		for j := range files {
			data := make([]byte, size/2+rng.IntN(size))
			source.Read(data)
			id, err := save(chunk.Data)(ctx, data)
			if err != nil {
				s.t.Fatal(err)
			}
			in = append(in, snapshot.Node{Name: fmt.Sprintf("f%04d", j), Type: snapshot.File, Mode: 0o600, Size: uint64(len(data)), Content: []chunk.ID{id}})
			s.files++
		}
		top = append(top, s.dir(fmt.Sprintf("d%04d", i), in, save(chunk.Tree)))
	}
	s.root.Content, s.root.Depth, err = snapshot.SaveTree(ctx, top, save(chunk.Tree))
	if err != nil {
		s.t.Fatal(err)
	}
	s.commit(w)
}

func (s *small) dir(name string, in []snapshot.Node, save snapshot.SaveFunc) snapshot.Node {
	s.t.Helper()
	content, depth, err := snapshot.SaveTree(s.t.Context(), in, save)
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o700, Content: content, Depth: depth}
}

var ticks struct {
	sync.Mutex
	n int64
}

func (s *small) commit(w *archive.Writer) {
	s.t.Helper()
	ticks.Lock()
	ticks.n++
	at := snapshot.Time{Sec: 1_800_000_000 + ticks.n}
	ticks.Unlock()
	snap := &snapshot.Snapshot{Start: at, End: at, Series: "test", Host: "here", Program: "test", Content: s.root.Content, Depth: s.root.Depth}
	if _, err := w.Commit(s.t.Context(), snap); err != nil {
		s.t.Fatal(err)
	}
}

// packs counts the packs and the bytes of their shards on one member.
func (s *small) packs() (n int, bytes int64) {
	s.t.Helper()
	for info, err := range s.stores[0].List(s.t.Context(), "binaries/") {
		if err != nil {
			s.t.Fatal(err)
		}
		n++
		bytes += info.Size
	}
	return n, bytes
}

// restore brings everything back, with memory for batches of 512 entries.
func (s *small) restore(a *archive.Archive) {
	s.t.Helper()
	report, err := restore.Run(s.t.Context(), a, s.root, restore.Options{Target: s.t.TempDir(), MemoryLimit: 1 << 20})
	if err != nil || report.Failed > 0 || report.Files != s.files {
		s.t.Fatalf("%+v, %v", report, err)
	}
}

// TestReadRequests: a restore of many small files in several batches reads each column of each pack once, and with m members away k
// shards of each pack.
func TestReadRequests(t *testing.T) {
	t.Parallel()
	s := newSmall(t, 4, 2)
	s.fill(30, 50, 3000, 32<<10)
	packs, shardBytes := s.packs()
	t.Logf("%d files, %d packs, %d bytes needed", s.files, packs, s.needed)
	if packs < 20 {
		t.Fatal("that is no test of anything")
	}
	// A tree pack is read in a few steps, and the first batch may end in the middle of a pack that seemed to be done.
	const more = 16
	a := s.open("")
	s.restore(a)
	if n := s.meter.requests; n > packs*4+more {
		t.Errorf("healthy: %d requests for %d packs of 4 columns", n, packs)
	}
	if n := s.meter.bytes; float64(n) > 1.05*float64(s.needed)+512<<10 { // and trees
		t.Errorf("healthy: %d bytes were read, %d are needed", n, s.needed)
	}
	healthy := s.meter.bytes
	for _, away := range []string{"03", "45"} {
		a := s.open(away)
		s.restore(a)
		if n := s.meter.requests; n > packs*4+2*more {
			t.Errorf("without %s: %d requests for %d packs of 4 columns", away, n, packs)
		}
		if n := s.meter.bytes; float64(n) > 1.15*float64(healthy) || n > 4*shardBytes+512<<10 {
			t.Errorf("without %s: %d bytes were read, and %d with all members", away, n, healthy)
		}
	}
}

// TestReadsUnderWay: where each request takes a while, many are under way, but not without bound.
func TestReadsUnderWay(t *testing.T) {
	t.Parallel()
	s := newSmall(t, 4, 2)
	s.fill(15, 30, 3000, 32<<10)
	a := s.open("")
	s.meter.reset(5 * time.Millisecond)
	s.restore(a)
	if n := s.meter.most; n < 12 || n > 64 {
		t.Errorf("%d requests were under way at once", n)
	}
	if s.meter.top > 64<<20 {
		t.Errorf("%d bytes were asked for at once", s.meter.top)
	}
}

// TestWalkReadsAhead: trees that many small backups left in as many packs are not read one after the other.
func TestWalkReadsAhead(t *testing.T) {
	t.Parallel()
	s := newSmall(t, 2, 1)
	const backups = 40
	var top []snapshot.Node
	for i := range backups {
		w, err := s.open("").NewWriter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		save := func(ctx context.Context, plain []byte) (chunk.ID, error) {
			saved, err := w.Save(ctx, chunk.Tree, plain)
			return saved.ID, err
		}
		var in []snapshot.Node
		for j := range 20 {
			in = append(in, snapshot.Node{Name: fmt.Sprintf("%03d-%03d", i, j), Type: snapshot.File, Mode: 0o600})
		}
		top = append(top, s.dir(fmt.Sprintf("d%03d", i), in, save))
		if s.root.Content, s.root.Depth, err = snapshot.SaveTree(t.Context(), top, save); err != nil {
			t.Fatal(err)
		}
		s.commit(w)
	}
	a := s.open("")
	s.meter.reset(2 * time.Millisecond)
	walker := a.Walker()
	nodes := 0
	if err := walker.Walk(t.Context(), s.root.Content, s.root.Depth, func(string, *snapshot.Node) error { nodes++; return nil }); err != nil {
		t.Fatal(err)
	}
	if nodes != backups*21 {
		t.Errorf("%d nodes", nodes)
	}
	if s.meter.most < 8 {
		t.Errorf("at most %d requests were under way", s.meter.most)
	}
	if s.meter.requests > 2*backups {
		t.Errorf("%d requests for %d packs of 2 columns", s.meter.requests, backups)
	}
}
