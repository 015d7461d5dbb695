package backup

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// errReplaced means that a name no longer leads to what was found under it a moment ago.
var errReplaced = errors.New("was replaced while it was read")

// openDirAt opens a directory for listing. Only the owner and root may ask for O_NOATIME.
func openDirAt(at int, name string, follow bool) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openNoAtime(at, name, flags)
	if !follow && (errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)) {
		err = errReplaced
	}
	return fd, err
}

// openWayAt opens a directory that is only passed through: without the right to list it, searching is enough.
func openWayAt(at int, name string) (int, error) {
	fd, err := openDirAt(at, name, true)
	if errors.Is(err, unix.EACCES) {
		return openAt(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	}
	return fd, err
}

func openNoAtime(at int, name string, flags int) (int, error) {
	fd, err := openAt(at, name, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) {
		fd, err = openAt(at, name, flags)
	}
	return fd, err
}

func openAt(at int, name string, flags int) (int, error) {
	return again(func() (int, error) { return unix.Openat(at, name, flags, 0) })
}

// openFileAt opens what was a regular file a moment ago and returns its stat as of now. O_NONBLOCK keeps it from
// waiting for ever at a fifo that took the file's place; on a file that another process holds a lease on (Samba,
// NFS) it gives EWOULDBLOCK until the holder gives way, which takes milliseconds.
func openFileAt(at int, name string) (int, stat, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := openNoAtime(at, name, flags)
	for wait := time.Millisecond; errors.Is(err, unix.EWOULDBLOCK) && wait < time.Second; wait *= 4 {
		time.Sleep(wait)
		fd, err = openNoAtime(at, name, flags)
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		err = errReplaced
	}
	if err != nil {
		return -1, stat{}, err
	}
	st, err := statFD(fd)
	if err == nil && st.kind != snapshot.File {
		err = errReplaced
	}
	if err != nil {
		unix.Close(fd)
		return -1, stat{}, err
	}
	return fd, st, nil
}

// extents yields the stretches of a file that hold data, in order. A file system without SEEK_DATA has one.
type extents struct {
	fd     int
	size   int64
	sparse bool
	pos    int64
	holes  []snapshot.Range
}

// maxHoles bounds a node: 16,384 holes take 0.3 MB in a tree piece. What lies behind the last is read as data.
const maxHoles = 16384

// next returns the next stretch; start == end means that there is none. Holes before it are recorded.
func (e *extents) next() (start, end int64, err error) {
	if e.pos >= e.size {
		return e.size, e.size, nil
	}
	if !e.sparse || len(e.holes) >= maxHoles {
		start, e.pos = e.pos, e.size
		return start, e.size, nil
	}
	start, err = again(func() (int64, error) { return unix.Seek(e.fd, e.pos, unix.SEEK_DATA) })
	switch {
	case errors.Is(err, unix.ENXIO): // nothing but a hole up to the end
		start = e.size
	case err != nil:
		e.sparse = false
		return e.next()
	}
	start = min(start, e.size)
	if start > e.pos {
		e.holes = append(e.holes, snapshot.Range{Offset: uint64(e.pos), Length: uint64(start - e.pos)})
	}
	if start == e.size {
		e.pos = e.size
		return start, start, nil
	}
	end, err = again(func() (int64, error) { return unix.Seek(e.fd, start, unix.SEEK_HOLE) })
	if err != nil || end <= start || end > e.size {
		end = e.size
	}
	e.pos = end
	return start, end, nil
}
