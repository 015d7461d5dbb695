package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// special restores a symlink, fifo, socket or device in the directory that is walked.
func (r *run) special(n *snapshot.Node) error {
	d := r.top()
	if err := r.open(d); err != nil {
		return skipOf(err, nil)
	}
	r.o.Progress.FilesFound.Add(1)
	if r.queueName(d, n) {
		return nil
	}
	return r.addSpecial(d, n)
}

func (r *run) addSpecial(d *dir, n *snapshot.Node) error {
	link := r.firstName(d, n)
	r.o.Progress.FilesDone.Add(1)
	kind, err := r.putSpecial(d, n)
	if err == nil && kind != 0 {
		r.count(func(rep *Report) { rep.Others++ })
		r.action(Action{Kind: kind, Path: join(d.path(), n.Name)})
		return nil
	}
	if link != nil {
		link.failed.Store(true)
	}
	if err == nil {
		return nil
	}
	return r.entryFailed(join(d.path(), n.Name), err, nil)
}

// putSpecial returns no kind when the node was left out with a warning.
func (r *run) putSpecial(d *dir, n *snapshot.Node) (ActionKind, error) {
	if d.state == dirAbsent {
		return Create, nil
	}
	at, err := r.dirs.use(d)
	if err != nil {
		return 0, err
	}
	defer r.dirs.release(d)
	var was stat
	exists := false
	if !d.fresh {
		was, err = statAt(at, n.Name)
		exists = err == nil
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return 0, err
		}
	}
	kind := Create
	if exists {
		if kind, err = r.inspectSpecial(d, at, was, n); err != nil || kind != Update {
			return kind, err
		}
	}
	if r.o.DryRun {
		return kind, nil
	}
	return r.makeSpecial(d, at, n, exists, was, kind)
}

// inspectSpecial compares what is there. Update means that it has to be replaced.
func (r *run) inspectSpecial(d *dir, at int, was stat, n *snapshot.Node) (ActionKind, error) {
	same, err := sameSpecial(at, was, n)
	if err != nil {
		return 0, err
	}
	if same {
		fd, err := openHandleAt(at, n.Name)
		if err != nil {
			return 0, err
		}
		if err := sameFile(fd, was.id); err != nil {
			return 0, err
		}
		defer closeFd(fd)
		h := handle{fd, true}
		if !r.metaDiffers(h, was, n) {
			return Unchanged, nil
		}
		if was.links == 1 {
			if !r.o.DryRun {
				r.setMeta(h, at, n.Name, entry{d, n.Name}, n, false)
			}
			return Meta, nil
		}
	}
	if !r.o.InPlace {
		return 0, ErrExists
	}
	return Update, nil
}

func sameSpecial(at int, was stat, n *snapshot.Node) (bool, error) {
	if was.typ != n.Type {
		return false, nil
	}
	switch n.Type {
	case snapshot.Symlink:
		target, err := readLinkAt(at, n.Name)
		return target == n.Target, err
	case snapshot.CharDevice, snapshot.BlockDevice:
		return n.Device != nil && *n.Device == was.device, nil
	}
	return true, nil
}

func (r *run) makeSpecial(d *dir, at int, n *snapshot.Node, exists bool, was stat, kind ActionKind) (ActionKind, error) {
	name := n.Name
	if exists {
		name = tempName()
	}
	var err error
	if n.Type == snapshot.Symlink {
		err = unix.Symlinkat(n.Target, at, name)
	} else {
		err = makeSpecialAt(at, name, n)
	}
	if errors.Is(err, unix.EPERM) && (n.Type == snapshot.CharDevice || n.Type == snapshot.BlockDevice) {
		r.warning(WarnDevice, join(d.path(), n.Name), fmt.Errorf("make device: %w", err))
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	fd, err := openHandleAt(at, name)
	if err != nil {
		return 0, err
	}
	defer closeFd(fd)
	st, err := statFd(fd)
	if err != nil {
		return 0, err
	}
	if st.typ != n.Type || st.links != 1 {
		return 0, ErrSwapped
	}
	r.setMeta(handle{fd, true}, at, name, entry{d, n.Name}, n, !d.inherits)
	if exists {
		if err := r.takeName(d, at, name, n.Name, was); err != nil {
			_ = unix.Unlinkat(at, name, 0)
			return 0, err
		}
	}
	return kind, nil
}
