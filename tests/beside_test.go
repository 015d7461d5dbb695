package tests

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/archive/prune"
	"cairn/archive/repair"
	"cairn/archive/restore"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/remote"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// living is an archive over memory in which somebody backs up, forgets and prunes all the time: each snapshot holds the files of the one
// before but for one that is gone and one that is new, only the last few are kept, and prune leaves no garbage. So the blobs
// of a snapshot are copied out of their packs again and again, and in the end deleted.
type living struct {
	t      *testing.T
	stores []remote.Store
	key    [32]byte
	keys   *seal.Keys

	rounds atomic.Int32
	mu     sync.Mutex
	files  map[chunk.ID]int // the number of the first file of each snapshot
}

// What an archive in which all is moved holds.
const (
	livingFiles  = 60 // of a snapshot
	livingKept   = 3  // snapshots
	livingChunk  = 3000
	livingChunks = 3
)

func newLiving(t *testing.T, k, m int) *living {
	t.Helper()
	l := &living{t: t, key: [32]byte{9}, files: map[chunk.ID]int{}}
	for range k + m {
		l.stores = append(l.stores, mem.New())
	}
	at := time.Unix(1_800_000_000, 0)
	_, err := archive.Init(t.Context(), l.members(), archive.InitOptions{Data: k, Parity: m, Now: at, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		slot, err := seal.NewKeyFileSlot(k, "one", l.key, at)
		return []*seal.Slot{slot}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *living) members() []archive.Member {
	var list []archive.Member
	for i, s := range l.stores {
		list = append(list, archive.Member{URL: fmt.Sprintf("/m%d", i), Store: s})
	}
	return list
}

// open opens the archive as another machine would, with an index of its own.
func (l *living) open() *archive.Archive {
	l.t.Helper()
	o := archive.Options{Credentials: []seal.Credential{{KeyFile: &l.key}}, OpenIndex: func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil }}
	var a *archive.Archive
	var err error
	if l.keys == nil {
		if a, err = archive.Open(l.t.Context(), l.members(), o); err == nil {
			l.keys = a.Keys()
		}
	} else {
		a, err = archive.OpenWithKeys(l.t.Context(), l.members(), l.keys, o)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { a.Close() })
	return a
}

func livingContent(file int) []byte {
	plain := make([]byte, livingChunk*livingChunks)
	rand.NewChaCha8([32]byte{byte(file), byte(file >> 8), 7}).Read(plain)
	return plain
}

func livingName(file int) string { return fmt.Sprintf("f%05d", file) }

// backup makes the snapshot of the files from first on, in directories of ten.
func (l *living) backup(ctx context.Context, a *archive.Archive, first int) (*snapshot.Snapshot, error) {
	w, err := a.NewWriter(ctx)
	if err != nil {
		return nil, err
	}
	s, err := l.fill(ctx, w, first)
	if err == nil {
		_, err = w.Commit(ctx, s)
	}
	for range 5 {
		if !errors.Is(err, archive.ErrStoreAnew) {
			break
		}
		if s, err = l.fill(ctx, w, first); err == nil {
			_, err = w.Commit(ctx, s)
		}
	}
	if err != nil {
		return nil, errors.Join(err, w.Suspend(ctx))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[s.ID] = first
	return s, nil
}

func (l *living) fill(ctx context.Context, w *archive.Writer, first int) (*snapshot.Snapshot, error) {
	save := func(t chunk.Type) snapshot.SaveFunc {
		return func(ctx context.Context, plain []byte) (chunk.ID, error) {
			s, err := w.Save(ctx, t, plain)
			return s.ID, err
		}
	}
	var top []snapshot.Node
	dirs := map[string][]snapshot.Node{}
	for file := first; file < first+livingFiles; file++ {
		plain := livingContent(file)
		n := snapshot.Node{Name: livingName(file), Type: snapshot.File, Mode: 0o600, Size: uint64(len(plain))}
		for c := range slices.Chunk(plain, livingChunk) {
			id, err := save(chunk.Data)(ctx, c)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, id)
		}
		dir := fmt.Sprintf("d%04d", file/10)
		dirs[dir] = append(dirs[dir], n)
	}
	for name, nodes := range dirs {
		n := snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o700}
		var err error
		if n.Content, n.Depth, err = snapshot.SaveTree(ctx, nodes, save(chunk.Tree)); err != nil {
			return nil, err
		}
		top = append(top, n)
	}
	slices.SortFunc(top, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	at := snapshot.Time{Sec: 1_800_000_000 + int64(first)}
	s := &snapshot.Snapshot{Series: "living", Start: at, End: at, Program: "test"}
	var err error
	s.Content, s.Depth, err = snapshot.SaveTree(ctx, top, save(chunk.Tree))
	return s, err
}

// live backs up, forgets and prunes until it is stopped.
func (l *living) live() (stop func()) {
	writer, collector := l.open(), l.open()
	var kept []chunk.ID
	round := func(ctx context.Context) error {
		s, err := l.backup(ctx, writer, int(l.rounds.Load()))
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if kept = append(kept, s.ID); len(kept) > livingKept {
			if _, err := collector.Forget(ctx, kept[:1], archive.Record{Program: "test"}); err != nil {
				return fmt.Errorf("forget: %w", err)
			}
			kept = kept[1:]
		}
		if _, err := prune.Run(ctx, collector, prune.Options{Target: 32 << 10, Program: "test"}); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
		l.rounds.Add(1)
		return nil
	}
	for range livingKept {
		if err := round(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := round(ctx); err != nil && ctx.Err() == nil {
				l.t.Errorf("round %d: %v", l.rounds.Load(), err)
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// while calls fn again and again while the archive lives, for so many rounds of it, but not for ever.
func (l *living) while(rounds int32, fn func(i int)) {
	stop := l.live()
	defer stop()
	begin, until := l.rounds.Load(), time.Now().Add(10*time.Second)
	for i := 0; !l.t.Failed() && (i < 3 || l.rounds.Load() < begin+rounds) && time.Now().Before(until); i++ {
		fn(i)
	}
	if n := l.rounds.Load() - begin; n == 0 {
		l.t.Error("nothing went on beside it")
	}
}

// pick returns a complete snapshot, and the number of its first file.
func (l *living) pick(a *archive.Archive, i int) (*snapshot.Snapshot, int) {
	list, damaged, err := a.Snapshots(l.t.Context())
	if err != nil || len(damaged) > 0 {
		l.t.Fatalf("list snapshots: %v, %v", err, damaged)
	}
	list = slices.DeleteFunc(list, func(s *snapshot.Snapshot) bool { return s.Incomplete })
	if len(list) == 0 {
		l.t.Fatal("no snapshot")
	}
	s := list[len(list)-1-i%len(list)]
	return s, int(s.Start.Sec - 1_800_000_000)
}

// gone says whether a snapshot was forgotten meanwhile: then what it needs may be lacking.
func (l *living) gone(a *archive.Archive, s *snapshot.Snapshot) bool {
	if _, err := a.Records(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	return a.Forgotten(s.ID)
}

// TestReadBeside reads in every way beside backups, forget and prune: what is not forgotten comes exactly.
func TestReadBeside(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		for name, read := range map[string]func(*living, *archive.Archive, *snapshot.Snapshot, int) error{
			"restore": (*living).restore, "dump": (*living).dump, "find": (*living).find, "diff": (*living).diff,
		} {
			t.Run(fmt.Sprintf("%s %d+%d", name, g[0], g[1]), func(t *testing.T) {
				t.Parallel()
				l := newLiving(t, g[0], g[1])
				a := l.open()
				whole := 0
				l.while(5, func(i int) {
					s, first := l.pick(a, i)
					err := read(l, a, s, first)
					if err == nil {
						whole++
					} else if !l.gone(a, s) {
						t.Errorf("snapshot %s of file %d in round %d: %v", s.ID.Short(), first, l.rounds.Load(), err)
					}
				})
				if whole == 0 {
					t.Error("nothing was read whole")
				}
			})
		}
	}
}

// restore restores in many small batches.
func (l *living) restore(a *archive.Archive, s *snapshot.Snapshot, first int) error {
	dir := l.t.TempDir()
	r, err := restore.Run(l.t.Context(), a, s.Root(), restore.Options{Target: dir, MemoryLimit: 1 << 14, NoOwner: true})
	if err != nil {
		return err
	}
	if r.Failed > 0 {
		return r.Failures[0].Err
	}
	for file := first; file < first+livingFiles; file++ {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("d%04d", file/10), livingName(file)))
		if err != nil || !bytes.Equal(got, livingContent(file)) {
			l.t.Errorf("file %d is another: %v", file, err)
		}
	}
	return os.RemoveAll(dir)
}

func (l *living) dump(a *archive.Archive, s *snapshot.Snapshot, first int) error {
	n, err := snapshot.Find(l.t.Context(), a.LoadTree, s.Content, s.Depth, "/")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := restore.DumpTar(l.t.Context(), a, n, "", &out); err != nil {
		return err
	}
	files := 0
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, livingContent(first+files)) {
			l.t.Errorf("file %d is another: %v", first+files, err)
		}
		files++
	}
	if files != livingFiles {
		l.t.Errorf("%d files", files)
	}
	return nil
}

// find walks over all trees, as find, ls and stats do.
func (l *living) find(a *archive.Archive, s *snapshot.Snapshot, first int) error {
	files := 0
	w := a.Walker()
	err := w.Walk(l.t.Context(), s.Content, s.Depth, func(_ string, n *snapshot.Node) error {
		if n.Type != snapshot.File {
			return nil
		}
		if n.Name != livingName(first+files) {
			l.t.Errorf("%s, want %s", n.Name, livingName(first+files))
		}
		files++
		return a.Sizes(l.t.Context(), chunk.Data, n.Content, make([]uint32, len(n.Content)))
	})
	if err == nil && files != livingFiles {
		l.t.Errorf("%d files", files)
	}
	return err
}

// diff compares with the newest snapshot.
func (l *living) diff(a *archive.Archive, s *snapshot.Snapshot, first int) error {
	newest, last := l.pick(a, 0)
	changes := 0
	err := snapshot.Diff(l.t.Context(), a.LoadTree, s.Root(), newest.Root(), func(c snapshot.Change) error {
		if c.Kind == snapshot.Added && c.B.Type == snapshot.File || c.Kind == snapshot.Removed && c.A.Type == snapshot.File {
			changes++
		}
		return nil
	})
	if err != nil && l.gone(a, newest) {
		return nil
	}
	if want := 2 * (last - first); err == nil && changes != want {
		l.t.Errorf("%d changes, want %d", changes, want)
	}
	return err
}

// TestCheckBeside checks and repairs beside backups, forget and prune: nothing is ever called damage, and nothing comes back.
func TestCheckBeside(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		for name, run := range map[string]func(*living, *archive.Archive){
			"check": func(l *living, a *archive.Archive) { l.check(a, false, check.Run) },
			"read":  func(l *living, a *archive.Archive) { l.check(a, true, check.Run) },
			"scrub": func(l *living, _ *archive.Archive) {
				bare, err := archive.Open(l.t.Context(), l.members(), archive.Options{})
				if err != nil {
					l.t.Fatal(err)
				}
				l.check(bare, true, check.Shards)
			},
			"repair": (*living).repair,
			"rebuild": func(l *living, a *archive.Archive) {
				r, err := a.RebuildIndex(l.t.Context(), archive.RebuildOptions{})
				if err != nil || len(r.Damaged) > 0 {
					l.t.Errorf("rebuild: %v, %+v", err, r)
				}
			},
		} {
			t.Run(fmt.Sprintf("%s %d+%d", name, g[0], g[1]), func(t *testing.T) {
				t.Parallel()
				l := newLiving(t, g[0], g[1])
				a := l.open()
				l.while(4, func(int) { run(l, a) })
				if t.Failed() {
					return
				}
				// When all is over, one more prune leaves an archive without any garbage.
				if _, err := prune.Run(t.Context(), l.open(), prune.Options{SessionAge: time.Nanosecond}); err != nil {
					t.Fatal(err)
				}
				r, err := check.Run(t.Context(), l.open(), check.Options{ReadData: true})
				if err != nil || r.Damaged+r.Unreferenced+r.Condemned+r.Forgotten+r.Waiting > 0 {
					t.Errorf("%v, %+v", err, r)
				}
			})
		}
	}
}

func (l *living) check(a *archive.Archive, readData bool, run func(context.Context, *archive.Archive, check.Options) (*check.Report, error)) {
	r, err := run(l.t.Context(), a, check.Options{ReadData: readData})
	if err != nil || r.Damaged+r.Unreachable+r.Waiting > 0 {
		l.t.Errorf("check: %v, %d damages: %v, notes %v", err, r.Damaged, r.Damages, r.Notes)
	}
}

func (l *living) repair(a *archive.Archive) {
	var found []string
	r, err := repair.Run(l.t.Context(), a, repair.Options{Found: func(f repair.Finding) { found = append(found, f.String()) }})
	if err != nil || !r.Whole() {
		l.t.Errorf("repair: %v, %+v: %s", err, r, strings.Join(found, "; "))
	}
}
