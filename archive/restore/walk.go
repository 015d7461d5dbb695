package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// step takes the next node of the walk; path is relative to what is restored.
func (r *run) step(ctx context.Context, path string, n *snapshot.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.leave(len(path) - len(n.Name) - 1)
	for _, all := range []bool{false, true} { // all of it when what is kept fills it, too
		if r.batch.full() {
			if err := r.flush(ctx, all); err != nil {
				return err
			}
		}
	}
	if n.Type == snapshot.File {
		return r.fileEntry(ctx, path, n)
	}
	return r.entry(path, n)
}

// leave finishes the directories that the walk has left: those whose path is longer than that of the next node's parent.
func (r *run) leave(length int) {
	for len(r.stack) > 1 && r.top().length > length {
		d := r.top()
		r.stack = r.stack[:len(r.stack)-1]
		r.meet(d, "")
		if d.state == dirOpen {
			r.batch.ends = append(r.batch.ends, d)
		}
	}
}

func (r *run) top() *dir { return r.stack[len(r.stack)-1] }

// treeError notes a directory of which a part is lost; the walk goes on with the rest.
func (r *run) treeError(path string, err error) error {
	var f fatal
	if errors.As(err, &f) {
		return f.error
	}
	length := len(path)
	if path == "/" {
		length = 0
	}
	r.leave(length)
	r.top().deletable = false
	r.fail(r.full(path), lossOf(err), err)
	return nil
}

func (r *run) full(path string) string {
	if path == "/" && r.prefix != "" {
		return r.prefix
	}
	return r.prefix + path
}

// chosen applies the rules and checks the name. It also counts the name as met, so that it is not deleted.
func (r *run) chosen(path string, n *snapshot.Node) (selected, ok bool) {
	d := r.top()
	if err := snapshot.ValidName(n.Name); err != nil {
		r.fail(r.full(path), Unsafe, err)
		return false, false
	}
	r.meet(d, n.Name)
	isDir := n.Type == snapshot.Dir
	if r.o.Excludes != nil && r.o.Excludes.Match(r.full(path), isDir) {
		return false, false
	}
	selected = d.selected || r.o.Includes.Match(r.full(path), isDir)
	if !selected {
		return false, isDir
	}
	if n.Error != "" {
		r.warning(WarnUnreadable, r.full(path), fmt.Errorf("%w: %s", errBackup, n.Error))
		return selected, isDir
	}
	return selected, true
}

// meet moves on in the names that were in the directory: those before name are not in the snapshot. "" is the end.
func (r *run) meet(d *dir, name string) {
	for len(d.existing) > 0 && (name == "" || d.existing[0] <= name) {
		if d.existing[0] != name {
			d.extras = append(d.extras, d.existing[0])
		}
		d.existing = d.existing[1:]
	}
}

// entry takes a node that is no file of a walk: all that is done at once.
func (r *run) entry(path string, n *snapshot.Node) error {
	selected, ok := r.chosen(path, n)
	if !ok {
		if n.Type == snapshot.Dir {
			return snapshot.SkipDir
		}
		return nil
	}
	switch n.Type {
	case snapshot.Dir:
		return r.enter(path, n, selected)
	case snapshot.Symlink, snapshot.Fifo, snapshot.Socket, snapshot.CharDevice, snapshot.BlockDevice:
		return r.special(n)
	}
	r.fail(r.full(path), Unsafe, errType)
	return nil
}

// enter begins a directory. One that only leads to what Includes chose is made when something in it is.
func (r *run) enter(path string, n *snapshot.Node, selected bool) error {
	parent := r.top()
	d := &dir{parent: parent, name: n.Name, length: len(path), node: keepMeta(n), selected: selected}
	d.deletable = r.mayDelete(r.full(path)) && n.Error == ""
	d.bare = len(n.Content) == 0
	if selected {
		if err := r.open(d); err != nil {
			return skipOf(err, snapshot.SkipDir)
		}
	}
	r.stack = append(r.stack, d)
	return nil
}

// keepMeta copies what is needed at the end; the rest of the node would keep its tree piece in memory.
func keepMeta(n *snapshot.Node) *snapshot.Node {
	c := *n
	c.Content = nil
	c.Name, c.User, c.Group = strings.Clone(c.Name), strings.Clone(c.User), strings.Clone(c.Group)
	return &c
}

