package restore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// linked is the first name of a group of hard links in this restore.
type linked struct {
	dir    *dir
	name   string
	failed atomic.Bool
}

// name is a further name.
type name struct {
	dir  *dir
	node *snapshot.Node
	to   *linked
}

// firstName notes an entry as the one that further names of its group are linked to; nil when it has no others.
func (r *run) firstName(d *dir, n *snapshot.Node) *linked {
	if n.Link == nil {
		return nil
	}
	l := &linked{dir: d, name: n.Name}
	r.links[*n.Link] = l
	return l
}

// queueName puts an entry off whose group has a first name already: that one has to be finished before.
func (r *run) queueName(d *dir, n *snapshot.Node) bool {
	if n.Link == nil {
		return false
	}
	l := r.links[*n.Link]
	if l == nil || l.failed.Load() {
		return false
	}
	c := *n
	r.batch.names = append(r.batch.names, &name{d, &c, l})
	return true
}

func (r *run) linkAll(ctx context.Context, names []*name) error {
	for _, nm := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.linkName(ctx, nm); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) linkName(ctx context.Context, nm *name) error {
	path := join(nm.dir.path(), nm.node.Name)
	if nm.to.failed.Load() {
		return r.again(ctx, nm)
	}
	kind, err := r.putLink(nm)
	switch {
	case err == nil:
		r.o.Progress.FilesDone.Add(1)
		r.count(func(rep *Report) { rep.Links++ })
		r.action(Action{Kind: kind, Path: path, Size: nm.node.Size})
		return nil
	case hopeless(err) || errors.Is(err, ErrExists) || errors.Is(err, ErrNotEmpty):
		r.o.Progress.FilesDone.Add(1)
		return r.entryFailed(path, err, nil)
	}
	r.warning(WarnLink, path, fmt.Errorf("copied, not linked to %s: %w", join(nm.to.dir.path(), nm.to.name), err))
	if r.links[*nm.node.Link] == nm.to {
		delete(r.links, *nm.node.Link)
	}
	return r.again(ctx, nm)
}

// again restores a further name as an entry of its own, or links it to another one that was.
func (r *run) again(ctx context.Context, nm *name) error {
	if l := r.links[*nm.node.Link]; l != nil && l != nm.to && !l.failed.Load() {
		nm.to = l
		r.batch.names = append(r.batch.names, nm)
		return nil
	}
	if nm.node.Type == snapshot.File {
		return r.addFile(ctx, nm.dir, nm.node)
	}
	return r.addSpecial(nm.dir, nm.node)
}

func (r *run) putLink(nm *name) (ActionKind, error) {
	if nm.dir.state == dirAbsent || nm.to.dir.state == dirAbsent {
		return Create, nil
	}
	to, err := r.dirs.use(nm.dir)
	if err != nil {
		return 0, err
	}
	defer r.dirs.release(nm.dir)
	from, err := r.dirs.use(nm.to.dir)
	if err != nil {
		return 0, err
	}
	defer r.dirs.release(nm.to.dir)
	first, err := statAt(from, nm.to.name)
	if r.o.DryRun && errors.Is(err, unix.ENOENT) {
		err = nil // it would be made
	}
	if err != nil {
		return 0, err
	}
	was, err := statAt(to, nm.node.Name)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, unix.ENOENT):
		return 0, err
	case exists && was.id == first.id:
		return Unchanged, nil
	case exists && !r.o.InPlace:
		return 0, ErrExists
	}
	kind := Create
	if exists {
		kind = Update
	}
	if r.o.DryRun {
		return kind, nil
	}
	if first.typ != nm.node.Type {
		return 0, ErrSwapped
	}
	return kind, r.link(nm, from, to, first, was, exists)
}

func (r *run) link(nm *name, from, to int, first, was stat, exists bool) error {
	at := nm.node.Name
	if exists {
		at = tempName()
	}
	if err := unix.Linkat(from, nm.to.name, to, at, 0); err != nil { // 0: a symlink itself, not what it points to
		return err
	}
	st, err := statAt(to, at)
	if err == nil && st.id != first.id {
		err = ErrSwapped
	}
	if err == nil && exists {
		err = r.takeName(nm.dir, to, at, nm.node.Name, was)
	}
	if err != nil {
		_ = unix.Unlinkat(to, at, 0)
	}
	return err
}
