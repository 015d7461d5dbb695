package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// finishDir ends a directory in which nothing more will be made: removes what the snapshot does not have, and sets its
// metadata.
func (r *run) finishDir(d *dir) error {
	if d.state != dirOpen {
		return nil
	}
	if err := r.removeExtras(d); err != nil {
		return r.entryFailed(d.path(), err, nil)
	}
	if r.o.DryRun {
		return nil
	}
	fd, err := r.dirs.use(d)
	if err != nil {
		return r.entryFailed(d.path(), err, nil)
	}
	switch {
	case d.node == nil && d.loosened:
		r.tighten(d)
	case d.node == nil:
	case d.fresh:
		r.setDirMeta(d, fd)
	default:
		now, err := statFd(fd)
		if err != nil || r.metaDiffers(handle{fd: fd}, now, d.node) {
			r.setDirMeta(d, fd)
		}
	}
	d.loosened = false
	r.dirs.release(d)
	r.dirs.drop(d)
	return nil
}

func (r *run) setDirMeta(d *dir, fd int) {
	r.setMeta(handle{fd: fd}, -1, "", entry{dir: d}, d.node, d.fresh && !d.inherits)
}

// tighten gives a directory the mode back that it had.
func (r *run) tighten(d *dir) {
	fd, err := r.dirs.use(d)
	if err == nil {
		err = unix.Fchmod(fd, d.was.mode)
		r.dirs.release(d)
	}
	if err != nil {
		r.warning(WarnMode, d.path(), err)
	}
	d.loosened = false
}

// removeExtras deletes the entries of d that the snapshot does not have.
func (r *run) removeExtras(d *dir) error {
	extras := d.extras
	d.extras = nil
	if len(extras) == 0 || !d.deletable {
		return nil
	}
	at, err := r.dirs.use(d)
	if err != nil {
		return err
	}
	defer r.dirs.release(d)
	for _, name := range extras {
		path := join(d.path(), name)
		if _, err := r.remove(at, d.id.dev, name, path); err != nil {
			if err := r.entryFailed(path, err, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes an entry and, if it is a directory, all below it that is not excluded and on the same file system.
// gone says whether nothing is left (or, in a dry run, would be).
func (r *run) remove(at int, dev uint64, name, path string) (gone bool, err error) {
	st, err := statAt(at, name)
	if errors.Is(err, unix.ENOENT) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	isDir := st.typ == snapshot.Dir
	if r.o.Excludes != nil && r.o.Excludes.Match(path, isDir) {
		return false, nil
	}
	if r.unread(path) {
		return false, nil
	}
	flags := 0
	if isDir {
		if st.id.dev != dev {
			r.warning(WarnKept, path, errors.New("another file system is mounted here"))
			return false, nil
		}
		if gone, err = r.removeBelow(at, st, name, path); err != nil {
			return false, err
		}
		if !gone {
			r.warning(WarnKept, path, errors.New("something in it is excluded or could not be deleted"))
			return false, nil
		}
		flags = unix.AT_REMOVEDIR
	}
	if !r.o.DryRun {
		if err := unix.Unlinkat(at, name, flags); err != nil {
			return false, err
		}
	}
	r.action(Action{Kind: Delete, Path: path, Dir: isDir, Size: uint64(max(st.size, 0))})
	return true, nil
}

// removeBelow empties a directory. It never follows a link: the directory must be the inode that was looked at.
func (r *run) removeBelow(at int, st stat, name, path string) (gone bool, err error) {
	fd, err := openDirAt(at, name)
	if errors.Is(err, unix.EACCES) && !r.o.DryRun {
		fd, err = r.openLoosened(&dir{name: name}, at, st)
	}
	if err != nil {
		return false, err
	}
	if err := sameFile(fd, st.id); err != nil {
		return false, err
	}
	defer closeFd(fd)
	if !r.root && !r.o.DryRun && st.mode&0o300 != 0o300 {
		_ = unix.Fchmod(fd, st.mode|0o700) // if it is not ours, the next call says so
	}
	names, err := namesIn(fd)
	if err != nil {
		return false, err
	}
	gone = true
	for _, child := range names {
		ok, err := r.remove(fd, st.id.dev, child, join(path, child))
		if err != nil {
			if err := r.entryFailed(join(path, child), err, nil); err != nil {
				return false, err
			}
		}
		gone = gone && ok
	}
	return gone, nil
}

// clearWay removes a directory that has the name of something else. What is in it goes only with Delete.
func (r *run) clearWay(d *dir, at int, name string) error {
	err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if !d.deletable {
		return ErrNotEmpty
	}
	gone, err := r.remove(at, d.id.dev, name, join(d.path(), name))
	if err == nil && !gone {
		err = fmt.Errorf("%w, except what is excluded", ErrNotEmpty)
	}
	return err
}