// entryFailed lists a local error, or ends the run when it would meet every entry. skip is what the walk is told else.
func (r *run) entryFailed(path string, err, skip error) error {
	if hopeless(err) {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.fail(path, kindOf(err), err)
	return skip
}

func kindOf(err error) FailKind {
	switch {
	case errors.Is(err, ErrExists), errors.Is(err, ErrNotEmpty):
		return Conflict
	case errors.Is(err, ErrSwapped), errors.Is(err, unix.ELOOP):
		return Unsafe
	}
	return Local
}

// errParent is for what cannot be restored because its directory could not; the directory is listed already.
var errParent = errors.New("its directory could not be restored")

// skipOf turns errParent into what the walk is told.
func skipOf(err, skip error) error {
	if errors.Is(err, errParent) {
		return skip
	}
	return err
}

// open makes sure that a directory of the target is there. It lists a directory that cannot be had and returns errParent,
// or an error that ends the run.
func (r *run) open(d *dir) error {
	switch {
	case d.state == dirFailed:
		return errParent
	case d.state != dirWaiting:
		return nil
	}
	d.state = dirFailed
	if err := r.open(d.parent); err != nil {
		return err
	}
	if err := r.openNew(d); err != nil {
		d.state = dirFailed
		return r.entryFailed(d.path(), err, errParent)
	}
	r.count(func(rep *Report) { rep.Dirs++ })
	return nil
}

func (r *run) openNew(d *dir) error {
	kind := Create
	if d.parent.state == dirOpen {
		at, err := r.dirs.use(d.parent)
		if err != nil {
			return err
		}
		defer r.dirs.release(d.parent)
		if !d.parent.fresh {
			if kind, err = r.openExisting(d, at); err != nil || d.state == dirOpen {
				return err
			}
		}
		if !r.o.DryRun {
			if err := r.makeDir(d, at); err != nil {
				return err
			}
		}
	}
	if d.state != dirOpen { // of a dry run
		d.state, d.fresh = dirAbsent, true
	}
	r.action(Action{Kind: kind, Path: d.path(), Dir: true})
	return nil
}

func (r *run) makeDir(d *dir, at int) error {
	if err := makeDirAt(at, d.name); err != nil {
		return err
	}
	fd, err := openDirAt(at, d.name)
	if err != nil {
		return err
	}
	st, err := statFd(fd)
	if err != nil {
		closeFd(fd)
		return err
	}
	d.state, d.fresh, d.inherits = dirOpen, true, d.parent.inherits
	r.dirs.add(d, fd, st.id)
	if d.inherits && removeACLs(fd) == nil {
		d.inherits = false
	}
	return nil
}

// openExisting opens the directory that is there already. When something else is, it makes room or returns ErrExists.
func (r *run) openExisting(d *dir, at int) (ActionKind, error) {
	was, err := statAt(at, d.name)
	if errors.Is(err, unix.ENOENT) {
		return Create, nil
	}
	if err != nil {
		return 0, err
	}
	if was.typ != snapshot.Dir {
		if !r.o.InPlace {
			return 0, ErrExists
		}
		if r.o.DryRun {
			return Update, nil
		}
		return Update, unix.Unlinkat(at, d.name, 0)
	}
	fd, err := r.openLoosened(d, at, was)
	if err != nil {
		return 0, err
	}
	now, err := statFd(fd)
	if err != nil || now.id != was.id {
		closeFd(fd)
		return 0, orElse(err, ErrSwapped)
	}
	d.state, d.was, d.inherits = dirOpen, was, true
	r.dirs.add(d, fd, was.id)
	if was.id.dev != d.parent.id.dev {
		r.mounts = append(r.mounts, d)
		if d.bare {
			// A mount point that the backup did not enter is recorded as an empty directory: what is mounted here
			// now was never in the snapshot and must not be deleted for that.
			d.deletable = false
		}
	}
	kind := Unchanged
	if r.metaDiffers(handle{fd: fd}, was, d.node) {
		kind = Meta
	}
	r.action(Action{Kind: kind, Path: d.path(), Dir: true})
	return kind, r.listExisting(d, fd)
}

// openLoosened opens a directory and, without privileges, gives its owner the rights to work in it until it is finished.
func (r *run) openLoosened(d *dir, at int, was stat) (int, error) {
	if r.root || r.o.DryRun || was.mode&0o700 == 0o700 {
		return openDirAt(at, d.name)
	}
	h, err := openHandleAt(at, d.name)
	if err != nil {
		return -1, err
	}
	defer closeFd(h)
	if st, err := statFd(h); err != nil || st.id != was.id {
		return -1, orElse(err, ErrSwapped)
	}
	if err := chmodHandle(h, was.mode|0o700); err == nil { // otherwise it is not ours, and may still be enough
		d.loosened = true
	}
	return openDirAt(at, d.name)
}

func (r *run) listExisting(d *dir, fd int) (err error) {
	if d.deletable && d.selected && !d.fresh {
		d.existing, err = namesIn(fd)
	}
	return err
}
