package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

// RunStream backs up what src gives as one file name, mode 0600, owned by the user. A name with slashes gets the
// directories it needs. When src has ended, wait (may be nil) decides: with an error from it, or from src, there is
// no snapshot. When ctx is cancelled RunStream returns, even if a Read never does; that one goroutine then ends with
// the Read.
func RunStream(ctx context.Context, w Saver, o Options, name string, src io.Reader, wait func() error) (*Report, error) {
	o, err := o.applyDefaults()
	if err != nil {
		return nil, err
	}
	elems, err := streamPath(name)
	if err != nil {
		return nil, err
	}
	r, err := newRun(w, o)
	if err != nil {
		return nil, err
	}
	full := "/" + strings.Join(elems, "/")
	r.o.Progress.current.Store(&full)
	ids, size, err := r.stream(ctx, src, full, elems)
	if err != nil {
		return nil, err
	}
	if wait != nil {
		if err := wait(); err != nil {
			return nil, err
		}
	}
	file := r.streamNode(elems)
	file.Size = size
	if err := r.setContent(ctx, "", &file, ids); err != nil {
		return nil, err
	}
	if r.root, err = r.plant(ctx, elems, file); err != nil {
		return nil, err
	}
	r.countStream(len(elems)-1, size)
	report, err := r.commit(ctx, []string{full}, func() bool { return r.sameStream(ctx, full, &file) })
	if errors.Is(err, archive.ErrStoreAnew) {
		err = remote.WithHint(fmt.Errorf("%w, and a stream cannot be read a second time", err), "run the backup again")
	}
	return report, err
}

// streamPath takes a name apart and refuses what no node may be called.
func streamPath(name string) ([]string, error) {
	clean := path.Clean("/" + name)
	if clean == "/" || strings.HasSuffix(name, "/") {
		return nil, fmt.Errorf("%q cannot be the name of a file", name)
	}
	elems := strings.Split(clean[1:], "/")
	for _, e := range elems {
		if err := snapshot.ValidName(e); err != nil {
			return nil, err
		}
	}
	return elems, nil
}

// stream saves the chunks of src.
func (r *run) stream(ctx context.Context, src io.Reader, full string, elems []string) (ids []chunk.ID, size uint64, err error) {
	g, ctx := errgroup.WithContext(ctx)
	c := newContent(func(all []chunk.ID) error { ids = all; return nil })
	done := make(chan struct{})
	r.stage(g, r.o.Concurrency, func() error { return r.saver(ctx) }, func() { close(done) })
	g.Go(func() error {
		return r.checkpoints(ctx, done, []string{full}, func(ctx context.Context) (snapshot.Root, error) {
			file := r.streamNode(elems)
			n, err := r.frozenFile(ctx, &file, c)
			if err != nil || len(n.Content) == 0 {
				return snapshot.Root{}, err
			}
			return r.plant(ctx, elems, *n)
		})
	})
	type result struct {
		size        uint64
		broken, err error
	}
	through := make(chan result, 1)
	go func() {
		size, broken, err := r.cutAll(ctx, r.cutter, src, c)
		through <- result{size, broken, err}
	}()
	// A stream that breaks off does not end the group: what was read of it is on its way to the archive, and a blob whose storing is broken off
	// ends its writer, who may have other parts to store (Options.AllowPartial).
	var broken error
	g.Go(func() error {
		select {
		case got := <-through:
			size, broken = got.size, got.broken
			close(r.chunks)
			return got.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	if broken != nil {
		return nil, 0, fmt.Errorf("read the stream at offset %d: %w", size, broken)
	}
	return ids, size, c.close()
}

func (r *run) virtual(name string, kind snapshot.NodeType, mode uint32) snapshot.Node {
	now := snapshot.TimeOf(r.o.Time)
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	return snapshot.Node{Name: name, Type: kind, Mode: mode, UID: uid, GID: gid,
		User: r.owners.user(uid), Group: r.owners.group(gid), Mtime: now, Ctime: now}
}

// streamNode makes the node of the stream, without its content.
func (r *run) streamNode(elems []string) snapshot.Node {
	return r.virtual(elems[len(elems)-1], snapshot.File, 0o600)
}

// plant saves the directories above a virtual file.
func (r *run) plant(ctx context.Context, elems []string, n snapshot.Node) (snapshot.Root, error) {
	for i := len(elems) - 1; ; i-- {
		content, depth, err := snapshot.SaveTree(ctx, []snapshot.Node{n}, r.saveTree)
		if err != nil || i == 0 {
			return snapshot.Root{Content: content, Depth: depth}, err
		}
		n = r.virtual(elems[i-1], snapshot.Dir, 0o755)
		n.Content, n.Depth = content, depth
	}
}

func (r *run) countStream(dirs int, size uint64) {
	r.o.Progress.Files.Add(1)
	r.tally.count([3]Changes{{New: 1}, {New: uint64(dirs)}}, size)
}

// sameStream says whether the previous snapshot holds the same bytes under this name; its times differ always.
func (r *run) sameStream(ctx context.Context, full string, n *snapshot.Node) bool {
	p := r.o.Parent
	if p == nil {
		return false
	}
	old, err := snapshot.Find(ctx, p.Load, p.Content, p.Depth, full)
	return err == nil && old.Type == snapshot.File && old.Size == n.Size && old.Depth == n.Depth && slices.Equal(old.Content, n.Content)
}
