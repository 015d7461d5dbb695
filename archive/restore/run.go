package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/snapshot"
)

// run is one restore.
type run struct {
	books
	src     Source
	o       Options
	prefix  string // of paths in the snapshot: what Options.Path names, "" for the root
	root    bool   // privileged: may own files to others
	dirs    dirs
	fds     fdCache
	owners  owners
	lacking map[string]struct{} // Options.Unread
	mounts  []*dir              // directories at which other file systems begin, for syncfs
	links   map[snapshot.LinkID]*linked

	written, unchanged atomic.Uint64 // bytes of content
	buffers            sync.Pool     // of *[]byte, to read back into

	stack []*dir // from the target to the directory that is walked
	batch batch
}

// Run restores. It returns an error when nothing more could be done: the target cannot be used, the disk is full, the
// archive cannot be reached, ctx ended. What concerns single entries is in the report, which is never nil:
// with Failed > 0 the result is not complete.
func Run(ctx context.Context, src Source, root Root, o Options) (*Report, error) {
	r := newRun(src, o)
	if o.Delete && len(o.Roots) == 0 {
		return r.report(), errors.New("delete needs to know which paths were backed up")
	}
	if o.Delete && !o.InPlace {
		return r.report(), errors.New("delete goes with in-place only")
	}
	defer r.dirs.close()
	err := r.restore(ctx, root)
	return r.report(), err
}

func newRun(src Source, o Options) *run {
	o = o.applyDefaults()
	r := &run{src: src, o: o, root: os.Geteuid() == 0, links: map[snapshot.LinkID]*linked{}}
	r.warn, r.act, r.bad = o.Warn, o.Action, o.Fail
	limit := openLimit()
	r.dirs.max = min(max(limit/8, 8), 512)
	r.fds.max = min(max(limit/8, 8), 256)
	r.batch.init(o.MemoryLimit)
	if o.Delete && len(o.Unread) > 0 {
		r.lacking = make(map[string]struct{}, len(o.Unread))
		for _, p := range o.Unread {
			r.lacking[cleanPath(p)] = struct{}{}
		}
	}
	return r
}

// report returns what was collected.
func (r *run) report() *Report {
	rep := r.books.report()
	rep.BytesWritten, rep.BytesUnchanged = r.written.Load(), r.unchanged.Load()
	return rep
}

func (r *run) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	plain, err := r.src.Load(ctx, chunk.Tree, id)
	if err != nil && !lost(err) {
		return nil, fatal{err}
	}
	return plain, err
}

func (r *run) restore(ctx context.Context, root Root) error {
	n, err := snapshot.Find(ctx, r.load, root.Content, root.Depth, r.o.Path)
	if err != nil {
		return err
	}
	single := n.Type != snapshot.Dir
	base := r.o.Path
	if single {
		base = path.Dir(base)
	}
	if base != "/" {
		r.prefix = base
	}
	target, err := r.openTarget(base, single)
	if err != nil {
		return fmt.Errorf("target %s: %w", r.o.Target, err)
	}
	r.stack = []*dir{target}
	if single {
		err = r.step(ctx, "/"+n.Name, n)
	} else {
		if r.adopts(target) && r.o.Path != "/" {
			target.node = n
		}
		if n.Error != "" {
			r.warning(WarnUnreadable, r.o.Path, fmt.Errorf("%w: %s", errBackup, n.Error))
			target.deletable = false
		}
		w := snapshot.Walker{Load: r.load, OnError: r.treeError}
		if r.o.Includes == nil { // otherwise most of it may be passed over
			w.Ahead = r.src.Ahead
		}
		err = w.Walk(ctx, n.Content, n.Depth, func(path string, n *snapshot.Node) error { return r.step(ctx, path, n) })
	}
	if err == nil {
		r.leave(0)
		r.meet(target, "")
		r.batch.ends = append(r.batch.ends, target)
		err = r.flush(ctx, true)
	}
	if err != nil {
		r.abandon()
		return err
	}
	return r.sync()
}

// openTarget opens the target, makes it when it is not there, and notes what it was.
func (r *run) openTarget(base string, single bool) (*dir, error) {
	d := &dir{at: base, selected: r.o.Includes == nil, state: dirOpen, deletable: !single && r.mayDelete(base), inherits: true}
	fd, err := openTarget(r.o.Target)
	if errors.Is(err, unix.ENOENT) {
		if r.o.DryRun {
			d.state, d.fresh = dirAbsent, true
			return d, nil
		}
		// Directories above the target are the user's own, with the mode that the umask gives.
		if err = os.MkdirAll(r.o.Target, 0o755); err == nil {
			fd, err = openTarget(r.o.Target)
			d.fresh = true
		}
	}
	if err != nil {
		return nil, err
	}
	if d.was, err = statFd(fd); err != nil {
		closeFd(fd)
		return nil, err
	}
	r.dirs.add(d, fd, d.was.id)
	if err := r.listExisting(d, fd); err != nil {
		return nil, err
	}
	r.mounts = append(r.mounts, d)
	return d, nil
}

// adopts says whether the target becomes the recorded directory with its owner, mode and times: a restore into /tmp
// must not close /tmp.
func (r *run) adopts(target *dir) bool {
	if target.fresh || r.o.InPlace {
		return true
	}
	fd, err := r.dirs.use(target)
	if err != nil {
		return false
	}
	defer r.dirs.release(target)
	empty, err := isEmptyDir(fd)
	return err == nil && empty
}

// mayDelete says whether the snapshot tells all that was in the directory at path.
func (r *run) mayDelete(path string) bool {
	if !r.o.Delete {
		return false
	}
	return slices.ContainsFunc(r.o.Roots, func(root string) bool { return below(path, root) }) && !r.unread(path)
}

// unread says whether path is among what could not be read at backup time, or below it.
func (r *run) unread(path string) bool {
	for len(r.lacking) > 0 {
		if _, ok := r.lacking[path]; ok {
			return true
		}
		i := strings.LastIndexByte(path, '/')
		if i <= 0 {
			_, ok := r.lacking["/"]
			return ok
		}
		path = path[:i]
	}
	return false
}

// below says whether path is dir or lies below it.
func below(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// sync makes everything durable: one call for each file system instead of one for each file.
func (r *run) sync() error {
	if r.o.DryRun {
		return nil
	}
	for _, d := range r.mounts {
		fd, err := r.dirs.use(d)
		if err != nil {
			return err
		}
		err = unix.Syncfs(fd)
		r.dirs.release(d)
		if err != nil {
			return fmt.Errorf("sync %s: %w", r.o.Target, err)
		}
	}
	return nil
}
