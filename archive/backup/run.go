package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

// queuedFiles is how far the walk may be ahead of the readers: enough that they do not wait for a cold directory, and
// a bound for the directories that wait for their files.
const queuedFiles = 256

// queuedChunks may wait for savers: enough that these have work while readers wait for a disk. Their bytes are bounded by buffers.
const queuedChunks = 64

// run is one backup.
type run struct {
	w Saver
	o Options

	tally        tally
	owners       owners
	handles      handles
	dirents      sync.Pool // *[]byte of direntBuffer
	links        links
	stack        stack
	front        frontier
	buffers      *buffers
	cutter       *chunk.Cutter // cloned by each reader
	rules        pattern.Bound
	markers      []marker
	cacheTrouble sync.Once // a broken cache is mentioned once

	files  chan job
	chunks chan pending
	lanes  chan struct{} // large files being read
	stamp  uint64        // of the records of the stat cache
	began  time.Time     // time stamps from then on are not trusted next time
	first  time.Time     // when the first walk began

	ways sync.Map // path of a directory on the way to a named one → its []snapshot.Node
	root snapshot.Root
	done bool // the last directory is, and root is set

	ofParts bool // one part of several: ways has the root directory, too, when all of it is backed up

	earlier *Report // of the first walk, when this is another one
}

// maxAgain is how often a backup walks again because a prune removed something that it had relied on. Each time takes a whole prune
// between the walk and the end of the commit.
const maxAgain = 5

func newRun(w Saver, o Options) (*run, error) {
	cutter, err := chunk.NewCutter(o.Params)
	if err != nil {
		return nil, err
	}
	r := &run{w: w, o: o, cutter: cutter, markers: o.markers(), began: o.clock()}
	r.first = r.began
	r.tally.warn, r.tally.progress = o.Warn, o.Progress
	r.stack.wake.L = &r.stack.mu
	r.stamp = uint64(r.began.UnixNano())
	// There are more readers, and more chunks may wait: they share what is enough for so many, because few files are as long as Params.Min.
	readers, queue := 2*o.Concurrency, 2*o.Concurrency
	budget := spend(o.MemoryLimit, o.Params, readers, queue, o.Concurrency)
	r.buffers = newBuffers(budget, o.Params.Max)
	r.files = make(chan job, queuedFiles)
	r.chunks = make(chan pending, queuedChunks)
	r.lanes = make(chan struct{}, budget.lanes)
	return r, nil
}

// Run backs up Options.Paths and commits a snapshot. What cannot be read is in the report and in the snapshot, and is
// no error; ErrNoPaths, a cancelled ctx and whatever the Saver fails with are, and then there is no snapshot.
func Run(ctx context.Context, w Saver, o Options) (*Report, error) {
	o, err := o.applyDefaults()
	if err != nil {
		return nil, err
	}
	paths, err := absolutePaths(o.Paths)
	if err != nil {
		return nil, err
	}
	r, err := newRun(w, o)
	if err != nil {
		return nil, err
	}
	for range maxAgain {
		report, err := r.walk(ctx, paths)
		if !errors.Is(err, archive.ErrStoreAnew) {
			return report, err
		}
		if r, err = r.again(paths, err); err != nil {
			return nil, err
		}
	}
	return r.walk(ctx, paths)
}

// walk backs up the paths once.
func (r *run) walk(ctx context.Context, paths []string) (*Report, error) {
	p, roots := makePlan(paths, func(path string, err error) { r.tally.fail(path, err) })
	if len(roots) == 0 {
		return nil, r.noPaths()
	}
	r.rules = r.o.Excludes.Bind(roots)
	if err := r.tree(ctx, p, paths); err != nil {
		return nil, err
	}
	return r.commit(ctx, paths, func() bool {
		parent := r.o.Parent
		return parent != nil && r.sameWay(ctx, "/", snapshot.Root{Content: parent.Content, Depth: parent.Depth})
	})
}

// again makes the run that walks once more after why. What is still stored is known from the stat cache of this one, so that only the rest
// is read. The report goes on counting what is read and stored, and keeps to what the first walk found changed.
func (r *run) again(paths []string, why error) (*run, error) {
	next, err := newRun(r.w, r.o)
	if err != nil {
		return nil, err
	}
	next.first, next.earlier = r.first, r.report()
	next.tally.carry(&r.tally)
	r.o.Progress.rewind()
	next.tally.note(paths[0], fmt.Errorf("walking again: %w", why))
	return next, nil
}

func (r *run) noPaths() error {
	if list := r.tally.errors.list; len(list) > 0 {
		return fmt.Errorf("%w: %s", ErrNoPaths, list[0].Message)
	}
	return fmt.Errorf("%w: none was given", ErrNoPaths)
}

