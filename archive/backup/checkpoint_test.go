package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

// expectCheckpoint checks that a checkpoint names nothing that is not stored, and that what it calls whole is what is on disk. It
// returns the nodes that it has.
func (s *store) expectCheckpoint(t testing.TB, snap *snapshot.Snapshot) map[string]*snapshot.Node {
	t.Helper()
	if !snap.Checkpoint || !snap.Partial || snap.Pinned || !snap.Expires.IsZero() {
		t.Errorf("checkpoint %v, partial %v, pinned %v, expires %v", snap.Checkpoint, snap.Partial, snap.Pinned, snap.Expires)
	}
	for i, path := range snap.Paths {
		if snap.Errors[i].Path != path {
			t.Errorf("%s does not count as unread", path)
		}
	}
	nodes := s.tree(t, snap)
	for path, n := range nodes {
		if n.Type != snapshot.File {
			continue
		}
		got := s.bytesOf(t, n)
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n.Error == "" && !bytes.Equal(got, want) || !bytes.HasPrefix(want, got) {
			t.Errorf("%q (error %q): %d bytes in the checkpoint are not those of the file", path, n.Error, len(got))
		}
	}
	return nodes
}

// expectSame compares what a snapshot has below root with a backup without checkpoints.
func (s *store) expectSame(t testing.TB, snap *snapshot.Snapshot, root string, o Options) {
	t.Helper()
	other := newStore()
	want, got := other.tree(t, mustRun(t, other, o).Snapshot), s.tree(t, snap)
	for dir := range want {
		if !strings.HasPrefix(dir, root) {
			delete(want, dir)
			delete(got, dir)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the tree differs from one without checkpoints:\n%s", d)
	}
}

// pause makes o call for a checkpoint when a file has been read up to offset, and wait for it.
func pause(s *store, o *Options, path string, offset int64) {
	nudge := make(chan struct{})
	s.shown = make(chan *snapshot.Snapshot, 1)
	o.nudge = nudge
	var once sync.Once
	o.fault = func(op, at string, from int64) error {
		if op == "read" && at == path && from >= offset {
			once.Do(func() {
				nudge <- struct{}{}
				select {
				case <-s.shown:
				case <-time.After(20 * time.Second): // the test then finds no checkpoint
				}
			})
		}
		return nil
	}
}

// TestCheckpoint makes a checkpoint while a large file is read.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "a/done"), noise(1, 3000))
	write(t, filepath.Join(root, "a/deep/also"), noise(2, 100))
	write(t, filepath.Join(root, "b/before"), "small")
	large := filepath.Join(root, "b/large")
	write(t, large, noise(3, 4<<20))
	check(t, os.Symlink("nowhere", filepath.Join(root, "b/link")))
	s := newStore()
	o := testOptions(t, root)
	o.Concurrency, o.Pinned, o.Expires = 1, true, snapshot.Time{Sec: 1 << 40}
	pause(s, &o, large, 3<<20)
	report := mustRun(t, s, o)
	if len(s.checkpoints) != 1 {
		t.Fatalf("%d checkpoints", len(s.checkpoints))
	}
	nodes := s.expectCheckpoint(t, s.checkpoints[0])
	n := nodes[large]
	if n == nil || n.Error != unfinished || n.Size > 3<<20+readStep { // how much is saved by then depends on the machine
		t.Errorf("large file in the checkpoint: %+v", n)
	}
	if b := nodes[filepath.Join(root, "b")]; b == nil || b.Mode&0o700 != 0o700 {
		t.Errorf("directory in the checkpoint: %+v", b)
	}
	for _, name := range []string{"b/before", "b/link"} {
		if n := nodes[filepath.Join(root, name)]; n == nil || n.Error != "" {
			t.Errorf("%s in the checkpoint: %+v", name, n)
		}
	}
	s.expect(t, report.Snapshot, root)
	if !report.Snapshot.Pinned || report.Snapshot.Expires != o.Expires || report.Snapshot.Checkpoint || report.Snapshot.Partial {
		t.Errorf("the snapshot itself: %+v", report.Snapshot)
	}
	s.expectSame(t, report.Snapshot, root, testOptions(t, root))
}

