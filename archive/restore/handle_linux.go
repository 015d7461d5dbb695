package restore

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// handle is an inode whose metadata is read and set: through an ordinary descriptor, or through an O_PATH one
// for what cannot be opened (symlinks, devices). No name is resolved on the way, so nothing can be swapped in.
type handle struct {
	fd   int
	path bool // O_PATH
}

func timespec(t snapshot.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
}

func (h handle) chown(uid, gid int) error {
	if h.path {
		return unix.Fchownat(h.fd, "", uid, gid, unix.AT_EMPTY_PATH)
	}
	return unix.Fchown(h.fd, uid, gid)
}

// chmod needs at and name only where /proc is not mounted; at < 0 means they are not known.
func (h handle) chmod(at int, name string, mode uint32) error {
	if !h.path {
		return unix.Fchmod(h.fd, mode)
	}
	err := chmodHandle(h.fd, mode)
	if errors.Is(err, unix.ENOENT) && at >= 0 {
		return unix.Fchmodat(at, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

func chmodHandle(fd int, mode uint32) error { return unix.Chmod(procPath(fd), mode) }

func (h handle) setTimes(at int, name string, n *snapshot.Node) error {
	ts := timesOf(n)
	if !h.path {
		return futimes(h.fd, ts)
	}
	return unix.UtimesNanoAt(at, name, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// xattrs lists the names of the extended attributes.
func (h handle) xattrs() ([]string, error) {
	buf := make([]byte, 512)
	for {
		var n int
		var err error
		if h.path {
			n, err = unix.Listxattr(procPath(h.fd), buf)
		} else {
			n, err = unix.Flistxattr(h.fd, buf)
		}
		switch {
		case errors.Is(err, unix.ERANGE) && len(buf) < 64<<10:
			buf = make([]byte, 64<<10) // XATTR_LIST_MAX
		case errors.Is(err, unix.EOPNOTSUPP):
			return nil, nil
		case err != nil:
			return nil, err
		case n == 0:
			return nil, nil
		default:
			return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
		}
	}
}

func (h handle) xattr(name string) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		var n int
		var err error
		if h.path {
			n, err = unix.Getxattr(procPath(h.fd), name, buf)
		} else {
			n, err = unix.Fgetxattr(h.fd, name, buf)
		}
		if errors.Is(err, unix.ERANGE) && len(buf) < 64<<10 {
			buf = make([]byte, 64<<10) // XATTR_SIZE_MAX
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}

func (h handle) setXattr(name string, value []byte) error {
	if h.path {
		return unix.Setxattr(procPath(h.fd), name, value, 0)
	}
	return unix.Fsetxattr(h.fd, name, value, 0)
}

func (h handle) removeXattr(name string) error {
	if h.path {
		return unix.Removexattr(procPath(h.fd), name)
	}
	return unix.Fremovexattr(h.fd, name)
}

// removeACLs takes away what a new directory inherited.
func removeACLs(fd int) error {
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		err := unix.Fremovexattr(fd, name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}
