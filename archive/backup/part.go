package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"cairn/snapshot"
)

// part reads a part by a run of its own and puts what it found into the tree.
func (g *group) part(ctx context.Context, i int) error {
	report := PartReport{Name: g.parts[i].Name, Began: g.now()}
	failed, err := g.begin(ctx, i)
	if err != nil {
		return err
	}
	p := &g.parts[i]
	report.Paths, report.Stream = g.names[i], p.File != ""
	o := g.options(p)
	o.Cache = ofPart(o.Cache, g.names[i])
	r, err := newRun(g.w, o)
	if err != nil {
		return err
	}
	r.ofParts = true
	shown := g.o.Progress
	read, fresh, stored := shown.BytesRead.Load(), shown.BytesNew.Load(), shown.BytesStored.Load()
	hollow := failed == nil && len(g.names[i]) == 0 // it only made other parts
	there := false
	switch {
	case failed != nil:
		failed = g.unbegun(r, i, failed)
	case !hollow:
		there, failed, err = g.take(ctx, r, i)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("part %s: %w", p.Name, err)
	}
	if failed != nil && !g.o.AllowPartial {
		return &PartError{p.Name, failed}
	}
	if failed != nil {
		report.Failed = snapshot.CleanText(short(failed))
	}
	if there && !p.virtual() {
		g.found++
	}
	report.Absent = !there && failed == nil && !hollow
	report.Ended = g.now()
	report.Files, report.Bytes = r.tally.changes[0].Total(), r.tally.bytes
	report.BytesRead = uint64(shown.BytesRead.Load() - read)
	report.BytesNew = uint64(shown.BytesNew.Load() - fresh)
	report.BytesStored = uint64(shown.BytesStored.Load() - stored)
	report.Errors, report.Warnings = r.tally.errors.sorted(), r.tally.warnings.sorted()
	g.tally.absorb(&r.tally)
	g.done = append(g.done, report)
	return nil
}

// begin lets the part make what it is about. failed says why it could not.
func (g *group) begin(ctx context.Context, i int) (failed, err error) {
	p := &g.parts[i]
	if p.Begin == nil {
		return nil, nil
	}
	more, failed := p.Begin(ctx)
	if failed != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if failed != nil || len(more) == 0 {
		return failed, nil
	}
	names := make([][]string, len(more))
	for k := range more {
		if names[k], err = more[k].check(); err != nil {
			return nil, &PartError{p.Name, err}
		}
	}
	g.parts, g.names = slices.Insert(g.parts, i+1, more...), slices.Insert(g.names, i+1, names...)
	return nil, g.apart()
}

// unbegun is a part that could not make what it is about. It returns nil when it may be left out.
func (g *group) unbegun(r *run, i int, failed error) error {
	p, where := &g.parts[i], Reserved
	if len(g.names[i]) > 0 {
		where = g.names[i][0]
	}
	switch {
	case p.Optional && errors.Is(failed, ErrAbsent):
		r.tally.note(where, fmt.Errorf("part %s is left out: %w", p.Name, failed))
		return nil
	case g.o.AllowPartial:
		r.tally.fail(where, fmt.Errorf("part %s: %w", p.Name, failed))
	}
	return failed
}

// end asks whether what was read may be believed.
func (g *group) end(ctx context.Context, r *run, i int) error {
	p := &g.parts[i]
	if p.End == nil {
		return nil
	}
	failed := p.End(ctx)
	if failed != nil && ctx.Err() == nil && g.o.AllowPartial {
		r.tally.fail(g.names[i][0], fmt.Errorf("part %s: %w", p.Name, failed))
	}
	return failed
}

// take reads a part. there says that something of it is in the tree, failed why not all of it; err ends the whole run.
func (g *group) take(ctx context.Context, r *run, i int) (there bool, failed, err error) {
	p := &g.parts[i]
	if p.trees() {
		there, failed, err = g.takeTrees(ctx, r, i)
		if err == nil {
			failed = errors.Join(failed, g.end(ctx, r, i))
			if ctx.Err() != nil && failed != nil {
				err = context.Cause(ctx)
			}
		}
		return there, failed, err
	}
	full := g.names[i][0]
	open := p.Open
	if p.virtual() {
		open = func(context.Context) (io.Reader, func() error, error) {
			content := p.Content
			if p.Paper != nil {
				var err error
				if content, err = p.Paper(g.done); err != nil {
					return nil, nil, err
				}
			}
			return bytes.NewReader(content), nil, nil
		}
	}
	n, failed, err := r.takeStream(ctx, full, open)
	switch {
	case err != nil:
		return false, nil, err
	case failed != nil && errors.Is(failed, ErrAbsent) && p.Optional:
		r.tally.note(full, fmt.Errorf("part %s is left out: %w", p.Name, failed))
		return false, nil, nil
	case failed != nil:
		if g.o.AllowPartial {
			r.tally.fail(full, fmt.Errorf("part %s: %w", p.Name, failed))
		}
		return false, failed, nil
	}
	fresh, err := g.tree.plant(g.run, full, n, p)
	if err != nil {
		return false, nil, err
	}
	r.countStream(fresh, n.Size)
	return true, nil, nil
}