// TestCheckpointSparse: what was read of a file with holes lies where it lies in the file.
func TestCheckpointSparse(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "sparse")
	f, err := os.Create(path)
	check(t, err)
	for i := range int64(8) {
		_, err := f.WriteAt([]byte(noise(uint64(i+1), 512<<10)), i<<20)
		check(t, err)
	}
	check(t, f.Truncate(10<<20))
	check(t, f.Close())
	s := newStore()
	o := testOptions(t, root)
	pause(s, &o, path, 5<<20)
	report := mustRun(t, s, o)
	if len(s.checkpoints) != 1 {
		t.Fatalf("%d checkpoints", len(s.checkpoints))
	}
	n := s.expectCheckpoint(t, s.checkpoints[0])[path]
	if n == nil || n.Error != unfinished {
		t.Fatalf("file with holes in the checkpoint: %+v", n)
	}
	// What was read and not saved yet when it was made is not in it: on a busy machine that may be much.
	if whole := s.tree(t, report.Snapshot)[path]; len(whole.Holes) > 0 && n.Size > 1<<20 && len(n.Holes) == 0 {
		t.Errorf("no holes in the checkpoint, %d in the file", len(whole.Holes))
	}
	s.expect(t, report.Snapshot, root)
}

// TestCheckpointsAllTheTime makes one checkpoint after the other while a tree of all kinds is walked.
func TestCheckpointsAllTheTime(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 400 {
		size := 10 + i
		if i%40 == 0 {
			size = 300 << 10
		}
		write(t, filepath.Join(root, fmt.Sprintf("d%d/e%d/f%d", i%7, i%3, i)), noise(uint64(i), size))
	}
	check(t, os.Link(filepath.Join(root, "d0/e0/f0"), filepath.Join(root, "d1/linked")))
	s := newStore()
	o := testOptions(t, filepath.Join(root, "d0"), filepath.Join(root, "d1/e1"), filepath.Join(root, "d2"), filepath.Join(root, "d3"))
	o.fault = func(op, path string, offset int64) error { time.Sleep(100 * time.Microsecond); return nil }
	nudge, over := make(chan struct{}), make(chan struct{})
	o.nudge = nudge
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case nudge <- struct{}{}:
				time.Sleep(3 * time.Millisecond)
			case <-over:
				return
			}
		}
	})
	report := mustRun(t, s, o)
	close(over)
	wg.Wait()
	most := 0
	for i, snap := range s.checkpoints {
		if i%(1+len(s.checkpoints)/20) > 0 { // to look at all takes seconds
			continue
		}
		most = max(most, len(s.expectCheckpoint(t, snap)))
	}
	if len(s.checkpoints) < 3 || most < 20 {
		t.Errorf("%d checkpoints, the largest of %d nodes", len(s.checkpoints), most)
	}
	t.Logf("%d checkpoints, the largest of %d nodes", len(s.checkpoints), most)
	s.expectSame(t, report.Snapshot, root, testOptions(t, o.Paths...))
}

// TestCheckpointRefused: a checkpoint that fails is a warning.
func TestCheckpointRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	large := filepath.Join(root, "large")
	write(t, large, noise(3, 1<<20))
	s := newStore()
	o := testOptions(t, root)
	pause(s, &o, large, 1<<19)
	s.refuse = func(snap *snapshot.Snapshot) error {
		s.shown <- snap
		return errors.New("no room")
	}
	report := mustRun(t, s, o)
	want := []snapshot.ReadError{{Path: checkpointPath, Message: "no room"}}
	if d := cmp.Diff(want, report.Warnings); d != "" || report.Incomplete {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
	s.expect(t, report.Snapshot, root)
}

// TestCheckpointDue: after so much time or so many bytes, and not without new data.
func TestCheckpointDue(t *testing.T) {
	t.Parallel()
	r := &run{o: Options{CheckpointEvery: time.Minute, CheckpointBytes: 1000}}
	for _, c := range []struct {
		since  time.Duration
		stored int64
		want   bool
	}{{time.Second, 999, false}, {time.Minute, 1, true}, {time.Second, 1000, true}} {
		if got := r.due(c.since, c.stored); got != c.want {
			t.Errorf("after %v and %d bytes: %v", c.since, c.stored, got)
		}
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "large"), noise(3, 1<<20))
	s := newStore()
	o := testOptions(t, root)
	o.CheckpointEvery = time.Millisecond
	var once sync.Once
	o.fault = func(op, path string, offset int64) error {
		if op == "read" && offset >= 1<<19 {
			once.Do(func() { time.Sleep(4500 * time.Millisecond) }) // it is looked at four times, and at least twice nothing is new
		}
		return nil
	}
	mustRun(t, s, o)
	n := len(s.checkpoints) // one; on a busy machine a chunk may come to be saved after the first
	if n < 1 || n > 2 {
		t.Errorf("%d checkpoints of a backup that stands still", n)
	}
	o.CheckpointEvery, o.Force = -1, true
	o.fault = nil
	mustRun(t, s, o)
	if len(s.checkpoints) != n {
		t.Error("a checkpoint although there were to be none")
	}
}

