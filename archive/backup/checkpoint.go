package backup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cairn/snapshot"
)

// unfinished is why a node of a checkpoint is not the whole thing.
const unfinished = "the backup was not through with it when this checkpoint was made"

// checkpointPath stands for a path in warnings about checkpoints.
const checkpointPath = "checkpoint"

// pollCheckpoints is how often it is looked whether a checkpoint is due.
const pollCheckpoints = time.Second

// checkpoints publishes checkpoints beside the backup until done is closed. The tree is what frozen makes of what there is at that
// moment: its blobs are saved first, and the Saver stores and names all that was saved before it publishes the snapshot.
func (r *run) checkpoints(ctx context.Context, done <-chan struct{}, paths []string, frozen func(context.Context) (snapshot.Root, error)) error {
	saver, ok := r.w.(Checkpointer)
	if !ok || r.o.CheckpointEvery < 0 {
		return nil
	}
	tick := time.NewTicker(pollCheckpoints)
	defer tick.Stop()
	p := r.o.Progress
	last, stored, fresh := time.Now(), p.BytesStored.Load(), p.BytesNew.Load()
	for {
		nudged := false
		select {
		case <-ctx.Done():
			return nil // whoever ended the backup says why
		case <-done:
			return nil
		case <-r.o.nudge:
			nudged = true
		case <-tick.C:
		}
		nowStored, nowFresh := p.BytesStored.Load(), p.BytesNew.Load()
		if !nudged && (nowFresh == fresh || !r.due(time.Since(last), nowStored-stored)) {
			continue // trees alone, such as those of the last checkpoint, are not worth one
		}
		if err := r.checkpoint(ctx, saver, paths, frozen); err != nil && ctx.Err() == nil {
			r.tally.note(checkpointPath, err)
		}
		// From its end: where a checkpoint takes long, the backup is not one checkpoint after the other.
		last, stored, fresh = time.Now(), nowStored, nowFresh
	}
}

func (r *run) due(since time.Duration, stored int64) bool {
	return since >= r.o.CheckpointEvery || stored >= r.o.CheckpointBytes
}

func (r *run) checkpoint(ctx context.Context, saver Checkpointer, paths []string, frozen func(context.Context) (snapshot.Root, error)) error {
	root, err := frozen(ctx)
	if err != nil {
		return fmt.Errorf("save the trees of the checkpoint: %w", err)
	}
	if len(root.Content) == 0 {
		return nil // nothing is done yet
	}
	report := r.report()
	errs := make([]snapshot.ReadError, 0, len(paths)+len(report.Errors)) // a copy: the run goes on with its list
	for _, path := range paths {
		errs = append(errs, snapshot.ReadError{Path: path, Message: unfinished}) // so no restore deletes what is not here
	}
	report.Errors = append(errs, report.Errors...)
	s := r.snapshot(report, paths, root)
	s.Checkpoint, s.Partial = true, true
	s.Pinned, s.Expires = false, snapshot.Time{}
	return saver.Checkpoint(ctx, s)
}

// frozenTree saves the trees of the open directories as they are now: finished entries as they are, open directories with what
// they have, and files that are being read as far as their chunks are saved.
func (r *run) frozenTree(ctx context.Context) (root snapshot.Root, err error) {
	dirs, files := r.front.freeze()
	for j, f := range files {
		if d := dirs[j.d]; d != nil && d.nodes[j.i] == nil {
			if d.nodes[j.i], err = r.frozenFile(ctx, f.node, f.c); err != nil {
				return root, err
			}
		}
	}
	deepest := make([]*frozen, 0, len(dirs))
	for _, d := range dirs {
		deepest = append(deepest, d)
	}
	slices.SortFunc(deepest, func(a, b *frozen) int { return cmp.Compare(b.d.depth, a.d.depth) })
	for _, f := range deepest {
		content, depth, err := snapshot.SaveNodes(ctx, f.there, r.saveTree)
		if err != nil {
			return root, err
		}
		if f.d.parent == nil {
			return snapshot.Root{Content: content, Depth: depth}, nil
		}
		n := f.d.node
		n.Content, n.Depth = content, depth
		if n.Error = cmp.Or(n.Error, f.d.failed); n.Error == "" && slices.Contains(f.nodes, nil) {
			n.Error = unfinished
		}
		dirs[f.d.parent].nodes[f.d.index] = &n
	}
	return root, nil // the root directory was not listed yet, or is done
}

// there iterates over the nodes that there are.
func (f *frozen) there(yield func(*snapshot.Node) bool) {
	for _, n := range f.nodes {
		if n != nil && !yield(n) {
			return
		}
	}
}

// frozenFile makes the node of a file that is being read.
func (r *run) frozenFile(ctx context.Context, known *snapshot.Node, c *content) (*snapshot.Node, error) {
	ids, holes, size := c.soFar()
	n := *known
	n.Holes, n.Size, n.Error = holes, size, unfinished
	var err error
	n.Content, n.Depth, err = snapshot.SaveContent(ctx, ids, r.saveTree)
	return &n, err
}
