package backup

import (
	"bytes"
	"errors"
	"sort"
	"strconv"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

func itoa(n int) string { return strconv.Itoa(n) }

// noXattrs are the answers of file systems without extended attributes, of nodes that cannot have any, and of
// a system without /proc.
func noXattrs(err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) ||
		errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ELOOP)
}

// xattrsOf reads the extended attributes of an open file or directory.
func xattrsOf(fd int) ([]snapshot.Xattr, error) {
	return readXattrs(
		func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// xattrsAt reads those of an entry that is not opened. A symlink is not followed.
func xattrsAt(dir int, name string) ([]snapshot.Xattr, error) {
	path := procPath(dir, name)
	return readXattrs(
		func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) },
		func(name string, buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
}

// readXattrs returns the attributes by name. One that vanishes or may not be read between the two calls
// (trusted.* as a normal user) is left out, as if it had not been listed.
func readXattrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]snapshot.Xattr, error) {
	names, err := grow(list)
	if err != nil || len(names) == 0 {
		if noXattrs(err) {
			err = nil
		}
		return nil, err
	}
	var attrs []snapshot.Xattr
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if len(name) == 0 {
			continue
		}
		value, err := grow(func(buf []byte) (int, error) { return get(string(name), buf) })
		if noXattrs(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, snapshot.Xattr{Name: string(name), Value: bytes.Clone(value)})
	}
	sort.Slice(attrs, func(i, j int) bool { return attrs[i].Name < attrs[j].Name })
	out := attrs[:0]
	for i, a := range attrs { // some file systems list a name twice
		if i == 0 || a.Name != attrs[i-1].Name {
			out = append(out, a)
		}
	}
	return out, nil
}

// grow calls with a buffer that fits: 256 bytes do for nearly all; Linux allows 64 KiB.
func grow(call func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := again(func() (int, error) { return call(buf) })
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size > 1<<20 {
			return nil, err
		}
	}
}