// TestCheckpointOfStream makes a checkpoint of a dump that does not come to its end.
func TestCheckpointOfStream(t *testing.T) {
	t.Parallel()
	s := newStore()
	s.shown = make(chan *snapshot.Snapshot, 1)
	nudge := make(chan struct{})
	o := testOptions(t)
	o.nudge = nudge
	data := noise(9, 1<<20)
	o.Progress = new(Progress)
	src, w := io.Pipe()
	go func() {
		io.WriteString(w, data)
		for range 10_000 { // until most of it is saved
			if o.Progress.BytesNew.Load() > 1<<19 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		nudge <- struct{}{}
		<-s.shown
		w.CloseWithError(errors.New("the server went away"))
	}()
	if _, err := RunStream(t.Context(), s, o, "dumps/all.sql", src, nil); err == nil {
		t.Fatal("no error")
	}
	if len(s.checkpoints) != 1 || len(s.commits) != 0 {
		t.Fatalf("%d checkpoints, %d commits", len(s.checkpoints), len(s.commits))
	}
	n := s.tree(t, s.checkpoints[0])["/dumps/all.sql"]
	if n == nil || n.Error != unfinished || n.Size == 0 || !strings.HasPrefix(data, string(s.bytesOf(t, n))) {
		t.Errorf("the stream in the checkpoint: %+v", n)
	}
}

// lose removes blobs as a collector would that did not see the backup coming.
func (s *store) lose(lost func(key blobKey, plain []byte) bool) (n int) {
	for key, plain := range s.blobs {
		if lost(key, plain) {
			delete(s.blobs, key)
			n++
		}
	}
	return n
}

// TestWalkAgain: what was lost before the commit is read again, and nothing else.
func TestWalkAgain(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 100 {
		write(t, filepath.Join(root, fmt.Sprintf("d%d/f%d", i%10, i)), noise(uint64(i), 2000))
	}
	marked := noise(777, 2000)
	write(t, filepath.Join(root, "d3/lost"), marked)
	s := newStore()
	s.commit = func(s *store, n int) error {
		if n > 2 {
			return nil
		}
		lost := s.lose(func(key blobKey, plain []byte) bool {
			return key.t == chunk.Data && bytes.Contains([]byte(marked), plain) || n == 2 && key.t == chunk.Tree
		})
		if lost == 0 {
			t.Errorf("commit %d: nothing to lose", n)
		}
		return fmt.Errorf("commit: %w", archive.ErrStoreAnew)
	}
	o := testOptions(t, root)
	o.Cache = newCache()
	report := mustRun(t, s, o)
	if len(s.commits) != 3 {
		t.Fatalf("%d commits", len(s.commits))
	}
	s.expect(t, report.Snapshot, root)
	if report.Files != (Changes{New: 101}) || report.BytesRead != 101*2000+2*2000 || report.WarningCount != 1 {
		t.Errorf("files %+v, %d bytes read, warnings %v", report.Files, report.BytesRead, report.Warnings)
	}
	if got := report.Snapshot.Stats[snapshot.StatFilesTotal]; got != 101 || report.Bytes != 101*2000 {
		t.Errorf("%d files, %d bytes in all", got, report.Bytes)
	}
	if p := report.Snapshot; p.Start != s.commits[0].Start || p.End.Compare(s.commits[0].End) < 0 {
		t.Errorf("times %v to %v, of the first walk %v to %v", p.Start, p.End, s.commits[0].Start, s.commits[0].End)
	}
}

// TestWalkAgainForEver: a backup gives up when prunes keep taking away what it stores.
func TestWalkAgainForEver(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "f"), "x")
	s := newStore()
	s.commit = func(*store, int) error { return archive.ErrStoreAnew }
	if _, err := Run(t.Context(), s, testOptions(t, root)); !errors.Is(err, archive.ErrStoreAnew) || remote.Hint(err) == "" {
		t.Errorf("error %v", err)
	}
	if len(s.commits) != 1+maxAgain {
		t.Errorf("%d commits", len(s.commits))
	}
	_, err := RunStream(t.Context(), s, testOptions(t), "dump", strings.NewReader("data"), nil)
	if !errors.Is(err, archive.ErrStoreAnew) || !strings.Contains(err.Error(), "second time") || remote.Hint(err) == "" {
		t.Errorf("stream: %v", err)
	}
	if len(s.commits) != 2+maxAgain {
		t.Errorf("%d commits: a stream was committed again", len(s.commits))
	}
}

var _ Checkpointer = (*store)(nil)
var _ Checkpointer = (*archive.Writer)(nil)