// takeStream reads one stream. failed says why it cannot be trusted.
func (r *run) takeStream(ctx context.Context, full string, open func(context.Context) (io.Reader, func() error, error)) (n snapshot.Node, failed, err error) {
	r.o.Progress.current.Store(&full)
	sub, cancel := context.WithCancel(ctx)
	defer cancel()
	src, wait, failed := open(sub)
	if ctx.Err() != nil && failed != nil {
		return n, nil, context.Cause(ctx)
	}
	if failed != nil {
		return n, failed, nil
	}
	if src == nil {
		return n, nil, errors.New("a stream was promised and none given")
	}
	elems := strings.Split(full[1:], "/")
	seen := &witness{src: src}
	ids, size, err := r.stream(ctx, seen, full, elems)
	if err != nil {
		cancel() // so that whoever writes the stream ends
	}
	if wait != nil {
		failed = wait()
	}
	if ctx.Err() != nil {
		return n, nil, context.Cause(ctx)
	}
	if broken := seen.broken(); err != nil && broken != nil && errors.Is(err, broken) {
		return n, errors.Join(err, failed), nil
	}
	if err != nil || failed != nil {
		return n, failed, err
	}
	n = r.streamNode(elems)
	n.Size = size
	return n, nil, r.setContent(ctx, "", &n, ids)
}

// witness remembers the error that a stream ended with, to tell it from one of the archive.
type witness struct {
	src io.Reader
	mu  sync.Mutex // a Read may go on when nobody waits for it any more
	err error
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.src.Read(p)
	if err != nil && err != io.EOF {
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
	}
	return n, err
}

func (w *witness) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// takeTrees walks over the paths of a part.
func (g *group) takeTrees(ctx context.Context, r *run, i int) (there bool, failed, err error) {
	p, paths := &g.parts[i], g.names[i]
	if p.As != "" {
		if paths, err = absolutePaths(p.Paths); err != nil {
			return false, nil, err
		}
	}
	lost := map[string]bool{} // told of already
	miss := func(path string, why error) {
		lost[path] = true
		switch {
		case p.Optional && absent(why):
			r.tally.note(path, fmt.Errorf("part %s: %w", p.Name, why))
		case g.o.AllowPartial:
			r.tally.fail(path, fmt.Errorf("part %s: %w", p.Name, why))
			fallthrough
		default:
			failed = errors.Join(failed, why)
		}
	}
	plan, roots := makePlan(paths, miss)
	if len(roots) == 0 || failed != nil && !g.o.AllowPartial {
		return false, failed, nil
	}
	r.rules = r.o.Excludes.Bind(roots)
	if err := r.tree(ctx, plan, paths); err != nil {
		return false, nil, err
	}
	for _, path := range paths {
		if lost[path] {
			continue
		}
		if why := r.hole(path); why != nil {
			miss(path, &os.PathError{Op: "back up", Path: path, Err: why})
		} else {
			there = true
		}
	}
	if failed != nil && !g.o.AllowPartial {
		return false, failed, nil
	}
	if p.As != "" {
		if there {
			err = g.transplant(r, paths[0], p)
		}
		return there, failed, err
	}
	twice, err := g.tree.graft(r, p)
	r.tally.uncount(twice)
	return there, failed, err
}

// transplant puts what a run found at a path to where the part says. The directories that lead to the path are not kept.
func (g *group) transplant(r *run, from string, p *Part) error {
	dir := path.Dir(from)
	nodes, _ := r.way(dir)
	i := slices.IndexFunc(nodes, func(n snapshot.Node) bool { return n.Name == path.Base(from) })
	if i < 0 {
		return fmt.Errorf("part %s: %s: %w", p.Name, from, errGone)
	}
	n := nodes[i]
	n.Name = path.Base(p.As)
	fresh, err := g.tree.plant(g.run, path.Clean(p.As), n, p)
	if dir != "/" {
		r.tally.uncount(uint64(strings.Count(dir, "/")))
	}
	r.tally.count([3]Changes{{}, {New: uint64(fresh)}}, 0)
	return err
}

// absent says that there is nothing of a path.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || vanished(err)
}

// hole says why nothing of a path that was walked over is in the tree.
func (r *run) hole(full string) error {
	if full == "/" {
		return nil // without it there is no tree
	}
	nodes, ok := r.way(path.Dir(full))
	if !ok {
		return nil // it lies in another path of the part, and was listed there
	}
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.Name != path.Base(full):
		case n.Error != "" && (n.Type != snapshot.Dir || len(n.Content) == 0):
			return errors.New(n.Error)
		default:
			return nil
		}
	}
	return errGone
}

// way returns the nodes of a directory on the way to a path.
func (r *run) way(path string) ([]snapshot.Node, bool) {
	kept, ok := r.ways.Load(path)
	if !ok {
		return nil, false
	}
	return kept.([]snapshot.Node), true
}

// absorb adds what a part counted. What it had warned about was told.
func (t *tally) absorb(part *tally) {
	t.dataBlobs.Add(part.dataBlobs.Load())
	t.treeBlobs.Add(part.treeBlobs.Load())
	t.treeStored.Add(part.treeStored.Load())
	t.count(part.changes, part.bytes)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors.absorb(&part.errors)
	t.warnings.absorb(&part.warnings)
}

func (n *notes) absorb(part *notes) {
	n.count += part.count
	n.list = append(n.list, part.list[:min(len(part.list), maxListed-len(n.list))]...)
}

// uncount takes back directories on the way that were counted for another part, too.
func (t *tally) uncount(dirs uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range []*uint64{&t.changes[1].Changed, &t.changes[1].New, &t.changes[1].Unchanged} {
		less := min(dirs, *n)
		*n -= less
		dirs -= less
	}
}
