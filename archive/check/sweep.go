package check

import (
	"context"
	"errors"
	"maps"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/pack"
	"cairn/snapshot"
)

// sweepBatch blobs are looked up at once: 1 MB with the answers, and a second one is filled meanwhile. In the order of their ids, which
// many make possible, a lookup takes half of what it takes alone.
const sweepBatch = 16 << 10

// errUnclean ends a sweep.
var errUnclean = errors.New("something is wrong")

// sweep walks a snapshot in which most likely nothing is wrong: it stops at the first thing that is, without saying what, and the
// walker then looks at the snapshot file by file. So the blobs of many files can be looked up together, by a goroutine
// of their own: this is the end of a check, when no other work is left for a second core.
type sweep struct {
	w     *walker
	group *errgroup.Group
	asked map[chunk.Type][]chunk.ID // not looked up yet
}

// sweep says whether a snapshot is clean. If it is not, everything is as it was before.
func (w *walker) sweep(ctx context.Context, content []chunk.ID, depth uint8) (bool, error) {
	w.number++
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(1)
	s := &sweep{w: w, group: group, asked: map[chunk.Type][]chunk.ID{}}
	err := s.dir(groupCtx, content, depth)
	for _, t := range []chunk.Type{chunk.Data, chunk.Tree} {
		if err == nil {
			s.lookUp(groupCtx, t)
		}
	}
	if lookupErr := group.Wait(); lookupErr != nil {
		err = lookupErr
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		maps.DeleteFunc(w.seen, func(_ treeKey, how int32) bool { return how == w.number })
	}
	if errors.Is(err, errUnclean) {
		return false, nil
	}
	return err == nil, err
}

func (s *sweep) dir(ctx context.Context, content []chunk.ID, depth uint8) error {
	if len(content) == 0 {
		return nil
	}
	key := keyOf(content, depth)
	if how, ok := s.w.seen[key]; ok {
		if how == unclean {
			return errUnclean
		}
		return nil
	}
	s.w.c.o.Progress.Trees.Add(1)
	for n, err := range snapshot.Nodes(ctx, s.load, content, depth) {
		if err != nil {
			return s.broken(ctx, err)
		}
		if n.Type == snapshot.Dir {
			err = s.dir(ctx, n.Content, n.Depth)
		} else {
			err = s.file(ctx, n)
		}
		if err != nil {
			return err
		}
	}
	s.w.seen[key] = s.w.number
	return nil
}

func (s *sweep) file(ctx context.Context, n *snapshot.Node) error {
	for id, err := range snapshot.Content(ctx, s.load, n.Content, n.Depth) {
		if err != nil {
			return s.broken(ctx, err)
		}
		if err := s.ask(ctx, chunk.Data, id); err != nil {
			return err
		}
	}
	return nil
}

// broken is the error of what could not be loaded.
func (s *sweep) broken(ctx context.Context, err error) error {
	if s.w.c.a.Stops(ctx, err) {
		return err
	}
	return errUnclean
}

func (s *sweep) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	if err := s.ask(ctx, chunk.Tree, id); err != nil {
		return nil, err
	}
	return s.w.c.a.Load(ctx, chunk.Tree, id)
}

// ask has a blob looked up, sooner or later.
func (s *sweep) ask(ctx context.Context, t chunk.Type, id chunk.ID) error {
	s.asked[t] = append(s.asked[t], id)
	if len(s.asked[t]) == sweepBatch {
		s.lookUp(ctx, t)
	}
	return ctx.Err()
}

// lookUp begins to look up what was asked for, when the lookup before is done.
func (s *sweep) lookUp(ctx context.Context, t chunk.Type) {
	ids := s.asked[t]
	s.asked[t] = nil
	if len(ids) == 0 {
		return
	}
	s.group.Go(func() error { return s.w.c.reliable(ctx, t, ids) })
}

// reliable is errUnclean unless all blobs are in packs that may be relied on, and none is known to be bad.
func (c *checker) reliable(ctx context.Context, t chunk.Type, ids []chunk.ID) error {
	live := make([]pack.ID, len(ids))
	if err := c.a.Live(ctx, t, ids, live); err != nil {
		return err
	}
	for i, id := range ids {
		if _, bad := c.bad[blobKey{t, id}]; bad || live[i] == (pack.ID{}) {
			return errUnclean
		}
	}
	return nil
}