// tree runs the pipeline of doc.go until the root directory is done.
func (r *run) tree(ctx context.Context, p *plan, paths []string) error {
	g, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	defer r.handles.closeAll()
	defer context.AfterFunc(ctx, r.stack.close)()

	r.stack.busy = 1 // the root is being listed
	r.stage(g, 1, func() error {
		defer r.stack.rest()
		return r.start(ctx, p)
	}, nil)
	r.stage(g, r.o.waiting(1), func() error { return r.walker(ctx) }, func() { close(r.files) })
	r.stage(g, r.o.waiting(2), func() error { return r.reader(ctx) }, func() { close(r.chunks) })
	r.stage(g, r.o.Concurrency, func() error { return r.saver(ctx) }, func() { close(done) })
	g.Go(func() error { return r.checkpoints(ctx, done, paths, r.frozenTree) })
	if err := g.Wait(); err != nil {
		return err
	}
	if !r.done {
		return errors.New("the walk ended before the root directory was done")
	}
	return nil
}

// stage starts n workers of one kind; the last to end calls after, which ends the next stage.
func (r *run) stage(g *errgroup.Group, n int, work func() error, after func()) {
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		g.Go(func() error {
			defer all.Done()
			return work()
		})
	}
	if after != nil {
		g.Go(func() error {
			all.Wait()
			after()
			return nil
		})
	}
}

// commit makes the snapshot of the finished root. same says that it equals the one before although the root differs.
func (r *run) commit(ctx context.Context, paths []string, same func() bool) (*Report, error) {
	report := r.report()
	s := r.snapshot(report, paths, r.root)
	report.Snapshot = s
	if r.o.SkipIfUnchanged && (r.unchanged() || same()) {
		report.Unchanged = true
		return report, nil
	}
	id, err := r.w.Commit(ctx, s)
	if err != nil {
		return nil, err
	}
	report.ID, s.ID = id, id
	report.End = r.now() // what was still on its way when the last file was read is part of it
	return report, nil
}

// now is the time by the clock that said when the backup began.
func (r *run) now() time.Time { return r.o.Time.Add(r.o.clock().Sub(r.first)) }

func (r *run) report() *Report {
	report := r.tally.report(r.o.Time, r.now())
	if e := r.earlier; e != nil {
		report.Files.since(e.Files)
		report.Dirs.since(e.Dirs)
		report.Others.since(e.Others)
	}
	return report
}

// snapshot makes the snapshot of a tree.
func (r *run) snapshot(report *Report, paths []string, root snapshot.Root) *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Content: root.Content, Depth: root.Depth,
		Start: snapshot.TimeOf(report.Start), End: snapshot.TimeOf(report.End),
		Series: r.o.Series, Host: r.o.Host, User: r.o.User, Source: r.o.Source, Role: r.o.Role, Component: r.o.Component,
		Paths: paths, Tags: r.o.Tags, Previous: r.o.PreviousID,
		Stats: report.stats(), Errors: report.Errors, Pinned: r.o.Pinned, Expires: r.o.Expires,
		Program: r.o.Program, Excludes: r.o.rules(), Description: r.o.Description,
	}
	_, s.ZoneOffset = report.Start.Zone()
	return s
}

func (r *run) unchanged() bool {
	return len(r.o.PreviousContent) > 0 && r.o.PreviousDepth == r.root.Depth &&
		slices.Equal(r.o.PreviousContent, r.root.Content)
}

// sameWay says whether a directory on the way to named paths leads to the same things as before. Its own times do not
// count: /tmp changes all the time without a change in /tmp/mine.
func (r *run) sameWay(ctx context.Context, path string, before snapshot.Root) bool {
	kept, ok := r.ways.Load(path)
	if !ok {
		return false
	}
	nodes, i := kept.([]snapshot.Node), 0
	for old, err := range snapshot.Nodes(ctx, r.o.Parent.Load, before.Content, before.Depth) {
		if err != nil || i == len(nodes) || !r.sameStep(ctx, path, old, &nodes[i]) {
			return false
		}
		i++
	}
	return i == len(nodes)
}

func (r *run) sameStep(ctx context.Context, path string, old, n *snapshot.Node) bool {
	if sameNode(old, n) {
		return true
	}
	return old.Name == n.Name && old.Type == snapshot.Dir && old.Mode == n.Mode && old.UID == n.UID && old.GID == n.GID &&
		r.sameWay(ctx, strings.TrimSuffix(path, "/")+"/"+n.Name, old.Root())
}
